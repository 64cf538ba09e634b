"""The report of a release: its tables and its heading in, one self-contained HTML text out."""

"""The report's sections, one a file: each makes a ``Section`` of the tables and the heading."""

"""Pure functions on tables and arrays: no orchestration, no file is opened here."""

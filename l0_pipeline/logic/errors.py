"""The one error a bad input ends with: what was wrong, where, and the next move."""


class InputError(ValueError):
    """A file, row, field or setting that the pipeline refuses; the message says what to do."""

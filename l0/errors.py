"""The one error of an argument that cannot be right."""


class InputError(ValueError):
    """What was wrong, where, and the next move."""

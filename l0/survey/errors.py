"""The one error of a calibration whose input cannot be right."""


class CalibrationInputError(ValueError):
    """What was wrong, where, and the next move."""

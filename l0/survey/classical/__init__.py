"""Classical calibration: all records kept, targets met exactly, weights near the design's."""

from l0.survey.classical.calibration import ClassicalCalibration, calibrate_classical

__all__ = ["ClassicalCalibration", "calibrate_classical"]

"""Hard Concrete gates and sparse survey calibration in plain torch."""

"""The data product: from survey and published figures to a sparse, calibrated release."""

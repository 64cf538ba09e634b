"""The one job: everything from source to release, for one target year."""

import dagster as dg

rebuild = dg.define_asset_job(
    "rebuild",
    selection=dg.AssetSelection.all(),
    description="Source, targets, calibration, selection and release of one target year.",
)

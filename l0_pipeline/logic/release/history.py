"""A release as rows of the warehouse: its quality, and the fit of its targets."""

from datetime import UTC

import polars as pl

from l0_pipeline.logic.release.manifest import Manifest

_COUNTS = {
    "households": "households_kept",
    "fitted": "targets_fitted",
    "held_out": "targets_held_out",
    "benchmark": "targets_benchmark",
    "rejected": "targets_rejected",
}
_NUMBERS = (
    "fitted_median_error",
    "held_out_median_error",
    "share_within_10pct",
    "effective_sample_size",
    "largest_weight_ratio",
)


def build_row(manifest: Manifest, *, release_id: str) -> pl.DataFrame:
    """One row of ``builds``; times are UTC."""
    quality = manifest.quality
    return pl.DataFrame(
        {
            "year": [manifest.year],
            "release_id": [release_id],
            "built_at": [manifest.created_at.astimezone(UTC).replace(tzinfo=None)],
            **{column: [int(quality[name])] for column, name in _COUNTS.items()},
            **{name: pl.Series([quality.get(name)], dtype=pl.Float64) for name in _NUMBERS},
            "code_version": [manifest.code_version],
        }
    )


def fit_rows(target_fit: pl.DataFrame, *, release_id: str) -> pl.DataFrame:
    """The rows of ``target_fit_history``, one a target of the release."""
    return target_fit.select(
        "year",
        pl.lit(release_id).alias("release_id"),
        *("target_id", "role", "value", "released_estimate", "released_error"),
    )

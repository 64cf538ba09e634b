"""The tables that a report reads and the columns it needs of them, checked once.

A required table that is missing is refused. An optional table that is missing or empty is left
out, and its section says how to make it. Columns beyond these are passed over.
"""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic.errors import InputError

WEIGHTS = ("design", "gates", "random", "released")

REQUIRED: dict[str, tuple[str, ...]] = {
    "households": (
        "household_id", "kind", "state_fips", "weight", "weight_ratio", "scaled_design_weight",
    ),
    "tax_outputs": ("household_id", "c00100"),
    "target_fit": (
        "target_id", "family", "variable", "geography", "condition", "value", "unit",
        "publisher", "published_table", "role", "support", "kept_support",
        *(f"{name}_{number}" for name in WEIGHTS for number in ("estimate", "error")),
    ),
    "target_accounting": ("target_id", "family", "role", "reason"),
    "training_history": ("stage", "epoch", "epochs", "loss", "records", "budget",
                         "expected_count", "temperature"),
    "selection_design": ("state_fips", "pool", "by_gates", "at_random"),
}  # fmt: skip

OPTIONAL: dict[str, tuple[str, ...]] = {
    "target_standard_errors": ("target_id", "relative_standard_error"),
    "replicate_design": ("method", "replicates", "variance_of"),
    "reform_study": (
        "reform", "description", "units_affected_share", "effect_whole", "effect_sparse", "error",
        "winners_whole", "winners_sparse", "losers_whole", "losers_sparse",
        "largest_decile_error", "largest_state_error", "standard_error",
    ),
    "reform_groups": ("reform", "grouping", "group", "effect_whole", "effect_sparse", "error"),
    "reform_cost": ("file", "tax_units", "seconds", "memory_mb", "reforms"),
    "untargeted": (
        "variable", "category", "area", "share_pool", "share_released", "difference",
    ),
    "size_frontier": (
        "budget", "loss", "held_out_error", "effective_sample_size", "max_weight_ratio",
        "suggested",
    ),
    "comparison_summary": (
        "targets_better", "targets_worse", "targets_alike", "targets_added",
        "targets_removed", "households_in_both", "support_overlap", "fitted_median_before",
        "fitted_median_now", "held_out_median_before", "held_out_median_now",
    ),
    "comparison_targets": (
        "target_id", "variable", "geography", "condition", "unit", "role_now",
        "error_before", "error_now",
    ),
    "comparison_drift": ("total", "before", "now"),
    "household_reasons": (
        "household_id", "kind", "inclusion_probability", "weight_ratio", "targets", "suffering",
        "loss_without", "largest_share",
    ),
    "household_contributions": ("household_id", "rank", "target_id", "share"),
}  # fmt: skip


def checked(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The tables that the report reads, with rows and with every column it needs."""
    missing = [name for name in REQUIRED if name not in tables]
    if missing:
        raise InputError(
            f"The report needs {len(missing)} tables that the release does not hold: "
            f"{', '.join(missing)}. Build them, then publish again."
        )
    empty = [name for name in REQUIRED if tables[name].is_empty()]
    if empty:
        raise InputError(
            f"The report cannot be made: {', '.join(empty)} has no rows. Build it again."
        )
    present = {
        name: tables[name]
        for name in (*REQUIRED, *OPTIONAL)
        if name in tables and not tables[name].is_empty()
    }
    for name, table in present.items():
        absent = [column for column in (REQUIRED | OPTIONAL)[name] if column not in table.columns]
        if absent:
            raise InputError(
                f"Table {name!r} has no column {', '.join(absent)}, which the report reads. "
                f"It has {', '.join(table.columns)}. Build it again with this version of the code."
            )
    return present

"""The columns of the tables that a release is checked, explained and compared with.

What is needed to compile its targets again, why each household was kept, and how two releases
differ. The pipeline's other tables are described in ``l0_pipeline.logic.tables``.
"""

import polars as pl

from l0_pipeline.logic.microdata.columns import Column
from l0_pipeline.logic.tables import (
    CALIBRATED_WEIGHT_COLUMNS,
    DECLARED_TARGET_COLUMNS,
    DOLLARS,
    FIGURE_COLUMNS,
    SELECTED_COLUMNS,
    TARGET_FIT_COLUMNS,
    WEIGHT,
)

_FIT = {column.name: column for column in TARGET_FIT_COLUMNS}
_DECLARED = {column.name: column for column in DECLARED_TARGET_COLUMNS}
_SELECTED = {column.name: column for column in SELECTED_COLUMNS}
_OPEN_PROBABILITY = next(c for c in CALIBRATED_WEIGHT_COLUMNS if c.name == "open_probability")
_FILTERS = next(column for column in FIGURE_COLUMNS if column.name == "filters")

PUBLISHED_TARGET_COLUMNS: tuple[Column, ...] = (
    _FIT["target_id"],
    _DECLARED["records"],
    _DECLARED["microdata_column"],
    _FIT["measure"],
    _FIT["unit"],
    _FIT["geography"],
    _FILTERS,
    Column(
        "amount_a_person",
        pl.Float64,
        DOLLARS,
        "What one person covered is in tax_outputs, where persons are counted by an amount",
    ),
)

_ERROR_WITH = Column("error_with", pl.Float32, "share", "Relative error as released, signed")
_ERROR_WITHOUT = Column(
    "error_without",
    pl.Float32,
    "share",
    "The same without the household, all other weights as they are",
)

CONTRIBUTION_COLUMNS: tuple[Column, ...] = (
    _SELECTED["household_id"],
    Column("rank", pl.Int64, "number", "1: the fitted target that needs the household most"),
    _FIT["target_id"],
    Column(
        "share",
        pl.Float32,
        "share",
        "Part of the target's estimate that the household makes up; null where that is zero",
    ),
    _ERROR_WITH,
    _ERROR_WITHOUT,
)

REASON_COLUMNS: tuple[Column, ...] = (
    _SELECTED["household_id"],
    _SELECTED["kind"],
    Column(
        "open_probability",
        pl.Float64,
        "probability",
        f"{_OPEN_PROBABILITY.description}; null if it left the matrix early",
    ),
    _SELECTED["inclusion_probability"],
    _SELECTED["weight_ratio"],
    Column("targets", pl.Int64, "targets", "Fitted targets that the household contributes to"),
    Column(
        "suffering",
        pl.Int64,
        "targets",
        "Fitted targets whose error grows by more than one point without the household",
    ),
    Column(
        "loss_without",
        pl.Float64,
        "share",
        "Rise in the weighted mean of fitted errors, each capped at 1, without the household",
    ),
    Column(
        "largest_share",
        pl.Float64,
        "share",
        "Largest part, in size, of any fitted estimate that it makes up; null for no targets",
    ),
)

_BOTH = (("before", "earlier"), ("now", "later"))

COMPARISON_COLUMNS: tuple[Column, ...] = (
    *(_FIT[name] for name in ("target_id", "family", "variable", "geography", "condition", "unit")),
    *(
        Column(
            f"{name}_{when}", dtype, unit, f"{meaning} of the {release} release; null: not in it"
        )
        for name, dtype, unit, meaning in (
            ("role", pl.String, "name", "Role"),
            ("value", pl.Float64, "see unit", "Published figure"),
            ("estimate", pl.Float64, "see unit", "Released estimate"),
            ("error", pl.Float64, "share", "Signed relative error"),
        )
        for when, release in _BOTH
    ),
    Column(
        "change",
        pl.Float64,
        "points",
        "100 times what the absolute error rose by; null unless both releases have the target",
    ),
    Column(
        "status",
        pl.String,
        "name",
        "better or worse by more than the points allowed, alike, added or removed",
    ),
    Column("value_revised", pl.Boolean, "flag", "Whether the published figure differs"),
)

SUMMARY_COLUMNS: tuple[Column, ...] = (
    Column("year", pl.Int64, "year", "The year of both releases"),
    Column("points", pl.Float64, "points", "Changes up to this are alike"),
    *(
        Column(
            f"targets_{status}",
            pl.Int64,
            "targets",
            f"Fitted or held out in both releases, absolute error {meaning}",
        )
        for status, meaning in {
            "better": "smaller by more than the points",
            "worse": "larger by more than the points",
            "alike": "the same within the points",
        }.items()
    ),
    Column("held_out_worse", pl.Int64, "targets", "Of the worse ones, held out in both"),
    Column("targets_added", pl.Int64, "targets", "Estimated by the later release alone"),
    Column("targets_removed", pl.Int64, "targets", "Estimated by the earlier release alone"),
    Column("values_revised", pl.Int64, "targets", "Published figures that differ, any role"),
    Column("roles_changed", pl.Int64, "targets", "Targets of both releases whose role differs"),
    Column("households_before", pl.Int64, "households", "Households of the earlier release"),
    Column("households_now", pl.Int64, "households", "Households of the later release"),
    Column("households_in_both", pl.Int64, "households", "Households of both"),
    Column(
        "support_overlap", pl.Float64, "share", "Households of both among those of either (Jaccard)"
    ),
    *(
        Column(
            f"common_weight_{when}",
            pl.Float64,
            "share",
            f"Part of the {release} release's weight that households of both carry",
        )
        for when, release in _BOTH
    ),
    *(
        Column(
            f"{role}_median_{when}",
            pl.Float64,
            "share",
            f"Median absolute error of its {role.replace('_', '-')} targets, {release} release; "
            "null for none",
        )
        for role in ("fitted", "held_out")
        for when, release in _BOTH
    ),
)

DRIFT_COLUMNS: tuple[Column, ...] = (
    Column("total", pl.String, "name", "What is added up, by the released weights"),
    Column("table", pl.String, "name", "Table that it is added up from"),
    Column("microdata_column", pl.String, "name", "Column of it; empty where rows are counted"),
    Column("unit", pl.String, "name", f"{WEIGHT}, persons, tax units or dollars of a year"),
    Column("before", pl.Float64, "see unit", "Total of the earlier release; null: no such column"),
    Column("now", pl.Float64, "see unit", "Total of the later release; null: no such column"),
    Column(
        "relative_change",
        pl.Float64,
        "share",
        "Change over the size of the earlier total; null where one is missing or that is zero",
    ),
)

"""Small tables in the schemas of a release, made by hand for the tests of its report."""

from datetime import UTC, datetime

import numpy as np
import polars as pl

from l0_pipeline.logic.release.licence import LICENCES
from l0_pipeline.logic.report.areas import AREAS
from l0_pipeline.logic.report.heading import ReportHeading

KEPT, UNITS = 600, 800
REFORMS = ("Top rate 45 %", "Standard deduction doubled", "Child credit of $3,600")
FAMILIES = ("wages, states", "dividends, states", "wages, nation", "population, nation")
_FIPS = [area.fips for area in AREAS]


def heading(**changes: object) -> ReportHeading:
    """A heading of a release that never was."""
    usual: dict[str, object] = {
        "release_id": "2022-0123456789ab",
        "address": "data/releases/2022-0123456789ab",
        "title": "Sparse CPS dataset for 2022",
        "year": 2022,
        "seed": 7,
        "created_at": datetime(2026, 11, 24, 2, 17, tzinfo=UTC),
        "compared_with": None,
        "quality": {
            "households_kept": 600.0, "households_pool": 6000.0, "figures_declared": 400.0,
            "targets_fitted": 240.0, "targets_held_out": 60.0, "targets_benchmark": 40.0,
            "targets_rejected": 60.0, "population_error": 0.0021, "fitted_median_error": 0.011,
            "held_out_median_error": 0.123, "share_within_10pct": 0.91,
            "effective_sample_size": 401.0, "largest_weight_ratio": 17.2,
        },
        "settings": {
            "training": {"budget": 600, "seed": 7, "penalty": None},
            "selection": {"anchored": ["persons"], "replicates": {"method": "bootstrap"}},
            "check_limits": {
                "fitted_median_error": 0.05, "held_out_median_error": 0.1,
                "share_within_10pct": 0.8, "population_error": 0.01, "effective_share": 0.25,
                "weight_ratio": 50.0, "held_out_targets": 30,
            },
        },
        "licence": LICENCES["taxcalc"],
        "packages": {"polars": "1.44.2", "python": "3.11.7"},
        "code_version": "0.1.0+abc",
        "inputs": {"taxcalc": {"cps.csv.gz": "0" * 64}},
    }  # fmt: skip
    return ReportHeading(**(usual | changes))  # type: ignore[arg-type]


def required() -> dict[str, pl.DataFrame]:
    """The tables that every release has."""
    return {
        "households": _households(),
        "tax_outputs": _tax_outputs(),
        "target_fit": _target_fit(),
        "target_accounting": _target_accounting(),
        "training_history": _training_history(),
        "selection_design": _selection_design(),
    }


def nothing_held_out() -> dict[str, pl.DataFrame]:
    """The required tables of a release that held no target out, with a column more each."""
    tables = {name: table.with_columns(extra=pl.lit("x")) for name, table in required().items()}
    for name in ("target_fit", "target_accounting"):
        tables[name] = tables[name].filter(pl.col("role") != "held_out")
    return tables


def optional() -> dict[str, pl.DataFrame]:
    """The tables that a release may have."""
    return {
        "target_standard_errors": _target_fit().select(
            "target_id", relative_standard_error=pl.col("released_error").abs() / 4
        ),
        "replicate_design": pl.DataFrame(
            {"method": ["bootstrap"], "replicates": [100], "variance_of": ["thinning"]}
        ),
        "reform_study": _reform_study(),
        "reform_groups": _reform_groups(),
        "reform_cost": pl.DataFrame(
            {
                "file": ["whole", "sparse"], "tax_units": [280_005, 29_538],
                "seconds": [1.31, 0.17], "memory_mb": [812.0, 96.0], "reforms": [3, 3],
            }
        ),
        "untargeted": _untargeted(),
        "size_frontier": _size_frontier(),
        "household_reasons": _household_reasons(),
        "household_contributions": pl.DataFrame(
            {
                "household_id": np.repeat(np.arange(KEPT), 2), "rank": [1, 2] * KEPT,
                "target_id": ["2022-0007", "2022-0008"] * KEPT, "share": [0.31, 0.02] * KEPT,
            }
        ),
    }  # fmt: skip


def compared() -> dict[str, pl.DataFrame]:
    """The tables of a comparison with the release before."""
    random = np.random.default_rng(9)
    fit = _target_fit()
    before = fit["released_error"].to_numpy() * random.lognormal(0, 0.5, len(fit))
    targets = fit.select(
        "target_id", "family", "variable", "geography", "condition", "unit",
        role_before="role", role_now="role", error_before=pl.Series(before),
        error_now="released_error",
    )  # fmt: skip
    change = 100 * (pl.col("error_now").abs() - pl.col("error_before").abs())
    return {
        "comparison_summary": pl.DataFrame(
            {
                "previous": ["2022-ba9876543210"], "targets_better": [90], "targets_worse": [70],
                "targets_alike": [140], "targets_added": [0], "targets_removed": [2],
                "households_in_both": [410], "support_overlap": [0.52],
                "fitted_median_before": [0.013], "fitted_median_now": [0.011],
                "held_out_median_before": [0.131], "held_out_median_now": [0.123],
            }
        ),
        "comparison_targets": targets.with_columns(change=change, status=pl.lit("alike")),
        "comparison_drift": pl.DataFrame(
            {
                "total": ["persons", "adjusted gross income"], "before": [3.331e8, 1.501e13],
                "now": [3.341e8, 1.498e13], "change": [0.003, -0.002],
            }
        ),
    }  # fmt: skip


def _households() -> pl.DataFrame:
    random = np.random.default_rng(1)
    weight = random.lognormal(8, 0.8, KEPT)
    return pl.DataFrame(
        {
            "household_id": np.arange(KEPT),
            "kind": np.where(np.arange(KEPT) % 5, "l0", "random"),
            "state_fips": [_FIPS[i % 51] for i in range(KEPT)],
            "weight": weight,
            "weight_ratio": weight / 3_000,
            "scaled_design_weight": random.lognormal(5, 0.4, KEPT),
        }
    )


def _tax_outputs() -> pl.DataFrame:
    random = np.random.default_rng(2)
    return pl.DataFrame(
        {
            "household_id": np.arange(UNITS) % KEPT,
            "c00100": random.lognormal(10.8, 1.2, UNITS) - 5_000,
        }
    )


def _target_fit() -> pl.DataFrame:
    random = np.random.default_rng(3)
    count = 300
    place = np.arange(count)
    family = [FAMILIES[i % 4] for i in place]
    geography = [
        "US" if name.endswith("nation") else f"{_FIPS[i % 51]:02}"
        for i, name in zip(place, family, strict=True)
    ]
    value = random.lognormal(16, 3, count)
    value[:3], value[3] = -value[:3], 0.0
    role = np.where(place % 5, "fitted", "held_out")
    spread = np.where(role == "fitted", 0.02, 0.2)
    errors = {
        "design": random.normal(0, 0.4, count), "gates": random.normal(0, spread),
        "random": random.normal(0, 3 * spread), "released": random.normal(0, 1.2 * spread),
    }  # fmt: skip
    scale = np.maximum(np.abs(value), 1_000)
    return pl.DataFrame(
        {
            "target_id": [f"2022-{i:04}" for i in place],
            "family": family,
            "variable": [name.split(",")[0] for name in family],
            "measure": "sum",
            "geography": geography,
            "condition": np.where(place % 3, "agi >= 1 & agi < 10000", ""),
            "value": value,
            "unit": np.where(place % 2, "dollars", "returns"),
            "publisher": "Internal Revenue Service",
            "published_table": "Historic Table 2",
            "role": role,
            "support": place + 30,
            "kept_support": place // 10 + 1,
            **{f"{name}_estimate": value + error * scale for name, error in errors.items()},
            **{f"{name}_error": error for name, error in errors.items()},
        }
    )


def _target_accounting() -> pl.DataFrame:
    fit = _target_fit().select("target_id", "family", "role", reason=pl.lit("close definition"))
    others = pl.DataFrame(
        {
            "target_id": [f"2022-{i:04}" for i in range(300, 400)],
            "family": "dividends, states",
            "role": ["benchmark"] * 40 + ["rejected"] * 60,
            "reason": [f"printed twice: {i} is fitted in its place" for i in range(40)]
            + [f"{i} households contribute, fewer than the 30 asked for" for i in range(60)],
        }
    )
    return pl.concat([fit, others])


def _training_history() -> pl.DataFrame:
    gates = pl.DataFrame(
        {
            "stage": "selection", "epoch": np.arange(0, 1_000, 10), "epochs": 1_000,
            "loss": np.geomspace(0.5, 0.03, 100), "records": 6_000,
            "budget": np.geomspace(6_000, 600, 100),
            "expected_count": np.geomspace(6_000, 600, 100),
            "temperature": np.linspace(0.5, 0.25, 100),
        }
    )  # fmt: skip
    without = dict.fromkeys(("budget", "expected_count", "temperature"), pl.lit(None, pl.Float64))
    return pl.concat([gates, gates.head(30).with_columns(stage=pl.lit("refit"), **without)])


def _selection_design() -> pl.DataFrame:
    place = np.arange(51)
    return pl.DataFrame(
        {"state_fips": _FIPS, "pool": 100 + place, "by_gates": 9 + place % 4, "at_random": 3}
    )


def _reform_study() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "reform": REFORMS,
            "description": [
                "The rate above the highest bracket rises from 37 to 45 %",
                "The standard deduction doubles for every filing status",
                "The child tax credit rises to $3,600 and is fully refundable",
            ],
            "units_affected_share": [0.008, 0.71, 0.19],
            "effect_whole": [41.2e9, -312.5e9, -104.0e9],
            "effect_sparse": [39.9e9, -315.1e9, -103.2e9],
            "error": [-0.0316, 0.0083, -0.0077],
            "winners_whole": [0.0, 0.71, 0.19], "winners_sparse": [0.0, 0.72, 0.19],
            "losers_whole": [0.008, 0.0, 0.0], "losers_sparse": [0.0077, 0.0, 0.0],
            "largest_decile_error": [0.031, 0.009, 0.012],
            "largest_state_error": [0.022, 0.004, 0.006],
            "standard_error": [0.02, 0.003, None],
        }
    )  # fmt: skip


def _reform_groups() -> pl.DataFrame:
    random = np.random.default_rng(4)
    rows = []
    for reform, total in zip(REFORMS, (41.2e9, -312.5e9, -104.0e9), strict=True):
        for grouping, groups in (("decile", list(range(1, 11))), ("state", _FIPS)):
            parts = random.dirichlet(np.ones(len(groups))) * total
            errors = random.normal(0, 0.005, len(groups))
            rows += [
                {
                    "reform": reform, "grouping": grouping, "group": group, "effect_whole": part,
                    "effect_sparse": part + error * abs(total), "error": error,
                }
                for group, part, error in zip(groups, parts, errors, strict=True)
            ]  # fmt: skip
    return pl.DataFrame(rows)


def _untargeted() -> pl.DataFrame:
    random = np.random.default_rng(5)
    return pl.DataFrame(
        [
            {
                "variable": variable, "category": category, "area": area, "share_pool": share,
                "share_released": share + moved, "difference": moved,
            }
            for variable, categories in {
                "household_size": ("1", "2", "3", "4", "5 or more"),
                "survey_year": ("2012", "2013", "2014"),
            }.items()
            for category in categories
            for area in ("US", "06", "48")
            for share, moved in [(random.uniform(0.1, 0.3), random.normal(0, 0.01))]
        ]
    )  # fmt: skip


def _size_frontier() -> pl.DataFrame:
    budget = np.array([2_000, 5_000, 10_000, 20_000, 40_000])
    return pl.DataFrame(
        {
            "budget": budget,
            "loss": 0.4 * (budget / 2_000) ** -0.8,
            "held_out_error": 0.12 + 0.3 * (budget / 2_000) ** -0.9,
            "effective_sample_size": 0.65 * budget,
            "max_weight_ratio": [29.0, 24.0, 21.0, 17.3, 12.0],
            "suggested": budget == 20_000,
        }
    )


def _household_reasons() -> pl.DataFrame:
    random = np.random.default_rng(6)
    known = _households()
    return known.select("household_id", "kind", "weight_ratio").with_columns(
        inclusion_probability=pl.when(pl.col("kind") == "l0").then(1.0).otherwise(0.021),
        targets=pl.Series(random.integers(5, 60, KEPT)),
        suffering=pl.Series(random.integers(0, 20, KEPT)),
        loss_without=pl.Series(random.lognormal(-9, 1, KEPT)),
        largest_share=pl.Series([None, *random.uniform(0, 0.6, KEPT - 1)], dtype=pl.Float64),
    )

"""A release of three of the five households of ``twelve_units``, as the pipeline would publish it.

Households 10, 40 and 50 are kept. What a release states is computed here from the whole survey, so
that a law may ask whether the kept rows alone say the same. The smallest Medicaid amount of the
survey, one person's, is in household 30, which is not kept.
"""

import numpy as np
import polars as pl

from l0_pipeline.logic import fit
from l0_pipeline.logic.constraints import compile_constraints
from l0_pipeline.logic.filters import parse_filters
from l0_pipeline.logic.matrix import ConstraintMatrix
from l0_pipeline.logic.measures import AGE_BANDS, amounts_a_person, unit_measures
from l0_pipeline.logic.release.recomputation import published_targets
from l0_pipeline.logic.targets import FILTERS
from tests.l0_pipeline.twelve_units import HOUSEHOLD_IDS, TAX_OUTPUTS, TAX_UNITS

# records, column, measure, unit, geography, filters, role, value
_DECLARED = {
    "wages": ("filers", "wages", "sum", "dollars", "US", "", "fitted", 900_000.0),
    "people": ("everyone", "persons", "count", "persons", "US", "", "fitted", 52.0),
    "aged": ("everyone", "persons", "count", "persons", "06", "age >= 65", "fitted", 6.1),
    "returns": ("filers", "one", "count", "returns", "01", "agi >= 25000", "fitted", 9.0),
    "covered": ("everyone", "medicaid_persons", "count", "persons", "US", "", "fitted", 2.0),
    "agi": ("filers", "adjusted_gross_income", "sum", "dollars", "06", "", "fitted", 900_000.0),
    "snap": ("everyone", "snap_benefit", "count", "households", "US", "", "fitted", 4.0),
    "loss": ("filers", "business_income", "sum", "dollars", "US", "", "fitted", -20_000.0),
    "charity": ("itemizers", "itemized_charity", "sum", "dollars", "US", "", "held_out", 14_000.0),
    "joint": (
        "filers", "one", "count", "returns", "US", "filing_status == married_joint", "benchmark",
        11.0,
    ),
}  # fmt: skip
KEPT = {10: 3.0, 40: 2.0, 50: 5.0}
DECLARED = pl.DataFrame(
    [
        (name, *row[:5], [vars(clause) for clause in parse_filters(row[5], where=name)])
        for name, row in _DECLARED.items()
    ],
    schema={
        **dict.fromkeys(
            ("target_id", "records", "microdata_column", "measure", "unit", "geography"), pl.String
        ),
        "filters": FILTERS,
    },
    orient="row",
)
HOUSEHOLDS = (
    TAX_UNITS.with_columns(persons=pl.sum_horizontal(*AGE_BANDS.values()))
    .group_by("household_id")
    .agg(pl.col("state_fips").first(), pl.col("persons").sum(), tax_units=pl.len().cast(pl.Int64))
    .sort("household_id")
)
MATRIX = ConstraintMatrix(
    coefficients=compile_constraints(
        DECLARED, unit_measures(TAX_UNITS, TAX_OUTPUTS), household_ids=HOUSEHOLD_IDS
    ),
    targets=DECLARED,
    households=HOUSEHOLDS,
    digest="",
)


def target_fit(weights: dict[int, float]) -> pl.DataFrame:
    """Estimates and errors of all targets, from the coefficients of the whole survey."""
    of_all = np.array([weights.get(number, 0.0) for number in HOUSEHOLD_IDS])
    estimate = MATRIX.coefficients @ of_all
    table = DECLARED.select(
        pl.lit(2022, pl.Int64).alias("year"),
        "target_id",
        *(pl.lit("a family").alias("family"), pl.col("microdata_column").alias("variable")),
        *("measure", "geography", pl.lit("").alias("condition")),
        pl.Series("value", [row[7] for row in _DECLARED.values()]),
        "unit",
        pl.Series("role", [row[6] for row in _DECLARED.values()]),
    ).with_columns(scale=pl.col("value").abs())
    support = (MATRIX.coefficients != 0).astype(np.int64) @ (of_all > 0)
    names = ("design", "gates", "random", "released")
    return fit.add_errors(
        table.with_columns(kept_support=support), estimates=dict.fromkeys(names, estimate)
    )


def release() -> dict[str, pl.DataFrame]:
    """The tables of the release."""
    kept = pl.DataFrame({"household_id": list(KEPT), "weight": list(KEPT.values())})
    households = kept.with_columns(
        kind=pl.Series(["l0", "random", "l0"]),
        inclusion_probability=pl.Series([1.0, 0.5, 1.0]),
        weight_ratio=pl.Series([1.5, 0.5, 1.25]),
        income_year=pl.lit(2014),
    ).join(HOUSEHOLDS, on="household_id", maintain_order="left")
    units = TAX_UNITS.with_columns(persons=pl.sum_horizontal(*AGE_BANDS.values())).join(
        kept, on="household_id", maintain_order="left"
    )
    fitted = target_fit(KEPT)
    names = [f"replicate_{number:03}" for number in (1, 2, 3)]
    drawn = np.random.default_rng(5).uniform(0, 9, (len(KEPT), len(names))).astype(np.float32)
    standard = _standard_errors(drawn.astype(np.float64), scale=0.5)
    return {
        "households": households,
        "tax_units": units,
        "tax_outputs": units.select("unit_id", "household_id", "weight").join(
            TAX_OUTPUTS, on="unit_id", maintain_order="left"
        ),
        "targets": published_targets(DECLARED, fitted, amounts=amounts_a_person(TAX_OUTPUTS)),
        "target_fit": fitted,
        "target_accounting": fitted.select(
            "target_id", "variable", "geography", "condition", "value", "unit", "role", "scale"
        ),
        "selection_design": pl.DataFrame({"state_fips": [1, 6], "pool": [2, 3]}),
        "replicate_weights": pl.DataFrame(drawn, schema=names).insert_column(
            0, households["household_id"]
        ),
        "replicate_design": pl.DataFrame({"method": ["bootstrap"], "scale": [0.5]}),
        "target_standard_errors": fitted.select(
            "target_id",
            "released_estimate",
            pl.Series("standard_error", standard),
            pl.Series("standard_error", standard).alias("relative_standard_error")
            / pl.col("scale"),
        ),
    }


def _standard_errors(replicates: np.ndarray, *, scale: float) -> np.ndarray:  # (targets,)
    dense = MATRIX.coefficients.toarray()[:, [HOUSEHOLD_IDS.index_of(number) for number in KEPT]]
    estimate = dense @ np.array(list(KEPT.values()))
    return np.asarray(np.sqrt(scale * ((dense @ replicates - estimate[:, None]) ** 2).sum(axis=1)))

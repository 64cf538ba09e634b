"""The CPS file inside the ``taxcalc`` package: tax units of three surveys, made into households.

What the file does not say of itself, checked against its 280,005 rows:

- A household is (FLPDYR, h_seq): 200,576 of them. ``h_seq`` alone repeats in the three surveys.
- Units of one household may carry different weights (15,908 households do). The household's
  design weight is the mean of its units' ``s006 / 100``, each counted by its persons, so the
  weighted number of persons is the same before and after.
- SNAP is the household's amount, repeated on each of its units; housing assistance is the
  family's (``ffpos``). Each is kept once, on the unit with the lowest ``a_lineno``.
- ``nu18 + n1820 + n21`` are the persons whose age is known. XTOT is one higher in 1,095 units
  whose spouse is not among the records. In 103 of them the return is joint, so the exemption is
  right and stays; in the other 992 it would be credited as a dependent, and XTOT becomes the
  number of persons.
- ``nu06`` and ``nu13`` leave out the 748 children under 13 who are units of their own.
- Ages 80 and 85 are codes for 80 to 84 and 85 or more.
"""

from functools import partial

import polars as pl

from l0_pipeline.logic.microdata import age_bands
from l0_pipeline.logic.microdata.columns import (
    BENEFIT_COLUMNS,
    HOUSEHOLD_COLUMNS,
    HOUSEHOLD_ID_YEAR_FACTOR,
    TAX_UNIT_COLUMNS,
    conform,
)
from l0_pipeline.logic.microdata.refusal import refuse_missing_columns, refuse_rows

SOURCE = "taxcalc"

# Tax-Calculator itself takes all three surveys as incomes of the last one's year
INCOMES_OF_YEAR = 2014

# s006 is written in hundredths
WEIGHT_SCALE = 100

REQUIRED_COLUMNS: tuple[str, ...] = (
    "RECID", "FLPDYR", "h_seq", "ffpos", "a_lineno", "fips", "s006", "MARS", "XTOT",
    "age_head", "age_spouse", *age_bands.COUNTS, "elderly_dependents", "snap_ben", "housing_ben",
)  # fmt: skip


def check(raw: pl.DataFrame, *, file: str) -> None:
    """Raise on a file that is not the one described above, or is damaged."""
    remedy = "Reinstall taxcalc (pip install --force-reinstall taxcalc)."
    refuse_missing_columns(raw.columns, REQUIRED_COLUMNS, file=file, remedy=remedy)
    refuse = partial(refuse_rows, raw, file=file, remedy=remedy, first_row=2)
    for name in REQUIRED_COLUMNS:
        refuse(pl.col(name).cast(pl.Int64, strict=False) < 0, column=name, problem="is not a count")
    unit = pl.struct("FLPDYR", "h_seq", "a_lineno")
    refuse(unit.is_duplicated(), column="a_lineno", problem="repeats within a household")
    refuse(pl.col("RECID").is_duplicated(), column="RECID", problem="repeats")


def households(raw: pl.DataFrame) -> pl.DataFrame:
    """One row a household: design weight, persons, tax units and benefits counted once."""
    units = tax_units(raw)
    benefits = [column.name for column in BENEFIT_COLUMNS if column.name in units.columns]
    table = units.group_by("household_id").agg(
        pl.col("state_fips").first(),
        pl.col("FLPDYR").first().alias("income_year"),
        pl.col("persons").sum(),
        pl.len().alias("tax_units"),
        _design_weight().alias("design_weight"),
        pl.col(benefits).sum(),
    )
    return conform(table.sort("household_id"), HOUSEHOLD_COLUMNS)


def tax_units(raw: pl.DataFrame) -> pl.DataFrame:
    """One row a tax unit, by ``unit_id``: Tax-Calculator's columns, benefits counted once."""
    placed = raw.with_columns(
        (pl.col("FLPDYR") * HOUSEHOLD_ID_YEAR_FACTOR + pl.col("h_seq")).alias("household_id"),
        pl.col("RECID").alias("unit_id"),
        pl.col("fips").alias("state_fips"),
        age_bands.persons().alias("persons"),
        **age_bands.bands(),
    )
    counted = placed.with_columns(
        _once("snap_ben", "household_id"),
        _once("housing_ben", "household_id", "ffpos"),
        pl.when(pl.col("MARS") != 2).then("persons").otherwise("XTOT").alias("XTOT"),
    )
    return conform(counted.sort("unit_id"), TAX_UNIT_COLUMNS)


def _design_weight() -> pl.Expr:
    """Mean of the units' weights, each counted by its persons."""
    return (pl.col("s006") * pl.col("persons")).sum() / pl.col("persons").sum() / WEIGHT_SCALE


def _once(benefit: str, *sharers: str) -> pl.Expr:
    """The largest amount among those who share it, on their first unit; zero on the others."""
    first = pl.col("a_lineno") == pl.col("a_lineno").min().over(sharers)
    return pl.when(first).then(pl.col(benefit).max().over(sharers)).otherwise(0).alias(benefit)

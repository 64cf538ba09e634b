"""Persons of a tax unit by age band, from Tax-Calculator's counts of persons.

The counts do not nest the way their names suggest: ``nu06`` and ``nu13`` count dependents
only, ``nu18``, ``n1820`` and ``n21`` count everybody. A child who is a unit of its own is
therefore in ``nu18`` alone and is placed by its own age here.
"""

import polars as pl

COUNTS: tuple[str, ...] = ("nu06", "nu13", "nu18", "n1820", "n21")
OLD = 65


def persons() -> pl.Expr:
    """Everybody in the unit whose age is known."""
    return pl.sum_horizontal("nu18", "n1820", "n21")


def bands() -> dict[str, pl.Expr]:
    """One expression an age band; they add up to ``persons``."""
    under_6 = pl.col("nu06") + _adults(0, 6)
    under_13 = pl.col("nu13") + _adults(0, 13)
    old = _adults(OLD, None) + pl.col("elderly_dependents")
    return {
        "persons_0_5": under_6,
        "persons_6_12": under_13 - under_6,
        "persons_13_17": pl.col("nu18") - under_13,
        "persons_18_20": pl.col("n1820"),
        "persons_21_64": pl.col("n21") - old,
        "persons_65_plus": old,
    }


def _adults(lower: int, upper: int | None) -> pl.Expr:
    """How many of taxpayer and spouse are aged from ``lower`` to below ``upper``."""
    # age_spouse is 0 without a spouse, so a spouse aged 0 cannot exist
    spouse = pl.col("age_spouse") >= max(lower, 1)
    head = pl.col("age_head") >= lower
    if upper is not None:
        spouse &= pl.col("age_spouse") < upper
        head &= pl.col("age_head") < upper
    return head.cast(pl.Int64) + spouse.cast(pl.Int64)

"""Persons made from tax units, for models that want one row a person.

A tax unit says how many persons it has in six age bands, and the ages of taxpayer and spouse.
The rule, the same for every source:

- The *head* is the taxpayer, the *spouse* is there where ``age_spouse`` is above zero (a joint
  return without one among the survey's records has none); both have their own ages and, where
  Tax-Calculator splits an amount, their own amounts.
- Everybody else in the bands is a *dependent* without income, aged 3, 9, 15 or 17, 19, 40 or 75
  in the bands 0-5, 6-12, 13-17, 18-20, 21-64 and 65 or more.
- Aged 13-17, as many are 15 as the child tax credit counts (``n24``) beyond the younger ones;
  the others are 17.
- Where the earned income credit counts more children (``EIC``) than are under 18, as many
  dependents above are full-time students: those of 18-20 first, then those of 21-64, then aged 22.

So the persons add up to ``persons`` in every unit and in every age band.
"""

import polars as pl

from l0_pipeline.logic.errors import InputError

RULE = __doc__.split("\n\n", 1)[1].strip()

# band: its limits and the age of a dependent in it
BANDS: dict[str, tuple[int, int, int]] = {
    "persons_0_5": (0, 5, 3),
    "persons_6_12": (6, 12, 9),
    "persons_13_17": (13, 17, 17),
    "persons_18_20": (18, 20, 19),
    "persons_21_64": (21, 64, 40),
    "persons_65_plus": (65, 200, 75),
}
TEENAGER_OF_THE_CHILD_CREDIT = 15
STUDENT = 22
MOST_EITC_CHILDREN = 3
ROLES = ("HEAD", "SPOUSE", "DEPENDENT")
HAS_SPOUSE = pl.col("age_spouse") > 0


def persons(units: pl.DataFrame) -> pl.DataFrame:
    """One row a person: ``unit`` (the row of ``units``), ``role``, ``age``, ``student``.

    Sorted by unit; within it the head comes first, then the spouse, then dependents by band.
    """
    counted = _with_defaults(units).with_row_index("unit")
    dependents = counted.with_columns(**{name: _others(name) for name in BANDS})
    _refuse_missing_adults(dependents)
    adults = [
        counted.select("unit", role=pl.lit("HEAD"), age="age_head", student=pl.lit(value=False)),
        counted.filter(HAS_SPOUSE).select(
            "unit", role=pl.lit("SPOUSE"), age="age_spouse", student=pl.lit(value=False)
        ),
    ]
    return pl.concat([*adults, *(_of_band(dependents, name) for name in BANDS)]).sort(
        "unit", maintain_order=True
    )


def _with_defaults(units: pl.DataFrame) -> pl.DataFrame:
    """Tax-Calculator takes an input column that is missing for zero."""
    return units.with_columns(
        pl.lit(0, pl.Int64).alias(name)
        for name in ("age_spouse", "n24", "EIC")
        if name not in units.columns
    )


def _others(band: str) -> pl.Expr:
    """How many in the band are neither head nor spouse."""
    low, high, _ = BANDS[band]
    head = pl.col("age_head").is_between(low, high)
    spouse = HAS_SPOUSE & pl.col("age_spouse").is_between(low, high)
    return pl.col(band) - head.cast(pl.Int64) - spouse.cast(pl.Int64)


def _refuse_missing_adults(dependents: pl.DataFrame) -> None:
    wrong = dependents.filter(pl.any_horizontal(pl.col(list(BANDS)) < 0))
    if len(wrong):
        first = wrong.row(0, named=True)
        raise InputError(
            f"tax_units: {len(wrong)} unit(s) do not count their own taxpayer or spouse among "
            f"their persons, first unit {first['unit_id']} (age_head {first['age_head']}, "
            f"age_spouse {first['age_spouse']}). Correct nu06, nu13, nu18, n1820 and n21, or the "
            f"ages, in the source."
        )


def _of_band(dependents: pl.DataFrame, band: str) -> pl.DataFrame:
    """One row a dependent of the band."""
    place = pl.int_range(pl.len()).over("unit")
    rows = dependents.select(pl.all().repeat_by(pl.col(band)).explode(empty_as_null=False))
    student, age = _student(band, place), pl.lit(BANDS[band][2], pl.Int64)
    if band == "persons_13_17":
        younger = pl.col("persons_0_5") + pl.col("persons_6_12")
        counted = place < pl.col("n24") - younger
        age = pl.when(counted).then(TEENAGER_OF_THE_CHILD_CREDIT).otherwise(age)
    elif band == "persons_21_64":
        age = pl.when(student).then(STUDENT).otherwise(age)
    return rows.select("unit", role=pl.lit("DEPENDENT"), age=age.cast(pl.Int64), student=student)


def _student(band: str, place: pl.Expr) -> pl.Expr:
    """Whether the dependent at ``place`` of the band is one of the students."""
    minors = pl.sum_horizontal("persons_0_5", "persons_6_12", "persons_13_17")
    students = pl.col("EIC") - pl.min_horizontal(minors, pl.lit(MOST_EITC_CHILDREN))
    if band == "persons_18_20":
        return place < students
    if band == "persons_21_64":
        return place < students - pl.col("persons_18_20")
    return pl.lit(value=False)

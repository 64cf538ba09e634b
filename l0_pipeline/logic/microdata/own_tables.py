"""The user's own Parquet tables: one of households, one of their tax units (the members).

The household table has exactly ``household_id``, ``design_weight`` and ``state_fips``. The
member table has ``household_id``, ``MARS``, ``XTOT`` and ``age_head``, and any other of
Tax-Calculator's input columns by its own name; a column that nothing would read is refused.
Where a unit holds more than taxpayer and spouse, the counts ``nu06``, ``nu13``, ``nu18``,
``n1820`` and ``n21`` must say how old the others are. ``RECID``, where given, numbers the units.

Benefits are taken as written: a household's amount belongs on one of its units only.
Opening the files is the work of ``l0_pipeline.resources.cps_source``.
"""

from functools import partial

import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import age_bands
from l0_pipeline.logic.microdata.columns import (
    BENEFIT_COLUMNS,
    HOUSEHOLD_COLUMNS,
    STATE_FIPS,
    TAX_INPUT_COLUMNS,
    TAX_UNIT_COLUMNS,
    conform,
)
from l0_pipeline.logic.microdata.refusal import (
    refuse_missing_columns,
    refuse_rows,
    refuse_unknown_columns,
)

SOURCE = "tables"

HOUSEHOLD_FILE_COLUMNS: tuple[str, ...] = ("household_id", "design_weight", "state_fips")
REQUIRED_MEMBER_COLUMNS: tuple[str, ...] = ("household_id", "MARS", "XTOT", "age_head")
MEMBER_COLUMNS: tuple[str, ...] = (
    "household_id",
    *(column.name for column in TAX_INPUT_COLUMNS),
)
_INTEGERS = {"household_id", "state_fips"} | {
    column.name for column in TAX_INPUT_COLUMNS if column.dtype is pl.Int64
}
MAY_BE_NEGATIVE: tuple[str, ...] = (
    "e00900", "e00900p", "e00900s", "e01100", "e01200", "e02000", "e02100", "e02100p", "e02100s",
    "e24515", "e24518", "e26270", "e27200", "k1bx14p", "k1bx14s", "p22250", "p23250", "cmbtp",
)  # fmt: skip

# the count to look at when an age band comes out negative
_BAND_COLUMN: dict[str, str] = {
    "persons_0_5": "nu06",
    "persons_6_12": "nu13",
    "persons_13_17": "nu18",
    "persons_18_20": "n1820",
    "persons_21_64": "n21",
    "persons_65_plus": "elderly_dependents",
}

# cents lost to rounding when parts are added up
ROUNDING = 0.02


def join(
    households: pl.DataFrame,
    members: pl.DataFrame,
    *,
    income_year: int,
    files: tuple[str, str],
) -> pl.DataFrame:
    """One row a tax unit: the members' columns, then those of the household and the year.

    Args:
        households: one row a household.
        members: one row a tax unit.
        income_year: the year in which the members' incomes were received.
        files: what messages call the household file and the member file.
    """
    household_file, member_file = files
    _check_columns(households, HOUSEHOLD_FILE_COLUMNS, HOUSEHOLD_FILE_COLUMNS, file=household_file)
    _check_columns(members, REQUIRED_MEMBER_COLUMNS, MEMBER_COLUMNS, file=member_file)
    key = pl.col("household_id").cast(pl.Int64)
    households, members = households.with_columns(key), members.with_columns(key)
    _check_households(households, members, files=files)
    _check_members(members, households, files=files)
    return members.join(households, on="household_id", how="left", validate="m:1").select(
        pl.lit(SOURCE).alias("source"),
        *members.columns,
        "design_weight",
        "state_fips",
        pl.lit(income_year, dtype=pl.Int64).alias("income_year"),
    )


def households(raw: pl.DataFrame) -> pl.DataFrame:
    """One row a household: the user's weight, persons, tax units and benefits."""
    units = tax_units(raw)
    benefits = [column.name for column in BENEFIT_COLUMNS if column.name in units.columns]
    given = raw.group_by("household_id").agg(
        pl.col("state_fips", "income_year", "design_weight").first()
    )
    summed = units.group_by("household_id").agg(
        pl.col("persons").sum(), pl.len().alias("tax_units"), pl.col(benefits).sum()
    )
    table = given.join(summed, on="household_id", how="inner", validate="1:1")
    return conform(table.sort("household_id"), HOUSEHOLD_COLUMNS)


def tax_units(raw: pl.DataFrame) -> pl.DataFrame:
    """One row a tax unit, by ``unit_id``, in Tax-Calculator's columns."""
    units = _with_counts(raw)
    if "RECID" in units.columns:
        units = units.with_columns(pl.col("RECID").alias("unit_id"))
    else:
        units = (
            units.sort("household_id", maintain_order=True)
            .with_row_index("unit_id", offset=1)
            .with_columns(pl.col("unit_id").alias("RECID"))
        )
    banded = units.with_columns(age_bands.persons().alias("persons"), **age_bands.bands())
    return conform(banded.sort("unit_id"), TAX_UNIT_COLUMNS)


def _with_counts(members: pl.DataFrame) -> pl.DataFrame:
    """The members with every age count; where the file has none, taxpayer and spouse alone."""
    whole = [name for name in members.columns if name in _INTEGERS]
    units = members.with_columns(pl.col(whole).cast(pl.Int64))
    for name in ("age_spouse", "elderly_dependents", "EIC"):
        if name not in units.columns:
            units = units.with_columns(pl.lit(0, dtype=pl.Int64).alias(name))
    if age_bands.COUNTS[0] in units.columns:
        return units
    head, spouse = pl.col("age_head"), pl.col("age_spouse")
    return units.with_columns(
        nu06=pl.lit(0),
        nu13=pl.lit(0),
        nu18=(head < 18).cast(pl.Int64) + spouse.is_between(1, 17).cast(pl.Int64),
        n1820=head.is_between(18, 20).cast(pl.Int64) + spouse.is_between(18, 20).cast(pl.Int64),
        n21=(head >= 21).cast(pl.Int64) + (spouse >= 21).cast(pl.Int64),
    )


def _check_columns(
    table: pl.DataFrame, required: tuple[str, ...], known: tuple[str, ...], *, file: str
) -> None:
    remedy = "Add or rename the columns."
    refuse_missing_columns(table.columns, required, file=file, remedy=remedy)
    refuse_unknown_columns(table.columns, known, file=file)
    if table.is_empty():
        raise InputError(f"{file}: the table has no rows. Write at least one.")
    for name, dtype in table.schema.items():
        whole = name in _INTEGERS
        if not (dtype.is_integer() if whole else dtype.is_numeric()):
            raise InputError(
                f"{file}: column {name} has dtype {dtype}, but "
                f"{'a whole number (any integer dtype)' if whole else 'a number'} is needed. "
                "Cast it before writing the file."
            )
        refuse_rows(
            table,
            pl.col(name).cast(pl.Int64, strict=False).is_null()
            if whole
            else ~pl.col(name).cast(pl.Float64).is_finite(),
            file=file,
            column=name,
            problem="is missing, not a number or infinite",
            remedy="Fill it with the true value, or drop those rows.",
            first_row=1,
        )


def _check_households(
    table: pl.DataFrame, members: pl.DataFrame, *, files: tuple[str, str]
) -> None:
    refuse = partial(refuse_rows, table, file=files[0], first_row=1)
    key = pl.col("household_id")
    refuse(
        key.is_duplicated(),
        column="household_id",
        problem="repeats",
        remedy="Keep one row a household.",
    )
    refuse(
        key < 0,
        column="household_id",
        problem="is negative",
        remedy="Number households from 0 or 1 upwards.",
    )
    refuse(
        pl.col("design_weight") < 0,
        column="design_weight",
        problem="is negative",
        remedy="A design weight is the number of households represented: 0 or more.",
    )
    refuse(
        ~pl.col("state_fips").is_in(STATE_FIPS),
        column="state_fips",
        problem="is not a state's FIPS code",
        remedy="Use 1 (Alabama) to 56 (Wyoming), 11 for the District of Columbia.",
    )
    refuse(
        ~key.is_in(members["household_id"].implode()),
        column="household_id",
        problem=f"has no tax unit in {files[1]}",
        remedy="Add its tax units or drop the household.",
    )
    if table["design_weight"].sum() == 0:
        raise InputError(
            f"{files[0]}: column design_weight is 0 in all {len(table)} rows. "
            "Give the households' weights of the survey design."
        )


def _check_members(
    table: pl.DataFrame, households: pl.DataFrame, *, files: tuple[str, str]
) -> None:
    file = files[1]
    refuse = partial(refuse_rows, table, file=file, first_row=1, remedy="Mend those rows.")
    refuse(
        ~pl.col("household_id").is_in(households["household_id"].implode()),
        column="household_id",
        problem=f"names a household that {files[0]} does not have",
    )
    if "RECID" in table.columns:
        refuse(pl.col("RECID").is_duplicated(), column="RECID", problem="repeats a unit")
    refuse(~pl.col("MARS").is_between(1, 5), column="MARS", problem="is outside 1 to 5")
    if "EIC" in table.columns:
        refuse(~pl.col("EIC").is_between(0, 3), column="EIC", problem="is outside 0 to 3")
    for name in table.columns:
        if name not in MAY_BE_NEGATIVE:
            refuse(pl.col(name) < 0, column=name, problem="is negative")
    _check_amounts(table, file=file)
    _check_counts(table, file=file)


def _check_amounts(table: pl.DataFrame, *, file: str) -> None:
    """Tax-Calculator's own rules, so that a breach names its rows."""
    refuse = partial(refuse_rows, table, file=file, first_row=1, remedy="Mend those rows.")

    def amount(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.Float64) if name in table.columns else pl.lit(0.0)

    for name in ("e00200", "e00900", "e02100"):
        own, spouse = f"{name}p", f"{name}s"
        shown = next((part for part in (name, own, spouse) if part in table.columns), None)
        if shown is None:
            continue
        rest = (amount(name) - amount(own) - amount(spouse)).abs() > ROUNDING
        refuse(rest, column=shown, problem=f"breaks {name} = {own} + {spouse}")
    for name in ("e00200s", "e00900s", "e02100s", "k1bx14s"):
        if name in table.columns:
            alone = (pl.col("MARS") != 2) & (pl.col(name) != 0)
            refuse(alone, column=name, problem="is a spouse's amount without a joint return")
    for part, whole in (("e00650", "e00600"), ("e01700", "e01500")):
        if part in table.columns:
            larger = amount(part) > amount(whole) + ROUNDING
            refuse(larger, column=part, problem=f"is larger than {whole}, of which it is a part")


def _check_counts(table: pl.DataFrame, *, file: str) -> None:
    """The ages of all persons of a unit are known, and no age band is negative."""
    given = [name for name in age_bands.COUNTS if name in table.columns]
    missing = [name for name in age_bands.COUNTS if name not in table.columns]
    if given and missing:
        raise InputError(
            f"{file}: {', '.join(given)} given without {', '.join(missing)}. "
            "Give all the age counts or none."
        )
    counted = _with_counts(table)
    refuse = partial(refuse_rows, counted, file=file, first_row=1)
    if missing:
        refuse(
            age_bands.persons() != pl.col("XTOT"),
            column="XTOT",
            problem="differs from the persons whose age age_head and age_spouse tell",
            remedy=f"Give the ages of the others in {', '.join(missing)}.",
        )
    for band, persons in age_bands.bands().items():
        refuse(
            persons < 0,
            column=_BAND_COLUMN[band],
            problem=f"leaves a negative number of {band}",
            remedy="Counts of dependents nest (nu06 in nu13 in nu18) and taxpayers are counted.",
        )
    refuse(
        age_bands.persons() < 1,
        column="n21",
        problem="leaves a unit without persons",
        remedy="Count taxpayer and spouse in nu18, n1820 and n21.",
    )

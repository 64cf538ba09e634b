"""The Census Bureau's ASEC archive: household, family and person records made into tax units.

The columns read, and what each means, are the tuples below. How the persons become units:

- A unit is the persons of a household with one TAX_ID. Its head is the first of them (by
  A_LINENO) with DEP_STAT 0, or the first person where all are dependents.
- The filing status is the head's FILESTAT: 1 to 3 joint, 4 head of household, 5 single. Units
  that do not file (6) are joint when head and spouse are both in the unit, else single.
- In joint units the spouse is the person whom the head's A_SPOUSE names, or else the next with
  DEP_STAT 0. Everybody else of the unit is a dependent.
- Incomes are those of head and spouse, for the year before the survey. Dependents' incomes
  belong to a return of their own and enter no unit; benefits count for every member.
- The survey does not ask which interest is tax-exempt, which dividends are qualified or which
  pensions are taxable: all interest and pensions are taken as taxable, and no dividends as
  qualified. Withdrawals from retirement accounts (DST_VAL) all count as taxable.
- Qualifying children for the earned income credit are dependents under 19 (students up to 23 are
  not told apart); for the child tax credit, dependents under 17.

Opening the archive is the work of ``l0_pipeline.resources.cps_source``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import age_bands
from l0_pipeline.logic.microdata.columns import (
    HOUSEHOLD_COLUMNS,
    HOUSEHOLD_ID_YEAR_FACTOR,
    PERSON_COLUMNS,
    STATE_FIPS,
    TAX_UNIT_COLUMNS,
    conform,
)
from l0_pipeline.logic.microdata.refusal import refuse_missing_columns, refuse_rows

SOURCE = "asec"

# every weight is written with two implied decimals
WEIGHT_SCALE = 100

# oldest age that the file writes
MAX_AGE = 85


@dataclass(frozen=True)
class Layout:
    """One csv of the archive: the columns read from it, required and optional."""

    member: str  # the start of its file name
    required: Mapping[str, str]
    optional: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read where the file has it."""
        return (*self.required, *self.optional)


HOUSEHOLDS = Layout(
    "hhpub",
    {
        "H_SEQ": "household number, unique within the survey",
        "H_YEAR": "survey year; incomes are those of the year before",
        "GESTFIPS": "state, FIPS code",
        "HSUP_WGT": "household weight, hundredths; zero for households without an interview",
    },
    {
        "H_HHTYPE": "1 when the household was interviewed",
        "HFDVAL": "value of SNAP (food stamps) received by the household",
    },
)
FAMILIES = Layout(
    "ffpub",
    {
        "FH_SEQ": "the family's household (H_SEQ)",
        "FFPOS": "number of the family within the household",
        "FSUP_WGT": "family weight, hundredths",
    },
    {},
)
PERSONS = Layout(
    "pppub",
    {
        "PH_SEQ": "the person's household (H_SEQ)",
        "PF_SEQ": "the person's family (FFPOS)",
        "A_LINENO": "line of the person within the household",
        "A_AGE": "age; 80 is 80 to 84, 85 is 85 or more",
        "A_SEX": "1 male, 2 female",
        "A_SPOUSE": "line of the spouse, 0 without one in the household",
        "MARSUPWT": "person weight, hundredths",
        "TAX_ID": "tax unit",
        "FILESTAT": "1 to 3 joint, 4 head of household, 5 single, 6 does not file",
        "DEP_STAT": "0 when nobody's dependent, else the line of the claimant",
        "WSAL_VAL": "wages and salaries",
        "SEMP_VAL": "own business",
        "FRSE_VAL": "own farm",
        "INT_VAL": "interest",
        "DIV_VAL": "dividends",
        "SS_VAL": "social security",
        "SSI_VAL": "Supplemental Security Income",
        "UC_VAL": "unemployment compensation",
        "PAW_VAL": "cash public assistance",
        "VET_VAL": "veterans' payments",
    },
    {
        "RNT_VAL": "rents, royalties, estates and trusts",
        "PNSN_VAL": "pensions; surveys from 2019",
        "ANN_VAL": "annuities; surveys from 2019",
        "RTM_VAL": "all retirement income; surveys before 2019",
        "DST_VAL1": "withdrawals from a first retirement account; surveys from 2019",
        "DST_VAL2": "withdrawals from further retirement accounts; surveys from 2019",
        "CAP_VAL": "capital gains; surveys from 2019",
        "ALM_VAL": "alimony; surveys before 2019",
    },
)
LAYOUTS: tuple[Layout, ...] = (HOUSEHOLDS, FAMILIES, PERSONS)
PENSIONS: tuple[str, ...] = ("PNSN_VAL", "ANN_VAL", "RTM_VAL")

# losses are written as negative amounts in these alone
MAY_BE_NEGATIVE: tuple[str, ...] = ("SEMP_VAL", "FRSE_VAL", "RNT_VAL", "CAP_VAL")

REMEDY = "Download the archive again from www2.census.gov/programs-surveys/cps/datasets."


def parse(text: pl.DataFrame, layout: Layout, *, file: str) -> pl.DataFrame:
    """The columns of one csv, read as text, as whole numbers; anything else is refused."""
    refuse_missing_columns(text.columns, tuple(layout.required), file=file, remedy=REMEDY)
    if text.is_empty():
        raise InputError(f"{file}: no rows under the header. {REMEDY}")
    for name in text.columns:
        refuse_rows(
            text,
            pl.col(name).str.strip_chars().cast(pl.Int64, strict=False).is_null(),
            file=file,
            column=name,
            problem="is not a whole number",
            remedy=REMEDY,
            first_row=2,
        )
    return text.select(pl.all().str.strip_chars().cast(pl.Int64))


def join(
    households: pl.DataFrame,
    families: pl.DataFrame,
    persons: pl.DataFrame,
    *,
    survey_year: int,
    files: tuple[str, str, str],
) -> pl.DataFrame:
    """One row a person, with the columns of its household and family; all are checked first.

    Households without an interview have no persons and are not among the rows.

    Args:
        households: the columns of ``HOUSEHOLDS``, parsed.
        families: the columns of ``FAMILIES``, parsed.
        persons: the columns of ``PERSONS``, parsed.
        survey_year: the year that the file names carry.
        files: what messages call the household, family and person file.
    """
    _check_households(households, survey_year=survey_year, file=files[0])
    _check_families(families, file=files[1])
    _check_persons(persons, file=files[2])
    _check_links(households, families, persons, files=files)
    joined = persons.join(
        households.with_columns(PH_SEQ="H_SEQ"), on="PH_SEQ", how="left", validate="m:1"
    ).join(
        families.with_columns(PH_SEQ="FH_SEQ", PF_SEQ="FFPOS"),
        on=["PH_SEQ", "PF_SEQ"],
        how="left",
        validate="m:1",
    )
    return joined.sort("PH_SEQ", "A_LINENO").select(pl.lit(SOURCE).alias("source"), pl.all())


def households(raw: pl.DataFrame) -> pl.DataFrame:
    """One row a household with persons: the household weight, persons and benefits."""
    surveyed = raw.group_by(_household_id().alias("household_id")).agg(
        pl.col("GESTFIPS").first().alias("state_fips"),
        (pl.col("H_YEAR").first() - 1).alias("income_year"),
        (pl.col("HSUP_WGT").first() / WEIGHT_SCALE).alias("design_weight"),
    )
    units = tax_units(raw)
    benefits = [name for name in units.columns if name.endswith("_ben")]
    summed = units.group_by("household_id").agg(
        pl.col("persons").sum(), pl.len().alias("tax_units"), pl.col(benefits).sum()
    )
    table = surveyed.join(summed, on="household_id", how="inner", validate="1:1")
    return conform(table.sort("household_id"), HOUSEHOLD_COLUMNS)


def persons(raw: pl.DataFrame) -> pl.DataFrame:
    """One row a person: the tax unit and the role in it, age, sex and the person's weight."""
    members = _members(raw).select(
        "household_id",
        "unit_id",
        "role",
        pl.col("A_LINENO").alias("line_number"),
        pl.col("GESTFIPS").alias("state_fips"),
        pl.col("A_AGE").alias("age"),
        pl.col("A_SEX").alias("sex"),
        (pl.col("MARSUPWT") / WEIGHT_SCALE).alias("person_weight"),
    )
    return conform(members.sort("household_id", "line_number"), PERSON_COLUMNS)


def tax_units(raw: pl.DataFrame) -> pl.DataFrame:
    """One row a tax unit, by ``unit_id``, in Tax-Calculator's columns."""
    members = _members(raw)
    units = members.group_by("unit_id").agg(
        pl.col("household_id").first(),
        pl.col("GESTFIPS").first().alias("state_fips"),
        pl.col("MARS").first(),
        pl.col("PF_SEQ").filter(_is("head")).first().alias("ffpos"),
        pl.col("A_LINENO").filter(_is("head")).first().alias("a_lineno"),
        pl.col("PH_SEQ").first().alias("h_seq"),
        (pl.col("H_YEAR").first() - 1).alias("FLPDYR"),
        **_counts(),
        **_incomes(members.columns),
        **_benefits(members.columns),
    )
    described = units.with_columns(
        pl.col("unit_id").alias("RECID"),
        pl.col("state_fips").alias("fips"),
        age_bands.persons().alias("persons"),
        age_bands.persons().alias("XTOT"),
        **age_bands.bands(),
    )
    return conform(described.sort("unit_id"), TAX_UNIT_COLUMNS)


def _household_id() -> pl.Expr:
    return (pl.col("H_YEAR") - 1) * HOUSEHOLD_ID_YEAR_FACTOR + pl.col("PH_SEQ")


def _members(raw: pl.DataFrame) -> pl.DataFrame:
    """The persons with ``household_id``, ``unit_id``, ``MARS`` of their unit and their role."""
    unit = ("household_id", "TAX_ID")
    numbered = (
        raw.with_columns(_household_id().alias("household_id"))
        .sort("household_id", "TAX_ID", "A_LINENO")
        .with_columns(pl.struct(unit).rle_id().cast(pl.Int64).add(1).alias("unit_id"))
    )
    line = pl.col("A_LINENO")
    independent = pl.col("DEP_STAT") == 0
    headed = numbered.with_columns(
        pl.coalesce(line.filter(independent).first(), line.first()).over("unit_id").alias("head"),
        line.min().over("household_id").alias("first_line"),
    )
    at_head = line == pl.col("head")
    with_partner = headed.with_columns(
        pl.col("FILESTAT").filter(at_head).first().over("unit_id").alias("status"),
        pl.col("A_SPOUSE").filter(at_head).first().over("unit_id").alias("named"),
    ).with_columns(
        line.filter((line == pl.col("named")) & (pl.col("named") > 0) & ~at_head)
        .first()
        .over("unit_id")
        .alias("married_to"),
        line.filter(independent & ~at_head).first().over("unit_id").alias("next_independent"),
    )
    joint = pl.col("status") <= 3
    both_present = (pl.col("status") == 6) & pl.col("married_to").is_not_null()
    spouse = (
        pl.when(joint)
        .then(pl.coalesce("married_to", "next_independent"))
        .when(both_present)
        .then("married_to")
    )
    return with_partner.with_columns(
        MARS=pl.when(joint | both_present).then(2).when(pl.col("status") == 4).then(4).otherwise(1),
        role=pl.when(at_head)
        .then(pl.lit("head"))
        .when((line == spouse).fill_null(False))
        .then(pl.lit("spouse"))
        .otherwise(pl.lit("dependent")),
    )


def _is(role: str) -> pl.Expr:
    return pl.col("role") == role


def _aged(lower: int, upper: int) -> pl.Expr:
    return pl.col("A_AGE").is_between(lower, upper - 1)


def _counts() -> dict[str, pl.Expr]:
    """Ages and person counts of a unit, as Tax-Calculator means them."""
    age, dependent = pl.col("A_AGE"), _is("dependent")
    return {
        "age_head": age.filter(_is("head")).first(),
        # Tax-Calculator reads a spouse aged 0 as no spouse
        "age_spouse": age.filter(_is("spouse")).first().fill_null(0),
        "nu06": (dependent & _aged(0, 6)).sum(),
        "nu13": (dependent & _aged(0, 13)).sum(),
        "nu18": _aged(0, 18).sum(),
        "n1820": _aged(18, 21).sum(),
        "n21": (age >= 21).sum(),
        "n24": (dependent & _aged(0, 17)).sum(),
        "elderly_dependents": (dependent & (age >= age_bands.OLD)).sum(),
        "EIC": (dependent & _aged(0, 19)).sum().clip(upper_bound=3),
    }


def _incomes(present: list[str]) -> dict[str, pl.Expr]:
    """Tax-Calculator's incomes of a unit: those of head and spouse."""
    filer = _is("head") | _is("spouse")
    incomes: dict[str, pl.Expr] = {}
    for name, column in (("e00200", "WSAL_VAL"), ("e00900", "SEMP_VAL"), ("e02100", "FRSE_VAL")):
        amount = pl.col(column)
        incomes[name] = amount.filter(filer).sum()
        incomes[f"{name}p"] = amount.filter(_is("head")).sum()
        incomes[f"{name}s"] = amount.filter(_is("spouse")).sum()
    sources = {
        "e00300": ("INT_VAL",),
        "e00600": ("DIV_VAL",),
        "e00800": ("ALM_VAL",),
        "e01100": ("CAP_VAL",),
        "e01400": ("DST_VAL1", "DST_VAL2"),
        "e01500": PENSIONS,
        "e01700": PENSIONS,
        "e02000": ("RNT_VAL",),
        "e02300": ("UC_VAL",),
        "e02400": ("SS_VAL",),
    }
    for name, columns in sources.items():
        asked = [column for column in columns if column in present]
        if asked:
            incomes[name] = pl.sum_horizontal(asked).filter(filer).sum()
    return incomes


def _benefits(present: list[str]) -> dict[str, pl.Expr]:
    """Benefits of all members; SNAP is the household's and counts on its first unit."""
    benefits = {
        "ssi_ben": pl.col("SSI_VAL").sum(),
        "tanf_ben": pl.col("PAW_VAL").sum(),
        "vet_ben": pl.col("VET_VAL").sum(),
    }
    if "HFDVAL" in present:
        # the household's first unit is the one that its lowest line number belongs to
        benefits["snap_ben"] = (
            pl.col("HFDVAL").filter(pl.col("A_LINENO") == pl.col("first_line")).first().fill_null(0)
        )
    return benefits


def _check_households(table: pl.DataFrame, *, survey_year: int, file: str) -> None:
    refuse = partial(refuse_rows, table, file=file, remedy=REMEDY, first_row=2)
    refuse(pl.col("H_SEQ").is_duplicated(), column="H_SEQ", problem="repeats a household")
    refuse(
        pl.col("H_YEAR") != survey_year,
        column="H_YEAR",
        problem=f"is not the survey year {survey_year} of the file names",
        remedy="Give the archive of one survey under its own name (asecpubYYcsv.zip).",
    )
    refuse(~pl.col("GESTFIPS").is_in(STATE_FIPS), column="GESTFIPS", problem="is not a state")
    refuse(pl.col("HSUP_WGT") < 0, column="HSUP_WGT", problem="is a negative weight")
    if table["HSUP_WGT"].sum() == 0:
        raise InputError(f"{file}: every HSUP_WGT of {len(table)} rows is 0. {REMEDY}")


def _check_families(table: pl.DataFrame, *, file: str) -> None:
    refuse = partial(refuse_rows, table, file=file, remedy=REMEDY, first_row=2)
    repeated = pl.struct("FH_SEQ", "FFPOS").is_duplicated()
    refuse(repeated, column="FFPOS", problem="repeats a family of its household")
    refuse(pl.col("FSUP_WGT") < 0, column="FSUP_WGT", problem="is a negative weight")


def _check_persons(table: pl.DataFrame, *, file: str) -> None:
    refuse = partial(refuse_rows, table, file=file, remedy=REMEDY, first_row=2)
    if not any(name in table.columns for name in PENSIONS):
        raise InputError(f"{file}: none of {', '.join(PENSIONS)} is a column. {REMEDY}")
    repeated = pl.struct("PH_SEQ", "A_LINENO").is_duplicated()
    refuse(repeated, column="A_LINENO", problem="repeats a person of its household")
    refuse(pl.col("MARSUPWT") < 0, column="MARSUPWT", problem="is a negative weight")
    ranges = {"A_AGE": (0, MAX_AGE), "A_SEX": (1, 2), "FILESTAT": (1, 6)}
    for name, (lower, upper) in ranges.items():
        problem = f"is outside {lower} to {upper}"
        refuse(~pl.col(name).is_between(lower, upper), column=name, problem=problem)
    for name in table.columns:
        if name.endswith(("_VAL", "_VAL1", "_VAL2")) and name not in MAY_BE_NEGATIVE:
            refuse(pl.col(name) < 0, column=name, problem="is a negative amount")


def _check_links(
    households: pl.DataFrame,
    families: pl.DataFrame,
    persons: pl.DataFrame,
    *,
    files: tuple[str, str, str],
) -> None:
    refuse_orphan = partial(refuse_rows, persons, file=files[2], remedy=REMEDY, first_row=2)
    refuse_orphan(
        ~pl.col("PH_SEQ").is_in(households["H_SEQ"].implode()),
        column="PH_SEQ",
        problem=f"names a household that {files[0]} does not have",
    )
    known = families.select(pl.struct("FH_SEQ", "FFPOS").alias("family"))
    family = pl.struct(pl.col("PH_SEQ").alias("FH_SEQ"), pl.col("PF_SEQ").alias("FFPOS"))
    refuse_orphan(
        ~family.is_in(known["family"].implode()),
        column="PF_SEQ",
        problem=f"names a family that {files[1]} does not have",
    )
    if "H_HHTYPE" in households.columns:
        interviewed_without_persons = (pl.col("H_HHTYPE") == 1) & ~pl.col("H_SEQ").is_in(
            persons["PH_SEQ"].implode()
        )
        refuse_rows(
            households,
            interviewed_without_persons,
            file=files[0],
            column="H_SEQ",
            problem=f"was interviewed (H_HHTYPE 1) but has no person in {files[2]}",
            remedy=REMEDY,
            first_row=2,
        )

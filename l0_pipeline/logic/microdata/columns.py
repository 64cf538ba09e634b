"""The columns of the microdata tables: name, dtype, unit and what each one means.

The one home of these descriptions: column schemas in the UI and the data dictionary of a
release are made from them. How a source is turned into these columns lives in its layout
module (``taxcalc_cps``, ``asec``, ``own_tables``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

# the 50 states and the District of Columbia; the gaps are codes never given to a state
STATE_FIPS: tuple[int, ...] = tuple(sorted(set(range(1, 57)) - {3, 7, 14, 43, 52}))

# household_id = income year x this + the survey's household number, so years never collide
HOUSEHOLD_ID_YEAR_FACTOR = 1_000_000

DOLLARS_THEN = "dollars of the income year"  # of the survey's records, before they are aged


@dataclass(frozen=True)
class Column:
    """One column of a table, described once."""

    name: str
    dtype: type[pl.DataType]
    unit: str
    description: str


def conform(frame: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    """The declared columns that ``frame`` has, in declared order and dtype; others are dropped."""
    return frame.select(
        pl.col(column.name).cast(column.dtype) for column in columns if column.name in frame.columns
    )


def _count(name: str, description: str) -> Column:
    return Column(name, pl.Int64, "persons", description)


def _code(name: str, description: str, unit: str = "code") -> Column:
    return Column(name, pl.Int64, unit, description)


def _money(name: str, description: str) -> Column:
    return Column(name, pl.Float64, DOLLARS_THEN, description)


_HOUSEHOLD_ID = _code(
    "household_id",
    "Household: income year x 1,000,000 + the survey's household number, or the user's own id",
    "identifier",
)
_STATE_FIPS = _code("state_fips", "State of residence, FIPS code 1 to 56", "FIPS code")

BENEFIT_COLUMNS: tuple[Column, ...] = (
    _money("snap_ben", "SNAP (food stamps), counted once a household, on its first unit"),
    _money("housing_ben", "Housing assistance, counted once a family, on its first unit"),
    _money("ssi_ben", "Supplemental Security Income"),
    _money("tanf_ben", "Cash public assistance (TANF and other)"),
    _money("vet_ben", "Veterans' benefits"),
    _money("wic_ben", "Nutrition benefits for women, infants and children (WIC)"),
    _money(
        "mcaid_ben", "Medicaid at one insurance value a person: a count of enrollees in dollars"
    ),
    _money(
        "mcare_ben", "Medicare at one insurance value a person: a count of enrollees in dollars"
    ),
    _money("other_ben", "Other benefits, not imputed"),
)

HOUSEHOLD_COLUMNS: tuple[Column, ...] = (
    _HOUSEHOLD_ID,
    _STATE_FIPS,
    _code("income_year", "Year in which the survey's incomes were received", "year"),
    _count("persons", "Persons of the household whose age is known"),
    _code("tax_units", "Tax units of the household", "tax units"),
    Column("design_weight", pl.Float64, "households", "Households that this one stands for"),
    *BENEFIT_COLUMNS,
)

AGE_BAND_COLUMNS: tuple[Column, ...] = (
    _count("persons_0_5", "Persons of the unit aged 0 to 5"),
    _count("persons_6_12", "Persons of the unit aged 6 to 12"),
    _count("persons_13_17", "Persons of the unit aged 13 to 17"),
    _count("persons_18_20", "Persons of the unit aged 18 to 20"),
    _count("persons_21_64", "Persons of the unit aged 21 to 64"),
    _count("persons_65_plus", "Persons of the unit aged 65 or more"),
)

# Tax-Calculator's input columns, by its own names
TAX_INPUT_COLUMNS: tuple[Column, ...] = (
    _code("RECID", "Number of the unit in its source", "identifier"),
    _code("FLPDYR", "Income year of the unit in its source", "year"),
    _code(
        "MARS",
        "Filing status: 1 single, 2 joint, 3 separate, 4 head of household, 5 widow(er)",
    ),
    _count(
        "XTOT",
        "Exemptions: taxpayer, spouse and dependents; corrected to the persons counted "
        "where a unit that is not a joint return had one too many",
    ),
    _code("DSI", "1 when another return claims the taxpayer as a dependent"),
    _code("EIC", "Qualifying children for the earned income credit, 0 to 3", "children"),
    _code("MIDR", "1 when a separately filing spouse itemizes"),
    _code(
        "age_head",
        "Age of the taxpayer; in the survey 80 means 80 to 84 and 85 means 85 or more",
        "years",
    ),
    _code("age_spouse", "Age of the spouse, 0 without one; 80 and 85 are codes as above", "years"),
    _code("blind_head", "1 when the taxpayer is blind"),
    _code("blind_spouse", "1 when the spouse is blind"),
    _count("nu06", "Dependents under 6; a taxpayer of that age is not among them"),
    _count("nu13", "Dependents under 13; a taxpayer of that age is not among them"),
    _count("nu18", "Persons of the unit under 18, taxpayer and spouse included"),
    _count("n1820", "Persons of the unit aged 18 to 20"),
    _count("n21", "Persons of the unit aged 21 or more"),
    _count("n24", "Children under 17 who count for the child tax credit"),
    _count("elderly_dependents", "Dependents aged 65 or more"),
    _count("f2441", "Persons whose care counts for the dependent care credit"),
    _code("f6251", "1 when the alternative minimum tax form is attached"),
    _code("agi_bin", "Income class that Tax-Calculator's ageing uses"),
    _code("data_source", "1 when made from a public-use tax file, 0 from the survey"),
    _code("fips", "State as the source writes it", "FIPS code"),
    _code("h_seq", "Household number in the survey file; unique within an income year only"),
    _code("ffpos", "Family number within the household"),
    _code("a_lineno", "Line number of the taxpayer within the household"),
    Column(
        "s006",
        pl.Float64,
        "hundredths of a tax unit",
        "Weight of the unit as the source states it; households carry the weight used here",
    ),
    _money("e00200", "Wages, salaries and tips"),
    _money("e00200p", "Wages, salaries and tips of the taxpayer"),
    _money("e00200s", "Wages, salaries and tips of the spouse"),
    _money("pencon_p", "Taxpayer's own payments into defined-contribution pensions"),
    _money("pencon_s", "Spouse's own payments into defined-contribution pensions"),
    _money("e00300", "Taxable interest"),
    _money("e00400", "Tax-exempt interest"),
    _money("e00600", "Dividends, qualified ones included"),
    _money("e00650", "Qualified dividends"),
    _money("e00700", "Refunds of state and local income tax that are taxable"),
    _money("e00800", "Alimony received"),
    _money("e00900", "Profit or loss of own business (Schedule C)"),
    _money("e00900p", "Profit or loss of the taxpayer's own business"),
    _money("e00900s", "Profit or loss of the spouse's own business"),
    _money("e01100", "Capital gain distributions outside Schedule D"),
    _money("e01200", "Other gains and losses (Form 4797)"),
    _money("e01400", "Taxable withdrawals from individual retirement accounts"),
    _money("e01500", "Pensions and annuities, all"),
    _money("e01700", "Pensions and annuities, the taxable part"),
    _money("e02000", "Rents, royalties, partnerships, S corporations, estates and trusts"),
    _money("e02100", "Profit or loss of farming (Schedule F)"),
    _money("e02100p", "Profit or loss of the taxpayer's farming"),
    _money("e02100s", "Profit or loss of the spouse's farming"),
    _money("e02300", "Unemployment compensation"),
    _money("e02400", "Social security benefits, all"),
    _money("e03150", "Deductible payments into individual retirement accounts"),
    _money("e03210", "Interest on student loans"),
    _money("e03220", "Expenses of educators"),
    _money("e03230", "Tuition and fees"),
    _money("e03240", "Deduction for domestic production"),
    _money("e03270", "Health insurance of the self-employed"),
    _money("e03290", "Payments into health savings accounts"),
    _money("e03300", "Retirement plans of the self-employed"),
    _money("e03400", "Penalty for early withdrawal of savings"),
    _money("e03500", "Alimony paid"),
    _money("e07240", "Credit for retirement savings"),
    _money("e07260", "Credit for residential energy"),
    _money("e07300", "Credit for foreign taxes"),
    _money("e07400", "General business credit"),
    _money("e07600", "Credit for minimum tax of earlier years"),
    _money("e09700", "Investment credit taken back"),
    _money("e09800", "Payroll taxes not reported by the employer"),
    _money("e09900", "Penalty tax on retirement plans"),
    _money("e11200", "Payroll tax withheld beyond the maximum"),
    _money("e17500", "Medical expenses that may be itemized"),
    _money("e18400", "State and local income or sales taxes that may be itemized"),
    _money("e18500", "Real estate taxes that may be itemized"),
    _money("e19200", "Interest paid that may be itemized"),
    _money("e19800", "Gifts to charity in cash"),
    _money("e20100", "Gifts to charity other than cash"),
    _money("e20400", "Miscellaneous expenses that may be itemized"),
    _money("g20500", "Casualty and theft losses before the floor"),
    _money("e24515", "Gain on depreciated real estate (section 1250)"),
    _money("e24518", "Gain taxed at 28 percent"),
    _money("e26270", "Partnerships and S corporations, a part of e02000"),
    _money("e27200", "Farm rent, a part of e02000"),
    _money("e32800", "Expenses for the care of children and dependents"),
    _money("e58990", "Investment income chosen as such (Form 4952)"),
    _money("e62900", "Foreign tax credit of the alternative minimum tax"),
    _money("e87521", "American opportunity credit, tentative"),
    _money("e87530", "Expenses for the lifetime learning credit"),
    _money("cmbtp", "Income of the alternative minimum tax that is not in gross income"),
    _money("k1bx14p", "Taxpayer's self-employment earnings from partnerships"),
    _money("k1bx14s", "Spouse's self-employment earnings from partnerships"),
    _money("p08000", "Other credits"),
    _money("p22250", "Short-term capital gains less losses"),
    _money("p23250", "Long-term capital gains less losses"),
    _code("PT_SSTB_income", "1 when business income is from a specified service trade"),
    _money("PT_binc_w2_wages", "Share of wages paid by the pass-through business"),
    _money("PT_ubia_property", "Share of property owned by the pass-through business"),
    _money("auto_loan_interest", "Interest on car loans that qualifies for deduction"),
    _money("overtime_income", "Overtime pay that qualifies for deduction"),
    _money("tip_income", "Tips that qualify for deduction"),
    *BENEFIT_COLUMNS,
)

TAX_UNIT_COLUMNS: tuple[Column, ...] = (
    _HOUSEHOLD_ID,
    _code("unit_id", "Tax unit, unique over all households", "identifier"),
    _STATE_FIPS,
    _count("persons", "Persons of the unit whose age is known; the sum of the age bands"),
    *AGE_BAND_COLUMNS,
    *TAX_INPUT_COLUMNS,
)

PERSON_COLUMNS: tuple[Column, ...] = (
    _HOUSEHOLD_ID,
    _code("unit_id", "Tax unit that the person belongs to", "identifier"),
    _code("line_number", "Line of the person within the household"),
    _STATE_FIPS,
    Column("role", pl.String, "code", "In the tax unit: head, spouse or dependent"),
    _code("age", "Age; 80 means 80 to 84 and 85 means 85 or more", "years"),
    _code("sex", "1 male, 2 female"),
    Column("person_weight", pl.Float64, "persons", "Persons that this one stands for"),
)

"""Federal income and payroll taxes of every tax unit, by Tax-Calculator, at the target year.

Tax-Calculator ages the records with its own growth factors from the year of their incomes to
the target year and applies that year's law. Weights play no part here: the model is run unit
by unit. One thing depends on the place of a unit among the others: who claims the refundable
credits is drawn, one number a row from a fixed seed; ``credit_draws`` says which numbers would
have given the same. What the results are called in the published statistics is in ``measures``;
how the aged records become files that ``tc`` reads, in ``release.taxcalc_files``.
"""

from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from l0_pipeline.logic.errors import InputError

RESULTS: tuple[str, ...] = (
    "c00100",  # adjusted gross income
    "c02500",  # taxable social security benefits
    "c04470",  # itemized deductions, where they are chosen
    "standard",  # standard deduction, where it is chosen
    "c04800",  # taxable income
    "c05800",  # income tax before credits, with the alternative minimum tax
    "c07100",  # non-refundable credits used
    "c07180",  # child and dependent care credit
    "c07220",  # child tax credit, non-refundable part
    "odc",  # credit for other dependents
    "c09600",  # alternative minimum tax
    "c11070",  # additional (refundable) child tax credit
    "c17000",  # itemized medical expenses, deductible
    "c18300",  # itemized taxes paid
    "c19200",  # itemized interest paid
    "c19700",  # itemized charitable contributions
    "eitc",  # earned income tax credit
    "iitax",  # individual income tax after refundable credits
    "niit",  # net investment income tax
    "payrolltax",  # payroll taxes of employers and employees
    "ptax_amc",  # additional medicare tax
    "qbided",  # qualified business income deduction
    "setax",  # self-employment tax
)
AGED_INPUTS: tuple[str, ...] = (
    "e00200", "e00300", "e00400", "e00600", "e00650", "e00900", "e01100", "e01400",
    "e01500", "e01700", "e02100", "e02300", "e02400", "e03150", "e03210", "e03270",
    "e03300", "e17500", "e18400", "e18500", "e19200",
    "mcaid_ben", "mcare_ben", "snap_ben", "ssi_ben",
)  # fmt: skip
# what is also computed had all amounts of money been lower, and had they been higher
RESPONDING: tuple[str, ...] = ("iitax", "payrolltax", "eitc", "c07220", "c11070")
OTHER_INCOMES = {"lower": 0.9, "higher": 1.1}
FILING_THRESHOLD = "filing_threshold"  # the year's standard deduction for the filing status
TAX_OUTPUT_COLUMNS: tuple[str, ...] = (*RESULTS, *AGED_INPUTS, FILING_THRESHOLD)


# credits that only some of the eligible claim; the draw is compared with a probability each
DRAWN_CREDITS: tuple[str, ...] = ("eitc", "c11070")
HALVINGS = 12  # of the range in which a draw's limit lies: to 1 / 4,096 of it


def run_tax_model(tax_units: pl.DataFrame, *, income_year: int, target_year: int) -> pl.DataFrame:
    """Tax-Calculator's results and aged inputs, one row a tax unit, in the units' order.

    Args:
        tax_units: ``unit_id`` and Tax-Calculator's input columns by their own names.
        income_year: the year of the records' incomes, where ageing starts.
        target_year: the year of the law, the incomes and the result, at or after ``income_year``.

    Raises:
        InputError: the target year lies before the income year, one of them beyond the growth
            factors or the law, or the records break one of Tax-Calculator's own rules.
    """
    records = _aged_records(tax_units, income_year=income_year, target_year=target_year)
    calculator = _calculator(records, year=target_year)
    calculator.calc_all()
    standard_deduction = calculator.policy_param("STD")[tax_units["MARS"].to_numpy() - 1]
    return pl.DataFrame(
        {"unit_id": tax_units["unit_id"]}
        | {name: calculator.array(name).astype("float64") for name in RESULTS + AGED_INPUTS}
        | {FILING_THRESHOLD: standard_deduction.astype("float64")}
    )


def tax_responses(tax_units: pl.DataFrame, *, income_year: int, target_year: int) -> pl.DataFrame:
    """``unit_id`` and each of ``RESPONDING`` at ``OTHER_INCOMES``, one row a tax unit, in order.

    Taxes and credits had every amount of money been a tenth lower, and a tenth higher: what a unit
    near a threshold of the law would pay on its other side. The arguments and errors are those of
    ``run_tax_model``.
    """
    records = _aged_records(tax_units, income_year=income_year, target_year=target_year)
    amounts = sorted(records.USABLE_READ_VARS - records.INTEGER_READ_VARS - {"s006"})
    found = {}
    for incomes, factor in OTHER_INCOMES.items():
        calculator = _calculator(records, year=target_year)
        for name in amounts:
            calculator.array(name, factor * calculator.array(name))
        calculator.calc_all()
        for name in RESPONDING:
            found[f"{name}_{incomes}"] = calculator.array(name).astype("float64")
    return pl.DataFrame({"unit_id": tax_units["unit_id"]} | found)


def credit_draws(
    tax_units: pl.DataFrame, results: pl.DataFrame, *, income_year: int, target_year: int
) -> pl.DataFrame:
    """``unit_id``, ``draw``, ``least`` and ``most``, one row a tax unit, in the units' order.

    Every draw from ``least`` to ``most`` gives the credits in ``results``, which is what
    ``run_tax_model`` found for these units with ``draw``. It is 0 to 1 for the units (most of
    them) that are not eligible for a credit of ``DRAWN_CREDITS``.
    """
    draw = claim_stream(len(tax_units))
    found = results.select(DRAWN_CREDITS).to_numpy()
    records = _aged_records(tax_units, income_year=income_year, target_year=target_year)
    everybody_claims = _credits(_calculator(records, year=target_year), np.zeros_like(draw))
    eligible = np.flatnonzero(everybody_claims.any(axis=1))
    least, most = np.zeros_like(draw), np.ones_like(draw)
    if len(eligible):
        records = _aged_records(
            tax_units[eligible], income_year=income_year, target_year=target_year
        )
        calculator = _calculator(records, year=target_year)
        for limits, end in ((least, 0.0), (most, 1.0)):
            limits[eligible] = _furthest(calculator, found[eligible], draw[eligible], towards=end)
    return pl.DataFrame(
        {"unit_id": tax_units["unit_id"], "draw": draw, "least": least, "most": most}
    )


def claim_stream(size: int) -> NDArray[np.float64]:  # (size,)
    """The draws that Tax-Calculator gives to the rows of a file, from the first one on."""
    import pandas as pd
    import taxcalc

    rows = pd.DataFrame({"RECID": np.arange(size), "MARS": np.ones(size, dtype=int)})
    records = taxcalc.Records(data=rows, start_year=taxcalc.Policy.JSON_START_YEAR)
    draws: NDArray[np.float64] = records.credit_claim_urn
    return draws


def age_tax_units(tax_units: pl.DataFrame, *, income_year: int, target_year: int) -> pl.DataFrame:
    """``tax_units`` with every amount of money, and FLPDYR, as Tax-Calculator ages them.

    The rows, the columns and their order stay; so do counts, codes and the survey's weight. These
    are the inputs from which ``run_tax_model`` computes its results, under the same conditions.
    """
    records = _aged_records(tax_units, income_year=income_year, target_year=target_year)
    amounts = records.USABLE_READ_VARS - records.INTEGER_READ_VARS - {"s006"}
    aged = [
        pl.Series(name, getattr(records, name)) for name in tax_units.columns if name in amounts
    ]
    year = pl.lit(target_year, pl.Int64).alias("FLPDYR")
    return tax_units.with_columns(*aged, *([year] if "FLPDYR" in tax_units.columns else []))


def growth_of_weights(*, first_year: int) -> dict[int, float]:
    """The sum of the weights of Tax-Calculator's own CPS file in each year, over ``first_year``'s.

    It has no other projection of the population; the factors of ageing are amounts a head.
    """
    import taxcalc

    totals = taxcalc.Records.cps_constructor().WT.sum()
    if f"WT{first_year}" not in totals:
        raise InputError(
            f"Tax-Calculator has no CPS weights for {first_year}, but for {totals.index[0][2:]} "
            f"to {totals.index[-1][2:]}. Choose another partition."
        )
    years = range(first_year, taxcalc.GrowFactors().last_year + 1)
    return {year: float(totals[f"WT{year}"] / totals[f"WT{first_year}"]) for year in years}


def growth_of_amounts() -> pl.DataFrame:
    """Tax-Calculator's growth factors, one row a year: what the amounts were aged by."""
    import taxcalc

    factors = taxcalc.GrowFactors()
    table: pl.DataFrame = pl.from_pandas(factors.gfdf.reset_index())
    return table


def _furthest(
    calculator: Any,
    same: NDArray[np.float64],  # (units, credits)
    draws: NDArray[np.float64],  # (units,)
    *,
    towards: float,
) -> NDArray[np.float64]:  # (units,)
    """The draw furthest ``towards`` 0 or 1 that gives the ``same`` credits, by halving."""
    good, bad = draws.copy(), np.full_like(draws, towards)
    for _ in range(HALVINGS):
        tried = (good + bad) / 2
        agrees = (_credits(calculator, tried) == same).all(axis=1)
        good, bad = np.where(agrees, tried, good), np.where(agrees, bad, tried)
    return good


def _credits(calculator: Any, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """The drawn credits of every unit, had it drawn ``draws``: (units, credits)."""
    calculator.array("credit_claim_urn", draws)
    calculator.calc_all()
    return np.column_stack([calculator.array(name) for name in DRAWN_CREDITS])


def _calculator(records: Any, *, year: int) -> Any:
    """Tax-Calculator under the law of ``year``; it works on copies of both."""
    import taxcalc

    return taxcalc.Calculator(policy=_law(year), records=records, verbose=False)


@cache
def _law(year: int) -> Any:
    """Current law, set to ``year``; to read it takes Tax-Calculator a second."""
    import taxcalc

    policy = taxcalc.Policy()
    policy.set_year(year)
    return policy


def _aged_records(tax_units: pl.DataFrame, *, income_year: int, target_year: int) -> Any:
    """Tax-Calculator's Records of ``tax_units`` at ``target_year``; it has no types of its own."""
    import pandas as pd
    import taxcalc

    first_income, last_year = taxcalc.GrowFactors().first_year, taxcalc.GrowFactors().last_year
    first_law = taxcalc.Policy.JSON_START_YEAR
    if not (first_income <= income_year <= target_year and first_law <= target_year <= last_year):
        raise InputError(
            f"target year {target_year} cannot be reached from incomes of {income_year}: "
            f"Tax-Calculator ages incomes of {first_income} and later, forward only, to the law of "
            f"{first_law} to {last_year}. Choose another partition or another source."
        )
    frame = tax_units.with_columns(RECID=pl.col("unit_id")).to_pandas()
    # ageing insists on a table of weights, one column a year; the model's own are not used here
    weights = pd.DataFrame(
        {f"WT{year}": [100.0] * len(frame) for year in range(income_year, target_year + 1)}
    )
    try:
        records = taxcalc.Records(
            data=frame, start_year=income_year, gfactors=taxcalc.GrowFactors(), weights=weights
        )
    except ValueError as error:
        raise InputError(
            f"Tax-Calculator refuses the tax units of income year {income_year}: {error}. "
            "Mend the members' columns in the source."
        ) from error
    while records.current_year < target_year:
        records.increment_year()
    return records

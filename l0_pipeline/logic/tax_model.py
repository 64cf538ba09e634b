"""Federal income and payroll taxes of every tax unit, by Tax-Calculator, at the target year.

Tax-Calculator ages the records with its own growth factors from the year of their incomes to
the target year and applies that year's law. Weights play no part here: the model is run unit
by unit. What its results are called in the published statistics is in ``measures``.
"""

import polars as pl

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
FILING_THRESHOLD = "filing_threshold"  # the year's standard deduction for the filing status
TAX_OUTPUT_COLUMNS: tuple[str, ...] = (*RESULTS, *AGED_INPUTS, FILING_THRESHOLD)


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
    calculator = taxcalc.Calculator(policy=taxcalc.Policy(), records=records, verbose=False)
    calculator.advance_to_year(target_year)
    calculator.calc_all()
    standard_deduction = calculator.policy_param("STD")[tax_units["MARS"].to_numpy() - 1]
    return pl.DataFrame(
        {"unit_id": tax_units["unit_id"]}
        | {name: calculator.array(name).astype("float64") for name in RESULTS + AGED_INPUTS}
        | {FILING_THRESHOLD: standard_deduction.astype("float64")}
    )

"""What the published statistics count, as columns of the microdata: one row a tax unit.

Each measure is one Polars expression over the tax units and the tax model's results. Which
published variable is which measure, and how close the two definitions are, is data:
``data/figures/variables.csv``.
"""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic.errors import InputError

# 26 U.S.C. 6017 asks for a return at $400 of net earnings: $434 before the 92.35 % rule
SELF_EMPLOYMENT_FILING_LIMIT = 434

FILING_STATUS: dict[str, int] = {
    "single": 1,
    "married_joint": 2,
    "married_separate": 3,
    "head_of_household": 4,
}

# the age bands the records can tell apart, lower bound included, upper not, in ascending order
AGE_BANDS: dict[tuple[int, int | None], str] = {
    (0, 6): "persons_0_5",
    (6, 13): "persons_6_12",
    (13, 18): "persons_13_17",
    (18, 21): "persons_18_20",
    (21, 65): "persons_21_64",
    (65, None): "persons_65_plus",
}

# measures that count the persons covered, and the benefit that is one constant times these
COUNTED_BY_AMOUNT: dict[str, str] = {"medicaid_persons": "mcaid_ben"}


def amounts_a_person(tax_outputs: pl.DataFrame) -> dict[str, float]:
    """Dollars that stand for one person covered, by measure; none where nobody is covered.

    The smallest amount is one person's in the whole survey, but need not be in a part of it. A
    release publishes the amounts of the whole, so that its rows alone count the same persons.
    """
    smallest = {
        measure: tax_outputs.filter(pl.col(benefit) > 0)[benefit].cast(pl.Float64).min()
        for measure, benefit in COUNTED_BY_AMOUNT.items()
    }
    return {measure: amount for measure, amount in smallest.items() if isinstance(amount, float)}


def unit_measures(
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
    *,
    amounts: Mapping[str, float] | None = None,
) -> pl.DataFrame:
    """Every measure and every column that filters name, one row a tax unit, by ``unit_id``.

    Args:
        tax_units: identifiers, geography, filing status, ages and person counts.
        tax_outputs: the tax model's results and aged incomes for the same units.
        amounts: of ``amounts_a_person`` of the whole survey, where these units are a part of it.

    Raises:
        InputError: a unit has no results.
    """
    identity = tax_units.select(
        "household_id", "unit_id", "state_fips", "age_head", *AGE_BANDS.values(), "MARS", "EIC"
    )
    without = identity.join(tax_outputs, on="unit_id", how="anti")
    if len(without):
        raise InputError(
            f"{len(without)} of {len(identity)} tax units have no tax results, the first is unit "
            f"{without['unit_id'][0]}. Materialize `tax_units` and `tax_outputs` together."
        )
    joined = identity.join(
        tax_outputs, on="unit_id", how="left", validate="1:1", maintain_order="left"
    )
    if amounts is None:
        amounts = amounts_a_person(tax_outputs)
    return joined.with_columns(
        pl.lit(amounts.get(measure), dtype=pl.Float64).alias(f"{benefit}_of_one")
        for measure, benefit in COUNTED_BY_AMOUNT.items()
    ).select(
        "household_id",
        "unit_id",
        "state_fips",
        pl.col("c00100").alias("agi"),
        pl.col("age_head").alias("age"),
        pl.col("MARS").alias("filing_status"),
        pl.col("EIC").alias("eitc_children"),
        _files_a_return().alias("files_a_return"),
        (pl.col("c04470") > 0).alias("itemizes"),
        *AGE_BANDS.values(),
        **MEASURES,
    )


def _files_a_return() -> pl.Expr:
    """Gross income at the threshold, self-employment, a refundable credit, or any wages."""
    income = (
        pl.sum_horizontal("e00200", "e00300", "e00600", "e01400", "e01700", "e02300", "c02500")
        + pl.col("e00900").clip(lower_bound=0)
        + pl.col("e02100").clip(lower_bound=0)
        + pl.col("e01100").clip(lower_bound=0)
    )
    return (
        (income >= pl.col("filing_threshold"))
        | (pl.col("e00900") + pl.col("e02100") > SELF_EMPLOYMENT_FILING_LIMIT)
        | (pl.col("eitc") + pl.col("c11070") > 0)
        | (pl.col("e00200") > 0)
    )


def _enrollees(benefit: str) -> pl.Expr:
    """Persons covered: the file states a benefit as one constant times the persons enrolled."""
    return (pl.col(benefit) / pl.col(f"{benefit}_of_one")).round().fill_null(0)


_after_credits = pl.col("c05800") - pl.col("c07100")
_itemized_state_local = pl.col("e18400") + pl.col("e18500")

MEASURES: dict[str, pl.Expr] = {
    "one": pl.lit(1.0),
    "persons": pl.sum_horizontal(*AGE_BANDS.values()).cast(pl.Float64),
    "adjusted_gross_income": pl.col("c00100"),
    "wages": pl.col("e00200"),
    "taxable_interest": pl.col("e00300"),
    "tax_exempt_interest": pl.col("e00400"),
    "ordinary_dividends": pl.col("e00600"),
    "qualified_dividends": pl.col("e00650"),
    "business_income": pl.col("e00900"),
    "business_profit": pl.col("e00900").clip(lower_bound=0),
    "business_loss": -pl.col("e00900").clip(upper_bound=0),
    "capital_gains": pl.col("e01100"),
    "ira_distributions": pl.col("e01400"),
    "pensions": pl.col("e01500"),
    "taxable_pensions": pl.col("e01700"),
    "social_security": pl.col("e02400"),
    "taxable_social_security": pl.col("c02500"),
    "unemployment_compensation": pl.col("e02300"),
    "ira_deduction": pl.col("e03150"),
    "student_loan_interest": pl.col("e03210"),
    "self_employed_health_insurance": pl.col("e03270"),
    "self_employed_retirement": pl.col("e03300"),
    "standard_deduction": pl.col("standard"),
    "itemized_deductions": pl.col("c04470"),
    "itemized_medical_total": pl.col("e17500"),
    "itemized_medical": pl.col("c17000"),
    "itemized_taxes": pl.col("c18300"),
    "itemized_state_local_total": _itemized_state_local,
    "itemized_state_income_or_sales_tax": pl.col("e18400"),
    "itemized_real_estate_tax": pl.col("e18500"),
    "itemized_interest": pl.col("c19200"),
    "itemized_charity": pl.col("c19700"),
    "qualified_business_income_deduction": pl.col("qbided"),
    "taxable_income": pl.col("c04800"),
    "income_tax_before_credits": pl.col("c05800"),
    "alternative_minimum_tax": pl.col("c09600"),
    "income_tax_after_credits": _after_credits,
    "total_income_tax": _after_credits + pl.col("niit"),
    "total_tax_liability": pl.sum_horizontal(_after_credits, "niit", "setax", "ptax_amc"),
    "individual_income_tax": pl.col("iitax"),
    "net_investment_income_tax": pl.col("niit"),
    "self_employment_tax": pl.col("setax"),
    "additional_medicare_tax": pl.col("ptax_amc"),
    "child_and_other_dependent_credit": pl.col("c07220") + pl.col("odc"),
    "refundable_child_credit": pl.col("c11070"),
    "dependent_care_credit": pl.col("c07180"),
    "earned_income_credit": pl.col("eitc"),
    "snap_benefit": pl.col("snap_ben"),
    "ssi_benefit": pl.col("ssi_ben"),
    "medicaid_persons": _enrollees("mcaid_ben"),
}

"""Which of Tax-Calculator's amounts is which variable of PolicyEngine-US, and why.

The one home of this table: the file is written from it and its readme is printed from it. An
amount without its own reason means the same thing on both sides. What is not in it is in
``LEFT_OUT``.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

ON_HEAD = "the unit's amount, on its head"


@dataclass(frozen=True)
class Amount:
    """A variable of PolicyEngine: a column of Tax-Calculator less those in ``less``."""

    variable: str
    head: str
    spouse: str | None = None  # the spouse's own column; else the head has the unit's amount
    less: tuple[str, ...] = ()
    why: str = ""

    def of_head(self, units: pl.DataFrame) -> Numbers:
        """The amount of every unit's head."""
        return or_zero(units, self.head) - sum(or_zero(units, name) for name in self.less)

    def of_spouse(self, units: pl.DataFrame) -> Numbers:
        """The amount of every unit's spouse."""
        return np.zeros(len(units)) if self.spouse is None else or_zero(units, self.spouse)

    def formula(self) -> str:
        """The columns as a reader would write them."""
        if self.spouse is not None:
            return f"{self.head}, {self.spouse}"
        return " - ".join((self.head, *self.less))


AMOUNTS: tuple[Amount, ...] = (
    Amount(
        "employment_income",
        "e00200p",
        "e00200s",
        why="Tax-Calculator's wages are net of payments into pensions; PolicyEngine's are gross",
    ),
    Amount("self_employment_income", "e00900p", "e00900s"),
    Amount("farm_operations_income", "e02100p", "e02100s"),
    Amount("taxable_interest_income", "e00300", why=ON_HEAD),
    Amount("tax_exempt_interest_income", "e00400", why=ON_HEAD),
    Amount("qualified_dividend_income", "e00650", why=ON_HEAD),
    Amount("non_qualified_dividend_income", "e00600", less=("e00650",), why=ON_HEAD),
    Amount("salt_refund_income", "e00700", why=ON_HEAD),
    Amount(
        "alimony_income",
        "e00800",
        why="on the head; PolicyEngine taxes it by the year of the divorce, which is not known",
    ),
    Amount("non_sch_d_capital_gains", "e01100", why=ON_HEAD),
    Amount("short_term_capital_gains", "p22250", why=ON_HEAD),
    Amount("long_term_capital_gains", "p23250", why=ON_HEAD),
    Amount("taxable_ira_distributions", "e01400", why=ON_HEAD),
    Amount(
        "taxable_private_pension_income",
        "e01700",
        why="on the head; public pensions are in it too, since nothing tells them apart",
    ),
    Amount(
        "tax_exempt_private_pension_income",
        "e01500",
        less=("e01700",),
        why="on the head; public pensions are in it too",
    ),
    Amount(
        "rental_income",
        "e02000",
        less=("e26270", "e27200"),
        why="on the head; rents, royalties, estates and trusts together",
    ),
    Amount(
        "partnership_income",
        "e26270",
        why="on the head; S corporations are in it too, since nothing tells them apart",
    ),
    Amount("farm_rent_income", "e27200", why=ON_HEAD),
    Amount("unemployment_compensation", "e02300", why=ON_HEAD),
    Amount(
        "social_security_retirement",
        "e02400",
        why="on the head; benefits of disability, survivors and dependents are in it too",
    ),
    Amount(
        "traditional_ira_contributions_desired",
        "e03150",
        why="on the head; PolicyEngine applies its limits to the deductible amount",
    ),
    Amount("student_loan_interest", "e03210", why=ON_HEAD),
    Amount(
        "health_insurance_premiums",
        "e03270",
        why="on the head; the deduction of the self-employed taken for their premiums",
    ),
    Amount(
        "self_employed_pension_contributions_desired",
        "e03300",
        why="on the head; PolicyEngine applies its limits to the deductible amount",
    ),
    Amount("other_medical_expenses", "e17500", why="on the head; all medical expenses"),
    Amount("real_estate_taxes", "e18500", why=ON_HEAD),
    Amount("home_mortgage_interest", "e19200", why="on the head; all interest, whatever the loan"),
    Amount("charitable_cash_donations", "e19800", why=ON_HEAD),
    Amount("charitable_non_cash_donations", "e20100", why=ON_HEAD),
    Amount(
        "pre_subsidy_childcare_expenses",
        "e32800",
        why="on the head; PolicyEngine shares a household's among its units by their children",
    ),
)
LEFT_OUT = (
    "SNAP, SSI, housing, TANF, WIC, Medicaid and Medicare: PolicyEngine works them out itself.",
    "State and local income tax (`e18400`): PolicyEngine works it out from `state_fips`.",
    "Veterans' and other benefits: Tax-Calculator's include care, PolicyEngine's are cash.",
    "Own payments into pensions (`pencon_p`, `pencon_s`), for wages are net of them.",
    "The other inputs of Tax-Calculator, all zero in the CPS file or of little weight.",
)


def or_zero(units: pl.DataFrame, name: str) -> Numbers:
    """A column of the units; Tax-Calculator takes an input column that is missing for zero."""
    if name not in units.columns:
        return np.zeros(len(units))
    return units[name].cast(pl.Float64).to_numpy()

"""Tax reforms, as changes of Tax-Calculator's parameters, and what they do to every tax unit.

Weights play no part here: a reform changes the tax of each unit, whoever it stands for. What the
changes add up to under some weights is in ``reform_study``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.tax_model import DRAWN_CREDITS

if TYPE_CHECKING:
    import taxcalc

INCOME = "c00100"  # adjusted gross income, as classes are formed by
# under current law, beside the changes
BASELINE = (INCOME, *DRAWN_CREDITS)


@dataclass(frozen=True)
class Reform:
    """A parameter of the law of the year, multiplied, raised or set."""

    description: str
    parameter: str  # Tax-Calculator's name
    change: Literal["times", "plus", "to"]
    number: float

    def changed(self, now: np.ndarray) -> np.ndarray:
        """The parameter's new value, of the shape and the type of the old.

        Raises:
            InputError: it is a whole number or a yes or no, and the new value is not.
        """
        match self.change:
            case "times":
                new = now * self.number
            case "plus":
                new = now + self.number
            case "to":
                new = np.full(now.shape, self.number)
        value: np.ndarray = new.astype(now.dtype)
        if (value != new).any():
            raise InputError(
                f"The reform {self.description!r}: {self.parameter} would be {new.flat[0]:g}, but "
                f"Tax-Calculator keeps it as {now.dtype}, such as {now.flat[0]} now. Choose "
                "another number in the resource reform_plan."
            )
        return value


# the usual ones, and two that touch few households: close to linear in totals that the kept are
# held near, yet a multiple of none of them, of which a reform would tell the fit's own residual
NEARLY_LINEAR: Mapping[str, Reform] = {
    "standard_deduction": Reform("Standard deduction 10 % higher", "STD", "times", 1.1),
    "top_rate": Reform("Top rate of income tax 1 point lower", "II_rt7", "plus", -0.01),
    "bottom_rate": Reform("Bottom rate of income tax 1 point higher", "II_rt1", "plus", 0.01),
    "child_credit": Reform("Child tax credit $3,600 a child", "CTC_c", "to", 3_600),
    "earned_income_credit": Reform(
        "Maximum of the earned income credit 20 % higher", "EITC_c", "times", 1.2
    ),
    "payroll_cap": Reform(
        "Earnings up to $250,000 under social security tax", "SS_Earnings_c", "to", 250_000
    ),
    "capital_gains_rate": Reform("Top rate on long-term gains 25 %", "CG_rt3", "to", 0.25),
    "business_income_deduction": Reform(
        "Deduction of business income halved to 10 %", "PT_qbid_rt", "to", 0.1
    ),
}
# what hangs on amounts beyond a limit or on subjects that no total holds
UNHELD: Mapping[str, Reform] = {
    "state_tax_cap": Reform(
        "State and local taxes deductible to $20,000", "ID_AllTaxes_c", "times", 2
    ),
    "student_interest": Reform(
        "No deduction of interest on student loans", "ALD_StudentLoan_hc", "to", 1
    ),
    "childless_credit": Reform(
        "Earned income credit without children from age 19", "EITC_MinEligAge", "to", 19
    ),
}
REFORMS: Mapping[str, Reform] = {**NEARLY_LINEAR, **UNHELD}


def tax_changes(aged: pl.DataFrame, reforms: Mapping[str, Reform], *, year: int) -> pl.DataFrame:
    """The change of income and payroll tax of every unit under each reform, in dollars.

    Args:
        aged: tax units with incomes of ``year``, as ``tax_model.age_tax_units`` gives them.
        reforms: by name.
        year: of the incomes and of the law.

    Returns:
        ``unit_id``, ``BASELINE`` under current law and one column a reform, in the order of the
        units. Taxpayers behave as before.

    Raises:
        InputError: Tax-Calculator knows no such parameter.
    """
    model = ReformModel(aged, year=year)
    taxes = model.taxes(None)
    baseline = {name: model.array(name) for name in BASELINE}
    changes = {name: model.taxes(reform) - taxes for name, reform in reforms.items()}
    return pl.DataFrame({"unit_id": aged["unit_id"]} | baseline | changes)


class ReformModel:
    """Tax-Calculator over one table of tax units, ready to be run under any reform."""

    def __init__(self, aged: pl.DataFrame, *, year: int) -> None:
        import taxcalc

        _compile_once()
        law = _current_law(year)
        records = taxcalc.Records(
            data=aged.with_columns(RECID=pl.int_range(1, pl.len() + 1)).to_pandas(),
            start_year=year,
            gfactors=None,
            weights=None,
        )
        self._known = set(law.keys())
        self._calculator = taxcalc.Calculator(policy=law, records=records, verbose=False)

    def taxes(self, reform: Reform | None) -> np.ndarray:  # (units,), dollars
        """Income and payroll tax of every unit; None is current law."""
        if reform is None:
            return self._calculated()
        if reform.parameter not in self._known:
            raise InputError(
                f"Tax-Calculator has no parameter {reform.parameter} ({reform.description}). "
                "Its policy guide lists them; mend the reform in the resource reform_plan."
            )
        # the value of the one year at hand, as a new `Policy` would have it, in no time
        law = self._calculator
        now = np.asarray([law.policy_param(reform.parameter)])
        law.policy_param(reform.parameter, reform.changed(now))
        try:
            return self._calculated()
        finally:
            law.policy_param(reform.parameter, now)

    def array(self, name: str) -> np.ndarray:  # (units,)
        """A result of the last calculation."""
        return np.array(self._calculator.array(name), dtype=np.float64)

    def _calculated(self) -> np.ndarray:
        self._calculator.calc_all(zero_out_calc_vars=True)
        return np.asarray(self.array("iitax") + self.array("payrolltax"))


@cache
def _compile_once() -> None:
    """Let Tax-Calculator compile the text that it writes around its functions once.

    As it comes it does so at every call of every function, which takes as long for a hundred units
    as for a whole survey: a fifth of a calculation of 30,000. What is calculated is the same.
    """
    from taxcalc import decorators

    decorators.compile = cache(compile)


@cache
def _current_law(year: int) -> "taxcalc.Policy":
    """The law of a year, read once: every calculator works on a copy of its own."""
    import taxcalc

    law = taxcalc.Policy()
    law.set_year(year)
    return law

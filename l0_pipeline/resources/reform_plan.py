"""Which tax reforms the kept households are judged by."""

from typing import Literal

import dagster as dg
from pydantic import Field

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.reforms import BASELINE, REFORMS, Reform


class OwnReform(dg.Config):
    """A reform of the user's: a parameter of Tax-Calculator, changed."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$", description="A name for its column.")
    description: str = Field(min_length=1, description="What it changes, in words.")
    parameter: str = Field(
        min_length=1, description="Tax-Calculator's name of the parameter, such as II_rt1."
    )
    change: Literal["times", "plus", "to"] = Field(description="What is done with its value.")
    number: float = Field(allow_inf_nan=False, description="By how much, or to what.")


class ReformPlan(dg.ConfigurableResource["ReformPlan"]):
    """Which tax reforms are run on the whole file and on the kept households."""

    reforms: list[str] = Field(
        default=list(REFORMS), description=f"Names among {', '.join(REFORMS)}."
    )
    own: list[OwnReform] = Field(default=[], description="Reforms of your own.")

    def chosen(self) -> dict[str, Reform]:
        """The reforms by name.

        Raises:
            InputError: a name that is not known, one that is given twice, or none at all.
        """
        unknown = [name for name in self.reforms if name not in REFORMS]
        names = [*self.reforms, *(reform.name for reform in self.own)]
        if unknown or not names or len({*BASELINE, *names}) < len(BASELINE) + len(names):
            raise InputError(
                f"The resource reform_plan names {', '.join(names) or 'no reform'}; known are "
                f"{', '.join(REFORMS)}. Name at least one, each once; put others into `own`, "
                "under a name of their own."
            )
        own = {
            reform.name: Reform(reform.description, reform.parameter, reform.change, reform.number)
            for reform in self.own
        }
        return {name: REFORMS[name] for name in self.reforms} | own

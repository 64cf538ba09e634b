"""Under which terms a release may be used, and whom it credits, for each source of microdata."""

from pydantic import BaseModel, ConfigDict, Field

from l0_pipeline.logic.errors import InputError

FIGURES_TERMS = "Works of the United States government, not subject to copyright (17 U.S.C. 105)"


class Licence(BaseModel):
    """The licence of the dataset, the terms of what it was made from, and the credit line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(min_length=1, description="Licence of the released tables (SPDX id).")
    source: str = Field(min_length=1, description="Terms of the survey records.")
    figures: str = Field(min_length=1, description="Terms of the published figures.")
    attribution: str = Field(min_length=1, description="Text to quote when using the data.")


LICENCES = {
    "taxcalc": Licence(
        dataset="CC0-1.0",
        source="CPS file of Tax-Calculator (PSL), CC0-1.0, made from the Current Population Survey",
        figures=FIGURES_TERMS,
        attribution=(
            "Made from the CPS file distributed with Tax-Calculator (Policy Simulation Library), "
            "itself made from the Annual Social and Economic Supplement of the Current Population "
            "Survey (U.S. Census Bureau and U.S. Bureau of Labor Statistics), reweighted to totals "
            "published by agencies of the United States government. None of them endorses it."
        ),
    ),
    "asec": Licence(
        dataset="CC0-1.0",
        source="Public use file of the Census Bureau, a work of the United States government",
        figures=FIGURES_TERMS,
        attribution=(
            "Made from the public use file of the Annual Social and Economic Supplement of the "
            "Current Population Survey (U.S. Census Bureau and U.S. Bureau of Labor Statistics), "
            "reweighted to totals published by agencies of the United States government. None of "
            "them endorses it."
        ),
    ),
    "tables": Licence(
        dataset="LicenseRef-as-source",
        source="Tables supplied by the user: the terms of those tables hold",
        figures=FIGURES_TERMS,
        attribution=(
            "Made from tables supplied by the user, reweighted to totals published by agencies of "
            "the United States government. None of them endorses it."
        ),
    ),
}


def licence_of(source: str) -> Licence:
    """The licence of a release made from ``source``."""
    if source not in LICENCES:
        raise InputError(
            f"No licence is recorded for source {source!r}; known: {', '.join(LICENCES)}. "
            f"Add its terms to l0_pipeline/logic/release/licence.py before publishing it."
        )
    return LICENCES[source]

"""The files of a release that tax-benefit models read: Tax-Calculator's and PolicyEngine's."""

import polars as pl

from l0_pipeline.logic.release.policyengine_file import policyengine_files
from l0_pipeline.logic.release.taxcalc_files import taxcalc_files


def model_files(
    aged: pl.DataFrame, households: pl.DataFrame, credit_draws: pl.DataFrame, *, year: int
) -> dict[str, bytes]:
    """Every file by its path in the release, the same bytes for equal tables.

    Args:
        aged: the kept tax units with ``weight`` and incomes of ``year``.
        households: as released.
        credit_draws: of the whole survey.
        year: of the incomes, of the weights and of the law.
    """
    return taxcalc_files(aged, aged["weight"], credit_draws, year=year) | policyengine_files(
        households, aged, year=year
    )

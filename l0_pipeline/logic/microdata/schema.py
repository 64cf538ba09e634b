"""Households, tax units and persons from a raw extract, whichever source it was read from.

The raw extract says its layout in its ``source`` column; one layout module each knows the
rest. The columns that come out are declared in ``columns`` and named again here.
"""

from types import ModuleType

import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import asec, own_tables, taxcalc_cps
from l0_pipeline.logic.microdata.columns import (
    HOUSEHOLD_COLUMNS,
    PERSON_COLUMNS,
    TAX_UNIT_COLUMNS,
    Column,
)

__all__ = [
    "HOUSEHOLD_COLUMNS",
    "PERSON_COLUMNS",
    "TAX_UNIT_COLUMNS",
    "Column",
    "households",
    "income_year",
    "persons",
    "tax_units",
]

_LAYOUTS: dict[str, ModuleType] = {
    module.SOURCE: module for module in (taxcalc_cps, asec, own_tables)
}


def households(raw: pl.DataFrame) -> pl.DataFrame:
    """One row a household, ``household_id`` ascending; columns of ``HOUSEHOLD_COLUMNS``."""
    table: pl.DataFrame = _layout(raw).households(raw)
    return table


def tax_units(raw: pl.DataFrame) -> pl.DataFrame:
    """One row a tax unit, ``unit_id`` ascending; columns of ``TAX_UNIT_COLUMNS``."""
    table: pl.DataFrame = _layout(raw).tax_units(raw)
    return table


def persons(raw: pl.DataFrame) -> pl.DataFrame | None:
    """One row a person where the source has persons (asec), else None."""
    return asec.persons(raw) if _layout(raw) is asec else None


def income_year(raw: pl.DataFrame) -> int:
    """The one year at which the extract's incomes are stated, where ageing them starts."""
    layout = _layout(raw)
    if layout is taxcalc_cps:
        return taxcalc_cps.INCOMES_OF_YEAR
    year = raw["H_YEAR"][0] - 1 if layout is asec else raw["income_year"][0]
    return int(year)


def _layout(raw: pl.DataFrame) -> ModuleType:
    sources = raw["source"].unique().to_list() if "source" in raw.columns else []
    if len(sources) != 1 or sources[0] not in _LAYOUTS:
        raise InputError(
            f"raw_cps_extract: column source holds {sources}, but one of "
            f"{', '.join(_LAYOUTS)} is needed on every row. Materialize raw_cps_extract again."
        )
    return _LAYOUTS[sources[0]]

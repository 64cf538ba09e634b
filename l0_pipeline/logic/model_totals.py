"""What a tax model says of the whole file, in all and by class: totals that the kept are held near.

A model is run on the kept households to learn what it would say of all of them. Published totals
fix some sums of incomes and taxes, but hardly who has them: by income class, filing status and
number of children the kept households could answer a reform otherwise than the whole file. Nor
do they say who stands close to a threshold of the law; what all would pay at incomes a tenth lower
or higher tells. All households, calibrated to the same targets with none left out, tell these
sums, and the refit of the kept holds them: each result of the model over all incomes first, as
reforms are judged by their whole effect, and class by class. So the kept repeat the whole file,
where it misses a published total too. No reform is among the totals, so that reforms can judge it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from l0_pipeline.logic.anchors import Anchors
from l0_pipeline.logic.tables import (
    MODEL_TOTAL_COLUMNS,
    RESPONSE_COLUMNS,
    TAX_OUTPUT_COLUMNS,
    names,
)

UNITS, PERSONS = COUNTS = ("tax_units", "persons")  # variables that are no result of the model
# what one of them matters as much as: about the income of a person; were it one dollar, counts
# would not matter, and the population would drift by 1 %
DOLLARS_A_COUNT = 10_000
INCOME = "c00100"
MAIN = (
    *(*COUNTS, INCOME, "e00200", "qbided", "c04800", "iitax", "payrolltax"),
    *("eitc", "c07220", "c11070"),
)
RESPONSES = names(RESPONSE_COLUMNS)[1:]
# shares of tax units below which a class ends: tenths, and finer where the taxes are
FINE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
BROAD = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)


@dataclass(frozen=True)
class Grouping:
    """Classes of adjusted gross income, whole or split by another column of ``tax_units``."""

    name: str
    shares: tuple[float, ...]  # of tax units below each bound; none for one class of all incomes
    split: str | None
    variables: tuple[str, ...]
    importance: float = 1.0  # of its totals, beside others of their size


EVERYTHING = (*COUNTS, *names(TAX_OUTPUT_COLUMNS)[1:], *RESPONSES)
# a tenfold importance, half of that of all, meets totals of all incomes five times as closely
GROUPINGS = (
    Grouping("all", (), None, EVERYTHING, importance=10.0),
    Grouping("income", FINE, None, EVERYTHING),
    Grouping("income and filing status", BROAD, "MARS", (*MAIN, *RESPONSES)),
    Grouping("income and children", BROAD, "EIC", (*MAIN, *RESPONSES)),
)
UNDIVIDED = tuple(each.name for each in GROUPINGS if not each.shares and each.split is None)


def with_responses(tax_outputs: pl.DataFrame, tax_responses: pl.DataFrame) -> pl.DataFrame:
    """The model's results beside those at other incomes, in the order of ``tax_outputs``."""
    return tax_outputs.join(
        tax_responses, on="unit_id", how="left", validate="1:1", maintain_order="left"
    )


def model_totals(
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
    *,
    unit_weights: np.ndarray,  # (units,)
    minimum_support: int,
) -> pl.DataFrame:
    """One row a grouping, cell and variable; cells that few units carry are left out.

    Args:
        tax_units: ``persons``, ``MARS`` and ``EIC`` of all units; a split whose column is absent
            is left out.
        tax_outputs: the model's results for the same units, in the same order, ``with_responses``.
        unit_weights: those of the whole file, calibrated.
        minimum_support: fewest units with an amount that is not zero.

    Returns:
        ``MODEL_TOTAL_COLUMNS``; a class has incomes above ``agi_above``, null for the lowest, up to
        ``agi_upto``, null for the highest.
    """
    income = tax_outputs[INCOME].to_numpy()
    amounts_of = _with_counts(tax_outputs, tax_units)
    found = []
    for grouping in _groupings(tax_units):
        bounds = _quantiles(income, unit_weights, grouping.shares)
        cell, cells = _cells(tax_units, income, bounds=bounds, split=grouping.split)
        for variable in grouping.variables:
            amounts = amounts_of[variable].to_numpy()
            sums = np.bincount(cell, weights=amounts * unit_weights, minlength=len(cells))
            carried = np.bincount(cell, weights=amounts != 0, minlength=len(cells))
            found.append(
                cells.with_columns(
                    grouping=pl.lit(grouping.name),
                    variable=pl.lit(variable),
                    whole_estimate=sums,
                    support=carried.astype(np.int64),
                )
            )
    kept = (pl.col("support") >= minimum_support) & (pl.col("whole_estimate") != 0)
    table = pl.concat(found).filter(kept).with_columns(total_id=_in_words())
    return table.select(names(MODEL_TOTAL_COLUMNS))


def model_anchors(
    totals: pl.DataFrame,
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
    *,
    household_ids: pl.Series,
) -> Anchors:
    """The totals as rows over households, in the order of ``totals``.

    Each total counts by the square root of its size in dollars, a unit or person taken for
    ``DOLLARS_A_COUNT``, times the importance of its grouping.

    Args:
        totals: as ``model_totals`` gives them.
        tax_units: those of the households that may be kept; others have no coefficient.
        tax_outputs: the model's results for the same units, in the same order, ``with_responses``.
        household_ids: the columns of the rows, ascending.
    """
    income = tax_outputs[INCOME].to_numpy()
    household = np.searchsorted(household_ids.to_numpy(), tax_units["household_id"].to_numpy())
    amounts_of = _with_counts(tax_outputs, tax_units)
    numbered = totals.with_row_index("row")
    # without totals, rows of nothing
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for grouping in _groupings(tax_units):
        of_grouping = numbered.filter(grouping=grouping.name)
        # a class that was left out lies between the bounds of its neighbours, and matches no row
        edges = pl.concat([of_grouping["agi_above"], of_grouping["agi_upto"]])
        bounds = edges.drop_nulls().unique().sort().to_numpy()
        cell, cells = _cells(tax_units, income, bounds=bounds, split=grouping.split)
        for (variable,), of_variable in of_grouping.group_by("variable", maintain_order=True):
            numbers = cells.join(
                of_variable, on=cells.columns, how="left", nulls_equal=True, maintain_order="left"
            )["row"]
            row = numbers.cast(pl.Int64).fill_null(-1).to_numpy()[cell]
            amounts = amounts_of[str(variable)].to_numpy()
            used = np.flatnonzero((row >= 0) & (amounts != 0))
            parts.append((row[used], household[used], amounts[used]))
    rows, columns, values = (np.concatenate([part[place] for part in parts]) for place in range(3))
    sizes = totals["whole_estimate"].abs()
    importance = totals["grouping"].replace_strict(
        {grouping.name: grouping.importance for grouping in GROUPINGS}, return_dtype=pl.Float64
    )
    dollars = np.where(totals["variable"].is_in(COUNTS), DOLLARS_A_COUNT * sizes, sizes)
    return Anchors(
        names=totals["total_id"].to_list(),
        constraints=sp.coo_array(
            (values, (rows, columns)), shape=(len(totals), len(household_ids))
        ).tocsr(),
        values=totals["whole_estimate"].to_numpy(),
        scales=sizes.to_numpy(),
        importance=importance.to_numpy() * np.sqrt(dollars),
    )


def _groupings(tax_units: pl.DataFrame) -> Iterator[Grouping]:
    for grouping in GROUPINGS:
        if grouping.split is None or grouping.split in tax_units.columns:
            yield grouping


def _cells(
    tax_units: pl.DataFrame,
    income: np.ndarray,  # (units,)
    *,
    bounds: np.ndarray,
    split: str | None,
) -> tuple[np.ndarray, pl.DataFrame]:
    """The cell of each unit, and one row a cell: its incomes and the value of the split column."""
    units = pl.DataFrame(
        {
            "class": np.searchsorted(bounds, income),
            "of": tax_units[split] if split else pl.Series([None] * len(income), dtype=pl.Int64),
        }
    )
    cells = units.unique().sort("class", "of").with_row_index("cell")
    cell = units.join(
        cells, on=["class", "of"], how="left", nulls_equal=True, maintain_order="left"
    )
    edges = pl.DataFrame({"edge": bounds}, schema={"edge": pl.Float64})["edge"]
    place = cells["class"].cast(pl.Int64)
    described = cells.select(
        agi_above=edges.gather((place - 1).clip(0)).set(place == 0, None)
        if len(edges)
        else pl.lit(None, pl.Float64),
        agi_upto=edges.gather(place.clip(0, len(edges) - 1)).set(place == len(edges), None)
        if len(edges)
        else pl.lit(None, pl.Float64),
        split=pl.lit(split, pl.String),
        value=pl.col("of").cast(pl.Int64),
    )
    return cell["cell"].to_numpy().astype(np.int64), described


def _quantiles(
    income: np.ndarray,  # (units,)
    weights: np.ndarray,  # (units,)
    shares: tuple[float, ...],
) -> np.ndarray:
    """The incomes below which these shares of the weight lie, each once."""
    order = np.argsort(income, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    return np.unique(income[order][np.searchsorted(below, shares)])


def _with_counts(tax_outputs: pl.DataFrame, tax_units: pl.DataFrame) -> pl.DataFrame:
    """The model's results with ``COUNTS`` beside them."""
    persons = tax_units[PERSONS].cast(pl.Float64)
    return tax_outputs.with_columns(pl.lit(1.0).alias(UNITS), persons.alias(PERSONS))


def _in_words() -> pl.Expr:
    """A name for each total."""
    of_class = pl.format(
        ", AGI {} to {}",
        pl.col("agi_above").round(2).cast(pl.String).fill_null("least"),
        pl.col("agi_upto").round(2).cast(pl.String).fill_null("most"),
    )
    return pl.format(
        "whole file: {}{}{}",
        "variable",
        pl.when(pl.col("grouping").is_in(UNDIVIDED)).then(pl.lit("")).otherwise(of_class),
        pl.format(", {} {}", "split", "value").fill_null(""),
    )

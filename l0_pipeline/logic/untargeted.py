"""What no target mentions: how it is spread within each area, held softly or only watched.

Published totals say nothing of the survey year of a household, and little of its size. Weights that
reproduce the totals are free to distort both. The survey's own shares within each area are known
from all of its households: a refit can hold weights near them, as rows of value zero beside the
targets, and total variation tells how far any weights are from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from l0_pipeline.logic.anchors import Anchors
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.figures import NATION
from l0_pipeline.logic.tables import UNTARGETED_COLUMNS, names

# categories with a smaller share of the survey are one, so that no row hangs on a few households
RAREST = 0.01
AREA = "state_fips"


@dataclass(frozen=True)
class WithinAreaShares:
    """The survey's shares of categories within areas, one row a variable, area and category."""

    cells: (
        pl.DataFrame
    )  # (cells,): variable, area, category, design_share, design_total of the area
    indicators: sp.csr_array  # (cells, households), 1 where the household is of the cell
    areas: sp.csr_array  # (cells, households), 1 where it is of the cell's area

    def differences(self, weights: np.ndarray) -> np.ndarray:  # (cells,)
        """Share under ``weights`` (households,) less the survey's; nan in an area without any."""
        with np.errstate(invalid="ignore"):
            shares = (self.indicators @ weights) / (self.areas @ weights)
        return np.asarray(shares - self.cells["design_share"].to_numpy())

    def distortion(self, weights: np.ndarray) -> dict[str, float]:
        """Total variation within areas by variable, each area counted by its design total.

        0 where every share is the survey's, 1 where none of its categories are left; an area
        without weight counts as 1.
        """
        moved = self.cells.with_columns(
            difference=pl.Series(self.differences(weights)).abs().fill_nan(None)
        )
        by_area = moved.group_by("variable", "area").agg(
            variation=pl.when(pl.col("difference").null_count() > 0)
            .then(1.0)
            .otherwise(pl.col("difference").sum() / 2),
            total=pl.col("design_total").first(),
        )
        summed = by_area.group_by("variable").agg(
            distortion=(pl.col("variation") * pl.col("total")).sum() / pl.col("total").sum()
        )
        return dict(summed.sort("variable").rows())

    def anchors(self) -> Anchors:
        """One row a cell, which asks for the survey's share of it.

        The row is the household's indicator less the share, so that its value is zero whatever
        the area's total; its error is a difference in shares. A cell that is all of its area, or
        nothing of it, asks nothing.
        """
        centred = self.indicators - sp.diags_array(self.cells["design_share"].to_numpy()) @ (
            self.areas
        )
        moving = np.flatnonzero(self.cells["design_share"].is_between(0, 1, closed="none"))
        names = pl.format("{}={} in {}", "variable", "category", "area")
        return Anchors(
            names=self.cells.select(names).to_series().gather(moving).to_list(),
            constraints=centred[moving],
            values=np.zeros(len(moving)),
            scales=self.cells["design_total"].gather(moving).to_numpy(),
            importance=np.ones(len(moving)),
        )


def within_area_shares(
    households: pl.DataFrame,
    variables: Sequence[str],
    *,
    design_weights: np.ndarray,  # (households,)
) -> WithinAreaShares:
    """The shares of each variable's categories within each state, under the design weights.

    Args:
        households: with ``state_fips`` and the variables, whole numbers.
        variables: columns whose values are the categories; values rarer than a hundredth of the
            survey are pooled as one.
        design_weights: of all households.

    Raises:
        InputError: a variable that is no column of whole numbers.
    """
    for variable in variables:
        if variable not in households.columns or not households[variable].dtype.is_integer():
            known = [name for name, kind in households.schema.items() if kind.is_integer()]
            raise InputError(
                f"{variable!r} is no column of whole numbers of `households`. Choose among "
                f"{', '.join(known)}."
            )
    everyone = pl.DataFrame({"area": households[AREA], "weight": design_weights})

    def rows(variable: str) -> pl.DataFrame:  # (households,)
        return everyone.with_columns(
            variable=pl.lit(variable),
            category=_pooled(households[variable], design_weights),
            household=pl.int_range(pl.len()),
        )

    # without variables there are no cells, of the same columns
    found = [rows(variable) for variable in variables] or [rows(AREA).clear()]
    return _shares(pl.concat(found), households=len(households))


def shares_table(
    shares: WithinAreaShares,
    weights: np.ndarray,  # (households,)
    *,
    held: Sequence[str],
) -> pl.DataFrame:
    """Shares of each area and of the nation, in the survey and under ``weights``.

    Returns:
        ``UNTARGETED_COLUMNS``; released shares are null in an area without weight.
    """
    found = shares.cells.with_columns(
        area=pl.col("area").cast(pl.String).str.zfill(2),
        pool=pl.col("design_share") * pl.col("design_total"),
        released=shares.indicators @ weights,
    )
    nation = found.with_columns(area=pl.lit(NATION))
    keys = ["variable", "area", "category"]
    # in order, so that no last digit depends on the number of threads
    both = (
        pl.concat([found, nation])
        .group_by(keys, maintain_order=True)
        .agg(pl.col("pool", "released").sum())
        .sort(keys)
    )
    summed = pl.col("pool").sum().over("variable", "area")
    weighed = pl.col("released").sum().over("variable", "area")
    return (
        both.with_columns(
            held=pl.col("variable").is_in(list(held)),
            share_pool=pl.col("pool") / summed,
            share_released=pl.when(weighed > 0).then(pl.col("released") / weighed),
        )
        .with_columns(difference=pl.col("share_released") - pl.col("share_pool"))
        .select(names(UNTARGETED_COLUMNS))
    )


def drift(
    households: pl.DataFrame,
    columns: Sequence[str],
    *,
    weights: np.ndarray,  # (households,)
    design_weights: np.ndarray,  # (households,)
) -> pl.DataFrame:
    """How far the mean a household of each column moves from the survey's, as a share of it.

    Returns:
        ``variable`` and ``drift``, signed; null where the survey's mean is zero.
    """
    absent = [name for name in columns if name not in households.columns]
    if absent:
        raise InputError(
            f"`households` has no column {', '.join(absent)}. Choose among "
            f"{', '.join(households.columns)}."
        )
    if not columns:
        return pl.DataFrame(schema={"variable": pl.String, "drift": pl.Float64})
    means = [
        np.average(households.select(columns).to_numpy(), axis=0, weights=given)
        for given in (weights, design_weights)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = means[0] / means[1] - 1
    return pl.DataFrame({"variable": list(columns), "drift": moved}).with_columns(
        pl.when(pl.col("drift").is_finite()).then("drift")
    )


def _pooled(values: pl.Series, design_weights: np.ndarray) -> pl.Series:  # (households,) names
    """Each value's name; values rarer than ``RAREST`` are "other"."""
    counted = pl.DataFrame({"value": values, "weight": design_weights})
    share = pl.col("weight").sum().over("value") / pl.col("weight").sum()
    name = pl.when(share >= RAREST).then(pl.col("value").cast(pl.String)).otherwise(pl.lit("other"))
    return counted.select(name).to_series()


def _shares(rows: pl.DataFrame, *, households: int) -> WithinAreaShares:
    """From one row a variable and household: the cells, and both matrices over the households."""
    design_total = pl.col("weight").sum().over("variable", "area")
    cells = (
        rows.with_columns(design_total=design_total)
        .group_by("variable", "area", "category", maintain_order=True)
        .agg(
            design_share=pl.col("weight").sum() / pl.col("design_total").first(),
            design_total=pl.col("design_total").first(),
        )
        .sort("variable", "area", "category")
        .with_row_index("cell")
    )

    def ones(*keys: str) -> sp.csr_array:
        places = rows.join(cells.select("cell", *keys), on=keys).select("cell", "household")
        row, column = places["cell"].to_numpy(), places["household"].to_numpy()
        shape = (len(cells), households)
        return sp.csr_array((np.ones(len(places)), (row, column)), shape=shape)

    return WithinAreaShares(
        cells.drop("cell"), ones("variable", "area", "category"), ones("variable", "area")
    )

"""Reforms on the whole file and on the sparse one: are the answers the same?

Effects are changes of tax revenue in dollars under the weights of each file. Each file forms
income classes of its own, as somebody would who has that file alone: tenths of its tax units by
adjusted gross income, units of equal income in one class.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from l0_pipeline.logic.reforms import INCOME, Reform
from l0_pipeline.logic.tables import REFORM_COLUMNS, REFORM_GROUP_COLUMNS, names

NOTICED = 1.0  # dollars a year from which on a unit wins or loses
TENTHS = np.arange(1, 10) / 10


@dataclass(frozen=True)
class File:
    """A file of tax units: what each reform changes, where they live and what they weigh."""

    changes: pl.DataFrame  # as ``reforms.tax_changes`` gives them
    states: np.ndarray  # (units,), FIPS codes
    weights: np.ndarray  # (units,)

    def classes(self) -> np.ndarray:  # (units,), 1 to 10
        """The tenth of this file's units that each one's income is in."""
        income = self.changes[INCOME].to_numpy()
        order = np.argsort(income, kind="stable")
        below = np.cumsum(self.weights[order]) / self.weights.sum()
        return np.asarray(
            1 + np.searchsorted(income[order][np.searchsorted(below, TENTHS)], income)
        )

    def effect(self, reform: str) -> np.ndarray:  # (units,), weighted dollars
        """What each unit adds to the revenue effect."""
        return np.asarray(self.changes[reform].to_numpy() * self.weights)

    def share(self, moved: np.ndarray) -> float:
        """The share of the file's units that ``moved`` (units,) is true for."""
        return float(self.weights[moved].sum() / self.weights.sum())


def whole_file(
    changes: pl.DataFrame, tax_units: pl.DataFrame, whole_file_weights: pl.DataFrame
) -> File:
    """All units of the survey, under the weights of all households, in the order of ``changes``."""
    units = changes.select("unit_id").join(
        tax_units.select("unit_id", "household_id", "state_fips"),
        on="unit_id",
        how="left",
        maintain_order="left",
    )
    weights = units.join(whole_file_weights, on="household_id", how="left", maintain_order="left")[
        "weight"
    ]
    return File(changes, units["state_fips"].to_numpy(), weights.to_numpy())


def sparse_file(changes: pl.DataFrame, aged_tax_units: pl.DataFrame) -> File:
    """The kept units in their own order, whatever the order of ``changes`` and its empty rows."""
    ordered = aged_tax_units.select("unit_id").join(
        changes, on="unit_id", how="left", maintain_order="left"
    )
    return File(
        ordered, aged_tax_units["state_fips"].to_numpy(), aged_tax_units["weight"].to_numpy()
    )


def compare_reforms(
    whole: File,
    sparse: File,
    reforms: Mapping[str, Reform],
    *,
    replicates: np.ndarray,  # (sparse units, replicates)
    scale: float,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two tables: ``REFORM_COLUMNS``, one row a reform, and ``REFORM_GROUP_COLUMNS``.

    Errors are null where a reform has no effect on the whole file.

    Args:
        whole: all households, calibrated with none left out.
        sparse: the households kept.
        reforms: by name, columns of both files' changes.
        replicates: replicate weights of the sparse file's units.
        scale: of the sum of squared differences of the replicates.
    """
    groups = pl.concat(
        _groups(name, grouping, whole, sparse, of_whole, of_sparse)
        for grouping, of_whole, of_sparse in (
            ("decile", whole.classes(), sparse.classes()),
            ("state", whole.states, sparse.states),
        )
        for name in reforms
    )
    rows = []
    for name, reform in reforms.items():
        effect, found = whole.effect(name).sum(), sparse.effect(name).sum()
        change = sparse.changes[name].to_numpy()
        differences = change @ replicates - found
        moved = {"whole": whole, "sparse": sparse}
        rows.append(
            {
                "reform": name,
                "description": reform.description,
                "units_affected_share": whole.share(
                    np.abs(whole.changes[name].to_numpy()) > NOTICED
                ),
                "effect_whole": float(effect),
                "effect_sparse": float(found),
                "error": float(found / effect - 1) if effect else None,
                **{
                    f"winners_{kind}": file.share(file.changes[name].to_numpy() < -NOTICED)
                    for kind, file in moved.items()
                },
                **{
                    f"losers_{kind}": file.share(file.changes[name].to_numpy() > NOTICED)
                    for kind, file in moved.items()
                },
                "standard_error": float(np.sqrt(scale * np.square(differences).sum()) / abs(effect))
                if effect
                else None,
            }
        )
    largest = groups.group_by("reform").agg(
        pl.col("error").filter(grouping=grouping).abs().max().alias(f"largest_{grouping}_error")
        for grouping in ("decile", "state")
    )
    table = pl.DataFrame(rows).join(largest, on="reform", how="left", maintain_order="left")
    return table.select(names(REFORM_COLUMNS)), groups.select(names(REFORM_GROUP_COLUMNS))


def _groups(
    reform: str,
    grouping: str,
    whole: File,
    sparse: File,
    of_whole: np.ndarray,  # (whole units,)
    of_sparse: np.ndarray,  # (sparse units,)
) -> pl.DataFrame:
    """The effect by group on both files; the error is a share of the whole effect."""
    total = abs(whole.effect(reform).sum())
    codes = np.unique(np.concatenate([of_whole, of_sparse]))
    effects = [
        np.bincount(np.searchsorted(codes, of_units), file.effect(reform), minlength=len(codes))
        for file, of_units in ((whole, of_whole), (sparse, of_sparse))
    ]
    return pl.DataFrame(
        {
            "reform": reform,
            "grouping": grouping,
            "group": codes.astype(np.int64),
            "effect_whole": effects[0],
            "effect_sparse": effects[1],
        }
    ).with_columns(
        error=(pl.col("effect_sparse") - pl.col("effect_whole")) / total
        if total
        else pl.lit(None, pl.Float64)
    )

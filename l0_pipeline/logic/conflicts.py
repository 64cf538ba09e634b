"""Targets that exclude each other, as a table. Imports torch."""

import numpy as np
import polars as pl

from l0.survey import CalibrationProblem
from l0.survey.infeasibility import Conflicts, certified_gap
from l0_pipeline.logic.figures import NATION, STATES
from l0_pipeline.logic.tables import CONFLICT_COLUMNS

# of a float that is divided and multiplied again
_ROUNDING = 1e-9
_CONCEPT = ("variable", "measure", "unit", "condition")


def state_sums(targets: pl.DataFrame) -> list[tuple[int, list[int]]]:
    """Rows of the nation with the rows of all its states: what each should be the sum of.

    Args:
        targets: the rows of a problem, in order: ``geography`` and what they count.
    """
    numbered = targets.with_row_index("row").filter(pl.col("geography").is_in([NATION, *STATES]))
    is_nation = pl.col("geography") == NATION
    found = numbered.group_by(_CONCEPT, maintain_order=True).agg(
        nation=pl.col("row").filter(is_nation), states=pl.col("row").filter(~is_nation)
    )
    return [
        (nation[0], states)
        for nation, states in found.select("nation", "states").rows()
        if len(nation) == 1 and len(states) == len(STATES)
    ]


def conflict_table(
    conflicts: Conflicts, targets: pl.DataFrame, *, year: int, max_weight_ratio: float | None
) -> pl.DataFrame:
    """One row a target of a conflict, the conflict of the largest error first.

    Args:
        conflicts: found among the rows of ``targets``.
        targets: the rows of the problem, in order.
        year: the target year.
        max_weight_ratio: what bounded the weights.
    """
    geography, unit = targets["geography"].to_list(), targets["unit"].to_list()
    rows = [
        {
            "year": year,
            "conflict_id": number,
            "target_id": name,
            "value": value,
            "unit": unit[row],
            "multiplier": multiplier,
            "gap": gap,
            "least_error": found.least_error,
            "max_weight_ratio": max_weight_ratio,
            "areas": ", ".join(sorted({geography[member] for member in found.rows})),
        }
        for number, found in enumerate(conflicts.found, start=1)
        for row, name, value, multiplier, gap in zip(
            found.rows, found.names, found.values, found.multipliers, found.gaps, strict=True
        )
    ]
    return pl.DataFrame(rows, schema={column.name: column.dtype for column in CONFLICT_COLUMNS})


def proved(
    table: pl.DataFrame, problem: CalibrationProblem, *, max_weight_ratio: float | None
) -> int:
    """How many conflicts of the table are proved by their multipliers to the error it states."""
    row = {name: number for number, name in enumerate(problem.target_names)}

    def is_proved(members: pl.DataFrame) -> bool:
        rows = [row[name] for name in members["target_id"]]
        multipliers = members["multiplier"].to_numpy()
        gap = certified_gap(problem, rows, multipliers, max_weight_ratio=max_weight_ratio)
        proved = gap / float(np.abs(multipliers) @ problem.scales[rows])
        return proved >= float(members["least_error"][0]) * (1 - _ROUNDING)

    return sum(is_proved(members) for members in table.partition_by("conflict_id"))


def largest_gaps(table: pl.DataFrame, targets: pl.DataFrame, *, rows: int) -> pl.DataFrame:
    """The targets of the worst conflicts with what they count, for reading."""
    described = targets.select("target_id", "variable", "measure", "geography", "condition")
    return (
        table.head(rows)
        .join(described, on="target_id", how="left", maintain_order="left")
        .select(
            *("conflict_id", "least_error", "variable", "measure", "geography", "condition"),
            *("value", "gap", "unit", "target_id"),
        )
    )

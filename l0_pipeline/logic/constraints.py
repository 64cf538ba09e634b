"""Targets compiled into coefficients: one sparse row a target, one column a household.

The coefficient of a household is what one unit of its weight adds to the estimate: over its tax
units that the target lets in, the sum of the target's measure (dollars, persons) or the number
of units where it is not zero. What a target is, and which role it plays, is in ``targets``.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
import scipy.sparse as sp

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.figures import NATION
from l0_pipeline.logic.filters import Clause
from l0_pipeline.logic.measures import AGE_BANDS, FILING_STATUS

Array = np.ndarray
Comparison = Callable[[Array, float], Array]
COMPARISONS: Mapping[str, Comparison] = {
    "==": np.equal,
    ">=": np.greater_equal,
    "<": np.less,
}


def compile_constraints(
    targets: pl.DataFrame, measures: pl.DataFrame, *, household_ids: pl.Series
) -> sp.csr_array:
    """Coefficients of every target, shape (targets, households), in the order of both arguments.

    Args:
        targets: ``target_id``, ``records``, ``microdata_column``, ``measure``, ``unit``,
            ``geography`` and ``filters`` (a list of column, operator, value).
        measures: one row a tax unit, as ``measures.unit_measures`` makes them.
        household_ids: the households that get a column, ascending.

    Raises:
        InputError: a tax unit's household is not among ``household_ids``.
    """
    compiler = _Compiler(measures, household_ids)
    rows = [compiler.row(target) for target in targets.iter_rows(named=True)]
    lengths = [len(columns) for columns, _ in rows]
    coordinates = (
        np.repeat(np.arange(len(rows), dtype=np.int32), lengths),
        np.concatenate([columns for columns, _ in rows] or [np.empty(0, np.int32)]),
    )
    values = np.concatenate([values for _, values in rows] or [np.empty(0)])
    matrix = sp.coo_array((values, coordinates), shape=(len(rows), len(household_ids))).tocsr()
    matrix.eliminate_zeros()
    return matrix


def age_band_columns(filters: Sequence[Clause]) -> tuple[str, ...] | None:
    """The person-count columns that make up an age filter; None where bands would be cut."""
    lower, upper = _age_range(filters)
    bands = {
        (low, np.inf if high is None else high): name for (low, high), name in AGE_BANDS.items()
    }
    inside = {
        edges: name for edges, name in bands.items() if edges[0] >= lower and edges[1] <= upper
    }
    if not inside or min(inside)[0] != lower or max(edges[1] for edges in inside) != upper:
        return None
    return tuple(inside.values())


class _Compiler:
    """The columns of the microdata as arrays, and the index of every universe and state."""

    def __init__(self, measures: pl.DataFrame, household_ids: pl.Series) -> None:
        self._arrays: dict[str, Array] = {}
        self._measures = measures
        self._position = self._household_positions(household_ids)
        self._index: dict[tuple[str, str], Array] = {}
        files = measures["files_a_return"].to_numpy()
        self._universes = {
            "everyone": np.ones(len(measures), dtype=bool),
            "filers": files,
            "itemizers": files & measures["itemizes"].to_numpy(),
        }

    def row(self, target: Mapping[str, object]) -> tuple[Array, Array]:
        """Household positions and coefficients of one target; a household may come twice."""
        index = self._members(str(target["records"]), str(target["geography"]))
        clauses = _clauses(target)
        counts_persons = target["unit"] == "persons" and target["microdata_column"] == "persons"
        person_columns = age_band_columns(clauses) or ()
        if counts_persons:
            # an age is each person's own here, and the head's everywhere else
            clauses = [clause for clause in clauses if clause.column != "age"]
        for clause in clauses:
            values = self._array(clause.column)[index]
            index = index[COMPARISONS[clause.operator](values, _number(clause))]
        if counts_persons:
            values = sum(
                (self._array(name)[index] for name in person_columns), np.zeros(len(index))
            )
        else:
            values = self._array(str(target["microdata_column"]))[index]
        if target["measure"] == "count" and target["unit"] != "persons":
            values = (values != 0).astype(np.float64)
        kept = values != 0
        return self._position[index[kept]], values[kept].astype(np.float64)

    def _members(self, universe: str, geography: str) -> Array:
        key = (universe, geography)
        if key not in self._index:
            mask = self._universes[universe]
            if geography != NATION:
                mask = mask & (self._array("state_fips") == int(geography))
            self._index[key] = np.flatnonzero(mask)
        return self._index[key]

    def _array(self, column: str) -> Array:
        if column not in self._arrays:
            self._arrays[column] = self._measures[column].cast(pl.Float64).to_numpy()
        return self._arrays[column]

    def _household_positions(self, household_ids: pl.Series) -> Array:
        ids = household_ids.to_numpy()
        wanted = self._measures["household_id"].to_numpy()
        position = np.searchsorted(ids, wanted)
        unknown = (position == len(ids)) | (ids[np.minimum(position, len(ids) - 1)] != wanted)
        if unknown.any():
            raise InputError(
                f"{int(unknown.sum())} tax units belong to no household, the first to household "
                f"{wanted[unknown.argmax()]}. Rebuild `households` and `tax_units` together."
            )
        return position.astype(np.int32)


def _clauses(target: Mapping[str, object]) -> list[Clause]:
    filters = target["filters"]
    return [Clause(**clause) for clause in filters] if isinstance(filters, list) else []


def _age_range(filters: Sequence[Clause]) -> tuple[float, float]:
    lower, upper = 0.0, np.inf
    for clause in filters:
        if clause.column == "age" and clause.operator in (">=", "=="):
            lower = float(clause.value)
        if clause.column == "age" and clause.operator == "<":
            upper = float(clause.value)
        if clause.column == "age" and clause.operator == "==":
            upper = lower + 1
    return lower, upper


def _number(clause: Clause) -> float:
    if clause.column == "filing_status":
        return float(FILING_STATUS[clause.value])
    return float(clause.value.removesuffix("+"))

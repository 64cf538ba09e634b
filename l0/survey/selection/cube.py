"""The cube method: samples whose Horvitz-Thompson totals of some columns are the true ones.

Probabilities walk at random inside the unit cube, along directions that change no balancing
total, each step far enough to decide a record, with chances that keep every expectation (Deville
and Tillé, 2004). Where no such direction is left, columns are given up one at a time, the last one
first; the sizes of the strata are never given up. Joint probabilities are not known.
"""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from l0.errors import InputError
from l0.survey.problem import Vector
from l0.survey.selection.sample import Matrix

Indices = NDArray[np.intp]

# a column nearer to the span of others, relative to its length, is left out
_DEPENDENT = 1e-7
# a record that moves less than this while another goes from 0 to 1 does not move
_STILL = 1e-9
# a value this near to 0 or 1 is there
_DECIDED = 1e-8
# a first basis is sought among so many records for each row, and among all where the last of it is
# nearer to the span of the others than this, relative to the first
_SOUGHT, _INDEPENDENT = 20, 1e-4
# strata and columns together
_MOST_ROWS = 500
# exchanges until the inverse of the basis is computed afresh
_EXCHANGES = 200


def draw(
    probability: Vector,  # (records,), above 0 and below 1
    columns: Matrix,  # (records, columns)
    strata: Indices,  # (records,)
    rng: np.random.Generator,
) -> tuple[Indices, Indices]:
    """The records drawn, and the columns left out as they depend on others or on the strata.

    A step costs the square of strata and columns together; memory is that of ``columns`` and of
    one number for each record and stratum.
    """
    labels = np.unique(strata)
    if len(labels) + columns.shape[1] > _MOST_ROWS:
        raise InputError(
            f"the cube method was to keep {len(labels):,} strata and {columns.shape[1]:,} columns, "
            f"but at most {_MOST_ROWS} in all, since each step costs their square. Join strata, "
            "or draw groups of them one after the other."
        )
    sizes = np.equal.outer(strata, labels).astype(np.float64)
    expanded = _within_strata(columns / probability[:, None], sizes)
    kept = _independent(expanded)
    rows = np.hstack([sizes, expanded[:, kept]])
    values = probability.copy()
    _fly(values, rows, rng)
    _land(values, rows, rng, fewest=sizes.shape[1])
    left_out = np.setdiff1d(np.arange(columns.shape[1]), kept)
    return np.flatnonzero(values > 0.5), left_out


def _within_strata(columns: Matrix, sizes: Matrix) -> Matrix:
    """Columns less their means in each stratum, of mean square one; zero where nothing is left.

    Together with the sizes they span what they did before.
    """
    length = np.linalg.norm(columns, axis=0)
    centred = columns - sizes @ ((sizes.T @ columns) / sizes.sum(axis=0)[:, None])
    left = np.linalg.norm(centred, axis=0)
    varies = left > _DEPENDENT * length
    scale = np.where(varies, np.sqrt(len(columns)) / np.where(varies, left, 1.0), 0.0)
    scaled: Matrix = centred * scale
    return scaled


def _independent(columns: Matrix) -> Indices:
    """Columns that span all, ascending."""
    # the triangle has the lengths and angles of the columns, and few rows
    triangle = np.linalg.qr(columns, mode="r")
    triangle, order = scipy.linalg.qr(triangle, mode="r", pivoting=True)
    rank = int((np.abs(np.diag(triangle)) > _DEPENDENT * np.sqrt(len(columns))).sum())
    return np.sort(order[:rank])


def _fly(values: Vector, rows: Matrix, rng: np.random.Generator) -> None:
    """Walk until no more records are undecided than there are rows to keep.

    A basis of records is kept whose rows are independent. Each further record moves, and the
    basis moves so that no total changes, until one of them is decided; where it is of the basis,
    the further record takes its place.
    """
    basis = _first_basis(rows, rng.permutation(len(values)))
    held = values[basis]
    inverse = np.linalg.inv(rows[basis].T)
    exchanges = 0
    others = _largest_first(np.setdiff1d(np.arange(len(values)), basis), rows, rng)
    for record, chance in zip(others.tolist(), rng.random(len(others)).tolist(), strict=True):
        along = inverse @ rows[record]
        value = float(values[record])
        up, down = _reach(held, -along)
        first_up, first_down = int(up.argmin()), int(down.argmin())
        rise, fall = min(float(up[first_up]), 1 - value), min(float(down[first_down]), value)
        rises = chance * (rise + fall) < fall
        step, first = (rise, first_up) if rises else (-fall, first_down)
        held = np.clip(held - step * along, 0.0, 1.0)
        if step in (1 - value, -value):
            values[record] = float(rises)
            continue
        values[basis[first]] = round(held[first])
        basis[first], held[first] = record, value + step
        exchanges += 1
        if exchanges % _EXCHANGES == 0:
            inverse = np.linalg.inv(rows[basis].T)
        else:
            taken = inverse[first] / along[first]
            inverse -= np.multiply.outer(along, taken)
            inverse[first] = taken
    values[basis] = held


def _first_basis(rows: Matrix, order: Indices) -> Indices:
    """As many records as there are rows to keep, their coefficients independent."""
    wanted = rows.shape[1]
    for some in (order[: _SOUGHT * wanted], order):
        triangle, pivots = scipy.linalg.qr(rows[some].T, mode="r", pivoting=True)
        lengths = np.abs(np.diag(triangle))
        if len(lengths) == wanted and lengths[-1] > _INDEPENDENT * lengths[0]:
            break
    basis: Indices = some[pivots[:wanted]]
    return basis


def _largest_first(records: Indices, rows: Matrix, rng: np.random.Generator) -> Indices:
    """By powers of two of the largest coefficient, in random order where that agrees.

    What is undecided at the end costs balance in proportion to its coefficients.
    """
    shuffled = rng.permutation(records)
    power = np.frexp(np.abs(rows[shuffled]).max(axis=1))[1]
    return shuffled[np.argsort(-power, kind="stable")]


def _reach(values: Vector, direction: Vector) -> tuple[Vector, Vector]:
    """How far each value can go along the direction, and against it, until it is 0 or 1."""
    speed = np.abs(direction)
    moves = speed > _STILL
    room = np.where(direction > 0, 1 - values, values)
    along, against = np.full((2, len(values)), np.inf)
    np.divide(room, speed, out=along, where=moves)
    np.divide(1 - room, speed, out=against, where=moves)
    return along, against


def _land(values: Vector, rows: Matrix, rng: np.random.Generator, *, fewest: int) -> None:
    """Decide the last records, giving up rows from the last one until the fewest are left."""
    for kept in range(rows.shape[1], fewest - 1, -1):
        while True:
            undecided = np.flatnonzero((values > _DECIDED) & (values < 1 - _DECIDED))
            directions = scipy.linalg.null_space(rows[undecided, :kept].T, rcond=_STILL)
            if directions.shape[1] == 0:
                break
            direction = directions[:, 0]
            up, down = _reach(values[undecided], direction)
            rise, fall = float(up.min()), float(down.min())
            step = rise if rng.random() * (rise + fall) < fall else -fall
            values[undecided] = np.clip(values[undecided] + step * direction, 0.0, 1.0)

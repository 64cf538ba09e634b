"""Arguments checked once: a sparse matrix, vectors of its length, and single numbers.

Nothing is cached and nothing of the caller's is changed: what comes back are copies.
"""

import math
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike, NDArray

from l0.errors import InputError

Matrix: TypeAlias = sp.sparray | sp.spmatrix | ArrayLike | torch.Tensor
# numpy's kinds of numbers that are real, and objects that may be
REAL = "biufO"


def csr_matrix(
    name: str,
    given: Matrix,
    *,
    row: str = "target",
    column: str = "record",
    columns: int | None = None,
    dtype: type[np.floating[Any]] = np.float64,
) -> sp.csr_array:
    """A finite matrix in compressed rows, without stored zeros or duplicates.

    Args:
        name: of the argument, for messages.
        given: scipy sparse, numpy or torch, of shape (rows, columns).
        row: what a row is called.
        column: what a column is called.
        columns: how many there must be; any number without.
        dtype: of the numbers that come back.

    Raises:
        InputError: no matrix, an empty one, one of other columns, or entries that are not finite
            real numbers.
    """
    if columns is not None:
        shape = _shape_of(name, given)
        if len(shape) != 2 or shape[1] != columns:
            raise InputError(
                f"{name} has shape {shape}, but must be ({row}s, {columns}): one column a "
                f"{column}. Transpose it if rows are {column}s."
            )
    matrix: Any = _from_torch(given) if isinstance(given, torch.Tensor) else given
    if not sp.issparse(matrix):
        matrix = numbers(name, matrix)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise InputError(f"{name} must have the shape ({row}s, {column}s), but got {matrix.shape}.")
    if matrix.dtype.kind not in REAL:
        raise InputError(f"{name} must be real numbers, but got {matrix.dtype}.")
    # a copy: the caller's matrix may change later, and is not put in order here
    with np.errstate(over="ignore"):
        checked = sp.csr_array(matrix, dtype=dtype, copy=True)
    checked.sum_duplicates()
    checked.eliminate_zeros()
    bad = ~np.isfinite(checked.data)
    if bad.any():
        place = int(np.searchsorted(checked.indptr, bad.argmax(), side="right")) - 1
        raise InputError(
            f"{int(bad.sum())} entries of {name} are not finite in {checked.dtype}, the first in "
            f"{row} {place}, {column} {checked.indices[bad.argmax()]}. Mend the column it was "
            "computed from."
        )
    return checked


def _shape_of(name: str, given: Matrix) -> tuple[int, ...]:
    """The shape of what may be a matrix, without a copy of it."""
    try:
        return tuple(np.shape(given))
    except ValueError as error:
        raise InputError(f"{name} must be a matrix: {error}.") from error


def numbers(name: str, values: object) -> NDArray[np.float64]:
    """An array of real numbers, or a refusal that names it."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    try:
        array = np.asarray(values)
        real = array.astype(np.float64) if array.dtype.kind in REAL else None
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be real numbers: {error}.") from error
    if real is None:
        raise InputError(f"{name} must be real numbers, but got {array.dtype}.")
    return real


def vector(
    name: str, values: object, length: int, of: str, *, hint: str = ""
) -> NDArray[np.float64]:
    """A finite vector of one number for each of ``length`` things, or a refusal that names it."""
    checked = numbers(name, values)
    if checked.shape != (length,):
        raise InputError(
            f"{name} has shape {checked.shape}, but {length} {of} need ({length},).{hint}"
        )
    refuse(name, ~np.isfinite(checked), "not finite", "Mend or leave out these entries.")
    return checked


def of_type(name: str, given: object, kind: type, *, hint: str = "") -> None:
    """Refuse a thing of another type than is wanted."""
    if not isinstance(given, kind):
        raise InputError(
            f"{name} is a {type(given).__name__}, but must be a {kind.__name__}.{hint}"
        )


def above_zero(
    name: str,
    values: object,
    length: int,
    of: str,
    *,
    where: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """A vector whose entries, those ``where`` at least, are above zero and finite in float32."""
    given = vector(name, values, length, of)
    with np.errstate(over="ignore"):
        short = given.astype(np.float32)
    bad = ~((short > 0) & (short < np.inf))
    if where is not None:
        bad &= where
    move = "A weight of zero never grows: raise them a little, or leave the records out."
    refuse(name, bad, "not above zero or not finite in float32", move)
    return given


def refuse(name: str, bad: NDArray[np.bool_], fault: str, move: str) -> None:
    """Refuse entries that are bad, with how many and where."""
    if bad.any():
        places = ", ".join(str(place) for place in np.flatnonzero(bad)[:5])
        raise InputError(
            f"{int(bad.sum())} entries of {name} are {fault}, at positions {places}. {move}"
        )


def positive(name: str, value: float) -> float:
    """A finite number above zero, or a refusal that names it."""
    if not isinstance(value, Real | torch.Tensor) or not 0 < value < math.inf:
        raise InputError(f"{name} is {value!r}, but must be a finite number above 0.")
    return value


def not_negative(name: str, value: float) -> float:
    """A finite number of zero or more, or a refusal that names it."""
    if not isinstance(value, Real | torch.Tensor) or not 0 <= value < math.inf:
        raise InputError(f"{name} is {value!r}, but must be a finite number of 0 or more.")
    return value


def whole(name: str, value: int, *, least: int) -> int:
    """A whole number of at least ``least``, or a refusal that names it."""
    if (
        isinstance(value, bool)
        or not isinstance(value, Real)
        or not math.isfinite(value)
        or int(value) != value
        or value < least
    ):
        raise InputError(f"{name} is {value!r}, but must be a whole number of at least {least}.")
    return int(value)


def _from_torch(tensor: torch.Tensor) -> sp.coo_array | NDArray[np.float64]:
    tensor = tensor.detach().cpu().double()
    if tensor.layout == torch.strided:
        return tensor.numpy()
    # never dense in between: most coefficients of a survey are zero
    entries = tensor.to_sparse().coalesce()
    return sp.coo_array(
        (entries.values().numpy(), tuple(entries.indices().numpy())), shape=tuple(entries.shape)
    )

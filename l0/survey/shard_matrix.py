"""One shard's coefficients, from two stored copies of its part of the sparse matrix.

One copy is compressed by record, one by target, so that each product streams its matrix once; a
transpose is never rebuilt while a fit runs. Gradients are written by hand where they are used:
nothing here is recorded by autograd. Values are float32, indices int32.
"""

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.survey.row_product import RowProduct


class ShardMatrix:
    """The coefficients of some records that follow each other."""

    def __init__(self, by_record: sp.csr_array, device: torch.device) -> None:
        """Take (records, targets), float32, to the device; the copy by target is made when used."""
        self._by_record = by_record
        self._device = device
        self._adjoint = RowProduct(by_record, device)
        self._forward: RowProduct | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(targets, records)."""
        records, targets = self._by_record.shape
        return targets, records

    @property
    def nnz(self) -> int:
        """How many coefficients there are."""
        return int(self._by_record.nnz)

    def estimates(self, weights: Tensor) -> Tensor:  # (records,) -> (targets,) float64
        """M w, this shard's part of it."""
        forward = self._forward
        if forward is None:
            forward = RowProduct(sp.csr_array(self._by_record.T), self._device)
            self._forward = forward
        return forward(weights).double()

    def adjoint(self, prices: Tensor) -> Tensor:  # (targets,) float32 -> (records,)
        """M' r."""
        return self._adjoint(prices).float()

    def squares(self, by_target: NDArray[np.float64]) -> NDArray[np.float64]:  # -> (records,)
        """The sum of each record's squared coefficients, each times what its target says."""
        squared = sp.csr_array(self._by_record, dtype=np.float64)
        squared.data = squared.data**2
        total: NDArray[np.float64] = squared @ by_target
        return total

    def keep(self, places: NDArray[np.intp]) -> "ShardMatrix":
        """The coefficients of these records alone."""
        return ShardMatrix(self._by_record[places], self._device)

    def release(self) -> None:
        """Give back the copy by target."""
        self._forward = None

"""A fit's two products, M w and M' r, from two stored copies of a sparse matrix.

Both copies are compressed by row, so that each product streams its matrix once; a transpose is
never rebuilt. Gradients are written by hand where they are used: nothing here is recorded by
autograd. Values are float32, indices int32.
"""

import warnings

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from l0.survey.problem import CalibrationProblem


class SparseOperator:
    """The scaled constraints of a problem on one device: estimates in units of each scale."""

    def __init__(self, by_record: sp.csr_array, device: torch.device) -> None:
        """Take the matrix in its transposed shape (records, targets)."""
        self._by_record = by_record
        self.device = device
        self._adjoint = _to_torch(by_record, device)
        self._forward = _to_torch(by_record.T.tocsr(), device)

    @property
    def shape(self) -> tuple[int, int]:
        """(targets, records)."""
        records, targets = self._by_record.shape
        return targets, records

    @classmethod
    def of(cls, problem: CalibrationProblem, device: torch.device) -> "SparseOperator":
        """The constraints of a problem, each target divided by its scale."""
        scaled = sp.diags_array(1 / problem.scales) @ problem.constraints
        return cls(sp.csr_array(scaled.T, dtype=np.float32), device)

    def estimates(self, weights: Tensor) -> Tensor:  # (records,) -> (targets,)
        """M w: the weighted total of every target."""
        return torch.mv(self._forward, weights)

    def adjoint(self, prices: Tensor) -> Tensor:  # (targets,) -> (records,)
        """M' r: what one unit of each record's weight is worth at the targets' prices."""
        return torch.mv(self._adjoint, prices)

    def keep(self, records: Tensor) -> "SparseOperator":
        """The operator of these records alone; the others' coefficients are gone."""
        return SparseOperator(self._by_record[records.cpu().numpy()], self.device)

    def column_norms(self, loss_weights: Tensor) -> Tensor:  # (targets,) -> (records,)
        """The Euclidean norm of each record's coefficients under the targets' loss weights."""
        squared = self._by_record.power(2) @ loss_weights.cpu().numpy()
        return torch.from_numpy(np.sqrt(squared)).to(self.device)


def _to_torch(matrix: sp.csr_array, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # torch announces once in a process that its compressed layout may still change
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32)),
            torch.from_numpy(matrix.data),
            size=matrix.shape,
            device=device,
            check_invariants=False,
        )

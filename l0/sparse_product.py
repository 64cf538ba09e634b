"""The product of a sparse matrix and a vector of parameters, for training loops of one's own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from l0.inputs import Matrix, csr_matrix
from l0.survey.operator import SparseOperator


def operator_of(name: str, matrix: Matrix, device: torch.device, **shape: Any) -> SparseOperator:
    """A matrix checked by ``csr_matrix`` on a device; nothing is cached between calls."""
    return operator_on(csr_matrix(name, matrix, dtype=np.float32, **shape), device)


def operator_on(matrix: sp.csr_array, device: torch.device) -> SparseOperator:
    """The operator of a matrix that needs no check."""
    return SparseOperator.of_columns(matrix.tocsc().astype(np.float32), device)


def product(operator: SparseOperator, vector: Tensor) -> Tensor:  # (columns,) -> (rows,)
    """M v in the precision of v, differentiable by v."""
    return _apply(vector, operator)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vector: Tensor, operator: SparseOperator) -> Tensor:
        ctx.operator = operator
        return operator.estimates(vector.detach()).to(vector.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        operator: SparseOperator = ctx.operator
        return operator.adjoint(gradients[0].contiguous()), None


_apply: Callable[..., Tensor] = _Product.apply

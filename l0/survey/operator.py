"""A fit's two products, M w and M' r, from two stored copies of a sparse matrix.

One copy is compressed by record, one by target, so that each product streams its matrix once; a
transpose is never rebuilt while a fit runs. Gradients are written by hand where they are used:
nothing here is recorded by autograd. Values are float32, indices int32; sums over records are
finished in float64, shard by shard (``shards``). On the CPU each shard is the work of one thread.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.survey.problem import CalibrationProblem
from l0.survey.shards import Shards, shard_sum

# with fewer coefficients, handing work to threads costs more than it saves
_WORTH_THREADS = 300_000


class SparseOperator:
    """The constraints on one device: those of the records that this process holds."""

    def __init__(
        self,
        by_record: sp.csr_array,  # (records, targets), float32, of the records held
        device: torch.device,
        *,
        shards: Shards,
        records: NDArray[np.intp],  # (records held,), ascending positions in the problem
        threads: int,
    ) -> None:
        """Take the copy by record to the device; the one by target is made when it is used."""
        self._by_record = by_record
        self._threads = threads
        self.device = device
        self.shards = shards
        self.records = torch.from_numpy(records).to(device)
        self.cuts = shards.cuts(self.records)
        runs = [run_of_rows(by_record, cut) for cut in self.cuts]
        self._adjoint = [_to_torch(run, device) for run in runs]
        self._runs = runs
        self._forward: list[Tensor] = []

    @property
    def shape(self) -> tuple[int, int]:
        """(targets, records held)."""
        records, targets = self._by_record.shape
        return targets, records

    @classmethod
    def of(cls, problem: CalibrationProblem, device: torch.device) -> "SparseOperator":
        """The constraints of a problem, those of its records without design weight left out."""
        return cls.of_columns(problem.constraints, device, problem.design_weights > 0)

    @classmethod
    def of_columns(
        cls,
        columns: sp.csc_array,
        device: torch.device,
        among: NDArray[np.bool_] | None = None,
    ) -> "SparseOperator":
        """The columns of a matrix (targets, records), float32; only those ``among`` if given."""
        shards = Shards.of(np.diff(columns.indptr).astype(np.intp), device)
        # the transpose of compressed columns is compressed rows of the same memory
        by_record = run_of_rows(columns.T, shards.mine)
        held = np.arange(columns.shape[1])[shards.mine]
        if among is not None and not among[held].all():
            by_record = by_record[among[held]]
            held = held[among[held]]
        return cls(by_record, device, shards=shards, records=held, threads=torch.get_num_threads())

    def estimates(self, weights: Tensor) -> Tensor:  # (records held,) -> (targets,) float64
        """M w: the weighted total of every target, over all records."""
        if not self._forward:
            self._forward = [_to_torch(sp.csr_array(run.T), self.device) for run in self._runs]
        partials = self._each(
            lambda shard: torch.mv(self._forward[shard], weights[self.cuts[shard]]).double()
        )
        return self.shards.add(torch.stack(partials))

    def release(self) -> None:
        """Give back the copy by target; the next estimates make it anew."""
        self._forward = []

    def adjoint(self, prices: Tensor) -> Tensor:  # (targets,) -> (records held,)
        """M' r: what one unit of each record's weight is worth at the targets' prices."""
        short = prices.float()
        return torch.cat(self._each(lambda shard: torch.mv(self._adjoint[shard], short)))

    def totals(self, *values: Tensor) -> list[float]:  # each (records held,)
        """The sum of each vector over all records, in float64."""
        partials = [[shard_sum(vector[cut]) for vector in values] for cut in self.cuts]
        held = torch.tensor(partials, dtype=torch.float64, device=self.device)
        added: list[float] = self.shards.add(held).tolist()
        return added

    def keep(self, places: Tensor) -> "SparseOperator":
        """The operator of these of the records held; the others' coefficients are gone."""
        kept = places.cpu().numpy()
        return SparseOperator(
            self._by_record[kept],
            self.device,
            shards=self.shards,
            records=self.records.cpu().numpy()[kept],
            threads=self._threads,
        )

    def keep_records(self, records: NDArray[np.intp]) -> "SparseOperator":
        """The operator of these records, ascending positions in the problem, wherever held."""
        wanted = torch.from_numpy(records).to(self.device)
        mine = self.shards.split(wanted, wanted)
        return self.keep(torch.searchsorted(self.records, mine))

    def column_norms(self, loss_weights: Tensor, scales: Tensor) -> Tensor:  # -> (records held,)
        """The Euclidean norm of each record's coefficients over scale, under the loss weights."""
        by_target = (loss_weights.double() / scales.double().square()).cpu().numpy()
        squared = np.empty(self._by_record.shape[0])
        for cut in self.cuts:
            # a shard at a time, so that the squares need little memory
            squares = sp.csr_array(run_of_rows(self._by_record, cut), dtype=np.float64)
            squares.data = squares.data**2
            squared[cut] = squares @ by_target
        return torch.from_numpy(np.sqrt(squared)).to(self.device, torch.float32)

    def _each(self, product: Callable[[int], Tensor]) -> list[Tensor]:
        shards = range(len(self.cuts))
        if self._threads == 1 or self.device.type != "cpu" or self._by_record.nnz < _WORTH_THREADS:
            return [product(shard) for shard in shards]
        return list(_workers(self._threads).map(product, shards))


def run_of_rows(matrix: sp.csr_array, rows: slice) -> sp.csr_array:
    """Some rows one after the other, sharing the matrix's memory."""
    start, stop = matrix.indptr[rows.start], matrix.indptr[rows.stop]
    run = sp.csr_array((rows.stop - rows.start, matrix.shape[1]), dtype=matrix.dtype)
    # set one by one: scipy's constructor would copy a part of a larger array
    run.data = matrix.data[start:stop]
    run.indices = matrix.indices[start:stop]
    run.indptr = matrix.indptr[rows.start : rows.stop + 1] - start
    return run


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Torch's own threads off: those of the operator do the heavy work.

    The vectors of a fit are short. Shared among threads that wait for each other, an operation
    on them gains little, and stalls for milliseconds whenever another program has the core.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def _workers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "l0", initializer=lambda: torch.set_num_threads(1))


# a forked process has none of its parent's threads
os.register_at_fork(after_in_child=_workers.cache_clear)


def _to_torch(matrix: sp.csr_array, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # torch announces once in a process that its compressed layout may still change, and that
        # memory it only reads is not its to write
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32, copy=False)),
            torch.from_numpy(matrix.indices.astype(np.int32, copy=False)),
            torch.from_numpy(matrix.data),
            size=matrix.shape,
            device=device,
            check_invariants=False,
        )

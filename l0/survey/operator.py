"""A fit's two products, M w and M' r, and whatever else is done shard by shard.

Sums over records are finished in float64, shard by shard (``shards``), so that neither threads
nor processes change a bit. On the CPU each shard is the work of one thread.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from threading import Barrier
from typing import TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from l0.survey.compressed import run_of
from l0.survey.nested import Nesting, RowSums
from l0.survey.problem import CalibrationProblem
from l0.survey.shard_matrix import ShardMatrix
from l0.survey.shards import Shards, shard_sums

# with fewer, handing work to threads costs more than it saves: an operation on a short vector is
# soon over, and the threads then wait for each other to have the interpreter
_COEFFICIENTS = 300_000
_RECORDS = 1_000_000
# with fewer, to find rows within rows takes longer than reading them at every epoch
_NESTED_COEFFICIENTS = 1_000_000

Result = TypeVar("Result")


class SparseOperator:
    """The constraints on one device: those of the records that this process holds, by shard."""

    def __init__(
        self,
        matrices: list[ShardMatrix],  # of the shards held
        device: torch.device,
        *,
        shards: Shards,
        records: NDArray[np.intp],  # (records held,), ascending positions in the problem
        threads: int,
        sums: RowSums | None = None,
    ) -> None:
        """Join the matrices of the shards held; where rows are nested, ``sums`` are their sums."""
        self.matrices = matrices
        self._sums = sums
        self._threads = threads
        self._nnz = sum(matrix.nnz for matrix in matrices)
        self.device = device
        self.shards = shards
        self.records = torch.from_numpy(records).to(device)
        self.cuts = shards.cuts(self.records)

    @property
    def shape(self) -> tuple[int, int]:
        """(targets, records held)."""
        return self.matrices[0].shape[0], len(self.records)

    @classmethod
    def of(
        cls, problem: CalibrationProblem, device: torch.device, *, nested: bool = False
    ) -> "SparseOperator":
        """The constraints of a problem, those of its records without design weight left out.

        Args:
            problem: whose constraints.
            device: where they are to lie.
            nested: whether to look for rows that others are made of, where there are many
                coefficients: it takes as long as two dozen epochs, and saves a third of each.
        """
        columns, sums = problem.constraints, None
        if nested and columns.nnz >= _NESTED_COEFFICIENTS:
            nesting = Nesting.of(columns)
            if nesting is not None:
                columns, sums = nesting.kept.tocsc(), RowSums(nesting.sums, device)
        return cls.of_columns(columns, device, problem.design_weights > 0, sums)

    @classmethod
    def of_columns(
        cls,
        columns: sp.csc_array,
        device: torch.device,
        among: NDArray[np.bool_] | None = None,
        sums: RowSums | None = None,
    ) -> "SparseOperator":
        """The columns of a matrix (targets, records), float32; only those ``among`` if given."""
        shards = Shards.of(np.diff(columns.indptr).astype(np.intp), device)
        # the transpose of compressed columns is compressed rows of the same memory
        by_record = run_of(columns.T, shards.mine)
        held = np.arange(columns.shape[1])[shards.mine]
        if among is not None and not among[held].all():
            by_record = by_record[among[held]]
            held = held[among[held]]
        matrices = [
            ShardMatrix(run_of(by_record, cut), device)
            for cut in shards.cuts(torch.from_numpy(held).to(device))
        ]
        threads = torch.get_num_threads()
        return cls(matrices, device, shards=shards, records=held, threads=threads, sums=sums)

    def estimates(self, weights: Tensor) -> Tensor:  # (records held,) -> (targets,) float64
        """M w: the weighted total of every target, over all records."""
        return self.summed(self.total(lambda k: self.matrices[k].estimates(weights[self.cuts[k]])))

    def summed(self, stored: Tensor) -> Tensor:  # (targets,) float64
        """The totals of all targets, from those of the coefficients that the matrices store."""
        return stored if self._sums is None else self._sums.of_rows(stored)

    def folded(self, prices: Tensor) -> Tensor:  # (targets,) float64
        """What a coefficient that the matrices store is worth at the targets' prices."""
        return prices if self._sums is None else self._sums.of_prices(prices)

    def release(self) -> None:
        """Give back the copy by target; the next estimates make it anew."""
        for matrix in self.matrices:
            matrix.release()

    def adjoint(self, prices: Tensor) -> Tensor:  # (targets,) -> (records held,)
        """M' r: what one unit of each record's weight is worth at the targets' prices."""
        short = self.folded(prices.double()).float()
        return torch.cat(self.each(lambda k: self.matrices[k].adjoint(short)))

    def totals(self, *values: Tensor) -> list[float]:  # each (records held,)
        """The sum of each vector over all records, in float64."""
        partials = [shard_sums(*(vector[cut] for vector in values)) for cut in self.cuts]
        added: list[float] = self.shards.add(torch.stack(partials)).tolist()
        return added

    def keep(self, places: Tensor) -> "SparseOperator":
        """The operator of these of the records held; the others' coefficients are gone."""
        kept = places.cpu().numpy()
        records = self.records.cpu().numpy()[kept]
        cuts = self.shards.cuts(torch.from_numpy(records).to(self.device))
        inside = [kept[new] - old.start for new, old in zip(cuts, self.cuts, strict=True)]
        return SparseOperator(
            self.each(lambda k: self.matrices[k].keep(inside[k])),
            self.device,
            shards=self.shards,
            records=records,
            threads=self._threads,
            sums=self._sums,
        )

    def keep_records(self, records: NDArray[np.intp]) -> "SparseOperator":
        """The operator of these records, ascending positions in the problem, wherever held."""
        wanted = torch.from_numpy(records).to(self.device)
        mine = self.shards.split(wanted, wanted)
        return self.keep(torch.searchsorted(self.records, mine))

    def column_norms(self, loss_weights: Tensor, scales: Tensor) -> Tensor:  # -> (records held,)
        """The Euclidean norm of each record's coefficients over scale, under the loss weights."""
        importance = loss_weights.double() / scales.double().square()
        with one_thread_each():
            by_target = self.folded(importance.to(self.device)).cpu().numpy()
        # a shard at a time, so that the squares need little memory
        squared = [matrix.squares(by_target) for matrix in self.matrices]
        return torch.from_numpy(np.sqrt(np.concatenate(squared))).to(self.device, torch.float32)

    def each(self, work: Callable[[int], Result], *, multiplies: bool = True) -> list[Result]:
        """Work done for every shard held, by its place among them; each thread has its own few.

        Args:
            work: of one shard.
            multiplies: by the matrix; work on vectors alone is shared only where they are long.
        """

        def run(shards: range) -> list[Result]:
            return [work(shard) for shard in shards]

        shards = range(len(self.cuts))
        size, worth = (self._nnz, _COEFFICIENTS) if multiplies else (len(self.records), _RECORDS)
        if self._threads == 1 or self.device.type != "cpu" or size < worth:
            return run(shards)
        # this thread takes the first few: what waits for others anyway need not be woken
        share = -(-len(shards) // self._threads)
        first, *others = (shards[place : place + share] for place in shards[::share])
        futures = [_workers(len(others)).submit(run, some) for some in others]
        try:
            done = run(first)
        finally:
            # whoever hears of an error finds nobody still at work
            wait(futures)
        for future in futures:
            done += future.result()
        return done

    def total(self, work: Callable[[int], Tensor], *, multiplies: bool = True) -> Tensor:
        """The sum over all shards, those of other processes too, of what work finds for each."""
        return self.shards.add(torch.stack(self.each(work, multiplies=multiplies)))


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
    before = torch.get_num_threads()
    workers = ThreadPoolExecutor(threads, "l0", initializer=lambda: torch.set_num_threads(1))
    all_are_there = Barrier(threads + 1)
    for _ in range(threads):
        workers.submit(all_are_there.wait)
    all_are_there.wait()
    # torch gives the last number that any thread has set to every thread that is new
    torch.set_num_threads(before)
    return workers


# a forked process has none of its parent's threads; not every system forks
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)

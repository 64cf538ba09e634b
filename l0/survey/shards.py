"""Sums over records that come out the same however many processes share the work.

The records are cut once into a fixed number of contiguous shards. Whatever is summed over records
is summed within each shard first, in float64, and the shards' sums are added in their order: one
process that holds all shards, and several that hold some each, do the very same additions. What
is kept for each target is held by every process alike.

Processes are those of ``torch.distributed`` where it has been started, by ``torchrun`` for
instance; without it one process holds all shards.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from l0.errors import InputError

SHARDS = 4


@dataclass(frozen=True)
class Shards:
    """The cut of a problem's records, and the run of shards that this process holds."""

    bounds: tuple[int, ...]  # (shards + 1,) positions of records
    device: torch.device  # on which vectors lie
    first: int = 0  # of this process
    last: int = SHARDS  # one behind
    processes: int = 1

    @classmethod
    def of(cls, coefficients: NDArray[np.intp], device: torch.device) -> "Shards":
        """Shards of about as many coefficients each, for the processes there are.

        Args:
            coefficients: (records,) how many each record has.
            device: on which this process works.

        Raises:
            InputError: processes that cannot hold as many shards each.
        """
        shared = dist.is_available() and dist.is_initialized()
        # a GPU alone does best with all at once
        count = SHARDS if shared or device.type == "cpu" else 1
        work = np.concatenate([[0], np.cumsum(coefficients + 1)])
        cuts = np.searchsorted(work, work[-1] * np.arange(1, count) / count)
        bounds = (0, *(int(cut) for cut in cuts), len(coefficients))
        if not shared:
            return cls(bounds, device, 0, count)
        processes, rank = dist.get_world_size(), dist.get_rank()
        check_processes(processes)
        each = SHARDS // processes
        return cls(bounds, device, rank * each, (rank + 1) * each, processes)

    @property
    def mine(self) -> slice:
        """The records of this process."""
        return slice(self.bounds[self.first], self.bounds[self.last])

    def cuts(self, records: Tensor) -> list[slice]:
        """Where each of this process's shards lies among ascending positions of its records."""
        inner = torch.tensor(self.bounds[self.first : self.last + 1], device=records.device)
        ends = torch.searchsorted(records, inner).tolist()
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def add(self, partials: Tensor) -> Tensor:  # (shards held, ...) float64 -> (...)
        """The sum over all shards of all processes, added in the order of the shards."""
        whole = self._gather(partials) if self.processes > 1 else partials
        total = whole[0].clone()
        for partial in whole[1:]:
            total += partial
        return total

    def join(self, values: Tensor) -> Tensor:  # (records held,) -> (records of all,)
        """The values of every process one after the other, which is the order of the records."""
        if self.processes == 1:
            return values
        lengths = self._gather(torch.tensor([len(values)], device=values.device)).tolist()
        padded = values.new_zeros(max(lengths))
        padded[: len(values)] = values
        runs = self._gather(padded[None])
        return torch.cat([run[:length] for run, length in zip(runs, lengths, strict=True)])

    def split(self, values: Tensor, records: Tensor) -> Tensor:
        """Of values of all ``records``, ascending, those of this process."""
        ends = torch.tensor([self.mine.start, self.mine.stop], device=records.device)
        start, stop = torch.searchsorted(records, ends).tolist()
        return values[start:stop]

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that speaks for all."""
        return self.first == 0

    def first_says(self, flag: bool) -> bool:
        """What the first process says, for those whose clocks differ."""
        if self.processes == 1:
            return flag
        return bool(self._gather(torch.tensor([flag], device=self.device))[0])

    def _gather(self, part: Tensor) -> Tensor:
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(self.processes)]
        dist.all_gather(parts, part)
        return torch.cat(parts)


def check_processes(processes: int) -> None:
    """Refuse a number of processes that cannot hold as many shards each.

    Raises:
        InputError: it is none.
    """
    if processes not in {1, 2, SHARDS}:
        raise InputError(
            f"{processes} processes are to share the work, but {SHARDS} shards can be held by 1, "
            f"2 or {SHARDS} of them alike. Choose one of these."
        )


def shard_sums(*values: Tensor) -> Tensor:  # each (records of a shard,) -> (values,) float64
    """The sum of each vector in float64, whatever the number of threads."""
    if values[0].device.type != "cpu":
        return torch.stack([vector.sum(dtype=torch.float64) for vector in values])
    # torch splits a sum among its threads; numpy adds in one order
    sums = [np.add.reduce(vector.numpy(), dtype=np.float64) for vector in values]
    return torch.from_numpy(np.array(sums))

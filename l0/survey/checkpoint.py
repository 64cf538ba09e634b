"""Where a calibration stands, on disk: killed at any moment, it goes on from its last save.

One npz file of plain arrays, written beside its place and moved there in one step, so that there
is always a whole one. It carries the digest of everything the fit depends on, and a digest of
itself: a file of another calibration, or a torn one, is refused.
"""

import hashlib
import json
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from l0.errors import InputError
from l0.inputs import not_negative
from l0.survey.history import EpochRecord
from l0.survey.shards import Shards

if TYPE_CHECKING:
    from l0.survey.stage import Stage

Arrays = dict[str, NDArray[Any]]

_DIGEST, _FIT, _HISTORY, _STAGE = "digest", "fit", "history", "stage"
# what numpy and zipfile raise over bytes that are not what was written
_UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, MemoryError),
    *(RuntimeError, struct.error, zlib.error, zipfile.BadZipFile),
)


@dataclass(frozen=True)
class Checkpoint:
    """A file, and how often it is written.

    Attributes:
        path: of the file, or of the folder where it gets a name of its own.
        every_seconds: how much work may be lost; 0 writes at every recorded epoch.
        own_name: ``path`` is a folder, and the file is named by what the fit depends on, so that
            different calibrations can share the folder and each finds its own.
        keep: leave the file when the calibration is over; another call then returns at once.
    """

    path: str | os.PathLike[str]
    every_seconds: float = 30.0
    own_name: bool = False
    keep: bool = False

    def __post_init__(self) -> None:
        not_negative("every_seconds", self.every_seconds)

    def file(self, fit: str) -> Path:
        """The file of a fit of this digest."""
        return Path(self.path, f"{fit[:16]}.npz") if self.own_name else Path(self.path)


class Journal:
    """The stages of one calibration that are over, and the state of the one that runs."""

    def __init__(self, checkpoint: Checkpoint | None, *, fit: str, shards: Shards) -> None:
        """Read the file if there is one.

        Args:
            checkpoint: where to write; None writes nothing.
            fit: digest of everything the calibration depends on.
            shards: of the processes that share the work; the first one writes.

        Raises:
            InputError: the file is of another calibration, or not whole.
        """
        self._path = None if checkpoint is None else checkpoint.file(fit)
        self._keep = checkpoint is not None and checkpoint.keep
        self._every = 0.0 if checkpoint is None else checkpoint.every_seconds
        self._fit = fit
        self._shards = shards
        self._saved_at = time.monotonic()
        self._arrays: Arrays = {}
        self.history: list[EpochRecord] = []
        if self._path is None:
            return
        if self._path.exists():
            self._arrays = _read(self._path, fit=fit)
            lines = json.loads(str(self._arrays.pop(_HISTORY)))
            self.history = [EpochRecord(**line) for line in lines]
        # all must have read before the first one writes or removes it
        shards.first_says(True)

    def outcome(self, name: str) -> Arrays | None:
        """What a stage that is over left behind."""
        return below(self._arrays, f"outcome/{name}/") or None

    def resume(self, stage: "Stage") -> None:
        """Bring a stage to where it was saved, if it was."""
        state = below(self._arrays, "state/")
        if state and str(self._arrays[_STAGE]) == stage.name:
            stage.restore(state)
            stage.epoch = int(state["epoch"])

    def save_if_due(self, stage: "Stage") -> None:
        """Write the stage's state, if long enough ago something was written."""
        if self._path is None:
            return
        due = time.monotonic() - self._saved_at >= self._every
        # the clocks of processes differ: the first one's decides
        if not self._shards.first_says(due):
            return
        state = {**stage.state(), "epoch": np.array(stage.epoch)}
        self._forget_state()
        self._arrays |= {f"state/{name}": array for name, array in state.items()}
        self._arrays[_STAGE] = np.array(stage.name)
        self._write()

    def finish(self, name: str, outcome: Mapping[str, NDArray[Any]]) -> None:
        """Keep what a stage that is over left behind."""
        self._forget_state()
        self._arrays |= {f"outcome/{name}/{key}": array for key, array in outcome.items()}
        if self._path is not None:
            self._write()

    def close(self) -> None:
        """Remove the file, unless it is to be kept: the calibration is over."""
        if self._path is None or self._keep:
            return
        if self._shards.is_first:
            self._path.unlink(missing_ok=True)
        # the next calibration of another process must not find it
        self._shards.first_says(True)

    def _forget_state(self) -> None:
        self._arrays = {
            name: array for name, array in self._arrays.items() if name.startswith("outcome/")
        }

    def _write(self) -> None:
        self._saved_at = time.monotonic()
        if self._path is None or not self._shards.is_first:
            return
        arrays = dict(self._arrays)
        arrays[_FIT] = np.array(self._fit)
        arrays[_HISTORY] = np.array(json.dumps([asdict(record) for record in self.history]))
        arrays[_DIGEST] = np.array(_digest(arrays))
        beside = self._path.with_name(f".{self._path.name}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as refused:
            # where its folder is a file there is nothing to remove
            with suppress(OSError):
                beside.unlink()
            raise InputError(
                f"the checkpoint {self._path} cannot be written: {refused.strerror}. Make room or "
                "choose another path; what was saved before is unchanged."
            ) from refused


def _read(path: Path, *, fit: str) -> Arrays:
    try:
        with path.open("rb") as opened:
            if not zipfile.is_zipfile(opened):
                raise InputError(
                    f"the checkpoint {path} is no npz file, or the end of one is missing. Delete "
                    "it to start anew, or give the checkpoint another path."
                )
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as file:
                arrays: Arrays = dict(file)
        whole = str(arrays.pop(_DIGEST)) == _digest(arrays)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(
            f"the checkpoint {path} cannot be read: {error}. Delete it to start anew, or give the "
            "checkpoint another path; a folder is given with own_name=True."
        ) from error
    if not whole:
        raise InputError(
            f"the checkpoint {path} is damaged: its contents are not what was written. Delete it "
            "to start anew."
        )
    if str(arrays.pop(_FIT)) != fit:
        raise InputError(
            f"the checkpoint {path} is of another calibration: problem, budget, settings, seed, "
            "device or version of the library differ. Delete it to start anew, or give this one "
            "a path of its own."
        )
    return arrays


def _digest(arrays: Arrays) -> str:
    hashed = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hashed.update(f"{name} {array.dtype.str} {array.shape}".encode())
        hashed.update(array.tobytes())
    return hashed.hexdigest()


def below(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }

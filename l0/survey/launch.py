"""A calibration shared by several processes of this machine, from one call.

Each process holds some of the records' columns (``shards``) and they go epoch by epoch together;
the result is that of one process, bit for bit. What they are to do lies in a folder as plain
arrays and JSON. What they did is a checkpoint in which every stage is over, and the calling
process takes the result from there as from any checkpoint.

A program started by ``torchrun`` needs none of this: there ``calibrate`` shares the work with the
other processes by itself.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from l0.errors import InputError
from l0.survey.calibrate import CalibrationResult, calibrate
from l0.survey.calibration import METHODS
from l0.survey.checkpoint import Checkpoint
from l0.survey.device import choose_device
from l0.survey.history import EpochRecord, OnProgress
from l0.survey.problem import CalibrationProblem
from l0.survey.refit import RefitSettings
from l0.survey.shards import check_processes

_POLL_SECONDS = 0.2
_KILL_AFTER_SECONDS = 10.0


def calibrate_in_processes(
    problem: CalibrationProblem,
    *,
    processes: int,
    on_progress: OnProgress | None = None,
    checkpoint: Checkpoint | None = None,
    **options: Any,
) -> CalibrationResult:
    """Call ``calibrate`` with the work shared by ``processes`` processes.

    Args:
        problem: constraints, values and design weights.
        processes: how many, 1, 2 or 4. On GPUs each takes one of its own.
        on_progress: called with each record of the history.
        checkpoint: where to save, so that a killed run goes on; removed at the end.
        **options: those of ``calibrate``, but for ``start``.

    Raises:
        InputError: as ``calibrate``, or another number of processes.
    """
    check_processes(processes)
    if processes > 1 and options.get("start") is not None:
        raise InputError(
            "start cannot be told to other processes. Leave it out, use one process, or start the "
            "program with torchrun and call calibrate."
        )
    if processes == 1:
        return calibrate(problem, on_progress=on_progress, checkpoint=checkpoint, **options)
    with tempfile.TemporaryDirectory(prefix="l0-") as name:
        folder = Path(name)
        kept = checkpoint or Checkpoint(folder / "checkpoint.npz")
        problem.save(folder / "problem.npz")
        told = {**options, "checkpoint": asdict(replace(kept, path=str(kept.path), keep=True))}
        (folder / "options.json").write_text(json.dumps(told, default=_as_json), encoding="utf-8")
        children = [_start(folder, rank, processes) for rank in range(processes)]
        try:
            for record in _progress(folder, children):
                if on_progress is not None:
                    on_progress(record)
        finally:
            _stop(children)
        _refuse_failed(children, folder)
        return calibrate(problem, checkpoint=kept, **options)


def main(folder: Path, rank: int, processes: int) -> None:
    """The work of one process."""
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    method = options.get("method", "hard_concrete")
    for name, settings in (("settings", METHODS.get(method)), ("refit_settings", RefitSettings)):
        if options.get(name) is not None and settings is not None:
            options[name] = settings(**_tuples(options[name]))
    options["checkpoint"] = Checkpoint(**options["checkpoint"])
    device = choose_device(options.get("device", "auto"))
    if device.type == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=processes,
    )
    try:
        with (folder / f"progress-{rank}.jsonl").open("a", encoding="utf-8") as lines:

            def tell(record: EpochRecord) -> None:
                lines.write(json.dumps(asdict(record)) + "\n")
                lines.flush()

            calibrate(
                CalibrationProblem.load(folder / "problem.npz"),
                on_progress=tell,
                **_tuples(options),
            )
    finally:
        dist.destroy_process_group()


def _start(folder: Path, rank: int, processes: int) -> "subprocess.Popen[str]":
    threads = max(1, torch.get_num_threads() // processes)
    # gloo listens on this machine alone
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": str(threads)}
    log = (folder / f"log-{rank}.txt").open("w", encoding="utf-8")
    with log:
        return subprocess.Popen(  # noqa: S603 this file, with words of our own
            [sys.executable, "-m", "l0.survey.launch", str(folder), str(rank), str(processes)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _progress(folder: Path, children: "list[subprocess.Popen[str]]") -> Iterator[EpochRecord]:
    """What the first process tells, until all have ended or one has failed."""
    path = folder / "progress-0.jsonl"
    seen = 0
    while True:
        ended = [child.poll() for child in children]
        if path.exists():
            with path.open(encoding="utf-8") as lines:
                lines.seek(seen)
                while (line := lines.readline()).endswith("\n"):
                    seen = lines.tell()
                    yield EpochRecord(**json.loads(line))
        if all(code is not None for code in ended) or any(ended):
            return
        time.sleep(_POLL_SECONDS)


def _stop(children: "list[subprocess.Popen[str]]") -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(timeout=_KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _refuse_failed(children: "list[subprocess.Popen[str]]", folder: Path) -> None:
    for rank, child in enumerate(children):
        # those that were stopped because another failed have nothing to say
        if child.returncode > 0:
            said = (folder / f"log-{rank}.txt").read_text(encoding="utf-8").strip()
            last = said.splitlines()[-1] if said else f"it ended with {child.returncode}"
            # what is refused there is refused here, without the names that torch puts before it
            _, refusal, reason = last.partition("l0.errors.InputError: ")
            raise InputError(
                f"process {rank} of {len(children)} failed: {reason if refusal else last}"
            )
    killed = [rank for rank, child in enumerate(children) if child.returncode < 0]
    if killed:
        raise InputError(
            f"processes {killed} of {len(children)} were killed, for lack of memory perhaps. "
            "Share the work among fewer, or call again with the same checkpoint to go on."
        )


def _as_json(value: object) -> object:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)  # type: ignore[call-overload]
    raise InputError(f"{value!r} cannot be told to other processes: use plain options.")


def _tuples(options: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists alone; a pair of totals is a tuple."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

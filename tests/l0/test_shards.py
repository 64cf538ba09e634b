"""Laws of shards: the same bytes from 1, 2 or 4 processes, and whatever the number of threads.

Processes are started as a user starts them, by torchrun.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from interruption import Interrupted, bytes_of, interrupted_at
from toy import nested_survey, random_survey

from l0.survey import (
    CalibrationProblem,
    Checkpoint,
    GatedFitSettings,
    GradualPruningSettings,
    InputError,
    PenalisedFitSettings,
    RefitSettings,
    calibrate,
)
from l0.survey.nested import Nesting
from l0.survey.operator import SparseOperator
from l0.survey.shards import SHARDS, Shards, shard_sums

CPU = torch.device("cpu")
PROBLEM = random_survey(151, 52, without_weight=7)
# the last shards are empty at the end, and so is what most processes hold
CROWDED = CalibrationProblem(np.ones((1, 80)), [900.0], np.repeat([100.0, 0.01], [10, 70]))
NESTED = nested_survey(without_weight=5)
METHODS = {
    "hard_concrete": GatedFitSettings(epochs=12),
    "gradual_pruning": GradualPruningSettings(epochs=12),
    "penalised": PenalisedFitSettings(epochs=12),
}
VALIDATED, GIVEN = RefitSettings(epochs=4), RefitSettings(epochs=4, penalty=0.01)
WAYS = [
    {"budget": 30, "method": "hard_concrete", "refit_settings": VALIDATED},
    {"budget": 30, "method": "gradual_pruning", "refit_settings": GIVEN, "loss": "squared"},
    {"budget": None, "method": "penalised", "refit_settings": GIVEN, "total": "fixed"},
    {"budget": 9, "method": "hard_concrete", "refit_settings": GIVEN, "returns": 2},
    {"budget": 20, "method": "hard_concrete", "refit_settings": GIVEN, "problem": NESTED},
    {"budget": 20, "method": "gradual_pruning", "refit_settings": GIVEN, "problem": NESTED},
    {"budget": 4, "method": "hard_concrete", "problem": CROWDED},
]
STOPPED_AT = 12  # of the records of the first way: in the selection
HERE = Path(__file__).parent

SCRIPT = """
import sys
import warnings
import torch.distributed as dist
from test_shards import main
warnings.simplefilter("error")
dist.init_process_group("gloo")
try:
    main(*sys.argv[1:])
finally:
    dist.destroy_process_group()
"""


# the systems of so many targets are large enough for threads
SECOND_ORDER = """
import hashlib
from toy import random_survey
from l0.survey import RefitSettings, refit

settings = RefitSettings(epochs=1, penalty=0.01, order="second")
result = refit(random_survey(500, 400), range(500), loss="squared", settings=settings)
print(hashlib.sha256(result.weights.tobytes()).hexdigest(), end="")
"""

ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])]),
    "GLOO_SOCKET_IFNAME": "lo",
    "OMP_NUM_THREADS": "1",
}


def run(way, **options):
    """One way to calibrate, with rows looked for within others however little they save."""
    common = {"problem": PROBLEM, "settings": METHODS[way["method"]], "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("l0.survey.operator._NESTED_COEFFICIENTS", 0)
        patch.setattr("l0.survey.nested.SHORTEST", 1)
        patch.setattr("l0.survey.nested._PAIRS", np.inf)
        return calibrate(**(common | way | options))


def test_the_rows_of_one_problem_are_nested():
    assert Nesting.of(NESTED.constraints) is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("l0.survey.nested.SHORTEST", 1)
        patch.setattr("l0.survey.nested._PAIRS", np.inf)
        assert Nesting.of(NESTED.constraints).kept.nnz < 0.4 * NESTED.constraints.nnz


def interrupted_run(checkpoint):
    """The first way, stopped at a record in the selection, the same one in every process."""
    with pytest.raises(Interrupted):
        run(WAYS[0], checkpoint=checkpoint, on_progress=interrupted_at(STOPPED_AT))


def main(folder, begun=""):
    """What each process of torchrun does: every way whole, one interrupted, one taken up."""
    rank = dist.get_rank()
    for place, way in enumerate(WAYS):
        Path(folder, f"{place}-{rank}").write_bytes(bytes_of(run(way)))
    for _ in range(2):
        # the second must not find the first one's file
        twice = run(WAYS[-1], checkpoint=Checkpoint(Path(folder, "twice.npz"), 0))
    Path(folder, f"twice-{rank}").write_bytes(bytes_of(twice))
    if begun:
        taken_up = run(WAYS[0], checkpoint=Checkpoint(begun, 0))
        Path(folder, f"taken-up-{rank}").write_bytes(bytes_of(taken_up))
    interrupted_run(Checkpoint(Path(folder, "interrupted.npz"), 0))


def torchrun(processes, *arguments, folder):
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc-per-node={processes}", str(script), *map(str, arguments)),
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def alone():
    """The bytes of every way in one process and one thread."""
    return [bytes_of(run(way)) for way in WAYS]


@pytest.mark.parametrize("processes", [2])
def test_processes_that_share_the_work_give_the_bytes_of_one(processes, alone, tmp_path):
    begun, shared = tmp_path / "begun.npz", tmp_path / "shared"
    shared.mkdir()
    interrupted_run(Checkpoint(begun, 0))
    finished = torchrun(processes, shared, begun, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for rank in range(processes):
        for place, expected in enumerate(alone):
            assert (shared / f"{place}-{rank}").read_bytes() == expected, WAYS[place]
        assert (shared / f"twice-{rank}").read_bytes() == alone[-1]
        # begun by one process, taken up by all
        assert (shared / f"taken-up-{rank}").read_bytes() == alone[0]
    assert not begun.exists()
    # begun by all, taken up by one
    taken_up = run(WAYS[0], checkpoint=Checkpoint(shared / "interrupted.npz", 0))
    assert bytes_of(taken_up) == alone[0]
    assert not list(shared.glob("*.npz")) + list(shared.glob(".*.part"))


def test_three_processes_are_refused_with_the_numbers_that_would_do(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 3)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    with pytest.raises(InputError, match=r"3 processes .* 4 shards can be held by 1, 2 or 4 of th"):
        run(WAYS[0])


def test_two_threads_give_the_bytes_of_one(alone, monkeypatch):
    for name in ("_COEFFICIENTS", "_RECORDS"):
        monkeypatch.setattr(f"l0.survey.operator.{name}", 0)
    torch.set_num_threads(2)
    try:
        assert [bytes_of(run(way)) for way in WAYS] == alone
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_second_order_refit_of_many_targets_does_not_depend_on_any_librarys_threads(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SECOND_ORDER)
    running = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env=ENVIRONMENT
            | {f"{library}_NUM_THREADS": threads for library in ("OMP", "OPENBLAS", "MKL")},
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads in ("1", "2")
    ]
    one, two = [process.communicate(timeout=60)[0] for process in running]
    assert one == two
    assert len(one) == 64


@pytest.mark.parametrize("records", [40, 4_000])
def test_products_and_totals_do_not_depend_on_threads(records):
    # the larger problem has enough coefficients for the operator's own threads
    draw = np.random.default_rng(3)
    constraints = draw.normal(size=(100, records)) * (draw.random((100, records)) < 0.9)
    problem = CalibrationProblem(constraints, np.ones(100), np.ones(records))
    weights = torch.from_numpy(draw.gamma(1.0, 1.0, records).astype(np.float32))
    prices = torch.from_numpy(draw.normal(size=100))
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            operator = SparseOperator.of(problem, CPU)
            totals = operator.totals(weights, weights.square())
            found.append((operator.estimates(weights), operator.adjoint(prices), totals))
        finally:
            torch.set_num_threads(1)
    for estimates, worth, totals in found[1:]:
        assert torch.equal(estimates, found[0][0])
        assert torch.equal(worth, found[0][1])
        assert totals == found[0][2]
    np.testing.assert_allclose(found[0][0], constraints @ weights.numpy(), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found[0][1], constraints.T @ prices.numpy(), rtol=1e-3, atol=1e-4)


def test_shards_are_contiguous_cover_all_records_and_have_about_as_many_coefficients():
    coefficients = np.random.default_rng(0).integers(0, 40, 10_000)
    shards = Shards.of(coefficients, CPU)
    assert len(shards.bounds) == SHARDS + 1
    assert (shards.bounds[0], shards.bounds[-1]) == (0, 10_000)
    work = [coefficients[cut].sum() for cut in shards.cuts(torch.arange(10_000))]
    assert sum(work) == coefficients.sum()
    np.testing.assert_allclose(work, coefficients.sum() / SHARDS, rtol=0.02)


def test_a_gpu_alone_holds_all_records_in_one_shard():
    shards = Shards.of(np.full(10, 3), torch.device("cuda"))
    assert (shards.bounds, shards.first, shards.last, shards.processes) == ((0, 10), 0, 1, 1)


@pytest.mark.parametrize("records", [1, 2, 3, 5])
def test_fewer_records_than_shards_leave_some_shards_empty(records):
    shards = Shards.of(np.full(records, 3), CPU)
    cuts = shards.cuts(torch.arange(records))
    assert len(cuts) == SHARDS
    assert [place for cut in cuts for place in range(records)[cut]] == list(range(records))


def test_cuts_follow_the_records_that_are_left():
    shards = Shards((0, 10, 20, 30, 40), CPU)
    cuts = shards.cuts(torch.tensor([0, 9, 10, 35, 36, 39]))
    assert cuts == [slice(0, 2), slice(2, 3), slice(3, 3), slice(3, 6)]


def test_shards_may_run_empty_when_the_records_kept_lie_together():
    support = run(WAYS[-1]).support
    cuts = SparseOperator.of(CROWDED, CPU).keep(torch.from_numpy(support)).cuts
    assert cuts == [slice(0, 4)] + [slice(4, 4)] * 3


def test_partials_are_added_in_the_order_of_the_shards():
    shards = Shards((0, 1, 2, 3, 4), CPU)
    partials = torch.tensor([1e16, 1.0, -1e16, 1.0], dtype=torch.float64)
    # (1e16 + 1) is 1e16 in float64; any other order gives another sum
    assert shards.add(partials).item() == 1.0
    assert shards.add(partials[[0, 2, 1, 3]]).item() == 2.0
    rows = torch.arange(8, dtype=torch.float64).reshape(4, 2)
    assert torch.equal(shards.add(rows), rows.sum(0))
    assert torch.equal(rows, torch.arange(8, dtype=torch.float64).reshape(4, 2))


def test_one_process_joins_and_splits_to_what_it_holds():
    shards = Shards((0, 10, 20, 30, 40), CPU)
    records = torch.tensor([3, 12, 13, 39])
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert shards.mine == slice(0, 40)
    assert shards.is_first
    assert torch.equal(shards.join(values), values)
    assert torch.equal(shards.split(values, records), values)
    assert [shards.first_says(flag) for flag in (True, False)] == [True, False]


def test_the_parts_of_all_processes_are_the_whole():
    bounds = (0, 10, 20, 30, 40)
    records, values = torch.arange(0, 40, 3), torch.rand(14)
    for processes in (1, 2, 4):
        each = SHARDS // processes
        parts = [
            Shards(bounds, CPU, rank * each, (rank + 1) * each, processes)
            for rank in range(processes)
        ]
        joined = torch.cat([part.split(values, records) for part in parts])
        assert torch.equal(joined, values)
        assert [part.is_first for part in parts] == [True] + [False] * (processes - 1)
        assert [place for part in parts for place in range(40)[part.mine]] == list(range(40))


def test_the_sum_of_a_shard_is_that_of_float64_whatever_the_threads():
    values = torch.rand(100_001, generator=torch.Generator().manual_seed(0))
    sums = set()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        sums.add(float(shard_sums(values)))
    torch.set_num_threads(1)
    assert len(sums) == 1
    assert sums.pop() == pytest.approx(float(values.double().sum()), rel=1e-14)

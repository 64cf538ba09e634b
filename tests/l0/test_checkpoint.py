"""Laws of checkpoints: a killed calibration goes on to the same bytes, and no other file is used.

That several processes take up each other's checkpoints is in ``test_shards``.
"""

import errno
import os
import random
import subprocess
import sys
import time
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from interruption import Interrupted, bytes_of, interrupted_at
from toy import random_survey

from l0.survey import (
    Checkpoint,
    GatedFitSettings,
    GradualPruningSettings,
    InputError,
    PenalisedFitSettings,
    RefitSettings,
    calibrate,
)
from l0.survey.validation import STRENGTHS

# enough targets for a validation, and epochs for several saves a stage
PROBLEM = random_survey(80, 50)
BUDGET = 30
GATES = GatedFitSettings(epochs=60)
REFIT = RefitSettings(epochs=21)
# of 22 records: pilot 3, validations of 3, 2, 2 and 2, selection 7, refit 3
IN_SELECTION = 17
HERE = Path(__file__).parent

KILLED = """
import sys, time
import numpy as np
from interruption import bytes_of
from test_checkpoint import BUDGET, GATES, PROBLEM, REFIT
from l0.survey import Checkpoint, calibrate

def tell(record):
    print(record.stage, flush=True)
    time.sleep(0.01)

result = calibrate(PROBLEM, budget=BUDGET, settings=GATES, refit_settings=REFIT, device="cpu",
                   on_progress=tell, checkpoint=Checkpoint(sys.argv[1], every_seconds=0))
open(sys.argv[2], "wb").write(bytes_of(result))
"""


def run(problem=PROBLEM, **options):
    quick = {"budget": BUDGET, "settings": GATES, "refit_settings": REFIT, "device": "cpu"}
    return calibrate(problem, **(quick | options))


@pytest.fixture(scope="module")
def expected():
    """The bytes of the uninterrupted run."""
    return bytes_of(run())


def interrupt(path, count, **options):
    with pytest.raises(Interrupted):
        run(checkpoint=Checkpoint(path, 0), on_progress=interrupted_at(count), **options)


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory):
    """The bytes of a checkpoint in the middle of the selection."""
    path = tmp_path_factory.mktemp("left") / "fit.npz"
    interrupt(path, IN_SELECTION)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path, left_behind):
    """That checkpoint, at a place of its own."""
    path = tmp_path / "fit.npz"
    path.write_bytes(left_behind)
    return path


def test_a_run_killed_at_any_moment_goes_on_to_the_bytes_of_the_uninterrupted_one(
    tmp_path, expected
):
    path, outcome = tmp_path / "fit.npz", tmp_path / "outcome"
    moment = random.Random(5)  # noqa: S311
    killed_in = set()
    for stage in ("pilot", f"validation {STRENGTHS[0]:g}", "selection", "refit"):
        process = start_to_be_killed(path, outcome)
        told = []
        for line in process.stdout:
            told.append(line.strip())
            if told[-1] == stage:
                time.sleep(moment.uniform(0, 0.03))
                process.kill()
                break
        told += process.communicate(timeout=60)[0].split("\n")[:-1]
        if process.returncode == 0:
            break
        killed_in.add(told[-1])
    assert len(killed_in) >= 2
    if not outcome.exists():
        process = start_to_be_killed(path, outcome)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert outcome.read_bytes() == expected
    # neither the checkpoint is left, nor what was being written when a kill came
    assert [file.name for file in tmp_path.iterdir()] == ["outcome"]


def start_to_be_killed(path, outcome):
    folders = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(outcome)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": folders, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "huber", "refit_settings": RefitSettings(epochs=30, order="first")},
        {"refit_settings": None, "refit": False},
        {"total": "fixed", "min_weight_ratio": 0.1},
        {"start": PROBLEM.design_weights * 1.5},
        {"budget": None, "settings": None},
        {"method": "gradual_pruning", "settings": GradualPruningSettings(epochs=60)},
        {"method": "penalised", "settings": PenalisedFitSettings(epochs=60)},
        {"method": "penalised", "settings": PenalisedFitSettings(epochs=60), "budget": None},
    ],
    ids=lambda options: f"{options.get('method')},{','.join(options)}",
)
def test_every_method_resumes_bit_identically_however_often_it_is_interrupted(tmp_path, options):
    path = tmp_path / "fit.npz"
    uninterrupted = run(**options)
    interruptions, result = 0, None
    while result is None:
        try:
            result = run(**options, checkpoint=Checkpoint(path, 0), on_progress=interrupted_at(5))
        except Interrupted:
            interruptions += 1
    assert interruptions >= 1
    assert bytes_of(result) == bytes_of(uninterrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_fit_of_the_reference_resumes_bit_identically(tmp_path, monkeypatch):
    # the package's ``refit`` is the function
    monkeypatch.setattr(import_module("l0.survey.refit"), "SECOND_ORDER_TARGETS", 20)
    uninterrupted = run()
    stages = [record.stage for record in uninterrupted.history]
    coarse = {
        f"coarse {level}, {refit}" for level in (1, 2, 3) for refit in ("validation", "refit")
    }
    assert set(stages) >= coarse
    for stage in ("coarse 2, validation", "coarse 1, refit", "coarse 3, refit", "refit"):
        path = tmp_path / "fit.npz"
        interrupt(path, stages.index(stage) + 2)
        assert bytes_of(run(checkpoint=Checkpoint(path, 0))) == bytes_of(uninterrupted)


@pytest.mark.parametrize("count", [1, 2, 7, IN_SELECTION, 21])
def test_the_first_record_after_an_interruption_is_the_one_that_was_lost(tmp_path, count):
    interrupt(tmp_path / "fit.npz", count)
    told = []
    result = run(checkpoint=Checkpoint(tmp_path / "fit.npz", 0), on_progress=told.append)
    assert tuple(told) == result.history[count - 1 :]


def test_work_younger_than_every_seconds_is_done_again_but_a_stage_that_is_over_is_not(
    tmp_path, expected
):
    path, told = tmp_path / "fit.npz", []
    slow = Checkpoint(path, every_seconds=3600)
    with pytest.raises(Interrupted):
        run(checkpoint=slow, on_progress=interrupted_at(IN_SELECTION))
    result = run(checkpoint=slow, on_progress=told.append)
    assert {(told[0].stage, told[0].epoch)} == {("selection", 0)}
    assert bytes_of(result) == expected


def test_a_checkpoint_changes_nothing_in_an_uninterrupted_run(tmp_path, expected):
    result = run(checkpoint=Checkpoint(tmp_path / "folder" / "fit.npz", 0))
    assert bytes_of(result) == expected
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_kept_checkpoint_gives_the_result_again_without_any_epoch(tmp_path):
    kept = Checkpoint(tmp_path / "fit.npz", 0, keep=True)
    first = run(checkpoint=kept)
    told = []
    assert bytes_of(run(checkpoint=kept, on_progress=told.append)) == bytes_of(first)
    assert told == []
    assert [file.name for file in tmp_path.iterdir()] == ["fit.npz"]


def test_calibrations_that_share_a_folder_find_each_its_own_checkpoint(tmp_path):
    shared = Checkpoint(tmp_path, 0, own_name=True)
    for budget in (20, 40):
        with pytest.raises(Interrupted):
            run(budget=budget, checkpoint=shared, on_progress=interrupted_at(IN_SELECTION))
    assert len(list(tmp_path.glob("*.npz"))) == 2
    for budget in (20, 40):
        assert bytes_of(run(budget=budget, checkpoint=shared)) == bytes_of(run(budget=budget))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [
        {"problem": random_survey(80, 50, seed=1)},
        {"problem": PROBLEM.without(np.arange(50) == 7)},
        {"budget": BUDGET + 1},
        {"seed": 1},
        {"settings": GatedFitSettings(epochs=61)},
        {"refit_settings": RefitSettings(epochs=31)},
        {"method": "gradual_pruning", "settings": GradualPruningSettings(epochs=60)},
        {"loss": "huber"},
        {"max_weight_ratio": 29.0},
        {"total": "fixed"},
        {"refit_settings": None, "refit": False},
        {"start": PROBLEM.design_weights * 1.01},
    ],
    ids=lambda other: ",".join(other),
)
def test_a_checkpoint_of_another_calibration_is_refused_and_left_alone(path, left_behind, other):
    with pytest.raises(InputError, match=r"is of another calibration: problem, budget.*Delete it"):
        run(**other, checkpoint=Checkpoint(path, 0))
    assert path.read_bytes() == left_behind


def test_a_checkpoint_of_another_version_of_the_library_is_refused(path, monkeypatch):
    monkeypatch.setattr("l0.survey.fingerprint._OWN_CODE", "another")
    with pytest.raises(InputError, match="is of another calibration"):
        run(checkpoint=Checkpoint(path, 0))


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: b"",
        lambda whole: b"not what was expected\n" * 50,
        lambda whole: b"\0" * len(whole),
    ],
    ids=["torn in half", "without its last byte", "empty", "text", "zeros"],
)
def test_a_file_that_is_not_whole_is_refused_with_the_next_move(path, left_behind, damage):
    path.write_bytes(damage(left_behind))
    with pytest.raises(InputError, match=r"fit.npz is no npz file, or the end.*Delete it to start"):
        run(checkpoint=Checkpoint(path, 0))


def test_an_array_instead_of_a_checkpoint_is_refused(path):
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(InputError, match="is no npz file"):
        run(checkpoint=Checkpoint(path, 0))
    with path.open("wb") as file:
        np.savez(file, weights=np.arange(3))
    with pytest.raises(InputError, match=r"cannot be read: 'digest'.*Delete it to start anew"):
        run(checkpoint=Checkpoint(path, 0))


def test_one_flipped_byte_in_any_array_is_refused(path, left_behind):
    with zipfile.ZipFile(path) as file:
        members = [(info.header_offset, info) for info in file.infolist()]
    assert len(members) > 10
    for offset, info in members:
        # behind the zip's own header and numpy's: in the middle of the numbers
        flipped = bytearray(left_behind)
        name_and_extra = left_behind[offset + 26 : offset + 30]
        lengths = np.frombuffer(name_and_extra, dtype="<u2").sum()
        flipped[int(offset + 30 + lengths + (info.file_size + 128) // 2)] ^= 0x10
        path.write_bytes(flipped)
        with pytest.raises(InputError, match=r"cannot be read: .*Delete it to start anew"):
            run(checkpoint=Checkpoint(path, 0))


def test_a_flipped_byte_anywhere_is_refused_or_touches_nothing_that_is_read(
    path, left_behind, expected
):
    for place in range(0, len(left_behind), len(left_behind) // 30):
        flipped = bytearray(left_behind)
        flipped[place] ^= 0x01
        path.write_bytes(flipped)
        try:
            result = run(checkpoint=Checkpoint(path, 3600))
        except InputError as refused:
            assert "Delete it to start anew" in str(refused)  # noqa: PT017
        else:
            assert bytes_of(result) == expected


def test_an_array_exchanged_in_a_sound_file_is_refused_as_damaged(path):
    with np.load(path) as file:
        arrays = dict(file)
    arrays["outcome/pilot/weights"] = arrays["outcome/pilot/weights"] + 1
    with path.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(InputError, match="is damaged: its contents are not what was written"):
        run(checkpoint=Checkpoint(path, 0))


def test_the_file_holds_plain_arrays_and_no_pickle(path):
    with np.load(path, allow_pickle=False) as file:
        kinds = {name: file[name].dtype.kind for name in file.files}
    assert set(kinds.values()) <= set("fiuUb")
    assert {"digest", "fit", "history", "stage", "state/epoch"} <= set(kinds)


@pytest.mark.parametrize("saves", [1, 5, 20])
def test_a_save_that_finds_no_room_leaves_the_earlier_checkpoint_whole(
    tmp_path, monkeypatch, saves, expected
):
    path, written = tmp_path / "fit.npz", []

    def full(file, **arrays):
        if len(written) == saves:
            file.write(b"PK half of a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path.read_bytes() if path.exists() else b"")
        save(file, **arrays)

    save = np.savez
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match=r"cannot be written: No space left.*what was saved befo"):
        run(checkpoint=Checkpoint(path, 0))
    assert [file.name for file in tmp_path.iterdir()] == ["fit.npz"]
    monkeypatch.undo()
    assert bytes_of(run(checkpoint=Checkpoint(path, 0))) == expected


def test_what_a_kill_left_half_written_is_gone_at_the_end(path, expected):
    half = path.with_name(".fit.npz.part")
    half.write_bytes(b"PK half of a file")
    assert bytes_of(run(checkpoint=Checkpoint(path, 3600))) == expected
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("seconds", [-1.0, np.nan, np.inf, "30"])
def test_seconds_that_are_none_are_refused(seconds):
    with pytest.raises(InputError, match=r"every_seconds is .* but must be a finite number of 0"):
        Checkpoint("fit.npz", seconds)

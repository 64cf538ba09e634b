"""The laws of the release store, on real files: whole or not at all, whatever stops it.

Run as a script, this file is a publisher in a process of its own, for the tests that need two
of them or that kill one: ``test_release_store.py FOLDER SEED [FUNCTION NUMBER]`` publishes, and
with the last two stops for good before that call of that function.
"""

import errno
import fcntl
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.checksums import checksum_lines, sha256
from l0_pipeline.logic.release.dictionary import TableDescription, data_dictionary
from l0_pipeline.logic.release.licence import licence_of
from l0_pipeline.logic.release.manifest import (
    PACKAGES,
    InputFiles,
    ManifestDraft,
    Settings,
    manifest_text,
)
from l0_pipeline.resources.release_store import (
    PublishedRelease,
    ReleaseStore,
    installed_versions,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DIGEST = sha256(b"anything")
STEPS = ("mkdir", "fchmod", "fsync", "chmod", "rename", "symlink")  # functions of os that publish
FIRST_TO_FAIL = 2  # the first is the mkdir of the folder of releases, which may be there
STEPS_IN_PLACE = 7  # flush the folder; then for two links: make, rename, flush
KILL_AT = (  # (function of os, its how-manieth call)
    ("fsync", 1),  # in the first file
    ("fsync", 5),  # between two files
    ("rename", 1),  # sealed, not yet in place
    ("symlink", 1),  # in place, no link moved
    ("rename", 3),  # the link of the year moved, latest not
)


@dataclass(frozen=True)
class Described:
    name: str
    dtype: object
    unit: str | None
    description: str


def tables(rows: int = 3) -> dict[str, pl.DataFrame]:
    numbers = list(range(1, rows + 1))
    weights = pl.DataFrame({"household_id": numbers, "weight": [x * 0.1 for x in numbers]})
    return {"households": weights, "weights": weights}


def draft(*, seed: int = 0, year: int = 2022) -> ManifestDraft:
    return ManifestDraft(
        year=year,
        title="Sparse CPS dataset",
        source=InputFiles(name="taxcalc", digest=DIGEST, files={"cps.csv.gz": DIGEST}),
        figures=InputFiles(name="figures", digest=DIGEST, files={"population.csv": DIGEST}),
        settings=Settings(training={"epochs": 10}, targets={}, selection={}, check_limits={}),
        seed=seed,
        packages=dict.fromkeys(PACKAGES, "1.0"),
        code_version="1",
        quality={"fitted_median_error": 0.03},
        licence=licence_of("taxcalc"),
    )


def dictionary_of(given: dict[str, pl.DataFrame]) -> pl.DataFrame:
    columns = [
        Described("household_id", pl.Int64, None, "Key of the household"),
        Described("weight", pl.Float64, "households", "Calibrated weight"),
    ]
    described = TableDescription(columns=columns, source="Current Population Survey")
    return data_dictionary(given, descriptions=dict.fromkeys(given, described))


def publish(
    folder: Path,
    *,
    seed: int = 0,
    year: int = 2022,
    rows: int = 3,
    timeout_s: float = 30,
    created_at: datetime = NOON,
) -> PublishedRelease:
    given = tables(rows)
    return ReleaseStore(releases_dir=str(folder), lock_timeout_s=timeout_s).publish(
        given,
        draft=draft(seed=seed, year=year),
        dictionary=dictionary_of(given),
        texts={"summary.txt": lambda path: f"Release {path.name}\n", "report.md": "# Report\n"},
        created_at=created_at,
    )


def store(folder: Path) -> ReleaseStore:
    return ReleaseStore(releases_dir=str(folder))


def rubbish(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".staging-")]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def unsealed(path: Path) -> Path:
    """``path``, with its folder, made writable as an unlucky hand would."""
    path.parent.chmod(0o755)
    path.chmod(0o644)
    return path


class Stopped(BaseException):
    """Stands for Ctrl-C and the like, which no ``except Exception`` sees."""


@contextmanager
def watched(before: Callable[[str, int], None]) -> Iterator[None]:
    """Call ``before`` with the name and the running number of each step of a publication."""
    numbers = itertools.count(1)

    def watching(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            before(name, next(numbers))
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, watching(name, getattr(os, name)))
        yield


def failing_at(step: int, error: BaseException) -> Callable[[str, int], None]:
    def before(name: str, number: int) -> None:
        if number == step:
            raise error

    return before


def steps_of_a_publication(folder: Path) -> int:
    seen: list[str] = []
    with watched(lambda name, number: seen.append(name)):
        publish(folder, seed=99)
    return len(seen)


def test_a_release_holds_its_tables_texts_manifest_dictionary_and_checksums(tmp_path):
    release = publish(tmp_path)
    assert sorted(snapshot(release.path)) == [
        "SHA256SUMS",
        "data_dictionary.csv",
        "households.parquet",
        "manifest.json",
        "report.md",
        "summary.txt",
        "weights.parquet",
    ]
    assert pl.read_parquet(release.path / "weights.parquet").equals(tables()["weights"])
    assert (release.path / "summary.txt").read_text() == f"Release {release.release_id}\n"
    assert rubbish(tmp_path) == []


def test_sha256sum_itself_confirms_a_release(tmp_path):
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed here")
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=publish(tmp_path).path, check=False
    )
    assert done.returncode == 0


def test_the_same_input_gives_the_same_id_and_the_same_bytes_anywhere(tmp_path):
    here, there = publish(tmp_path / "a"), publish(tmp_path / "b")
    assert here.release_id == there.release_id
    assert snapshot(here.path) == snapshot(there.path)


def test_publishing_the_same_again_changes_nothing_but_latest(tmp_path):
    first, second = publish(tmp_path), publish(tmp_path, seed=1)
    before = snapshot(first.path)
    again = publish(tmp_path, created_at=NOON + timedelta(days=1))
    assert (first.created, second.created, again.created) == (True, True, False)
    assert again.path == first.path
    assert snapshot(first.path) == before
    assert store(tmp_path).latest() == first.path


def test_latest_is_of_all_years_or_of_one(tmp_path):
    assert store(tmp_path).latest() is None
    older, newer = publish(tmp_path, year=2023), publish(tmp_path, year=2021)
    assert store(tmp_path).latest() == newer.path
    assert store(tmp_path).latest(2023) == older.path
    assert store(tmp_path).latest(2022) is None
    assert os.readlink(tmp_path / "latest") == newer.release_id


def test_a_release_has_no_write_bit_and_can_still_be_removed_as_documented(tmp_path):
    release = publish(tmp_path)
    paths = [release.path, *release.path.iterdir()]
    assert [oct(p.stat().st_mode) for p in paths if p.stat().st_mode & 0o222] == []
    subprocess.run(["chmod", "-R", "u+w", str(tmp_path)], check=True)
    shutil.rmtree(tmp_path)


def test_the_manifest_of_a_release_is_read_back(tmp_path):
    release = publish(tmp_path)
    manifest = store(tmp_path).read_manifest(release.release_id)
    assert manifest.created_at == NOON
    assert [(t.file, t.rows, t.columns) for t in manifest.tables] == [
        ("households.parquet", 3, 2),
        ("weights.parquet", 3, 2),
    ]


@pytest.mark.parametrize("error", [Stopped(), OSError(errno.EIO, "I/O error")], ids=repr)
def test_stopped_at_any_step_latest_names_a_whole_release_and_no_rubbish_stays(tmp_path, error):
    steps = steps_of_a_publication(tmp_path / "counting")
    assert steps > 20
    for step in range(FIRST_TO_FAIL, steps + 1):
        folder = tmp_path / str(step)
        first = publish(folder)
        with pytest.raises(type(error)), watched(failing_at(step, error)):
            publish(folder, seed=1)
        latest = store(folder).latest()
        assert (latest == first.path) == (step < steps)
        store(folder).verify(latest.name)
        store(folder).verify(first.release_id)
        assert rubbish(folder) == []
        second = publish(folder, seed=1)
        assert store(folder).latest() == second.path


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full. Free space"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "permission is denied"),
        (errno.EROFS, "the file system is read-only"),
    ],
)
def test_a_refusing_disk_is_one_clear_error_at_every_step(tmp_path, number, words):
    steps = steps_of_a_publication(tmp_path / "counting")
    folder = tmp_path / "releases"
    first = publish(folder)
    before = snapshot(first.path)
    for step in range(FIRST_TO_FAIL, steps - STEPS_IN_PLACE + 1):
        error = OSError(number, os.strerror(number))
        with (
            pytest.raises(InputError, match=f"(?s){folder}.*{words}"),
            watched(failing_at(step, error)),
        ):
            publish(folder, seed=1)
        assert {path.name for path in folder.iterdir()} == {
            ".lock",
            "latest",
            "latest-2022",
            first.release_id,
        }
        assert store(folder).latest() == first.path
        assert snapshot(first.path) == before
        assert rubbish(folder) == []


def test_a_disk_that_fills_while_latest_moves_leaves_both_releases_whole(tmp_path):
    first = publish(tmp_path)

    def full_at_a_link(name: str, number: int) -> None:
        if name == "symlink":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with (
        pytest.raises(InputError, match="is whole, but latest did not move: the disk is full"),
        watched(full_at_a_link),
    ):
        publish(tmp_path, seed=1)
    assert store(tmp_path).latest() == first.path
    assert publish(tmp_path, seed=1).created is False
    assert store(tmp_path).latest() != first.path


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A real file system of 256 KiB at ``folder``; skips where this user may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs rights that this user has not")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_leaves_the_earlier_release_and_no_rubbish(tmp_path):
    with small_disk(tmp_path / "disk"):
        folder = tmp_path / "disk" / "releases"
        first = publish(folder)
        with pytest.raises(InputError, match="the disk is full"):
            publish(folder, rows=100_000)
        assert store(folder).latest() == first.path
        store(folder).verify(first.release_id)
        assert rubbish(folder) == []


def test_a_folder_that_may_not_be_written_is_named(tmp_path, monkeypatch):
    def refused(path, *arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(InputError, match=f"in {tmp_path}: permission is denied.*access"):
        publish(tmp_path)


def test_a_file_where_the_folder_of_releases_should_be_is_refused(tmp_path):
    (tmp_path / "releases").write_text("")
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        publish(tmp_path / "releases")
    with pytest.raises(InputError, match="a part of the path is a file"):
        publish(tmp_path / "releases" / "here")


def test_bytes_that_come_back_changed_are_never_published(tmp_path, monkeypatch):
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path).replace(b"Release", b"Rolease"))
    with pytest.raises(InputError, match=r"1 files read back .* summary\.txt"):
        publish(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_changed_byte_is_found_and_named(tmp_path):
    release = publish(tmp_path)
    file = unsealed(release.path / "weights.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"1 fault.*weights\.parquet was changed"):
        store(tmp_path).verify(release.release_id)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: unsealed(path / "summary.txt").unlink(), "summary.txt is missing"),
        (lambda path: unsealed(path / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
        (lambda path: unsealed(path / "SHA256SUMS").write_text("x\n"), "SHA256SUMS, line 1"),
        (lambda path: (path.chmod(0o755), (path / "more.txt").touch()), "more.txt was added"),
        (
            lambda path: (
                unsealed(path / "report.md").unlink(),
                (path / "report.md").symlink_to("summary.txt"),
            ),
            "report.md is not a plain file",
        ),
    ],
    ids=["missing", "no checksums", "bad checksums", "added", "linked"],
)
def test_a_harmed_release_is_found_and_not_published_over(tmp_path, harm, words):
    release = publish(tmp_path)
    other = publish(tmp_path, seed=1)
    harm(release.path)
    with pytest.raises(InputError, match=words):
        store(tmp_path).verify(release.release_id)
    with pytest.raises(InputError, match=f"{words}.*rm -r .*publish again"):
        publish(tmp_path)
    assert store(tmp_path).latest() == other.path


def forged(release: PublishedRelease, file: str, content: bytes) -> None:
    """Change a file and its line of SHA256SUMS with it."""
    unsealed(release.path / file).write_bytes(content)
    kept = [path for path in release.path.iterdir() if path.name != "SHA256SUMS"]
    lines = checksum_lines({path.name: sha256(path.read_bytes()) for path in kept})
    unsealed(release.path / "SHA256SUMS").write_text(lines)


def test_a_forged_table_or_manifest_does_not_pass_for_the_release(tmp_path):
    release = publish(tmp_path)
    manifest = store(tmp_path).read_manifest(release.release_id)
    forged(
        release, "manifest.json", manifest_text(manifest.model_copy(update={"seed": 7})).encode()
    )
    with pytest.raises(InputError, match="give another id than"):
        store(tmp_path).verify(release.release_id)
    forged(release, "households.parquet", b"PAR1")
    with pytest.raises(
        InputError, match=r"households\.parquet is not the file that manifest\.json"
    ):
        store(tmp_path).verify(release.release_id)


@pytest.mark.parametrize(("version", "words"), [(2, "newer than 1"), (0, "older than 1")])
def test_a_manifest_of_another_schema_version_is_refused(tmp_path, version, words):
    release = publish(tmp_path)
    file = unsealed(release.path / "manifest.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": version}))
    with pytest.raises(InputError, match=words):
        store(tmp_path).read_manifest(release.release_id)


@pytest.mark.parametrize("name", ["../2022-0123456789ab", "latest", "2022-0123456789ab/.."])
def test_a_release_id_cannot_leave_the_folder(tmp_path, name):
    for call in (store(tmp_path).verify, store(tmp_path).read_manifest):
        with pytest.raises(InputError, match="is not a release id"):
            call(name)


def test_a_release_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"2022-0123456789ab .*it is not there"):
        store(tmp_path).verify("2022-0123456789ab")
    with pytest.raises(InputError, match=r"manifest\.json is missing"):
        store(tmp_path).read_manifest("2022-0123456789ab")


@pytest.mark.parametrize("target", ["../elsewhere", "/etc"])
def test_a_latest_that_leads_out_of_the_folder_is_refused(tmp_path, target):
    (tmp_path / "latest").symlink_to(target)
    with pytest.raises(InputError, match="is not a release id"):
        store(tmp_path).latest()


def test_a_latest_whose_release_is_gone_is_refused(tmp_path):
    (tmp_path / "latest").symlink_to("2022-0123456789ab")
    with pytest.raises(InputError, match="there is no such release"):
        store(tmp_path).latest()


def test_a_file_of_the_users_called_latest_is_never_replaced(tmp_path):
    (tmp_path / "latest").write_text("mine")
    with pytest.raises(InputError, match="Move it away"):
        publish(tmp_path)
    assert (tmp_path / "latest").read_text() == "mine"


def test_a_text_that_leads_out_of_the_release_is_refused(tmp_path):
    given = tables()
    with pytest.raises(InputError, match="cannot name a text"):
        store(tmp_path).publish(
            given,
            draft=draft(),
            dictionary=dictionary_of(given),
            texts={"../summary.txt": ""},
        )
    assert list(tmp_path.iterdir()) == []


def test_rubbish_is_removed_even_when_it_is_sealed_or_a_link_and_never_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    folder = tmp_path / "releases"
    sealed = folder / ".staging-sealed"
    sealed.mkdir(parents=True)
    (sealed / "weights.parquet").touch()
    sealed.chmod(0o555)
    (folder / ".staging-link").symlink_to(outside)
    publish(folder)
    assert rubbish(folder) == []
    assert (outside / "kept").exists()


def test_a_publisher_waits_no_longer_than_its_limit(tmp_path):
    publish(tmp_path)
    with (tmp_path / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"for 0\.1 seconds .*lock_timeout_s"):
            publish(tmp_path, seed=1, timeout_s=0.1)
    assert publish(tmp_path, seed=1).created


def publisher(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """Another process that publishes, or stops at a step, as ``main`` below does it."""
    return subprocess.Popen(
        [sys.executable, __file__, str(folder), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_publishers_at_once_each_get_a_whole_release_and_equal_ones_share_it(tmp_path):
    running = [publisher(tmp_path, seed) for seed in (0, 0, 1)]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert results[0]["release_id"] == results[1]["release_id"] != results[2]["release_id"]
    assert sorted(r["created"] for r in results[:2]) == [False, True]
    for result in results:
        store(tmp_path).verify(result["release_id"])
    assert store(tmp_path).latest().name in {result["release_id"] for result in results}
    assert rubbish(tmp_path) == []


def test_killed_at_any_moment_latest_names_a_whole_release_and_the_next_one_tidies(tmp_path):
    firsts = {step: publish(tmp_path / "-".join(map(str, step))) for step in KILL_AT}
    running = {step: publisher(first.path.parent, 1, *step) for step, first in firsts.items()}
    for step, process in running.items():
        folder = firsts[step].path.parent
        assert line_of(process) == "stopped"
        left = rubbish(folder)
        with pytest.raises(InputError, match="Another process has been publishing"):
            publish(folder, seed=1, timeout_s=0)
        assert rubbish(folder) == left
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL

        assert store(folder).latest() == firsts[step].path
        store(folder).verify(firsts[step].release_id)
        second = publish(folder, seed=1)
        assert store(folder).latest() == second.path
        store(folder).verify(second.release_id)
        assert rubbish(folder) == []


def test_the_installed_versions_are_those_of_the_packages_a_manifest_records():
    versions = installed_versions()
    assert tuple(versions) == PACKAGES
    assert versions["polars"] == pl.__version__


def main(folder: str, seed: str, function: str = "", number: str = "0") -> None:
    """Publish; or say "stopped" before a step and wait there to be killed."""
    left = int(number)

    def before(name: str, _: int) -> None:
        nonlocal left
        left -= name == function
        if name == function and left == 0:
            sys.stdout.write("stopped\n")
            sys.stdout.flush()
            time.sleep(600)

    with watched(before):
        release = publish(Path(folder), seed=int(seed))
    result = {"release_id": release.release_id, "created": release.created}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])

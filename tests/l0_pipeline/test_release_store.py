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
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from toy_release import NOON, dictionary_of, draft, publish, store, tables

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.checksums import checksum_lines, sha256
from l0_pipeline.logic.release.manifest import (
    PACKAGES,
    manifest_text,
)
from l0_pipeline.resources.release_store import PublishedRelease, installed_versions

STEPS = ("mkdir", "fchmod", "fsync", "chmod", "rename", "symlink")  # functions of os that publish
STEPS_BACK = ("rename", "fsync", "chmod", "unlink", "rmdir")  # those that remove
FIRST_TO_FAIL = 2  # the first is the mkdir of the folder of releases, which may be there
STEPS_IN_PLACE = 7  # flush the folder; then for two links: make, rename, flush
KILL_AT = (  # (function of os, its how-manieth call)
    ("fsync", 1),  # in the first file
    ("fsync", 5),  # between two files
    ("rename", 1),  # sealed, not yet in place
    ("symlink", 1),  # in place, no link moved
    ("rename", 3),  # the link of the year moved, latest not
)


def path_of(release: PublishedRelease) -> Path:
    return Path(release.address)


def rubbish(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".staging-")]


def snapshot(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def unsealed(path: Path) -> Path:
    """``path``, with its folder, made writable as an unlucky hand would."""
    path.parent.chmod(0o755)
    path.chmod(0o644)
    return path


class Stopped(BaseException):
    """Stands for Ctrl-C and the like, which no ``except Exception`` sees."""


@contextmanager
def watched(before: Callable[[str, int], None], steps: tuple[str, ...] = STEPS) -> Iterator[None]:
    """Call ``before`` with the name and the running number of each step of a publication."""
    numbers = itertools.count(1)

    def watching(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            before(name, next(numbers))
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in steps:
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
    assert sorted(snapshot(path_of(release))) == [
        "SHA256SUMS",
        "data.h5",
        "data_dictionary.csv",
        "evidence/fit.svg",
        "households.parquet",
        "manifest.json",
        "report.md",
        "summary.txt",
        "taxcalc/cps.csv.gz",
        "taxcalc/variables.json",
        "weights.parquet",
    ]
    assert pl.read_parquet(path_of(release) / "weights.parquet").equals(tables()["weights"])
    summary = f"Release {release.release_id} at 2026-01-01 12:00:00+00:00 after None\n"
    assert (path_of(release) / "summary.txt").read_text() == summary
    assert rubbish(tmp_path) == []


def test_sha256sum_itself_confirms_a_release(tmp_path):
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed here")
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=publish(tmp_path).address, check=False
    )
    assert done.returncode == 0


def test_the_same_input_gives_the_same_id_and_the_same_bytes_anywhere(tmp_path):
    here, there = publish(tmp_path / "a"), publish(tmp_path / "b")
    assert here.release_id == there.release_id
    assert snapshot(path_of(here)) == snapshot(path_of(there))


def test_publishing_the_same_again_changes_nothing_but_latest(tmp_path):
    first, second = publish(tmp_path), publish(tmp_path, seed=1)
    before = snapshot(path_of(first))
    again = publish(tmp_path, created_at=NOON + timedelta(days=1))
    assert (first.created, second.created, again.created) == (True, True, False)
    assert again.address == first.address
    assert snapshot(path_of(first)) == before
    assert store(tmp_path).latest() == first.release_id


def test_latest_is_of_all_years_or_of_one(tmp_path):
    assert store(tmp_path).latest() is None
    older, newer = publish(tmp_path, year=2023), publish(tmp_path, year=2021)
    assert store(tmp_path).latest() == newer.release_id
    assert store(tmp_path).latest(2023) == older.release_id
    assert store(tmp_path).latest(2022) is None
    assert os.readlink(tmp_path / "latest") == newer.release_id


def test_a_release_has_no_write_bit_and_can_still_be_removed_as_documented(tmp_path):
    release = publish(tmp_path)
    paths = [path_of(release), *path_of(release).rglob("*")]
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
        assert (latest == first.release_id) == (step < steps)
        store(folder).verify(latest)
        store(folder).verify(first.release_id)
        assert rubbish(folder) == []
        second = publish(folder, seed=1)
        assert store(folder).latest() == second.release_id


def test_a_removal_stopped_at_any_step_leaves_a_whole_release_or_none(tmp_path):
    def old_and_new(folder: Path) -> list[str]:
        days = [NOON, NOON + timedelta(days=1)]
        return [publish(folder, seed=n, created_at=at).release_id for n, at in enumerate(days)]

    old_and_new(tmp_path / "counting")
    seen: list[str] = []
    with watched(lambda name, number: seen.append(name), STEPS_BACK):
        store(tmp_path / "counting").prune(keep=1)
    assert len(seen) > 11
    for step in range(1, len(seen) + 1):
        folder = tmp_path / str(step)
        old, new = old_and_new(folder)
        with pytest.raises(Stopped), watched(failing_at(step, Stopped()), STEPS_BACK):
            store(folder).prune(keep=1)
        assert [r.release_id for r in store(folder).releases()] == [new, old][: 1 + (step == 1)]
        assert [store(folder).faults(r.release_id) for r in store(folder).releases()] in (
            [[]],
            [[], []],
        )
        publish(folder, seed=1)
        assert rubbish(folder) == []


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
    before = snapshot(path_of(first))
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
        assert store(folder).latest() == first.release_id
        assert snapshot(path_of(first)) == before
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
    assert store(tmp_path).latest() == first.release_id
    assert publish(tmp_path, seed=1).created is False
    assert store(tmp_path).latest() != first.release_id


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
        assert store(folder).latest() == first.release_id
        store(folder).verify(first.release_id)
        assert rubbish(folder) == []


def test_a_place_that_is_really_read_only_can_be_read_and_not_published_to(tmp_path):
    with small_disk(tmp_path / "disk"):
        folder = tmp_path / "disk" / "releases"
        first = publish(folder)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        with pytest.raises(InputError, match="the file system is read-only"):
            publish(folder, seed=1)
        with pytest.raises(InputError, match="the file system is read-only"):
            store(folder).rollback(first.release_id)
        store(folder).verify(store(folder).latest())


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


def test_a_changed_byte_in_any_file_is_found_and_named(tmp_path):
    release = publish(tmp_path)
    files = snapshot(path_of(release))
    assert len(files) == 11
    for name, content in files.items():
        file = unsealed(path_of(release) / name)
        changed = bytearray(content)
        changed[len(changed) // 2] ^= 1
        file.write_bytes(changed)
        words = "was changed" if name == "SHA256SUMS" else f"{name} was changed"
        with pytest.raises(InputError, match=f"fails verification, .*{words}"):
            store(tmp_path).verify(release.release_id)
        file.write_bytes(content)
        store(tmp_path).verify(release.release_id)


def test_a_missing_file_and_an_added_one_are_found_and_named_whichever_it_is(tmp_path):
    release = publish(tmp_path)
    for name, content in snapshot(path_of(release)).items():
        file = unsealed(path_of(release) / name)
        file.unlink()
        with pytest.raises(InputError, match=f"fails verification, .*{name} is missing"):
            store(tmp_path).verify(release.release_id)
        file.write_bytes(content)
    for name in ("more.txt", "taxcalc/more.csv", "deep/er/more.csv"):
        file = path_of(release) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.parent.chmod(0o755)
        file.touch()
        with pytest.raises(InputError, match=f"{name} was added. Its own files are sound"):
            store(tmp_path).verify(release.release_id)
        file.unlink()


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
    harm(path_of(release))
    with pytest.raises(InputError, match=words):
        store(tmp_path).verify(release.release_id)
    with pytest.raises(InputError, match=f"{words}.*(rm -r .*publish again|remove the others)"):
        publish(tmp_path)
    assert store(tmp_path).latest() == other.release_id


def forged(release: PublishedRelease, file: str, content: bytes) -> None:
    """Change a file and its line of SHA256SUMS with it."""
    folder = path_of(release)
    unsealed(folder / file).write_bytes(content)
    digests = {name: sha256(c) for name, c in snapshot(folder).items() if name != "SHA256SUMS"}
    unsealed(folder / "SHA256SUMS").write_text(checksum_lines(digests))


def test_a_forged_file_or_manifest_does_not_pass_for_the_release(tmp_path):
    release = publish(tmp_path)
    manifest = store(tmp_path).read_manifest(release.release_id)
    forged(
        release, "manifest.json", manifest_text(manifest.model_copy(update={"seed": 7})).encode()
    )
    with pytest.raises(InputError, match="give another id than"):
        store(tmp_path).verify(release.release_id)
    for file in ("households.parquet", "taxcalc/cps.csv.gz", "summary.txt", "data_dictionary.csv"):
        forged(release, file, b"PAR1")
        with pytest.raises(InputError, match=f"{file} is not the file that manifest"):
            store(tmp_path).verify(release.release_id)


@pytest.mark.parametrize(("version", "words"), [(3, "newer than 2"), (1, "older than 2")])
def test_a_manifest_of_another_schema_version_is_refused(tmp_path, version, words):
    release = publish(tmp_path)
    file = unsealed(path_of(release) / "manifest.json")
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
    with pytest.raises(InputError, match=r"There is no release 2022-0123456789ab"):
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
            publish(tmp_path, seed=1, lock_timeout_s=0.1)
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
    assert store(tmp_path).latest() in {result["release_id"] for result in results}
    assert rubbish(tmp_path) == []


def test_killed_at_any_moment_latest_names_a_whole_release_and_the_next_one_tidies(tmp_path):
    firsts = {step: publish(tmp_path / "-".join(map(str, step))) for step in KILL_AT}
    running = {step: publisher(path_of(first).parent, 1, *step) for step, first in firsts.items()}
    for step, process in running.items():
        folder = path_of(firsts[step]).parent
        assert line_of(process) == "stopped"
        left = rubbish(folder)
        with pytest.raises(InputError, match="Another process has been publishing"):
            publish(folder, seed=1, lock_timeout_s=0)
        assert rubbish(folder) == left
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL

        assert store(folder).latest() == firsts[step].release_id
        store(folder).verify(firsts[step].release_id)
        second = publish(folder, seed=1)
        assert store(folder).latest() == second.release_id
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

"""The laws of releases on object storage, on fsspec's storage in memory, whatever stops it.

``tests/consumers/test_release_store_s3.py`` asks the same of a server that speaks S3.
"""

import errno
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from toy_release import NOON, publish, store

from l0_pipeline.logic.errors import InputError
from l0_pipeline.resources import object_storage

PUT = MemoryFileSystem.pipe_file
HOUR = timedelta(hours=1)
LATER = NOON + timedelta(days=1)


class Killed(BaseException):
    """Stands for kill -9: nothing that is written after it reaches the storage."""


@pytest.fixture
def location():
    address = f"memory://{uuid.uuid4().hex}"
    yield address
    for name in MemoryFileSystem().find(address):
        MemoryFileSystem().rm_file(name)


def objects(location: str) -> dict[str, bytes]:
    """Every object below ``location``."""
    root = location.removeprefix("memory:/")
    names = MemoryFileSystem().find(root)
    return {name[len(root) + 1 :]: MemoryFileSystem().cat_file(name) for name in names}


def snapshot(location: str, release_id: str) -> dict[str, bytes]:
    return {n: c for n, c in objects(location).items() if n.startswith(f"{release_id}/")}


def marks(location: str) -> list[str]:
    return [name for name in objects(location) if name.startswith(".")]


def put(location: str, name: str, content: bytes = b"") -> None:
    MemoryFileSystem().pipe_file(f"{location}/{name}", content)


def made_older(location: str, by: timedelta = 2 * HOUR) -> None:
    """As if all that is there had been written long before."""
    root = location.removeprefix("memory:/")
    for path, file in MemoryFileSystem.store.items():
        if path.startswith(root):
            file.modified -= by


@contextmanager
def failing(*, at: int, error: BaseException, for_good: bool = False) -> Iterator[list[int]]:
    """Fail at one write or removal, or from there on for good; gives how many there were."""
    seen = [0]

    def watch(function):
        def call(*arguments, **options):
            seen[0] += 1
            if seen[0] == at or (for_good and seen[0] > at):
                raise error
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("pipe_file", "rm_file"):
            patch.setattr(MemoryFileSystem, name, watch(getattr(MemoryFileSystem, name)))
        yield seen


def steps(publication) -> int:
    with failing(at=0, error=Killed()) as seen:
        publication()
    return seen[0]


def test_a_publication_leaves_its_release_and_two_pointers_and_nothing_else(location):
    release = publish(location)
    names = set(objects(location)) - set(snapshot(location, release.release_id))
    assert names == {"latest", "latest-2022"}
    assert objects(location)["latest"] == f"{release.release_id}\n".encode()


def test_the_manifest_comes_first_and_sha256sums_last_and_then_the_pointers(location):
    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            MemoryFileSystem,
            "pipe_file",
            lambda system, path, value, **options: (
                written.append(path.rpartition("/")[2]),
                PUT(system, path, value, **options),
            ),
        )
        publish(location)
    assert written[0].startswith(".using-")
    assert written[1] == "manifest.json"
    assert written[-3:] == ["SHA256SUMS", "latest-2022", "latest"]


def test_killed_at_any_moment_latest_names_a_whole_release_and_the_next_run_completes(location):
    total = steps(lambda: publish(f"{location}/counting"))
    assert total > 12
    for step in range(1, total + 1):
        place = f"{location}/{step}"
        first = publish(place).release_id
        with pytest.raises(Killed), failing(at=step, error=Killed(), for_good=True):
            publish(place, seed=1)
        latest = store(place).latest()
        store(place).verify(latest)
        assert [store(place).faults(r.release_id) for r in store(place).releases()] in (
            [[]],
            [[], []],
        )
        assert (latest == first) == (step < total)

        second = publish(place, seed=1, created_at=LATER)
        assert store(place).latest() == store(place).latest(2022) == second.release_id
        store(place).verify(second.release_id)
        made_older(place)
        publish(place, seed=1)
        assert marks(place) == []


def test_what_a_killed_publisher_left_is_removed_when_it_is_old_and_not_before(location):
    total = steps(lambda: publish(f"{location}/counting"))
    for step in range(2, total - 3):  # from the manifest on, until before SHA256SUMS
        place = f"{location}/{step}"
        with pytest.raises(Killed), failing(at=step, error=Killed(), for_good=True):
            publish(place, seed=1)
        left = objects(place)
        publish(place)
        assert left.items() <= objects(place).items()
        made_older(place)
        publish(place)
        assert set(objects(place)).isdisjoint(left)
        assert len(store(place).releases()) == 1


def test_a_storage_that_fails_at_any_write_is_one_clear_error_and_loses_nothing(location):
    total = steps(lambda: publish(f"{location}/counting"))
    for step in range(1, total):  # the last is the removal of its own mark
        place = f"{location}/{step}"
        first = publish(place)
        before = snapshot(place, first.release_id)
        error = OSError(errno.EIO, "the connection broke")
        with (
            pytest.raises(InputError, match=r"refused or did not answer.*the connection broke"),
            failing(at=step, error=error),
        ):
            publish(place, seed=1)
        store(place).verify(store(place).latest())
        assert snapshot(place, first.release_id) == before
        assert marks(place) == []
        second = publish(place, seed=1)
        assert store(place).latest() == second.release_id


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError("Access Denied"), "access is denied. Check the credentials"),
        (FileNotFoundError("The specified bucket does not exist"), "bucket .* is not there"),
        (RuntimeError("a driver's own"), "refused or did not answer.*RuntimeError: a driver's own"),
    ],
    ids=["access", "bucket", "driver"],
)
def test_a_storage_that_refuses_says_so_once(location, error, words):
    with (
        pytest.raises(InputError, match=f"Cannot publish release .* in {location}.*{words}"),
        failing(at=1, error=error, for_good=True),
    ):
        publish(location)


def test_who_finds_a_manifest_goes_on_with_its_time_and_its_comparison(location):
    with pytest.raises(Killed), failing(at=5, error=Killed(), for_good=True):
        publish(location, compared_with="2022-0123456789ab")
    release = publish(location, created_at=LATER)
    assert release.created
    manifest = store(location).read_manifest(release.release_id)
    assert (manifest.created_at, manifest.compared_with) == (NOON, "2022-0123456789ab")
    alone = publish(f"{location}/alone", compared_with="2022-0123456789ab").release_id
    here = {n.partition("/")[2]: c for n, c in snapshot(location, release.release_id).items()}
    there = snapshot(f"{location}/alone", alone)
    assert {n.partition("/")[2]: c for n, c in there.items()} == here


def test_an_unfinished_release_with_other_texts_is_not_finished_until_it_is_abandoned(location):
    with pytest.raises(Killed), failing(at=5, error=Killed(), for_good=True):
        publish(location)
    left = objects(location)
    with pytest.raises(InputError, match="unfinished publication of the same data with other text"):
        publish(location, texts={"other.txt": "Other\n"})
    assert objects(location) == left
    made_older(location)
    release = publish(location, texts={"other.txt": "Other\n"}, created_at=LATER)
    assert store(location).read_manifest(release.release_id).created_at == LATER
    store(location).verify(release.release_id)


def test_what_looks_abandoned_is_finished_and_not_removed_while_another_is_at_it(location):
    with pytest.raises(Killed), failing(at=5, error=Killed(), for_good=True):
        publish(location)
    made_older(location)
    (begun,) = {name.partition("/")[0] for name in objects(location) if "/" in name}
    put(location, f".using-{begun}-another")
    assert publish(location, created_at=LATER).release_id == begun
    assert store(location).read_manifest(begun).created_at == NOON
    store(location).verify(begun)


def test_a_publisher_that_meets_another_of_the_same_release_half_way_agrees_with_it(location):
    """The second publishes whole while the first is between two of its writes, at each of them."""
    total = steps(lambda: publish(f"{location}/counting"))
    for step in range(1, total + 1):
        place = f"{location}/{step}"
        calls = [0]

        def interrupted(system, path, value, *, step=step, place=place, calls=calls, **options):
            calls[0] += 1
            if calls[0] == step:
                publish(place, created_at=LATER)
            PUT(system, path, value, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MemoryFileSystem, "pipe_file", interrupted)
            first = publish(place)
        assert store(place).faults(first.release_id) == []
        assert store(place).latest() == first.release_id
        assert marks(place) == []


def test_a_release_in_use_is_not_removed(location):
    first, second = (publish(location, seed=n, created_at=NOON + n * HOUR) for n in (0, 1))
    put(location, f".using-{first.release_id}-another")
    assert store(location).prune(keep=1) == []
    store(location).verify(first.release_id)
    made_older(location)
    assert store(location).prune(keep=1) == [first.release_id]
    assert snapshot(location, first.release_id) == {}
    store(location).verify(second.release_id)


def test_a_release_that_is_pointed_to_while_its_removal_begins_is_not_removed(location):
    first, _ = (publish(location, seed=n, created_at=NOON + n * HOUR) for n in (0, 1))

    def rolled_back_before(system, path, value, **options):
        if ".removing-" in path:
            patch.undo()
            store(location).rollback(first.release_id)
        PUT(system, path, value, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryFileSystem, "pipe_file", rolled_back_before)
        assert store(location).prune(keep=1) == []
    assert store(location).latest() == first.release_id
    store(location).verify(first.release_id)


def test_who_wants_a_release_that_is_being_removed_waits_and_then_says_so(location):
    release = publish(location)
    put(location, f".removing-{release.release_id}-another")
    for call in (
        lambda: publish(location, lock_timeout_s=0),
        lambda: store(location, lock_timeout_s=0).rollback(release.release_id),
    ):
        with pytest.raises(InputError, match=r"has been removing .*\.removing-.*-another"):
            call()
    publish(location, seed=1, lock_timeout_s=0)
    made_older(location)
    publish(location, lock_timeout_s=0)
    assert marks(location) == []


def test_a_removal_killed_at_any_moment_leaves_a_whole_release_or_none(location):
    def old_and_new(place):
        return [publish(place, seed=n, created_at=NOON + n * HOUR).release_id for n in (0, 1)]

    old_and_new(f"{location}/counting")
    total = steps(lambda: store(f"{location}/counting").prune(keep=1))
    assert total == 2 + 11
    for step in range(1, total + 1):
        place = f"{location}/{step}"
        old, new = old_and_new(place)
        with pytest.raises(Killed), failing(at=step, error=Killed(), for_good=True):
            store(place).prune(keep=1)
        there = [r.release_id for r in store(place).releases()]
        assert there == ([new, old] if step <= 2 else [new])
        assert [store(place).faults(release_id) for release_id in there] == [[]] * len(there)
        made_older(place)
        publish(place, seed=1, keep=1)
        assert snapshot(place, old) == {}
        assert marks(place) == []


def test_a_publisher_that_is_too_slow_gives_up_before_others_take_it_for_dead(
    location, monkeypatch
):
    publish(location)
    clock = iter(range(0, 10_000, 200))
    monkeypatch.setattr(object_storage, "_now", lambda: next(clock))
    with pytest.raises(InputError, match=r"half of abandoned_after_s \(3600 seconds\)"):
        publish(location, seed=1)
    assert len(store(location).releases()) == 1


def test_any_changed_missing_or_added_object_is_found_and_named(location):
    release = publish(location)
    for name, content in snapshot(location, release.release_id).items():
        file = name.partition("/")[2]
        changed = bytearray(content)
        changed[len(changed) // 2] ^= 1
        put(location, name, bytes(changed))
        words = "was changed" if file == "SHA256SUMS" else f"{file} was changed"
        with pytest.raises(InputError, match=words):
            store(location).verify(release.release_id)
        MemoryFileSystem().rm_file(f"{location}/{name}")
        words = "it is not there" if file == "SHA256SUMS" else f"{file} is missing"
        with pytest.raises(InputError, match=words):
            store(location).verify(release.release_id)
        put(location, name, content)
    put(location, f"{release.release_id}/more.txt")
    with pytest.raises(InputError, match=r"more\.txt was added"):
        store(location).verify(release.release_id)


def test_a_harmed_release_is_not_published_over(location):
    release = publish(location)
    other = publish(location, seed=1)
    put(location, f"{release.release_id}/report.md", b"changed")
    with pytest.raises(InputError, match=r"report\.md was changed.*delete .*SHA256SUMS, then all"):
        publish(location)
    assert store(location).latest() == other.release_id


def test_bytes_that_come_back_changed_are_never_published(location, monkeypatch):
    read = MemoryFileSystem.cat_file
    monkeypatch.setattr(
        MemoryFileSystem,
        "cat_file",
        lambda *arguments, **options: read(*arguments, **options).replace(b"# Rep", b"# Ref"),
    )
    with pytest.raises(InputError, match=r"1 files read back .*: report\.md"):
        publish(location)
    assert store(location).releases() == []
    assert store(location).latest() is None


def test_a_pointer_to_no_release_is_refused_and_repaired_by_the_next_publication(location):
    for content in (b"../elsewhere", b"2022-0123456789ab\n", b""):
        put(location, "latest", content)
        with pytest.raises(InputError, match=r"is not a release id|there is no such release"):
            store(location).latest()
    release = publish(location)
    assert store(location).latest() == release.release_id


def test_objects_of_others_are_left_alone(location):
    put(location, "notes/a.txt", b"mine")
    put(location, "2022/summary.txt", b"mine")
    made_older(location)
    publish(location)
    assert objects(location)["notes/a.txt"] == objects(location)["2022/summary.txt"] == b"mine"
    assert len(store(location).releases()) == 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nothing://bucket", "no address that fsspec knows: give a local folder"),
        ("gs://bucket/releases", "not installed: install the package that fsspec needs for gs://"),
    ],
)
def test_an_address_of_no_known_or_installed_kind_is_refused(address, words):
    with pytest.raises(InputError, match=words):
        store(address).latest()


def test_a_missing_s3fs_is_an_error_that_says_how_to_install_it(monkeypatch):
    import fsspec

    def missing(*arguments, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    with pytest.raises(InputError, match=r"pip install 'l0-pipeline\[s3\]'.*Install s3fs"):
        publish("s3://bucket/releases")

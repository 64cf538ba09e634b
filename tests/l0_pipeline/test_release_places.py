"""The laws of the release store that hold alike in a local folder and on object storage."""

import json
import os
import stat
import uuid
from datetime import timedelta

import fsspec
import polars as pl
import pytest
from toy_release import FILES, NOON, publish, store, tables

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.checksums import checksum_lines, sha256

UNKNOWN = "2022-0123456789ab"


@pytest.fixture(params=["folder", "objects"])
def location(request, tmp_path):
    if request.param == "folder":
        yield str(tmp_path / "releases")
        return
    address = f"memory://{uuid.uuid4().hex}"
    yield address
    system = fsspec.filesystem("memory")
    for name in system.find(address):
        system.rm_file(name)


def seeds(location, *numbers, **settings):
    """Releases of these seeds, each published a day after the one before."""
    return [
        publish(location, seed=n, created_at=NOON + timedelta(days=n), **settings).release_id
        for n in numbers
    ]


def rewrite(location, release_id, file, content):
    """Change a file of a release and its line in SHA256SUMS, as an earlier version of the code."""
    system, root = fsspec.url_to_fs(f"{location}/{release_id}")
    if "://" not in location:
        for path in (root, f"{root}/{file}", f"{root}/SHA256SUMS"):
            os.chmod(path, stat.S_IRWXU)
    system.pipe_file(f"{root}/{file}", content)
    digests = {
        name[len(root) + 1 :]: sha256(system.cat_file(name))
        for name in system.find(root)
        if not name.endswith("SHA256SUMS")
    }
    system.pipe_file(f"{root}/SHA256SUMS", checksum_lines(digests).encode())


def as_of_version_1(location, release_id):
    manifest = json.loads(store(location).read_file(release_id, "manifest.json"))
    for name in ("files", "texts", "compared_with"):
        manifest.pop(name)
    content = json.dumps(manifest | {"schema_version": 1}).encode()
    rewrite(location, release_id, "manifest.json", content)


def test_a_release_is_read_back_table_by_table_and_file_by_file(location):
    release = publish(location, compared_with=UNKNOWN)
    there = store(location)
    assert there.faults(release.release_id) == []
    assert there.read_table(release.release_id, "weights").equals(tables()["weights"])
    assert {n: t.equals(tables()[n]) for n, t in there.read_tables(release.release_id).items()} == {
        "households": True,
        "weights": True,
    }
    for file, content in FILES.items():
        assert there.read_file(release.release_id, file) == content
    manifest = there.read_manifest(release.release_id)
    assert (manifest.compared_with, manifest.created_at) == (UNKNOWN, NOON)
    assert set(manifest.digests()) | {"manifest.json", "SHA256SUMS"} == set(
        there.files(release.release_id)
    )
    assert pl.read_csv(there.read_file(release.release_id, "data_dictionary.csv")).height == 4
    summary = there.read_file(release.release_id, "summary.txt").decode()
    assert summary == (
        f"Release {release.release_id} at 2026-01-01 12:00:00+00:00 after {UNKNOWN}\n"
    )


def test_a_release_lies_where_its_address_says(location):
    release = publish(location)
    assert release.address == store(location).address(release.release_id)
    with fsspec.open(f"{release.address}/taxcalc/cps.csv.gz") as file:
        assert file.read() == FILES["taxcalc/cps.csv.gz"]


def test_the_same_data_published_later_with_other_texts_is_the_release_that_is_there(location):
    first, second = publish(location), publish(location, seed=1)
    again = publish(
        location,
        created_at=NOON + timedelta(days=1),
        compared_with=second.release_id,
        texts={"other.txt": "Other\n"},
    )
    assert again.release_id == first.release_id
    assert (first.created, second.created, again.created) == (True, True, False)
    assert store(location).latest() == first.release_id
    assert store(location).read_manifest(first.release_id).created_at == NOON
    assert "other.txt" not in store(location).files(first.release_id)


def test_releases_are_listed_from_the_newest_with_their_year_bytes_and_pointers(location):
    assert store(location).releases() == []
    first, second = seeds(location, 0, 1)
    other = publish(location, year=2021).release_id
    listed = store(location).releases()
    assert [(r.release_id, r.year, r.pointers) for r in listed if r.year == 2022] == [
        (second, 2022, ("latest-2022",)),
        (first, 2022, ()),
    ]
    assert {(r.release_id, r.pointers) for r in listed if r.year == 2021} == {
        (other, ("latest", "latest-2021"))
    }
    assert {r.schema_version for r in listed} == {2}
    assert [r.created_at for r in store(location).releases(2021)] == [NOON]
    for release in listed:
        assert release.bytes == sum(store(location).files(release.release_id).values())


def test_a_rollback_moves_latest_of_the_year_and_latest(location):
    first, _ = seeds(location, 0, 1)
    publish(location, year=2021)
    store(location).rollback(first)
    assert (store(location).latest(), store(location).latest(2022)) == (first, first)
    assert store(location).latest(2021) != first


def test_a_rollback_to_a_harmed_or_unknown_release_is_refused_and_moves_nothing(location):
    first, second = seeds(location, 0, 1)
    rewrite(location, first, "summary.txt", b"Other\n")
    with pytest.raises(InputError, match=r"summary\.txt is not the file that manifest"):
        store(location).rollback(first)
    with pytest.raises(InputError, match=f"no release {UNKNOWN} .* There are: .*{second}"):
        store(location).rollback(UNKNOWN)
    assert store(location).latest() == second


def test_only_the_newest_stay_when_a_publication_says_how_many(location):
    assert len(seeds(location, 0, 1, 2)) == 3
    other = publish(location, year=2021, created_at=NOON - timedelta(days=9)).release_id
    fourth = publish(location, seed=3, created_at=NOON + timedelta(days=3), keep=2).release_id
    kept = [r.release_id for r in store(location).releases(2022)]
    assert kept == [fourth, publish(location, seed=2).release_id]
    assert [r.release_id for r in store(location).releases(2021)] == [other]
    for release_id in (*kept, other):
        store(location).verify(release_id)


def test_what_latest_names_is_never_removed_however_old(location):
    first, second, third, fourth = seeds(location, 0, 1, 2, 3)
    store(location).rollback(first)
    assert store(location).prune(keep=1) == [third, second]
    assert [r.release_id for r in store(location).releases()] == [fourth, first]
    assert store(location).latest() == first
    assert store(location).prune(keep=1) == []


def test_pruning_one_year_leaves_the_others(location):
    seeds(location, 0, 1)
    older, _ = seeds(location, 0, 1, year=2021)
    assert store(location).prune(keep=1, year=2021) == [older]
    assert len(store(location).releases(2022)) == 2
    with pytest.raises(InputError, match="keep is 0"):
        store(location).prune(keep=0)


def test_pruning_all_years_keeps_as_many_of_each(location):
    newest = {seeds(location, 0, 1, 2, year=year)[-1] for year in (2021, 2022, 2023)}
    assert len(store(location).prune(keep=1)) == 6
    assert {r.release_id for r in store(location).releases()} == newest


def test_a_release_whose_manifest_cannot_be_read_is_listed_last_and_never_pruned(location):
    first, second, third = seeds(location, 0, 1, 2)
    rewrite(location, first, "manifest.json", b"{")
    assert store(location).prune(keep=1) == [second]
    listed = store(location).releases()
    assert [(r.release_id, r.schema_version) for r in listed] == [(third, 2), (first, None)]


def test_a_release_of_an_older_version_is_listed_counted_pruned_and_never_in_the_way(location):
    first, second = seeds(location, 0, 1)
    for release_id in (first, second):
        as_of_version_1(location, release_id)
    assert store(location).latest() == second
    assert store(location).comparable(2022) is None
    assert [r.schema_version for r in store(location).releases()] == [1, 1]
    assert store(location).faults(second) == [
        "manifest.json has schema version 1, older than 2, the one this code reads: publish the "
        "release again, or read it with the version that made it."
    ]
    with pytest.raises(InputError, match="schema version 1, older than 2"):
        store(location).read_manifest(first)
    with pytest.raises(InputError, match="schema version 1, older than 2"):
        store(location).rollback(first)
    (third,) = seeds(location, 2, keep=2)
    assert store(location).latest() == third
    assert store(location).comparable(2022) == third
    assert [r.release_id for r in store(location).releases()] == [third, second]


@pytest.mark.parametrize("name", ["../" + UNKNOWN, "latest", UNKNOWN + "/..", UNKNOWN + "\n"])
def test_a_release_id_cannot_leave_the_place(location, name):
    publish(location)
    there = store(location)
    calls = (there.verify, there.faults, there.rollback, there.address, there.read_manifest)
    for call in (*calls, there.files, lambda n: there.read_file(n, "summary.txt")):
        with pytest.raises(InputError, match="is not a release id"):
            call(name)


@pytest.mark.parametrize("name", ["../latest", "/etc/passwd", "taxcalc", "", "more.txt"])
def test_a_file_that_is_not_of_the_release_is_not_read(location, name):
    release = publish(location)
    with pytest.raises(InputError, match=r"is missing in release .* There are: .*summary\.txt"):
        store(location).read_file(release.release_id, name)


def test_two_files_of_one_name_are_refused_before_anything_is_written(location):
    publish(location)
    before = store(location).releases()
    with pytest.raises(InputError, match=r"two files of one release: taxcalc/variables\.json"):
        publish(location, seed=1, texts={"taxcalc/variables.json": ""})
    assert store(location).releases() == before

"""The store of releases: publish whole or not at all, verify, list, point back, remove old ones.

``latest`` and every release that is listed are whole at each moment, whoever publishes at once,
is killed, or meets a full disk. How a place keeps that is argued where it is done: in
``local_storage`` for a folder, in ``object_storage`` for any other address that fsspec knows.
The order here is the same for both: with the release in use, so that nobody removes it, create
it or verify the one that is there; then move the pointers; then, no longer using it, remove old
ones that no pointer names.

What a release consists of is decided in ``l0_pipeline.logic.release``.
"""

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from io import BytesIO
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.contents import (
    ReleaseContents,
    ReleaseText,
    release_contents,
    release_files,
)
from l0_pipeline.logic.release.manifest import (
    PACKAGES,
    SCHEMA_VERSION,
    Manifest,
    ManifestDraft,
    read_manifest,
    read_outline,
    release_id,
)
from l0_pipeline.logic.release.names import (
    MANIFEST_FILE,
    checked_release_id,
    refuse_clashing_names,
    table_file,
)
from l0_pipeline.logic.release.verification import as_text, release_faults
from l0_pipeline.resources.local_storage import LocalStorage
from l0_pipeline.resources.object_storage import ObjectStorage
from l0_pipeline.resources.release_storage import LATEST, ReleaseStorage
from l0_pipeline.settings import RELEASES


@dataclass(frozen=True)
class PublishedRelease:
    """A release that lies whole in its place."""

    release_id: str
    address: str
    created: bool  # False: these very data had been published before


@dataclass(frozen=True)
class ListedRelease:
    """A release of any schema version, as a list shows it."""

    release_id: str
    year: int
    created_at: datetime | None  # None, as the version: its manifest cannot be read
    schema_version: int | None
    bytes: int
    pointers: tuple[str, ...]  # which of latest and latest-<year> name it


class ReleaseStore(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Publishes releases whole or not at all, in a folder or on object storage."""

    location: str = Field(
        default=RELEASES,
        description="Where releases lie: a folder, made when missing, or an address that fsspec "
        "knows, such as s3://bucket/prefix. Credentials and endpoint come from the environment.",
    )
    keep: int | None = Field(
        default=None,
        ge=1,
        description="How many releases of a year stay when one is published; all unless set. "
        "What latest or latest-<year> names always stays.",
    )
    lock_timeout_s: float = Field(
        default=60.0, ge=0.0, description="Longest wait for another publisher, in seconds."
    )
    abandoned_after_s: float = Field(
        default=3600.0,
        gt=0.0,
        description="On object storage: what a publisher left unfinished is removed after so many "
        "seconds, and a publication must be done in half of them. The same for all publishers.",
    )

    def publish(
        self,
        tables: Mapping[str, pl.DataFrame],
        *,
        draft: ManifestDraft,
        dictionary: pl.DataFrame,
        texts: Mapping[str, ReleaseText],
        files: Mapping[str, bytes] | None = None,
        created_at: datetime | None = None,
        compared_with: str | None = None,
    ) -> PublishedRelease:
        """Publish tables and files and move ``latest`` to them; the same again only moves it.

        ``texts`` (summary.txt, a report), ``created_at`` (now unless given) and ``compared_with``
        are no part of the id: those of the first publication stay.
        """
        files = files or {}
        refuse_clashing_names(tables=tables, files=files, texts=texts)
        contents = release_contents(
            tables,
            draft=draft,
            dictionary=dictionary,
            files=files,
            created_at=created_at or datetime.now(UTC),
            compared_with=compared_with,
        )
        name = contents.release_id
        storage = self._storage()
        with (
            storage.explained(f"Cannot publish release {name} in {self.location}"),
            storage.using(name),
        ):
            _pointed(storage, draft.year)  # what is no pointer is refused before anything is done
            created = not storage.files(name)
            if created:
                _create(storage, contents, texts)
            else:
                self._refuse_faulty(storage, name)
            with storage.explained(f"Release {name} is whole, but latest did not move"):
                _point(storage, name)
        if self.keep is not None:
            with storage.explained(f"Release {name} is published, but older ones were not removed"):
                self._prune(storage, keep=self.keep, year=draft.year)
        return PublishedRelease(release_id=name, address=storage.address(name), created=created)

    def rollback(self, release_id: str) -> None:
        """Verify a release and make ``latest-<year>`` and ``latest`` name it."""
        with self._opened(release_id, doing="point to") as storage, storage.using(release_id):
            self._refuse_faulty(storage, release_id)
            _point(storage, release_id)

    def prune(self, *, keep: int, year: int | None = None) -> list[str]:
        """Remove all but the ``keep`` newest releases of each year (of ``year``); which ones.

        A release that ``latest`` or ``latest-<year>`` names stays, and so does one that is in
        use or whose manifest cannot be read.
        """
        if keep < 1:
            raise InputError(f"keep is {keep}, but at least 1 release of a year stays.")
        storage = self._storage()
        with storage.explained(f"Cannot remove releases in {self.location}"):
            return self._prune(storage, keep=keep, year=year)

    def releases(self, year: int | None = None) -> list[ListedRelease]:
        """Every release there is (of ``year``), the newest first."""
        storage = self._storage()
        with storage.explained(f"Cannot list the releases in {self.location}"):
            return self._listed(storage, year)

    def latest(self, year: int | None = None) -> str | None:
        """The release published or pointed to last (of ``year``); None when there is none."""
        storage = self._storage()
        name = _pointer(year)
        with storage.explained(f"Cannot read {name} in {self.location}"):
            pointed = storage.pointer(name)
            if pointed is None:
                return None
            if not storage.files(checked_release_id(pointed)):
                raise InputError(
                    f"{name} in {self.location} names {pointed}, but there is no such release. "
                    f"Restore it from a copy, publish again, or roll back to another."
                )
        return pointed

    def comparable(self, year: int) -> str | None:
        """The latest release of ``year`` where this code can read it, to compare a new one with."""
        storage = self._storage()
        with storage.explained(f"Cannot read {_pointer(year)} in {self.location}"):
            pointed = storage.pointer(_pointer(year))
            if pointed not in storage.release_ids():
                return None
            version = _listed_release(storage, pointed).schema_version
        return pointed if version == SCHEMA_VERSION else None

    def address(self, release_id: str) -> str:
        """Where the release lies: its folder, or the address that its files begin with."""
        return self._storage().address(checked_release_id(release_id))

    def files(self, release_id: str) -> dict[str, int]:
        """The files of a release with their bytes."""
        with self._opened(release_id, doing="read") as storage:
            return _sizes(storage, release_id)

    def read_file(self, release_id: str, file: str) -> bytes:
        """One file of a release; ``verify`` says whether it is the one that was published."""
        with self._opened(release_id, doing="read") as storage:
            there = storage.files(release_id)
            if there.get(file) is None:
                raise InputError(
                    f"{file} is missing in release {release_id} in {self.location}. There are: "
                    f"{', '.join(sorted(there))}."
                )
            return storage.read(release_id, file)

    def read_table(self, release_id: str, name: str) -> pl.DataFrame:
        """One table of a release."""
        content = self.read_file(release_id, table_file(name))
        try:
            return pl.read_parquet(BytesIO(content))
        except pl.exceptions.PolarsError as error:
            raise InputError(
                f"{table_file(name)} of release {release_id} in {self.location} is no Parquet file "
                f"({error}). `make verify RELEASE={release_id}` lists what was changed; restore it "
                f"from a copy."
            ) from error

    def read_tables(self, release_id: str) -> dict[str, pl.DataFrame]:
        """Every table of a release."""
        names = [t.file.removesuffix(".parquet") for t in self.read_manifest(release_id).tables]
        return {name: self.read_table(release_id, name) for name in names}

    def read_manifest(self, release_id: str) -> Manifest:
        """The manifest of a release."""
        where = f"{MANIFEST_FILE} of release {release_id} in {self.location}"
        content = self.read_file(release_id, MANIFEST_FILE)
        return read_manifest(as_text(content, where), where=where)

    def faults(self, release_id: str) -> list[str]:
        """What differs from what was published, file by file; empty for a sound release."""
        storage = self._storage()
        with storage.explained(f"Cannot read release {release_id} in {self.location}"):
            return _faults(storage, checked_release_id(release_id))

    def verify(self, release_id: str) -> None:
        """Every file of the release is the one that was published, and none was added."""
        storage = self._storage()
        with storage.explained(f"Cannot read release {release_id} in {self.location}"):
            self._refuse_faulty(storage, checked_release_id(release_id))

    def _storage(self) -> ReleaseStorage:
        protocol, separator, path = self.location.partition("://")
        if not separator:
            return LocalStorage(Path(self.location).absolute(), self.lock_timeout_s)
        if protocol in ("file", "local"):
            return LocalStorage(Path(path).absolute(), self.lock_timeout_s)
        return ObjectStorage(
            self.location,
            abandoned_after_s=self.abandoned_after_s,
            lock_timeout_s=self.lock_timeout_s,
        )

    @contextmanager
    def _opened(self, release_id: str, *, doing: str) -> Iterator[ReleaseStorage]:
        """The storage, with the release in it."""
        storage = self._storage()
        with storage.explained(f"Cannot {doing} release {release_id} in {self.location}"):
            if not storage.files(checked_release_id(release_id)):
                raise InputError(
                    f"There is no release {release_id} in {self.location}. There are: "
                    f"{', '.join(sorted(storage.release_ids())) or 'none'}."
                )
            yield storage

    def _refuse_faulty(self, storage: ReleaseStorage, release_id: str) -> None:
        faults = _faults(storage, release_id)
        if faults:
            if all(fault.endswith(" was added") for fault in faults):
                raise InputError(
                    f"Release {release_id} in {self.location} holds what was not published: "
                    f"{'; '.join(faults)}. Its own files are sound: remove the others."
                )
            raise InputError(
                f"Release {release_id} in {self.location} fails verification, {len(faults)} "
                f"fault(s): {'; '.join(faults)}. Restore it from a copy, or remove it "
                f"({storage.how_to_remove(release_id)}) and publish again."
            )

    def _listed(self, storage: ReleaseStorage, year: int | None) -> list[ListedRelease]:
        releases = []
        for name in storage.release_ids():
            if year is None or _year(name) == year:
                with suppress(FileNotFoundError):  # removed by another since
                    releases.append(_listed_release(storage, name))
        return sorted(releases, key=_age)

    def _prune(self, storage: ReleaseStorage, *, keep: int, year: int | None) -> list[str]:
        readable = [r for r in self._listed(storage, year) if r.created_at is not None]
        years = {r.year for r in readable}
        too_many = [r for y in years for r in [r for r in readable if r.year == y][keep:]]
        return [
            r.release_id
            for r in too_many
            if storage.remove(r.release_id, unless=_is_pointed(storage, r.release_id))
        ]


def installed_versions() -> dict[str, str]:
    """The versions of the packages that a manifest records."""
    return {name: _installed_version(name) for name in PACKAGES}


def _installed_version(package: str) -> str:
    if package == "python":
        return platform.python_version()
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _create(
    storage: ReleaseStorage, contents: ReleaseContents, texts: Mapping[str, ReleaseText]
) -> None:
    """Make the release, or finish the one of the same data that another began."""
    name = contents.release_id
    address = storage.address(name)
    files = release_files(contents, texts=texts, address=address)
    claimed = storage.claim(name, files[MANIFEST_FILE])
    if claimed != files[MANIFEST_FILE]:
        where = f"{address}/{MANIFEST_FILE}"
        begun = read_manifest(as_text(claimed, where), where=where)
        files = release_files(contents.dated_as(begun), texts=texts, address=address)
        if claimed != files[MANIFEST_FILE]:
            raise InputError(
                f"{where} is that of an unfinished publication of "
                f"{'the same data with other texts' if release_id(begun) == name else 'others'}. "
                f"If nothing is publishing there, remove it and publish again; or wait until it "
                f"counts as abandoned (abandoned_after_s)."
            )
    storage.create(name, files)


def _faults(storage: ReleaseStorage, release_id: str) -> list[str]:
    return release_faults(
        release_id,
        files=storage.files(release_id),
        read=lambda file: storage.read(release_id, file),
    )


def _pointer(year: int | None) -> str:
    return LATEST if year is None else f"{LATEST}-{year:04d}"


def _year(release_id: str) -> int:
    return int(release_id.partition("-")[0])


def _pointed(storage: ReleaseStorage, year: int) -> dict[str, str | None]:
    return {name: storage.pointer(name) for name in (_pointer(year), LATEST)}


def _point(storage: ReleaseStorage, release_id: str) -> None:
    for pointer, now in _pointed(storage, _year(release_id)).items():
        if now != release_id:
            storage.point(pointer, release_id)


def _is_pointed(storage: ReleaseStorage, release_id: str) -> Callable[[], bool]:
    return lambda: release_id in _pointed(storage, _year(release_id)).values()


def _sizes(storage: ReleaseStorage, release_id: str) -> dict[str, int]:
    return {file: size or 0 for file, size in storage.files(release_id).items()}


def _listed_release(storage: ReleaseStorage, release_id: str) -> ListedRelease:
    sizes = _sizes(storage, release_id)
    if not sizes:
        raise FileNotFoundError(storage.address(release_id))
    content = storage.read(release_id, MANIFEST_FILE) if MANIFEST_FILE in sizes else b""
    outline = read_outline(content)
    pointed = _pointed(storage, _year(release_id))
    return ListedRelease(
        release_id=release_id,
        year=_year(release_id),
        created_at=outline.created_at if outline else None,
        schema_version=outline.schema_version if outline else None,
        bytes=sum(sizes.values()),
        pointers=tuple(name for name, target in sorted(pointed.items()) if target == release_id),
    )


def _age(release: ListedRelease) -> tuple[float, str]:
    """The newest is the least; one without a time comes last."""
    at = release.created_at
    return (-at.timestamp() if at else float("inf"), release.release_id)

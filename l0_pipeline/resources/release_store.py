"""The folder of releases: publish one whole or not at all, verify it, find the latest.

    releases_dir/
        2022-0123456789ab/     a release: read-only, never changed afterwards
        latest-2022 -> ...     the release of that year published last
        latest -> ...          the release published last
        .lock                  held while a release is published
        .staging-*             a publication in progress, or what a killed one left

A release is written under ``.staging-*``, flushed, read back, sealed (no write bit) and renamed
into place; ``latest`` moves last. Whatever stops a publication, ``latest`` and every earlier
release stay as they were, and the next publication removes the rubbish. A release has no write
bit, so removing one needs it back: ``chmod -R u+w data/releases && rm -r data/releases``.

What a release consists of is decided in ``l0_pipeline.logic.release``.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from io import BytesIO
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.checksums import checksum_lines, read_checksums, sha256
from l0_pipeline.logic.release.contents import ReleaseContents, release_contents
from l0_pipeline.logic.release.manifest import (
    PACKAGES,
    Manifest,
    ManifestDraft,
    read_manifest,
    release_id,
)
from l0_pipeline.logic.release.names import (
    CHECKSUMS_FILE,
    DICTIONARY_FILE,
    MANIFEST_FILE,
    checked_release_id,
    checked_text_name,
    table_file,
)
from l0_pipeline.settings import DATA_DIR

LATEST = "latest"
LOCK = ".lock"
STAGING = ".staging-"
LOCK_POLL_S = 0.05
WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

REFUSALS = {
    errno.ENOSPC: "the disk is full. Free space there",
    errno.EDQUOT: "the disk quota is used up. Free space there or have the quota raised",
    errno.EACCES: "permission is denied. Give this user access to it",
    errno.EPERM: "permission is denied. Give this user access to it",
    errno.EROFS: "the file system is read-only. Mount it writable or set another releases_dir",
    errno.ENOENT: "a file or folder is not there. Let nothing else change that folder",
    errno.ENOTDIR: "a part of the path is a file. Set another releases_dir",
    errno.EEXIST: "a file stands where a folder is needed. Set another releases_dir",
}

ReleaseText = str | Callable[[Path], str]  # a text, or the text for a release at that path


@dataclass(frozen=True)
class PublishedRelease:
    """A release that lies whole in its folder."""

    path: Path
    release_id: str
    created: bool  # False: these very bytes had been published before


class ReleaseStore(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Publishes releases atomically into one folder."""

    releases_dir: str = Field(
        default=str(DATA_DIR / "releases"),
        description="Folder that holds the releases; made when missing.",
    )
    lock_timeout_s: float = Field(
        default=60.0, ge=0.0, description="Longest wait for another publisher, in seconds."
    )

    def publish(
        self,
        tables: Mapping[str, pl.DataFrame],
        *,
        draft: ManifestDraft,
        dictionary: pl.DataFrame,
        texts: Mapping[str, ReleaseText],
        created_at: datetime | None = None,
    ) -> PublishedRelease:
        """Publish ``tables`` and move ``latest`` to them; the same input again only moves it.

        ``texts`` (summary.txt, a report) are no part of the id: those of the first publication
        stay. ``created_at`` is now unless given.
        """
        contents = release_contents(
            tables, draft=draft, dictionary=dictionary, created_at=created_at or datetime.now(UTC)
        )
        for name in texts:
            checked_text_name(name)
        folder = Path(self.releases_dir)
        path = folder / contents.release_id
        with _explained(f"Cannot publish release {contents.release_id} in {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder, timeout_s=self.lock_timeout_s):
                _remove_rubbish(folder)
                links = (f"{LATEST}-{draft.year}", LATEST)
                _refuse_foreign_links(folder, links)
                created = not os.path.lexists(path)
                if created:
                    _create(path, contents=contents, tables=tables, texts=texts)
                else:
                    self.verify(contents.release_id)
                with _explained(f"Release {contents.release_id} is whole, but latest did not move"):
                    for link in links:
                        _move_link(folder / link, target=contents.release_id)
        return PublishedRelease(path=path, release_id=contents.release_id, created=created)

    def faults(self, release_id: str) -> list[str]:
        """What differs from what was published, file by file; empty for a sound release."""
        path = Path(self.releases_dir) / checked_release_id(release_id)
        with _explained(f"Cannot read release {release_id} in {self.releases_dir}"):
            return _faults(path)

    def verify(self, release_id: str) -> None:
        """Every file of the release is the one that was published, and none was added."""
        path = Path(self.releases_dir) / checked_release_id(release_id)
        faults = self.faults(release_id)
        if faults:
            raise InputError(
                f"Release {release_id} in {self.releases_dir} fails verification, {len(faults)} "
                f"fault(s): {'; '.join(faults)}. Restore it from a copy, or remove it (chmod -R "
                f"u+w {shlex.quote(str(path))} && rm -r {shlex.quote(str(path))}) and publish "
                f"again."
            )

    def latest(self, year: int | None = None) -> Path | None:
        """The folder of the release published last (of ``year``); None when there is none yet."""
        link = Path(self.releases_dir) / (LATEST if year is None else f"{LATEST}-{year:04d}")
        if not os.path.lexists(link):
            return None
        _refuse_foreign_links(link.parent, (link.name,))
        path = link.parent / checked_release_id(os.readlink(link))
        if not path.is_dir():
            raise InputError(
                f"{link} names {path.name}, but there is no such release in {link.parent}. "
                f"Restore it from a copy, or publish again."
            )
        return path

    def read_manifest(self, release_id: str) -> Manifest:
        """The manifest of a release; ``verify`` says whether its files are still those."""
        path = Path(self.releases_dir) / checked_release_id(release_id) / MANIFEST_FILE
        return read_manifest(_text_of(path), where=str(path))


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


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turn a refusal of the file system that the user can lift into an InputError."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise InputError(
            f"{doing}: {REFUSALS[error.errno]}, then try again. Releases published before are as "
            f"they were. (At {error.filename or 'a file being written'}: {error.strerror})"
        ) from error


@contextlib.contextmanager
def _locked(folder: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it when its holder dies."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        deadline = time.monotonic() + timeout_s
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise InputError(
                    f"Another process has been publishing in {folder} for {timeout_s:g} seconds "
                    f"(it holds {folder / LOCK}). Wait for it or end it, then publish again; or "
                    f"raise lock_timeout_s."
                )
            time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_rubbish(folder: Path) -> None:
    """What killed publishers left. Only with the lock held: then no other one is at work."""
    for path in folder.glob(f"{STAGING}*"):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    path.chmod(stat.S_IRWXU)
    shutil.rmtree(path)


def _refuse_foreign_links(folder: Path, links: tuple[str, ...]) -> None:
    for link in links:
        if os.path.lexists(folder / link) and not (folder / link).is_symlink():
            raise InputError(
                f"{folder / link} is a file or folder of its own, where a link to a release "
                f"belongs. Move it away, then publish again."
            )


def _create(
    path: Path,
    *,
    contents: ReleaseContents,
    tables: Mapping[str, pl.DataFrame],
    texts: Mapping[str, ReleaseText],
) -> None:
    """Write, read back, seal and rename into place; on any failure nothing is left."""
    files = dict(contents.files)
    files |= {n: (t if isinstance(t, str) else t(path)).encode() for n, t in texts.items()}
    digests = {file: sha256(content) for file, content in files.items()}
    files[CHECKSUMS_FILE] = checksum_lines(digests).encode()
    staging = path.parent / f"{STAGING}{uuid.uuid4().hex}"
    try:
        staging.mkdir()
        for file, content in files.items():
            _write(staging / file, content)
        _refuse_unlike(staging, files=files, tables=tables)
        os.chmod(staging, staging.stat().st_mode & ~WRITE_BITS)
        _flush_folder(staging)
        os.rename(staging, path)
    except BaseException:
        # The first failure is the one to report; the next publication removes what stays.
        with contextlib.suppress(OSError):
            _remove(staging)
        raise
    _flush_folder(path.parent)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), os.fstat(file.fileno()).st_mode & ~WRITE_BITS)
        os.fsync(file.fileno())


def _refuse_unlike(
    staging: Path, *, files: Mapping[str, bytes], tables: Mapping[str, pl.DataFrame]
) -> None:
    """Read everything back: the bytes are those meant, and the tables are equal to the given."""
    unlike = [
        f for f, content in files.items() if sha256((staging / f).read_bytes()) != sha256(content)
    ]
    for name, table in tables.items():
        read = pl.read_parquet(BytesIO((staging / table_file(name)).read_bytes()))
        if read.schema != table.schema or read.height != table.height or not read.equals(table):
            unlike.append(table_file(name))
    if unlike:
        raise InputError(
            f"{len(unlike)} files read back from {staging.parent} are not what was written: "
            f"{', '.join(sorted(set(unlike)))}. Nothing was published. Check that disk, or set "
            f"another releases_dir."
        )


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_link(link: Path, *, target: str) -> None:
    """Point ``link`` to its sibling ``target`` in one step."""
    if link.is_symlink() and os.readlink(link) == target:
        return
    new = link.parent / f"{STAGING}{uuid.uuid4().hex}"
    try:
        os.symlink(target, new)
        os.rename(new, link)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(new)
        raise
    _flush_folder(link.parent)


def _faults(path: Path) -> list[str]:
    """What is wrong with the release at ``path``, one sentence a file."""
    if path.is_symlink() or not path.is_dir():
        return [f"{path.name} is not a folder" if os.path.lexists(path) else "it is not there"]
    try:
        listed = read_checksums(_text_of(path / CHECKSUMS_FILE), where=CHECKSUMS_FILE)
    except InputError as error:
        return [str(error)]
    present = {entry.name for entry in path.iterdir()} - {CHECKSUMS_FILE}
    faults = [f"{name} was added" for name in sorted(present - set(listed))]
    for file, digest in listed.items():
        fault = _file_fault(path / file, digest=digest)
        faults += [fault] if fault else []
    return faults or _manifest_faults(path, listed)


def _file_fault(file: Path, *, digest: str) -> str | None:
    if not os.path.lexists(file):
        return f"{file.name} is missing"
    if file.is_symlink() or not file.is_file():
        return f"{file.name} is not a plain file"
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found == digest:
        return None
    return f"{file.name} was changed (sha256 {found[:12]}..., published as {digest[:12]}...)"


def _manifest_faults(path: Path, listed: Mapping[str, str]) -> list[str]:
    """Whether the manifest, the tables and the id agree, once all digests do."""
    needed = {MANIFEST_FILE, DICTIONARY_FILE} - set(listed)
    if needed:
        return [f"{file} is not in {CHECKSUMS_FILE}" for file in sorted(needed)]
    try:
        manifest = read_manifest(_text_of(path / MANIFEST_FILE), where=MANIFEST_FILE)
    except InputError as error:
        return [str(error)]
    faults = []
    for table in manifest.tables:
        if listed.get(table.file) != table.sha256:
            faults.append(f"{table.file} is not the file that {MANIFEST_FILE} names")
        elif _shape(path / table.file) != (table.rows, table.columns):
            faults.append(f"{table.file} has not the rows and columns that {MANIFEST_FILE} says")
    data = [*(table.file for table in manifest.tables), DICTIONARY_FILE]
    if not faults and release_id(manifest, digests={f: listed[f] for f in data}) != path.name:
        faults.append(f"{MANIFEST_FILE} and the data files give another id than {path.name}")
    return faults


def _shape(file: Path) -> tuple[int, int]:
    lazy = pl.scan_parquet(file, glob=False)
    return lazy.select(pl.len()).collect().item(), len(lazy.collect_schema())


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing. Restore the release from a copy, or remove its folder and publish "
            f"again."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text (byte {error.start} is not UTF-8).") from error

"""Releases in a local folder: a lock, renames and symbolic links.

    folder/
        2022-0123456789ab/     a release: read-only, never changed afterwards
        latest-2022 -> ...     the release of that year published last
        latest -> ...          the release published last
        .lock                  held while a release is published, pointed to or removed
        .staging-*             a publication or removal in progress, or what a killed one left

A release is written under ``.staging-*``, flushed, read back, sealed (no write bit) and renamed
into place. It is removed the other way round: renamed to ``.staging-*``, then deleted. So a
folder named like a release is a whole release at every moment. The kernel lets go of the lock
when its holder dies; whoever gets it next is alone and can remove every ``.staging-*``.
"""

import contextlib
import errno
import fcntl
import os
import shlex
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.checksums import sha256
from l0_pipeline.logic.release.names import RELEASE_ID

LOCK = ".lock"
STAGING = ".staging-"
LOCK_POLL_S = 0.05
WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

REFUSALS = {
    errno.ENOSPC: "the disk is full. Free space there",
    errno.EDQUOT: "the disk quota is used up. Free space there or have the quota raised",
    errno.EACCES: "permission is denied. Give this user access to it",
    errno.EPERM: "permission is denied. Give this user access to it",
    errno.EROFS: "the file system is read-only. Mount it writable or set another location",
    errno.ENOENT: "a file or folder is not there. Let nothing else change that folder",
    errno.ENOTDIR: "a part of the path is a file. Set another location",
    errno.EEXIST: "a file stands where a folder is needed. Set another location",
}


@dataclass(frozen=True)
class LocalStorage:
    """A folder of releases."""

    folder: Path
    lock_timeout_s: float

    def address(self, release_id: str) -> str:
        """The path of the release."""
        return str(self.folder / release_id)

    def release_ids(self) -> list[str]:
        """Every release there is."""
        if not self.folder.is_dir():
            return []
        paths = self.folder.iterdir()
        return [p.name for p in paths if RELEASE_ID.fullmatch(p.name) and _is_folder(p)]

    def files(self, release_id: str) -> dict[str, int | None]:
        """The files of a release with their bytes, None for no plain file; empty without it."""
        path = self.folder / release_id
        return dict(_files(path, at="")) if _is_folder(path) else {}

    def read(self, release_id: str, file: str) -> bytes:
        """One file of a release."""
        return (self.folder / release_id / file).read_bytes()

    @contextlib.contextmanager
    def using(self, release_id: str) -> Iterator[None]:  # noqa: ARG002 one lock for all
        """Hold the lock of the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            for path in self.folder.glob(f"{STAGING}*"):
                _delete(path)
            yield

    def claim(self, release_id: str, manifest: bytes) -> bytes:  # noqa: ARG002
        """``manifest`` itself: with the lock held there is no other publisher."""
        return manifest

    def create(self, release_id: str, files: Mapping[str, bytes]) -> None:
        """Write, read back, seal and rename into place; on any failure nothing is left."""
        staging = self._staging()
        try:
            staging.mkdir()
            for folder in {(staging / file).parent for file in files} - {staging}:
                folder.mkdir()
            for file, content in files.items():
                _write(staging / file, content)
            _refuse_unlike(staging, files)
            for folder in [path for path in staging.iterdir() if path.is_dir()] + [staging]:
                os.chmod(folder, folder.stat().st_mode & ~WRITE_BITS)
                _flush_folder(folder)
            os.rename(staging, self.folder / release_id)
        except BaseException:
            # The first failure is the one to report; the next publication removes what stays.
            with contextlib.suppress(OSError):
                _delete(staging)
            raise
        _flush_folder(self.folder)

    def remove(self, release_id: str, *, unless: Callable[[], bool]) -> bool:
        """Rename the release away, then delete it."""
        with self._locked():
            if unless() or not self.files(release_id):
                return False
            staging = self._staging()
            os.rename(self.folder / release_id, staging)
            _flush_folder(self.folder)
            _delete(staging)
            return True

    def pointer(self, name: str) -> str | None:
        """What the link ``name`` leads to; None without it."""
        link = self.folder / name
        if link.is_symlink():
            return os.readlink(link)
        if os.path.lexists(link):
            raise InputError(
                f"{link} is a file or folder of its own, where a link to a release belongs. Move "
                f"it away, then try again."
            )
        return None

    def point(self, name: str, release_id: str) -> None:
        """Rename a new link to the place of the old one."""
        new = self._staging()
        try:
            os.symlink(release_id, new)
            os.rename(new, self.folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                _delete(new)
            raise
        _flush_folder(self.folder)

    def how_to_remove(self, release_id: str) -> str:
        """A release has no write bit, so removing one needs it back."""
        path = shlex.quote(self.address(release_id))
        return f"chmod -R u+w {path} && rm -r {path}"

    @contextlib.contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Turn a refusal of the file system that the user can lift into an InputError."""
        try:
            yield
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            raise InputError(
                f"{doing}: {REFUSALS[error.errno]}, then try again. Releases published before are "
                f"as they were. (At {error.filename or 'a file being written'}: {error.strerror})"
            ) from error

    def _staging(self) -> Path:
        return self.folder / f"{STAGING}{uuid.uuid4().hex}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            deadline = time.monotonic() + self.lock_timeout_s
            while not _try_lock(descriptor):
                if time.monotonic() >= deadline:
                    raise InputError(
                        f"Another process has been publishing in {self.folder} for "
                        f"{self.lock_timeout_s:g} seconds (it holds {self.folder / LOCK}). Wait "
                        f"for it or end it, then try again; or raise lock_timeout_s."
                    )
                time.sleep(LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _files(folder: Path, *, at: str) -> Iterator[tuple[str, int | None]]:
    """Every file below ``folder``; an empty folder counts as one, since nobody published it."""
    for path in folder.iterdir():
        if _is_folder(path) and any(path.iterdir()):
            yield from _files(path, at=f"{at}{path.name}/")
        else:
            plain = path.is_file() and not path.is_symlink()
            yield at + path.name, path.stat().st_size if plain else None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _delete(path: Path) -> None:
    """Delete a file, a link itself, or a folder with all that is sealed in it."""
    if not _is_folder(path):
        path.unlink()
        return
    path.chmod(stat.S_IRWXU)
    for inner in list(path.iterdir()):
        _delete(inner)
    path.rmdir()


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), os.fstat(file.fileno()).st_mode & ~WRITE_BITS)
        os.fsync(file.fileno())


def _refuse_unlike(staging: Path, files: Mapping[str, bytes]) -> None:
    """Read everything back: the bytes are those meant."""
    unlike = [
        file
        for file, content in files.items()
        if sha256((staging / file).read_bytes()) != sha256(content)
    ]
    if unlike:
        raise InputError(
            f"{len(unlike)} files read back from {staging.parent} are not what was written: "
            f"{', '.join(sorted(unlike))}. Nothing was published. Check that disk, or set another "
            f"location."
        )


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

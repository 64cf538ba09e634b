"""Releases on object storage, which knows no rename and no lock, through fsspec.

    location/
        2022-0123456789ab/...         a release, once its SHA256SUMS is there
        latest-2022, latest           each an object that holds a release id
        .using-<id>-*                 the mark of a publication or rollback in progress
        .removing-<id>-*              the mark of a removal in progress

Why readers never see half a release, whoever is killed and whatever fails:

1. One object is written whole or not at all, and what was written is read and listed at once;
   Amazon S3, Google Cloud Storage and Azure promise that.
2. The bytes of a release follow from its tables and its manifest. The manifest goes first and is
   created exclusively. Whoever finds one already there goes on with its time and its
   comparison, so that publishers of one id at the same moment write the same bytes.
3. Every file is read back before SHA256SUMS, the last, makes the objects a release; only then
   do pointers move. Removing goes the other way: SHA256SUMS first, the manifest last.
4. Who uses a release first marks it and then looks for removals; who removes one first marks it
   and then looks for users. So at least one of the two sees the other: the user waits, the
   remover leaves it. Each mark is an object of its own name, so nobody takes away another's.
5. A mark older than ``abandoned_after_s`` is dead. Its owner has stopped before: it writes and
   deletes nothing after half of that time. Ages are differences of the storage's own clock.

Two publications at the same moment may leave either one's release in ``latest``.
"""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.names import CHECKSUMS_FILE, MANIFEST_FILE, RELEASE_ID
from l0_pipeline.resources.object_files import ObjectFiles

USING = ".using-"
REMOVING = ".removing-"
POLL_S = 0.2


class ObjectStorage:
    """Releases below one address of object storage."""

    def __init__(self, location: str, *, abandoned_after_s: float, lock_timeout_s: float) -> None:
        self.objects = ObjectFiles(location)
        self.abandoned_after = timedelta(seconds=abandoned_after_s)
        self.lock_timeout_s = lock_timeout_s
        self._held: dict[str, float] = {}  # own marks, and when to give up

    def address(self, release_id: str) -> str:
        """The address of the release."""
        return f"{self.objects.location}/{release_id}"

    def release_ids(self) -> list[str]:
        """Every release there is."""
        return [release_id for release_id, files in self._found().items() if _is_whole(files)]

    def files(self, release_id: str) -> dict[str, int | None]:
        """The files of a release with their bytes; empty without SHA256SUMS."""
        files = self.objects.sizes(release_id)
        return dict(files) if _is_whole(files) else {}

    def read(self, release_id: str, file: str) -> bytes:
        """One file of a release."""
        content = self.objects.read(f"{release_id}/{file}")
        if content is None:
            raise FileNotFoundError(f"{self.address(release_id)}/{file} is not there")
        return content

    @contextlib.contextmanager
    def using(self, release_id: str) -> Iterator[None]:
        """Mark the release as used, wait until nobody removes it, and tidy."""
        with self._marked(USING, release_id) as now:
            self._await_removal(release_id, now)
            self._remove_rubbish(now)
            yield

    def claim(self, release_id: str, manifest: bytes) -> bytes:
        """Create the manifest, or find that of another publisher, killed or at work."""
        self._refuse_late()
        self.objects.create(f"{release_id}/{MANIFEST_FILE}", manifest)
        return self.read(release_id, MANIFEST_FILE)

    def create(self, release_id: str, files: Mapping[str, bytes]) -> None:
        """Write what is not yet there, read everything back, then commit with SHA256SUMS."""
        data = {file: content for file, content in files.items() if file != CHECKSUMS_FILE}
        for file, content in data.items():
            if file != MANIFEST_FILE:
                self._put(f"{release_id}/{file}", content)
        self._refuse_unlike(release_id, data)
        added = sorted(set(self.objects.sizes(release_id)) - set(files))
        if added:
            raise InputError(
                f"{self.address(release_id)} holds {len(added)} files that are not of this "
                f"release: {', '.join(added)}. Remove them, then publish again."
            )
        self._put(f"{release_id}/{CHECKSUMS_FILE}", files[CHECKSUMS_FILE])
        self._refuse_unlike(release_id, {CHECKSUMS_FILE: files[CHECKSUMS_FILE]})

    def remove(self, release_id: str, *, unless: Callable[[], bool]) -> bool:
        """Mark the release as being removed; unless it is used, delete it object by object."""
        with self._marked(REMOVING, release_id) as now:
            if self._live_marks(USING, release_id, now) or unless():
                return False
            files = self.objects.sizes(release_id)
            for file in sorted(files, key=lambda f: (f == MANIFEST_FILE, f != CHECKSUMS_FILE)):
                self._refuse_late()
                self.objects.delete(f"{release_id}/{file}")
            return True

    def pointer(self, name: str) -> str | None:
        """The release id that the object ``name`` holds; None without it."""
        content = self.objects.read(name)
        return None if content is None else content.decode(errors="replace").removesuffix("\n")

    def point(self, name: str, release_id: str) -> None:
        """Write the pointer anew."""
        self._put(name, f"{release_id}\n".encode())

    def how_to_remove(self, release_id: str) -> str:
        """What to remove, in words: the tools differ."""
        return (
            f"delete {self.address(release_id)}/{CHECKSUMS_FILE}, then all else below that prefix"
        )

    @contextlib.contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Turn whatever the storage refuses into an InputError."""
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{doing}: {_reason(error)}, then try again. Releases published before are as "
                f"they were. ({type(error).__name__}: {error})"
            ) from error

    def _found(self) -> dict[str, dict[str, int]]:
        """Release id -> its objects, whole or not."""
        found: dict[str, dict[str, int]] = {}
        for name, size in self.objects.sizes().items():
            release_id, _, file = name.partition("/")
            if file and RELEASE_ID.fullmatch(release_id):
                found.setdefault(release_id, {})[file] = size
        return found

    def _put(self, name: str, content: bytes) -> None:
        self._refuse_late()
        self.objects.put(name, content)

    def _refuse_late(self) -> None:
        if _now() > min(self._held.values()):
            raise InputError(
                f"Given up at {self.objects.location}: this has taken longer than half of "
                f"abandoned_after_s ({self.abandoned_after.total_seconds():g} seconds), after "
                f"which others may take it for dead. Try again, or raise abandoned_after_s for "
                f"all who publish there."
            )

    def _refuse_unlike(self, release_id: str, files: Mapping[str, bytes]) -> None:
        unlike = [
            file
            for file, content in files.items()
            if self.objects.read(f"{release_id}/{file}") != content
        ]
        if unlike:
            raise InputError(
                f"{len(unlike)} files read back from {self.address(release_id)} are not what was "
                f"written: {', '.join(sorted(unlike))}. Nothing was published. Check that storage, "
                f"or set another location."
            )

    @contextlib.contextmanager
    def _marked(self, kind: str, release_id: str) -> Iterator[datetime]:
        """Hold a mark; gives the time at the storage."""
        name = f"{kind}{release_id}-{uuid.uuid4().hex}"
        self._held[name] = _now() + self.abandoned_after.total_seconds() / 2
        try:
            self._put(name, f"{release_id}\n".encode())
            now = self.objects.modified(name)
            if now is None:
                raise FileNotFoundError(f"{name} is gone as soon as it was written")
            yield now
        finally:
            del self._held[name]
            with contextlib.suppress(OSError):  # it dies of age
                self.objects.delete(name)

    def _live_marks(self, kind: str, release_id: str, now: datetime) -> list[str]:
        """The marks of others."""
        marks = [m for m in self.objects.sizes() if m.startswith(f"{kind}{release_id}-")]
        return [m for m in marks if m not in self._held and not self._is_old([m], now)]

    def _is_old(self, names: list[str], now: datetime) -> bool:
        """Whether even the newest of these objects, if it is still there, is of long ago."""
        times = [at for at in map(self.objects.modified, names) if at is not None]
        return all(now - at > self.abandoned_after for at in times)

    def _await_removal(self, release_id: str, now: datetime) -> None:
        deadline = time.monotonic() + self.lock_timeout_s
        while marks := self._live_marks(REMOVING, release_id, now):
            if time.monotonic() >= deadline:
                raise InputError(
                    f"Another process has been removing {self.address(release_id)} for "
                    f"{self.lock_timeout_s:g} seconds. Wait for it; if it was killed, delete its "
                    f"mark {self.objects.location}/{marks[0]}, then try again."
                )
            time.sleep(POLL_S)

    def _remove_rubbish(self, now: datetime) -> None:
        """What killed publishers and removers left long ago."""
        for release_id, files in self._found().items():
            if not _is_whole(files) and self._is_rubbish(release_id, now):
                self.remove(release_id, unless=partial(self._is_needed, release_id, now))
        for name in self.objects.sizes():
            if name.startswith((USING, REMOVING)) and self._is_old([name], now):
                self.objects.delete(name)

    def _is_needed(self, release_id: str, now: datetime) -> bool:
        return not self._is_rubbish(release_id, now)

    def _is_rubbish(self, release_id: str, now: datetime) -> bool:
        files = self.objects.sizes(release_id)
        return not _is_whole(files) and self._is_old([f"{release_id}/{f}" for f in files], now)


def _is_whole(files: Mapping[str, object]) -> bool:
    return CHECKSUMS_FILE in files


def _now() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "access is denied. Check the credentials in the environment and what they allow"
    if isinstance(error, FileNotFoundError):
        return "the bucket or the object is not there. Make the bucket, or set another location"
    return (
        "the storage refused or did not answer. Check the address, the endpoint and the "
        "credentials in the environment"
    )

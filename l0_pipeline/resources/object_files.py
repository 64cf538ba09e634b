"""Objects below one address of object storage, through fsspec: put, read, list, delete.

Nothing is cached. Whatever a driver raises comes out as an OSError; what objects mean is in
``object_storage.py``.
"""

import errno
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from l0_pipeline.logic.errors import InputError

T = TypeVar("T")

EXTRAS = {"s3": "pip install 'l0-pipeline[s3]'", "s3a": "pip install 'l0-pipeline[s3]'"}


class ObjectFiles:
    """The objects below ``location``, each called by the rest of its name."""

    def __init__(self, location: str) -> None:
        self.location = location.rstrip("/")
        self._system, root = _file_system(self.location)
        self._root = root.rstrip("/")

    def put(self, name: str, content: bytes) -> None:
        """Write one object, whole or not at all, in place of what was there."""
        _told(self._system.pipe_file, self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Write one object unless there is one; whether it was written."""
        try:
            _told(self._system.pipe_file, self._path(name), content, mode="create")
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """The bytes of one object; None when it is not there."""
        try:
            return bytes(_told(self._system.cat_file, self._path(name)))
        except FileNotFoundError:
            self.sizes(name)  # a bucket that is not there raises here
            return None

    def delete(self, name: str) -> None:
        """Remove one object; one that is gone is removed."""
        try:
            _told(self._system.rm_file, self._path(name))
        except FileNotFoundError:
            return

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Every object below ``folder``, by the rest of its name, with its bytes."""
        path = self._path(folder) if folder else self._root
        found: dict[str, dict[str, Any]] = _told(self._system.find, path, detail=True)
        start = len(path) + 1
        return {name[start:]: int(entry["size"]) for name, entry in found.items()}

    def modified(self, name: str) -> datetime | None:
        """When an object was written, by the storage's clock; None when it is not there."""
        try:
            at: datetime = _told(self._system.modified, self._path(name))
        except FileNotFoundError:
            return None
        return at

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _file_system(location: str) -> tuple[Any, str]:
    import fsspec  # type: ignore[import-untyped]

    protocol = location.partition("://")[0]
    try:
        system, root = fsspec.url_to_fs(location, use_listings_cache=False)
    except ImportError as error:
        remedy = EXTRAS.get(protocol, f"install the package that fsspec needs for {protocol}://")
        raise InputError(
            f"Releases at {location} need a package that is not installed: {remedy}. ({error})"
        ) from error
    except OSError as error:
        raise InputError(f"{location} cannot be reached: {error}.") from error
    except ValueError as error:
        raise InputError(
            f"{location} is no address that fsspec knows: give a local folder, or an address such "
            f"as s3://bucket/prefix. ({error})"
        ) from error
    return system, str(root)


def _told(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """``call``, whose driver may raise errors of its own kinds."""
    try:
        return call(*arguments, **options)
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error

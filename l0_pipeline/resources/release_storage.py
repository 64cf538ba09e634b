"""What the release store asks of the place where releases lie: a local folder or object storage.

Both kinds keep two laws: a release that ``release_ids`` lists is whole, and while ``using`` one
nobody removes it. What a release consists of, and when it is sound, is not decided here.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

LATEST = "latest"  # the pointer to the release published last; ``latest-<year>`` to that of a year


class ReleaseStorage(Protocol):
    """A place for releases and for pointers to them."""

    def address(self, release_id: str) -> str:
        """Where the release lies, as Polars, pandas and a shell understand it."""

    def release_ids(self) -> list[str]:
        """Every release there is."""

    def files(self, release_id: str) -> dict[str, int | None]:
        """The files of a release with their bytes, None for no plain file; empty without it."""

    def read(self, release_id: str, file: str) -> bytes:
        """One file of a release."""

    def using(self, release_id: str) -> AbstractContextManager[None]:
        """Remove what killed publishers left; meanwhile nobody else removes this release."""

    def claim(self, release_id: str, manifest: bytes) -> bytes:
        """The manifest that the release must have: this one, or that of another publisher.

        Only while ``using`` the release, and only when there is none.
        """

    def create(self, release_id: str, files: Mapping[str, bytes]) -> None:
        """Make the claimed release, whole or not at all; SHA256SUMS is the last of its files."""

    def remove(self, release_id: str, *, unless: Callable[[], bool]) -> bool:
        """Remove a release that nobody uses, ``unless`` that says no; whether it was done.

        ``unless`` is asked when nobody can begin to use the release any more.
        """

    def pointer(self, name: str) -> str | None:
        """What ``latest`` or the like says; None without it."""

    def point(self, name: str, release_id: str) -> None:
        """Make a pointer name another release, in one step."""

    def how_to_remove(self, release_id: str) -> str:
        """What to type to remove a damaged release."""

    def explained(self, doing: str) -> AbstractContextManager[None]:
        """Turn a refusal of the place, that the user can lift, into an InputError."""

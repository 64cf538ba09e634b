"""One DuckDB file that is read while it is written: a writer changes a copy and puts it in place.

Readers keep the version that they opened and hold no writer up; writers take turns. What tables
the file holds is in ``warehouse_tables``.

Locks: DuckDB marks an open file by a POSIX lock, shared for reading, exclusive for writing. Such
a lock is lost when its process closes any descriptor of the file, so a writer keeps the one that
it copies from open until the copy is in place. Writers keep each other out by ``flock`` on a file
of its own, which is not replaced.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from l0_pipeline.logic.errors import InputError

_RETRY_SECONDS = 0.05
# in DuckDB's refusal of a log whose changes the file has had since
_OLD_LOG = "WAL was created for an older version of this database"


@contextmanager
def reading(path: Path, *, wait_seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the file as it is now.

    Args:
        path: the DuckDB file.
        wait_seconds: how long to wait where somebody has the file open for writing.

    Raises:
        InputError: the file does not exist, is no DuckDB file, or stayed open for writing.
    """
    connection = _wait_for(path, wait_seconds=wait_seconds)
    try:
        yield connection
    finally:
        _detach(connection)


@contextmanager
def writing(path: Path, *, wait_seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose changes are put in place together at the end, or none of them.

    A process that ends in the middle leaves a copy behind, which the next writer removes. One that
    ends after the copy is in place may leave the log of the earlier file, which it has taken in;
    DuckDB refuses the file with it, and whoever opens it next through here removes the log.

    Args:
        path: the DuckDB file; made, with its folder, where there is none.
        wait_seconds: how long to wait for another writer.

    Raises:
        InputError: another writer did not end in time, somebody has the file open for writing, it
            is no DuckDB file, or the disk or DuckDB refused the change.
    """
    place = path.resolve()  # a link stays a link
    copy = place.with_name(f"{place.name}.new")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _turn(place, wait_seconds=wait_seconds):
            _remove(copy)
            if _log(place).exists():
                _remove_old_log(place)
            try:
                with _copied(place, copy, wait_seconds=wait_seconds):
                    with _changed_whole(copy) as connection:
                        yield connection
                    _put_in_place(copy, place)
            finally:
                _remove(copy)
    except duckdb.Error as refused:
        raise InputError(f"The warehouse {path} is unchanged: {refused}") from refused
    except OSError as refused:
        raise InputError(
            f"The warehouse {path} cannot be written and is unchanged: {refused.filename or copy}: "
            f"{refused.strerror}. Make room or give access there, or choose another path."
        ) from refused


def _attach(path: Path, mode: str) -> duckdb.DuckDBPyConnection:
    # not connect(path): within one process that returns the version opened before, if any is open
    connection = duckdb.connect()
    try:
        connection.execute(f"attach $path as warehouse ({mode})", {"path": str(path)})
        connection.execute("use warehouse")
    except BaseException:
        connection.close()
        raise
    return connection


def _detach(connection: duckdb.DuckDBPyConnection) -> None:
    # a relation that the caller still holds would keep a file open that is only closed
    connection.execute("use memory")
    connection.execute("detach warehouse")
    connection.close()


def _wait_for(path: Path, *, wait_seconds: float) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return _opened(path)
        except duckdb.Error as refused:
            passes = _who_writes(refused) or _is_old_log(refused)
            if not passes or time.monotonic() >= deadline:
                raise _cannot_open(path, refused) from refused
        time.sleep(_RETRY_SECONDS)


def _opened(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        return _attach(path, "read_only")
    except duckdb.Error as refused:
        if not _is_old_log(refused):
            raise
    place = path.resolve()
    # whoever has the turn removes the log; a reader may lack the right to
    with suppress(InputError, OSError), _turn(place, wait_seconds=0):
        _remove_old_log(place)
    return _attach(path, "read_only")


def _is_old_log(refused: duckdb.Error) -> bool:
    return _OLD_LOG in str(refused)


def _remove_old_log(place: Path) -> None:
    """Only in one's turn: with the log there nobody else can open the file, so it stays old."""
    try:
        _detach(_attach(place, "read_only"))
    except duckdb.Error as refused:
        if _is_old_log(refused):
            _log(place).unlink(missing_ok=True)


def _who_writes(refused: duckdb.Error) -> str:
    if isinstance(refused, duckdb.ResourceInUseException):
        return "This process"
    return "Another process" if "Could not set lock" in str(refused) else ""


def _cannot_open(path: Path, refused: duckdb.Error) -> InputError:
    if held := _who_writes(refused):
        move = (
            f"{held} has the file open for writing: close it there, its changes are kept. "
            f"To look at tables while builds run, open the file read-only."
        )
    elif _is_old_log(refused):
        move = (
            f"The file has what is in the log {_log(path.resolve())}, which a writer that was "
            f"killed left. Leave the file where it is and move the log away."
        )
    else:
        move = (
            "If it is not a DuckDB file, or a newer version wrote it, move it away or choose "
            "another path: the warehouse is rebuilt from data/figures."
        )
    return InputError(f"The warehouse {path} cannot be opened: {refused} {move}")


@contextmanager
def _turn(place: Path, *, wait_seconds: float) -> Iterator[None]:
    """One writer at a time, over all processes; the lock is let go when a process ends."""
    deadline = time.monotonic() + wait_seconds
    lock = place.with_name(f"{place.name}.lock")
    with lock.open("a+", encoding="utf-8") as file:
        while not _locked(file.fileno()):
            if time.monotonic() >= deadline:
                file.seek(0)
                raise InputError(
                    f"The warehouse {place} cannot be written: {file.read() or 'somebody'} has "
                    f"not ended after {wait_seconds:g} s. Wait for that build or end it, then "
                    f"build again; or raise lock_wait_seconds."
                )
            time.sleep(_RETRY_SECONDS)
        file.truncate(0)
        file.write(f"process {os.getpid()}, writing since {datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z,")
        file.flush()
        try:
            yield
        finally:
            # closing alone would leave it with a child that was forked meanwhile
            fcntl.flock(file, fcntl.LOCK_UN)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _copied(place: Path, copy: Path, *, wait_seconds: float) -> Iterator[None]:
    """The file and its log copied; inside, nobody else can open the file for writing."""
    if not place.exists():
        yield
        return
    # DuckDB first: where this process has the file open, closing ours would lose the lock of that
    with reading(place, wait_seconds=wait_seconds), place.open("rb") as source:
        with copy.open("wb") as target:
            shutil.copyfileobj(source, target)
        shutil.copymode(place, copy)
        # what a process that was killed had committed, but not yet moved into the file
        if _log(place).exists():
            shutil.copy(_log(place), _log(copy))
        yield


@contextmanager
def _changed_whole(copy: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """One transaction, and after it a file without a log."""
    connection = _attach(copy, "read_write")
    try:
        connection.begin()
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
        connection.execute("checkpoint warehouse")
    finally:
        _detach(connection)


def _put_in_place(copy: Path, place: Path) -> None:
    _sync(copy)
    copy.replace(place)
    # the copy has what was in the log; should we end here, _remove_old_log goes on
    _log(place).unlink(missing_ok=True)
    _sync(place.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _log(database: Path) -> Path:
    return database.with_name(f"{database.name}.wal")


def _remove(copy: Path) -> None:
    copy.unlink(missing_ok=True)
    _log(copy).unlink(missing_ok=True)

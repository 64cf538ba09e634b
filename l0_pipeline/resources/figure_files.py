"""The bytes of a file of figures, and its rows as text. What a row may hold is not here."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from l0_pipeline.logic.errors import InputError


def read_bytes(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as refused:
        raise InputError(
            f"{path} cannot be read: {refused.strerror}. Check that the file exists and that "
            f"you may read it."
        ) from refused


def read_text(path: Path, *, columns: Sequence[str]) -> pl.DataFrame:
    """A CSV file as text columns; row i of the frame is line i + 2 of the file.

    Raises:
        InputError: the file is empty, is not UTF-8, or a row has another number of fields than
            the header; with file and line. ``columns`` are named to someone with an empty file.
    """
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as refused:
        line = content.count(b"\n", 0, refused.start) + 1
        raise InputError(
            f"{path}, line {line}: byte {content[refused.start]:#04x} is not UTF-8. "
            f"Save the file as CSV UTF-8."
        ) from refused
    if not text.strip():
        raise InputError(
            f"{path} is empty. Its first line must be {','.join(columns)}; or remove the file."
        )
    header, *rows = _split(text, path=path)
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise InputError(
            f"{path}, line 1: one field, {header[0][:60]!r}. Save the file with commas between "
            "fields."
        )
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise InputError(f"{path}, line 1: columns {repeated} appear more than once. Keep one.")
    fields = list(zip(*rows, strict=True)) or [()] * len(header)
    return pl.DataFrame(
        dict(zip(header, fields, strict=True)), schema=dict.fromkeys(header, pl.String)
    )


def read_parquet(path: Path) -> pl.DataFrame:
    """A Parquet file as text columns; row i of the frame is row i + 1 of the file.

    Raises:
        InputError: the file is not Parquet, or a column holds no plain values.
    """
    try:
        table = pl.read_parquet(io.BytesIO(read_bytes(path)))
    except pl.exceptions.PolarsError as refused:
        raise InputError(
            f"{path}: not readable as Parquet ({refused}). Write the file again."
        ) from refused
    nested = [name for name, kind in table.schema.items() if kind.is_nested() or kind == pl.Binary]
    if nested:
        raise InputError(
            f"{path}: columns {nested} hold no plain values. Write text and numbers, filters as "
            "one text such as 'agi >= 1 & agi < 5000'."
        )
    return table.with_columns(pl.all().cast(pl.String).fill_null(""))


def _split(text: str, *, path: Path) -> list[list[str]]:
    """Rows of equal length, one a line."""
    reader = csv.reader(io.StringIO(text.rstrip("\r\n"), newline=""), strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            rows.append(row)
            if len(row) != len(rows[0]):
                raise InputError(
                    f"{path}, line {reader.line_num}: {len(row)} fields, but the header has "
                    f"{len(rows[0])}. Put quotes around text that holds a comma."
                )
            if reader.line_num != len(rows):
                raise InputError(
                    f"{path}, line {len(rows)}: one row runs over several lines. "
                    f"Close its quotes, or write the text on one line."
                )
    except csv.Error as refused:
        raise InputError(
            f"{path}, line {reader.line_num}: not readable as CSV ({refused}). "
            f"Check the quotes on this line and before it."
        ) from refused
    return rows

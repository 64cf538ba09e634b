"""The folder of published figures: ``<figures_dir>/<year>/*.csv``, one file per publication.

Finds, reads and digests the files. What a row may hold is ``l0_pipeline.logic.figures``.
"""

import csv
import hashlib
import io
from collections.abc import Collection
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.figures import COLUMNS, combine_figures, validate_figures
from l0_pipeline.settings import FIGURES_DIR


class FiguresSource(dg.ConfigurableResource["FiguresSource"]):
    """Published figures by year, from CSV files that anybody can add to."""

    figures_dir: str = Field(
        default=str(FIGURES_DIR),
        description="Folder with one subfolder per year; each CSV file in it is one publication.",
    )

    def files(self, year: int) -> list[Path]:
        """The CSV files of a year, sorted by name; other files are not figures."""
        folder = Path(self.figures_dir) / str(year)
        if not folder.is_dir():
            raise InputError(
                f"{folder} is not a folder, so there are no figures for {year}; years at hand: "
                f"{_years(Path(self.figures_dir))}. Add the folder or choose one of these years."
            )
        found = sorted(path for path in folder.iterdir() if _is_csv(path))
        if not found:
            raise InputError(
                f"{folder} holds no .csv file, so there are no figures for {year}. "
                f"Add at least one file with the header {','.join(COLUMNS)}."
            )
        return found

    def digest(self, year: int) -> str:
        """SHA-256 over names and bytes of the year's files: the data version of the figures."""
        total = hashlib.sha256()
        for path in self.files(year):
            content = _bytes(path)
            total.update(f"{path.name}\0{len(content)}\0".encode())
            total.update(content)
        return total.hexdigest()

    def read(self, year: int, *, variables: Collection[str]) -> pl.DataFrame:
        """Every figure of a year, validated file by file and then across files."""
        return combine_figures(
            {
                str(path): validate_figures(
                    _read_text(path), file=str(path), variables=variables, year=year
                )
                for path in self.files(year)
            }
        )


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not path.name.startswith(".") and path.is_file()


def _years(figures_dir: Path) -> str:
    if not figures_dir.is_dir():
        return f"none ({figures_dir} does not exist)"
    names = sorted(p.name for p in figures_dir.iterdir() if p.is_dir() and p.name.isdecimal())
    return ", ".join(names) or "none"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as refused:
        raise InputError(
            f"{path} cannot be read: {refused.strerror}. Check that the file exists and that "
            f"you may read it."
        ) from refused


def _read_text(path: Path) -> pl.DataFrame:
    """The file as text columns; row i of the frame is line i + 2 of the file."""
    content = _bytes(path)
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
            f"{path} is empty. Its first line must be {','.join(COLUMNS)}; or remove the file."
        )
    header, *rows = _split(text, path=path)
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise InputError(f"{path}, line 1: columns {repeated} appear more than once. Keep one.")
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    return pl.DataFrame(
        dict(zip(header, columns, strict=True)), schema=dict.fromkeys(header, pl.String)
    )


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

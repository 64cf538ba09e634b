"""What a section is made of: prose, numbers, pictures, tables, code. How they look is not here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import polars as pl

from l0_pipeline.logic.report.pictures import Picture
from l0_pipeline.logic.report.words import Words, text

NARROW = 360  # points: three such pictures stand side by side
LONG = 20  # rows
WIDE = 5  # columns


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    kind: ClassVar[str] = "prose"
    said: str


@dataclass(frozen=True)
class Missing:
    """What is not in this release, and what to do about it."""

    kind: ClassVar[str] = "missing"
    said: str
    command: str = ""


@dataclass(frozen=True)
class Code:
    """Lines to type."""

    kind: ClassVar[str] = "code"
    lines: str


class Card(NamedTuple):
    """One number of the overview: what it is, what it means, what would be good."""

    label: str
    value: str
    meaning: str
    good: str
    reached: bool | None  # None: no limit is set


@dataclass(frozen=True)
class Cards:
    """The numbers of the overview."""

    kind: ClassVar[str] = "cards"
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Plate:
    """Pictures that are one figure, with one caption and the tables they are drawn from."""

    kind: ClassVar[str] = "plate"
    pictures: tuple[Picture, ...]
    caption: str
    tables: tuple[str, ...]

    @property
    def abreast(self) -> int:
        """Pictures side by side where the page is wide."""
        return 3 if len(self.pictures) == 3 and self.pictures[0].width < NARROW else 2


@dataclass(frozen=True)
class Table:
    """A table in words; a column of numbers stands to the right."""

    kind: ClassVar[str] = "table"
    caption: str
    tables: tuple[str, ...]
    headers: tuple[str, ...]
    right: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def wide(self) -> bool:
        """Whether a telephone shows only a part of it at once."""
        return len(self.headers) > WIDE

    @property
    def long(self) -> bool:
        """Whether it scrolls inside its box."""
        return len(self.rows) > LONG


@dataclass(frozen=True)
class Section:
    """One section of the report."""

    anchor: str
    title: str
    lead: str
    blocks: tuple[Prose | Missing | Code | Cards | Plate | Table, ...]


class Shown(NamedTuple):
    """A column of a frame as the report shows it."""

    column: str
    header: str
    words: Words = text


def table(
    frame: pl.DataFrame, shown: Sequence[Shown], *, caption: str, tables: Sequence[str]
) -> Table:
    """``frame`` in words."""
    columns = frame.select(column.column for column in shown)
    return Table(
        caption=caption,
        tables=tuple(tables),
        headers=tuple(column.header for column in shown),
        right=tuple(kind.is_numeric() for kind in columns.dtypes),
        rows=tuple(
            tuple(column.words(cell) for column, cell in zip(shown, row, strict=True))
            for row in columns.iter_rows()
        ),
    )


def build_first(asset: str, *, year: int, said: str) -> Missing:
    """What to do for a table that this release does not hold."""
    return Missing(
        f"{said} This release was published without the table {asset}. "
        "To have it, build it and publish the release again:",
        f"dagster asset materialize -m l0_pipeline.definitions --select {asset} --partition {year}",
    )

"""Published figures by year: the files of ``<figures_dir>/<year>``, and a table of the warehouse.

Finds, reads and digests them. What a row may hold is ``l0_pipeline.logic.figures``.
"""

import hashlib
from collections.abc import Collection
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from l0_pipeline.logic.ageing import GROWTH, age_figures, check_growth, without_growth
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.figure_findings import find
from l0_pipeline.logic.figures import COLUMNS, combine_figures, validate_figures
from l0_pipeline.resources.figure_files import read_bytes, read_parquet, read_text
from l0_pipeline.resources.warehouse import OWN_FIGURES, Warehouse
from l0_pipeline.settings import FIGURES_DIR, WAREHOUSE

_FORMATS = (".csv", ".parquet")
_GROWTH = "growth.csv"


class FiguresSource(dg.ConfigurableResource["FiguresSource"]):
    """Published figures by year, from files and a table that anybody can add to."""

    figures_dir: str = Field(
        default=str(FIGURES_DIR),
        description=(
            "Folder with one subfolder per year; each CSV or Parquet file in it is one publication."
        ),
    )
    database: str = Field(
        default=str(WAREHOUSE),
        description=f"DuckDB file whose table {OWN_FIGURES}, if there is one, is read as well.",
    )
    age_from: list[int] = Field(
        default=[],
        description=(
            "Years whose figures are brought to the target year by growth.csv where it has none of "
            "its own; none unless named. Where two of them have a figure, the first named is taken."
        ),
    )

    def digest(self, year: int) -> str:
        """SHA-256 over names and bytes of all that is read: the data version of the figures."""
        total = hashlib.sha256()
        for name, content in self._contents(year).items():
            total.update(f"{name}\0{len(content)}\0".encode())
            total.update(content)
        return total.hexdigest()

    def file_digests(self, year: int) -> dict[str, str]:
        """SHA-256 of each file, and of the rows of the table, that is read for a year."""
        return {
            name: hashlib.sha256(content).hexdigest()
            for name, content in self._contents(year).items()
        }

    def read(self, year: int, *, variables: Collection[str]) -> pl.DataFrame:
        """Every figure of a year, validated file by file and across files, aged ones last."""
        printed = self._printed(year, variables)
        if not self.age_from:
            return printed
        earlier = self._earlier(year, variables)
        return age_figures(printed, earlier, self._growth(variables), year=year)

    def without_growth(self, year: int, *, variables: Collection[str]) -> list[str]:
        """The variables of the years to age from that growth.csv has no series for."""
        if not self.age_from:
            return []
        return without_growth(self._earlier(year, variables), self._growth(variables), year=year)

    def ignored(self, year: int) -> list[str]:
        """Files in the folder of the year that are neither CSV nor Parquet nor text to read."""
        folder = Path(self.figures_dir) / str(year)
        return sorted(
            path.name
            for path in folder.iterdir()
            if not _holds_figures(path)
            and not path.name.startswith(".")
            and path.suffix.lower() not in (".md", ".txt")
        )

    def _printed(self, year: int, variables: Collection[str]) -> pl.DataFrame:
        """What was printed for the year itself."""
        figures = []
        for path in self._files(year):
            is_text = path.suffix.lower() == ".csv"
            found = validate_figures(
                read_text(path, columns=COLUMNS) if is_text else read_parquet(path),
                file=str(path),
                variables=variables,
                year=year,
                place="line" if is_text else "row",
            )
            figures.append(found.with_columns(file=pl.lit(f"{year}/{path.name}")))
        own = self._own(year)
        if own is not None:
            named = f"table {OWN_FIGURES} of {self.database}"
            figures.append(
                validate_figures(own, file=named, variables=variables, year=year, place="row")
            )
        return combine_figures(figures)

    def _earlier(self, year: int, variables: Collection[str]) -> dict[int, pl.DataFrame]:
        earlier = {other: self._printed(other, variables) for other in self._other_years(year)}
        for other, printed in earlier.items():
            faults = find(printed).filter(severity="error")
            if len(faults):
                first = "{file}, line {line}: {detail}".format_map(faults.row(0, named=True))
                raise InputError(
                    f"{len(faults)} figures of {other}, which are to be aged to {year}, cannot be "
                    f"right beside the others; the first is in {first} Mend them, or take {other} "
                    "out of age_from."
                )
        return earlier

    def _other_years(self, year: int) -> list[int]:
        if year in self.age_from:
            raise InputError(
                f"The figures of {year} cannot be aged to {year} itself: take {year} out of "
                f"age_from, which is {self.age_from}."
            )
        return self.age_from

    def _growth(self, variables: Collection[str]) -> pl.DataFrame:
        path = Path(self.figures_dir) / _GROWTH
        return check_growth(read_text(path, columns=GROWTH), file=str(path), variables=variables)

    def _files(self, year: int) -> list[Path]:
        """The CSV and Parquet files of a year, sorted by name; other files are not figures."""
        folder = Path(self.figures_dir) / str(year)
        if not folder.is_dir():
            raise InputError(
                f"{folder} is not a folder, so there are no figures for {year}; years at hand: "
                f"{_years(Path(self.figures_dir))}. Add the folder or choose one of these years."
            )
        found = sorted(path for path in folder.iterdir() if _holds_figures(path))
        if not found:
            raise InputError(
                f"{folder} holds no .csv or .parquet file, so there are no figures for {year}. "
                f"Add at least one with the columns {','.join(COLUMNS)}."
            )
        return found

    def _own(self, year: int) -> pl.DataFrame | None:
        return Warehouse(database=self.database).own_figures(year)

    def _contents(self, year: int) -> dict[str, bytes]:
        """All bytes that the year's figures are made of, by name."""
        contents = self._contents_of(year)
        for other in self._other_years(year):
            contents |= {f"{other}/{name}": of for name, of in self._contents_of(other).items()}
        if self.age_from:
            contents[_GROWTH] = read_bytes(Path(self.figures_dir) / _GROWTH)
        return contents

    def _contents_of(self, year: int) -> dict[str, bytes]:
        contents = {path.name: read_bytes(path) for path in self._files(year)}
        own = self._own(year)
        return contents if own is None else {**contents, OWN_FIGURES: own.write_csv().encode()}


def _holds_figures(path: Path) -> bool:
    return path.suffix.lower() in _FORMATS and not path.name.startswith(".") and path.is_file()


def _years(figures_dir: Path) -> str:
    if not figures_dir.is_dir():
        return f"none ({figures_dir} does not exist)"
    names = sorted(p.name for p in figures_dir.iterdir() if p.is_dir() and p.name.isdecimal())
    return ", ".join(names) or "none"

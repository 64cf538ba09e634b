"""The dictionary of variables: which column of the microdata each published variable is."""

import hashlib
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.measures import MEASURES
from l0_pipeline.logic.targets import check_variables
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.settings import FIGURES_DIR


class VariableDictionary(dg.ConfigurableResource["VariableDictionary"]):
    """One CSV row a variable: records, column, how close the definitions are, and why."""

    file: str = Field(
        default=str(FIGURES_DIR / "variables.csv"), description="Path of variables.csv."
    )

    def digest(self) -> str:
        """SHA-256 of the file's bytes."""
        return hashlib.sha256(self._path().read_bytes()).hexdigest()

    def read(self) -> pl.DataFrame:
        """The whole dictionary, checked against the measures that the microdata have."""
        path = self._path()
        try:
            table = pl.read_csv(path, infer_schema=False, empty_string_is_null=False)
        except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}: not readable as CSV in UTF-8 ({error}). Mend the file."
            ) from error
        return check_variables(table, file=str(path), columns=set(MEASURES))

    def _path(self) -> Path:
        path = Path(self.file)
        if not path.is_file():
            raise InputError(f"{path}: there is no such file. Restore the dictionary of variables.")
        return path


def figures_digest(figures: FiguresSource, dictionary: VariableDictionary, year: int) -> str:
    """SHA-256 over a year's figures and the dictionary, which gives them their meaning."""
    return hashlib.sha256(f"{figures.digest(year)}{dictionary.digest()}".encode()).hexdigest()

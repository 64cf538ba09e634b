"""Where the survey records come from: the taxcalc package, a Census archive or own tables.

This file finds, downloads and opens files. What their columns mean, and which rows are refused,
is in ``l0_pipeline.logic.microdata``.
"""

import gzip
import hashlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import dagster as dg
import polars as pl
from pydantic import Field

from l0_pipeline import settings
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata import own_tables, taxcalc_cps
from l0_pipeline.resources import asec_archive as archive

_OPTIONS: dict[str, tuple[str, ...]] = {
    "taxcalc": (),
    "asec": ("asec_archive",),
    "tables": ("households_file", "members_file", "members_income_year"),
}
_CHUNK = 1 << 20


class CpsSource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The survey records of one of three sources, and the digest of the files they lie in."""

    source: Literal["taxcalc", "asec", "tables"] = Field(
        default=settings.SOURCE,  # type: ignore[arg-type]
        description="taxcalc: the CPS file inside the installed taxcalc package. "
        "asec: the Census Bureau's asecpubYYcsv.zip. tables: your own Parquet files.",
    )
    asec_archive: str = Field(
        default=settings.ASEC_ARCHIVE,
        description="For asec: path or https address of asecpubYYcsv.zip, YY the survey year; "
        "incomes are those of the year before.",
    )
    households_file: str = Field(
        default=settings.HOUSEHOLDS_FILE,
        description="For tables: Parquet with household_id, design_weight and state_fips.",
    )
    members_file: str = Field(
        default=settings.MEMBERS_FILE,
        description="For tables: Parquet of tax units with household_id, MARS, XTOT, age_head "
        "and any other Tax-Calculator input column.",
    )
    members_income_year: int | None = Field(
        default=settings.MEMBERS_INCOME_YEAR,
        description="For tables: the year in which the members' incomes were received.",
        ge=2013,
        le=2100,
    )
    download_dir: str = Field(
        default=str(settings.DATA_DIR / "raw"),
        description="Folder in which downloaded archives are kept and found again.",
    )

    def files(self) -> list[Path]:
        """The files that ``read`` reads, in the order of ``digest``.

        An https archive that is not yet in ``download_dir`` is downloaded first.
        """
        self._check_options()
        if self.source == "taxcalc":
            return [_taxcalc_file()]
        if self.source == "asec":
            return [archive.locate(self.asec_archive, download_dir=Path(self.download_dir))]
        return [
            _existing(self.households_file, option="households_file"),
            _existing(self.members_file, option="members_file"),
        ]

    def is_remote(self) -> bool:
        """Whether reading may download."""
        return self.source == "asec" and "://" in self.asec_archive

    def digest(self) -> str:
        """SHA-256 over the bytes of the files, one after the other."""
        digest = hashlib.sha256()
        for path in self.files():
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        return digest.hexdigest()

    def read(self) -> pl.DataFrame:
        """The raw extract: the source's own columns, after a first column ``source``."""
        files = self.files()
        if self.source == "taxcalc":
            return _read_taxcalc(files[0])
        if self.source == "asec":
            return archive.read(files[0], name=archive.name_of(self.asec_archive))
        households, members = (_read_parquet(path) for path in files)
        income_year = self.members_income_year
        if income_year is None:
            raise InputError(
                "cps_source: members_income_year is not set, but source 'tables' needs it. "
                "Set it to the year in which the members' incomes were received."
            )
        return own_tables.join(
            households,
            members,
            income_year=income_year,
            files=(str(files[0]), str(files[1])),
        )

    def _check_options(self) -> None:
        """Every option of the chosen source is set, and none of another."""
        for source, options in _OPTIONS.items():
            for option in options:
                value = getattr(self, option)
                given = value not in ("", None)
                if given and source != self.source:
                    raise InputError(
                        f"cps_source: {option} is set to {value!r}, but source is "
                        f"{self.source!r}, which does not use it. "
                        f"Set source to {source!r} or leave {option} out."
                    )
                if not given and source == self.source:
                    raise InputError(
                        f"cps_source: source {source!r} needs {option}, which is not set. "
                        f"Set {', '.join(options)}."
                    )


def _taxcalc_file() -> Path:
    """Found without importing the package, which takes seconds."""
    spec = importlib.util.find_spec("taxcalc")
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise InputError(
            "cps_source: the package taxcalc is not installed, and source 'taxcalc' reads its "
            "CPS file. Run pip install taxcalc, or set source to 'asec' or 'tables'."
        )
    return _existing(str(Path(folders[0]) / "cps.csv.gz"), option="the taxcalc package")


def _existing(text: str, *, option: str) -> Path:
    path = Path(text)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path}: the file of {option} {found}. Give the path of a file.")
    return path


def _read_taxcalc(path: Path) -> pl.DataFrame:
    def parse() -> pl.DataFrame:
        return pl.read_csv(gzip.decompress(path.read_bytes()), infer_schema_length=1000)

    remedy = "Reinstall taxcalc (pip install --force-reinstall taxcalc)"
    raw = _opened(path, parse, kind="a gzipped csv", remedy=remedy)
    taxcalc_cps.check(raw, file=str(path))
    return raw.select(pl.lit(taxcalc_cps.SOURCE).alias("source"), pl.all())


def _read_parquet(path: Path) -> pl.DataFrame:
    def parse() -> pl.DataFrame:
        return pl.read_parquet(path, glob=False, hive_partitioning=False)

    return _opened(path, parse, kind="a Parquet file", remedy="Write it again as Parquet")


def _opened(
    path: Path, parse: Callable[[], pl.DataFrame], *, kind: str, remedy: str
) -> pl.DataFrame:
    try:
        return parse()
    except (OSError, EOFError, pl.exceptions.PolarsError) as error:
        reason = re.sub(r"\s+", " ", str(error))[:200]
        size = path.stat().st_size
        raise InputError(
            f"{path}: {size} bytes that cannot be read as {kind} ({reason}). "
            f"It may be cut short. {remedy}."
        ) from error

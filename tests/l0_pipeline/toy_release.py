"""A release of two small tables, some files and some texts, to be published anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from l0_pipeline.logic.release.checksums import sha256
from l0_pipeline.logic.release.contents import ReleaseText
from l0_pipeline.logic.release.dictionary import TableDescription, data_dictionary
from l0_pipeline.logic.release.licence import licence_of
from l0_pipeline.logic.release.manifest import PACKAGES, InputFiles, ManifestDraft, Settings
from l0_pipeline.resources.release_store import PublishedRelease, ReleaseStore

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DIGEST = sha256(b"anything")
FILES = {"taxcalc/cps.csv.gz": b"\x1f\x8b", "taxcalc/variables.json": b"{}", "data.h5": b"h5"}
TEXTS: Mapping[str, ReleaseText] = {
    "summary.txt": lambda heading: (
        f"Release {heading.release_id} at {heading.manifest.created_at} "
        f"after {heading.manifest.compared_with}\n"
    ),
    "report.md": "# Report\n",
    "evidence/fit.svg": "<svg/>",
}


@dataclass(frozen=True)
class Described:
    name: str
    dtype: object
    unit: str | None
    description: str


def tables(rows: int = 3) -> dict[str, pl.DataFrame]:
    numbers = list(range(1, rows + 1))
    weights = pl.DataFrame({"household_id": numbers, "weight": [x * 0.1 for x in numbers]})
    return {"households": weights, "weights": weights}


def draft(*, seed: int = 0, year: int = 2022) -> ManifestDraft:
    return ManifestDraft(
        year=year,
        title="Sparse CPS dataset",
        source=InputFiles(name="taxcalc", digest=DIGEST, files={"cps.csv.gz": DIGEST}),
        figures=InputFiles(name="figures", digest=DIGEST, files={"population.csv": DIGEST}),
        settings=Settings(training={"epochs": 10}, targets={}, selection={}, check_limits={}),
        seed=seed,
        packages=dict.fromkeys(PACKAGES, "1.0"),
        code_version="1",
        quality={"fitted_median_error": 0.03},
        licence=licence_of("taxcalc"),
    )


def dictionary_of(given: dict[str, pl.DataFrame]) -> pl.DataFrame:
    columns = [
        Described("household_id", pl.Int64, None, "Key of the household"),
        Described("weight", pl.Float64, "households", "Calibrated weight"),
    ]
    described = TableDescription(columns=columns, source="Current Population Survey")
    return data_dictionary(given, descriptions=dict.fromkeys(given, described))


def publish(
    location: object,
    *,
    seed: int = 0,
    year: int = 2022,
    rows: int = 3,
    created_at: datetime = NOON,
    compared_with: str | None = None,
    texts: Mapping[str, ReleaseText] = TEXTS,
    **settings: object,
) -> PublishedRelease:
    """Publish the release of ``seed`` at ``location``, with settings of the store."""
    given = tables(rows)
    return ReleaseStore(location=str(location), **settings).publish(
        given,
        draft=draft(seed=seed, year=year),
        dictionary=dictionary_of(given),
        files=FILES,
        texts=texts,
        created_at=created_at,
        compared_with=compared_with,
    )


def store(location: object, **settings: object) -> ReleaseStore:
    return ReleaseStore(location=str(location), **settings)

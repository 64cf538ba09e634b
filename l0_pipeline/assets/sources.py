"""Where everything comes from: survey records and published figures, read and checked."""

import dagster as dg
import polars as pl

from l0_pipeline import checks
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.microdata.schema import (
    HOUSEHOLD_COLUMNS,
    PERSON_COLUMNS,
    TAX_UNIT_COLUMNS,
)
from l0_pipeline.logic.tables import FIGURE_COLUMNS, descriptions
from l0_pipeline.partitions import years
from l0_pipeline.resources.cps_source import CpsSource
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.resources.variables import VariableDictionary, figures_digest
from l0_pipeline.settings import OWNERS

# the extract keeps its source's names; many of them are those of the tables made from it
SOURCE_COLUMNS = (*HOUSEHOLD_COLUMNS, *PERSON_COLUMNS, *TAX_UNIT_COLUMNS)
# what tells records apart in each source; a user's own table may hold equal units
SOURCE_KEYS = {
    "taxcalc": pl.struct("FLPDYR", "h_seq", "a_lineno"),
    "asec": pl.struct("PH_SEQ", "A_LINENO"),
    "tables": pl.int_range(pl.len()),
}


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="sources",
    kinds={"polars", "parquet"},
    owners=OWNERS,
    metadata={"descriptions": descriptions(SOURCE_COLUMNS)},
    check_specs=[
        checks.blocking(
            "raw_cps_extract",
            "records_are_distinct",
            "The source's own key names each record once.",
        )
    ],
)
def raw_cps_extract(cps_source: CpsSource) -> dg.MaterializeResult:
    """The survey's records as their publisher wrote them, one row a record.

    Three sources, one at a time: the CPS file inside the `taxcalc` package (280,005 tax units
    from three years of the Annual Social and Economic Supplement; the default, no network), the
    Census Bureau's own `asecpubYYcsv.zip` (persons, with their family and household), or Parquet
    tables of your own. Nothing is changed but for a first column `source`. The data version is
    the SHA-256 of the bytes of the files.
    """
    digest = cps_source.digest()
    raw = cps_source.read()
    return dg.MaterializeResult(
        value=raw,
        data_version=dg.DataVersion(digest),
        metadata={
            "source": cps_source.source,
            "files": ", ".join(str(path) for path in cps_source.files()),
            "sha256": digest,
            "columns": len(raw.columns),
        },
        check_results=checks.told(
            [
                checks.judge_equal(
                    "records_are_distinct",
                    value=raw.select(SOURCE_KEYS[cps_source.source]).n_unique(),
                    wanted=max(len(raw), 1),
                )
            ]
        ),
    )


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="sources",
    kinds={"csv", "duckdb"},
    owners=OWNERS,
    io_manager_key="warehouse_io_manager",
    check_specs=[checks.schema_and_keys("published_figures", "year", "figure_id")],
)
def published_figures(
    context: dg.AssetExecutionContext,
    figures_source: FiguresSource,
    variable_dictionary: VariableDictionary,
) -> dg.MaterializeResult:
    """Totals that administrations published for the year, one row a figure, publisher on each.

    Read from `data/figures/<year>`; any CSV or Parquet file there that follows the schema in
    `data/figures/README.md` is taken in, and so is the table `own_figures` of the warehouse. A
    file with an unknown variable, unit, geography or filter is refused with its line. The table
    `figures` of the warehouse.
    """
    from l0_pipeline import evidence

    year = int(context.partition_key)
    variables = variable_dictionary.read()["variable"].to_list()
    figures = figures_source.read(year, variables=variables)
    digest = figures_digest(figures_source, variable_dictionary, year)
    publishers = figures.group_by("publisher", "published_table").len()
    lacking = figures_source.without_growth(year, variables=variables)
    ignored = figures_source.ignored(year)
    if ignored:
        context.log.warning(f"neither CSV nor Parquet, not read: {', '.join(ignored)}")
    if lacking:
        context.log.warning(
            f"growth.csv has no series of both years for {len(lacking)} variables and measures: "
            f"{', '.join(lacking)}"
        )
    return dg.MaterializeResult(
        value=figures,
        data_version=dg.DataVersion(digest),
        metadata={
            "figures": len(figures),
            "sha256": digest,
            "families": figures["family"].n_unique(),
            "aged": figures["aged_from"].count(),
            "publications": evidence.table(publishers.sort("len", descending=True)),
        },
        check_results=checks.told(
            [checks.judge_table(figures, FIGURE_COLUMNS, "year", "figure_id")]
        ),
    )

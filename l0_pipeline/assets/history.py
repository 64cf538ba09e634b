"""What was released before: the fit of every release, so that it can be seen to get better."""

import dagster as dg
import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.history import build_row, fit_rows
from l0_pipeline.partitions import years
from l0_pipeline.resources.release_store import ReleaseStore
from l0_pipeline.resources.warehouse import Warehouse
from l0_pipeline.settings import OWNERS


@dg.asset(
    partitions_def=years,
    group_name="release",
    kinds={"duckdb"},
    owners=OWNERS,
    deps=["published_dataset"],
)
def build_history(
    context: dg.AssetExecutionContext, release_store: ReleaseStore, warehouse: Warehouse
) -> dg.MaterializeResult:
    """The latest release of the year, kept in the warehouse beside the earlier ones.

    Read from the release itself: one row of its quality in `builds`, one row a target in
    `target_fit_history`. The same release recorded again replaces its rows.
    """
    from l0_pipeline import evidence

    year = int(context.partition_key)
    release_id = release_store.latest(year)
    if release_id is None:
        raise InputError(f"There is no release of {year} yet. Materialize `published_dataset`.")
    build = build_row(release_store.read_manifest(release_id), release_id=release_id)
    fits = fit_rows(release_store.read_table(release_id, "target_fit"), release_id=release_id)
    keys: dict[str, int | str] = {"year": year, "release_id": release_id}
    with warehouse.writing() as connection:
        warehouse.replace(connection, "builds", build, keys=keys)
        warehouse.replace(connection, "target_fit_history", fits, keys=keys)
    with warehouse.reading() as connection:
        builds = connection.sql(
            'select * from builds where "year" = $year order by built_at', params={"year": year}
        ).pl()
    return dg.MaterializeResult(
        metadata={
            "release_id": release_id,
            "targets": len(fits),
            "releases": len(builds),
            "builds": evidence.table(
                builds.with_columns(pl.col("built_at").dt.strftime("%Y-%m-%d %H:%M"))
            ),
        }
    )

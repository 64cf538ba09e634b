"""The release: sparse tables with their weights and the evidence, published whole or not at all."""

import dagster as dg
import polars as pl

from l0_pipeline import checks, provenance
from l0_pipeline.logic import fit
from l0_pipeline.logic.design import population
from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.release.dictionary import data_dictionary
from l0_pipeline.logic.release.licence import licence_of
from l0_pipeline.logic.release.manifest import InputFiles, ManifestDraft, Settings
from l0_pipeline.logic.release.quality import ReleaseQuality
from l0_pipeline.logic.release.summary import summary_text
from l0_pipeline.logic.release.tables import release_descriptions, release_tables
from l0_pipeline.partitions import years
from l0_pipeline.resources.cps_source import CpsSource
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.resources.plans import CheckLimits, SelectionPlan, TargetPlan
from l0_pipeline.resources.release_store import ReleaseStore, installed_versions
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import OWNERS


@dg.asset(
    partitions_def=years,
    group_name="release",
    kinds={"parquet"},
    owners=OWNERS,
    check_specs=[
        checks.blocking(
            "published_dataset", "release_verifies", "Every byte read back is the one published."
        )
    ],
)
def published_dataset(
    context: dg.AssetExecutionContext,
    raw_cps_extract: pl.DataFrame,
    households: pl.DataFrame,
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
    calibrated_weights: pl.DataFrame,
    random_households: pl.DataFrame,
    selected_households: pl.DataFrame,
    target_fit: pl.DataFrame,
    target_accounting: pl.DataFrame,
    cps_source: CpsSource,
    figures_source: FiguresSource,
    training_run: TrainingRun,
    target_plan: TargetPlan,
    selection_plan: SelectionPlan,
    check_limits: CheckLimits,
    release_store: ReleaseStore,
) -> dg.MaterializeResult:
    """A release folder: the kept households and their tax units, weights, fit and manifest.

    Written to a temporary folder, read back, and moved into place in one rename; `latest` moves
    last. A release is read-only and never changed: the same inputs and settings give the same
    release id. Built only when every check before it has passed.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic.calibration import quality

    year = int(context.partition_key)
    source_digest, figures_digest = cps_source.digest(), figures_source.digest(year)
    provenance.refuse_changed_input(
        context, asset="raw_cps_extract", digest=source_digest, files="The survey's files"
    )
    provenance.refuse_changed_input(
        context, asset="published_figures", digest=figures_digest, files="The figures' files"
    )
    ids = households["household_id"]
    design = calibrated_weights["scaled_design_weight"].to_numpy()
    of_weights = {
        "gates": calibrated_weights["calibrated_weight"].to_numpy(),
        "random": fit.of_all(random_households, ids),
        "released": fit.of_all(selected_households, ids),
    }
    numbers = {
        name: quality(target_fit, name=name, weights=weights, design_weights=design)
        for name, weights in of_weights.items()
    }
    roles = dict(target_fit.group_by("role").len().rows())
    residents = population(target_accounting)
    persons = float((households["persons"].to_numpy() * of_weights["released"]).sum())
    whole = ReleaseQuality(
        households_kept=len(selected_households),
        households_pool=len(households),
        targets_fitted=roles.get("fitted", 0),
        targets_held_out=roles.get("held_out", 0),
        population_error=persons / residents - 1 if residents else 0.0,
        released=numbers["released"],
    )
    tables = release_tables(
        households=households,
        tax_units=tax_units,
        tax_outputs=tax_outputs,
        persons=schema.persons(raw_cps_extract),
        selected_households=selected_households,
        target_fit=target_fit,
    )
    title = f"Sparse CPS dataset for {year}"
    published = release_store.publish(
        tables,
        draft=ManifestDraft(
            year=year,
            title=title,
            source=InputFiles(
                name=cps_source.source,
                digest=source_digest,
                files=provenance.file_digests(cps_source.files()),
            ),
            figures=InputFiles(
                name=f"data/figures/{year}",
                digest=figures_digest,
                files=provenance.file_digests(figures_source.files(year)),
            ),
            settings=Settings(
                training=training_run.model_dump(),
                targets=target_plan.model_dump(),
                selection=selection_plan.model_dump(),
                check_limits=check_limits.model_dump(),
            ),
            seed=training_run.seed,
            packages=installed_versions(),
            code_version=provenance.code_version(),
            quality=whole.numbers(),
            licence=licence_of(cps_source.source),
        ),
        dictionary=data_dictionary(tables, descriptions=release_descriptions(cps_source.source)),
        texts={
            "summary.txt": lambda path: summary_text(
                whole,
                title=title,
                release_path=path,
                gates_only=numbers["gates"],
                random=numbers["random"],
            )
        },
    )
    faults = release_store.faults(published.release_id)
    files = sorted(path for path in published.path.iterdir() if path.is_file())
    summary = (published.path / "summary.txt").read_text(encoding="utf-8")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(published.release_id),
        metadata={
            "release_id": published.release_id,
            "path": dg.MetadataValue.path(published.path),
            "newly_created": published.created,
            "bytes": sum(path.stat().st_size for path in files),
            "summary": dg.MetadataValue.md(f"```\n{summary}```"),
            "tables": evidence.table(
                pl.DataFrame(
                    {
                        "table": list(tables),
                        "rows": [len(table) for table in tables.values()],
                        "columns": [len(table.columns) for table in tables.values()],
                    }
                )
            ),
            **{name: float(number) for name, number in whole.numbers().items()},
        },
        check_results=checks.told(
            [
                dg.AssetCheckResult(
                    check_name="release_verifies",
                    passed=not faults,
                    metadata={"files": len(files), "faults": "; ".join(faults) or "none"},
                )
            ]
        ),
    )

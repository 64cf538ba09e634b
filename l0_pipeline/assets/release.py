"""The release: sparse tables with their weights and the evidence, published whole or not at all."""

from pathlib import Path

import dagster as dg
import polars as pl

from l0_pipeline import checks, limits, provenance
from l0_pipeline.logic import fit
from l0_pipeline.logic.design import population, relative_difference
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
from l0_pipeline.resources.plans import CheckLimits, ReplicatePlan, SelectionPlan, TargetPlan
from l0_pipeline.resources.release_store import ReleaseStore, installed_versions
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.resources.variables import VariableDictionary, figures_digest
from l0_pipeline.settings import OWNERS

INPUTS = (
    "raw_cps_extract", "households", "tax_units", "tax_outputs", "calibrated_weights",
    "random_households", "selected_households", "selection_design", "replicate_weights",
    "replicate_design", "target_standard_errors", "target_fit", "target_accounting",
)  # fmt: skip


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
    selection_design: pl.DataFrame,
    replicate_weights: pl.DataFrame,
    replicate_design: pl.DataFrame,
    target_standard_errors: pl.DataFrame,
    target_fit: pl.DataFrame,
    target_accounting: pl.DataFrame,
    cps_source: CpsSource,
    figures_source: FiguresSource,
    variable_dictionary: VariableDictionary,
    training_run: TrainingRun,
    target_plan: TargetPlan,
    selection_plan: SelectionPlan,
    replicate_plan: ReplicatePlan,
    check_limits: CheckLimits,
    release_store: ReleaseStore,
) -> dg.MaterializeResult:
    """A release folder: the kept households and their tax units, weights, fit and manifest.

    Written to a temporary folder, read back, and moved into place in one rename; `latest` moves
    last. A release is read-only and never changed: the same inputs and settings give the same
    release id. Refused when a limit is not met, when a table was made with other settings than
    the manifest would state, or before the latest version of what it was made from.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic.calibration import quality

    year = int(context.partition_key)
    source_digest = cps_source.digest()
    totals_digest = figures_digest(figures_source, variable_dictionary, year)
    provenance.refuse_stale(context, assets=INPUTS)
    provenance.refuse_changed_files(
        context, asset="raw_cps_extract", digest=source_digest, files="The survey's files"
    )
    provenance.refuse_changed_files(
        context, asset="published_figures", digest=totals_digest, files="The figures' files"
    )
    for asset in ("targets", "target_accounting"):
        provenance.refuse_changed_settings(context, asset=asset, target_plan=target_plan)
    provenance.refuse_changed_settings(
        context, asset="calibrated_weights", training_run=training_run
    )
    for asset in ("random_households", "selected_households"):
        provenance.refuse_changed_settings(
            context, asset=asset, training_run=training_run, selection_plan=selection_plan
        )
    for asset in ("replicate_weights", "replicate_design", "target_standard_errors"):
        provenance.refuse_changed_settings(
            context,
            asset=asset,
            training_run=training_run,
            selection_plan=selection_plan,
            replicate_plan=replicate_plan,
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
    roles = dict(target_accounting.group_by("role").len().rows())
    population_error = relative_difference(
        households, of_weights["released"], population(target_accounting)
    )
    limits.refuse_beyond_limits(
        [
            *limits.judge_selection(
                weights=selected_households["weight"].to_numpy(),
                ratios=selected_households["weight_ratio"].to_numpy(),
                design_total=float(design.sum()),
                limits=check_limits,
            ),
            *limits.judge_fit(target_fit, population_error=population_error, limits=check_limits),
        ]
    )
    whole = ReleaseQuality(
        households_kept=len(selected_households),
        households_pool=len(households),
        figures_declared=len(target_accounting),
        targets_fitted=roles.get("fitted", 0),
        targets_held_out=roles.get("held_out", 0),
        targets_benchmark=roles.get("benchmark", 0),
        targets_rejected=roles.get("rejected", 0),
        population_error=population_error,
        released=numbers["released"],
    )
    tables = release_tables(
        households=households,
        tax_units=tax_units,
        tax_outputs=tax_outputs,
        persons=schema.persons(raw_cps_extract),
        selected_households=selected_households,
        selection_design=selection_design,
        replicate_weights=replicate_weights,
        replicate_design=replicate_design,
        target_standard_errors=target_standard_errors,
        target_fit=target_fit,
        target_accounting=target_accounting,
    )
    described = release_descriptions(cps_source.source, replicates=replicate_plan.replicates)
    dictionary = data_dictionary(tables, descriptions=described)
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
                digest=totals_digest,
                files=figures_source.file_digests(year)
                | provenance.file_digests([Path(variable_dictionary.file)]),
            ),
            settings=Settings(
                training=training_run.model_dump(),
                targets=target_plan.model_dump() | {"age_from": figures_source.age_from},
                selection=selection_plan.model_dump() | {"replicates": replicate_plan.model_dump()},
                check_limits=check_limits.model_dump(),
            ),
            seed=training_run.seed,
            packages=installed_versions(),
            code_version=provenance.code_version(),
            quality=whole.numbers(),
            licence=licence_of(cps_source.source),
        ),
        dictionary=dictionary,
        texts={
            "summary.txt": lambda heading: summary_text(
                whole,
                title=title,
                release_path=heading.address,  # type: ignore[arg-type]
                gates_only=numbers["gates"],
                random=numbers["random"],
            )
        },
        compared_with=release_store.comparable(year),
    )
    faults = release_store.faults(published.release_id)
    files = release_store.files(published.release_id)
    summary = release_store.read_file(published.release_id, "summary.txt").decode("utf-8")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(published.release_id),
        metadata={
            "release_id": published.release_id,
            "path": dg.MetadataValue.path(published.address),
            "newly_created": published.created,
            "dagster/column_schema": dg.TableSchema(
                [
                    dg.TableColumn(
                        row["column"], row["dtype"], f"{row['description']} [{row['unit']}]"
                    )
                    for row in dictionary.filter(table="households").iter_rows(named=True)
                ]
            ),
            "bytes": sum(files.values()),
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

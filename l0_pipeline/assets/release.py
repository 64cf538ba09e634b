"""The release: sparse tables with their weights and the evidence, published whole or not at all."""

from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline import checks, limits, provenance
from l0_pipeline.logic import fit
from l0_pipeline.logic.design import population, relative_difference
from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.release.dictionary import data_dictionary
from l0_pipeline.logic.release.licence import licence_of
from l0_pipeline.logic.release.manifest import SCHEMA_VERSION, InputFiles, ManifestDraft, Settings
from l0_pipeline.logic.release.quality import FitQuality, ReleaseQuality
from l0_pipeline.logic.release.tables import AS_THEY_ARE, release_descriptions, release_tables
from l0_pipeline.partitions import years
from l0_pipeline.resources.comparison_plan import ComparisonPlan
from l0_pipeline.resources.cps_source import CpsSource
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.resources.plans import (
    CheckLimits,
    FrontierPlan,
    ReplicatePlan,
    SelectionPlan,
    StudyPlan,
    TargetPlan,
)
from l0_pipeline.resources.reform_plan import ReformPlan
from l0_pipeline.resources.release_store import ReleaseStore, installed_versions
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.resources.variables import VariableDictionary, figures_digest
from l0_pipeline.settings import OWNERS

TABLES = (
    "raw_cps_extract", "households", "tax_units", "tax_outputs", "aged_tax_units", "credit_draws",
    "targets",
    "calibrated_weights", "random_households", "selected_households", "reform_cost", *AS_THEY_ARE,
)  # fmt: skip
FRONTIER = "size_frontier"  # in a release where somebody made it


@dg.asset(
    partitions_def=years,
    group_name="release",
    kinds={"parquet"},
    owners=OWNERS,
    ins={name: dg.AssetIn() for name in TABLES},
    check_specs=[
        checks.blocking(
            "published_dataset", "release_verifies", "Every byte read back is the one published."
        ),
        *(
            dg.AssetCheckSpec(name, asset="published_dataset", description=sentence)
            for name, sentence in limits.COMPARISON_CHECKS.items()
        ),
    ],
)
def published_dataset(
    context: dg.AssetExecutionContext,
    cps_source: CpsSource,
    figures_source: FiguresSource,
    variable_dictionary: VariableDictionary,
    training_run: TrainingRun,
    target_plan: TargetPlan,
    selection_plan: SelectionPlan,
    replicate_plan: ReplicatePlan,
    reform_plan: ReformPlan,
    study_plan: StudyPlan,
    frontier_plan: FrontierPlan,
    check_limits: CheckLimits,
    comparison_plan: ComparisonPlan,
    release_store: ReleaseStore,
    **tables: pl.DataFrame,
) -> dg.MaterializeResult:
    """A release: the kept households, files that models read, the evidence, a report.

    Written whole or not at all, and read back, before `latest` moves. A release is never changed:
    the same inputs and settings give the same release id. Refused when a limit is not met, when a
    table was made with other settings than the manifest would state, or before the latest version
    of what it was made from. It is compared with the release before it.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic.release.comparison import compare
    from l0_pipeline.logic.release.model_files import model_files
    from l0_pipeline.logic.release.texts import ReleaseTexts

    year = int(context.partition_key)
    source_digest = cps_source.digest()
    totals_digest = figures_digest(figures_source, variable_dictionary, year)
    provenance.refuse_stale(context, assets=TABLES)
    provenance.refuse_changed_files(
        context, asset="raw_cps_extract", digest=source_digest, files="The survey's files"
    )
    provenance.refuse_changed_files(
        context, asset="published_figures", digest=totals_digest, files="The figures' files"
    )
    made_with = {"training_run": training_run, "selection_plan": selection_plan}
    for assets, settings in (
        (("targets", "target_accounting"), {"target_plan": target_plan}),
        (("calibrated_weights", "whole_file_weights"), {"training_run": training_run}),
        (("random_households", "selected_households"), made_with),
        (
            ("replicate_weights", "replicate_design", "target_standard_errors"),
            made_with | {"replicate_plan": replicate_plan},
        ),
        (("reform_study", "reform_groups"), {"reform_plan": reform_plan}),
        (("untargeted",), {"selection_plan": selection_plan, "study_plan": study_plan}),
    ):
        for asset in assets:
            provenance.refuse_changed_settings(context, asset=asset, **settings)
    if provenance.is_current(
        context, FRONTIER, training_run=training_run, frontier_plan=frontier_plan
    ):
        tables[FRONTIER] = context.load_asset_value(
            dg.AssetKey(FRONTIER), python_type=pl.DataFrame, partition_key=context.partition_key
        )
    whole, numbers = _quality(tables)
    limits.refuse_beyond_limits(_judged(tables, whole, check_limits))
    released = release_tables(tables, persons=schema.persons(tables["raw_cps_extract"]))
    dictionary = data_dictionary(
        released,
        descriptions=release_descriptions(
            cps_source.source,
            replicates=replicate_plan.replicates,
        ),
    )
    previous = _before(release_store, year, released)
    comparison = (
        None
        if previous is None
        else compare(release_store.read_tables(previous), released, points=comparison_plan.points)
    )
    compared = limits.judge_comparison(comparison, plan=comparison_plan)
    if comparison_plan.blocks:
        limits.refuse_beyond_limits(compared)
    title = f"Sparse CPS dataset for {year}"
    texts = ReleaseTexts(
        released, whole, numbers["gates"], numbers["random"], tables["reform_cost"], comparison
    )
    published = release_store.publish(
        released,
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
                training=training_run.resolved(),
                targets=target_plan.model_dump() | {"age_from": figures_source.age_from},
                selection=selection_plan.model_dump() | {"replicates": replicate_plan.model_dump()},
                reforms=reform_plan.model_dump()
                | {
                    "watched": study_plan.watched,
                    "frontier": frontier_plan.model_dump() if FRONTIER in released else None,
                },
                check_limits=check_limits.model_dump(),
            ),
            seed=training_run.seed,
            packages=installed_versions(),
            code_version=provenance.code_version(),
            quality=whole.numbers(),
            licence=licence_of(cps_source.source),
        ),
        dictionary=dictionary,
        files=model_files(
            tables["aged_tax_units"], released["households"], tables["credit_draws"], year=year
        ),
        texts=texts.by_name(),
        compared_with=previous,
    )
    faults = release_store.faults(published.release_id)
    files = release_store.files(published.release_id)
    summary = release_store.read_file(published.release_id, "summary.txt").decode("utf-8")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(published.release_id),
        metadata={
            "release_id": published.release_id,
            "path": dg.MetadataValue.path(published.address),
            "report": dg.MetadataValue.path(f"{published.address}/report.html"),
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
                        "table": list(released),
                        "rows": [len(table) for table in released.values()],
                        "columns": [len(table.columns) for table in released.values()],
                    }
                )
            ),
            "compared_with": previous or "nothing: the first release of its year",
            **(
                {}
                if comparison is None
                else {
                    "comparison": evidence.table(
                        comparison.summary.transpose(
                            include_header=True, header_name="number", column_names=["value"]
                        )
                    ),
                    "drift": evidence.table(comparison.drift),
                }
            ),
            **{name: float(number) for name, number in whole.numbers().items()},
        },
        check_results=checks.told(
            [
                dg.AssetCheckResult(
                    check_name="release_verifies",
                    passed=not faults,
                    metadata={"files": len(files), "faults": "; ".join(faults) or "none"},
                ),
                *compared,
            ]
        ),
    )


def _before(store: ReleaseStore, year: int, released: dict[str, pl.DataFrame]) -> str | None:
    """The release to compare with: the latest of the year, or what that was compared with.

    The same data published again are no later release than themselves.

    Raises:
        InputError: that release is not what was published.
    """
    latest = store.comparable(year)
    if latest is None:
        return None
    store.verify(latest)
    same = all(
        store.read_table(latest, name).equals(released[name])
        for name in ("households", "target_fit")
    )
    if not same:
        return latest
    earlier = store.read_manifest(latest).compared_with
    known = {
        release.release_id
        for release in store.releases(year)
        if release.schema_version == SCHEMA_VERSION
    }
    return earlier if earlier in known else None


def _quality(tables: dict[str, pl.DataFrame]) -> tuple[ReleaseQuality, dict[str, FitQuality]]:
    """The numbers of the release, and of as many households chosen otherwise."""
    from l0_pipeline.logic.calibration import quality

    design = tables["calibrated_weights"]["scaled_design_weight"].to_numpy()
    weights = _weights(tables)
    numbers = {
        name: quality(tables["target_fit"], name=name, weights=of_name, design_weights=design)
        for name, of_name in weights.items()
    }
    roles = dict(tables["target_accounting"].group_by("role").len().rows())
    whole = ReleaseQuality(
        households_kept=len(tables["selected_households"]),
        households_pool=len(tables["households"]),
        figures_declared=len(tables["target_accounting"]),
        targets_fitted=roles.get("fitted", 0),
        targets_held_out=roles.get("held_out", 0),
        targets_benchmark=roles.get("benchmark", 0),
        targets_rejected=roles.get("rejected", 0),
        population_error=relative_difference(
            tables["households"], weights["released"], population(tables["target_accounting"])
        ),
        released=numbers["released"],
    )
    return whole, numbers


def _weights(tables: dict[str, pl.DataFrame]) -> dict[str, np.ndarray]:
    ids = tables["households"]["household_id"]
    return {
        "gates": tables["calibrated_weights"]["calibrated_weight"].to_numpy(),
        "random": fit.of_all(tables["random_households"], ids),
        "released": fit.of_all(tables["selected_households"], ids),
    }


def _judged(
    tables: dict[str, pl.DataFrame], whole: ReleaseQuality, check_limits: CheckLimits
) -> list[dg.AssetCheckResult]:
    """What guards a release, asked once more of the tables at hand."""
    kept = tables["selected_households"]
    return [
        *limits.judge_selection(
            weights=kept["weight"].to_numpy(),
            ratios=kept["weight_ratio"].to_numpy(),
            design_total=float(tables["calibrated_weights"]["scaled_design_weight"].sum()),
            limits=check_limits,
        ),
        *limits.judge_fit(
            tables["target_fit"], population_error=whole.population_error, limits=check_limits
        ),
        limits.judge_reforms(tables["reform_study"], limits=check_limits),
    ]

"""Laws of the whole graph, on a small real survey built through the command line."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from l0.survey import GatedFitSettings, horvitz_thompson_total
from l0_pipeline.io_managers import MatrixIOManager, WholeParquetIOManager, read_matrix
from l0_pipeline.logic.calibration import fitted_problem
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.hybrid import sample_of
from l0_pipeline.logic.release.manifest import ManifestDraft
from l0_pipeline.resources.comparison_plan import ComparisonPlan
from l0_pipeline.resources.compute_device import ComputeDevice
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
from l0_pipeline.resources.release_store import ReleaseStore
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.resources.variables import VariableDictionary
from l0_pipeline.resources.warehouse import Warehouse, WarehouseTableIOManager
from l0_pipeline.settings import GATE_SHARE, PROJECT_DIR
from tests.conftest import BUDGET, HOUSEHOLDS, REFORM_ERROR, REFORMS, YEAR, Build

pytestmark = pytest.mark.xdist_group("build")


def _latest(build: Build) -> Path:
    return (build.releases / "latest").resolve()


def _table(build: Build, name: str) -> pl.DataFrame:
    """A table of the build's warehouse, in the order of its keys."""
    warehouse = Warehouse(database=str(build.folder / "data" / "warehouse.duckdb"))
    with warehouse.reading() as connection:
        return connection.table(name).order("all").pl()


def test_one_command_publishes_a_release_that_sha256sum_verifies(built: Build):
    release = _latest(built)
    assert release == (built.releases / f"latest-{YEAR}").resolve()
    verified = subprocess.run(
        ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=release, check=False
    )
    assert verified.returncode == 0


def test_the_release_keeps_exactly_the_budget_by_both_ways(built: Build):
    households = pl.read_parquet(_latest(built) / "households.parquet")
    by_gates = round(GATE_SHARE * BUDGET)
    kinds = dict(households.group_by("kind").len().rows())
    assert kinds == {"l0": by_gates, "random": BUDGET - by_gates}
    assert households["household_id"].n_unique() == BUDGET


def test_released_probabilities_expand_to_the_survey_within_their_standard_error(built: Build):
    kept = pl.read_parquet(_latest(built) / "households.parquet")
    sample = sample_of(kept, pl.read_parquet(built.folder / "households.parquet")["household_id"])
    households = horvitz_thompson_total(np.ones(BUDGET), sample)
    low, high = households.interval(0.9999)
    assert low < HOUSEHOLDS < high
    assert households.standard_error < 0.1 * HOUSEHOLDS
    design = pl.read_parquet(_table_of(built, "selection_design"))
    assert (design["by_gates"] + design["at_random"] >= design["minimum"]).all()
    assert design["by_gates"].sum() + design["at_random"].sum() == BUDGET
    assert (design["at_random"] > 0).all()


def test_a_released_file_alone_says_how_sure_its_totals_are(built: Build):
    """The formula of the README, on Parquet files and nothing else."""
    release = _latest(built)
    kept = pl.read_parquet(release / "households.parquet")
    replicates = pl.read_parquet(release / "replicate_weights.parquet")
    (how,) = pl.read_parquet(release / "replicate_design.parquet").to_dicts()
    assert replicates["household_id"].equals(kept["household_id"])
    assert replicates.width == 1 + how["replicates"]
    weights = replicates.drop("household_id").to_numpy().astype(np.float64)
    errors = pl.read_parquet(release / "target_standard_errors.parquet")
    population = errors.filter(target_id=_population_id(release))
    differences = kept["persons"].to_numpy() @ weights - population["released_estimate"].item()
    assert np.sqrt(how["scale"] * np.square(differences).sum()) == pytest.approx(
        population["standard_error"].item(), rel=1e-3
    )


def _population_id(release: Path) -> str:
    fit = pl.read_parquet(release / "target_fit.parquet")
    found: str = fit.filter(variable="population", geography="US", condition="")["target_id"][0]
    return found


def test_the_printed_errors_are_those_of_the_published_weights(built: Build):
    """Estimates recomputed from the released tables alone, for totals of the nation."""
    release = _latest(built)
    units = pl.read_parquet(release / "tax_outputs.parquet")
    fit = pl.read_parquet(release / "target_fit.parquet")
    persons = pl.read_parquet(release / "households.parquet")
    population = fit.filter(variable="population", geography="US", condition="")
    assert population["released_estimate"][0] == pytest.approx(
        (persons["persons"] * persons["weight"]).sum(), rel=1e-9
    )
    wages = fit.filter(variable="wages_and_salaries", measure="sum", condition="")
    assert wages["released_estimate"][0] == pytest.approx(
        (units["e00200"] * units["weight"]).sum(), rel=1e-9
    )


def test_a_release_holds_what_models_read_and_a_report_that_names_it(built: Build):
    release = _latest(built)
    units = pl.read_parquet(release / "tax_units.parquet")
    rows = pl.read_csv(release / "taxcalc" / f"sparse_{YEAR}.csv")
    assert sorted(rows.filter(pl.col("s006") > 0)["unit_id"]) == sorted(units["unit_id"])
    assert rows["s006"].sum() == pytest.approx(units["weight"].sum(), rel=1e-12)
    assert (release / "policyengine" / f"sparse_{YEAR}.h5").stat().st_size > 0
    report = (release / "report.html").read_text(encoding="utf-8")
    assert report.count(release.name) > 1
    assert "Reforms" in report


def test_reforms_are_run_on_the_whole_file_and_on_the_rows_that_are_published(built: Build):
    study = pl.read_parquet(_latest(built) / "reform_study.parquet")
    assert study["reform"].to_list() == REFORMS
    assert (study["error"].abs() < REFORM_ERROR).all()
    # whoever claims a credit on the whole file claims it on the kept rows: the units' own changes
    # under the released weights give the effect of the model run on them
    outcomes = pl.read_parquet(_table_of(built, "reform_outcomes"))
    kept = pl.read_parquet(_latest(built) / "tax_units.parquet").join(outcomes, on="unit_id")
    for reform, effect in study.select("reform", "effect_sparse").rows():
        assert kept[reform] @ kept["weight"] == pytest.approx(effect, rel=0.02), reform


def test_a_reform_that_is_answered_otherwise_stops_the_release(built: Build):
    with pytest.raises(dg.Failure, match="reforms_agree beyond the limits"):
        _run(built, "published_dataset", check_limits=CheckLimits(reform_error=1e-9))


def test_a_release_too_unlike_the_one_before_it_is_refused_or_told_as_one_wishes(
    built: Build, tmp_path: Path
):
    before = ReleaseStore(location=str(built.releases))
    latest = before.latest(int(YEAR))
    assert latest is not None
    store = ReleaseStore(location=str(tmp_path))
    better = _published_without_errors(before, latest, store)
    with pytest.raises(dg.Failure, match="few_targets_got_worse beyond the limits"):
        _run(
            built,
            "published_dataset",
            release_store=store,
            comparison_plan=ComparisonPlan(blocks=True),
        )
    assert store.latest() == better
    _run(built, "published_dataset", release_store=store)
    assert store.latest() == latest
    assert store.read_manifest(latest).compared_with == better
    summary = pl.read_csv(store.read_file(latest, "comparison_summary.csv"))
    assert summary["targets_worse"].item() > 0
    assert summary["targets_better"].item() == summary["targets_added"].item() == 0
    assert summary["support_overlap"].item() == 1
    assert better in store.read_file(latest, "report.html").decode()


def _published_without_errors(source: ReleaseStore, release: str, store: ReleaseStore) -> str:
    """The id of the same release as if every target were met."""
    tables = source.read_tables(release)
    tables["target_fit"] = tables["target_fit"].with_columns(released_error=pl.lit(0.0))
    manifest = source.read_manifest(release)
    return store.publish(
        tables,
        draft=ManifestDraft(
            **{name: getattr(manifest, name) for name in ManifestDraft.model_fields}
        ),
        dictionary=pl.read_csv(source.read_file(release, "data_dictionary.csv")),
        texts={},
    ).release_id


def test_the_manifest_names_the_bytes_that_went_in(built: Build):
    manifest = json.loads((_latest(built) / "manifest.json").read_text())
    inputs = {name: built.folder / name for name in ("households.parquet", "members.parquet")}
    assert manifest["source"]["files"] == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in inputs.items()
    }
    quality = manifest["quality"]
    assert quality["figures_declared"] == sum(
        quality[f"targets_{role}"] for role in ("fitted", "held_out", "benchmark", "rejected")
    )
    training = manifest["settings"]["training"]
    assert training["budget"] == BUDGET
    assert training["epochs"] == GatedFitSettings().epochs


def test_every_declared_figure_is_accounted_for(built: Build):
    accounting = _table(built, "target_roles")
    assert accounting.equals(pl.read_parquet(_latest(built) / "target_accounting.parquet"))
    assert len(_table(built, "figures")) == len(_table(built, "targets")) == len(accounting)
    figures = sum(
        len(path.read_text().splitlines()) - 1 for path in (built.folder / "figures").glob("*/*")
    )
    counts = dict(accounting.group_by("role").len().rows())
    assert sum(counts.values()) == figures
    assert set(counts) == {"fitted", "held_out", "benchmark", "rejected"}
    assert not accounting.filter(pl.col("reason") == "").height


def test_the_history_holds_the_release_as_it_was_published(built: Build):
    release = _latest(built)
    quality = json.loads((release / "manifest.json").read_text())["quality"]
    (build,) = _table(built, "builds").filter(release_id=release.name).to_dicts()
    assert build["fitted_median_error"] == quality["fitted_median_error"]
    assert build["households"] == BUDGET
    fits = _table(built, "target_fit_history").filter(release_id=release.name)
    published = pl.read_parquet(release / "target_fit.parquet").sort("target_id")
    for column in ("target_id", "role", "released_error"):
        assert fits[column].equals(published[column]), column


def test_conflicts_are_about_fitted_targets_and_proved(built: Build):
    conflicts = _table(built, "target_conflicts")
    roles = dict(_table(built, "target_roles").select("target_id", "role").rows())
    assert len(conflicts)
    assert {roles[target] for target in conflicts["target_id"]} == {"fitted"}
    assert (conflicts["least_error"] > 0.01).all()
    assert (conflicts["gap"] > 0).all()


def test_the_same_weights_and_seed_give_the_same_release_byte_for_byte(built: Build):
    """That the same seed trains the same weights is asked where they are trained again."""
    before = _latest(built)
    digests = (before / "SHA256SUMS").read_bytes()
    again = built.materialize('key:"selected_households"+', one_process=True)
    assert again.returncode == 0, again.stderr[-3000:]
    assert _latest(built) == before
    assert (before / "SHA256SUMS").read_bytes() == digests


def test_two_processes_make_the_same_weights_by_one_setting(built: Build):
    data = built.folder / "data"
    matrix = read_matrix(data / "arrays" / "constraint_matrix" / f"{YEAR}.npz")
    accounting = _table(built, "target_roles")
    design = pl.read_parquet(_weights_of(built))["scaled_design_weight"].to_numpy()
    problem = fitted_problem(matrix, accounting, design_weights=design)
    run = TrainingRun(epochs=12, refit_epochs=6, refit_penalty=0.03)
    alone, shared = (
        _device(built, processes=processes).calibrate(
            problem, budget=BUDGET, settings=run.selection(), refit_settings=run.refit()
        )
        for processes in (1, 2)
    )
    assert shared.weights.tobytes() == alone.weights.tobytes()
    assert shared.log_alpha.tobytes() == alone.log_alpha.tobytes()
    assert shared.history == alone.history


def test_a_frontier_is_made_on_demand_with_exact_sizes_and_one_suggested(built: Build):
    plan = FrontierPlan(shares=[0.3, 0.1, 0.02])
    run = TrainingRun(epochs=60, refit_epochs=30, refit_penalty=0.03)
    _run(built, "size_frontier", frontier_plan=plan, training_run=run)
    sizes = pl.read_parquet(built.folder / "data" / "tables" / "size_frontier" / f"{YEAR}.parquet")
    assert sizes["budget"].to_list() == [round(share * HOUSEHOLDS) for share in plan.shares]
    assert sizes["held_out_error"].is_between(0, 1).all()
    best = sizes["held_out_error"].min() * (1 + plan.tolerance)
    near = sizes.filter(pl.col("held_out_error") <= best)
    assert sizes.filter("suggested")["budget"].to_list() == [near["budget"].min()]


def test_a_study_compares_mixes_with_gates_alone_and_supports_the_fewest_gates(built: Build):
    _run(
        built,
        "selection_study",
        study_plan=StudyPlan(gate_shares=[GATE_SHARE], most_error=1.5, most_distortion=1.0),
        replicate_plan=ReplicatePlan(replicates=2),
        training_run=TrainingRun(budget=BUDGET, refit_epochs=60),
    )
    study = pl.read_parquet(_table_of(built, "selection_study"))
    assert study.select("gate_share", "anchored").rows() == [
        (share, held) for share in (GATE_SHARE, 1.0) for held in (False, True)
    ]
    (alone,) = study.filter(gate_share=1.0, anchored=False).to_dicts()
    assert alone["error_ratio"] == alone["distortion_ratio"] == alone["effective_ratio"] == 1.0
    assert alone["standard_error"] is None
    for row in study.filter(pl.col("gate_share") < 1).to_dicts():
        assert row["error_ratio"] == row["held_out_error"] / alone["held_out_error"]
        assert row["standard_error"] > 0
    distorted = {row["anchored"]: row for row in study.filter(gate_share=GATE_SHARE).to_dicts()}
    assert distorted[True]["distortion"] < distorted[False]["distortion"]
    supported = study.filter("supported")
    assert (supported["error_ratio"] <= 1.5).all()
    assert (supported["distortion_ratio"] <= 1.0).all()


def test_every_fittable_target_is_scored_by_weights_that_have_not_seen_it(built: Build):
    run = TrainingRun(budget=BUDGET, epochs=2, refit_epochs=2, refit_penalty=0.03)
    _run(built, "unseen_errors", training_run=run)
    unseen = pl.read_parquet(built.folder / "data" / "tables" / "unseen_errors" / f"{YEAR}.parquet")
    roles = _table(built, "target_roles")
    expected = roles.filter(pl.col("fold").is_not_null())
    assert unseen["target_id"].to_list() == sorted(expected["target_id"])
    fitted = roles.filter(pl.col("role") == "fitted", pl.col("fold").is_not_null())
    assert set(fitted["family"]) <= set(unseen["family"])
    assert unseen["unseen_error"].is_finite().all()


def test_a_matrix_whose_inputs_are_unchanged_is_not_compiled_again(built: Build):
    with dg.DagsterInstance.ephemeral() as instance:
        _run(built, "constraint_matrix", instance=instance)
        latest = instance.get_latest_materialization_event(dg.AssetKey("constraint_matrix"))
    assert latest.asset_materialization.metadata["compiled"].value is False


def test_a_figure_that_cannot_be_right_stops_the_build_and_is_named(built: Build, tmp_path: Path):
    figures = tmp_path / "figures"
    shutil.copytree(built.folder / "figures", figures)
    path = figures / YEAR / "irs_soi_pub1304_table_1_4.csv"
    lines = path.read_text().splitlines()
    (line,) = [n for n, text in enumerate(lines) if text.startswith("2022-pub1304-1.4-1061,")]
    lines[line] = lines[line].replace("738950972000,", "738950972,")
    path.write_text("\n".join(lines) + "\n")
    instance = dg.DagsterInstance.ephemeral()
    with pytest.raises(dg.DagsterError, match="figures_without_faults"):
        _run(
            built,
            *("published_figures", "target_findings", "targets"),
            instance=instance,
            figures_source=FiguresSource(
                figures_dir=str(figures), database=str(tmp_path / "w.duckdb")
            ),
            warehouse_io_manager=WarehouseTableIOManager(database=str(tmp_path / "w.duckdb")),
        )
    with Warehouse(database=str(tmp_path / "w.duckdb")).reading() as connection:
        found = connection.sql("from target_findings where severity = 'error'").pl()
    assert found.select("figure_id", "line", "kind").rows() == [
        ("2022-pub1304-1.4-1061", line + 1, "thousands")
    ]


def test_a_killed_training_step_goes_on_from_its_last_epoch_to_the_same_weights(
    built: Build, capfd: pytest.CaptureFixture[str]
):
    weights = _weights_of(built).read_bytes()
    folder = built.folder / "data" / "checkpoints"
    command = built.command('key:"calibrated_weights"', compute_device={"checkpoint_seconds": 0})
    with subprocess.Popen(
        command,
        cwd=PROJECT_DIR,
        env=built.environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as killed:
        while not list(folder.glob("*.npz")):
            assert killed.poll() is None, "it ended before it wrote where it stands"
            time.sleep(0.01)
        os.killpg(killed.pid, signal.SIGKILL)
    with built.instance() as instance:
        # as an analyst does who finds the run still marked as running
        (dead,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        instance.report_run_canceled(dead)
    (saved,) = folder.glob("*.npz")
    with dg.DagsterInstance.ephemeral() as apart:
        _run(built, "calibrated_weights", instance=apart)
    log = capfd.readouterr().err
    assert "pilot: epoch 1 of" not in log
    assert "refit: epoch 1 of" in log
    assert not saved.exists()
    assert _weights_of(built).read_bytes() == weights


def _weights_of(build: Build) -> Path:
    return _table_of(build, "calibrated_weights")


def _table_of(build: Build, name: str) -> Path:
    return build.folder / "data" / "tables" / name / f"{YEAR}.parquet"


def _device(build: Build, **settings: Any) -> ComputeDevice:
    return ComputeDevice(checkpoint_folder=str(build.folder / "data" / "checkpoints"), **settings)


def test_a_limit_that_is_not_met_ends_the_command_and_publishes_nothing(built: Build):
    before = sorted(os.listdir(built.releases))
    failed = built.materialize('key:"target_fit"+', check_limits={"held_out_median_error": 0.0001})
    assert failed.returncode == 1
    assert "held_out_median_error" in failed.stderr
    assert sorted(os.listdir(built.releases)) == before
    # what was made from the fit is older than it now, and a release would be refused for that
    _run(built, "household_reasons", "household_contributions")


def test_a_release_alone_is_refused_when_its_limit_is_not_met(built: Build):
    before = sorted(os.listdir(built.releases))
    with pytest.raises(dg.Failure, match="held_out_median_error beyond the limits"):
        _run(built, "published_dataset", check_limits=_limits(held_out_median_error=0.0001))
    assert sorted(os.listdir(built.releases)) == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"training_run": TrainingRun(budget=BUDGET, seed=999)}, "`calibrated_weights`.*settings"),
        ({"selection_plan": SelectionPlan(gate_share=0.1)}, "`random_households`.*gate_share"),
        ({"replicate_plan": ReplicatePlan(replicates=7)}, "`replicate_weights`.*replicates"),
        ({"target_plan": TargetPlan(held_out_share=0.5)}, "`targets`.*held_out_share"),
    ],
)
def test_a_manifest_cannot_state_settings_that_did_not_make_the_tables(
    built: Build, changed: dict[str, Any], message: str
):
    with pytest.raises(InputError, match=message):
        _run(built, "published_dataset", **changed)


def _limits(**settings: float) -> CheckLimits:
    return CheckLimits(**{"reform_error": REFORM_ERROR, **settings})


def _run(
    build: Build, *assets: str, instance: dg.DagsterInstance | None = None, **changed: Any
) -> None:
    """These assets on the built inputs, in this process; told to another instance if given."""
    from l0_pipeline import definitions

    source = CpsSource(
        source="tables",
        households_file=str(build.folder / "households.parquet"),
        members_file=str(build.folder / "members.parquet"),
        members_income_year=2014,
    )
    data = build.folder / "data"
    figures = build.folder / "figures"
    warehouse = str(data / "warehouse.duckdb")
    usual = dict(definitions.defs.resources or {}) | {
        "training_run": TrainingRun(budget=BUDGET),
        "compute_device": _device(build),
        "cps_source": source,
        "figures_source": FiguresSource(figures_dir=str(figures), database=warehouse),
        "variable_dictionary": VariableDictionary(file=str(figures / "variables.csv")),
        "release_store": ReleaseStore(location=str(build.releases)),
        "check_limits": _limits(),
        "reform_plan": ReformPlan(reforms=REFORMS),
        "io_manager": WholeParquetIOManager(base_dir=str(data / "tables")),
        "matrix_io_manager": MatrixIOManager(folder=str(data / "arrays")),
        "warehouse": Warehouse(database=warehouse),
        "warehouse_io_manager": WarehouseTableIOManager(database=warehouse),
    }
    with nullcontext(instance) if instance else build.instance() as told:
        dg.materialize(
            definitions.assets,
            selection=list(assets),
            partition_key=YEAR,
            resources=usual | changed,
            instance=told,
        )


@pytest.mark.parametrize(
    ("asset", "changed", "message"),
    [
        (
            "calibrated_weights",
            {"training_run": TrainingRun(budget=HOUSEHOLDS + 1)},
            r"8,000 records have a positive design weight",
        ),
        ("calibrated_weights", {"training_run": TrainingRun(budget=3)}, "share no record"),
        ("calibrated_weights", {"compute_device": ComputeDevice(device="cuda")}, "finds no GPU"),
        (
            "raw_cps_extract",
            {"cps_source": CpsSource(source="asec", asec_archive="no.zip")},
            "no.zip",
        ),
        (
            "published_figures",
            {"figures_source": FiguresSource(figures_dir="nowhere")},
            "nowhere",
        ),
    ],
)
def test_a_bad_input_ends_with_one_error_and_leaves_releases_alone(
    built: Build, asset: str, changed: dict[str, Any], message: str
):
    before = sorted(os.listdir(built.releases))
    with pytest.raises(ValueError, match=message):
        _run(built, asset, **changed)
    assert sorted(os.listdir(built.releases)) == before


def test_a_release_is_refused_when_an_input_changed_after_it_was_read(built: Build, tmp_path: Path):
    other = tmp_path / "members.parquet"
    pl.read_parquet(built.folder / "members.parquet").head(-1).write_parquet(other)
    source = CpsSource(
        source="tables",
        households_file=str(built.folder / "households.parquet"),
        members_file=str(other),
        members_income_year=2014,
    )
    with pytest.raises(InputError, match="changed after `raw_cps_extract`"):
        _run(built, "published_dataset", cps_source=source)


def test_a_release_is_refused_when_a_table_is_older_than_what_it_was_made_from(built: Build):
    _run(built, "tax_units")
    with pytest.raises(InputError, match="was made before the latest `tax_units`"):
        _run(built, "published_dataset")

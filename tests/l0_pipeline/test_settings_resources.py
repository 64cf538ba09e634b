"""Laws of the settings: one number has one home, bounds hold, and loading stays light."""

import subprocess
import sys

import dagster as dg
import pytest
from pydantic import ValidationError

from l0_pipeline import settings
from l0_pipeline.resources.comparison_plan import ComparisonPlan
from l0_pipeline.resources.compute_device import ComputeDevice
from l0_pipeline.resources.plans import (
    CheckLimits,
    ReplicatePlan,
    SelectionPlan,
    StudyPlan,
    TargetPlan,
)
from l0_pipeline.resources.reform_plan import ReformPlan
from l0_pipeline.resources.training_run import TrainingRun

RESOURCES = (
    *(TrainingRun, TargetPlan, SelectionPlan, ReplicatePlan, StudyPlan, CheckLimits),
    *(ComputeDevice, ComparisonPlan, ReformPlan),
)


def test_the_training_runs_defaults_are_the_librarys():
    from l0.survey import GatedFitSettings, GradualPruningSettings, RefitSettings

    leak = settings.SELECTION_LEAK
    assert TrainingRun().selection() == GatedFitSettings(leak=leak)
    pruning = TrainingRun(method="gradual_pruning")
    assert pruning.selection() == GradualPruningSettings(leak=leak)
    assert TrainingRun().refit() == RefitSettings(
        max_weight_ratio=settings.MAX_WEIGHT_RATIO,
        leak=settings.REFIT_LEAK,
        firmness_power=settings.FIRMNESS_POWER,
        coarse_share=settings.COARSE_SHARE,
    )


@pytest.mark.parametrize("method", ["hard_concrete", "gradual_pruning"])
def test_what_is_left_to_the_method_is_stated_as_the_method_has_it(method):
    run = TrainingRun(method=method, gate_rate=0.2)
    of_method, stated = vars(run.selection()), run.resolved()
    assert stated.keys() == run.model_dump().keys()
    for name in ("epochs", "weight_rate", "budget_power"):
        assert stated[name] == of_method[name] != getattr(run, name)
    assert stated["gate_rate"] == 0.2
    assert TrainingRun(epochs=7).resolved()["epochs"] == 7


# what is chosen from a list, decides nothing of the course, or belongs to the whole call
NOT_OF_THE_SELECTION = {
    "budget", "seed", "method", "loss", "total", "max_weight_ratio", "whole_file_penalty",
    "firmness_power", "coarse_share",
}  # fmt: skip


def test_every_hyperparameter_reaches_the_library():
    from l0.survey import GatedFitSettings

    plain = vars(GatedFitSettings(penalty=0.03))
    changed = {
        name: value // 2 if isinstance(value, int) else value * 0.9 for name, value in plain.items()
    }
    run = TrainingRun(
        **changed, refit_epochs=7, refit_rate=0.2, refit_penalty=0.5, max_weight_ratio=9.0,
        total="fixed", refit_leak=0.4, firmness_power=0.7, coarse_share=0.3,
    )  # fmt: skip
    assert vars(run.selection()) == changed
    of_the_selection = {name for name in TrainingRun.model_fields if not name.startswith("refit_")}
    assert of_the_selection - NOT_OF_THE_SELECTION == changed.keys()
    refit = run.refit()
    assert (refit.epochs, refit.rate, refit.penalty) == (7, 0.2, 0.5)
    assert (refit.max_weight_ratio, refit.total) == (9.0, "fixed")
    assert (refit.firmness_power, refit.coarse_share) == (0.7, 0.3)
    assert refit.leak == 0.4
    assert run.refit(penalty=0.25).penalty == 0.25


def test_a_run_within_its_bounds_is_within_the_librarys():
    largest = TrainingRun(
        epochs=100_000, weight_rate=1, gate_rate=1, initial_temperature=5, final_temperature=5,
        initial_focus=100, final_focus=100, annealing_share=1, budget_share=1, budget_power=10,
        noise_share=1, leak=1, smoothing=1, penalty=100, refit_epochs=100_000, refit_rate=1,
        refit_penalty=100, refit_leak=1, firmness_power=2, coarse_share=1,
    )  # fmt: skip
    assert largest.selection().epochs == largest.refit().epochs == 100_000
    smallest = TrainingRun(
        epochs=1,
        noise_share=0,
        leak=0,
        smoothing=0,
        penalty=0,
        refit_epochs=1,
        refit_penalty=0,
        refit_leak=0,
        firmness_power=0,
        coarse_share=0,
    )
    assert smallest.selection().noise_share == smallest.refit().penalty == 0


@pytest.mark.parametrize(
    ("resource", "name", "value"),
    [
        *((TrainingRun, name, 0) for name in TrainingRun.model_fields
          if name not in {"seed", "noise_share", "leak", "smoothing", "penalty", "refit_penalty",
                          "whole_file_penalty", "refit_leak", "firmness_power", "coarse_share"}),
        *((TrainingRun, name, -0.1) for name in TrainingRun.model_fields),
        *((TrainingRun, name, float("nan")) for name in TrainingRun.model_fields),
        *((TrainingRun, name, 1.01) for name in TrainingRun.model_fields
          if name.endswith(("rate", "share"))),
        (TrainingRun, "epochs", 100_001),
        (TrainingRun, "budget", 0.5),
        (TargetPlan, "held_out_share", 1.0),
        (TargetPlan, "held_out_share", -0.01),
        (TargetPlan, "minimum_support", 0),
        (TargetPlan, "seed", -1),
        (SelectionPlan, "gate_share", 1.01),
        (SelectionPlan, "gate_share", -0.01),
        (SelectionPlan, "seed", -1),
        (SelectionPlan, "design", "cluster"),
        (SelectionPlan, "expansion", 1.01),
        (SelectionPlan, "anchor_weight", -0.01),
        (ReplicatePlan, "replicates", 1),
        (ReplicatePlan, "variance_of", "both"),
        (StudyPlan, "gate_shares", []),
        (StudyPlan, "gate_shares", [1.5]),
        *((CheckLimits, name, -0.01) for name in CheckLimits.model_fields),
        *((CheckLimits, name, float("nan")) for name in CheckLimits.model_fields),
        (CheckLimits, "share_within_10pct", 1.01),
        (CheckLimits, "effective_share", 1.01),
        (CheckLimits, "weight_ratio", 0.99),
        (ComputeDevice, "device", "tpu"),
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_before_anything_runs(
    resource: type, name: str, value: object
):
    with pytest.raises(ValidationError, match=name):
        resource(**{name: value})


def _launch(**config: object) -> dict[str, object]:
    """What a run sees of its plan when it is launched with this config."""

    @dg.asset
    def seen(plan: TargetPlan) -> dict[str, object]:
        return {"seed": plan.seed, "held_out_share": plan.held_out_share}

    result = dg.materialize(
        [seen],
        resources={"plan": TargetPlan()},
        run_config={"resources": {"plan": {"config": config}}},
    )
    return result.output_for_node("seen")


def test_a_launch_changes_what_it_names_and_nothing_else():
    assert _launch(held_out_share=0.5) == {"seed": settings.SEED, "held_out_share": 0.5}


def test_a_launch_with_a_setting_that_does_not_exist_is_refused():
    with pytest.raises(dg.DagsterInvalidConfigError, match="held_out_shore"):
        _launch(held_out_shore=0.5)


def test_a_launch_with_a_value_out_of_bounds_is_refused():
    with pytest.raises(dg.DagsterResourceFunctionError) as refused:
        _launch(held_out_share=1.5)
    assert "less than 1" in str(refused.value.__cause__)


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_setting_says_what_it_is(resource: type):
    assert resource.model_fields
    assert all(len(field.description or "") > 10 for field in resource.model_fields.values())


def test_every_limit_of_a_release_is_a_setting_of_its_own_name():
    limits = {
        name.removeprefix("LIMIT_").lower(): value
        for name, value in vars(settings).items()
        if name.startswith("LIMIT_")
    }
    plans = (CheckLimits(), {"accepted_findings"}), (ComparisonPlan(), {"points", "blocks"})
    assert limits == {
        name: getattr(plan, name)
        for plan, others in plans
        for name in type(plan).model_fields.keys() - others
    }
    assert CheckLimits().accepted_findings == []


def test_the_plans_defaults_are_the_settings():
    assert TrainingRun().budget == settings.BUDGET
    assert TargetPlan().held_out_share == settings.HELD_OUT_SHARE
    assert TargetPlan().minimum_support == settings.MINIMUM_SUPPORT
    assert SelectionPlan().gate_share == settings.GATE_SHARE
    assert TrainingRun().seed == TargetPlan().seed == SelectionPlan().seed == settings.SEED


def test_the_cpu_is_described_by_its_threads():
    assert ComputeDevice(device="cpu").describe().startswith("CPU, ")


def test_a_gpu_that_was_asked_for_and_is_not_there_is_an_error():
    import torch

    from l0.survey import InputError

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="cuda"):
        ComputeDevice(device="cuda").describe()
    assert ComputeDevice(device="auto").describe().startswith("CPU, ")


def test_loading_the_definitions_imports_no_heavy_package():
    script = (
        "import sys, l0_pipeline.definitions\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"torch", "taxcalc", "numba", "matplotlib", "PIL", "bokeh", "paramtools", "l0"}
    assert heavy & set(loaded) == set()
    assert "l0_pipeline" in loaded

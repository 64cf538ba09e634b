"""Whether a release may hold a study that is made on demand, by a real Dagster instance."""

import dagster as dg
import pytest

from l0_pipeline import provenance
from l0_pipeline.partitions import years
from l0_pipeline.resources.plans import FrontierPlan

YEAR = "2022"
FIRST, OTHER = FrontierPlan(), FrontierPlan(shares=[0.5, 0.1])


@dg.asset(partitions_def=years)
def survey() -> int:
    """What the study is made from."""
    return 1


@dg.asset(partitions_def=years)
def study(survey: int, frontier_plan: FrontierPlan) -> dg.MaterializeResult:
    """What records its settings as the pipeline's assets do."""
    made_with = provenance.made_with(frontier_plan=frontier_plan)
    return dg.MaterializeResult(value=survey, metadata={provenance.MADE_WITH: made_with})


@dg.asset(partitions_def=years)
def release(context: dg.AssetExecutionContext, frontier_plan: FrontierPlan) -> bool:
    """Whether it would hold the study."""
    return provenance.is_current(context, "study", frontier_plan=frontier_plan)


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def build(instance: dg.DagsterInstance, *names: str, plan: FrontierPlan = FIRST) -> object:
    assets = [survey, study, release]
    result = dg.materialize(
        assets,
        instance=instance,
        partition_key=YEAR,
        resources={"frontier_plan": plan},
        selection=list(names),
    )
    return result.output_for_node("release") if "release" in names else None


def test_a_study_that_was_never_made_is_said_to_be_made_on_demand(instance, capfd):
    assert build(instance, "release") is False
    assert "`study` is not in this release: it is built on demand, and was not" in _logged(capfd)


def test_a_study_of_the_same_settings_and_inputs_is_in_the_release(instance):
    build(instance, "survey", "study")
    assert build(instance, "release") is True


def test_a_study_of_other_settings_is_left_out_and_the_reason_told_as_a_warning(instance, capfd):
    build(instance, "survey", "study")
    assert build(instance, "release", plan=OTHER) is False
    assert "WARNING" in (told := _logged(capfd))
    assert "`study` is not in this release: `study` for 2022 was made with other settings" in told


def test_a_study_made_before_its_input_was_made_again_is_left_out(instance, capfd):
    build(instance, "survey", "study")
    build(instance, "survey")
    assert build(instance, "release") is False
    assert "was made before the latest `survey`" in _logged(capfd)


def _logged(capfd: pytest.CaptureFixture[str]) -> str:
    """The lines of the log that are about the study."""
    lines = capfd.readouterr().err.splitlines()
    return "\n".join(line for line in lines if "not in this release" in line)

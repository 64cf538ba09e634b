"""Laws of the schedule and the sensor: one run a year and week, one a change, off by default."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from l0_pipeline.automation import input_changed, weekly_rebuild
from l0_pipeline.definitions import defs
from l0_pipeline.resources.cps_source import CpsSource
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.settings import YEARS


def test_definitions_load_with_every_name_that_users_type():
    dg.Definitions.validate_loadable(defs)
    names = {key.to_user_string() for key in defs.resolve_all_asset_keys()}
    assert {
        "raw_cps_extract",
        "households",
        "tax_units",
        "tax_outputs",
        "targets",
        "constraint_matrix",
        "calibrated_weights",
        "selected_households",
        "target_fit",
        "published_dataset",
    } <= names
    assert defs.resolve_job_def("rebuild").partitions_def.get_partition_keys() == YEARS


def test_a_tick_asks_for_one_run_a_year_and_asking_again_names_the_same_runs():
    def tick() -> list[dg.RunRequest]:
        moment = datetime(2026, 11, 23, 10, tzinfo=UTC)
        return list(weekly_rebuild(dg.build_schedule_context(scheduled_execution_time=moment)))

    requests = tick()
    assert [request.partition_key for request in requests] == list(YEARS)
    assert [request.run_key for request in requests] == [f"{year}-2026-W48" for year in YEARS]
    assert [request.run_key for request in tick()] == [request.run_key for request in requests]


def test_automation_is_off_for_someone_who_only_looks():
    assert weekly_rebuild.default_status is dg.DefaultScheduleStatus.STOPPED
    assert input_changed.default_status is dg.DefaultSensorStatus.STOPPED
    assert weekly_rebuild.execution_timezone == "America/New_York"


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    for year in YEARS:
        (tmp_path / year).mkdir()
        (tmp_path / year / "totals.csv").write_text("figure_id\n")
    return tmp_path


def _look(figures: Path, cursor: str | None) -> tuple[list[dg.RunRequest], str]:
    context = dg.build_sensor_context(
        cursor=cursor,
        resources={
            "cps_source": CpsSource(),
            "figures_source": FiguresSource(figures_dir=str(figures)),
        },
    )
    found = input_changed(context)
    if isinstance(found, dg.SkipReason):
        return [], cursor or context.cursor
    return list(found.run_requests), found.cursor


def test_the_first_look_remembers_and_a_changed_figure_rebuilds_its_year_once(figures: Path):
    nothing, cursor = _look(figures, None)
    assert nothing == []
    assert set(json.loads(cursor)) == set(YEARS)
    still_nothing, cursor = _look(figures, cursor)
    assert still_nothing == []
    (figures / "2021" / "totals.csv").write_text("figure_id\nnew\n")
    requests, cursor = _look(figures, cursor)
    assert [request.partition_key for request in requests] == ["2021"]
    again, _ = _look(figures, cursor)
    assert again == []

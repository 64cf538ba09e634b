"""Laws of the schedule and the sensor: one run a year and week, one a change, off by default."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from l0_pipeline.automation import input_changed, weekly_rebuild
from l0_pipeline.definitions import defs
from l0_pipeline.resources.cps_source import CpsSource
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.resources.variables import VariableDictionary
from l0_pipeline.settings import YEARS


def test_definitions_load_with_every_name_that_users_type():
    dg.Definitions.validate_loadable(defs)
    names = {key.to_user_string() for key in defs.resolve_all_asset_keys()}
    assert {
        "raw_cps_extract",
        "households",
        "tax_units",
        "tax_outputs",
        "tax_responses",
        "targets",
        "constraint_matrix",
        "calibrated_weights",
        "selected_households",
        "selection_design",
        "selection_study",
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
def inputs(tmp_path: Path) -> Path:
    for year in YEARS:
        (tmp_path / year).mkdir()
        (tmp_path / year / "totals.csv").write_text("figure_id\n")
    (tmp_path / "variables.csv").write_text("variable\n")
    for name in ("households", "members"):
        pl.DataFrame({"household_id": [1]}).write_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


def _look(inputs: Path, cursor: str | None) -> tuple[list[dg.RunRequest], str]:
    context = dg.build_sensor_context(
        cursor=cursor,
        resources={
            "cps_source": CpsSource(
                source="tables",
                households_file=str(inputs / "households.parquet"),
                members_file=str(inputs / "members.parquet"),
                members_income_year=2022,
            ),
            "figures_source": FiguresSource(figures_dir=str(inputs)),
            "variable_dictionary": VariableDictionary(file=str(inputs / "variables.csv")),
        },
    )
    found = input_changed(context)
    if isinstance(found, dg.SkipReason):
        return [], cursor or context.cursor
    return list(found.run_requests), found.cursor


def test_the_first_look_remembers_and_a_changed_figure_rebuilds_its_year_once(inputs: Path):
    nothing, cursor = _look(inputs, None)
    assert nothing == []
    assert set(json.loads(cursor)["digests"]) == set(YEARS)
    still_nothing, cursor = _look(inputs, cursor)
    assert still_nothing == []
    (inputs / "2021" / "totals.csv").write_text("figure_id\nnew\n")
    requests, cursor = _look(inputs, cursor)
    assert [request.partition_key for request in requests] == ["2021"]
    again, _ = _look(inputs, cursor)
    assert again == []


@pytest.mark.parametrize("name", ["households.parquet", "variables.csv"])
def test_a_change_of_the_survey_or_the_dictionary_rebuilds_every_year(inputs: Path, name: str):
    _, cursor = _look(inputs, None)
    (inputs / name).write_bytes(b"other bytes")
    requests, _ = _look(inputs, cursor)
    assert [request.partition_key for request in requests] == list(YEARS)


def test_a_change_back_and_forth_asks_for_a_run_each_time(inputs: Path):
    _, cursor = _look(inputs, None)
    keys = set()
    for text in ("new\n", "figure_id\n", "new\n"):
        (inputs / "2021" / "totals.csv").write_text(text)
        (request,), cursor = _look(inputs, cursor)
        keys.add(request.run_key)
    assert len(keys) == 3


def test_an_archive_at_an_address_is_not_downloaded_by_looking(inputs: Path):
    remote = CpsSource(source="asec", asec_archive="https://example.org/asecpub23csv.zip")
    assert remote.is_remote()
    assert not CpsSource().is_remote()

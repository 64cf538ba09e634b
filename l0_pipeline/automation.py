"""When the dataset is rebuilt without anybody asking: on a schedule, and when an input changes.

Both are off for someone who only looks; ``L0_AUTOMATION=on`` in the environment of
`dagster dev` turns both on.
"""

import json
from collections.abc import Iterator

import dagster as dg

from l0_pipeline.jobs import rebuild
from l0_pipeline.resources.cps_source import CpsSource
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.resources.variables import VariableDictionary, figures_digest
from l0_pipeline.settings import (
    AUTOMATION_ON,
    REBUILD_CRON,
    REBUILD_TIMEZONE,
    SENSOR_SECONDS,
    YEARS,
)


@dg.schedule(
    job=rebuild,
    cron_schedule=REBUILD_CRON,
    execution_timezone=REBUILD_TIMEZONE,
    default_status=(
        dg.DefaultScheduleStatus.RUNNING if AUTOMATION_ON else dg.DefaultScheduleStatus.STOPPED
    ),
)
def weekly_rebuild(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """One run for each target year and week; a tick that is evaluated twice starts nothing new."""
    year, week, _ = context.scheduled_execution_time.isocalendar()
    for partition in YEARS:
        yield dg.RunRequest(run_key=f"{partition}-{year}-W{week:02d}", partition_key=partition)


@dg.sensor(
    job=rebuild,
    minimum_interval_seconds=SENSOR_SECONDS,
    default_status=(
        dg.DefaultSensorStatus.RUNNING if AUTOMATION_ON else dg.DefaultSensorStatus.STOPPED
    ),
)
def input_changed(
    context: dg.SensorEvaluationContext,
    cps_source: CpsSource,
    figures_source: FiguresSource,
    variable_dictionary: VariableDictionary,
) -> dg.SensorResult | dg.SkipReason:
    """Rebuild the years whose survey files or figures have other bytes than at the last look.

    The first look only remembers what is there. An archive at an https address is not watched:
    looking at it would mean to download it.
    """
    survey = "remote" if cps_source.is_remote() else cps_source.digest()
    now = {
        year: f"{survey[:16]}-{figures_digest(figures_source, variable_dictionary, int(year))[:16]}"
        for year in YEARS
    }
    if context.cursor is None:
        context.update_cursor(json.dumps({"changes": 0, "digests": now}))
        return dg.SkipReason("Remembered the inputs as they are; a change will start a rebuild.")
    before = json.loads(context.cursor)
    changed = [year for year in YEARS if now[year] != before["digests"].get(year)]
    if not changed:
        return dg.SkipReason("Survey files and figures are unchanged.")
    # numbered, since an input may change back and forth and each change asks for its own run
    number = before["changes"] + 1
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{year}-change-{number}-{now[year]}", partition_key=year)
            for year in changed
        ],
        cursor=json.dumps({"changes": number, "digests": now}),
    )

"""How the gates were trained: the loss, and the number of households still in."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report.content import Plate, Section
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import Words, count, percent, ratio


def section(tables: Mapping[str, pl.DataFrame], _: ReportHeading) -> Section:
    """Loss, households and temperature by epoch."""
    history = tables["training_history"]
    told = {
        "loss": f"Loss by epoch. {_course(history, 'selection', 'loss', percent)} "
        f"{_course(history, 'refit', 'loss', percent)}",
        "households": "Households expected to be kept, by epoch. "
        + _course(history, "selection", "expected_count", count),
        "temperature": "Temperature by epoch. "
        + _course(history, "selection", "temperature", ratio),
    }
    return Section(
        anchor="training",
        title="Training of the gates",
        lead=(
            "Each household has a gate, a random switch that learns to be open or closed. Gates "
            "and weights are trained together while the number of open gates falls to the budget; "
            "then the gates are taken away and the weights of those kept are refitted."
        ),
        blocks=(
            Plate(
                pictures=tuple(
                    picture(plots.training(history, (panel,)), told[panel])
                    for panel in plots.TRAINING
                ),
                caption=(
                    "Loss (mean error of the fitted targets, each counted as 100 % at most), "
                    "households expected to stay, and temperature: how undecided a gate may be. "
                    "An epoch is one look at all targets."
                ),
                tables=("training_history",),
            ),
        ),
    )


def _course(history: pl.DataFrame, stage: str, column: str, words: Words) -> str:
    values = history.filter(pl.col("stage") == stage)[column].drop_nulls()
    if values.is_empty():
        return f"Nothing is recorded of stage {stage}."
    return f"Stage {stage}: from {words(values[0])} to {words(values[-1])}."

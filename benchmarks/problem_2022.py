"""The pipeline's own problem of 2022 from the tables of the last ``make run``, and its judges."""

from typing import NamedTuple

import numpy as np
import polars as pl

from l0.survey import CalibrationProblem
from l0.survey.losses import mean_loss
from l0.survey.weights import effective_sample_size, weight_ratios
from l0_pipeline.io_managers import read_matrix
from l0_pipeline.logic.calibration import problem_of
from l0_pipeline.logic.hybrid import HeldNear
from l0_pipeline.logic.model_totals import with_responses
from l0_pipeline.logic.untargeted import within_area_shares
from l0_pipeline.resources.plans import SelectionPlan
from l0_pipeline.resources.warehouse import Warehouse
from l0_pipeline.settings import DATA_DIR, DEFAULT_YEAR

LOSS = "capped_relative"


class Quality(NamedTuple):
    """What a set of weights is judged by, all at once."""

    loss: float
    held_out: float
    effective_sample_size: float
    largest_ratio: float


def load() -> tuple[CalibrationProblem, CalibrationProblem]:
    """The fitted targets, and those that were held out, on the same households."""
    path = DATA_DIR / "arrays" / "constraint_matrix" / f"{DEFAULT_YEAR}.npz"
    if not path.exists():
        raise SystemExit(f"{path} is not there: `make run` builds it.")
    matrix = read_matrix(path)
    targets = roles()
    design = table("calibrated_weights")["scaled_design_weight"].to_numpy()
    fitted, held_out = (
        problem_of(role, matrix, targets, design_weights=design) for role in ("fitted", "held_out")
    )
    return fitted, held_out


def table(asset: str) -> pl.DataFrame:
    """An asset's table of the last build."""
    return pl.read_parquet(DATA_DIR / "tables" / asset / f"{DEFAULT_YEAR}.parquet")


def held_near(plan: SelectionPlan, *, design_weights: np.ndarray) -> HeldNear:
    """What the released weights are held near, by the selection plan."""
    households = table("households")
    return HeldNear(
        within_area_shares(households, plan.anchored, design_weights=design_weights),
        table("model_totals"),
        table("tax_units"),
        with_responses(table("tax_outputs"), table("tax_responses")),
        households["household_id"],
        **plan.held(),
    )


def roles() -> pl.DataFrame:
    """Every target of the last build with its role."""
    with Warehouse().reading() as connection:
        return connection.sql(
            'select * from target_roles where "year" = $year', params={"year": int(DEFAULT_YEAR)}
        ).pl()


def quality(
    problem: CalibrationProblem, held_out: CalibrationProblem, weights: np.ndarray
) -> Quality:
    """Judge weights (households,) on fitted and held-out targets."""
    return Quality(
        mean_loss(LOSS, problem.relative_errors(weights), problem.loss_weights),
        mean_loss(LOSS, held_out.relative_errors(weights), held_out.loss_weights),
        effective_sample_size(weights),
        float(weight_ratios(weights, problem.design_weights).max()),
    )

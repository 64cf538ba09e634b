"""Mixes of gates and chance beside each other: what each costs, and which are supported.

Imports torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from l0.survey import CalibrationProblem
from l0.survey.losses import mean_loss
from l0.survey.weights import effective_sample_size, weight_ratios
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.tables import STUDY_COLUMNS
from l0_pipeline.logic.untargeted import WithinAreaShares, drift


@dataclass(frozen=True)
class MixQuality:
    """One mix, and what its weights are judged by."""

    gate_share: float
    anchored: bool  # the survey's own shares were held
    loss: float
    held_out_error: float  # the loss of the held-out targets
    held_out_median_error: float
    effective_sample_size: float
    max_weight_ratio: float
    distortions: dict[str, float]  # of the columns that are held, by name
    watched_distortion: float | None  # the largest of the columns that are only watched
    drift: float | None  # median absolute drift of amounts that no target mentions
    standard_error: float | None  # median, of held-out estimates over scale; None without chance


@dataclass(frozen=True)
class Judges:
    """What every mix is judged by."""

    fitted: CalibrationProblem
    held_out: CalibrationProblem
    held: WithinAreaShares
    watched: WithinAreaShares
    households: pl.DataFrame
    amounts: Sequence[str]  # its columns whose means are judged
    loss: str

    def judge(
        self,
        weights: np.ndarray,  # (households,)
        *,
        gate_share: float,
        anchored: bool,
        standard_errors: np.ndarray | None,  # (held-out targets,), of their estimates
    ) -> MixQuality:
        """All numbers of one set of weights."""
        design = self.fitted.design_weights
        fitted, held_out = (
            problem.relative_errors(weights) for problem in (self.fitted, self.held_out)
        )
        moved = drift(self.households, self.amounts, weights=weights, design_weights=design)[
            "drift"
        ].drop_nulls()
        relative = None if standard_errors is None else standard_errors / self.held_out.scales
        return MixQuality(
            gate_share=gate_share,
            anchored=anchored,
            loss=mean_loss(self.loss, fitted, self.fitted.loss_weights),
            held_out_error=mean_loss(self.loss, held_out, self.held_out.loss_weights),
            held_out_median_error=float(np.median(np.abs(held_out))),
            effective_sample_size=effective_sample_size(weights),
            max_weight_ratio=float(weight_ratios(weights, design).max()),
            distortions=self.held.distortion(weights),
            watched_distortion=max(self.watched.distortion(weights).values(), default=None),
            drift=float(np.median(moved.abs())) if len(moved) else None,
            standard_error=None if relative is None else float(np.median(relative)),
        )


def compare(
    mixes: Sequence[MixQuality],
    *,
    most_error: float,
    most_distortion: float,
    least_effective: float,
) -> pl.DataFrame:
    """One row a mix, beside gates alone that are refitted on the targets alone.

    Args:
        mixes: that one (``gate_share`` 1, not anchored) among them.
        most_error: largest held-out error of a supported mix, as a multiple of that one's.
        most_distortion: largest distortion of any held column, as a multiple of that one's.
        least_effective: smallest effective sample size, as a multiple of that one's.
    """
    alone = next((mix for mix in mixes if mix.gate_share == 1 and not mix.anchored), None)
    if alone is None:
        raise InputError("the study has no gates alone to compare with. Study gate_share 1 too.")
    rows = []
    for mix in mixes:
        against = {
            "error_ratio": mix.held_out_error / alone.held_out_error,
            "distortion_ratio": max(
                _ratio(moved, alone.distortions[name]) for name, moved in mix.distortions.items()
            ),
            "effective_ratio": mix.effective_sample_size / alone.effective_sample_size,
        }
        supported = (
            against["error_ratio"] <= most_error
            and against["distortion_ratio"] <= most_distortion
            and against["effective_ratio"] >= least_effective
        )
        numbers = {name: number for name, number in vars(mix).items() if name != "distortions"}
        distortion = max(mix.distortions.values(), default=None)
        rows.append(numbers | {"distortion": distortion} | against | {"supported": supported})
    schema = {column.name: column.dtype for column in STUDY_COLUMNS}
    return (
        pl.DataFrame(rows, schema_overrides=schema)
        .select(list(schema))
        .sort("gate_share", "anchored")
    )


def _ratio(moved: float, alone: float) -> float:
    """Of two distortions; what gates alone leave as it is may not be distorted at all."""
    return moved / alone if alone > 0 else (math.inf if moved > 0 else 0.0)


def supported_share(study: pl.DataFrame) -> float | None:
    """The fewest gates of a supported mix; None where none is."""
    shares = study.filter("supported")["gate_share"]
    return float(shares.min()) if len(shares) else None  # type: ignore[arg-type]

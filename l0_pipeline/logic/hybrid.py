"""Households kept by gates and by chance: the draw, and the tables that describe it. Imports torch.

Each household of the pool has a known chance to be kept, given the gates. Weights are refitted in
``l0.survey.refit``; what these weights are held near is in ``untargeted`` and ``model_totals``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from l0.survey import (
    CalibrationProblem,
    RefitSettings,
    ReplicateWeights,
    Sample,
    collapse_strata,
    horvitz_thompson_total,
    refit,
    replicate_weights,
    select_hybrid,
)
from l0.survey.device import choose_device
from l0.survey.selection.designs import Design
from l0.survey.weights import effective_sample_size
from l0_pipeline.logic.anchors import anchored
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.model_totals import model_anchors
from l0_pipeline.logic.untargeted import AREA, WithinAreaShares

ROUNDING = 1e-9
# a household whose gate was surely open is drawn up to twenty times as often as one whose was shut
LEAST_OPEN = 0.05
# equal households that would make an estimate's variance as unevenly: of fewer it is not known
FEWEST_CARRYING = 20


@dataclass(frozen=True)
class HeldNear:
    """What the weights of kept households are held near besides the targets."""

    shares: WithinAreaShares
    totals: pl.DataFrame  # as ``model_totals`` gives them
    tax_units: pl.DataFrame
    tax_outputs: pl.DataFrame  # of the same units, in the same order, with those at other incomes
    household_ids: pl.Series  # of all households, ascending
    anchor_weight: float  # of all shares, where that of all targets is 1
    model_weight: float  # of all totals of the model

    def problem(self, targets: CalibrationProblem, sample: Sample) -> CalibrationProblem:
        """The targets with these anchors below them, for the households of ``sample`` alone."""
        kept = self.household_ids.gather(sample.indices).implode()
        chosen = self.tax_units["household_id"].is_in(kept)
        totals = model_anchors(
            self.totals,
            self.tax_units.filter(chosen),
            self.tax_outputs.filter(chosen),
            household_ids=self.household_ids,
        )
        return anchored(
            targets, (self.shares.anchors(), self.anchor_weight), (totals, self.model_weight)
        )


def draw_hybrid(
    calibrated_weights: pl.DataFrame,
    households: pl.DataFrame,
    shares: WithinAreaShares,
    *,
    size: int,
    gate_share: float,
    gates_enter: str,
    design: Design,
    size_measure: str,
    least_state_share: float,
    seed: int,
) -> Sample:
    """The best households by their gates, and a sample of the others within each state.

    Args:
        calibrated_weights: one row a household: its gate's location, its design weight.
        households: in the same order, with ``state_fips``.
        shares: the categories that the cube method balances.
        size: households to keep in all.
        gate_share: share of them chosen by gates.
        gates_enter: "certainly" or "by_open_probability".
        design: of the random part within each state.
        size_measure: "equal" chances in a state, or in proportion to the "design_weight" or to
            the gate's "open_probability", none taken as less than ``LEAST_OPEN``.
        least_state_share: of a state's proportional part of ``size``, what it keeps at least.
        seed: of the draw.
    """
    if design == "simple_random" and size_measure != "equal":
        raise InputError(
            f"the design simple_random gives equal chances, but size_measure is {size_measure}. "
            "Set size_measure of the resource selection_plan to equal, or its design to sampford."
        )
    weights = calibrated_weights["scaled_design_weight"].to_numpy()
    areas = households[AREA].to_numpy()
    opened = calibrated_weights["open_probability"].to_numpy()
    measures = {
        "equal": None,
        "design_weight": weights,
        "open_probability": np.maximum(opened, LEAST_OPEN),
    }
    return select_hybrid(
        calibrated_weights["log_alpha"].fill_null(-np.inf).to_numpy(),
        weights,
        size=size,
        gate_share=gate_share,
        open_probability=opened if gates_enter == "by_open_probability" else None,
        design=design,
        size_measure=measures[size_measure],
        balance=_balancing_columns(households, shares) if design == "cube" else None,
        areas=areas,
        minimum=least_by_state(areas, size=size, least_state_share=least_state_share),
        seed=seed,
    )


def refit_hybrid(
    problem: CalibrationProblem,
    sample: Sample,
    *,
    expansion: float,
    loss: str,
    settings: RefitSettings,
    device: str,
) -> np.ndarray:  # (households,)
    """Weights of the households kept, near their design weights over a power of their chance.

    Args:
        problem: what they are to reproduce.
        sample: the households kept.
        expansion: the power: 1 starts from the inverse inclusion probability, 0 from the design
            weight alone.
        loss: how errors are judged.
        settings: of the refit.
        device: where to compute.
    """
    reference = problem.design_weights[sample.indices] / sample.inclusion_probability**expansion
    return refit(
        problem,
        sample.indices,
        reference=reference,
        loss=loss,
        settings=settings,
        device=choose_device(device),
    ).weights


def replicates_of(
    problem: CalibrationProblem,
    sample: Sample,
    weights: np.ndarray,  # (size,)
    *,
    total: str,
    variance_of: str,
    **settings: Any,
) -> ReplicateWeights:
    """Replicates of refitted weights, strata of one household that varies joined to others.

    Args:
        problem: what the weights were fitted to.
        sample: the households kept.
        weights: theirs.
        total: what the fit did to the sum of weights, "fixed" or "free".
        variance_of: "thinning" or "survey"; under "survey" households kept for certain vary too.
        settings: the others of ``l0.survey.replicate_weights``.
    """
    joined = collapse_strata(sample, certain_vary=variance_of == "survey")
    return replicate_weights(
        problem,
        sample.indices,
        weights,
        inclusion_probability=sample.inclusion_probability,
        strata=joined.strata,
        hold_total=total == "fixed",
        variance_of=variance_of,
        **settings,
    )


def shortened(weights: np.ndarray) -> np.ndarray:
    """Weights above or at zero, to 17 binary digits: to eight millionths, in a sixth less space."""
    binary = weights.astype(np.float32).view(np.int32)
    rounded = (binary + 0x40) & ~0x7F
    return rounded.view(np.float32).astype(np.float64)


def least_by_state(
    areas: np.ndarray,  # (households,)
    *,
    size: int,
    least_state_share: float,
) -> dict[int, int]:
    """The fewest households that each state keeps: a share of its proportional part, rounded up."""
    codes, counts = np.unique(areas, return_counts=True)
    least = np.ceil(least_state_share * size * counts / len(areas))
    return {int(code): int(number) for code, number in zip(codes, least, strict=True)}


def selected_table(
    sample: Sample,
    *,
    household_ids: pl.Series,
    design_weights: np.ndarray,  # (households,)
    weights: np.ndarray,  # (households,), zero outside the sample
    weight_ratios: np.ndarray,  # (size,)
) -> pl.DataFrame:
    """One row a household kept, with how it came in and what it weighs."""
    return pl.DataFrame(
        {
            "household_id": household_ids.gather(sample.indices),
            "kind": sample.kind,
            "stratum": sample.strata.astype(np.int64),
            "inclusion_probability": sample.inclusion_probability,
            "scaled_design_weight": design_weights[sample.indices],
            "weight": weights[sample.indices],
            "weight_ratio": weight_ratios,
        }
    )


def sample_of(selected: pl.DataFrame, household_ids: pl.Series) -> Sample:
    """The sample that ``selected_households`` records, its places among all households."""
    places = household_ids.to_frame("household_id").with_row_index("place")
    kept = selected.join(places, on="household_id", how="left", maintain_order="left")
    return Sample(
        indices=kept["place"].to_numpy().astype(np.intp),
        kind=kept["kind"].to_numpy().astype(np.str_),
        inclusion_probability=kept["inclusion_probability"].to_numpy(),
        strata=kept["stratum"].to_numpy().astype(np.intp),
        joint=None,
    )


def design_table(
    selected: pl.DataFrame,
    households: pl.DataFrame,
    *,
    least_state_share: float,
) -> pl.DataFrame:
    """One row a state: households in the pool, kept in each way, at least wanted, chance."""
    pool = households.group_by(AREA).agg(pool=pl.len().cast(pl.Int64))
    least = least_by_state(
        households[AREA].to_numpy(), size=len(selected), least_state_share=least_state_share
    )
    of_kind = {
        kind: (pl.col("kind") == name).sum().cast(pl.Int64)
        for kind, name in {"by_gates": "l0", "at_random": "random"}.items()
    }
    kept = (
        selected.join(households.select("household_id", AREA), on="household_id")
        .group_by(AREA)
        .agg(**of_kind)
    )
    return (
        pool.join(kept, on=AREA, how="left")
        .with_columns(pl.col("by_gates", "at_random").fill_null(0))
        .with_columns(
            random_share=pl.col("at_random") / (pl.col("pool") - pl.col("by_gates")),
            minimum=pl.col(AREA).replace_strict(least, return_dtype=pl.Int64),
        )
        .sort(AREA)
    )


def expanded_totals(
    selected: pl.DataFrame, households: pl.DataFrame, *, design_weights: np.ndarray
) -> pl.DataFrame:
    """Horvitz-Thompson estimates of what the whole file says, beside it, before any refit.

    Returns:
        ``variable``; ``difference`` of the estimate to the whole file's total and its
        ``standard_error``, both as shares of that total; ``distance``, the one over the other;
        ``carrying``, how many equal households would make the variance as unevenly; and the
        ``pool``'s total, to the nearest unit. A variable that is zero for everybody is left out;
        error and distance are null where the design leaves none, and distance also where fewer
        than ``FEWEST_CARRYING`` tell the error: of a rare amount nothing is judged.
    """
    # a stratum of one random household shows no spread
    sample = collapse_strata(sample_of(selected, households["household_id"]))
    kept = design_weights[sample.indices]
    chance = sample.inclusion_probability
    spread = kept * np.sqrt(1 - chance) / chance
    rows = []
    for name in ["households", *_amounts(households)]:
        values = np.ones(len(households)) if name == "households" else households[name].to_numpy()
        variances = np.square(values[sample.indices] * spread)
        carrying = effective_sample_size(variances) if variances.any() else 0.0
        found = horvitz_thompson_total(
            values[sample.indices].astype(np.float64), sample, design_weights=kept
        )
        rows.append(
            (name, float(values @ design_weights), found.value, found.standard_error, carrying)
        )
    table = pl.DataFrame(
        rows, schema=["variable", "total", "estimate", "error", "carrying"], orient="row"
    )
    of_pool = table.filter(pl.col("total") != 0).select(
        "variable",
        difference=pl.col("estimate") / pl.col("total") - 1,
        # weights that make a total exact leave it nothing but rounding
        standard_error=pl.when(pl.col("error") > ROUNDING * pl.col("total").abs()).then(
            pl.col("error") / pl.col("total").abs()
        ),
        carrying="carrying",
        pool=pl.col("total").round().cast(pl.Int64),
    )
    distance = pl.when(pl.col("carrying") >= FEWEST_CARRYING).then(
        pl.col("difference") / pl.col("standard_error")
    )
    return of_pool.select(
        "variable", "difference", "standard_error", distance.alias("distance"), "carrying", "pool"
    )


def _amounts(households: pl.DataFrame) -> list[str]:
    """The columns of ``households`` that can be summed, weights and identifiers apart."""
    apart = {"household_id", AREA, "income_year", "design_weight"}
    return [
        name for name, kind in households.schema.items() if kind.is_numeric() and name not in apart
    ]


def _balancing_columns(
    households: pl.DataFrame, shares: WithinAreaShares
) -> np.ndarray:  # (households, columns)
    """Persons, tax units, and an indicator of each category in the nation."""
    categories = shares.cells.select("variable", "category").with_row_index("cell")
    of_nation = [
        np.asarray(shares.indicators[rows.to_numpy()].sum(axis=0)).ravel()
        for rows in categories.group_by("variable", "category", maintain_order=True).agg("cell")[
            "cell"
        ]
    ]
    counts = households.select("persons", "tax_units").to_numpy().astype(np.float64)
    return np.column_stack([counts, *of_nation])

"""The weights: how far they are from the design's, and how unevenly they are spread."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report.content import Plate, Section, Shown, Table, table
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import count, percent, ratio

QUANTILES = {
    0.0: "smallest", 0.01: "1 %", 0.05: "5 %", 0.25: "25 %", 0.5: "median",
    0.75: "75 %", 0.95: "95 %", 0.99: "99 %", 1.0: "largest",
}  # fmt: skip
KINDS = {"l0": "chosen by gates", "random": "drawn at random"}


def section(tables: Mapping[str, pl.DataFrame], _: ReportHeading) -> Section:
    """Histograms of ratios and weights, a Lorenz curve, and quantiles."""
    households = tables["households"]
    weight, ratios = households["weight"], households["weight_ratio"]
    heaviest = np.sort(weight.to_numpy())[-max(1, len(weight) // 10) :]
    tenth = float(heaviest.sum()) / float(weight.sum())
    return Section(
        anchor="weights",
        title="Weights",
        lead=(
            "A weight is the number of households that one stands for. Its ratio is the weight "
            "over the design weight, once all design weights of the kept households are raised "
            "to the survey's total: 1 where thinning alone made it. Few large ratios are a sign "
            "of good health."
        ),
        blocks=(
            Plate(
                pictures=(
                    picture(
                        plots.histogram(
                            ratios, title="Weight ratios", xlabel="weight ratio", quantiles=True
                        ),
                        f"Histogram of weight ratios. Median {ratio(ratios.median())}, 5 % are "
                        f"below {ratio(ratios.quantile(0.05))}, 5 % above "
                        f"{ratio(ratios.quantile(0.95))}, the largest is {ratio(ratios.max())}.",
                    ),
                    picture(
                        plots.histogram(
                            weight,
                            title="Weights",
                            xlabel="households that one stands for",
                            quantiles=True,
                        ),
                        f"Histogram of weights. Median {count(weight.median())}, 5 % are below "
                        f"{count(weight.quantile(0.05))}, 5 % above "
                        f"{count(weight.quantile(0.95))}, the largest is {count(weight.max())}.",
                    ),
                    picture(
                        plots.lorenz(
                            {"released": weight, "design": households["scaled_design_weight"]}
                        ),
                        f"Lorenz curve. The heaviest tenth of the households carries "
                        f"{percent(tenth, digits=1)} of the weight.",
                    ),
                ),
                caption=(
                    "Ratios and weights of the released households, with lines at the quantiles "
                    "(share of households below), and the share of the weight that the lightest "
                    "households carry, beside the design weights of the same households."
                ),
                tables=("households",),
            ),
            _quantiles(households),
        ),
    )


def _quantiles(households: pl.DataFrame) -> Table:
    groups = {"all": households} | {
        label: chosen
        for kind, label in KINDS.items()
        if len(chosen := households.filter(pl.col("kind") == kind))
    }
    rows = [
        {"of": f"{name}, {label}", "households": len(chosen)}
        | {
            said: float(np.quantile(chosen[column].to_numpy(), share))
            for share, said in QUANTILES.items()
        }
        for column, name in (("weight_ratio", "ratio"), ("weight", "weight"))
        for label, chosen in groups.items()
    ]
    return table(
        pl.DataFrame(rows),
        [
            Shown("of", "Of"),
            Shown("households", "Households", count),
            *(Shown(said, said, ratio) for said in QUANTILES.values()),
        ],
        caption="Quantiles of ratios and weights: the share of households with less",
        tables=("households",),
    )

"""A frontier as a figure, readable without colour vision. Imports matplotlib."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from l0.survey.frontier import Frontier

# of Okabe and Ito's colours, told apart by people with any colour vision
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#777777"


def plot(found: Frontier) -> Figure:
    """Three panels over the number of records kept: errors, effective sample size, ratio."""
    figure = Figure(figsize=(13.2, 3.4), layout="constrained")
    errors, effective, ratio = figure.subplots(1, 3)
    sizes = [point.budget for point in found.points]
    errors.plot(sizes, [point.loss for point in found.points], "o-", color=_BLUE, label="fitted")
    held_out = np.array([point.held_out_error for point in found.points])
    if not np.isnan(held_out).all():
        errors.plot(sizes, held_out, "s--", color=_ORANGE, label="held out")
    effective.plot(
        sizes, [point.effective_sample_size for point in found.points], "o-", color=_BLUE
    )
    effective.plot(sizes, sizes, ":", color=_GREY, label="equal weights")
    effective.set_ylim(bottom=0)
    ratio.plot(sizes, [point.max_weight_ratio for point in found.points], "o-", color=_BLUE)
    titles = ("Loss", "Effective sample size", "Largest weight over scaled design weight")
    for axes, title in zip((errors, effective, ratio), titles, strict=True):
        _finish(axes, title, found)
    errors.set_ylim(bottom=0)
    ratio.set_ylim(bottom=0)
    errors.legend(frameon=False)
    effective.legend(frameon=False)
    return figure


def _finish(axes: Axes, title: str, found: Frontier) -> None:
    sizes = [point.budget for point in found.points]
    axes.set(title=title, xlabel="records kept", xscale="log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45)
    axes.minorticks_off()
    chosen = found.suggested.budget
    axes.axvline(chosen, color=_GREY, linewidth=0.8, label=f"suggested: {chosen:,}")

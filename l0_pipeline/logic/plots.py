"""Small figures that say more than a number, readable without colour vision."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by people with any colour vision
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"


def training(history: pl.DataFrame) -> Figure:
    """Loss of both stages, expected number of open gates against the budget, temperature."""
    figure, (loss, count, temperature) = _panels(3)
    gates = history.filter(pl.col("stage") == "selection").with_columns(
        pl.col("expected_count").fill_null(pl.col("records"))
    )
    refit = history.filter(pl.col("stage") == "refit")
    loss.plot(gates["epoch"], gates["loss"], color=BLUE, label="selection")
    if len(refit):
        after = refit["epoch"] + (gates["epochs"].max() or 0)
        loss.plot(after, refit["loss"], color=ORANGE, linestyle="--", label="refit")
    # a loss of nothing but zeros has no logarithm
    loss.set_yscale("log" if (history["loss"] > 0).any() else "linear")
    loss.set(xlabel="epoch", title="Loss: mean capped relative error")
    loss.legend(frameon=False)
    count.plot(gates["epoch"], gates["expected_count"], color=BLUE, label="expected to be kept")
    if len(gates):
        budget = gates["budget"][-1]
        count.axhline(budget, color=ORANGE, linestyle=":", label=f"budget: {budget:,.0f}")
    count.set(yscale="log", xlabel="epoch", title="Households")
    count.legend(frameon=False)
    temperature.plot(gates["epoch"], gates["temperature"], color=BLUE)
    temperature.set(xlabel="epoch", title="Temperature", ylim=(0, None))
    return figure


def errors(fit: pl.DataFrame, labels: Mapping[str, str]) -> Figure:
    """The share of targets within any error, fitted and held out, one line a set of weights."""
    figure, axes = _panels(2)
    styles = dict(
        zip(labels, [(GREY, ":"), (ORANGE, "--"), (GREEN, "-."), (BLUE, "-")], strict=False)
    )
    for panel, (role, title) in zip(
        axes, {"fitted": "Fitted targets", "held_out": "Held-out targets"}.items(), strict=True
    ):
        chosen = fit.filter(pl.col("role") == role)
        # before anything is drawn: limits found from no data at all would be a warning
        panel.set(
            xscale="log", xlim=(1e-4, 10), ylim=(0, 1),
            title=title, xlabel="absolute relative error", ylabel="share of targets",
        )  # fmt: skip
        for name, label in labels.items():
            error = np.sort(np.abs(chosen[f"{name}_error"].to_numpy()))
            share = np.arange(1, len(error) + 1) / max(len(error), 1)
            color, line = styles[name]
            panel.plot(np.maximum(error, 1e-4), share, color=color, linestyle=line, label=label)
        panel.axvline(0.1, color=GREY, linewidth=0.8)
    axes[1].legend(frameon=False, loc="upper left")
    return figure


def family_errors(families: pl.DataFrame, *, title: str = "") -> Figure:
    """Median error of each family, fitted and held out, the largest families first."""
    shown = families.sort("fitted", descending=True).head(25).reverse()
    figure = Figure(figsize=(9, 0.28 * len(shown) + 1.2), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(shown))
    axes.plot(shown["fitted_median_error"], place, "o", color=BLUE, label="fitted")
    axes.plot(
        shown["held_out_median_error"], place, "s", mfc="none", color=ORANGE, label="held out"
    )
    axes.set_yticks(place, shown["family"].to_list())
    axes.set(xlabel="median absolute relative error", xlim=(0, None), title=title)
    axes.grid(axis="y", linewidth=0.3)
    axes.legend(frameon=False)
    return figure


def unseen_errors(families: pl.DataFrame) -> Figure:
    """Median error of each family whose targets were not fitted, the largest errors first."""
    shown = families.sort("unseen_median_error", descending=True)
    return bars(
        shown,
        names="family",
        values={"unseen_median_error": "unseen"},
        title="Median absolute relative error of targets that were not fitted",
    )


def histogram(values: pl.Series, *, title: str, xlabel: str, log: bool = True) -> Figure:
    """How values spread; on a logarithmic axis where they span orders of magnitude."""
    figure, (axes,) = _panels(1)
    numbers = values.drop_nulls().to_numpy()
    numbers = numbers[np.isfinite(numbers)]
    if log:
        numbers = numbers[numbers > 0]
    if len(numbers):
        low, high = float(numbers.min()), float(numbers.max())
        spread = high > low
        edges = np.geomspace if log else np.linspace
        axes.hist(numbers, bins=list(edges(low, high, 41)) if spread else 1, color=BLUE)
        if log and spread:
            axes.set_xscale("log")
    axes.set(title=title, xlabel=xlabel, ylabel="count")
    return figure


def bars(table: pl.DataFrame, *, names: str, values: Mapping[str, str], title: str) -> Figure:
    """Bars by name, stacked by column; ``values`` maps columns to their labels."""
    figure = Figure(figsize=(9, 0.2 * len(table) + 1.2), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(table))
    place = np.arange(len(table))[::-1]
    for color, hatch, (column, label) in zip(
        (BLUE, ORANGE, GREEN, GREY), ("", "//", "..", "xx"), values.items(), strict=False
    ):
        width = table[column].to_numpy()
        axes.barh(place, width, left=left, color=color, hatch=hatch, edgecolor="white", label=label)
        left = left + width
    axes.set_yticks(place, table[names].cast(pl.String).to_list(), fontsize=7)
    axes.set(title=title)
    axes.margins(y=0.01)
    if len(values) > 1:
        axes.legend(frameon=False)
    return figure


def mixes(study: pl.DataFrame) -> Figure:
    """What more chance costs in held-out error, against what it saves in distortion."""
    figure, (error, distortion, effective) = _panels(3)
    styles = {False: ("targets alone", ORANGE, "s--"), True: ("shares held", BLUE, "o-")}
    for anchored, (label, color, style) in styles.items():
        chosen = study.filter(anchored=anchored)
        for panel, column in (
            (error, "error_ratio"),
            (distortion, "distortion_ratio"),
            (effective, "effective_ratio"),
        ):
            panel.plot(chosen["gate_share"], chosen[column], style, color=color, label=label)
    for panel, title in (
        (error, "Held-out error"),
        (distortion, "Distortion of what no target mentions"),
        (effective, "Effective sample size"),
    ):
        panel.axhline(1, color=GREY, linewidth=0.8)
        panel.set(title=title, xlabel="share chosen by gates", ylim=(0, None))
    error.set(ylabel="multiple of gates alone")
    error.legend(frameon=False)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(4.4 * count, 3.2), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, count)))

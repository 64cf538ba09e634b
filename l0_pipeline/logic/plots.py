"""Small figures that say more than a number, readable without colour vision.

Tables in, a figure out. Each is drawn for one column of a page, so that a telephone shows it
too; figures of several panels draw the panels that are asked for.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from l0_pipeline.logic.report.areas import AREAS, NATION, POSTAL

# Okabe and Ito's colours, told apart by people with any colour vision
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
SHADES = LinearSegmentedColormap.from_list("white to blue", ["#F2F7FB", BLUE, "#003B5C"])

WIDTH, PANEL_WIDTH, PANEL_HEIGHT = 5.2, 4.6, 3.3  # inches
TRAINING = ("loss", "households", "temperature")
ROLES = {"fitted": "Fitted targets", "held_out": "Held-out targets"}
LEVELS = {"nation": "Nation", "states": "States"}
WITHIN = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)  # errors at which cumulative shares are told
CURVE_POINTS = 400
FRONTIER = ("error", "effective_sample_size", "max_weight_ratio")


def training(history: pl.DataFrame, panels: Sequence[str] = TRAINING) -> Figure:
    """Loss of both stages, expected number of open gates against the budget, temperature."""
    figure, all_axes = _panels(len(panels))
    gates = history.filter(pl.col("stage") == "selection").with_columns(
        pl.col("expected_count").fill_null(pl.col("records"))
    )
    refit = history.filter(pl.col("stage") == "refit")
    for axes, panel in zip(all_axes, panels, strict=True):
        if panel == "loss":
            axes.plot(gates["epoch"], gates["loss"], color=BLUE, label="selection")
            if len(refit):
                after = refit["epoch"] + (gates["epochs"].max() or 0)
                axes.plot(after, refit["loss"], color=ORANGE, linestyle="--", label="refit")
            # a loss of nothing but zeros has no logarithm
            if (history["loss"] > 0).any():
                axes.set_yscale("log")
                _say_powers(axes.yaxis, _percent)
            axes.set(xlabel="epoch", title="Loss: mean capped relative error")
            axes.legend(frameon=False)
        elif panel == "households":
            axes.plot(
                gates["epoch"], gates["expected_count"], color=BLUE, label="expected to be kept"
            )
            if len(gates):
                budget = gates["budget"][-1]
                axes.axhline(budget, color=ORANGE, linestyle=":", label=f"budget: {budget:,.0f}")
            axes.set(yscale="log", xlabel="epoch", title="Households")
            _say_powers(axes.yaxis, "{:,.0f}".format)
            axes.legend(frameon=False)
        else:
            axes.plot(gates["epoch"], gates["temperature"], color=BLUE)
            axes.set(xlabel="epoch", title="Temperature", ylim=(0, None))
    return figure


def errors(
    fit: pl.DataFrame, labels: Mapping[str, str], roles: Sequence[str] = tuple(ROLES)
) -> Figure:
    """The share of targets within any error, fitted and held out, one line a set of weights."""
    figure, axes = _panels(len(roles))
    styles = dict(
        zip(labels, [(GREY, ":"), (ORANGE, "--"), (GREEN, "-."), (BLUE, "-")], strict=False)
    )
    for panel, role in zip(axes, roles, strict=True):
        chosen = fit.filter(pl.col("role") == role)
        _cumulative_axes(panel, title=ROLES[role])
        for name, label in labels.items():
            color, line = styles[name]
            _cumulative(panel, chosen[f"{name}_error"], color=color, linestyle=line, label=label)
        panel.axvline(0.1, color=GREY, linewidth=0.8)
    _legend_below(figure, axes[-1], columns=2 * len(roles))
    return figure


def errors_by_level(fit: pl.DataFrame, *, weights: str = "released") -> Figure:
    """The share of targets within any error: nation and states, fitted and held out."""
    figure, (axes,) = _panels(1)
    _cumulative_axes(axes, title="National and state targets")
    styles = {
        ("nation", "fitted"): (BLUE, "-"), ("states", "fitted"): (GREEN, "-."),
        ("nation", "held_out"): (ORANGE, "--"), ("states", "held_out"): (GREY, ":"),
    }  # fmt: skip
    for (level, role), (color, line) in styles.items():
        chosen = fit.filter(pl.col("role") == role).filter(of_level(level))[f"{weights}_error"]
        if len(chosen):
            label = f"{level}, {role.replace('_', ' ')}"
            _cumulative(axes, chosen, color=color, linestyle=line, label=label)
    _legend_below(figure, axes, columns=2)
    axes.axvline(0.1, color=GREY, linewidth=0.8)
    return figure


def of_level(level: str) -> pl.Expr:
    """Whether a target is about the nation, or about a state."""
    nation = pl.col("geography") == NATION
    return nation if level == "nation" else ~nation


def cumulative_by_family(
    fit: pl.DataFrame, *, level: str, role: str, weights: str = "released"
) -> Figure:
    """Of each family's targets the share within each of several errors, as shaded numbers."""
    shares = shares_within(fit.filter(of_level(level)), role=role, weights=weights)
    figure = Figure(figsize=(WIDTH, 0.24 * len(shares) + 1.1), layout="constrained")
    axes = figure.subplots()
    numbers = shares.select(str(limit) for limit in WITHIN).to_numpy().astype(float)
    if len(shares):
        axes.imshow(numbers, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    for (row, column), number in np.ndenumerate(numbers):
        ink = _ink(SHADES(number))
        axes.text(column, row, f"{100 * number:.0f}", ha="center", va="center", color=ink)
    axes.set_xticks(range(len(WITHIN)), [f"{100 * limit:.0f} %" for limit in WITHIN])
    names = [f"{_subject(name)} ({count})" for name, count in shares["family", "targets"].rows()]
    axes.set_yticks(range(len(shares)), names, fontsize=8)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.set_title(f"{LEVELS[level]}: {ROLES[role].lower()} within an error, %")
    return figure


def shares_within(fit: pl.DataFrame, *, role: str, weights: str = "released") -> pl.DataFrame:
    """By family: targets of the role, and the share of them within each error of ``WITHIN``."""
    error = pl.col(f"{weights}_error").abs()
    return (
        fit.filter(pl.col("role") == role)
        .group_by("family")
        .agg(targets=pl.len(), **{str(limit): (error <= limit).mean() for limit in WITHIN})
        .sort("family")
    )


def estimates(fit: pl.DataFrame, *, weights: str, role: str, title: str) -> Figure:
    """Each target's estimate against its value, both without sign, on logarithmic axes.

    Negative values are triangles. Where one of the two is zero, or the signs differ, no place on
    such axes is right: those targets lie on the left or on the lower edge.
    """
    figure, (axes,) = _panels(1)
    judged = fit.filter(pl.col("role").is_in(list(ROLES)))
    both = np.abs(judged.select("value", "^.*_estimate$").to_numpy().astype(float))
    positive = both[np.isfinite(both) & (both > 0)]
    limits = (
        (float(positive.min()) / 4, float(positive.max()) * 2) if positive.size else (1.0, 10.0)
    )
    axes.set(
        xscale="log", yscale="log", xlim=limits, ylim=limits, title=title,
        xlabel="published value", ylabel="estimate",
    )  # fmt: skip
    axes.minorticks_off()
    axes.plot(limits, limits, color=GREY, linewidth=0.8)
    shown = fit.filter(pl.col("role") == role)
    value, estimate = shown["value"].to_numpy(), shown[f"{weights}_estimate"].to_numpy()
    agree = np.sign(value) * np.sign(estimate) > 0
    for of_amounts, label, marker, color in (
        (True, "amounts in dollars", ".", BLUE),
        (False, "counts", "+", ORANGE),
    ):
        of_unit = (shown["unit"] == "dollars").to_numpy() == of_amounts
        inner = of_unit & agree & (value > 0)
        axes.plot(
            value[inner], estimate[inner], marker, color=color, markersize=3,
            markeredgewidth=0.6, alpha=0.6, rasterized=True, label=label,
        )  # fmt: skip
    below = agree & (value < 0)
    if below.any():
        axes.plot(-value[below], -estimate[below], "v", color=GREEN, mfc="none", label="below zero")
    if not agree.all():
        x = np.where(value == 0, limits[0], np.abs(value))[~agree]
        y = np.where(value == 0, np.abs(estimate), limits[0])[~agree]
        label = "a zero, or the other sign"
        axes.plot(x, np.clip(y, *limits), "x", color="black", clip_on=False, label=label)
    axes.legend(frameon=False, loc="upper left", fontsize=8, markerscale=1.5)
    return figure


def family_errors(families: pl.DataFrame, *, title: str = "") -> Figure:
    """Median error of each family, fitted and held out, the largest families first."""
    shown = families.sort("fitted", descending=True).head(25)
    return dots(
        shown,
        names="family",
        values={"fitted_median_error": "fitted", "held_out_median_error": "held out"},
        xlabel="median absolute relative error",
        title=title,
    )


def unseen_errors(families: pl.DataFrame) -> Figure:
    """Median error of each family whose targets were not fitted, the largest errors first."""
    shown = families.sort("unseen_median_error", descending=True)
    return bars(
        shown,
        names="family",
        values={"unseen_median_error": "unseen"},
        title="Median error of targets not fitted",
    )


def standard_errors(families: pl.DataFrame) -> Figure:
    """Median standard error of each family's estimates, fitted and held out."""
    return dots(
        families,
        names="family",
        values={"fitted_median": "fitted", "held_out_median": "held out"},
        xlabel="median standard error, as a share of the value",
    )


def dots(
    table: pl.DataFrame,
    *,
    names: str,
    values: Mapping[str, str],
    xlabel: str,
    title: str = "",
) -> Figure:
    """Up to two shares of each name side by side, as a dot and an open square."""
    shown = table.reverse()
    figure, axes, place = _by_name(shown[names], xlabel=xlabel)
    marks = (("o", BLUE, BLUE), ("s", ORANGE, "none"))
    for (column, label), (marker, color, fill) in zip(values.items(), marks, strict=False):
        axes.plot(shown[column], place, marker, color=color, mfc=fill, label=label, clip_on=False)
    axes.set_title(title)
    axes.set_xlim(0, None)
    axes.margins(y=0.02)
    _legend_below(figure, axes, columns=2)
    return figure


def histogram(
    values: pl.Series, *, title: str, xlabel: str, log: bool = True, quantiles: bool = False
) -> Figure:
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
            _say_powers(axes.xaxis, "{:,g}".format, digits=(1,))
        if quantiles:
            _quantile_lines(axes, numbers)
    axes.set(title=title, xlabel=xlabel, ylabel="count")
    return figure


def lorenz(weights: Mapping[str, pl.Series]) -> Figure:
    """Which share of the weight the lightest households carry, one line a set of weights."""
    figure, (axes,) = _panels(1)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, label="all weights equal")
    for (label, series), (color, line) in zip(
        weights.items(), ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-.")), strict=False
    ):
        ordered = np.sort(series.to_numpy())
        carried = np.concatenate([[0.0], np.cumsum(ordered)]) / max(ordered.sum(), 1e-300)
        households = np.linspace(0, 1, len(carried))
        few = _few(len(carried))
        axes.plot(households[few], carried[few], color=color, linestyle=line, label=label)
    axes.set(
        xlim=(0, 1), ylim=(0, 1), title="Lorenz curve of the weights",
        xlabel="share of households, lightest first", ylabel="share of the weight",
    )  # fmt: skip
    axes.legend(frameon=False, loc="upper left")
    return figure


def bars(table: pl.DataFrame, *, names: str, values: Mapping[str, str], title: str) -> Figure:
    """Bars by name, stacked by column; ``values`` maps columns to their labels."""
    height = 0.18 * len(table) + 1.2
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(table))
    place = np.arange(len(table))[::-1]
    for color, hatch, (column, label) in zip(
        (BLUE, ORANGE, GREEN, GREY), ("", "//", "..", "xx"), values.items(), strict=False
    ):
        width = table[column].to_numpy()
        axes.barh(place, width, left=left, color=color, hatch=hatch, edgecolor="white", label=label)
        left = left + width
    axes.set_yticks(place, [_verbatim(name) for name in table[names]], fontsize=8)
    axes.set(title=title)
    axes.margins(y=0.01)
    if len(values) > 1:
        axes.legend(frameon=False)
    return figure


def kept_by_state(design: pl.DataFrame) -> Figure:
    """Households kept by state, those chosen by gates and those drawn at random."""
    table = design.with_columns(state=postal("state_fips"))
    return bars(
        table,
        names="state",
        values={"by_gates": "chosen by gates", "at_random": "drawn at random"},
        title="Households kept",
    )


def postal(column: str) -> pl.Expr:
    """The postal codes of a column of FIPS codes; a code without one as it is."""
    code = pl.col(column).cast(pl.Int64, strict=False)
    return code.replace_strict(POSTAL, default=pl.col(column).cast(pl.String))


def tile_map(values: Mapping[int, float | None], *, title: str, percent: bool = False) -> Figure:
    """A number of each state, on one tile a state; states without a number stay white."""
    figure = Figure(figsize=(WIDTH, 0.56 * WIDTH + 0.5), layout="constrained")
    axes = figure.subplots()
    known = {fips: float(number) for fips, number in values.items() if number is not None}
    top = max([abs(number) for number in known.values()], default=0.0) or 1.0
    colour = Normalize(0, top)
    for area in AREAS:
        number = known.get(area.fips)
        face = to_rgba("white") if number is None else SHADES(colour(abs(number)))
        ink = _ink(face)
        corner = (area.column, -area.row)
        axes.add_patch(Rectangle(corner, 0.94, 0.94, facecolor=face, edgecolor=GREY, lw=0.5))
        middle = area.column + 0.47
        axes.text(
            middle, -area.row + 0.62, area.postal,
            ha="center", va="center", color=ink, weight="bold", fontsize=9,
        )  # fmt: skip
        text = "" if number is None else _short(number, percent=percent)
        axes.text(middle, -area.row + 0.24, text, ha="center", va="center", color=ink, fontsize=7)
    axes.set(xlim=(-0.05, 12), ylim=(-7.05, 1), title=title)
    axes.set_axis_off()
    return figure


def concentration(classes: pl.DataFrame) -> Figure:
    """Of each class its share of the kept households and of the weight."""
    return dots(
        classes,
        names="group",
        values={"share_households": "share of households", "share_weight": "share of weight"},
        xlabel="share of the release",
    )


def frontier(table: pl.DataFrame, panels: Sequence[str] = FRONTIER) -> Figure:
    """What a smaller file costs: error, effective sample size and largest ratio by size."""
    figure, all_axes = _panels(len(panels))
    sizes = table.sort("budget")
    titles = {
        "effective_sample_size": "Effective sample size",
        "max_weight_ratio": "Largest weight ratio",
    }
    for axes, panel in zip(all_axes, panels, strict=True):
        if panel == "error":
            axes.plot(sizes["budget"], sizes["loss"], "o-", color=BLUE, label="fitted")
            if sizes["held_out_error"].is_not_null().any():
                axes.plot(
                    sizes["budget"], sizes["held_out_error"], "s--",
                    mfc="none", color=ORANGE, label="held out",
                )  # fmt: skip
            axes.set(title="Mean capped error", ylim=(0, None))
            axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        else:
            axes.plot(sizes["budget"], sizes[panel], "o-", color=BLUE)
            axes.set(title=titles[panel], ylim=(0, None))
            axes.yaxis.set_major_formatter("{x:,g}")
        for budget in sizes.filter("suggested")["budget"]:
            axes.axvline(budget, color=GREY, linestyle=":", label=f"suggested: {budget:,}")
        axes.set(xlabel="households kept", xscale="log")
        _say_powers(axes.xaxis, "{:,.0f}".format, digits=(1, 2, 5))
        if panel == "error":
            axes.legend(frameon=False)
    return figure


def comparison(targets: pl.DataFrame) -> Figure:
    """Each target's error in the previous release and in this one, on logarithmic axes."""
    figure, (axes,) = _panels(1)
    limits = (1e-5, 30.0)
    axes.set(
        xscale="log", yscale="log", xlim=limits, ylim=limits, title="Error of every target",
        xlabel="absolute error, previous release", ylabel="absolute error, this release",
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        _say_powers(axis, _percent, digits=(1,))
    axes.plot(limits, limits, color=GREY, linewidth=0.8)
    for role, marker, color in (("fitted", ".", BLUE), ("held_out", "+", ORANGE)):
        chosen = targets.filter(pl.col("role_now") == role)
        before, now = (
            np.clip(chosen[f"error_{when}"].abs().to_numpy(), *limits) for when in ("before", "now")
        )
        axes.plot(
            before, now, marker, color=color, markersize=3, markeredgewidth=0.6, alpha=0.6,
            rasterized=True, label=role.replace("_", " "),
        )  # fmt: skip
    axes.legend(frameon=False, loc="upper left", markerscale=2)
    return figure


def untargeted(shares: pl.DataFrame) -> Figure:
    """Shares that no target mentions, in the whole survey and in the release."""
    return dots(
        shares,
        names="name",
        values={"share_released": "release", "share_pool": "whole survey"},
        xlabel="share of households",
    )


def carriers(reasons: pl.DataFrame) -> Figure:
    """What leaving out each household costs, against its weight ratio, by how it was chosen."""
    figure, (axes,) = _panels(1)
    axes.set(
        title="Kept households", xscale="log",
        xlabel="weight ratio", ylabel="rise of the loss without it",
    )  # fmt: skip
    _say_powers(axes.xaxis, "{:,g}".format, digits=(1,))
    styles = {"l0": ("chosen by gates", ".", BLUE), "random": ("drawn at random", "+", ORANGE)}
    for kind, (label, marker, color) in styles.items():
        chosen = reasons.filter(pl.col("kind") == kind)
        axes.plot(
            chosen["weight_ratio"], chosen["loss_without"], marker, color=color, markersize=4,
            markeredgewidth=0.6, alpha=0.6, rasterized=True, label=label,
        )  # fmt: skip
    axes.legend(frameon=False, markerscale=2)
    return figure


def reform_errors(study: pl.DataFrame) -> Figure:
    """The error of each reform's effect on the release, with two standard errors to each side."""
    shown = study.reverse()
    figure, axes, place = _by_name(
        shown["reform"], xlabel="error of the effect, and two standard errors"
    )
    error, spread = (
        shown[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("error", "standard_error")
    )
    axes.errorbar(error, place, xerr=2 * spread, fmt="o", color=BLUE, ecolor=GREY, capsize=2)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.margins(y=0.04)
    return figure


def reform_deciles(groups: pl.DataFrame, *, reform: str) -> Figure:
    """The effect of one reform by decile of income, on the whole file and on the release."""
    figure, (axes,) = _panels(1, height=2.9)
    chosen = groups.filter(pl.col("reform") == reform, pl.col("grouping") == "decile").sort("group")
    place = chosen["group"].to_numpy()
    axes.bar(
        place - 0.2, chosen["effect_whole"] / 1e9, 0.4,
        color="white", edgecolor=ORANGE, hatch="///", label="whole file",
    )  # fmt: skip
    axes.bar(place + 0.2, chosen["effect_sparse"] / 1e9, 0.4, color=BLUE, label="release")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(range(1, 11))
    axes.set_title(_verbatim(reform), fontsize=10, wrap=True)
    axes.set(xlabel="decile of income", ylabel="billions of dollars")
    _legend_below(figure, axes, columns=2)
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


def _cumulative_axes(axes: Axes, *, title: str) -> None:
    # before anything is drawn: limits found from no data at all would be a warning
    axes.set(
        xscale="log", xlim=(1e-4, 10), ylim=(0, 1),
        title=title, xlabel="absolute error", ylabel="share of targets",
    )  # fmt: skip
    powers = [10.0**power for power in range(-4, 2)]
    axes.set_xticks(powers, [_percent(power) for power in powers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))


def _cumulative(axes: Axes, signed: pl.Series, *, color: str, linestyle: str, label: str) -> None:
    error = np.sort(np.abs(signed.to_numpy()))
    share = np.arange(1, len(error) + 1) / max(len(error), 1)
    few = _few(len(error))
    x, y = np.maximum(error[few], 1e-4), share[few]
    axes.plot(x, y, color=color, linestyle=linestyle, label=label)


def _legend_below(figure: Figure, axes: Axes, *, columns: int) -> None:
    """A legend that hides no line."""
    lines, labels = axes.get_legend_handles_labels()
    if lines:
        figure.legend(lines, labels, loc="outside lower center", ncols=columns, frameon=False)


def _ink(face: tuple[float, ...]) -> str:
    """Black or white, whichever is easier to read on a colour."""
    linear = (np.array(face[:3]) + 0.055) / 1.055
    luminance = float(np.array([0.2126, 0.7152, 0.0722]) @ linear**2.4)
    return "white" if luminance < 0.18 else "black"


def _by_name(names: pl.Series, *, xlabel: str) -> tuple[Figure, Axes, np.ndarray]:
    """A figure of shares with a line a name, the first one lowest, and the places of the lines."""
    figure = Figure(figsize=(WIDTH, 0.26 * len(names) + 1.6), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(names))
    axes.set_yticks(place, [_verbatim(name) for name in names], fontsize=8)
    axes.set_xlabel(xlabel)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.grid(axis="y", linewidth=0.3)
    return figure, axes, place


def _verbatim(name: object) -> str:
    """Text of a table, in which two dollar signs would be a formula."""
    return str(name).replace("$", r"\$")


def _few(count: int) -> np.ndarray:  # (at most CURVE_POINTS,)
    """Places of the points that a smooth curve needs, the first and the last among them."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, CURVE_POINTS)).astype(int))


def _quantile_lines(axes: Axes, numbers: np.ndarray) -> None:
    styles = {0.05: (ORANGE, ":"), 0.5: (ORANGE, "-"), 0.95: (ORANGE, "--")}
    for share, (color, line) in styles.items():
        found = float(np.quantile(numbers, share))
        label = (
            f"{100 * share:.0f} % below {found:,.3g}"
            if found < 1000
            else (f"{100 * share:.0f} % below {found:,.0f}")
        )
        axes.axvline(found, color=color, linestyle=line, linewidth=1.2, label=label)
    axes.legend(frameon=False, fontsize=8)


def _subject(family: str) -> str:
    return _verbatim(family.removesuffix(", states").removesuffix(", nation"))


def _say_powers(
    axis: Axis, words: Callable[[float], str], *, digits: Sequence[int] = (1, 2, 3, 5)
) -> None:
    """Ticks of a logarithmic axis as plain numbers."""
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words(value)))
    axis.set_minor_locator(NullLocator())


def _percent(share: float) -> str:
    return f"{100 * share:,g} %"


def _short(number: float, *, percent: bool) -> str:
    if percent:
        digits = 2 if abs(number) < 0.00995 else 1 if abs(number) < 0.995 else 0
        return f"{100 * number:.{digits}f} %"
    return f"{number:,.0f}"


def _panels(count: int, *, height: float = PANEL_HEIGHT) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(PANEL_WIDTH * count, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, count)))

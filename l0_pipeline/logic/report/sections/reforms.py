"""What the release says of tax reforms, against the whole survey file."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report.areas import area_name
from l0_pipeline.logic.report.content import (
    Missing,
    Plate,
    Prose,
    Section,
    Shown,
    Table,
    build_first,
    table,
)
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import (
    count,
    percent,
    ratio,
    signed_dollars,
    signed_percent,
)

Blocks = tuple[Prose | Missing | Plate | Table, ...]


def section(tables: Mapping[str, pl.DataFrame], heading: ReportHeading) -> Section:
    """Effects of reforms on the release and on the whole file, in all and by group."""
    study, groups, cost = (
        tables.get(name) for name in ("reform_study", "reform_groups", "reform_cost")
    )
    blocks: Blocks = (
        (build_first("reform_study", year=heading.year, said="No reform was simulated."),)
        if study is None
        else (_errors(study), _numbers(study), _spread(study))
    )
    if groups is not None:
        blocks += _by_group(groups)
    if cost is not None:
        blocks += _cost(cost)
    return Section(
        anchor="reforms",
        title="Tax reforms: the release against the whole file",
        lead=(
            "What the file is for: a reform simulated on the released households should cost what "
            "it costs on all households of the survey, each weighted to reproduce the same "
            "totals. Effects are changes of income tax plus payroll tax in one year; an error is "
            "the effect on the release over the effect on the whole file, less one: it tells of "
            "the thinning, not of how far the whole file itself is from the truth. No reform was "
            "fitted, but the weights are held near what the tax model says of the whole file: its "
            "results over all incomes and by income class, filing status and children, and at "
            "incomes a tenth lower and higher (model_totals). Reforms nearly linear in these are "
            "answered alike, others less."
        ),
        blocks=blocks,
    )


def _error(value: object) -> str:
    """A signed error in percent, two decimals."""
    return percent(value, signed=True)


def _errors(study: pl.DataFrame) -> Plate:
    worst = study.sort(pl.col("error").abs(), descending=True, nulls_last=True).row(0, named=True)
    told = "; ".join(
        f"{row['reform']}: {_error(row['error'])} of {signed_dollars(row['effect_whole'])}"
        for row in study.iter_rows(named=True)
    )
    return Plate(
        pictures=(picture(plots.reform_errors(study), f"Dots by reform. {told}."),),
        caption=(
            "Error of each reform's effect on the release, the whole file's taken as right, with "
            "two standard errors of drawing the random part to each side. The largest is "
            f"{_error(worst['error'])}: {worst['reform']}."
        ),
        tables=("reform_study",),
    )


def _numbers(study: pl.DataFrame) -> Table:
    return table(
        study,
        [
            Shown("reform", "Reform"),
            Shown("error", "Error", _error),
            Shown("standard_error", "Standard error", percent),
            Shown("effect_whole", "Whole file", signed_dollars),
            Shown("effect_sparse", "Release", signed_dollars),
            Shown("units_affected_share", "Tax units affected", percent),
            Shown("description", "What changes"),
        ],
        caption=(
            "Reforms in numbers. Affected units are a share of tax units, standard errors a share "
            "of the effect on the whole file. A standard error is of drawing the random part: "
            "the gates' choice, the whole file and the totals held are taken as known"
        ),
        tables=("reform_study",),
    )


def _spread(study: pl.DataFrame) -> Table:
    return table(
        study,
        [
            Shown("reform", "Reform"),
            Shown("winners_whole", "Winners, whole file", percent),
            Shown("winners_sparse", "Winners, release", percent),
            Shown("losers_whole", "Losers, whole file", percent),
            Shown("losers_sparse", "Losers, release", percent),
            Shown("largest_decile_error", "Largest error of a decile", percent),
            Shown("largest_state_error", "Largest error of a state", percent),
        ],
        caption=(
            "Who wins and loses, as shares of tax units, and the largest error of any decile of "
            "income and of any state, as shares of the whole effect"
        ),
        tables=("reform_study",),
    )


def _by_group(groups: pl.DataFrame) -> Blocks:
    blocks: Blocks = ()
    deciles = groups.filter(pl.col("grouping") == "decile")
    if len(deciles):
        reforms = deciles["reform"].unique(maintain_order=True).to_list()
        blocks += (
            Plate(
                pictures=tuple(
                    picture(plots.reform_deciles(deciles, reform=name), _deciles_alt(deciles, name))
                    for name in reforms
                ),
                caption="Effect of each reform by decile of adjusted gross income, the lowest "
                "incomes first: on the whole file (hatched) and on the release (filled).",
                tables=("reform_groups",),
            ),
        )
    states = groups.filter(pl.col("grouping") == "state")
    if states["error"].is_not_null().any():
        blocks += (_state_map(states),)
    return blocks


def _deciles_alt(deciles: pl.DataFrame, reform: str) -> str:
    rows = deciles.filter(pl.col("reform") == reform).sort("group")
    worst = rows.sort(pl.col("error").abs(), descending=True, nulls_last=True).row(0, named=True)
    top = rows.row(-1, named=True)
    return (
        f"{reform}, bars by decile. Highest decile: {signed_dollars(top['effect_whole'])} on the "
        f"whole file, {signed_dollars(top['effect_sparse'])} on the release. The largest error is "
        f"that of decile {worst['group']}: {signed_percent(worst['error'])} of the whole effect."
    )


def _state_map(states: pl.DataFrame) -> Plate:
    worst = (
        states.with_columns(size=pl.col("error").abs())
        .drop_nulls("size")
        .sort("size", "reform", "group", descending=[True, False, False])
        .unique("group", keep="first", maintain_order=True)
    )
    first = worst.row(0, named=True)
    return Plate(
        pictures=(
            picture(
                plots.tile_map(
                    dict(worst.select("group", "size").rows()),
                    title="Largest error of any reform, share of its effect in the nation",
                    percent=True,
                ),
                f"Map of 51 tiles. The largest is {area_name(first['group'])} with "
                f"{percent(first['size'])}; half of the states have less than "
                f"{percent(worst['size'].median())}.",
            ),
        ),
        caption=(
            "For each state the largest error of any reform, as a share of that reform's effect "
            f"in the nation. The largest: {area_name(first['group'])}, {first['reform']}, "
            f"{percent(first['size'])}."
        ),
        tables=("reform_groups",),
    )


def _cost(cost: pl.DataFrame) -> Blocks:
    seconds = dict(cost.select("file", "seconds").rows())
    said = ""
    if seconds.get("whole") and seconds.get("sparse"):
        said = (
            f"A calculation takes {ratio(seconds['whole'] / seconds['sparse'])} times as long on "
            "the whole file as on the release."
        )
    numbers = table(
        cost,
        [
            Shown("file", "File"),
            Shown("tax_units", "Tax units", count),
            Shown("seconds", "Seconds, median", ratio),
            Shown("memory_mb", "Peak memory in MB", count),
            Shown("reforms", "Calculations timed", count),
        ],
        caption="What one calculation of the tax model costs, once it is compiled",
        tables=("reform_cost",),
    )
    return (numbers, Prose(said)) if said else (numbers,)

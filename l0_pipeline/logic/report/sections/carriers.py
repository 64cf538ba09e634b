"""Which households carry most of the fit, and why they are in the release."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report.content import Plate, Section, Shown, build_first, table
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import count, number, percent, ratio, targets, text

ROWS = 20
SOURCES = ("household_reasons", "household_contributions")
KINDS = {"l0": "gates", "random": "random"}


def section(tables: Mapping[str, pl.DataFrame], heading: ReportHeading) -> Section:
    """The households whose absence would cost the fit most."""
    reasons = tables.get("household_reasons")
    lead = (
        "Without a household its targets lose what it contributes. The rise of the loss without "
        "it tells how much worse the fit would be, were all other weights left as they are; its "
        "largest share is the most that it makes up of any fitted total."
    )
    title = "Households that carry most"
    if reasons is None:
        missing = build_first(
            "household_reasons", year=heading.year, said="No household was looked at alone."
        )
        return Section("carriers", title, lead, (missing,))
    heaviest = reasons.sort(
        "loss_without", "household_id", descending=[True, False], nulls_last=True
    ).head(ROWS)
    first = heaviest.row(0, named=True)
    needed = _needed_most(heaviest, tables)
    above_half = int((reasons["largest_share"] > 0.5).sum())
    return Section(
        "carriers",
        title,
        lead,
        (
            Plate(
                pictures=(
                    picture(
                        plots.carriers(reasons),
                        f"Scatter of {count(len(reasons))} households. The costliest to leave "
                        f"out is {first['household_id']}: a rise of "
                        f"{_loss(first['loss_without'])}, ratio {ratio(first['weight_ratio'])}. "
                        f"{count(above_half)} make up more than half of some total.",
                    ),
                ),
                caption="Rise of the loss (mean error, each counted as 100 % at most) without each "
                "household, against its weight ratio.",
                tables=("household_reasons",),
            ),
            table(
                needed.with_columns(
                    pl.col("kind").replace(KINDS), pl.col("household_id").cast(pl.String)
                ),
                [
                    Shown("household_id", "Household"),
                    Shown("kind", "Chosen by"),
                    Shown("inclusion_probability", "Chance to be kept", percent),
                    Shown("weight_ratio", "Weight ratio", ratio),
                    Shown("targets", "Targets it contributes to", count),
                    Shown("suffering", "Targets worse without it", count),
                    Shown("loss_without", "Rise of the loss without it", _loss),
                    Shown("largest_share", "Largest share of a target", percent),
                    *([Shown("needed", "Needed most by")] if "needed" in needed.columns else []),
                ],
                caption=f"The {len(heaviest)} households whose absence costs most",
                tables=tuple(name for name in SOURCES if name in tables),
            ),
        ),
    )


def _needed_most(heaviest: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The households with the fitted target that needs each most, where that is known."""
    contributions = tables.get("household_contributions")
    if contributions is None:
        return heaviest
    judged = tables["target_fit"].select("target_id", "variable", "geography", "condition", "unit")
    first = (
        contributions.filter(pl.col("rank") == 1)
        .join(heaviest, on="household_id", how="semi")
        .join(judged, on="target_id", how="inner")
    )
    said = [
        f"{name} ({percent(share, digits=0)} of it)"
        for name, share in zip(targets(first), first["share"], strict=True)
    ]
    told = first.select("household_id").with_columns(needed=pl.Series(said, dtype=pl.String))
    return heaviest.join(told, on="household_id", how="left", maintain_order="left")


def _loss(value: object) -> str:
    found = number(value)
    return text(None) if found is None else f"{found:.4g}"

"""How evenly the release is spread over states and classes of income."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from l0_pipeline.logic import plots
from l0_pipeline.logic.report.areas import area_name
from l0_pipeline.logic.report.content import Plate, Section, Shown, table
from l0_pipeline.logic.report.heading import ReportHeading
from l0_pipeline.logic.report.pictures import picture
from l0_pipeline.logic.report.words import count, fine_percent, percent

CLASSES = {
    0: "below 0", 10_000: "0 to under 10,000", 25_000: "10,000 to under 25,000",
    50_000: "25,000 to under 50,000", 75_000: "50,000 to under 75,000",
    100_000: "75,000 to under 100,000", 200_000: "100,000 to under 200,000",
    500_000: "200,000 to under 500,000", 1_000_000: "500,000 to under 1 million",
}  # fmt: skip
HIGHEST = "1 million or more"
# of tax_outputs; those that a release has are shown
AMOUNTS = {
    "c00100": "Adjusted gross income", "e00200": "Wages and salaries",
    "e00300": "Taxable interest", "e00600": "Ordinary dividends",
    "e01100": "Capital gain distributions", "e00900": "Business income",
    "iitax": "Income tax after credits",
}  # fmt: skip
NUMBERS = (
    Shown("households", "Households kept", count),
    Shown("share_households", "Share of households", percent),
    Shown("share_weight", "Share of weight", percent),
    Shown("effective_sample_size", "Effective sample size", count),
    Shown("largest_share", "Largest share of one household", fine_percent),
)
CARRIED = (
    Shown("amount", "Amount"),
    Shown("largest", "Largest household", percent),
    Shown("ten_largest", "Ten largest", percent),
    Shown("half", "Households that carry half", count),
    Shown("largest_in_state", "Largest household in its state", percent),
    Shown("state", "State where that is most", area_name),
)


def section(tables: Mapping[str, pl.DataFrame], _: ReportHeading) -> Section:
    """Households kept, share of weight, effective sample size and largest share by group."""
    design = tables["selection_design"].sort("state_fips")
    by_state = (
        spread(tables["households"].rename({"state_fips": "group"}))
        .with_columns(state=pl.col("group").map_elements(area_name, return_dtype=pl.String))
        .sort("state")
    )
    by_class = spread(income_classes(tables["households"], tables["tax_outputs"]))
    order = [*CLASSES.values(), HIGHEST]
    by_class = by_class.sort(pl.col("group").replace_strict(order, list(range(len(order)))))
    kept = design["by_gates"] + design["at_random"]
    most, fewest = int(kept.arg_max() or 0), int(kept.arg_min() or 0)
    top = by_class.row(-1, named=True)
    return Section(
        anchor="concentration",
        title="Concentration by state and by income",
        lead=(
            "A group that hangs on few households, or on one with a large share of the group's "
            "weight, gives uncertain numbers, and so does an amount that few households carry. "
            "Effective sample size is how many equally weighted households of the group would be "
            "as precise."
        ),
        blocks=(
            Plate(
                pictures=(
                    picture(
                        plots.kept_by_state(design),
                        f"Bars by state. Most households are kept in "
                        f"{area_name(design['state_fips'][most])} ({count(kept[most])}), fewest in "
                        f"{area_name(design['state_fips'][fewest])} ({count(kept[fewest])}).",
                    ),
                ),
                caption="Households kept in each state, by postal code: chosen by gates and drawn "
                "at random.",
                tables=("selection_design",),
            ),
            Plate(
                pictures=(
                    picture(
                        plots.concentration(by_class),
                        f"Dots by class of income. Households of {top['group']} dollars are "
                        f"{percent(top['share_households'])} of the households kept and carry "
                        f"{percent(top['share_weight'])} of the weight.",
                    ),
                ),
                caption=(
                    "Share of the kept households and share of the weight by class of household "
                    "income (adjusted gross income of all its tax units, dollars). A dot right of "
                    "its square: a class that is kept more often than it occurs."
                ),
                tables=("households", "tax_outputs"),
            ),
            table(
                carried(tables["households"], tables["tax_outputs"]),
                CARRIED,
                caption="Who carries the amounts: shares of weight times amount, without its sign, "
                "at the target year",
                tables=("households", "tax_outputs"),
            ),
            table(
                by_class,
                [Shown("group", "Household income, dollars"), *NUMBERS],
                caption="Concentration by household income",
                tables=("households", "tax_outputs"),
            ),
            table(
                by_state,
                [Shown("state", "State"), *NUMBERS],
                caption="Concentration by state",
                tables=("households",),
            ),
        ),
    )


def spread(grouped: pl.DataFrame) -> pl.DataFrame:
    """By ``group``: households, their shares, effective sample size, largest share of weight."""
    weight = pl.col("weight")
    return grouped.group_by("group").agg(
        households=pl.len(),
        share_households=pl.len() / len(grouped),
        share_weight=weight.sum() / grouped["weight"].sum(),
        effective_sample_size=weight.sum() ** 2 / (weight**2).sum(),
        largest_share=weight.max() / weight.sum(),
    )


def carried(households: pl.DataFrame, tax_outputs: pl.DataFrame) -> pl.DataFrame:
    """How much of each of ``AMOUNTS`` single households carry, one row an amount with any."""
    used = [name for name in AMOUNTS if name in tax_outputs.columns]
    of_households = _with_amounts(households, tax_outputs, used)
    rows = []
    for name in used:
        parts = of_households.select(
            "state_fips", part=(pl.col(name) * pl.col("weight")).abs()
        ).sort("part", "state_fips", descending=True)
        total = parts["part"].sum()
        if not total:
            continue
        cumulated = (parts["part"] / total).cum_sum()
        by_state = (
            parts.group_by("state_fips", maintain_order=True)
            .agg(share=pl.col("part").max() / pl.col("part").sum())
            .fill_nan(0.0)
            .sort("share", "state_fips", descending=[True, False])
        )
        rows.append(
            {
                "amount": AMOUNTS[name],
                "largest": cumulated[0],
                "ten_largest": cumulated[min(10, len(parts)) - 1],
                "half": int((cumulated < 0.5).sum()) + 1,
                "largest_in_state": by_state["share"][0],
                "state": by_state["state_fips"][0],
            }
        )
    return pl.DataFrame(rows, schema=[shown.column for shown in CARRIED])


def income_classes(households: pl.DataFrame, tax_outputs: pl.DataFrame) -> pl.DataFrame:
    """Each household's weight with its class of adjusted gross income as ``group``."""
    summed = _with_amounts(households, tax_outputs, ["c00100"])
    names = np.array([*CLASSES.values(), HIGHEST])
    place = np.searchsorted(list(CLASSES), summed["c00100"].to_numpy(), "right")
    return summed.with_columns(group=pl.Series(names[place]))


def _with_amounts(
    households: pl.DataFrame, tax_outputs: pl.DataFrame, amounts: Sequence[str]
) -> pl.DataFrame:
    """The households with the sums of their tax units, 0 where they have none."""
    # in order, so that no last digit depends on the number of threads
    summed = tax_outputs.group_by("household_id", maintain_order=True).agg(pl.col(amounts).sum())
    return households.join(
        summed, on="household_id", how="left", maintain_order="left"
    ).with_columns(pl.col(amounts).fill_null(0.0))

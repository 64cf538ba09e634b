"""Figures in no sum, judged by their peers: the other areas, and the neighbouring classes.

Over the areas a figure is divided by the figures that run most nearly in proportion to it; along
classes it is held against the classes beside it. Peers confirm nothing, so that every finding is
a warning. Differences are natural logarithms.
"""

import math

import numpy as np
import polars as pl

from l0_pipeline.logic.figure_relations import AXES, SERIES, lower_bound, may_be_negative
from l0_pipeline.logic.figure_sums import THOUSAND, Finding, Ledger
from l0_pipeline.logic.figures import STATES

MOST_STATES = 40
CONCEPT = (*SERIES, *(axis for axis in AXES if axis != "geography"))

# 200-fold: a factor of 1000 with room for what differs among peers, up to 120-fold for the
# children of CHIP in Minnesota, who are nearly all in Medicaid
_FAR = math.log(200)
# usual distances that two exchanged areas must be from proportion: no pair of the real figures is
_UNUSUAL = 6
_NEAREST = 3
_NORMAL_SPREAD = 1.4826  # standard deviations in a median absolute deviation


def unlike_their_peers(cells: pl.DataFrame, ledger: Ledger) -> list[Finding]:
    """Thousands, signs and exchanged areas among figures that no sum vouches for.

    Args:
        cells: the figures of ``with_axes``.
        ledger: of the same figures, mended by ``broken_sums``; a change that breaks a sum which
            holds is not suggested.
    """
    by_area = _over_areas(cells, ledger)
    named = {finding.row for finding in by_area}
    along = [finding for finding in _along_classes(cells, ledger) if finding.row not in named]
    return [*by_area, *along, *_lone_negatives(cells, ledger)]


def _over_areas(cells: pl.DataFrame, ledger: Ledger) -> list[Finding]:
    wide = (
        cells.filter(pl.col("geography").is_in(STATES))
        .unique([*CONCEPT, "geography"], keep="first", maintain_order=True)
        .group_by(CONCEPT, maintain_order=True)
        .agg("row", place=pl.col("geography").replace_strict(STATES, range(len(STATES))))
        .filter(pl.col("row").list.len() >= MOST_STATES)
    )
    rows = np.full((len(wide), len(STATES)), -1)
    for concept, (members, places) in enumerate(wide.select("row", "place").iter_rows()):
        rows[concept, places] = members
    if len(rows) <= _NEAREST:
        return []
    values = np.where(rows >= 0, np.array(ledger.value)[rows], math.nan)
    logs = np.log(np.where(values > 0, values, math.nan))
    found = []
    for concept in range(len(rows)):
        if _vouched(rows[concept], ledger):
            continue
        unlike, spread = _unlike(logs, concept)
        found += _thousands(rows[concept], unlike, ledger)
        found += _exchanged(rows[concept], logs[concept], unlike, spread, ledger)
    return found


def _vouched(rows: np.ndarray, ledger: Ledger) -> bool:
    """Every area's figure is in a sum of its own, along something other than the areas."""
    return all(
        any(ledger.axis[number] != "geography" for number in ledger.sums_of.get(int(row), ()))
        for row in rows[rows >= 0]
    )


def _unlike(logs: np.ndarray, concept: int) -> tuple[np.ndarray, float]:
    """How far each area is from proportion to the nearest concepts, and the usual distance."""
    here = np.isfinite(logs[concept])
    complete = np.isfinite(logs[:, here]).all(axis=1)
    complete[concept] = False
    if here.sum() < MOST_STATES or not complete.any():
        return np.full(logs.shape[1], math.nan), math.nan
    ratios = logs[concept, here] - logs[complete][:, here]  # (other concepts, areas at hand)
    ratios = ratios - np.median(ratios, axis=1, keepdims=True)
    nearest = np.argsort(np.median(np.abs(ratios), axis=1))[:_NEAREST]
    unlike = np.full(logs.shape[1], math.nan)
    unlike[here] = np.median(ratios[nearest], axis=0)
    return unlike, float(np.nanmedian(np.abs(unlike))) * _NORMAL_SPREAD


def _thousands(rows: np.ndarray, unlike: np.ndarray, ledger: Ledger) -> list[Finding]:
    far = np.flatnonzero(np.abs(unlike) > _FAR)
    return [
        finding
        for place in far
        for finding in _one_thousand(
            int(rows[place]), float(unlike[place]), "the same concept in other areas", ledger
        )
    ]


def _one_thousand(row: int, distance: float, peers: str, ledger: Ledger) -> list[Finding]:
    value = ledger.value[row]
    expected = value / THOUSAND if distance > 0 else value * THOUSAND
    if _breaks(ledger, {row: expected}):
        return []
    return [
        Finding(
            "thousands", "warning", row, (), expected,
            f"read {value:,.15g}, about {math.exp(abs(distance)):,.0f} times "
            f"{'more' if distance > 0 else 'less'} than {peers} let expect: "
            f"{'dollars in thousands twice over' if distance > 0 else 'thousands'}, not the unit "
            "stated. Compare the row with the publication.",
        )
    ]  # fmt: skip


def _exchanged(
    rows: np.ndarray, logs: np.ndarray, unlike: np.ndarray, spread: float, ledger: Ledger
) -> list[Finding]:
    """Two areas far from proportion, both near to it once their values are exchanged."""
    after = unlike[:, None] + logs[None, :] - logs[:, None]  # (area, area whose value it takes)
    far = np.abs(unlike) > max(_UNUSUAL * spread, 0.2)
    near = np.abs(after) < np.minimum(4 * spread, np.abs(unlike)[:, None] / 3)
    pairs = np.argwhere(np.triu(near & near.T & far[:, None] & far[None, :], k=1))
    found = []
    for one, other in pairs:
        pair = int(rows[one]), int(rows[other])
        exchange = {pair[0]: ledger.value[pair[1]], pair[1]: ledger.value[pair[0]]}
        if _breaks(ledger, exchange):
            continue
        found += [
            Finding(
                "swapped_areas", "warning", row, (beside,), exchange[row],
                f"areas {STATES[here]} and {STATES[there]} seem to have exchanged their values: "
                f"beside the figures that run in proportion they are {_times(unlike[here])} and "
                f"{_times(unlike[there])} what is usual. Compare the two rows with the "
                "publication.",
            )
            for row, beside, here, there in ((*pair, one, other), (*pair[::-1], other, one))
        ]  # fmt: skip
    return found


def _along_classes(cells: pl.DataFrame, ledger: Ledger) -> list[Finding]:
    """Figures about a thousand times the classes beside them."""
    found = []
    for axis in ("agi", "age"):
        labels = cells[axis].unique().to_list()
        beside = (
            pl.col("log").rolling_median(5, center=True, min_samples=3)
            .over(*SERIES, *(other for other in AXES if other != axis))
        )  # fmt: skip
        far = (
            cells.select("row", *SERIES, *AXES)
            .with_columns(
                log=pl.Series(ledger.value).log(),
                lower=pl.col(axis).replace_strict(labels, [lower_bound(label) for label in labels]),
            )
            .filter(pl.col(axis) != "", pl.col("log").is_finite())
            .sort("lower", maintain_order=True)
            .with_columns(distance=pl.col("log") - beside)
            .filter(pl.col("distance").abs() > _FAR)
        )
        for row, distance in far.select("row", "distance").sort("row").iter_rows():
            found += _one_thousand(row, distance, f"the classes of {axis} beside it", ledger)
    return found


def _lone_negatives(cells: pl.DataFrame, ledger: Ledger) -> list[Finding]:
    """The only negative amount among at least ten of its series, where losses are not meant."""
    lone = (
        cells.select("row", *SERIES, "value")
        .with_columns(value=pl.Series(ledger.value))
        .filter(
            pl.col("value") < 0,
            ~may_be_negative(cells),
            (pl.col("value") < 0).sum().over(SERIES) == 1,
            (pl.col("value") > 0).sum().over(SERIES) >= 10,
        )
    )
    found = []
    for row, value in lone.select("row", "value").iter_rows():
        if not _breaks(ledger, {row: -value}):
            found.append(
                Finding(
                    "sign", "warning", row, (), -value,
                    f"read {value:,.15g}, the only negative amount of its table and variable. "
                    "Compare the row with the publication.",
                )
            )  # fmt: skip
    return found


def _breaks(ledger: Ledger, change: dict[int, float]) -> bool:
    return not all(ledger.holds(number, change) for number in ledger.touched(change))


def _times(distance: float) -> str:
    return f"{math.exp(distance):,.2g} times"

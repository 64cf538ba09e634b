"""The plain text a person reads after a build: where the release lies, and how good it is.

Eighty columns, no colour. The numbers are defined in ``quality.py``.
"""

from collections.abc import Sequence

from l0_pipeline.logic.release.quality import FitQuality, ReleaseQuality

INDENT = "  "
LABEL_WIDTH = 52
NUMBER_WIDTH = 14
NONE = "none"

HEADINGS = (
    ("Households", "Fitted", "Held-out", "Within", "Effective", "Largest"),
    ("chosen by", "median", "median", "10 %", "sample", "weight"),
    ("", "error", "error", "", "size", "ratio"),
)
COLUMN_WIDTHS = (21, 10, 11, 10, 12, 11)


def summary_text(
    quality: ReleaseQuality,
    *,
    title: str,
    address: str,
    gates_only: FitQuality,
    random: FitQuality,
) -> str:
    """Where the release lies, its numbers, and the released weights beside two others.

    ``gates_only`` and ``random`` are as many households, chosen otherwise and refitted alike.
    """
    lines = [
        title,
        f"{INDENT}{address}",
        "",
        *[_line(label, number) for label, number in _numbers(quality)],
        "",
        *_comparison(
            [
                ("gates only", gates_only),
                ("hybrid (released)", quality.released),
                ("random", random),
            ]
        ),
    ]
    return "\n".join(lines) + "\n"


def _line(label: str, number: str) -> str:
    """Digits end in one column; a unit stands to the right of it."""
    digits, _, unit = number.partition(" ")
    return f"{INDENT}{label:<{LABEL_WIDTH}}{digits:>{NUMBER_WIDTH}} {unit}".rstrip()


def _numbers(quality: ReleaseQuality) -> list[tuple[str, str]]:
    fit = quality.released
    return [
        ("Households in the release", f"{quality.households_kept:,}"),
        ("Households in the pool", f"{quality.households_pool:,}"),
        ("Published figures, every one in one of four roles", f"{quality.figures_declared:,}"),
        ("- fitted", f"{quality.targets_fitted:,}"),
        ("- held out, to judge the fit", f"{quality.targets_held_out:,}"),
        ("- benchmarks, compared only", f"{quality.targets_benchmark:,}"),
        ("- rejected, each with its reason", f"{quality.targets_rejected:,}"),
        ("Population against the published total", _percent(quality.population_error, "+.2f")),
        ("Median error of the fitted targets", _percent(fit.fitted_median_error)),
        ("Median error of the held-out targets", _percent(fit.held_out_median_error)),
        ("Fitted targets within 10 %", _percent(fit.share_within_10pct)),
        ("Effective sample size", f"{fit.effective_sample_size:,.0f}"),
        ("Largest weight ratio (see weight_ratio)", _ratio(fit.largest_weight_ratio)),
    ]


def _comparison(methods: Sequence[tuple[str, FitQuality]]) -> list[str]:
    rule = INDENT + "-" * sum(COLUMN_WIDTHS)
    rows = [
        (
            name,
            _percent(fit.fitted_median_error),
            _percent(fit.held_out_median_error),
            _percent(fit.share_within_10pct),
            f"{fit.effective_sample_size:,.0f}",
            _ratio(fit.largest_weight_ratio),
        )
        for name, fit in methods
    ]
    return [*map(_row, HEADINGS), rule, *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    first, *others = zip(cells, COLUMN_WIDTHS, strict=True)
    text = f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in others)
    return (INDENT + text).rstrip()


def _percent(share: float | None, form: str = ".2f") -> str:
    return NONE if share is None else f"{100 * share:{form}} %"


def _ratio(ratio: float) -> str:
    """One decimal while that says something; never wider than its column."""
    if ratio >= 1e7:
        return f"{ratio:.1e}"
    return f"{ratio:,.1f}" if ratio < 1_000 else f"{ratio:,.0f}"

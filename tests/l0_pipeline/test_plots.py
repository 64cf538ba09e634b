"""Laws of the plots: each becomes a small PNG, whatever it is given, without a warning."""

import base64
import io
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from l0_pipeline import evidence
from l0_pipeline.logic import plots
from l0_pipeline.logic.report.areas import AREAS
from l0_pipeline.logic.tables import HISTORY_COLUMNS
from tests.l0_pipeline import report_tables

BYTES = (2_000, 60_000)
LABELS = {name: f"by {name}" for name in ("design", "random", "gates", "released")}
ROLES = {name: name for name in ("fitted", "held_out", "benchmark", "rejected")}
PREFIX = "![plot](data:image/png;base64,"

_GATES = pl.DataFrame(
    {
        "stage": "selection", "epoch": np.arange(0, 1_000, 10), "epochs": 1_000,
        "loss": np.geomspace(0.5, 0.03, 100), "penalty": 0.01, "records": 200_000,
        "budget": np.geomspace(200_000, 20_000, 100),
        "expected_count": np.geomspace(200_000, 20_000, 100),
        "temperature": np.linspace(0.5, 0.25, 100),
    }
)  # fmt: skip
_REFIT = _GATES.with_columns(
    stage=pl.lit("refit"),
    **dict.fromkeys(("budget", "expected_count", "temperature"), pl.lit(None, pl.Float64)),
)
HISTORY = pl.concat([_GATES, _REFIT])
_RANDOM = np.random.default_rng(0)
FIT = pl.DataFrame({"role": ["fitted"] * 900 + ["held_out"] * 100}).with_columns(
    pl.Series(f"{name}_error", _RANDOM.normal(0, 0.2, 1_000)) for name in LABELS
)
FAMILIES = pl.DataFrame(
    {
        "family": [f"Social Security on returns {i}, states" for i in range(48)],
        "fitted": np.arange(48) * 20,
        "held_out": np.arange(48) * 3,
        "benchmark": 100,
        "rejected": np.arange(48)[::-1] * 9,
        "fitted_median_error": _RANDOM.uniform(0, 0.1, 48),
        "held_out_median_error": [None, *_RANDOM.uniform(0, 0.5, 47)],
    }
)
_RELEASE = report_tables.required() | report_tables.optional() | report_tables.compared()
TARGETS, REFORMS = _RELEASE["target_fit"], _RELEASE["reform_study"]
GROUPS, SIZES = _RELEASE["reform_groups"], _RELEASE["size_frontier"]
SHARES = _RELEASE["untargeted"].with_columns(name=pl.format("{}: {}", "variable", "category"))
CLASSES = pl.DataFrame(
    {"group": ["low", "high"], "share_households": [0.4, 0.6], "share_weight": [0.7, 0.3]}
)
_MEDIANS = ("fitted_median_error", "held_out_median_error")
_WEIGHTS = pl.Series(_RANDOM.lognormal(7, 1, 20_000))


def _histogram(values: list[float | None] | pl.Series, *, log: bool = True) -> Figure:
    series = pl.Series(values, dtype=pl.Float64)
    return plots.histogram(series, title="Weights", xlabel="households", log=log)


def _bars(table: pl.DataFrame, values: dict[str, str] = ROLES) -> Figure:
    return plots.bars(table, names="family", values=values, title="Roles")


PLOTS: dict[str, Callable[[], Figure]] = {
    "training": lambda: plots.training(HISTORY),
    "training, gates alone": lambda: plots.training(_GATES),
    "training, refit alone": lambda: plots.training(_REFIT),
    "training, one epoch": lambda: plots.training(_GATES.head(1)),
    "training, nothing": lambda: plots.training(
        pl.DataFrame(schema={column.name: column.dtype for column in HISTORY_COLUMNS})
    ),
    "training, no loss left": lambda: plots.training(HISTORY.with_columns(loss=pl.lit(0.0))),
    "errors": lambda: plots.errors(FIT, LABELS),
    "errors, one set": lambda: plots.errors(FIT, {"design": "all households"}),
    "errors, none held out": lambda: plots.errors(FIT.head(900), LABELS),
    "errors, one target": lambda: plots.errors(FIT.head(1), LABELS),
    "errors, nothing": lambda: plots.errors(FIT.clear(), LABELS),
    "errors, all exact": lambda: plots.errors(
        FIT.with_columns(pl.col(pl.Float64) * 0.0), LABELS
    ),
    "errors, one not finite": lambda: plots.errors(
        FIT.with_columns(design_error=pl.lit(np.inf), gates_error=pl.lit(np.nan)), LABELS
    ),
    "families": lambda: plots.family_errors(FAMILIES),
    "families, one": lambda: plots.family_errors(FAMILIES.head(1)),
    "families, none": lambda: plots.family_errors(FAMILIES.clear()),
    "families, nothing held out": lambda: plots.family_errors(
        FAMILIES.with_columns(held_out_median_error=pl.lit(None, pl.Float64))
    ),
    "families, all exact": lambda: plots.family_errors(
        FAMILIES.with_columns(**dict.fromkeys(_MEDIANS, pl.lit(0.0)))
    ),
    "histogram": lambda: _histogram(_WEIGHTS),
    "histogram, not logarithmic": lambda: _histogram(_WEIGHTS, log=False),
    "histogram, equal values": lambda: _histogram([1_500.0] * 9),
    "histogram, equal but for rounding": lambda: _histogram([1.0, np.nextafter(1, 2)], log=False),
    "histogram, nothing": lambda: _histogram([]),
    "histogram, nothing above zero": lambda: _histogram([0.0, -1.0]),
    "histogram, losses": lambda: _histogram([-1.0, 0.0, 5.0], log=False),
    "histogram, gaps": lambda: _histogram([None, np.nan, np.inf, 1.0, 2.0]),
    "bars": lambda: _bars(FAMILIES),
    "bars, one column": lambda: _bars(FAMILIES, {"fitted": "fitted"}),
    "bars, one row": lambda: _bars(FAMILIES.head(1)),
    "bars, no rows": lambda: _bars(FAMILIES.clear()),
    "bars, all zero": lambda: _bars(FAMILIES.with_columns(**dict.fromkeys(ROLES, pl.lit(0)))),
    "bars, a formula in a name": lambda: _bars(
        FAMILIES.head(1).with_columns(family=pl.lit("$\\frac{$"))
    ),
    "training, loss alone": lambda: plots.training(HISTORY, ("loss",)),
    "errors, fitted alone": lambda: plots.errors(FIT, LABELS, ("fitted",)),
    "errors by level": lambda: plots.errors_by_level(TARGETS),
    "errors by level, nothing": lambda: plots.errors_by_level(TARGETS.clear()),
    "cumulative": lambda: plots.cumulative_by_family(TARGETS, level="states", role="fitted"),
    "cumulative, nothing": lambda: plots.cumulative_by_family(
        TARGETS.clear(), level="nation", role="held_out"
    ),
    "estimates": lambda: _estimates(TARGETS),
    "estimates, nothing": lambda: _estimates(TARGETS.clear()),
    "estimates, all zero": lambda: _estimates(
        TARGETS.with_columns(value=pl.lit(0.0), released_estimate=pl.lit(0.0))
    ),
    "histogram, with quantiles": lambda: plots.histogram(
        _WEIGHTS, title="Weights", xlabel="households", quantiles=True
    ),
    "lorenz": lambda: plots.lorenz({"released": _WEIGHTS, "design": _WEIGHTS**2}),
    "lorenz, nothing": lambda: plots.lorenz({"released": _WEIGHTS.clear()}),
    "kept by state": lambda: plots.kept_by_state(_RELEASE["selection_design"]),
    "map": lambda: plots.tile_map({6: 0.02, 48: 1.5, 50: None}, title="Error", percent=True),
    "map, all zero": lambda: plots.tile_map({6: 0, 48: 0}, title="Households"),
    "map, nothing": lambda: plots.tile_map({}, title="Households"),
    "concentration": lambda: plots.concentration(CLASSES),
    "concentration, nothing": lambda: plots.concentration(CLASSES.clear()),
    "frontier": lambda: plots.frontier(SIZES),
    "frontier, nothing held out": lambda: plots.frontier(
        SIZES.with_columns(held_out_error=pl.lit(None, pl.Float64))
    ),
    "comparison": lambda: plots.comparison(_RELEASE["comparison_targets"]),
    "comparison, nothing": lambda: plots.comparison(_RELEASE["comparison_targets"].clear()),
    "untargeted": lambda: plots.untargeted(SHARES),
    "standard errors": lambda: plots.standard_errors(
        pl.DataFrame({"family": ["a", "b"], "fitted_median": [0.1, None],
                      "held_out_median": [0.2, None]})
    ),
    "carriers": lambda: plots.carriers(_RELEASE["household_reasons"]),
    "reforms": lambda: plots.reform_errors(REFORMS),
    "reforms, one without effect": lambda: plots.reform_errors(
        REFORMS.head(1).with_columns(error=pl.lit(None, pl.Float64), effect_whole=pl.lit(0.0))
    ),
    "reform by decile": lambda: plots.reform_deciles(GROUPS, reform=report_tables.REFORMS[0]),
    "reform by decile, nothing": lambda: plots.reform_deciles(GROUPS, reform="another"),
}  # fmt: skip


def _estimates(fit: pl.DataFrame) -> Figure:
    return plots.estimates(fit, weights="released", role="fitted", title="Fitted")


def _png(figure: Figure) -> bytes:
    """The image as an asset's page shows it."""
    text = evidence.plot(figure).md_str
    assert text is not None
    assert text.startswith(PREFIX)
    assert text.endswith(")")
    return base64.b64decode(text[len(PREFIX) : -1], validate=True)


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_a_small_png_whatever_it_is_given(name: str):
    image = _png(PLOTS[name]())
    assert BYTES[0] < len(image) < BYTES[1]
    with Image.open(io.BytesIO(image)) as opened:
        assert opened.format == "PNG"
        assert opened.width > 300


def test_a_plots_own_colours_are_kept_in_the_small_image():
    with Image.open(io.BytesIO(_png(_bars(FAMILIES)))) as opened:
        colours = {rgb for _, rgb in opened.convert("RGB").getcolors(1_000_000) or []}
    for wanted in (plots.BLUE, plots.ORANGE, plots.GREEN, plots.GREY):
        exact = tuple(int(wanted[i : i + 2], 16) for i in (1, 3, 5))
        assert min(max(abs(a - b) for a, b in zip(exact, c, strict=True)) for c in colours) < 16


def test_training_shows_the_refit_after_the_gates():
    loss = plots.training(HISTORY).axes[0]
    gates, refit = loss.get_lines()
    assert max(gates.get_xdata()) < 1_000 <= min(refit.get_xdata())
    assert loss.get_yscale() == "log"


def test_a_line_of_errors_rises_to_all_targets():
    fitted, held_out = plots.errors(FIT, {"design": "all households"}).axes
    for panel, role in ((fitted, "fitted"), (held_out, "held_out")):
        line = panel.get_lines()[0]
        error = np.abs(FIT.filter(role=role)["design_error"].to_numpy())
        share = np.interp(0.1, line.get_xdata(), line.get_ydata())
        assert share == pytest.approx((error <= 0.1).mean(), abs=0.02)
        assert line.get_ydata()[-1] == 1


def test_a_histogram_counts_every_finite_value():
    axes = _histogram([-1.0, 0.0, 2.0, 2.0, None, np.nan, 9.0], log=False).axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 5
    assert axes.get_xscale() == "linear"
    logarithmic = _histogram(_WEIGHTS).axes[0]
    assert sum(bar.get_height() for bar in logarithmic.patches) == len(_WEIGHTS)
    assert logarithmic.get_xscale() == "log"


def test_stacked_bars_end_at_the_sum():
    axes = _bars(FAMILIES.head(3)).axes[0]
    ends = np.array([bar.get_x() + bar.get_width() for bar in axes.patches]).reshape(4, 3)
    assert ends[-1].tolist() == FAMILIES.head(3).select(list(ROLES)).sum_horizontal().to_list()


def test_the_largest_families_come_first_and_at_most_25():
    axes = plots.family_errors(FAMILIES).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == 25
    assert labels[-1] == "Social Security on returns 47, states"


def test_a_table_keeps_four_digits_and_leaves_blanks_where_there_is_nothing():
    records = evidence.table(pl.DataFrame({"a": [1.23456, None], "b": [7, 8]})).records
    assert [record.data for record in records] == [{"a": 1.235, "b": 7}, {"a": "", "b": 8}]


def test_every_state_is_one_tile_with_its_postal_code():
    assert len(AREAS) == 51
    for fact in ("fips", "postal", "name"):
        assert len({getattr(area, fact) for area in AREAS}) == 51
    assert len({(area.row, area.column) for area in AREAS}) == 51
    axes = plots.tile_map({area.fips: 1.0 for area in AREAS}, title="One").axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert [text for text in texts if text != "1"] == [area.postal for area in AREAS]
    assert len(axes.patches) == 51


def test_bars_of_states_are_named_by_postal_codes():
    axes = plots.kept_by_state(_RELEASE["selection_design"]).axes[0]
    assert {label.get_text() for label in axes.get_yticklabels()} == {a.postal for a in AREAS}


def test_a_code_that_is_no_state_stays_as_it_is():
    table = pl.DataFrame({"state": ["06", "72", "US"]})
    assert table.select(plots.postal("state")).to_series().to_list() == ["CA", "72", "US"]


def test_estimates_of_another_sign_lie_on_the_edge_and_losses_are_triangles():
    table = TARGETS.head(3).with_columns(
        role=pl.lit("fitted"),
        value=pl.Series([-2e6, 1e6, 0.0]),
        released_estimate=pl.Series([-1e6, -1e6, 5e5]),
    )
    axes = _estimates(table).axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    low = axes.get_xlim()[0]
    assert drawn["below zero"] == [[2e6, 1e6]]
    assert drawn["a zero, or the other sign"] == [[1e6, low], [low, 5e5]]


def test_a_lorenz_curve_of_equal_weights_is_the_diagonal():
    line = plots.lorenz({"equal": pl.Series([2.0] * 1_000)}).axes[0].get_lines()[1]
    assert np.allclose(line.get_xdata(), line.get_ydata())


def test_cumulative_shares_rise_to_the_share_within_the_largest_error():
    shares = plots.shares_within(TARGETS, role="fitted")
    rows = shares.select(str(limit) for limit in plots.WITHIN).to_numpy()
    assert (np.diff(rows) >= 0).all()
    fitted = TARGETS.filter(role="fitted")
    assert shares["targets"].sum() == len(fitted)
    within = (fitted["released_error"].abs() <= 0.1).sum()
    assert (shares["0.1"] * shares["targets"]).sum() == pytest.approx(within)


def test_ink_is_readable_on_every_shade_of_a_map():
    def luminance(colour: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    axes = plots.tile_map({area.fips: i / 50 for i, area in enumerate(AREAS)}, title="Shades").axes[
        0
    ]
    inks = [text.get_color() for text in axes.texts][::2]
    for ink, tile in zip(inks, axes.patches, strict=True):
        back = luminance(tile.get_facecolor())
        front = 1.0 if ink == "white" else 0.0
        assert (max(front, back) + 0.05) / (min(front, back) + 0.05) >= 4.5

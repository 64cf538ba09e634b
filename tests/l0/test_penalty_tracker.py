"""Laws of the tracker: histories of any lengths, kept, summarised, written and drawn."""

import csv
import math

import matplotlib as mpl
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib import pyplot as plt

from l0.errors import InputError
from l0.penalty_tracker import PenaltyTracker

mpl.use("Agg")
UNEVEN = {"l0": [3.0, 2.5, 1 / 3], "loss": [0.1], "temperature": [2.0, 1.0]}


def tracker_of(histories: dict[str, list[float]]) -> PenaltyTracker:
    tracker = PenaltyTracker()
    for name, values in histories.items():
        for value in values:
            tracker.log(name, value)
    return tracker


def test_a_history_is_what_was_logged_in_order():
    tracker = tracker_of(UNEVEN)
    assert {name: tracker.get_history(name) for name in UNEVEN} == UNEVEN
    tracker.get_history("l0").append(9.0)
    assert tracker.get_history("l0") == UNEVEN["l0"]


def test_tensors_are_logged_as_their_numbers_whether_or_not_they_carry_gradients():
    tracker = PenaltyTracker()
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        tracker.log("l0", torch.tensor(1.5))
        tracker.log("l0", torch.tensor([2.5], requires_grad=True) * 2)
    finally:
        torch.set_warn_always(always)
    assert tracker.get_history("l0") == [1.5, 5.0]
    assert all(type(value) is float for value in tracker.get_history("l0"))


def test_stats_are_those_of_the_values():
    stats = tracker_of({"l0": [1.0, 4.0, 2.0, 5.0]}).get_stats("l0")
    assert stats == pytest.approx(
        {"mean": 3.0, "std": math.sqrt(2.5), "min": 1.0, "max": 5.0, "last": 5.0}
    )


def test_asking_for_an_unknown_metric_creates_none():
    tracker = tracker_of(UNEVEN)
    assert tracker.get_history("accuracy") == []
    assert tracker.get_stats("accuracy") == {}
    assert list(tracker.history) == list(UNEVEN)


def test_clearing_forgets_everything():
    tracker = tracker_of(UNEVEN)
    tracker.clear()
    assert tracker.history == {}
    assert tracker.get_history("l0") == []


def test_uneven_histories_are_written_to_csv_with_blanks_at_their_ends(tmp_path):
    tracker_of(UNEVEN).save_to_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == list(UNEVEN)
    assert [row.count("") for row in rows] == [0, 1, 2]
    for column, values in zip(zip(*rows, strict=True), UNEVEN.values(), strict=True):
        assert [float(cell) for cell in column if cell] == values


def test_uneven_histories_are_written_to_parquet_with_nulls_at_their_ends(tmp_path):
    tracker_of(UNEVEN).save_to_parquet(tmp_path / "history.parquet")
    table = pq.read_table(tmp_path / "history.parquet")
    assert table.to_pydict() == {
        "l0": UNEVEN["l0"],
        "loss": [0.1, None, None],
        "temperature": [2.0, 1.0, None],
    }
    assert {str(field.type) for field in table.schema} == {"double"}


def test_a_tracker_without_metrics_writes_files_without_rows(tmp_path):
    PenaltyTracker().save_to_csv(tmp_path / "none.csv")
    PenaltyTracker().save_to_parquet(tmp_path / "none.parquet")
    assert (tmp_path / "none.csv").read_text().strip() == ""
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


@pytest.mark.parametrize("metrics", [None, ["loss"], ["temperature", "l0"]])
def test_a_plot_has_one_panel_for_each_metric_and_is_written_to_its_file(tmp_path, metrics):
    open_before = plt.get_fignums()
    figure = tracker_of(UNEVEN).plot_history(metrics, save_path=tmp_path / "history.png")
    assert [axis.get_ylabel() for axis in figure.axes] == (metrics or list(UNEVEN))
    for axis in figure.axes:
        assert list(axis.lines[0].get_ydata()) == UNEVEN[axis.get_ylabel()]
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == open_before


def test_a_plot_of_a_metric_never_logged_is_refused_with_the_logged_ones():
    with pytest.raises(InputError, match=r"accuracy.*'l0', 'loss', 'temperature'"):
        tracker_of(UNEVEN).plot_history(["l0", "accuracy"])
    for metrics in (None, []):
        with pytest.raises(InputError, match="nothing"):
            PenaltyTracker().plot_history(metrics)

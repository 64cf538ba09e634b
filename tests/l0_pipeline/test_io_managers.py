"""Laws of stored arrays: they come back as they were, whole or not at all, without pickle."""

from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from l0_pipeline.io_managers import ARRAYS, Arrays, NpzIOManager
from l0_pipeline.logic.errors import InputError

YEARS = dg.StaticPartitionsDefinition(["2021", "2022"])
MATRIX: Arrays = {
    "data": np.array([0.5, -2.0]),
    "indices": np.array([3, 1], dtype=np.int32),
    "shape": np.array([1, 4]),
    "target_ids": np.array(["2022-a", "né"]),
    "empty": np.empty((0, 3)),
}
UNSAVABLE: Arrays = {"data": np.arange(1_000.0), "names": np.array(["a", None], dtype=object)}


def _output(year: str = "2022") -> dg.OutputContext:
    return dg.build_output_context(
        asset_key=dg.AssetKey("matrix"), partition_key=year, asset_partitions_def=YEARS
    )


def _input(year: str = "2022") -> dg.InputContext:
    return dg.build_input_context(
        asset_key=dg.AssetKey("matrix"), partition_key=year, asset_partitions_def=YEARS
    )


def _manager(folder: Path) -> NpzIOManager:
    return NpzIOManager(folder=str(folder))


def _same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name])
        for name in one
    )


def _save(manager: NpzIOManager, arrays: Arrays, *, year: str = "2022") -> dg.OutputContext:
    context = _output(year)
    manager.handle_output(context, arrays)
    return context


def test_arrays_come_back_with_names_values_types_and_shapes(tmp_path: Path):
    manager = _manager(tmp_path)
    _save(manager, MATRIX)
    assert _same(manager.load_input(_input()), MATRIX)


def test_each_partition_is_a_file_of_its_own(tmp_path: Path):
    manager = _manager(tmp_path)
    _save(manager, MATRIX, year="2021")
    _save(manager, {"data": np.zeros(2)}, year="2022")
    assert sorted(path.name for path in (tmp_path / "matrix").iterdir()) == ["2021.npz", "2022.npz"]
    assert _same(manager.load_input(_input("2021")), MATRIX)


def test_the_page_of_the_asset_shows_path_and_size(tmp_path: Path):
    shown = _save(_manager(tmp_path), MATRIX).get_logged_metadata()
    file = tmp_path / "matrix" / "2022.npz"
    assert Path(shown["path"].value) == file
    assert shown["bytes"] == file.stat().st_size or shown["bytes"].value == file.stat().st_size


def test_an_interrupted_write_leaves_the_earlier_file_and_nothing_else(tmp_path: Path):
    manager = _manager(tmp_path)
    _save(manager, MATRIX)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        _save(manager, UNSAVABLE)
    assert [path.name for path in (tmp_path / "matrix").iterdir()] == ["2022.npz"]
    assert _same(manager.load_input(_input()), MATRIX)


def test_a_full_disk_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    manager = _manager(tmp_path)
    _save(manager, MATRIX)

    def full(file: object, **_: object) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        _save(manager, {"data": np.zeros(5)})
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "matrix").iterdir()] == ["2022.npz"]
    assert _same(manager.load_input(_input()), MATRIX)


def test_an_interrupted_first_write_leaves_no_file(tmp_path: Path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        _save(_manager(tmp_path), UNSAVABLE)
    assert list((tmp_path / "matrix").iterdir()) == []


def test_a_file_that_holds_objects_is_not_read(tmp_path: Path):
    (tmp_path / "matrix").mkdir()
    np.savez(tmp_path / "matrix" / "2022.npz", **UNSAVABLE)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        _manager(tmp_path).load_input(_input())


def test_what_was_never_written_is_missing_by_its_path(tmp_path: Path):
    with pytest.raises(InputError, match=r"2021\.npz is not there: `.*` for 2021 was not built"):
        _manager(tmp_path).load_input(_input("2021"))


def test_arrays_go_from_asset_to_asset(tmp_path: Path):
    @dg.asset(partitions_def=YEARS, dagster_type=ARRAYS)
    def matrix() -> Arrays:
        return MATRIX

    @dg.asset(partitions_def=YEARS)
    def entries(matrix: Arrays) -> Arrays:
        return {"entries": matrix["data"]}

    result = dg.materialize(
        [matrix, entries], partition_key="2022", resources={"io_manager": _manager(tmp_path)}
    )
    assert result.success
    assert result.output_for_node("entries")["entries"].tolist() == [0.5, -2.0]


def test_what_is_not_named_arrays_is_refused(tmp_path: Path):
    @dg.asset(partitions_def=YEARS, dagster_type=ARRAYS)
    def matrix() -> object:
        return {"data": [0.5, -2.0]}

    result = dg.materialize(
        [matrix],
        partition_key="2022",
        resources={"io_manager": _manager(tmp_path)},
        raise_on_error=False,
    )
    assert not result.success
    assert not (tmp_path / "matrix").exists()

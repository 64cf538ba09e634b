"""Laws of the stored matrix: it comes back as it was, whole or not at all, without pickle."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from l0_pipeline.io_managers import MATRIX, MatrixIOManager
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.matrix import ConstraintMatrix

YEARS = dg.StaticPartitionsDefinition(["2021", "2022"])
SMALL = ConstraintMatrix(
    coefficients=sp.csr_array([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0], [-2.0, 0.0, 1e14]]),
    targets=pl.DataFrame({"target_id": ["2022-a", "né", "c"], "value": [1.0, 0.0, -2.0]}),
    households=pl.DataFrame({"household_id": [7, 8, 9], "state_fips": [1, 2, 56]}),
    digest="0123",
)
OTHER = replace(SMALL, targets=SMALL.targets.with_columns(value=pl.lit(5.0)), digest="4567")
FILES = ["2022.households.parquet", "2022.npz", "2022.targets.parquet"]


def _output(year: str = "2022") -> dg.OutputContext:
    return dg.build_output_context(
        asset_key=dg.AssetKey("matrix"), partition_key=year, asset_partitions_def=YEARS
    )


def _input(year: str = "2022") -> dg.InputContext:
    return dg.build_input_context(
        asset_key=dg.AssetKey("matrix"), partition_key=year, asset_partitions_def=YEARS
    )


def _manager(folder: Path) -> MatrixIOManager:
    return MatrixIOManager(folder=str(folder))


def _same(one: ConstraintMatrix, other: ConstraintMatrix) -> bool:
    arrays = ("data", "indices", "indptr")
    return (
        all(
            np.array_equal(getattr(one.coefficients, name), getattr(other.coefficients, name))
            and getattr(one.coefficients, name).dtype == getattr(other.coefficients, name).dtype
            for name in arrays
        )
        and one.coefficients.shape == other.coefficients.shape
        and one.targets.equals(other.targets)
        and one.households.equals(other.households)
        and one.digest == other.digest
    )


def _save(
    manager: MatrixIOManager, matrix: ConstraintMatrix, *, year: str = "2022"
) -> dg.OutputContext:
    context = _output(year)
    manager.handle_output(context, matrix)
    return context


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "matrix").iterdir())


def test_a_matrix_comes_back_with_its_rows_and_columns(tmp_path: Path):
    manager = _manager(tmp_path)
    _save(manager, SMALL)
    assert _names(tmp_path) == FILES
    assert _same(manager.load_input(_input()), SMALL)


def test_the_files_are_read_without_our_code(tmp_path: Path):
    _save(_manager(tmp_path), SMALL)
    with np.load(tmp_path / "matrix" / "2022.npz", allow_pickle=False) as file:
        arrays = (file["data"], file["indices"], file["indptr"])
        coefficients = sp.csr_array(arrays, shape=tuple(file["shape"]))
    targets = pl.read_parquet(tmp_path / "matrix" / "2022.targets.parquet")
    assert (coefficients @ np.ones(3)).tolist() == [0.5, 0.0, 1e14 - 2]
    assert len(targets) == coefficients.shape[0]


def test_each_partition_has_files_of_its_own(tmp_path: Path):
    manager = _manager(tmp_path)
    _save(manager, SMALL, year="2021")
    _save(manager, OTHER, year="2022")
    assert _same(manager.load_input(_input("2021")), SMALL)
    assert _same(manager.load_input(_input("2022")), OTHER)


def test_the_page_of_the_asset_shows_path_and_size(tmp_path: Path):
    shown = _save(_manager(tmp_path), SMALL).get_logged_metadata()
    file = tmp_path / "matrix" / "2022.npz"
    assert Path(shown["path"].value) == file
    assert shown["bytes"] == file.stat().st_size or shown["bytes"].value == file.stat().st_size


def test_a_matrix_of_the_same_inputs_is_taken_again_and_not_written(tmp_path: Path):
    manager = _manager(tmp_path)
    assert manager.unchanged("matrix", "2022", digest="0123") is None
    _save(manager, SMALL)
    before = (tmp_path / "matrix" / "2022.npz").stat().st_mtime_ns
    stored = manager.unchanged("matrix", "2022", digest="0123")
    assert stored is not None
    assert _same(stored, SMALL)
    _save(manager, stored)
    assert (tmp_path / "matrix" / "2022.npz").stat().st_mtime_ns == before
    assert manager.unchanged("matrix", "2022", digest="4567") is None
    assert manager.unchanged("matrix", "2021", digest="0123") is None


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_or_missing_file_is_compiled_anew_and_refused_as_an_input(
    tmp_path: Path, name: str
):
    manager = _manager(tmp_path)
    _save(manager, SMALL)
    path = tmp_path / "matrix" / name
    for damage in (lambda: path.write_bytes(path.read_bytes()[:-20]), path.unlink):
        damage()
        assert manager.unchanged("matrix", "2022", digest="0123") is None
        with pytest.raises(InputError, match=r"2022\..*(again|not there)"):
            manager.load_input(_input())
    _save(manager, SMALL)
    assert _same(manager.load_input(_input()), SMALL)


def test_a_write_that_was_stopped_between_its_files_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    manager = _manager(tmp_path)
    _save(manager, SMALL)
    real = Path.replace

    def stopped(path: Path, target: Path) -> Path:
        if Path(target).suffix == ".npz":
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        _save(manager, OTHER)
    monkeypatch.undo()
    assert _names(tmp_path) == FILES
    with pytest.raises(InputError, match=r"is not the file that 2022\.npz was written with"):
        manager.load_input(_input())


def test_a_full_disk_leaves_the_earlier_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    manager = _manager(tmp_path)
    _save(manager, SMALL)

    def full(file: object, **_: object) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        _save(manager, OTHER)
    monkeypatch.undo()
    assert _names(tmp_path) == FILES
    assert _same(manager.load_input(_input()), SMALL)


def test_a_file_that_holds_objects_is_not_read(tmp_path: Path):
    (tmp_path / "matrix").mkdir()
    np.savez(tmp_path / "matrix" / "2022.npz", data=np.array(["a", None], dtype=object))
    with pytest.raises(InputError, match="allow_pickle=False"):
        _manager(tmp_path).load_input(_input())


def test_what_was_never_written_is_missing_by_its_path(tmp_path: Path):
    with pytest.raises(InputError, match=r"2021\.npz is not there: `.*` for 2021 was not built"):
        _manager(tmp_path).load_input(_input("2021"))


def test_a_matrix_goes_from_asset_to_asset(tmp_path: Path):
    @dg.asset(partitions_def=YEARS, dagster_type=MATRIX)
    def matrix() -> ConstraintMatrix:
        return SMALL

    @dg.asset(partitions_def=YEARS, io_manager_key="other")
    def entries(matrix: ConstraintMatrix) -> list[float]:
        return matrix.coefficients.data.tolist()

    result = dg.materialize(
        [matrix, entries],
        partition_key="2022",
        resources={"io_manager": _manager(tmp_path), "other": dg.mem_io_manager},
    )
    assert result.success
    assert result.output_for_node("entries") == [0.5, -2.0, 1e14]


def test_what_is_no_matrix_is_refused(tmp_path: Path):
    @dg.asset(partitions_def=YEARS, dagster_type=MATRIX)
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

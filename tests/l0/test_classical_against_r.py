"""Classical calibration agrees with R's survey::calibrate: with recorded weights, and with R."""

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from l0.survey import CalibrationProblem
from l0.survey.classical import calibrate_classical

PROJECT = Path(__file__).parents[2]
RECORDED = PROJECT / "tests" / "data"
SCRIPT = PROJECT / "benchmarks" / "r" / "calibrate.R"
# the same as in the script
BOUNDS = {"apistrat": (0.8, 1.3), "apiclus1": (0.5, 2.0)}
METHODS = ("linear", "raking", "linear_bounded", "raking_bounded", "logit_bounded")

every_sample = pytest.mark.parametrize("sample", BOUNDS)


def table(path):
    """The columns of a CSV by name: numbers where they are."""
    header, *rows = csv.reader(path.read_text().splitlines())
    columns = {name: np.array(column) for name, *column in zip(header, *rows, strict=True)}
    return {
        name: values if name in {"stype", "target"} else values.astype(float)
        for name, values in columns.items()
    }


def problem_of(sample):
    schools = table(RECORDED / f"{sample}.csv")
    totals = table(RECORDED / "api_totals.csv")
    rows = [
        np.ones(len(schools["pw"])),
        schools["stype"] == "H",
        schools["stype"] == "M",
        schools["api99"],
        schools["enroll"],
    ]
    return CalibrationProblem(
        np.vstack(rows), totals["value"], schools["pw"], target_names=totals["target"].tolist()
    )


@pytest.fixture(scope="module")
def folder_of_r(tmp_path_factory):
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    folder = tmp_path_factory.mktemp("r")
    done = subprocess.run(["Rscript", str(SCRIPT), str(folder)], capture_output=True, text=True)
    if "there is no package called" in done.stderr:
        pytest.skip("R has no survey or MASS package")
    assert done.returncode == 0, done.stderr
    return folder


@every_sample
@pytest.mark.parametrize("name", METHODS)
def test_weights_are_those_recorded_from_r(sample, name):
    method, _, bounded = name.partition("_")
    bounds = BOUNDS[sample] if bounded else None
    result = calibrate_classical(problem_of(sample), method=method, bounds=bounds)
    assert result.converged
    recorded = table(RECORDED / f"{sample}_weights.csv")[name]
    np.testing.assert_allclose(result.weights, recorded, rtol=1e-6)


@every_sample
def test_r_gives_the_recorded_weights_of_the_recorded_schools(sample, folder_of_r):
    for name in ("api_totals", sample, f"{sample}_weights"):
        recorded, found = table(RECORDED / f"{name}.csv"), table(folder_of_r / f"{name}.csv")
        assert recorded.keys() == found.keys()
        for column, values in recorded.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(found[column], values, rtol=1e-9)
            else:
                assert (found[column] == values).all()

"""Laws of the package as a whole: it needs nothing of the pipeline's, and it is silent."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys

for name in ("dagster", "polars", "duckdb", "pydantic", "pandas", "l0_pipeline"):
    sys.modules[name] = None  # an import of it fails from here on

import importlib
import pkgutil

import l0

for module in pkgutil.walk_packages(l0.__path__, "l0."):
    importlib.import_module(module.name)

from l0.survey import CalibrationProblem, GatedFitSettings, RefitSettings, calibrate

problem = CalibrationProblem([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], [3.0, 2.0], [1.0, 1.0, 1.0])
quick = {"settings": GatedFitSettings(epochs=5), "refit_settings": RefitSettings(epochs=5)}
result = calibrate(problem, budget=2, device="cpu", **quick)
sys.exit(0 if len(result.support) == 2 and "torch" in sys.modules else 1)
"""


def test_l0_works_without_the_pipelines_packages_and_prints_nothing():
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

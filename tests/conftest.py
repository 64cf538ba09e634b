"""A survey small enough for tests, cut from the real one, and the whole pipeline built on it once.

Households of the real CPS file, written as a user's own Parquet tables; real national figures of
three publications. The build goes through the command line, as continuous integration would do it.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.microdata.own_tables import MEMBER_COLUMNS
from l0_pipeline.resources.cps_source import CpsSource
from l0_pipeline.settings import PROJECT_DIR

HOUSEHOLDS = 8_000
BUDGET = 2_500
YEAR = "2022"
REFORM_ERROR = 0.15
# each is another minute of Tax-Calculator over a suite; all of them are run in test_reforms
REFORMS = ["standard_deduction", "earned_income_credit", "payroll_cap"]
# Tax-Calculator's own switch: to compile it takes longer than to run it on as few units as here
os.environ.setdefault("NOTAXCALCJIT", "1")
Settings = dict[str, object]
_DAGSTER = str(Path(sys.executable).with_name("dagster"))
FIGURES = ("irs_soi_pub1304_table_1_2", "irs_soi_pub1304_table_1_4", "census", "usda")


@dataclass(frozen=True)
class Build:
    """A folder with everything a build needs and wrote."""

    folder: Path
    environment: dict[str, str]

    @property
    def releases(self) -> Path:
        return self.folder / "data" / "releases"

    def dagster(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The dagster command line in this build's instance."""
        return subprocess.run(
            [_DAGSTER, *arguments],
            cwd=PROJECT_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=450,
        )

    def materialize(
        self, selection: str, *, one_process: bool = False, **settings: Settings
    ) -> subprocess.CompletedProcess[str]:
        """`dagster asset materialize` of one partition, as continuous integration runs it."""
        return self.dagster(*self.command(selection, one_process=one_process, **settings)[1:])

    def command(
        self, selection: str, *, one_process: bool = False, **settings: Settings
    ) -> list[str]:
        """What a shell would be told to materialize one partition, with settings of resources."""
        module = ("-m", "l0_pipeline.definitions")
        chosen = ("--select", selection, "--partition", YEAR)
        config = {
            "execution": {"config": {"one_process": one_process}},
            "resources": _configured(settings),
        }
        return [
            *(_DAGSTER, "asset", "materialize", *module, *chosen),
            *("--config-json", json.dumps(config)),
        ]

    def instance(self) -> dg.DagsterInstance:
        """The Dagster instance that holds the build's history."""
        return dg.DagsterInstance.from_config(str(self.folder / "dagster_home"))


@pytest.fixture(scope="session")
def small_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A small survey and its figures, nothing built yet."""
    folder = tmp_path_factory.mktemp("small_build")
    (folder / "dagster_home").mkdir()
    shutil.copy(PROJECT_DIR / "data" / "dagster_home" / "dagster.yaml", folder / "dagster_home")
    _write_survey(folder)
    _copy_figures(folder / "figures")
    compiled = {name: value for name, value in os.environ.items() if name != "NOTAXCALCJIT"}
    environment = compiled | {
        "DAGSTER_HOME": str(folder / "dagster_home"),
        "L0_DATA_DIR": str(folder / "data"),
        "L0_FIGURES_DIR": str(folder / "figures"),
        "L0_SOURCE": "tables",
        "L0_HOUSEHOLDS_FILE": str(folder / "households.parquet"),
        "L0_MEMBERS_FILE": str(folder / "members.parquet"),
        "L0_MEMBERS_INCOME_YEAR": "2014",
        "L0_BUDGET": str(BUDGET),
        "PYTHONWARNINGS": "ignore",
        "NUMBA_OPT": "0",  # thousands of units are worth compiling Tax-Calculator, if not well
    }
    return Build(folder, environment)


@pytest.fixture(scope="session")
def built(small_build: Build) -> Build:
    """The small survey with all that a release needs materialized by the command line."""
    finished = small_build.materialize(
        'not (key:"size_frontier" or key:"unseen_errors" or key:"selection_study")',
        one_process=True,
        conflict_plan={"seconds": 10, "most": 2},
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return small_build


def _configured(settings: dict[str, Settings]) -> dict[str, object]:
    """Run config of these settings; a survey as small as this answers reforms less alike."""
    limits = {"reform_error": REFORM_ERROR} | settings.get("check_limits", {})
    usual: dict[str, Settings] = {"reform_plan": {"reforms": REFORMS}}
    given = usual | settings | {"check_limits": limits}
    return {name: {"config": values} for name, values in given.items()}


def _write_survey(folder: Path) -> None:
    raw = CpsSource().read()
    everyone = schema.households(raw)
    drawn = everyone.sample(HOUSEHOLDS, seed=1).sort("household_id")
    factor = everyone["design_weight"].sum() / drawn["design_weight"].sum()
    drawn.select("household_id", "state_fips", pl.col("design_weight") * factor).write_parquet(
        folder / "households.parquet"
    )
    units = schema.tax_units(raw).join(drawn, on="household_id", how="semi")
    inputs = [name for name in MEMBER_COLUMNS if name in units.columns and name != "FLPDYR"]
    units.select(inputs).write_parquet(folder / "members.parquet")


def _copy_figures(folder: Path) -> None:
    source = PROJECT_DIR / "data" / "figures"
    (folder / YEAR).mkdir(parents=True)
    shutil.copy(source / "variables.csv", folder)
    for path in (source / YEAR).glob("*.csv"):
        if path.name.startswith(FIGURES):
            shutil.copy(path, folder / YEAR)

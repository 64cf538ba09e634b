"""PolicyEngine-US reads a release's file and counts the same people and dollars.

Run by ``make test-consumers``: PolicyEngine has an environment of its own, whose interpreter
``L0_POLICYENGINE_PYTHON`` names. Nothing is fetched; the simulation runs on one local file.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from l0_pipeline.logic.microdata import schema
from l0_pipeline.logic.release.policyengine_amounts import AMOUNTS
from l0_pipeline.logic.release.policyengine_file import policyengine_file
from l0_pipeline.logic.tax_model import age_tax_units
from l0_pipeline.resources.cps_source import CpsSource

INTERPRETER = "L0_POLICYENGINE_PYTHON"
YEAR = 2022
HOUSEHOLDS = 600
PRECISION = 1e-6  # PolicyEngine computes in single precision

pytestmark = [
    pytest.mark.skipif(INTERPRETER not in os.environ, reason=f"{INTERPRETER} is not set"),
    pytest.mark.timeout(600),
]

# run by PolicyEngine's interpreter: variables in, weighted sums and unweighted arrays out
PROGRAM = """
import json, sys
from policyengine_us import Microsimulation

file, summed, listed = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
simulation = Microsimulation(dataset=file)
sums = {name: float(simulation.calculate(name).sum()) for name in summed}
entities = ("age", "tax_unit_id", "household_id")
counts = {name: float(simulation.calculate(name).weights.sum()) for name in entities}
lists = {name: simulation.calculate(name, use_weights=False).tolist() for name in listed}
period = str(simulation.default_calculation_period)
print(json.dumps({"period": period, "sums": sums, "counts": counts, "lists": lists}))
"""
LISTED = ("filing_status", "tax_unit_size", "state_fips", "is_tax_unit_spouse")
TAXES = ("adjusted_gross_income", "income_tax", "eitc")


@pytest.fixture(scope="module")
def households() -> pl.DataFrame:
    drawn = schema.households(CpsSource().read()).sample(HOUSEHOLDS, seed=11)
    return drawn.sort("household_id").with_columns(weight=pl.col("design_weight") * np.pi)


@pytest.fixture(scope="module")
def aged(households: pl.DataFrame) -> pl.DataFrame:
    units = schema.tax_units(CpsSource().read()).join(
        households.select("household_id", "weight"), on="household_id", maintain_order="left"
    )
    return age_tax_units(units, income_year=2014, target_year=YEAR)


@pytest.fixture(scope="module")
def answer(
    households: pl.DataFrame,
    aged: pl.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, dict]:
    """What PolicyEngine makes of the file."""
    file = tmp_path_factory.mktemp("policyengine") / f"sparse_{YEAR}.h5"
    file.write_bytes(policyengine_file(households, aged, year=YEAR))
    return _simulated(file, summed=[*(amount.variable for amount in AMOUNTS), *TAXES])


def _simulated(file: Path, *, summed: list[str]) -> dict[str, dict]:
    done = subprocess.run(
        [os.environ[INTERPRETER], "-c", PROGRAM, str(file), json.dumps(summed), json.dumps(LISTED)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "were ignored" not in done.stderr, done.stderr  # a variable that it does not know
    return json.loads(done.stdout.splitlines()[-1])


def test_the_year_is_the_files(answer: dict[str, dict]):
    assert answer["period"] == str(YEAR)


def test_weighted_persons_units_and_households_are_the_releases(
    answer: dict[str, dict], households: pl.DataFrame, aged: pl.DataFrame
):
    assert answer["counts"] == pytest.approx(
        {
            "age": aged["weight"] @ aged["persons"],
            "tax_unit_id": aged["weight"].sum(),
            "household_id": households["weight"].sum(),
        },
        rel=PRECISION,
    )


def test_weighted_amounts_are_those_of_the_aged_units(answer: dict[str, dict], aged: pl.DataFrame):
    wanted = {
        amount.variable: aged["weight"].to_numpy() @ (amount.of_head(aged) + amount.of_spouse(aged))
        for amount in AMOUNTS
    }
    assert sum(total != 0 for total in wanted.values()) > 15
    found = {variable: answer["sums"][variable] for variable in wanted}
    assert found == pytest.approx(wanted, rel=PRECISION)


def test_units_and_households_are_in_the_order_of_the_releases_tables(
    answer: dict[str, dict], households: pl.DataFrame, aged: pl.DataFrame
):
    lists = answer["lists"]
    assert lists["state_fips"] == households["state_fips"].to_list()
    assert lists["tax_unit_size"] == aged["persons"].to_list()
    assert [status == "JOINT" for status in lists["filing_status"]] == (aged["MARS"] == 2).to_list()
    assert sum(lists["is_tax_unit_spouse"]) == (aged["age_spouse"] > 0).sum()


def test_policyengine_taxes_the_persons(answer: dict[str, dict], aged: pl.DataFrame):
    wages = aged["weight"] @ aged["e00200"]
    assert 1.1 * wages < answer["sums"]["adjusted_gross_income"] < 2 * wages
    assert 0.05 * wages < answer["sums"]["income_tax"] < 0.4 * wages
    assert answer["sums"]["eitc"] > 0

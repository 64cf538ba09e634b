"""What the README says of reading a release is true: each of its blocks runs on a real release.

The blocks are run as they stand, in their order and in one working folder, with the path of a
small release in place of the README's.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from l0_pipeline.settings import PROJECT_DIR
from tests.conftest import YEAR, Build

README = PROJECT_DIR / "README.md"
HEADING = "## Read it without our code"
RELEASE = f"data/releases/latest-{YEAR}"
POLICYENGINE = "L0_POLICYENGINE_PYTHON"  # its interpreter; see tests/consumers

pytestmark = [pytest.mark.xdist_group("build"), pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Block:
    """A fenced block of the README's section."""

    language: str
    text: str

    @property
    def name(self) -> str:
        """The language and the first package or program that the block names."""
        first = re.search(r"(?:from|import|library\()\s*(\w+)|^(\w+)", self.text, re.MULTILINE)
        assert first is not None
        return f"{self.language}-{first[1] or first[2]}"

    def command(self) -> list[str]:
        """What runs the block; skips the test where this machine has no such program."""
        if self.language == "bash":
            return ["bash", "-e", "-c"]
        if self.language == "r":
            if not _has_survey():
                pytest.skip("R with its package survey is not installed")
            return ["Rscript", "-e"]
        if "policyengine_us" in self.text:
            if POLICYENGINE not in os.environ:
                pytest.skip(f"{POLICYENGINE} is not set")
            return [os.environ[POLICYENGINE], "-c"]
        return [sys.executable, "-W", "error", "-c"]


def _blocks() -> list[Block]:
    """Those between the heading and the next one."""
    section = README.read_text(encoding="utf-8").partition(f"\n{HEADING}\n")[2]
    section = re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0]
    return [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```", section, re.S | re.M)]


@cache
def _has_survey() -> bool:
    if shutil.which("Rscript") is None:
        return False
    return subprocess.run(["Rscript", "-e", "library(survey)"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def release(built: Build) -> Path:
    return (built.releases / f"latest-{YEAR}").resolve()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One working folder for all blocks: R reads what DuckDB wrote."""
    return tmp_path_factory.mktemp("readers")


@pytest.mark.parametrize("block", _blocks(), ids=lambda block: block.name)
def test_every_block_runs_and_says_what_the_release_says(block: Block, release: Path, folder: Path):
    done = subprocess.run(
        [*block.command(), block.text.replace(RELEASE, str(release))],
        cwd=folder,
        # programs beside this interpreter, such as tc
        env=os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = pl.read_parquet(release / "tax_outputs.parquet")
    if "iitax" in block.text:
        income_tax = outputs["iitax"] @ outputs["weight"]
        assert float(done.stdout.splitlines()[0]) == pytest.approx(income_tax, rel=1e-6)
    elif "employment_income" in block.text:
        wages = outputs["e00200"] @ outputs["weight"]
        assert float(done.stdout.splitlines()[-1]) == pytest.approx(wages, rel=1e-6)
    elif block.language == "r":
        households = pl.read_parquet(release / "households.parquet")
        persons = households["weight"] @ households["persons"]
        total, error = map(float, re.findall(r"^persons +(\S+) +(\S+)", done.stdout, re.M)[0])
        assert total == pytest.approx(persons, rel=1e-6)
        assert 0 < error < 0.1 * total
    else:
        assert "Weighted Tax Reform Totals" in done.stdout
        # the number of tax units, in millions, is on the last row of the table
        units = float(re.findall(r"^ A +(\S+)", done.stdout, re.M)[0])
        assert units == pytest.approx(outputs["weight"].sum() / 1e6, abs=0.01)


def test_the_section_has_a_block_for_every_reader():
    named = {block.name for block in _blocks()}
    assert named == {
        "python-pandas", "python-polars", "python-duckdb", "r-survey", "bash-taxcalc",
        "python-policyengine_us",
    }  # fmt: skip
    records = [block for block in _blocks() if "Records(" in block.text]
    assert len(records) == 1

"""The page "Bring your own totals" does what it says: its rows end where it says, by each way."""

import re
from pathlib import Path

import duckdb
import polars as pl
import pytest

from l0_pipeline.logic.figure_findings import find
from l0_pipeline.logic.targets import declare_targets
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.resources.variables import VariableDictionary
from l0_pipeline.settings import HELD_OUT_SHARE, PROJECT_DIR, SEED

FIGURES = PROJECT_DIR / "data" / "figures"
PAGE = (FIGURES / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)


def _block(language: str) -> str:
    (text,) = [text for found, text in BLOCKS if found == language]
    return "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The real figures of 2022 in a folder of one's own."""
    (tmp_path / "2022").mkdir()
    for path in (FIGURES / "2022").iterdir():
        (tmp_path / "2022" / path.name).symlink_to(path)
    return tmp_path


def _as_csv(folder: Path) -> None:
    (folder / "2022" / "own_totals.csv").write_text(_block("csv"), encoding="utf-8")


def _as_parquet(folder: Path) -> None:
    rows = pl.read_csv(_block("csv").encode(), schema_overrides={"geography": pl.String})
    rows.write_parquet(folder / "2022" / "own_totals.parquet")


def _as_table(folder: Path) -> None:
    (folder / "own_totals.csv").write_text(_block("csv"), encoding="utf-8")
    with duckdb.connect(str(folder / "own.duckdb")) as connection:
        connection.execute(f"set file_search_path = '{folder}'")
        connection.execute(_block("sql"))


@pytest.mark.parametrize("bring", [_as_csv, _as_parquet, _as_table])
def test_the_rows_of_the_page_end_in_the_roles_it_tells(folder: Path, bring):
    bring(folder)
    variables = VariableDictionary().read()
    source = FiguresSource(figures_dir=str(folder), database=str(folder / "own.duckdb"))
    figures = source.read(2022, variables=variables["variable"].to_list())
    findings = find(figures)
    assert findings.filter(severity="error").is_empty()
    targets = declare_targets(figures, variables, held_out_share=HELD_OUT_SHARE, seed=SEED)
    roles = dict(
        targets.filter(pl.col("target_id").str.starts_with("own-"))
        .select("target_id", "role")
        .rows()
    )
    assert {roles["own-co-65"], roles["own-co-child"]} <= {"fitted", "held_out"}
    assert roles["own-co-40"] == roles["own-co-chip"] == "rejected"

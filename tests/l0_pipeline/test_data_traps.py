"""The traps of the real figures, one test each: what they look like, and where they end."""

from functools import cache
from pathlib import Path

import polars as pl
import pytest

from l0_pipeline.logic import fit
from l0_pipeline.logic.figure_findings import find
from l0_pipeline.logic.figures import STATES
from l0_pipeline.logic.targets import declare_targets
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.resources.variables import VariableDictionary
from l0_pipeline.settings import HELD_OUT_SHARE, PROJECT_DIR, SCALE_FLOORS, SEED

FIGURES = PROJECT_DIR / "data" / "figures"
PUBLICATION, HISTORIC = "Publication 1304", "Historic Table 2"
USED = pl.col("role").is_in(["fitted", "held_out"])


@cache
def _figures(year: int) -> pl.DataFrame:
    source = FiguresSource(figures_dir=str(FIGURES), database=str(Path("none.duckdb")))
    variables = VariableDictionary(file=str(FIGURES / "variables.csv")).read()
    return source.read(year, variables=variables["variable"].to_list())


@cache
def _targets(year: int = 2022) -> pl.DataFrame:
    variables = VariableDictionary(file=str(FIGURES / "variables.csv")).read()
    return declare_targets(_figures(year), variables, held_out_share=HELD_OUT_SHARE, seed=SEED)


def _nation(variable: str, measure: str) -> pl.DataFrame:
    whole = (pl.col("filters").list.len() == 0) & (pl.col("geography") == "US")
    return _targets().filter(whole, variable=variable, measure=measure)


@pytest.mark.parametrize(
    ("variable", "measure"), [("returns", "count"), ("adjusted_gross_income", "sum")]
)
def test_of_two_sources_of_one_thing_the_final_one_is_used_and_the_other_compared(
    variable: str, measure: str
):
    printed = _nation(variable, measure)
    used, compared = printed.filter(USED), printed.filter(role="benchmark")
    assert PUBLICATION in used["published_table"].item()
    assert HISTORIC in compared["published_table"].item()
    assert used["value"].item() != compared["value"].item()
    assert used["target_id"].item() in compared["reason"].item()


def test_negative_and_zero_totals_have_a_scale_above_zero():
    targets = _targets().filter(USED)
    scales = fit.scales(targets, floors=SCALE_FLOORS)
    assert (targets["value"] < 0).sum() > 50
    assert (targets["value"] == 0).sum() > 5
    assert (scales > 0).all()


def test_the_nation_is_the_states_with_territories_and_other_addresses():
    wages = _figures(2022).filter(
        pl.col("published_table").str.starts_with(HISTORIC),
        variable="net_investment_income_tax",
        measure="sum",
        filters="",
    )
    by_area = dict(wages.select("geography", "value").rows())
    states = sum(by_area[state] for state in STATES)
    assert by_area["US"] / states > 1.02
    assert by_area["US"] == pytest.approx(states + by_area["72"] + by_area["OA"], rel=2e-4)
    assert find(_figures(2022)).filter(kind="total_against_parts").is_empty()


def test_calendar_years_are_used_before_fiscal_years_and_thirteen_payments_never():
    snap = _nation("snap_benefit", "sum")
    assert snap.filter(USED)["period"].to_list() == ["calendar year 2022"]
    assert snap.filter(role="benchmark")["period"].to_list() == ["fiscal year 2022"]
    outlays = _nation("ssi_outlays", "sum")
    assert outlays["role"].item() == "benchmark"
    assert "thirteen" in outlays["reason"].item()


def test_benefits_paid_reported_and_taxable_are_three_columns():
    names = ("social_security_benefits_paid", "social_security_on_returns")
    columns = {
        name: _nation(name, "sum").select("records", "microdata_column").row(0)
        for name in (*names, "taxable_social_security")
    }
    assert columns[names[0]] == ("everyone", "social_security")
    assert columns[names[1]] == ("filers", "social_security")
    assert columns["taxable_social_security"] == ("filers", "taxable_social_security")


def test_ages_that_overlap_are_used_only_where_the_survey_tells_them_apart():
    ages = _targets().filter(variable="population", geography="US", publisher="Census Bureau")
    banded = ages.filter(pl.col("filters").list.len() > 0)
    nation = ages.filter(pl.col("filters").list.len() == 0)["value"].max()
    assert banded["value"].sum() / nation > 2.5
    refused = banded.filter(role="rejected")
    assert set(refused["reason"]) == {
        "the file tells ages apart only at 6, 13, 18, 21 and 65 years"
    }
    assert set(banded["role"]) >= {"fitted", "rejected"}


def test_no_amount_is_in_thousands_income_a_return_lies_in_its_class():
    rows = _figures(2022).filter(
        pl.col("filters").str.contains(r"^agi >= \d+ & agi < \d+$"),
        pl.col("variable").is_in(["adjusted_gross_income", "returns"]),
    )
    cells = (
        rows.with_columns(bounds=pl.col("filters").str.extract_all(r"\d+"))
        .pivot("variable", index=["published_table", "geography", "bounds"], values="value",
               aggregate_function="first")
        .drop_nulls()
        .filter(pl.col("returns") > 1_000)
    )  # fmt: skip
    average = pl.col("adjusted_gross_income") / pl.col("returns")
    low, high = (pl.col("bounds").list.get(i).cast(pl.Float64) for i in (0, 1))
    assert len(cells) > 400
    assert cells.filter(~average.is_between(low * 0.99, high * 1.01)).is_empty()


def test_what_the_survey_hardly_records_is_compared_and_never_chased():
    for variable, reason in (
        ("business_net_loss", "hardly any losses"),
        ("medicaid_enrollment", "miss over a quarter"),
        ("itemized_interest_paid", "two and a half times"),
    ):
        shown = _targets().filter(pl.col("geography").is_in(["US", *STATES]), variable=variable)
        assert set(shown["role"]) == {"benchmark"}, variable
        assert shown["reason"].str.contains(reason).all(), variable


def test_a_zero_that_means_something_else_is_not_fitted():
    zero = _targets().filter(
        pl.col("filters").list.len() == 1,
        variable="standard_deduction",
        geography="US",
        value=0,
    )
    assert len(zero) == 2
    assert set(zero["role"]) == {"benchmark"}
    assert zero["reason"].str.contains("the tax model gives it to all").all()


def test_tables_that_lack_an_area_or_have_one_more_say_so():
    lacking = find(_figures(2023)).filter(kind="missing_area")
    acs = lacking.filter(pl.col("file").str.contains("acs")).row(0, named=True)
    assert acs["severity"] == "warning"
    assert "area 11" in acs["detail"]
    beyond = _targets().filter(geography="72")
    assert set(beyond["role"]) == {"rejected"}
    assert beyond["reason"].str.contains("50 states and the District").all()

"""Laws of roles: every figure ends in exactly one, with a reason, and nothing is dropped."""

import math
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.figures import STATES
from l0_pipeline.logic.targets import (
    ROLES,
    contradictions,
    declare_targets,
    folds,
    hold_out_fold,
    reject_implausible,
    settle_roles,
)
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.resources.variables import VariableDictionary

FIGURES = Path(__file__).parents[2] / "data" / "figures"
YEARS = (2021, 2022, 2023)
SHARE, SEED = 0.15, 2022

VARIABLES = pl.DataFrame(
    [
        ("returns", "filers", "one", "close", "tax units that file"),
        ("wages", "filers", "wages", "close", "reported"),
        ("interest", "filers", "taxable_interest", "close", "imputed"),
        ("deductions", "itemizers", "itemized_deductions", "close", "computed"),
        ("losses", "filers", "business_loss", "different", "hardly any losses"),
        ("rents", "filers", "", "absent", "no rents in the file"),
        ("population", "everyone", "persons", "same", "residents"),
        ("people", "filers", "persons", "close", "members of filing units"),
    ],
    schema=["variable", "records", "column", "closeness", "definition"],
    orient="row",
)
DEFAULTS = {
    "variable": "wages", "measure": "sum", "universe": "returns", "geography": "US", "filters": "",
    "value": 1.0, "unit": "dollars", "year": 2022, "period": "tax year 2022", "publisher": "IRS",
    "published_table": "Publication 1304 Table 1.4", "standard_error": None, "aged_from": None,
    "role": None, "note": "", "family": "wages, nation",
}  # fmt: skip
PERSONS = {
    "variable": "population", "universe": "residents", "measure": "count", "unit": "persons",
    "published_table": "Census", "period": "July 1", "family": "population, nation",
}  # fmt: skip


def _figures(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(
        [{"figure_id": f"f{i}"} | DEFAULTS | row for i, row in enumerate(rows)],
        schema_overrides={"standard_error": pl.Float64, "aged_from": pl.Int64, "role": pl.String},
    )


def _declare(
    *rows: dict[str, object], share: float = 0.0, seed: int = SEED, fold: int = 0
) -> pl.DataFrame:
    return declare_targets(_figures(*rows), VARIABLES, held_out_share=share, seed=seed, fold=fold)


def _only(**row: object) -> tuple[str, str]:
    """Role and reason of one figure alone."""
    return _declare(row).select("role", "reason").row(0)


def _many(count: int, *, name: str, **row: object) -> list[dict[str, object]]:
    """Figures that differ in their class of income only."""
    return [
        {"figure_id": f"{name}{i}", "filters": f"agi >= {i} & agi < {i + 1}", "family": name} | row
        for i in range(count)
    ]


def _held_out(targets: pl.DataFrame) -> set[str]:
    return set(targets.filter(role="held_out")["target_id"])


@cache
def _real(year: int, *, share: float = SHARE, seed: int = SEED) -> pl.DataFrame:
    variables = VariableDictionary(file=str(FIGURES / "variables.csv")).read()
    return declare_targets(_real_figures(year), variables, held_out_share=share, seed=seed)


@cache
def _real_figures(year: int) -> pl.DataFrame:
    variables = VariableDictionary(file=str(FIGURES / "variables.csv")).read()
    source = FiguresSource(figures_dir=str(FIGURES), database=str(FIGURES / "none.duckdb"))
    return source.read(year, variables=variables["variable"])


@pytest.mark.parametrize("year", YEARS)
def test_every_published_figure_ends_in_one_role_with_a_reason(year: int):
    targets = _real(year)
    assert sorted(targets["target_id"]) == sorted(_real_figures(year)["figure_id"])
    assert set(targets["role"]) == set(ROLES)
    assert targets.filter(pl.col("reason").fill_null("").str.strip_chars() == "").is_empty()
    counts = targets["role"].value_counts()
    assert counts["count"].sum() == len(_real_figures(year)) > 2_000


@pytest.mark.parametrize("year", YEARS)
def test_of_every_family_the_share_is_held_out_rounded_down(year: int):
    everybody = (pl.col("variable") == "population") & (pl.col("filters").list.len() == 0)
    fittable = _real(year).filter(pl.col("role").is_in(["fitted", "held_out"]), ~everybody)
    families = fittable.group_by("family").agg(
        size=pl.len(), held_out=(pl.col("role") == "held_out").sum()
    )
    assert len(families) > 10
    assert all(out == math.floor(SHARE * size) for _, size, out in families.rows())


@pytest.mark.parametrize(("share", "size"), [(0.15, 20), (0.15, 1), (0.15, 3), (0.25, 9), (0.5, 2)])
def test_every_target_is_held_out_in_exactly_one_fold(share: float, size: int):
    rows = [*_many(size, name="one"), *_many(7, name="two", variable="interest")]
    turns = [_held_out(_declare(*rows, share=share, fold=f)) for f in range(folds(share))]
    assert sum(map(len, turns)) == size + 7
    assert set.union(*turns) == {row["figure_id"] for row in rows}
    numbered = _declare(*rows, share=share)
    assert all(
        set(numbered.filter(fold=fold)["target_id"]) == turn for fold, turn in enumerate(turns)
    )


@pytest.mark.parametrize("role", ["benchmark", "rejected"])
def test_a_file_may_ask_for_a_role_and_gives_the_reason(role: str):
    assert _only(role=role, note="no such returns") == (role, "asked for: no such returns")


def test_a_figure_that_a_file_asks_to_fit_is_never_held_out_and_wins_over_its_like():
    asked = {"role": "fitted", "note": "ours is newer", "published_table": HISTORIC}
    rows = [*_many(5, name="n"), asked | {"filters": "agi >= 2 & agi < 3"}]
    turns = [_declare(*rows, share=0.5, fold=fold) for fold in range(2)]
    for targets in turns:
        roles = {
            name: (role, reason)
            for name, role, reason in targets.select("target_id", "role", "reason").rows()
        }
        assert roles["f5"] == ("fitted", "asked for: ours is newer")
        assert roles["n2"] == ("benchmark", "printed twice: f5 is fitted or held out in its place")
    assert _only(variable="losses", role="fitted", note="n") == ("fitted", "asked for: n")
    assert _only(variable="rents", role="fitted", note="n")[0] == "rejected"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"measure": "count", "unit": "persons"},
            "does not say which persons of a tax unit have wages",
        ),
        (PERSONS | {"unit": "returns"}, "population is counted in persons, not in returns"),
        (PERSONS | {"measure": "sum", "unit": "dollars"}, "counted in persons, not in dollars"),
        ({"measure": "count", "unit": "households"}, "only SNAP is kept once a household"),
    ],
)
def test_a_unit_that_the_column_does_not_count_is_rejected(row: dict[str, object], said: str):
    role, reason = _only(**row)
    assert role == "rejected"
    assert said in reason


def test_what_a_file_asks_to_fit_is_fitted_after_compilation_too():
    asked = {"figure_id": "z", "role": "fitted", "note": "ours", "family": "own"}
    targets = _declare({"variable": "interest"}, asked, share=0.5, fold=1)
    same = pl.DataFrame({"target_id": ["f0", "z"], "support": 50, "row_digest": "one"})
    roles = dict(settle_roles(targets, same, minimum_support=30).select("target_id", "role").rows())
    assert roles == {"f0": "benchmark", "z": "fitted"}


def test_of_equal_coefficients_the_final_source_stays():
    other = {"published_table": PUBLICATION, "filters": "agi < 9000000000"}
    rows = [{"published_table": HISTORIC}, other]
    same = pl.DataFrame({"target_id": ["f0", "f1"], "support": 50, "row_digest": "one"})
    settled = settle_roles(_declare(*rows), same, minimum_support=30)
    assert dict(settled.select("target_id", "role").rows()) == {"f0": "benchmark", "f1": "fitted"}


@pytest.mark.parametrize(
    ("value", "estimate", "role"),
    [
        (3_000.0, 3_100_000.0, "rejected"),
        (3_000.0, 300_000.0, "fitted"),
        (-164e9, -2.2e9, "fitted"),
        (2e9, 0.0, "rejected"),
        (2e3, 0.0, "fitted"),
    ],
)
def test_a_target_hundreds_of_times_away_from_the_survey_is_rejected(
    value: float, estimate: float, role: str
):
    targets = pl.DataFrame(
        {"target_id": ["t", "b"], "value": value, "unit": "dollars",
         "role": ["fitted", "benchmark"], "reason": "r", "fold": 3}
    )  # fmt: skip
    estimates = pl.DataFrame({"target_id": ["t", "b"], "estimate": estimate})
    judged = reject_implausible(targets, estimates, factor=300, floors={"dollars": 1e3})
    assert judged["role"].to_list() == [role, "benchmark"]
    assert judged["reason"][0].startswith("implausible" if role == "rejected" else "r")


def test_turning_the_folds_changes_the_roles_of_fittable_targets_alone():
    rows = [*_many(4, name="n"), {"variable": "losses"}, PERSONS]
    first, second = (_declare(*rows, share=0.5, fold=fold) for fold in range(2))
    turned = hold_out_fold(first, 1)
    assert _held_out(turned) == _held_out(second) != _held_out(first)
    others = pl.col("fold").is_null()
    assert turned.filter(others).equals(first.filter(others))


def test_two_values_for_one_row_of_coefficients_are_told_furthest_apart_first():
    names = ["a", "b", "c", "d", "e"]
    settled = pl.DataFrame(
        {
            "target_id": names, "variable": "wages", "measure": "sum", "geography": "US",
            "condition": "", "value": [100.0, 110.0, 50.0, 7.0, 7.0], "published_table": "T",
            "role": ["fitted", "benchmark", "benchmark", "held_out", "benchmark"], "support": 40,
        }
    )  # fmt: skip
    support = pl.DataFrame({"target_id": names, "row_digest": ["x", "x", "x", "y", "y"]})
    found = contradictions(settled, support)
    assert found.select("target_id_used", "target_id", "difference").rows() == [
        ("a", "c", -0.5),
        ("a", "b", 0.1),
    ]


def test_what_is_not_fittable_belongs_to_no_fold():
    targets = _declare(*_many(9, name="n"), {"variable": "losses"}, PERSONS, share=0.5)
    assert targets.filter(pl.col("fold").is_null())["target_id"].to_list() == ["f10", "f9"]


@pytest.mark.parametrize(("share", "fold"), [(0.15, 7), (0.15, -1), (0.0, 1)])
def test_a_fold_that_does_not_exist_is_refused(share: float, fold: int):
    with pytest.raises(InputError, match=f"fold is {fold}, but .* the folds are 0 to"):
        _declare({}, share=share, fold=fold)


@pytest.mark.parametrize("year", YEARS)
def test_no_concept_is_fitted_or_held_out_twice(year: int):
    fittable = _real(year).filter(pl.col("role").is_in(["fitted", "held_out"]))
    concept = ("variable", "measure", "unit", "geography", "filters")
    assert fittable.select(concept).is_unique().all()


@pytest.mark.parametrize("year", YEARS)
def test_what_is_fitted_has_a_column_and_a_place_in_the_survey(year: int):
    shown = _real(year).filter(pl.col("role") != "rejected")
    assert set(shown["geography"]) <= {"US", *STATES}
    assert shown.filter(microdata_column="").is_empty()
    fittable = shown.filter(pl.col("role") != "benchmark")
    assert set(fittable["closeness"]) <= {"same", "close"}


def test_the_value_of_a_figure_is_its_target():
    targets = _real(2022).select("target_id", "value")
    figures = _real_figures(2022).select(pl.col("figure_id").alias("target_id"), "value")
    assert targets.sort("target_id").equals(figures.sort("target_id"))


def test_another_seed_holds_out_others_of_the_same_number():
    one, other = _held_out(_real(2022)), _held_out(_real(2022, seed=7))
    assert len(one) == len(other)
    assert one != other
    # two lots of 15 % share about 15 %
    assert 0.05 < len(one & other) / len(one) < 0.30


@pytest.mark.parametrize("geography", ["66", "72", "78", "OA"])
def test_territories_are_rejected(geography: str):
    role, reason = _only(geography=geography)
    assert role == "rejected"
    assert "50 states and the District of Columbia" in reason


def test_what_the_file_does_not_have_is_rejected_with_its_definition():
    assert _only(variable="rents") == ("rejected", "no rents in the file")


def test_what_means_something_else_is_a_benchmark_with_its_definition():
    assert _only(variable="losses") == ("benchmark", "hardly any losses")


def test_what_can_be_fitted_says_how_close_the_definitions_are():
    assert _only() == ("fitted", "close definition: reported")
    assert _only(**PERSONS) == ("fitted", "same definition: residents")


@pytest.mark.parametrize("variable", ["population", "people"])
@pytest.mark.parametrize("filters", ["age < 5", "age >= 18 & age < 25", "age >= 85", "age == 65"])
def test_ages_that_cut_a_band_of_persons_are_rejected(variable: str, filters: str):
    universe = {"population": "residents", "people": "returns"}[variable]
    role, reason = _only(**PERSONS | {"variable": variable, "universe": universe}, filters=filters)
    assert role == "rejected"
    assert reason == "the file tells ages apart only at 6, 13, 18, 21 and 65 years"


@pytest.mark.parametrize("filters", ["", "age < 18", "age >= 6 & age < 21", "age >= 65"])
def test_unions_of_age_bands_are_fitted(filters: str):
    assert _only(**PERSONS, filters=filters)[0] == "fitted"


def test_returns_by_the_heads_age_need_no_bands():
    assert _only(variable="returns", measure="count", unit="returns", filters="age < 26") == (
        "fitted",
        "close definition: tax units that file",
    )


@pytest.mark.parametrize(
    ("variable", "universe"),
    [
        ("wages", "residents"),
        ("wages", "itemizing_returns"),
        ("deductions", "residents"),
        ("population", "returns"),
    ],
)
def test_a_figure_about_others_than_the_dictionarys_records_is_rejected(
    variable: str, universe: str
):
    records = dict(VARIABLES.select("variable", "records").rows())[variable]
    assert _only(variable=variable, universe=universe) == (
        "rejected",
        f"the figure speaks of {universe}, the dictionary of {records}",
    )


@pytest.mark.parametrize("universe", ["returns", "itemizing_returns"])
def test_deductions_of_itemizers_may_stand_in_a_table_of_all_returns(universe: str):
    assert _only(variable="deductions", universe=universe)[0] == "fitted"


HISTORIC = "Historic Table 2 (State data by size of AGI)"
PUBLICATION = "Publication 1304 Table 1.4"


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ({"published_table": HISTORIC}, {"published_table": PUBLICATION}, "f1"),
        ({"published_table": PUBLICATION}, {"published_table": HISTORIC}, "f0"),
        ({"period": "fiscal year 2022"}, {"period": "calendar year 2022"}, "f1"),
        ({"period": "calendar year 2022"}, {"period": "fiscal year 2022"}, "f0"),
        (
            {"published_table": PUBLICATION, "period": "fiscal year 2022"},
            {"published_table": HISTORIC, "period": "tax year 2022"},
            "f1",
        ),
        ({}, {}, "f0"),
    ],
)
def test_of_a_concept_printed_twice_publication_1304_and_calendar_years_win(
    first: dict[str, object], second: dict[str, object], winner: str
):
    roles = _declare(first, second | {"value": 2.0})
    loser = {"f0": "f1", "f1": "f0"}[winner]
    assert roles.filter(target_id=winner)["role"].item() == "fitted"
    assert roles.filter(target_id=loser).select("role", "reason").row(0) == (
        "benchmark",
        f"printed twice: {winner} is fitted or held out in its place",
    )


def test_a_figure_that_is_rejected_or_differs_never_stands_in_for_another():
    roles = _declare({"variable": "losses"}, {"variable": "losses"}, {"variable": "wages"})
    assert roles["reason"].to_list() == ["hardly any losses"] * 2 + ["close definition: reported"]


def test_a_figure_gives_way_to_one_that_is_fitted_and_never_to_a_rejected_one():
    roles = _declare({"universe": "residents"}, {"universe": "returns"})
    assert roles["role"].to_list() == ["rejected", "fitted"]


def test_other_classes_states_and_measures_are_other_concepts():
    roles = _declare(
        {},
        {"filters": "agi >= 1 & agi < 5"},
        {"geography": "06"},
        {"measure": "count", "unit": "returns"},
    )
    assert set(roles["role"]) == {"fitted"}


@pytest.mark.parametrize(
    ("count", "share", "held_out"),
    [(6, 0.15, 0), (7, 0.15, 1), (20, 0.15, 3), (20, 0.0, 0), (9, 0.5, 4), (1, 0.99, 0)],
)
def test_the_number_held_out_is_the_share_rounded_down(count: int, share: float, held_out: int):
    assert len(_held_out(_declare(*_many(count, name="a"), share=share))) == held_out


def test_the_same_seed_holds_out_the_same_whatever_the_order_of_the_figures():
    rows = _many(40, name="a")
    assert _held_out(_declare(*rows, share=0.3)) == _held_out(_declare(*rows[::-1], share=0.3))


def test_the_values_have_no_say_in_the_lot():
    rows = _many(40, name="a")
    others = [row | {"value": -5.0 * i} for i, row in enumerate(rows)]
    assert _held_out(_declare(*rows, share=0.3)) == _held_out(_declare(*others, share=0.3))


def test_figures_of_another_family_do_not_change_a_familys_lot():
    family = _many(40, name="a")
    others = _many(33, name="b", variable="interest")
    with_others = _held_out(_declare(*others, *family, share=0.3))
    alone = _held_out(_declare(*family, share=0.3))
    assert alone == {name for name in with_others if name.startswith("a")}


def test_a_figure_that_is_not_fittable_does_not_change_its_familys_lot():
    family = _many(40, name="a")
    benchmark = {"figure_id": "aa", "family": "a", "variable": "losses"}
    assert _held_out(_declare(*family, share=0.3)) == _held_out(
        _declare(benchmark, *family, share=0.3)
    )


def test_a_figure_held_out_names_the_seed():
    reasons = _declare(*_many(7, name="a"), share=0.15, seed=5).filter(role="held_out")["reason"]
    assert reasons.to_list() == [
        "fold 0 of seed 5, kept to score the fit on totals it has not seen"
    ]


def test_a_variable_that_nobody_described_is_refused_with_its_figure():
    with pytest.raises(InputError, match=r"1 figures .*f1: 'tips'.*variables\.csv"):
        _declare({}, {"variable": "tips"})


def test_filters_come_as_clauses():
    clauses = _declare({"filters": "agi >= 1 & agi < 5000"})["filters"].to_list()[0]
    assert clauses == [
        {"column": "agi", "operator": ">=", "value": "1"},
        {"column": "agi", "operator": "<", "value": "5000"},
    ]
    assert _declare({})["filters"].to_list() == [[]]


def _settled() -> pl.DataFrame:
    """Five fitted targets and two benchmarks, carried by 0, 29, 30 and more households."""
    targets = _declare(
        *({"geography": code} for code in ("01", "02", "04", "05", "06")),
        {"variable": "losses", "filters": "agi >= 1 & agi < 5"},
        {"geography": "72"},
    ).with_columns(
        role=pl.when(pl.col("target_id") == "f4").then(pl.lit("held_out")).otherwise("role")
    )
    support = {"f0": 0, "f1": 29, "f2": 30, "f4": 3, "f5": 0}
    compiled = pl.DataFrame(
        {
            "target_id": list(support),
            "support": list(support.values()),
            "row_digest": list(support),
        }
    )
    return settle_roles(targets, compiled, minimum_support=30)


def test_targets_that_too_few_households_carry_are_rejected_with_the_number():
    roles = {row["target_id"]: (row["role"], row["reason"]) for row in _settled().to_dicts()}
    assert roles["f0"] == ("rejected", "no household contributes")
    assert roles["f1"] == (
        "rejected", "29 households contribute, fewer than the 30 asked for",
    )  # fmt: skip
    assert roles["f2"] == ("fitted", "close definition: reported")
    assert roles["f4"] == ("rejected", "3 households contribute, fewer than the 30 asked for")


def test_a_target_that_was_not_compiled_has_no_support_and_cannot_be_fitted():
    assert _settled().filter(target_id="f3").select("role", "support").row(0) == ("rejected", 0)


def test_benchmarks_and_rejected_keep_role_and_reason_whatever_their_support():
    rest = _settled().filter(pl.col("target_id").is_in(["f5", "f6"]))
    assert rest["role"].to_list() == ["benchmark", "rejected"]
    assert rest["reason"][0] == "hardly any losses"


def test_settling_drops_nothing_and_writes_the_filters_as_text():
    settled = _settled()
    assert settled["target_id"].to_list() == [f"f{i}" for i in range(7)]
    assert settled["condition"].to_list() == [""] * 5 + ["agi >= 1 & agi < 5", ""]
    assert set(settled["role"]) <= set(ROLES)


def test_of_targets_with_the_same_coefficients_one_is_used_and_the_others_are_benchmarks():
    targets = _declare(*({"geography": code} for code in ("01", "02", "04")))
    compiled = pl.DataFrame(
        {"target_id": ["f0", "f1", "f2"], "support": [40] * 3, "row_digest": ["x", "y", "x"]}
    )
    settled = settle_roles(targets, compiled, minimum_support=30)
    assert settled["role"].to_list() == ["fitted", "fitted", "benchmark"]
    assert settled["reason"][2] == "the same coefficients as f0, which is used in its place"


def test_the_totals_that_design_weights_are_raised_to_are_never_held_out():
    population = {"variable": "population", "measure": "count", "unit": "persons"}
    for seed in range(20):
        roles = _declare(
            population | {"universe": "residents", "geography": "US"},
            *(population | {"universe": "residents", "geography": code} for code in ("01", "02")),
            share=0.9,
            seed=seed,
        )
        assert set(roles["role"]) == {"fitted"}

"""Laws of compilation: each coefficient is what one unit of a household's weight adds."""

import operator

import numpy as np
import polars as pl
import pytest

from l0_pipeline.logic.constraints import age_band_columns, compile_constraints
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.filters import parse_filters
from l0_pipeline.logic.measures import unit_measures
from l0_pipeline.logic.targets import FILTERS
from tests.l0_pipeline.twelve_units import HOUSEHOLD_IDS, TAX_OUTPUTS, TAX_UNITS

MEASURES = unit_measures(TAX_UNITS, TAX_OUTPUTS)

# filters, then what is counted: records, column, measure, unit
FILTERS_TRIED = (
    "",
    "agi < 0",
    "agi >= 0 & agi < 25000",
    "agi >= 25000 & agi < 30100",
    "agi >= 25000",
    "age < 26",
    "age >= 26 & age < 65",
    "age >= 65",
    "age == 64",
    "filing_status == single",
    "filing_status == married_joint",
    "filing_status == married_separate",
    "filing_status == head_of_household",
    "eitc_children == 0",
    "eitc_children == 1",
    "eitc_children == 2",
    "eitc_children == 3+",
    "agi >= 10000 & agi < 30000 & eitc_children == 2 & filing_status == head_of_household",
    "agi >= 1 & agi < 50000 & age >= 18 & age < 65 & filing_status == single",
)
COUNTED = (
    ("everyone", "wages", "sum", "dollars"),
    ("filers", "adjusted_gross_income", "sum", "dollars"),
    ("filers", "business_income", "sum", "dollars"),
    ("filers", "business_income", "count", "returns"),
    ("filers", "one", "count", "returns"),
    ("itemizers", "itemized_charity", "sum", "dollars"),
    ("itemizers", "itemized_charity", "count", "returns"),
    ("itemizers", "one", "count", "returns"),
    ("everyone", "snap_benefit", "count", "households"),
    ("everyone", "medicaid_persons", "count", "persons"),
)
AGE_UNIONS = (
    "", "age < 6", "age >= 6 & age < 13", "age < 18", "age >= 13 & age < 65", "age >= 18",
    "age >= 65", "age >= 0",
)  # fmt: skip

COMPARE = {"==": operator.eq, ">=": operator.ge, "<": operator.lt}
STATUS = {"single": 1, "married_joint": 2, "married_separate": 3, "head_of_household": 4}
BANDS = {
    "persons_0_5": (0, 5), "persons_6_12": (6, 12), "persons_13_17": (13, 17),
    "persons_18_20": (18, 20), "persons_21_64": (21, 64), "persons_65_plus": (65, 120),
}  # fmt: skip


def _target(
    filters: str = "",
    *,
    records: str = "everyone",
    column: str = "wages",
    measure: str = "sum",
    unit: str = "dollars",
    geography: str = "US",
) -> dict[str, object]:
    return {
        "target_id": "t",
        "records": records,
        "microdata_column": column,
        "measure": measure,
        "unit": unit,
        "geography": geography,
        "filters": [vars(clause) for clause in parse_filters(filters, where="test")],
    }


def _compile(*targets: dict[str, object], measures: pl.DataFrame = MEASURES) -> np.ndarray:
    frame = pl.DataFrame(targets, schema_overrides={"filters": FILTERS})
    matrix = compile_constraints(frame, measures, household_ids=HOUSEHOLD_IDS)
    assert matrix.shape == (len(targets), len(HOUSEHOLD_IDS))
    return matrix.toarray()


def _row(filters: str = "", **options: str) -> list[float]:
    """The coefficients of one target, households 10 to 50."""
    return _compile(_target(filters, **options))[0].tolist()


def _lets_in(clauses: list[dict[str, str]], age: int) -> bool:
    return all(COMPARE[clause["operator"]](age, float(clause["value"])) for clause in clauses)


def _by_hand(target: dict[str, object]) -> list[float]:
    """One unit after the other, in plain Python."""
    total = dict.fromkeys(HOUSEHOLD_IDS.to_list(), 0.0)
    for unit in MEASURES.iter_rows(named=True):
        universe = {
            "everyone": True,
            "filers": unit["files_a_return"],
            "itemizers": unit["files_a_return"] and unit["itemizes"],
        }
        here = target["geography"] in ("US", f"{unit['state_fips']:02d}")
        clauses = target["filters"]
        if target["microdata_column"] == "persons":
            ages = [clause for clause in clauses if clause["column"] == "age"]
            clauses = [clause for clause in clauses if clause["column"] != "age"]
            bands = [
                name for name, band in BANDS.items() if all(_lets_in(ages, age) for age in band)
            ]
        inside = all(
            COMPARE[c["operator"]](
                unit[c["column"]], STATUS.get(c["value"]) or float(c["value"].rstrip("+"))
            )
            for c in clauses
        )
        if not (universe[target["records"]] and here and inside):
            continue
        if target["microdata_column"] == "persons":
            amount = sum(unit[name] for name in bands)
        else:
            amount = unit[target["microdata_column"]]
        if target["measure"] == "count" and target["unit"] != "persons":
            amount = int(amount != 0)
        total[unit["household_id"]] += amount
    return list(total.values())


@pytest.mark.parametrize("geography", ["US", "01", "06"])
@pytest.mark.parametrize("counted", COUNTED, ids=" ".join)
def test_compilation_equals_adding_up_unit_by_unit(counted: tuple[str, ...], geography: str):
    records, column, measure, unit = counted
    targets = [
        _target(
            text, records=records, column=column, measure=measure, unit=unit, geography=geography
        )
        for text in FILTERS_TRIED
    ]
    assert _compile(*targets).tolist() == [_by_hand(target) for target in targets]


@pytest.mark.parametrize("records", ["everyone", "filers"])
@pytest.mark.parametrize("geography", ["US", "01", "06"])
def test_persons_are_counted_by_their_own_age_not_the_heads(records: str, geography: str):
    targets = [
        _target(
            text, records=records, column="persons", measure="count", unit="persons",
            geography=geography,
        )
        for text in (*AGE_UNIONS, "age < 18 & agi >= 0 & agi < 50000")
    ]  # fmt: skip
    assert _compile(*targets).tolist() == [_by_hand(target) for target in targets]


def test_every_kind_of_filter_lets_somebody_in_and_keeps_somebody_out():
    counts = [sum(_row(text, column="one", measure="count", unit="returns"))
              for text in FILTERS_TRIED]  # fmt: skip
    assert counts[0] == 12
    assert all(0 < count < 12 for count in counts[1:])


def test_wages_are_added_up_within_a_household():
    assert _row() == [0, 30_900, 17_000, 50_000, 115_000]


def test_wages_of_one_state_leave_the_other_state_empty():
    assert _row(geography="01") == [0, 30_900, 0, 0, 115_000]


def test_negative_amounts_keep_their_sign():
    agi = {"records": "filers", "column": "adjusted_gross_income"}
    assert _row("agi < 0", **agi) == [0, 0, -40_000, 0, 0]


def test_a_count_is_of_units_whose_amount_is_not_zero_losses_included():
    losses = {"column": "business_income", "measure": "count", "unit": "returns"}
    assert _row(records="everyone", **losses) == [0, 0, 1, 0, 2]
    assert _row(records="filers", **losses) == [0, 0, 1, 0, 1]


def test_a_household_counts_once_for_each_of_its_units():
    assert _row(column="one", measure="count", unit="returns", records="filers") == [1, 2, 2, 2, 2]


def test_itemizers_are_those_filers_who_itemize():
    assert _row(column="one", measure="count", unit="returns", records="itemizers") == [
        1, 0, 0, 0, 1,
    ]  # fmt: skip
    idle = MEASURES.with_columns(files_a_return=pl.col("unit_id") == 103)
    target = _target(column="one", measure="count", unit="returns", records="itemizers")
    assert _compile(target, measures=idle)[0].tolist() == [0, 0, 0, 0, 1]


def test_three_or_more_children_are_one_class():
    children = {"column": "earned_income_credit", "records": "filers"}
    assert _row("eitc_children == 3+", **children) == [0, 0, 5_000, 0, 0]


def test_the_lower_bound_of_a_class_is_in_it_and_the_upper_is_not():
    one = {"column": "one", "measure": "count", "unit": "returns"}
    assert sum(_row("agi >= 25000 & agi < 25001", **one)) == 3
    assert sum(_row("agi >= 24999 & agi < 25000", **one)) == 0


def test_age_means_the_head_where_returns_are_counted():
    one = {"column": "one", "measure": "count", "unit": "returns", "records": "filers"}
    assert sum(_row("age < 18", **one)) == 0
    persons = {"column": "persons", "measure": "count", "unit": "persons"}
    assert sum(_row("age < 18", **persons)) == 7


def test_all_ages_together_are_all_persons():
    persons = {"column": "persons", "measure": "count", "unit": "persons"}
    assert _row(**persons) == [3, 2, 4, 4, 7]
    parts = [_row(text, **persons) for text in ("age < 18", "age >= 18 & age < 65", "age >= 65")]
    assert np.sum(parts, axis=0).tolist() == [3, 2, 4, 4, 7]


def test_amounts_that_cancel_within_a_household_leave_no_entry():
    balanced = MEASURES.with_columns(
        wages=pl.col("unit_id").replace_strict({101: 5.0, 102: -5.0}, default=0.0)
    )
    frame = pl.DataFrame([_target()], schema_overrides={"filters": FILTERS})
    matrix = compile_constraints(frame, balanced, household_ids=HOUSEHOLD_IDS)
    assert matrix.nnz == 0


def test_no_household_has_two_entries_in_a_row():
    frame = pl.DataFrame([_target()] * 3, schema_overrides={"filters": FILTERS})
    matrix = compile_constraints(frame, MEASURES, household_ids=HOUSEHOLD_IDS)
    assert matrix.has_canonical_format
    assert np.diff(matrix.indptr).tolist() == [4, 4, 4]


def test_a_household_without_units_has_an_empty_column():
    frame = pl.DataFrame([_target()], schema_overrides={"filters": FILTERS})
    ids = pl.Series("household_id", [5, 10, 20, 30, 40, 45, 50, 99])
    matrix = compile_constraints(frame, MEASURES, household_ids=ids)
    assert matrix.toarray()[0].tolist() == [0, 0, 30_900, 17_000, 50_000, 0, 115_000, 0]


@pytest.mark.parametrize("missing", [10, 30, 50])
def test_a_unit_whose_household_is_unknown_is_refused_by_number(missing: int):
    frame = pl.DataFrame([_target()], schema_overrides={"filters": FILTERS})
    with pytest.raises(InputError, match=rf"belong to no household, the first to .*{missing}"):
        compile_constraints(
            frame, MEASURES, household_ids=HOUSEHOLD_IDS.filter(HOUSEHOLD_IDS.ne(missing))
        )


def test_no_targets_give_no_rows():
    frame = pl.DataFrame([_target()], schema_overrides={"filters": FILTERS}).clear()
    matrix = compile_constraints(frame, MEASURES, household_ids=HOUSEHOLD_IDS)
    assert matrix.shape == (0, 5)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", tuple(BANDS)),
        ("age >= 0", tuple(BANDS)),
        ("age < 6", ("persons_0_5",)),
        ("age < 18", ("persons_0_5", "persons_6_12", "persons_13_17")),
        ("age >= 6 & age < 21", ("persons_6_12", "persons_13_17", "persons_18_20")),
        ("age >= 21", ("persons_21_64", "persons_65_plus")),
        ("age >= 65", ("persons_65_plus",)),
        ("age >= 65 & agi < 5", ("persons_65_plus",)),
    ],
)
def test_ages_that_are_a_union_of_bands_are_counted_by_them(text: str, columns: tuple[str, ...]):
    assert age_band_columns(parse_filters(text, where="test")) == columns


@pytest.mark.parametrize(
    "text",
    [
        "age < 5", "age >= 5", "age >= 85", "age >= 18 & age < 25", "age >= 25 & age < 65",
        "age >= 65 & age < 85", "age == 0", "age == 6", "age == 65", "age < 120", "age >= 5.5",
    ],
)  # fmt: skip
def test_ages_that_cut_a_band_have_no_columns(text: str):
    assert age_band_columns(parse_filters(text, where="test")) is None

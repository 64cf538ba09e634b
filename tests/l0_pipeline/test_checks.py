"""Laws of the verdicts: each passes where it should and fails where it must."""

import numpy as np
import polars as pl
import pytest

from l0_pipeline import checks
from l0_pipeline.logic.microdata.columns import Column

COLUMNS = (
    Column("unit_id", pl.Int64, "identifier", "Unit"),
    Column("wages", pl.Float64, "dollars", "Wages"),
)
GOOD = pl.DataFrame({"unit_id": [1, 2], "wages": [0.5, 7.0]})


def _shown(
    frame: pl.DataFrame, *, required: list[str] | None = None
) -> tuple[bool, dict[str, object]]:
    verdict = checks.judge_table(frame, COLUMNS, "unit_id", required=required)
    assert verdict.check_name == "schema_and_keys"
    return verdict.passed, {name: value.value for name, value in verdict.metadata.items()}


def test_a_table_with_its_columns_and_keys_passes():
    passed, shown = _shown(GOOD)
    assert passed
    assert shown["rows"] == 2
    assert {value for name, value in shown.items() if name.endswith("_columns")} == {"none"}


@pytest.mark.parametrize(
    ("frame", "field", "value"),
    [
        (GOOD.drop("wages"), "absent_columns", "wages"),
        (GOOD.drop("unit_id"), "absent_columns", "unit_id"),
        (GOOD.with_columns(tips=pl.lit(1)), "unknown_columns", "tips"),
        (
            GOOD.with_columns(pl.col("wages").cast(pl.Int64)),
            "mistyped_columns",
            "wages is Int64, not Float64",
        ),
        (pl.concat([GOOD, GOOD.head(1)]), "repeated_keys", 1),
        (GOOD.with_columns(unit_id=pl.Series([1, None])), "empty_keys", 1),
        (GOOD.clear(), "rows", 0),
    ],
)
def test_a_table_that_is_not_as_described_fails_and_says_why(
    frame: pl.DataFrame, field: str, value: object
):
    passed, shown = _shown(frame)
    assert not passed
    assert shown[field] == value


def test_optional_columns_may_be_absent_but_not_of_another_type_or_unknown():
    assert _shown(GOOD.drop("wages"), required=["unit_id"])[0]
    assert not _shown(GOOD.with_columns(wages=pl.lit("7")), required=["unit_id"])[0]
    assert not _shown(GOOD.with_columns(tips=pl.lit(1)), required=["unit_id"])[0]


def test_a_key_is_never_optional():
    assert not _shown(GOOD.drop("unit_id"), required=["unit_id"])[0]


def test_a_key_of_two_columns_names_rows_together():
    both = GOOD.with_columns(unit_id=pl.lit(1, pl.Int64))
    assert checks.judge_table(both, COLUMNS, "unit_id", "wages").passed
    assert not checks.judge_table(both, COLUMNS, "unit_id").passed


def test_weights_above_zero_with_some_zeros_pass():
    verdict = checks.judge_weights(np.array([0.0, 2.0, 3.5]))
    assert verdict.passed
    assert verdict.check_name == "weights_are_sound"
    assert verdict.metadata["total"].value == 5.5


@pytest.mark.parametrize(
    ("weights", "field"),
    [
        ([1.0, np.nan], "not_finite"),
        ([1.0, np.inf], "not_finite"),
        ([1.0, -1e-9], "negative"),
    ],
)
def test_one_bad_weight_fails_and_is_counted(weights: list[float], field: str):
    verdict = checks.judge_weights(np.array(weights))
    assert not verdict.passed
    assert verdict.metadata[field].value == 1


@pytest.mark.parametrize("weights", [[], [0.0, 0.0]])
def test_weights_that_stand_for_nobody_fail(weights: list[float]):
    assert not checks.judge_weights(np.array(weights)).passed


def test_counts_are_equal_or_not():
    assert checks.judge_equal("n", value=3, wanted=3).passed
    verdict = checks.judge_equal("n", value=3, wanted=4)
    assert not verdict.passed
    assert {name: value.value for name, value in verdict.metadata.items()} == {
        "value": 3,
        "wanted": 4,
    }


@pytest.mark.parametrize(
    ("value", "limits", "passed"),
    [
        (0.05, {"at_most": 0.05}, True),
        (0.0501, {"at_most": 0.05}, False),
        (-0.05, {"at_most": 0.05}, True),
        (-0.0501, {"at_most": 0.05}, False),  # a signed error misses on either side
        (0.8, {"at_least": 0.8}, True),
        (0.79, {"at_least": 0.8}, False),
        (-1.0, {"at_least": 0.0}, False),
        (0.0, {"at_least": 0.0}, True),
        (float("nan"), {"at_most": 1e9}, False),
        (float("nan"), {"at_least": -1e9}, False),
        (float("inf"), {"at_least": 0.0}, False),
        (None, {"at_most": 1e9}, False),
        (None, {"at_least": -1e9}, False),
    ],
)
def test_a_number_within_its_limit_passes_and_one_that_does_not_exist_fails(
    value: float | None, limits: dict[str, float], passed: bool
):
    verdict = checks.judge_limit("n", value, setting="some_limit", **limits)
    assert verdict.passed is passed
    assert "some_limit" in (verdict.description or "")
    assert verdict.metadata["limit"].value == next(iter(limits.values()))


def test_checks_of_a_release_block_what_follows():
    guard = checks.blocking("target_fit", "errors_are_small", "Errors are small.")
    assert guard.blocking
    keys = checks.schema_and_keys("households", "household_id")
    assert keys.blocking
    assert "household_id" in (keys.description or "")


def test_a_table_is_complete_where_every_number_is_finite():
    table = pl.DataFrame({"unit_id": [1, 2, 3], "iitax": [0.0, -5.0, 7.0], "eitc": [0.0, 1.0, 2.0]})
    assert checks.judge_complete("answered", table, "unit_id").passed
    broken = table.with_columns(iitax=pl.Series([0.0, float("nan"), float("inf")]))
    verdict = checks.judge_complete("answered", broken, "unit_id")
    assert not verdict.passed
    assert verdict.metadata["value"].value == 2

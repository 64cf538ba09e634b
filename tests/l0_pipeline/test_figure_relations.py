"""Laws of the sums among figures: what adds up to what, and the slack of rounding."""

import polars as pl

from l0_pipeline.logic.figure_relations import stray_bands, sums, with_axes
from l0_pipeline.logic.figures import STATES

_STATED = {
    "variable": "returns",
    "measure": "count",
    "universe": "returns",
    "unit": "returns",
    "period": "tax year 2022",
    "publisher": "IRS",
    "published_table": "Table 1",
}


def _figures(*rows: tuple[str, str, float]) -> pl.DataFrame:
    return with_axes(
        pl.DataFrame(
            [
                _STATED
                | {
                    "figure_id": f"f{i}",
                    "geography": geography,
                    "filters": filters,
                    "value": float(value),
                }
                for i, (geography, filters, value) in enumerate(rows)
            ]
        )
    )


def _bands(*filters: str) -> pl.DataFrame:
    return _figures(*(("US", text, 1.0) for text in filters))


def _read(found: pl.DataFrame) -> list[tuple[str, dict[int, float]]]:
    """Each sum as its axis and the coefficients by row."""
    return [
        (axis, dict(zip(rows, coefficients, strict=True)))
        for axis, rows, coefficients in found.group_by("sum", maintain_order=True)
        .agg(pl.col("axis").first(), "row", "coefficient")
        .select("axis", "row", "coefficient")
        .iter_rows()
    ]


def test_a_total_is_its_income_classes():
    found = _read(sums(_bands("", "agi < 1", "agi >= 1 & agi < 5000", "agi >= 5000")))
    assert found == [("agi", {0: 1.0, 1: -1.0, 2: -1.0, 3: -1.0})]


def test_a_band_is_the_narrower_bands_that_tile_it_and_the_total_the_wider_ones():
    cells = _bands("", "age < 18", "age >= 18", "age < 6", "age >= 6 & age < 18")
    assert _read(sums(cells)) == [
        ("age", {1: 1.0, 3: -1.0, 4: -1.0}),
        ("age", {0: 1.0, 1: -1.0, 2: -1.0}),
    ]


def test_bands_that_overlap_are_checked_by_taking_away_what_they_share():
    cells = _bands("age < 6", "age < 5", "age >= 5 & age < 10", "age >= 6 & age < 10")
    ((axis, found),) = _read(sums(cells))
    assert axis == "age"
    left, right = {0, 3}, {1, 2}
    assert {found[row] for row in left} == {1.0} or {found[row] for row in left} == {-1.0}
    assert {found[row] for row in right} == {-found[0]}


def test_a_hole_in_the_classes_leaves_nothing_to_add_up():
    assert sums(_bands("", "agi < 1", "agi >= 5000")).is_empty()


def test_three_of_the_four_filing_statuses_make_no_total():
    statuses = ["single", "married_joint", "head_of_household", "married_separate"]
    every = ["", *(f"filing_status == {status}" for status in statuses)]
    assert sums(_bands(*every[:-1])).is_empty()
    assert _read(sums(_bands(*every))) == [
        ("filing_status", {0: 1.0, 1: -1.0, 2: -1.0, 3: -1.0, 4: -1.0})
    ]


def test_credits_by_children_add_up_within_an_income_class():
    inside = "agi >= 1 & agi < 5000"
    children = [f"{inside} & eitc_children == {count}" for count in ("0", "1", "2", "3+")]
    ((axis, found),) = _read(sums(_bands(inside, *children)))
    assert axis == "eitc_children"
    assert found[0] == 1.0


def test_the_nation_is_all_its_areas_and_the_territories_that_the_table_has():
    areas = [(area, "", 2.0) for area in (*STATES, "72")]
    ((axis, found),) = _read(sums(_figures(("US", "", 104.0), *areas)))
    assert axis == "geography"
    assert len(found) == 53
    assert sums(_figures(("US", "", 104.0), *areas[1:])).is_empty()


def test_a_nation_beside_its_51_areas_alone_is_an_open_sum_unless_it_may_be_negative():
    areas = [(area, "", 2.0) for area in STATES]
    cells = _figures(("US", "", 102.0), *areas)
    assert sums(cells)["open"].all()
    assert not sums(_figures(("US", "", 104.0), *areas, ("72", "", 2.0)))["open"].any()
    assert sums(cells.with_columns(variable=pl.lit("business_net_income_less_loss"))).is_empty()


def test_other_tables_other_periods_and_other_universes_do_not_add_up_together():
    cells = _bands("", "agi < 1", "agi >= 1")
    for column in ("published_table", "period", "universe", "unit", "measure", "variable"):
        changed = pl.when(pl.col("row") == 2).then(pl.lit("other")).otherwise(column)
        assert sums(cells.with_columns(changed.alias(column))).is_empty()


def test_the_slack_is_a_unit_of_the_tables_rounding_for_each_member():
    tens = _figures(("US", "", 100.0), ("US", "agi < 1", 40.0), ("US", "agi >= 1", 50.0))
    ones = tens.with_columns(pl.col("value") + 3)
    assert sums(tens)["slack"].unique().to_list() == [30.0]
    assert sums(ones)["slack"].unique().to_list() == [3.0]


def test_a_band_that_cuts_others_and_closes_no_sum_is_stray():
    bands = ["age < 15", "age >= 15 & age < 20", "age >= 20 & age < 30", "age >= 30", ""]
    assert stray_bands(_bands(*bands)).is_empty()
    ((axis, found),) = _read(stray_bands(_bands(*bands, "age >= 15 & age < 26")))
    assert axis == "age"
    assert list(found) == [5, 2]


def test_nested_bands_and_bands_that_close_a_sum_are_not_stray():
    five_years = ["age < 5", "age >= 5 & age < 10", "age >= 10 & age < 15"]
    beside = ["age < 6", "age >= 6 & age < 13", "age >= 13 & age < 15", "age >= 7 & age < 9"]
    assert stray_bands(_bands(*five_years, *beside)).is_empty()

"""Laws of the starting weights: they hit the population and keep the design's proportions."""

import polars as pl
import pytest

from l0_pipeline.logic.design import population, scaled_design_weights
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.figures import STATES

HOUSEHOLDS = pl.DataFrame({"design_weight": [100.0, 250.0, 0.0], "persons": [1, 4, 2]})


def _figure(value: float, **changes: str) -> dict[str, object]:
    figure = {"target_id": "a", "variable": "population", "geography": "US", "condition": "",
              "role": "fitted", "value": value}  # fmt: skip
    return figure | changes


def test_scaled_weights_times_persons_are_the_residents():
    weights = scaled_design_weights(HOUSEHOLDS, residents=333_271_411.0)
    assert (weights * HOUSEHOLDS["persons"]).sum() == pytest.approx(333_271_411.0, rel=1e-12)


def test_one_factor_for_all_households():
    weights = scaled_design_weights(HOUSEHOLDS, residents=2_200.0)
    assert weights.to_list() == [200.0, 500.0, 0.0]


def test_without_a_published_number_the_design_stays():
    weights = scaled_design_weights(HOUSEHOLDS, residents=None)
    assert weights.to_list() == HOUSEHOLDS["design_weight"].to_list()


@pytest.mark.parametrize("column", ["design_weight", "persons"])
def test_a_survey_of_nobody_is_refused(column: str):
    nobody = HOUSEHOLDS.with_columns(pl.lit(0).alias(column))
    with pytest.raises(InputError, match="add up to zero"):
        scaled_design_weights(nobody, residents=1_000.0)


def test_the_population_is_the_nations_of_all_ages():
    figures = pl.DataFrame(
        [
            _figure(1.0, target_id="1", geography="06"),
            _figure(2.0, target_id="2", condition="age >= 65"),
            _figure(3.0, target_id="3", variable="returns"),
            _figure(4.0, target_id="4", role="rejected"),
            _figure(5.0, target_id="6"),
            _figure(6.0, target_id="5", role="held_out"),
        ]
    )
    assert population(figures) == 5.0


def test_without_a_national_figure_the_states_add_up_when_all_are_there():
    states = [_figure(2.0, target_id=code, geography=code) for code in STATES]
    assert population(pl.DataFrame(states)) == 2.0 * 51
    assert population(pl.DataFrame(states[1:])) is None


def test_no_population_figure_is_none():
    assert population(pl.DataFrame([_figure(1.0, geography="06")])) is None

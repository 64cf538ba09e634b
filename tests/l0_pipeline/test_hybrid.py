"""Laws of the households' draw as tables: probabilities, minima, expanded totals."""

import dagster as dg
import numpy as np
import polars as pl
import pytest

from l0.errors import InputError
from l0_pipeline.assets.selection import judge_expansion
from l0_pipeline.logic.errors import InputError as PipelineError
from l0_pipeline.logic.hybrid import (
    FEWEST_CARRYING,
    design_table,
    draw_hybrid,
    expanded_totals,
    least_by_state,
    sample_of,
    selected_table,
    shortened,
)
from l0_pipeline.logic.untargeted import within_area_shares
from l0_pipeline.resources.plans import SelectionPlan

STATES = np.repeat([1, 2, 6], [300, 100, 600])
_RNG = np.random.default_rng(0)
HOUSEHOLDS = pl.DataFrame(
    {
        "household_id": np.arange(1_000) * 10 + 7,
        "state_fips": STATES,
        "persons": _RNG.integers(1, 6, 1_000),
        "tax_units": _RNG.integers(1, 3, 1_000),
        "vet_ben": _RNG.choice([0.0, 900.0], 1_000, p=[0.9, 0.1]),
        "design_weight": _RNG.uniform(50, 150, 1_000),
    }
)
DESIGN = HOUSEHOLDS["design_weight"].to_numpy()
GATES = pl.DataFrame(
    {
        "household_id": HOUSEHOLDS["household_id"],
        "scaled_design_weight": DESIGN,
        "log_alpha": pl.Series(_RNG.normal(size=1_000)).scatter(np.arange(500, 1_000), None),
        "open_probability": np.where(np.arange(1_000) < 500, _RNG.random(1_000), 0.0),
    }
)
SHARES = within_area_shares(HOUSEHOLDS, ["persons"], design_weights=DESIGN)
SIZE = 200


def drawn(**changed):
    equal = {"size_measure": "equal", "design": "simple_random", "gate_share": 0.75}
    settings = SelectionPlan().draw() | equal | changed
    return draw_hybrid(GATES, HOUSEHOLDS, SHARES, size=SIZE, **settings)


def table(sample):
    weights = np.zeros(1_000)
    weights[sample.indices] = DESIGN[sample.indices]
    return selected_table(
        sample,
        household_ids=HOUSEHOLDS["household_id"],
        design_weights=DESIGN,
        weights=weights,
        weight_ratios=np.ones(len(sample.indices)),
    )


@pytest.mark.parametrize(
    "changed",
    [
        *({"design": name} for name in ("simple_random", "systematic", "sampford", "pivotal")),
        {"design": "cube"},
        {"design": "sampford", "size_measure": "design_weight"},
        {"design": "sampford", "size_measure": "open_probability"},
        {"gates_enter": "by_open_probability"},
        {"gate_share": 0.0},
        {"gate_share": 0.8, "design": "sampford", "size_measure": "open_probability"},
    ],
)
def test_every_design_keeps_the_budget_the_minima_and_known_probabilities(changed):
    sample = drawn(**changed)
    kept = table(sample)
    assert len(kept) == kept["household_id"].n_unique() == SIZE
    described = design_table(kept, HOUSEHOLDS, least_state_share=0.5)
    assert (described["by_gates"] + described["at_random"] >= described["minimum"]).all()
    assert described["pool"].to_list() == [300, 100, 600]
    totals = expanded_totals(kept, HOUSEHOLDS, design_weights=DESIGN)
    # judged or not, a handful of households included
    assert (totals["difference"] / totals["standard_error"]).abs().max() < 5
    if "size_measure" not in changed and "gates_enter" not in changed:
        expanded = (
            pl.Series(1 / sample.inclusion_probability)
            .to_frame("n")
            .with_columns(state=pl.Series(STATES[sample.indices]))
        )
        counts = expanded.group_by("state").agg(pl.col("n").sum()).sort("state")["n"]
        np.testing.assert_allclose(counts, [300, 100, 600])


def test_a_wrong_probability_shows_in_the_expanded_totals():
    kept = table(drawn()).with_columns(
        inclusion_probability=pl.when(pl.col("kind") == "random")
        .then(pl.col("inclusion_probability") / 3)
        .otherwise(1.0)
    )
    totals = expanded_totals(kept, HOUSEHOLDS, design_weights=DESIGN)
    assert totals.filter(variable="households")["distance"].item() > 5


def test_an_amount_that_few_drawn_households_carry_is_not_judged():
    sample = drawn(gate_share=0.0, size_measure="equal")
    spread = DESIGN[sample.indices] * np.sqrt(1 - sample.inclusion_probability)
    spread /= sample.inclusion_probability
    alike, rare, uneven = (np.zeros(len(HOUSEHOLDS)) for _ in range(3))
    alike[sample.indices[:FEWEST_CARRYING]] = 1 / spread[:FEWEST_CARRYING]
    rare[sample.indices[1:FEWEST_CARRYING]] = 1 / spread[1:FEWEST_CARRYING]
    uneven[sample.indices] = 1 / spread
    uneven[sample.indices[0]] *= 100
    households = HOUSEHOLDS.with_columns(vet_ben=alike, ssi_ben=rare, wic_ben=uneven)
    totals = expanded_totals(table(sample), households, design_weights=DESIGN)
    judged = dict(totals.select("variable", pl.col("distance").is_not_null()).rows())
    told = dict(totals.select("variable", "carrying").rows())
    assert told["vet_ben"] == pytest.approx(FEWEST_CARRYING)
    assert told["ssi_ben"] == pytest.approx(FEWEST_CARRYING - 1)
    assert told["wic_ben"] < 2
    assert judged["households"]
    assert not judged["ssi_ben"]
    assert not judged["wic_ben"]


@pytest.mark.parametrize(
    ("distances", "passed", "blocks"),
    [([1.0, None, -4.9], True, True), ([1.0, -5.1], False, True), ([None], False, False)],
)
def test_expanded_totals_block_where_enough_were_drawn_to_tell(distances, passed, blocks):
    judged = judge_expansion(pl.DataFrame({"distance": pl.Series(distances, dtype=pl.Float64)}))
    assert judged.passed is passed
    assert (judged.severity == dg.AssetCheckSeverity.ERROR) is blocks


def test_the_cube_method_balances_persons_and_units():
    sample = drawn(design="cube", gate_share=0.0)
    for column in ("persons", "tax_units"):
        values = HOUSEHOLDS[column].to_numpy()
        estimate = (values[sample.indices] / sample.inclusion_probability).sum()
        assert estimate == pytest.approx(values.sum(), rel=0.01)


def test_the_table_gives_the_sample_back():
    sample = drawn(gates_enter="by_open_probability")
    back = sample_of(table(sample), HOUSEHOLDS["household_id"])
    for name in ("indices", "kind", "inclusion_probability", "strata"):
        np.testing.assert_array_equal(getattr(back, name), getattr(sample, name))


def test_the_least_of_a_state_is_a_share_of_its_proportional_part_rounded_up():
    assert least_by_state(STATES, size=SIZE, least_state_share=0.5) == {1: 30, 2: 10, 6: 60}
    assert least_by_state(STATES, size=7, least_state_share=0.5) == {1: 2, 2: 1, 6: 3}


def test_a_minimum_that_cannot_be_met_is_refused():
    with pytest.raises(InputError, match="0 records are drawn at random, but 80 would be needed"):
        drawn(gate_share=1.0, least_state_share=1.0)


def test_a_design_of_equal_chances_is_refused_with_a_measure_of_unequal_ones():
    with pytest.raises(PipelineError, match="Set size_measure of the resource selection_plan"):
        drawn(design="simple_random", size_measure="open_probability")


def test_the_random_share_is_of_those_that_gates_left():
    described = design_table(table(drawn()), HOUSEHOLDS, least_state_share=0.5)
    left = described["pool"] - described["by_gates"]
    assert described["random_share"].to_list() == (described["at_random"] / left).to_list()


def test_replicate_weights_keep_five_digits_and_zero_stays_zero():
    weights = np.concatenate([[0.0], np.random.default_rng(0).lognormal(8, 2, 10_000)])
    short = shortened(weights)
    assert short[0] == 0
    assert np.abs(short[1:] / weights[1:] - 1).max() < 8e-6
    assert np.array_equal(shortened(short), short)
    assert np.array_equal(short.astype(np.float32).astype(np.float64), short)

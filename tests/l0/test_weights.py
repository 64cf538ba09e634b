"""Laws of weight diagnostics, each by hand."""

import numpy as np
import pytest

from l0.survey.weights import (
    design_effect,
    effective_sample_size,
    scaled_design_weights,
    weight_ratios,
)

UNEQUAL = np.array([1.0, 1.0, 2.0, 0.0])  # sum 4, sum of squares 6, three records kept


def test_unequal_weights_are_worth_fewer_records():
    assert effective_sample_size(UNEQUAL) == pytest.approx(16 / 6)
    assert design_effect(UNEQUAL) == pytest.approx(3 * 6 / 16)


def test_equal_weights_are_worth_all_their_records():
    assert effective_sample_size(np.full(7, 3.0)) == pytest.approx(7)
    assert design_effect(np.array([3.0, 0.0, 3.0])) == pytest.approx(1)


def test_diagnostics_do_not_depend_on_the_unit_of_the_weights():
    assert effective_sample_size(1e6 * UNEQUAL) == pytest.approx(effective_sample_size(UNEQUAL))
    assert design_effect(1e6 * UNEQUAL) == pytest.approx(design_effect(UNEQUAL))


def test_scaled_design_weights_keep_the_total_of_all_records():
    # 10 in all, 4 of them kept: each is raised by 2.5
    scaled = scaled_design_weights(np.array([1.0, 3.0, 2.0, 4.0]), np.array([0, 1]))
    assert scaled.tolist() == [2.5, 7.5]


def test_weight_ratios_are_one_where_thinning_alone_did_it_all():
    design = np.array([1.0, 3.0, 2.0, 4.0])
    assert weight_ratios(np.array([2.5, 7.5, 0.0, 0.0]), design).tolist() == [1.0, 1.0]
    assert weight_ratios(np.array([5.0, 0.0, 0.0, 4.0]), design).tolist() == [2.5, 0.5]

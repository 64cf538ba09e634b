"""Laws of the study: what is compared with what, and which mix is supported."""

from dataclasses import replace

import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.study import MixQuality, compare, supported_share
from l0_pipeline.logic.tables import STUDY_COLUMNS

ALONE = MixQuality(
    gate_share=1.0,
    anchored=False,
    loss=0.03,
    held_out_error=0.1,
    held_out_median_error=0.07,
    effective_sample_size=1_000.0,
    max_weight_ratio=17.0,
    distortions={"persons": 0.1, "income_year": 0.2},
    watched_distortion=0.05,
    drift=None,
    standard_error=None,
)
LIMITS = {"most_error": 1.03, "most_distortion": 0.6, "least_effective": 0.8}


def mix(share, **changed):
    good = {
        "held_out_error": 0.102,
        "distortions": {"persons": 0.05, "income_year": 0.1},
        "standard_error": 0.01,
        "drift": 0.02,
    }
    return replace(ALONE, gate_share=share, anchored=True, **good | changed)


def test_the_supported_mix_with_the_fewest_gates_is_chosen():
    study = compare([mix(0.5, held_out_error=0.11), mix(0.75), mix(0.9), ALONE], **LIMITS)
    assert study.filter("supported")["gate_share"].to_list() == [0.75, 0.9]
    assert supported_share(study) == 0.75
    assert dict(study.schema) == {column.name: column.dtype for column in STUDY_COLUMNS}


@pytest.mark.parametrize(
    "changed",
    [
        {"held_out_error": 0.1031},
        {"distortions": {"persons": 0.061, "income_year": 0.0}},
        {"effective_sample_size": 799.0},
    ],
)
def test_a_mix_beyond_any_one_limit_is_not_supported(changed):
    study = compare([mix(0.75, **changed), ALONE], **LIMITS)
    assert supported_share(study) is None


def test_the_worst_of_the_held_columns_counts():
    study = compare(
        [mix(0.75, distortions={"persons": 0.05, "income_year": 0.02}), ALONE], **LIMITS
    )
    assert study.filter("anchored")["distortion_ratio"].item() == pytest.approx(0.5)


def test_what_gates_alone_leave_alone_may_not_be_distorted():
    still = replace(ALONE, distortions={"persons": 0.0})
    study = compare([mix(0.75, distortions={"persons": 0.1}), still], **LIMITS)
    assert not study.filter(gate_share=0.75)["supported"].item()


def test_a_study_without_gates_alone_is_refused():
    with pytest.raises(InputError, match="Study gate_share 1"):
        compare([mix(0.75)], **LIMITS)

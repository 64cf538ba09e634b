"""Figures of R's survey package (version 4.1-1) on its own data, reproduced.

The schools of ``tests/data/apistrat.csv`` are ``apistrat`` of R's ``data(api)``. R's design is

    d <- svydesign(id = ~1, strata = ~stype, weights = ~pw, fpc = ~fpc, data = apistrat)

``deff = TRUE`` gives R's design effect without replacement.
"""

import csv
from pathlib import Path

import numpy as np
import pytest

from l0.survey.estimation import (
    by_domain,
    greg_total,
    horvitz_thompson_total,
    mean,
    quantile,
    ratio,
)
from l0.survey.selection import Sample

FILE = Path(__file__).parents[1] / "data" / "apistrat.csv"
CLOSE = 1e-7  # the weights in R's data are those of single precision


@pytest.fixture(scope="module")
def schools():
    with FILE.open() as lines:
        rows = list(csv.DictReader(lines))
    numeric = ("fpc", "api00", "api99", "ell", "enroll")
    table = {name: np.array([float(row[name]) for row in rows]) for name in numeric}
    return table | {"stype": np.array([row["stype"] for row in rows])}


@pytest.fixture(scope="module")
def sample(schools):
    _, strata, drawn = np.unique(schools["stype"], return_inverse=True, return_counts=True)
    return Sample(
        indices=np.arange(len(strata)),
        kind=np.full(len(strata), "random"),
        inclusion_probability=drawn[strata] / schools["fpc"],
        strata=strata,
        joint=None,
    )


def agrees(found, value, standard_error, design_effect=None):
    assert found.value == pytest.approx(value, rel=CLOSE)
    assert found.standard_error == pytest.approx(standard_error, rel=CLOSE)
    if design_effect is not None:
        assert found.design_effect == pytest.approx(design_effect, rel=CLOSE)


def test_totals_are_those_of_svytotal(schools, sample):
    """svytotal(~enroll, d, deff = TRUE); confint(., df = degf(d)); subset(d, ell > 20)."""
    found = horvitz_thompson_total(schools["enroll"], sample)
    agrees(found, 3687177.53243828, 114641.71610078, 0.362018122363404)
    assert found.interval() == pytest.approx((3461095.00771954, 3913260.05715701), rel=CLOSE)
    learners = horvitz_thompson_total(schools["enroll"], sample, domain=schools["ell"] > 20)
    agrees(learners, 1594426.72794533, 157113.253605718)


def test_means_are_those_of_svymean(schools, sample):
    """svymean(~api00, d, deff = TRUE); svymean(~api00, subset(d, ell > 20))."""
    agrees(mean(schools["api00"], sample), 662.287363159321, 9.40894080278458, 1.20445726853772)
    learners = mean(schools["api00"], sample, domain=schools["ell"] > 20)
    agrees(learners, 578.825420839682, 11.2756493815621)


def test_domains_are_those_of_svyby(schools, sample):
    """svyby(~api00, ~stype, d, svymean)."""
    found = by_domain(schools["stype"], lambda kind: mean(schools["api00"], sample, domain=kind))
    agrees(found["E"], 674.43, 12.3824797939073)
    agrees(found["H"], 625.82, 14.9371291853931)
    agrees(found["M"], 636.60, 16.2147073081845)


def test_ratios_are_those_of_svyratio(schools, sample):
    """svyratio(~api00, ~api99, d, deff = TRUE)."""
    found = ratio(schools["api00"], schools["api99"], sample)
    agrees(found, 1.05226054621825, 0.00364392223084347, 1.14792000516636)


@pytest.mark.parametrize(
    ("probability", "value", "share_error", "interval"),
    [
        (0.25, 565, 0.0326774438351665, (534, 596)),
        (0.50, 668, 0.0380179814682307, (638, 681)),
        (0.90, 836, 0.0237956219607328, (805, 865)),
    ],
)
def test_quantiles_are_those_of_svyquantile(
    schools, sample, probability, value, share_error, interval
):
    """q <- coef(svyquantile(~api00, d, p)); s <- SE(svymean(~I(api00 <= q), d)).

    The interval is R's quantile rule at p -+ qt(0.975, degf(d)) s, which is Woodruff's. R itself
    centres it at the share estimated up to q in place of p.
    """
    found = quantile(schools["api00"], sample, probability=probability)
    assert found.value == value
    assert found.share_error == pytest.approx(share_error, rel=CLOSE)
    assert found.interval() == interval


def test_calibrated_totals_are_those_of_svytotal_after_calibrate(schools, sample):
    """g <- calibrate(d, ~stype + api99, c(6194, 755, 1018, 3914069)).

    svytotal(~api00, g); svytotal(~enroll, g); svytotal(~I(enroll * (ell > 20)), g).
    """
    kind = schools["stype"]
    known = {
        "auxiliary": np.column_stack(
            [np.ones(len(kind)), kind == "H", kind == "M", schools["api99"]]
        ),
        "totals": [6194, 755, 1018, 3914069],
    }
    agrees(greg_total(schools["api00"], sample, **known), 4116719.46041592, 11768.0957786678)
    agrees(greg_total(schools["enroll"], sample, **known), 3680331.72995434, 110678.655917579)
    learners = greg_total(schools["enroll"], sample, **known, domain=schools["ell"] > 20)
    agrees(learners, 1569120.54677187, 129058.872180106)


def test_unequal_probabilities_give_the_yates_grundy_variance_of_a_pps_design():
    """Records 2, 3, 7 of 8, drawn by Sampford's design from sizes 2 5 9 4 7 3 6 12.

    svydesign(id = ~1, fpc = ~p, pps = ppsmat(joint), variance = "YG") with svytotal(~y),
    svymean(~y) and svyratio(~y, ~z); ``joint`` from all 56 samples.
    """
    joint = np.array(
        [
            [0.3125, 0.135106894111489, 0.0794517146193288],
            [0.135106894111489, 0.5625, 0.166183009489332],
            [0.0794517146193288, 0.166183009489332, 0.375],
        ]
    )
    sample = Sample(
        indices=np.array([1, 2, 6]),
        kind=np.full(3, "random"),
        inclusion_probability=joint.diagonal(),
        strata=np.zeros(3, dtype=np.intp),
        joint=lambda: joint,
    )
    y, z = [11, 20, 9], [4, 5, 3]
    agrees(horvitz_thompson_total(y, sample), 94.7555555555556, 9.77635331394877)
    agrees(mean(y, sample), 12.3953488372093, 2.04592034351135)
    agrees(ratio(y, z, sample), 3.19161676646707, 0.297767592470625)

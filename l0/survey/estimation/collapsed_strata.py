"""Strata joined until each has two records drawn at random, so that a spread can be seen."""

from dataclasses import replace

import numpy as np

from l0.survey.selection.sample import Sample


def collapse_strata(sample: Sample) -> Sample:
    """The sample with each stratum of one random record joined to the next that has any.

    Strata are taken in the order of their codes and joined until they have two records drawn at
    random; what is left of the last joins those before. The variance then also counts how far
    joined strata lie apart, and errs upwards (Cochran, 1977, 5A.12): give neighbouring codes to
    strata alike. Joint probabilities tell of pairs within strata as they were drawn, and are left
    out. One random record in all stays alone, and every variance refuses it.
    """
    random = sample.inclusion_probability < 1
    codes, stratum, counts = np.unique(
        sample.strata[random], return_inverse=True, return_counts=True
    )
    joined = codes.copy()
    first, records = 0, 0
    for place, count in enumerate(counts):
        if records > 1:
            first, records = place, 0
        joined[place] = codes[first]
        records += count
    if records == 1 and first > 0:
        joined[first] = joined[first - 1]
    strata = sample.strata.copy()
    strata[random] = joined[stratum]
    return replace(sample, strata=strata, joint=None)

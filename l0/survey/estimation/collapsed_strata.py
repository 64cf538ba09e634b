"""Strata joined until each has two records that vary, so that a spread can be seen."""

from dataclasses import replace

import numpy as np

from l0.survey.selection.sample import Sample


def collapse_strata(sample: Sample, *, certain_vary: bool = False) -> Sample:
    """The sample with each stratum of one record that varies joined to the next that has any.

    Strata are taken in the order of their codes and joined, with all of their records, until they
    have two records that vary; what is left of the last joins those before. The variance then also
    counts how far joined strata lie apart, and errs upwards (Cochran, 1977, 5A.12): give
    neighbouring codes to strata alike. Joint probabilities tell of pairs within strata as they
    were drawn, and are left out. One varying record in all stays alone, and every variance
    refuses it.

    Args:
        sample: the records drawn.
        certain_vary: whether certain records vary too, as in the variance of the survey itself;
            without, those drawn at random alone.
    """
    varying = (sample.inclusion_probability < 1) | certain_vary
    codes, counts = np.unique(sample.strata[varying], return_counts=True)
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
    for before, after in zip(codes, joined, strict=True):
        strata[sample.strata == before] = after
    return replace(sample, strata=strata, joint=None)

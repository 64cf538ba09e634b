"""How far replication factors leave one, so that they repeat a design's variance.

Let z_i = w_i y_i be what record i adds to a total. The variance of Hajek and Deville (Deville,
1999) in a stratum with n records that are not certain is

    sum_i c_i (z_i - z)^2,   c_i = (1 - pi_i) n / (n - 1),   z = sum c z / sum c.

Each column D_r here is sqrt(c) (e - u u'e) with u = sqrt(c) / |sqrt(c)| in every stratum, and
sum_r (D_r'z)^2 has that variance as its expectation over e: signs for the bootstrap, groups left
out for the jackknife. What the refit does to the factors is in ``held_targets``.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from l0.errors import InputError
from l0.survey.weights import Vector

Matrix = NDArray[np.float64]

VARIANCES = ("thinning", "survey")


@dataclass(frozen=True)
class DesignVariance:
    """The root of c of each record, and the strata of those that vary."""

    root: Vector  # (size,), zero for certain records
    members: sp.csr_array  # (strata, size), one where a record of the stratum varies

    @classmethod
    def of(
        cls, inclusion_probability: Vector, strata: NDArray[np.intp], *, variance_of: str
    ) -> "DesignVariance":
        """The variance of the thinning, or of a survey that drew each record afresh.

        Args:
            inclusion_probability: (size,), in (0, 1].
            strata: (size,) code of each record's stratum.
            variance_of: "thinning" or "survey"; under "survey" c is n / (n - 1) for all records.

        Raises:
            InputError: no record varies, or one does so alone in its stratum.
        """
        if variance_of not in VARIANCES:
            raise InputError(
                f"variance_of is {variance_of!r}, but must be one of {', '.join(VARIANCES)}."
            )
        drawn_from = 1 - inclusion_probability
        if variance_of == "survey":
            drawn_from = np.ones_like(inclusion_probability)
        varying = np.flatnonzero(drawn_from > 0)
        if not len(varying):
            raise InputError(
                f"all {len(drawn_from)} records are certain: another draw would bring the same "
                'ones. Ask for variance_of="survey", or draw some at random.'
            )
        names, code = np.unique(strata[varying], return_inverse=True)
        count = np.bincount(code)
        if (count == 1).any():
            raise InputError(
                f"{int((count == 1).sum())} strata have one record that is not certain, the "
                f"first of them {names[count == 1][0]}: one record shows no variance. Join them "
                "with strata alike, or draw two from each."
            )
        root = np.zeros_like(drawn_from)
        root[varying] = np.sqrt(drawn_from[varying] * count[code] / (count[code] - 1))
        places = (np.ones(len(varying)), (code, varying))
        return cls(root, sp.csr_array(places, shape=(len(count), len(root))))

    def bootstrap(self, replicates: int, draw: np.random.Generator) -> Matrix:
        """Generalised bootstrap of independent signs (Beaumont and Patak, 2012).

        Returns:
            (size, replicates)
        """
        signs = draw.choice([-1.0, 1.0], size=(len(self.root), replicates))
        deviations: Matrix = self._contrasts(signs) / np.sqrt(replicates)
        return deviations

    def jackknife(self, replicates: int, draw: np.random.Generator) -> Matrix:
        """One of as many random groups left out at a time, in each stratum (Kott, 2001).

        Groups of a stratum differ by one record at most; where it has fewer records than there
        are groups, some replicates leave it whole. With one record a group it is the jackknife
        of every textbook. Among unequal probabilities the variance comes out lower by the share
        of it that c alone explains, which is none where all are equal.

        Returns:
            (size, replicates)
        """
        varying = int((self.root > 0).sum())
        if replicates > varying:
            raise InputError(
                f"replicates is {replicates}, but the jackknife has {varying} records to leave "
                f"out. Ask for at most {varying}, or for the bootstrap."
            )
        left_out = np.zeros((len(self.root), replicates))
        apart = np.zeros(len(self.root))
        for stratum in range(self.members.shape[0]):
            first, last = self.members.indptr[stratum : stratum + 2]
            records = draw.permutation(self.members.indices[first:last])
            group = draw.permutation(replicates)[np.arange(len(records)) % replicates]
            left_out[records] = 1 / replicates
            left_out[records, group] -= 1
            apart[records] = np.sqrt(_share_apart(len(records), replicates))
        deviations: Matrix = self._contrasts(left_out) / np.where(apart > 0, apart, 1)[:, None]
        return deviations

    def _contrasts(self, values: Matrix) -> Matrix:  # (size, replicates) -> the same
        """Root of c times what is left of each column without its part along that root."""
        total = self.members.T @ (self.members @ np.square(self.root))
        unit = np.divide(self.root, np.sqrt(total), out=np.zeros_like(total), where=total > 0)
        along = self.members.T @ (self.members @ (unit[:, None] * values))
        contrasts: Matrix = self.root[:, None] * (values - unit[:, None] * along)
        return contrasts


def _share_apart(records: int, groups: int) -> float:
    """P(two records are in different groups), the groups as equal as they can be."""
    least, larger = divmod(records, groups)
    together = larger * (least + 1) * least + (groups - larger) * least * (least - 1)
    return 1 - together / (records * (records - 1))

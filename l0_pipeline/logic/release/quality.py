"""The numbers that say how good a release is, named once.

Nothing is computed here: the numbers come from the fit and the weights. The manifest stores
them, the summary prints them, and the checks judge them.
"""

import math
from dataclasses import asdict, dataclass

from l0_pipeline.logic.errors import InputError


@dataclass(frozen=True)
class FitQuality:
    """How well one set of weights reproduces the figures, and what that cost in precision."""

    fitted_median_error: float  # median |relative error| of the fitted targets
    held_out_median_error: float | None  # of the targets kept out of the fit; None: there are none
    share_within_10pct: float  # share of the fitted targets with |relative error| <= 0.10
    effective_sample_size: float  # (sum w)^2 / sum w^2
    largest_weight_ratio: float  # max calibrated weight / design weight

    def __post_init__(self) -> None:
        _refuse_non_finite(asdict(self), where="quality of a fit")


@dataclass(frozen=True)
class ReleaseQuality:
    """What a release holds, where every declared figure ended, and the fit of its weights."""

    households_kept: int
    households_pool: int
    figures_declared: int  # the sum of the next four
    targets_fitted: int
    targets_held_out: int
    targets_benchmark: int
    targets_rejected: int
    population_error: float | None  # signed: (weighted persons - published) / published;
    # None where nothing was published
    released: FitQuality

    def __post_init__(self) -> None:
        _refuse_non_finite(self._own(), where="quality of a release")
        parts = ("fitted", "held_out", "benchmark", "rejected")
        added = sum(getattr(self, f"targets_{role}") for role in parts)
        if added != self.figures_declared:
            raise InputError(
                f"{self.figures_declared} figures were declared, but the roles add up to {added}. "
                "Materialize `target_accounting` again."
            )

    def numbers(self) -> dict[str, float]:
        """Name -> number, in the order of the fields; what is None is left out."""
        both = self._own() | asdict(self.released)
        return {name: float(number) for name, number in both.items() if number is not None}

    def _own(self) -> dict[str, float | None]:
        return {name: value for name, value in vars(self).items() if name != "released"}


def _refuse_non_finite(numbers: dict[str, float | None], *, where: str) -> None:
    bad = [f"{name} = {x}" for name, x in numbers.items() if x is not None and not math.isfinite(x)]
    if bad:
        raise InputError(
            f"{where}: {len(bad)} of {len(numbers)} numbers are not finite ({', '.join(bad)}). "
            f"Look at the weights and the target fit before publishing."
        )

"""What weights must satisfy whatever it costs: bounds on each, and on their total."""

from dataclasses import dataclass
from numbers import Real

import numpy as np

from l0.errors import InputError
from l0.survey.problem import Vector

# a record that is kept stands for at least this share of its reference: above zero, always
SMALLEST_RATIO = 1e-3
Total = str | float | tuple[float, float]
_ROUNDS = 200
# relative error of a sum of weights
_ROUNDING = 1e-13


@dataclass(frozen=True)
class WeightBounds:
    """Bounds of the weights of one support, checked to hold together."""

    lower: Vector  # (support_size,), > 0
    upper: Vector  # (support_size,), may be infinite
    total: tuple[float, float] | None  # least and greatest sum; None where it is free

    @classmethod
    def of(
        cls,
        reference: Vector,  # (support_size,)
        *,
        max_ratio: float | None,
        min_ratio: float | None,
        max_weight: float | None,
        min_weight: float | None,
        total: Total,
        design_total: float,
    ) -> "WeightBounds":
        """Bounds from ratios to the reference, absolute ones, and a wish for the total.

        Raises:
            InputError: some weight, or the total, could not satisfy all of them.
        """
        lower = reference * (SMALLEST_RATIO if min_ratio is None else min_ratio)
        upper = reference * (np.inf if max_ratio is None else max_ratio)
        if max_ratio is not None:
            # a weight on its bound, divided by the reference again, must not come out above it
            upper = np.where(upper / reference > max_ratio, np.nextafter(upper, 0.0), upper)
        if min_ratio is not None:
            lower = np.where(lower / reference < min_ratio, np.nextafter(lower, np.inf), lower)
        if min_weight is not None:
            lower = np.maximum(lower, min_weight)
        if max_weight is not None:
            upper = np.minimum(upper, max_weight)
        if min_ratio is None and min_weight is None:
            # nobody asked for the least of all bounds: it gives way
            lower = np.minimum(lower, upper)
        crossed = lower > upper
        if crossed.any():
            place = int(crossed.argmax())
            raise InputError(
                f"the bounds of {int(crossed.sum())} weights exclude each other, the first of a "
                f"record with reference {reference[place]:g}: at least {lower[place]:g} and at "
                f"most {upper[place]:g}. Widen max_weight_ratio, min_weight_ratio, max_weight or "
                "min_weight."
            )
        band = total_band(total, design_total=design_total)
        reach = lower.sum() * (1 - _ROUNDING), upper.sum() * (1 + _ROUNDING)
        if band is not None and not (reach[0] <= band[1] and band[0] <= reach[1]):
            raise InputError(
                f"the total is to lie between {band[0]:,.6g} and {band[1]:,.6g}, but the bounds "
                f"of the weights leave it between {lower.sum():,.6g} and {upper.sum():,.6g}. "
                "Widen one of them, or keep more records."
            )
        return cls(lower, upper, band)

    def project(self, weights: Vector) -> Vector:
        """Weights within every bound, exactly: scaled by one factor where the total asks for it.

        It is the nearest by Kullback and Leibler's distance: clip(factor * w, lower, upper).
        """
        inside = np.clip(weights, self.lower, self.upper)
        if self.total is None:
            return inside
        low, high = self.total
        wanted = min(max(float(inside.sum()), low), high)
        if inside.sum() == wanted:
            return inside
        # clip(c w) sums to more the larger c is: halve the interval of its logarithm
        ends = np.concatenate([self.lower / weights, self.upper / weights])
        ends = ends[np.isfinite(ends) & (ends > 0)]
        bottom = np.log(min(ends.min(), wanted / weights.sum())) - 1
        top = np.log(max(ends.max(), wanted / weights.sum())) + 1
        for _ in range(_ROUNDS):
            middle = (bottom + top) / 2
            inside = np.clip(np.exp(middle) * weights, self.lower, self.upper)
            if inside.sum() > wanted:
                top = middle
            else:
                bottom = middle
        return inside


def total_band(total: Total, *, design_total: float) -> tuple[float, float] | None:
    """The least and the greatest sum of weights that a wish allows; None for any.

    Args:
        total: "free", "fixed" (to the design's total), a number, or a pair of numbers.
        design_total: the sum of all design weights.

    Raises:
        InputError: none of these.
    """
    if isinstance(total, str):
        if total == "free":
            return None
        ends = [design_total] * 2 if total == "fixed" else []
    else:
        given = total if isinstance(total, tuple | list) else (total, total)
        real = all(isinstance(end, Real) and not isinstance(end, bool) for end in given)
        ends = [float(end) for end in given] if real else []
    if len(ends) != 2 or not 0 < ends[0] <= ends[1] < np.inf:
        raise InputError(
            f"total is {total!r}, but must be 'free', 'fixed', a number above zero or two of "
            "them, the least and the greatest."
        )
    return ends[0], ends[1]

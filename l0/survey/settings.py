"""Bounds of hyperparameters, told in the same words by every class of settings."""

from collections.abc import Mapping
from dataclasses import fields
from numbers import Real
from typing import Any

import numpy as np

from l0.errors import InputError
from l0.inputs import whole


def check_settings(settings: Any, bounds: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a field that is not finite or out of bounds; a field of type ``int`` is whole.

    Fields without bounds must be above zero; None stands where a field may be None. Fields that
    are no numbers are left to the class.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        may_be_none = field.type == float | None
        if (value is None and may_be_none) or not (field.type in (int, float) or may_be_none):
            continue
        low, high = bounds.get(field.name, (1e-9, np.inf))
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not low <= value <= high or value == np.inf:
            raise InputError(
                f"{field.name} is {value}, but must be finite and lie between {low:g} and {high:g}."
            )
        if field.type is int:
            whole(field.name, value, least=int(low))

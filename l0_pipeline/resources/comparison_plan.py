"""How much a new release may differ from the one before it, and what happens when it does."""

import dagster as dg
from pydantic import Field

from l0_pipeline import settings


class ComparisonPlan(dg.ConfigurableResource["ComparisonPlan"]):
    """Limits on what changes between two releases of a year; whether they stop the later one."""

    points: float = Field(
        default=settings.COMPARED_POINTS,
        ge=0,
        description="A target is better or worse when its error moved by more percentage points.",
    )
    worse_share: float = Field(
        default=settings.LIMIT_WORSE_SHARE,
        ge=0,
        le=1,
        description="Largest share of targets that got worse, of those judged in both releases.",
    )
    drift: float = Field(
        default=settings.LIMIT_DRIFT,
        ge=0,
        description="Largest relative change of households, persons, units, incomes or taxes.",
    )
    blocks: bool = Field(
        default=False,
        description="Whether a release beyond these limits is refused; otherwise it is told.",
    )

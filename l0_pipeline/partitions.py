"""One partition a target year: the year of the law, the incomes and the published totals."""

import dagster as dg

from l0_pipeline.settings import YEARS

years = dg.StaticPartitionsDefinition(YEARS)

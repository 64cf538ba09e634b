"""The files of a release that tax-benefit models read: Tax-Calculator's and PolicyEngine's."""

from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic import tax_model
from l0_pipeline.logic.release.policyengine_file import policyengine_files
from l0_pipeline.logic.release.taxcalc_files import taxcalc_files

"""The files by which ``tc`` and ``taxcalc.Records`` read a release, with no code of ours.

Tax-Calculator takes a CSV file of any name but its own for data of the tax year, weighted by
``s006``: so ``sparse_<year>.csv`` has the incomes of the release's year and its weights, its
rows in the order that ``claim_order`` explains. Two more files age it to later years:
``weights_by_year.csv.gz`` and ``growfactors.csv``.
"""

import gzip
import json

import numpy as np
import polars as pl
from numpy.typing import NDArray

from l0_pipeline.logic import tax_model
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.microdata.columns import TAX_INPUT_COLUMNS
from l0_pipeline.logic.release.claim_order import NOBODY, SPARE_ROWS, claim_order

FOLDER = "taxcalc"
REFORM_FILE = f"{FOLDER}/example_reform.json"
WEIGHTS_FILE = f"{FOLDER}/weights_by_year.csv.gz"
GROWTH_FILE = f"{FOLDER}/growfactors.csv"
README_FILE = f"{FOLDER}/readme.md"
KEYS = ("unit_id", "household_id")  # not read by Tax-Calculator
# tc always takes a file named tmd.csv for data of this year (Records.TMDCSV_YEAR)
TMD_YEAR = 2022
DIGITS = 2  # of a later year's weight; more would double the file
CENTS = 2  # digits of an amount
CHILD_TAX_CREDIT = 3_000  # of the example; current law has 2,000 in 2022


def data_file(year: int) -> str:
    """The records of a release's year."""
    return f"{FOLDER}/sparse_{year}.csv"


def taxcalc_files(
    aged: pl.DataFrame, weights: pl.Series, draws: pl.DataFrame, *, year: int
) -> dict[str, bytes]:
    """Every file by its path in a release, the same bytes for equal tables.

    Args:
        aged: tax units with incomes of ``year``, as ``tax_model.age_tax_units`` gives them.
        weights: of the units, in the order of ``aged``; units, not hundredths of them.
        draws: ``tax_model.credit_draws`` of the whole survey, in which every unit is found.
        year: of the incomes, of the weights and of the law.
    """
    records = taxcalc_records(aged, weights, draws, year=year)
    growth = tax_model.growth_of_weights(first_year=year)
    by_year = records.select(
        (pl.col("s006") if at == year else (pl.col("s006") * factor).round(DIGITS)).alias(f"WT{at}")
        for at, factor in growth.items()
    )
    return {
        data_file(year): _short_numbers(records).write_csv().encode(),
        WEIGHTS_FILE: gzip.compress(by_year.write_csv().encode(), mtime=0),
        GROWTH_FILE: tax_model.growth_of_amounts().write_csv().encode(),
        REFORM_FILE: _reform(year).encode(),
        README_FILE: _readme(year, last_year=max(growth)).encode(),
    }


def taxcalc_records(
    aged: pl.DataFrame, weights: pl.Series, draws: pl.DataFrame, *, year: int
) -> pl.DataFrame:
    """The rows of ``data_file``; arguments as of ``taxcalc_files``.

    Tax-Calculator's input columns that are not zero for everybody; it takes others for zero.
    Amounts are rounded to cents, weights not at all. ``RECID`` is the place in the file, since
    Tax-Calculator has 32 bits for it and ids may need more; ``unit_id`` beside it names the unit
    in the release's tables, 0 for a row of nobody.
    """
    _refuse_bad_weights(aged, weights)
    own = aged.select("unit_id").join(draws, on="unit_id", how="left", maintain_order="left")
    _refuse_missing_draws(own)
    order = claim_order(own, tax_model.claim_stream(len(aged) + SPARE_ROWS))
    amounts = [
        column.name
        for column in TAX_INPUT_COLUMNS
        if column.name in aged.columns
        and column.name not in ("RECID", "FLPDYR", "MARS", "s006")
        and (aged[column.name] != 0).any()
    ]
    kept = aged.select("MARS", pl.col(amounts).round(CENTS), *KEYS, s006=weights.cast(pl.Float64))
    return _rows(kept, order).select(
        pl.int_range(1, pl.len() + 1).alias("RECID"),
        pl.lit(year).alias("FLPDYR"),
        pl.when(pl.col("MARS") == 0).then(1).otherwise("MARS").alias("MARS"),
        "s006",
        *amounts,
        *KEYS,
    )


def _short_numbers(records: pl.DataFrame) -> pl.DataFrame:
    """Whole amounts without a point: most are zero, and ".0" would be a third of the file.

    The first row keeps its points, so that readers that look at the first rows alone take the
    columns for decimal numbers.
    """
    text = pl.col(pl.Float64).cast(pl.String)
    first = pl.int_range(pl.len()) == 0
    return records.with_columns(pl.when(first).then(text).otherwise(text.str.strip_suffix(".0")))


def _rows(table: pl.DataFrame, order: NDArray[np.int64]) -> pl.DataFrame:
    """The rows in their order; a row of nobody is zero in every column."""
    nobody = table.clear(1).with_columns(pl.all().fill_null(0))
    return pl.concat([table, nobody])[np.where(order == NOBODY, len(table), order)]


def _reform(year: int) -> str:
    """A larger child tax credit: the non-refundable amount of every child."""
    return json.dumps({"CTC_c": {str(year): CHILD_TAX_CREDIT}}, indent=2) + "\n"


def _refuse_bad_weights(aged: pl.DataFrame, weights: pl.Series) -> None:
    if len(weights) != len(aged) or not weights.is_finite().all() or (weights < 0).any():
        raise InputError(
            f"{len(weights)} weights of {len(aged)} tax units: one weight a unit is needed, "
            f"finite and not negative. Join `weight` of the households to their units."
        )


def _refuse_missing_draws(own: pl.DataFrame) -> None:
    missing = own["draw"].null_count()
    if missing:
        raise InputError(
            f"{missing} of {len(own)} tax units have no draw. Give the draws of the survey that "
            f"the units were taken from, or materialize the tax outputs again."
        )


def _readme(year: int, *, last_year: int) -> str:
    return f"""# The release as input of Tax-Calculator

Work in a folder of your own, since the release is read-only: `cp -r <release>/taxcalc my_folder`,
`chmod -R u+w my_folder`, `cd my_folder`.

    tc sparse_{year}.csv {year} --reform example_reform.json --tables --dumpdb

writes tables and a SQLite database into the working folder. In Python:

```python
import pandas as pd
from taxcalc import Calculator, Policy, Records

units = pd.read_csv("sparse_{year}.csv")
records = Records(data=units, start_year={year}, gfactors=None, weights=None)
policy = Policy()
policy.set_year({year})
calculator = Calculator(policy=policy, records=records)
calculator.calc_all()
print(calculator.weighted_total("iitax"))
```

Incomes are those of {year}, aged by Tax-Calculator; `s006` is the release's weight. `RECID` counts
the rows; `unit_id` and `household_id`, which Tax-Calculator passes over, are those of the other
tables. Columns that are zero for everybody are left out: Tax-Calculator takes them for zero.
`example_reform.json` raises the child tax credit to {CHILD_TAX_CREDIT:,} dollars.

Keep the rows as they are, all of them and in this order. Tax-Calculator draws by row who claims
the earned income and the additional child tax credit; the rows lie so that everybody claims as in
`tax_outputs`. In other orders both credits change by several percent. A row without `unit_id`, if
there is one, has no weight and only takes up a draw.

## Later years, to {last_year}

`tc sparse_{year}.csv {year + 1}` would apply the law of {year + 1} to incomes of {year}. To age the
incomes by Tax-Calculator's factors (`growfactors.csv`) and the weights by one factor a year:

```python
from taxcalc import GrowFactors

records = Records(
    data=units,
    start_year={year},
    gfactors=GrowFactors("growfactors.csv"),
    weights=pd.read_csv("weights_by_year.csv.gz"),
    weights_scale=1.0,
)
calculator = Calculator(policy=Policy(), records=records)
calculator.advance_to_year({year + 4})
```
{_on_the_command_line(year) if year == TMD_YEAR else ""}
Every weight grows as the sum of the weights of Tax-Calculator's own CPS file does, by the same
factor for all. It is a projection: no total of a later year was fitted.
"""


def _on_the_command_line(year: int) -> str:
    return f"""
On the command line, under the names that `tc` knows:

    mkdir later
    cp sparse_{year}.csv later/tmd.csv
    cp weights_by_year.csv.gz later/tmd_weights.csv.gz
    cp growfactors.csv later/tmd_growfactors.csv
    tc later/tmd.csv {year + 4} --dumpdb
"""

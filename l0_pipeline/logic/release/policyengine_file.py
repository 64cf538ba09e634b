"""One release as a dataset of PolicyEngine-US: an HDF5 file that ``Microsimulation`` reads.

One array a variable and year (``employment_income/2022``), in the order of its entity's ids. Ids
are places counted from 0: of households and tax units in the release's own tables, of persons
and marital units in this file. A household is taken for one family and one SPM unit. Persons
come from ``policyengine_persons``, amounts from ``policyengine_amounts``.

PolicyEngine computes in single precision; the file holds double.
"""

from io import BytesIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.release.policyengine_amounts import (
    AMOUNTS,
    LEFT_OUT,
    Numbers,
    or_zero,
)
from l0_pipeline.logic.release.policyengine_persons import RULE, persons

FOLDER = "policyengine"
FILING_STATUS = {
    1: "SINGLE",
    2: "JOINT",
    3: "SEPARATE",
    4: "HEAD_OF_HOUSEHOLD",
    5: "SURVIVING_SPOUSE",
}
COMPRESSION_LEVEL = 4

Arrays = dict[str, NDArray[np.generic]]


def policyengine_files(
    households: pl.DataFrame, aged: pl.DataFrame, *, year: int
) -> dict[str, bytes]:
    """The dataset and its readme, by their paths in a release; see ``policyengine_file``."""
    return {
        f"{FOLDER}/sparse_{year}.h5": policyengine_file(households, aged, year=year),
        f"{FOLDER}/readme.md": _readme(year).encode(),
    }


def policyengine_file(households: pl.DataFrame, aged: pl.DataFrame, *, year: int) -> bytes:
    """The HDF5 file, the same bytes for equal tables.

    Args:
        households: the released ones, with ``household_id``, ``weight`` and ``state_fips``.
        aged: their tax units with incomes of ``year``, as ``tax_model.age_tax_units`` gives them.
        year: of the incomes and the weights.
    """
    import h5py

    arrays = _arrays(households, aged)
    buffer = BytesIO()
    with h5py.File(buffer, "w", track_order=False) as file:
        file.attrs["persons"] = RULE
        file.attrs["amounts"] = _amounts_table()
        for name in sorted(arrays):
            file.create_dataset(
                f"{name}/{year}",
                data=arrays[name],
                compression="gzip",
                compression_opts=COMPRESSION_LEVEL,
                shuffle=True,
                track_times=False,
            )
    return buffer.getvalue()


def _arrays(households: pl.DataFrame, aged: pl.DataFrame) -> Arrays:
    """Every array of the file by its variable."""
    place = households.select("household_id").with_row_index("household")
    units = aged.join(place, on="household_id", how="left", maintain_order="left")
    strangers = units["household"].null_count()
    if strangers:
        raise InputError(
            f"{strangers} of {len(units)} tax units are of no released household. "
            f"Give the tax units of the households alone."
        )
    people = persons(units)
    unit = people["unit"].to_numpy()
    person_household = units["household"].to_numpy()[unit].astype(np.int64)
    # a spouse follows the head, so a new marital unit starts with everybody else
    marital_unit = np.cumsum((people["role"] != "SPOUSE").to_numpy()) - 1
    every_household = np.arange(len(households))
    groups = ("household", "family", "spm_unit")
    return {
        "person_id": np.arange(len(people)),
        "person_tax_unit_id": unit.astype(np.int64),
        "person_marital_unit_id": marital_unit,
        "tax_unit_id": np.arange(len(units)),
        "marital_unit_id": np.unique(marital_unit),
        **{f"{group}_id": every_household for group in groups},
        **{f"person_{group}_id": person_household for group in groups},
        "household_weight": households["weight"].cast(pl.Float64).to_numpy(),
        "state_fips": households["state_fips"].to_numpy(),
        "filing_status": _text(units["MARS"].replace_strict(FILING_STATUS)),
        "tax_unit_role_input": _text(people["role"]),
        "age": people["age"].to_numpy(),
        "is_full_time_college_student": people["student"].to_numpy(),
        "is_blind": _of_adults(people, or_zero(units, "blind_head"), or_zero(units, "blind_spouse"))
        > 0,
        "claimed_as_dependent_on_another_return": _of_adults(
            people, or_zero(units, "DSI"), np.zeros(len(units))
        )
        > 0,
        **_amounts(units, people),
    }


def _amounts(units: pl.DataFrame, people: pl.DataFrame) -> Arrays:
    """The variables in dollars, one value a person; none that is zero for everybody."""
    values = {
        amount.variable: _of_adults(people, amount.of_head(units), amount.of_spouse(units))
        for amount in AMOUNTS
    }
    return {variable: array for variable, array in values.items() if array.any()}


def _of_adults(people: pl.DataFrame, heads: Numbers, spouses: Numbers) -> Numbers:
    """One value a person from one value a unit each for head and spouse; zero for dependents."""
    unit, role = people["unit"].to_numpy(), people["role"]
    of_heads = np.where((role == "HEAD").to_numpy(), heads[unit], 0.0)
    return np.where((role == "SPOUSE").to_numpy(), spouses[unit], of_heads)


def _text(codes: pl.Series) -> NDArray[np.bytes_]:
    return codes.to_numpy().astype(np.bytes_)


def _amounts_table() -> str:
    rows = [f"| `{a.variable}` | `{a.formula()}` | {a.why or 'the same'} |" for a in AMOUNTS]
    return "\n".join(["| PolicyEngine | Tax-Calculator | |", "|---|---|---|", *rows])


def _readme(year: int) -> str:
    left_out = "\n".join(f"- {line}" for line in LEFT_OUT)
    return f"""# The release as a dataset of PolicyEngine-US

```python
from policyengine_us import Microsimulation

simulation = Microsimulation(dataset="sparse_{year}.h5")
simulation.calculate("employment_income", {year}).sum()  # weighted
```

Incomes and weights are those of {year}; for later years PolicyEngine ages both by its own factors.
It computes in single precision. Its taxes differ from `tax_outputs`: it is another model.
Filing statuses are given, not worked out by PolicyEngine, and every unit that is eligible for a
credit claims it, where Tax-Calculator draws who does.

Ids are places counted from 0: household 0 is the first row of `households.parquet`, tax unit 0 the
first of `tax_units.parquet`. A household is taken for one family and one SPM unit; head and spouse
are a marital unit, everybody else is one alone.

## Persons

The release has tax units; persons are made from them.

{RULE}

## Amounts

{_amounts_table()}

Left out:

{left_out}
"""

"""Twelve tax units in five households over two states, small enough to add up by hand.

Only what a law needs differs from zero. Households 20 and 50 live in Alabama (01), the others in
California (06). Rows are not in the order of households, since nothing may rest on that.

unit  household  state  status   age  persons            income
 101        20     01   single    40  1 (21-64)          wages 30,000, interest 100
 102        20     01   single    19  1 (18-20)          wages 900
 103        50     01   joint     45  2 (21-64), 2 (0-5) wages 90,000, business -5,000; itemizes
 104        30     06   single    66  1 (65+)            pension 8,000: no return
 105        30     06   head      35  1 (21-64), 1 (6-12), 3 EITC children; wages 12,000, EITC
 106        30     06   separate  50  1 (21-64)          AGI -40,000 after a loss; files for wages
 107        10     06   joint     70  2 (65+)            AGI 250,000; itemizes
 108        10     06   single    17  1 (13-17)          nothing: no return
 109        40     06   head      30  1 (21-64), 2 (13-17), 2 EITC children; wages 25,000, EITC
 110        40     06   single    64  1 (21-64)          AGI exactly 25,000
 111        50     01   single    65  1 (65+)            business -1,000: no return
 112        50     01   head      28  1 (21-64), 1 (0-5), 1 EITC child; wages 25,000, EITC
"""

import polars as pl

from l0_pipeline.logic.measures import AGE_BANDS
from l0_pipeline.logic.tax_model import TAX_OUTPUT_COLUMNS

THRESHOLDS = {1: 12_950.0, 2: 25_900.0, 3: 12_950.0, 4: 19_400.0}
HOUSEHOLD_IDS = pl.Series("household_id", [10, 20, 30, 40, 50])

_PEOPLE: list[dict[str, int]] = [
    {"unit_id": 101, "household_id": 20, "fips": 1, "MARS": 1, "age": 40, "21": 1},
    {"unit_id": 102, "household_id": 20, "fips": 1, "MARS": 1, "age": 19, "18": 1},
    {"unit_id": 103, "household_id": 50, "fips": 1, "MARS": 2, "age": 45, "21": 2, "0": 2},
    {"unit_id": 104, "household_id": 30, "fips": 6, "MARS": 1, "age": 66, "65": 1},
    {"unit_id": 105, "household_id": 30, "fips": 6, "MARS": 4, "age": 35, "21": 1, "6": 1},
    {"unit_id": 106, "household_id": 30, "fips": 6, "MARS": 3, "age": 50, "21": 1},
    {"unit_id": 107, "household_id": 10, "fips": 6, "MARS": 2, "age": 70, "65": 2},
    {"unit_id": 108, "household_id": 10, "fips": 6, "MARS": 1, "age": 17, "13": 1},
    {"unit_id": 109, "household_id": 40, "fips": 6, "MARS": 4, "age": 30, "21": 1, "13": 2},
    {"unit_id": 110, "household_id": 40, "fips": 6, "MARS": 1, "age": 64, "21": 1},
    {"unit_id": 111, "household_id": 50, "fips": 1, "MARS": 1, "age": 65, "65": 1},
    {"unit_id": 112, "household_id": 50, "fips": 1, "MARS": 4, "age": 28, "21": 1, "0": 1},
]  # fmt: skip
_EITC_CHILDREN = {105: 3, 109: 2, 112: 1}
_MONEY: dict[int, dict[str, float]] = {
    101: {"c00100": 30_100, "e00200": 30_000, "e00300": 100, "c05800": 1_900, "iitax": 1_900},
    102: {"c00100": 900, "e00200": 900},
    103: {
        "c00100": 85_000, "e00200": 90_000, "e00900": -5_000, "c04470": 31_000, "c05800": 6_000,
        "c07100": 4_000, "iitax": 2_000, "c19700": 3_000,
    },
    104: {"c00100": 8_000, "e01500": 8_000, "e01700": 8_000, "mcaid_ben": 7_000},
    105: {
        "c00100": 12_000, "e00200": 12_000, "eitc": 5_000, "snap_ben": 4_000, "mcaid_ben": 14_000,
    },
    106: {"c00100": -40_000, "e00200": 5_000, "e00900": -45_000},
    107: {"c00100": 250_000, "e00600": 250_000, "c04470": 60_000, "c05800": 40_000, "c19700": 0},
    109: {"c00100": 25_000, "e00200": 25_000, "eitc": 4_000, "mcaid_ben": 21_000},
    110: {"c00100": 25_000, "e00200": 25_000, "c05800": 1_300},
    111: {"c00100": -1_000, "e00900": -1_000},
    112: {"c00100": 25_000, "e00200": 25_000, "eitc": 2_000, "e00900": 0},
}  # fmt: skip

TAX_UNITS = pl.DataFrame(
    [
        {name: person[name] for name in ("unit_id", "household_id", "MARS")}
        | {"state_fips": person["fips"], "age_head": person["age"]}
        | {"EIC": _EITC_CHILDREN.get(person["unit_id"], 0)}
        | {name: person.get(str(low), 0) for (low, _), name in AGE_BANDS.items()}
        for person in _PEOPLE
    ]
)
TAX_OUTPUTS = pl.DataFrame(
    [
        {"unit_id": person["unit_id"]}
        | dict.fromkeys(TAX_OUTPUT_COLUMNS, 0.0)
        | {"filing_threshold": THRESHOLDS[person["MARS"]]}
        | {name: float(x) for name, x in _MONEY.get(person["unit_id"], {}).items()}
        for person in _PEOPLE
    ]
)

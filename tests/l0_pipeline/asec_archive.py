"""A small ASEC archive in the Census Bureau's own format: one zip, three csv files.

Header row, commas, upper-case names, whole numbers with implied decimals in the weights, and
columns that the pipeline does not read. Six interviewed households, one without an interview:

1. a married couple with two children under 13 (joint return)
2. a woman with a baby (head of household)
3. an old woman alone who does not file
4. two adult friends, two tax units in two families, one with losses
5. an old couple who do not file, with food stamps
6. a couple and the wife's father, who is their dependent; another family member files alone
7. nobody was interviewed: weight zero, no persons
"""

import zipfile
from pathlib import Path

import polars as pl

SURVEY_YEAR = 2023

HOUSEHOLDS = pl.DataFrame(
    {
        "H_IDNUM": ["a", "b", "c", "d", "e", "f", "g"],
        "H_SEQ": [1, 2, 3, 5, 6, 8, 9],
        "H_YEAR": [SURVEY_YEAR] * 7,
        "H_HHTYPE": [1, 1, 1, 1, 1, 1, 2],
        "GESTFIPS": [23, 23, 6, 6, 11, 36, 36],
        "HSUP_WGT": [170318, 90000, 120050, 200000, 55000, 310000, 0],
        "HFDVAL": [0, 2400, 0, 0, 1200, 0, 0],
    }
)
FAMILIES = pl.DataFrame(
    {
        "FH_SEQ": [1, 2, 3, 5, 5, 6, 8, 8],
        "FFPOS": [1, 1, 1, 1, 2, 1, 1, 2],
        "FSUP_WGT": [170318, 90000, 120050, 200000, 201000, 55000, 310000, 305000],
        "FPERSONS": [4, 2, 1, 1, 1, 2, 3, 1],
    }
)
_PERSON_COLUMNS = (
    "PH_SEQ", "PF_SEQ", "A_LINENO", "A_AGE", "A_SEX", "A_SPOUSE", "TAX_ID", "FILESTAT", "DEP_STAT",
    "WSAL_VAL", "SEMP_VAL", "INT_VAL", "SS_VAL", "PNSN_VAL",
)  # fmt: skip
_PERSONS = [
    (1, 1, 1, 41, 1, 2, 101, 1, 0, 60000, 5000, 120, 0, 0),
    (1, 1, 2, 39, 2, 1, 101, 1, 0, 48000, 0, 80, 0, 0),
    (1, 1, 3, 11, 2, 0, 101, 6, 1, 0, 0, 0, 0, 0),
    (1, 1, 4, 4, 1, 0, 101, 6, 1, 0, 0, 0, 0, 0),
    (2, 1, 1, 24, 2, 0, 201, 4, 0, 21000, 0, 0, 0, 0),
    (2, 1, 2, 0, 1, 0, 201, 6, 1, 0, 0, 0, 0, 0),
    (3, 1, 1, 85, 2, 0, 301, 6, 0, 0, 0, 10, 14400, 3000),
    (5, 1, 1, 30, 1, 0, 501, 5, 0, 52000, 0, 0, 0, 0),
    (5, 2, 2, 33, 2, 0, 502, 5, 0, 0, -4000, 0, 0, 0),
    (6, 1, 1, 80, 1, 2, 601, 6, 0, 0, 0, 0, 16000, 0),
    (6, 1, 2, 73, 2, 1, 601, 6, 0, 0, 0, 0, 9000, 0),
    (8, 1, 1, 52, 2, 2, 801, 2, 0, 30000, 0, 0, 0, 0),
    (8, 1, 2, 66, 1, 1, 801, 2, 0, 0, 0, 0, 18000, 12000),
    (8, 1, 3, 80, 1, 0, 801, 6, 1, 700, 0, 0, 9000, 0),
    (8, 2, 4, 19, 2, 0, 804, 5, 0, 9000, 0, 0, 0, 0),
]
PERSONS = pl.DataFrame(_PERSONS, schema=_PERSON_COLUMNS, orient="row").with_columns(
    PERIDNUM=pl.format("p{}{}", "PH_SEQ", "A_LINENO"),
    MARSUPWT=pl.lit(150025),
    FRSE_VAL=pl.lit(0),
    DIV_VAL=pl.lit(40),
    SSI_VAL=pl.when(pl.col("A_AGE") == 85).then(600).otherwise(0),
    UC_VAL=pl.lit(0),
    PAW_VAL=pl.lit(0),
    VET_VAL=pl.lit(0),
    ANN_VAL=pl.lit(0),
    CAP_VAL=pl.lit(0),
    PRDTRACE=pl.lit(1),
)


def write_archive(
    folder: Path,
    *,
    households: pl.DataFrame = HOUSEHOLDS,
    families: pl.DataFrame = FAMILIES,
    persons: pl.DataFrame = PERSONS,
    name: str = "asecpub23csv.zip",
    member: str = "{kind}23.csv",
    leave_out: str = "",
) -> Path:
    """The archive, with any table, file name or member name replaced, or one left out."""
    path = folder / name
    tables = {"hhpub": households, "ffpub": families, "pppub": persons}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind, table in tables.items():
            if kind != leave_out:
                archive.writestr(member.format(kind=kind), table.write_csv())
    return path


def with_value(table: pl.DataFrame, column: str, row: int, value: object) -> pl.DataFrame:
    """The table with one cell replaced; text where the value is text."""
    cells = table[column].to_list()
    cells[row] = value
    if isinstance(value, str):
        cells = [str(cell) for cell in cells]
    return table.with_columns(pl.Series(column, cells))

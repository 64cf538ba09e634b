"""Published figures: what a row may hold, checked before anything is computed from it.

A figure is one number that a publisher printed. This file turns rows of text into typed figures
and names the family of each. Reading files is not here; whether figures agree with each other is
in ``figure_findings``, and which of them become targets in ``targets``.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Literal

import polars as pl

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.filters import format_filters, parse_filters

COLUMNS = (
    "figure_id",
    "variable",
    "measure",
    "universe",
    "geography",
    "filters",
    "value",
    "unit",
    "year",
    "period",
    "publisher",
    "table",
    "note",
)
# columns that a file may have besides
OPTIONAL_COLUMNS = ("standard_error", "role")
# what the column role may ask for; by default the rules of ``targets`` decide
ASKED_ROLES = ("fitted", "benchmark", "rejected")
UNITS_OF_MEASURE: dict[str, tuple[str, ...]] = {
    "sum": ("dollars",),
    "count": ("returns", "persons", "households"),
}
UNIVERSES = ("returns", "itemizing_returns", "residents")
NATION = "US"
OTHER_AREAS = "OA"
TERRITORIES = ("66", "72", "78")
# five of the codes 01..56 were set aside for areas that never became states
STATES = tuple(f"{code:02d}" for code in range(1, 57) if code not in (3, 7, 14, 43, 52))
GEOGRAPHIES = (NATION, *STATES, *TERRITORIES, OTHER_AREAS)
_GEOGRAPHIES_IN_WORDS = (
    f"{NATION}, a two-digit state code 01..56 (keep the zero), "
    f"{', '.join(TERRITORIES)} or {OTHER_AREAS}"
)

# the first pattern that matches the whole variable names its subject
SUBJECTS: dict[str, str] = {
    "returns|itemizing_returns|individuals_on_returns": "returns filed",
    "adjusted_gross_income": "adjusted gross income",
    "wages_and_salaries": "wages",
    "taxable_interest|tax_exempt_interest": "interest",
    ".*_dividends": "dividends",
    "capital_.*": "capital gains",
    "business_.*": "business income",
    "partnership_.*|s_corporation_.*|rent_.*|estate_.*": "partnerships, rents and estates",
    "pensions_.*|taxable_pensions_.*|taxable_ira_.*": "pensions and IRAs",
    "taxable_social_security|social_security_on_returns": "Social Security on returns",
    "unemployment_compensation": "unemployment compensation",
    "standard_deduction": "standard deduction",
    "itemized_.*": "itemized deductions",
    ".*_deduction": "other deductions",
    "taxable_income": "taxable income",
    "income_tax_.*|total_income_tax|total_tax_liability": "income tax",
    "alternative_minimum_tax|additional_medicare_tax": "other taxes",
    "net_investment_income_tax|self_employment_tax": "other taxes",
    "earned_income_credit": "earned income credit",
    "child_and_other_dependent_credit|refundable_child_tax_credit": "child credits",
    ".*_credit": "other credits",
    "population": "population",
    "medicaid_.*|chip_.*": "Medicaid and CHIP",
    "snap_.*": "SNAP",
    "ssi_.*": "SSI",
    "social_security_.*": "Social Security paid",
    ".*_outlays|.*_receipts": "federal outlays and receipts",
}

# a validated figure
FIGURE = (
    "year", "figure_id", "family", "variable", "measure", "universe", "geography", "filters",
    "value", "unit", "standard_error", "period", "publisher", "published_table", "note",
    "role", "aged_from", "file", "line",
)  # fmt: skip

_SAME_FIGURE = ("variable", "measure", "universe", "geography", "filters", "period", "table")
_SHOWN = 5
_MOVE = "Correct or remove these rows; data/figures/README.md states the schema."


def validate_figures(
    frame: pl.DataFrame,
    *,
    file: str,
    variables: Collection[str],
    year: int,
    place: Literal["line", "row"] = "line",
) -> pl.DataFrame:
    """Typed figures from rows of text, or one ``InputError`` that lists the offending rows.

    Args:
        frame: the rows of one file: ``COLUMNS``, and any of ``OPTIONAL_COLUMNS``.
        file: named in the message, and kept with each figure.
        variables: the names that a figure's variable may have.
        year: the year that every row must state.
        place: lines of a text file are counted from 2, below its header; rows of a table from 1.

    Returns:
        The columns ``FIGURE``: ``table`` as ``published_table``, ``filters`` in canonical text
        (equal filters are equal texts), ``value`` and ``standard_error`` as floats, ``year`` as an
        integer, ``role`` null where none is asked for; ``family`` is subject and level, such as
        ``wages, states``, and ``aged_from`` is null, as printed.

    Raises:
        InputError: with the file, and line, column, what was read and what is allowed for the
            first rows that cannot be used.
    """
    _require_columns(frame, file=file, place=place)
    given = (*COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in frame.columns))
    rows = (
        frame.select(pl.col(given).cast(pl.String).fill_null(""))
        .with_columns(pl.lit("").alias(name) for name in OPTIONAL_COLUMNS if name not in given)
        .with_row_index("line", offset=2 if place == "line" else 1)
        .join(_parse_distinct(frame["filters"]), on="filters", how="left", maintain_order="left")
        .with_columns(
            number=pl.col("value").cast(pl.Float64, strict=False),
            error=pl.col("standard_error").cast(pl.Float64, strict=False),
        )
    )
    problems = _problems(rows, variables=variables, year=year)
    if not problems.is_empty():
        raise InputError(
            _describe(problems, file=file, rows=len(rows), variables=variables, place=place)
        )
    return rows.select(
        *(name for name in COLUMNS if name not in {"filters", "value", "year", "table"}),
        pl.col("table").alias("published_table"),
        pl.col("filters_text").alias("filters"),
        pl.col("number").alias("value"),
        pl.col("error").alias("standard_error"),
        pl.col("year").cast(pl.Int64),
        pl.col("role").replace("", None),
        _family(rows["variable"]).alias("family"),
        pl.lit(None, pl.Int64).alias("aged_from"),
        pl.lit(file).alias("file"),
        pl.col("line").cast(pl.Int64),
    ).select(FIGURE)


def combine_figures(figures: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The figures of all files of a year, in order; each ``figure_id`` belongs to one file."""
    combined = pl.concat(figures)
    repeated = (
        combined.filter(pl.col("figure_id").is_duplicated())
        .group_by("figure_id", maintain_order=True)
        .agg(pl.col("file").unique(maintain_order=True).str.join(" and ").first())
    )
    if not repeated.is_empty():
        shown = "; ".join(
            f"{figure_id!r} in {files}" for figure_id, files in repeated.head(_SHOWN).rows()
        )
        raise InputError(
            f"{len(repeated)} figure_id used by more than one file: {shown}. "
            f"A figure_id is unique over all files of a year; rename one of each."
        )
    return combined


def _require_columns(frame: pl.DataFrame, *, file: str, place: str) -> None:
    missing = [column for column in COLUMNS if column not in frame.columns]
    unknown = [name for name in frame.columns if name not in (*COLUMNS, *OPTIONAL_COLUMNS)]
    if missing or unknown:
        where = f"{file}, line 1" if place == "line" else file
        raise InputError(
            f"{where}: missing columns {missing}, unknown columns {unknown}. "
            f"The columns must be exactly {','.join(COLUMNS)}, and "
            f"{', '.join(OPTIONAL_COLUMNS)} if you like."
        )
    if frame.is_empty():
        raise InputError(f"{file}: a header and no figures. Add rows or remove it.")


def _parse_distinct(texts: pl.Series) -> pl.DataFrame:
    """Each distinct filter text once: its canonical text, or what is wrong with it."""
    parsed: list[tuple[str, str, str]] = []
    for text in texts.cast(pl.String).fill_null("").unique().sort().to_list():
        try:
            canonical = format_filters(parse_filters(text, where="filters"))
        except InputError as refused:
            parsed.append((text, text, str(refused).removeprefix("filters: ")))
        else:
            parsed.append((text, canonical, ""))
    names = ("filters", "filters_text", "filters_problem")
    return pl.DataFrame(parsed, schema=dict.fromkeys(names, pl.String), orient="row")


def _problems(rows: pl.DataFrame, *, variables: Collection[str], year: int) -> pl.DataFrame:
    """One row a problem: line, column, what was read, what is allowed; in file order."""
    found = [
        rows.filter(wrong).select(
            "line",
            "figure_id",
            pl.lit(column).alias("column"),
            pl.col(column).alias("read"),
            (allowed if isinstance(allowed, pl.Expr) else pl.lit(allowed)).alias("allowed"),
        )
        for column, wrong, allowed in _checks(variables=variables, year=year)
    ]
    return pl.concat(found).sort("line", maintain_order=True)


def _checks(
    *, variables: Collection[str], year: int
) -> list[tuple[str, pl.Expr, str | pl.Expr]]:  # (column, rows that are wrong, what is allowed)
    column = pl.col
    all_units = [unit for units in UNITS_OF_MEASURE.values() for unit in units]
    identifier = column("figure_id").str.contains(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    known_measure = column("measure").is_in(list(UNITS_OF_MEASURE))
    known_unit = column("unit").is_in(all_units)
    unit_fits = pl.any_horizontal(
        (column("measure") == measure) & column("unit").is_in(units)
        for measure, units in UNITS_OF_MEASURE.items()
    )
    finite = column("number").is_finite().fill_null(False)
    checks: list[tuple[str, pl.Expr, str | pl.Expr]] = [
        ("figure_id", ~identifier, "letters, digits, '.', '_' and '-'"),
        ("figure_id", identifier & column("figure_id").is_duplicated(), "each figure_id once"),
        ("variable", ~column("variable").is_in(list(variables)), "a name of the dictionary"),
        ("measure", ~known_measure, _either(UNITS_OF_MEASURE)),
        ("universe", ~column("universe").is_in(UNIVERSES), _either(UNIVERSES)),
        (
            "geography",
            ~column("geography").is_in(GEOGRAPHIES),
            _GEOGRAPHIES_IN_WORDS,
        ),
        ("filters", column("filters_problem") != "", column("filters_problem")),
        ("value", ~finite, "a finite number, without separators or symbols"),
        (
            "value",
            finite & (column("measure") == "count") & (column("number") < 0),
            "a count of zero or more",
        ),
        (
            "standard_error",
            (column("standard_error") != "")
            & ~(column("error").is_finite() & (column("error") >= 0)).fill_null(False),
            "a finite number of zero or more, in the unit of the value, or nothing",
        ),
        ("role", ~column("role").is_in(["", *ASKED_ROLES]), f"{_either(ASKED_ROLES)}, or nothing"),
        (
            "note",
            (column("role") != "") & (column("note").str.strip_chars() == ""),
            "the reason for the role that the row asks for",
        ),
        ("unit", ~known_unit, _either(all_units)),
        (
            "unit",
            known_measure & known_unit & ~unit_fits,
            "; ".join(f"{_either(units)} with {name}" for name, units in UNITS_OF_MEASURE.items()),
        ),
        ("year", column("year") != str(year), f"{year}, the year of the folder"),
    ]
    texts = ("period", "publisher", "table")
    checks += [
        (name, column(name).str.strip_chars() == "", "some text, not empty") for name in texts
    ]
    checks += [
        (name, column(name).str.contains(r"[\p{Cc}]"), "one line of text, no control characters")
        for name in (*texts, "note")
    ]
    same = [column("filters_text") if n == "filters" else column(n) for n in _SAME_FIGURE]
    stated_twice = finite & pl.struct(same).is_duplicated()
    return [*checks, ("value", stated_twice, f"one figure for the same {', '.join(_SAME_FIGURE)}")]


def _either(names: Collection[str]) -> str:
    return " or ".join(names)


def _describe(
    problems: pl.DataFrame, *, file: str, rows: int, variables: Collection[str], place: str
) -> str:
    lines = problems["line"].unique(maintain_order=True)
    shown = problems.filter(pl.col("line").is_in(lines.head(_SHOWN).implode()))
    described = [
        f"  {place} {line}"
        # rows of a table have no place that an editor shows
        + ("" if place == "line" else f" ({name})")
        + f", {column}: read {_short(read)}; allowed: {allowed}"
        + (_suggestion(read, variables) if column == "variable" else "")
        for line, name, column, read, allowed in shown.rows()
    ]
    more = len(lines) - min(len(lines), _SHOWN)
    if more:
        described.append(f"  and {more:,} more rows")
    head = f"{file}: {len(lines):,} of {rows:,} figures cannot be read."
    return "\n".join([head, *described, _MOVE])


def _short(read: str, *, longest: int = 60) -> str:
    return repr(read if len(read) <= longest else read[:longest] + "...")


def _suggestion(name: str, variables: Collection[str]) -> str:
    nearest = get_close_matches(name, variables, n=1)
    return f" of {len(variables)} variables" + (f" (nearest: {nearest[0]})" if nearest else "")


def _family(variable: pl.Series) -> pl.Expr:
    """Subject and level: coarse enough to average an error over, fine enough to locate it."""
    names = variable.unique().to_list()
    subject = pl.col("variable").replace_strict(names, [_subject(name) for name in names])
    level = (
        pl.when(pl.col("geography") == NATION).then(pl.lit("nation")).otherwise(pl.lit("states"))
    )
    return pl.format("{}, {}", subject, level)


def _subject(variable: str) -> str:
    matching: Sequence[str] = [
        subject for pattern, subject in SUBJECTS.items() if re.fullmatch(pattern, variable)
    ]
    return matching[0] if matching else variable.replace("_", " ")

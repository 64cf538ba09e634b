"""From published figures to targets: every figure gets one role, and the reason for it.

Four roles, and their counts add up to the figures declared: *fitted* (the weights are made to
reproduce it), *held out* (kept from the fit and scored), *benchmark* (compared only: it means
something else, or is printed twice) and *rejected* (the survey cannot show it). What can be
decided from the figures alone is decided by ``declare_targets``; ``settle_roles`` adds what only
the compiled coefficients show.
"""

import hashlib

import polars as pl

from l0_pipeline.logic.constraints import age_band_columns
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.filters import parse_filters

ROLES = ("fitted", "held_out", "benchmark", "rejected")
RECORDS = ("everyone", "filers", "itemizers")
CLOSENESS = ("same", "close", "different", "absent")

# FIPS codes of the 50 states and the District of Columbia
STATES = tuple(f"{code:02d}" for code in range(1, 57) if code not in {3, 7, 14, 43, 52})

CONCEPT = ("variable", "measure", "unit", "geography", "filter_text")


def declare_targets(
    figures: pl.DataFrame, variables: pl.DataFrame, *, held_out_share: float, seed: int
) -> pl.DataFrame:
    """Every figure of one year as a target with its microdata column, role and reason.

    Args:
        figures: validated figures, one row each.
        variables: the dictionary: variable, records, column, closeness, definition.
        held_out_share: share of the fittable targets of every family to keep from the fit.
        seed: decides which; under one seed a target's lot does not depend on the others' values.
    """
    texts = figures["filters"].unique(maintain_order=True).to_list()
    parsed = {text: parse_filters(text, where=f"filters {text!r}") for text in texts}
    filters = pl.DataFrame(
        {
            "filter_text": texts,
            "filters": [[vars(clause) for clause in parsed[text]] for text in texts],
            "is_age_union": [age_band_columns(parsed[text]) is not None for text in texts],
        },
        schema_overrides={"filters": FILTERS},
    )
    described = (
        figures.rename({"filters": "filter_text", "figure_id": "target_id"})
        .join(filters, on="filter_text", how="left", validate="m:1")
        .join(variables, on="variable", how="left", validate="m:1")
    )
    decided = _decide(described, _SURVEY_RULES)
    decided = _decide(decided, _PRINTED_TWICE)
    return _hold_out(decided, share=held_out_share, seed=seed).sort("target_id")


def settle_roles(
    targets: pl.DataFrame, support: pl.Series, *, minimum_support: int
) -> pl.DataFrame:
    """The roles after compilation: a target too few households contribute to is rejected.

    Args:
        targets: declared targets.
        support: contributing households, one number a target, in the targets' order.
        minimum_support: the fewest households that may carry a target.
    """
    wanted = pl.col("role").is_in(["fitted", "held_out"])
    empty = wanted & (pl.col("support") == 0)
    thin = wanted & (pl.col("support") < minimum_support)
    return targets.with_columns(support=support).with_columns(
        role=pl.when(thin).then(pl.lit("rejected")).otherwise("role"),
        reason=pl.when(empty)
        .then(pl.lit("no household of the survey contributes"))
        .when(thin)
        .then(
            pl.format(
                f"{{}} households contribute, fewer than the {minimum_support} asked for", "support"
            )
        )
        .otherwise("reason"),
    )


def check_variables(variables: pl.DataFrame, *, file: str, columns: set[str]) -> pl.DataFrame:
    """The dictionary of variables, refused where a row could not be compiled.

    Raises:
        InputError: a column is missing, a variable comes twice, or a row names unknown records,
            closeness or measure; the message has the file, the line and what is allowed.
    """
    expected = ["variable", "records", "column", "closeness", "definition"]
    if variables.columns != expected:
        raise InputError(
            f"{file}: columns are {variables.columns}, but must be {expected}, in this order."
        )
    numbered = variables.with_row_index("line", offset=2)
    allowed = {"records": RECORDS, "closeness": CLOSENESS, "column": ("", *sorted(columns))}
    faults = [
        f"line {line}, {name}: {value!r} is not one of {', '.join(filter(None, values))}"
        for name, values in allowed.items()
        for line, value in numbered.filter(~pl.col(name).is_in(values)).select("line", name).rows()
    ]
    faults += [
        f"line {line}, variable: {variable!r} is described twice"
        for line, variable in numbered.filter(pl.col("variable").is_duplicated())
        .select("line", "variable")
        .rows()
    ]
    faults += [
        f"line {line}, column: {variable!r} is {closeness} and needs "
        + ("no column" if closeness == "absent" else "the name of a measure")
        for line, variable, closeness, column in numbered.select(
            "line", "variable", "closeness", "column"
        ).rows()
        if (closeness == "absent") != (column == "")
    ]
    if faults:
        raise InputError(f"{file}: {len(faults)} faults; mend: " + "; ".join(faults[:5]))
    return variables


FILTERS = pl.List(pl.Struct({"column": pl.String, "operator": pl.String, "value": pl.String}))

Rule = tuple[str, pl.Expr, pl.Expr]

_SURVEY_RULES: tuple[Rule, ...] = (
    (
        "rejected",
        ~pl.col("geography").is_in(["US", *STATES]),
        pl.lit("the survey covers the 50 states and the District of Columbia only"),
    ),
    ("rejected", pl.col("closeness") == "absent", pl.col("definition")),
    (
        "rejected",
        (pl.col("column") == "persons")
        & (pl.col("records") == "everyone")
        & ~pl.col("is_age_union"),
        pl.lit("the file tells ages apart only at 6, 13, 18, 21 and 65 years"),
    ),
    ("benchmark", pl.col("closeness") == "different", pl.col("definition")),
)

# the source that wins where one concept is printed twice: Publication 1304 before the tables by
# state (final figures before returns processed within the year), years before fiscal years
_precedence = (
    pl.col("table").str.contains("Publication 1304").not_().cast(pl.Int8)
    + pl.col("period").str.contains("fiscal").cast(pl.Int8) * 2
)
_winner = pl.col("target_id").sort_by(_precedence, "target_id").first().over(*CONCEPT, "role")

_PRINTED_TWICE: tuple[Rule, ...] = (
    (
        "benchmark",
        pl.col("target_id") != _winner,
        pl.format("printed twice: {} is fitted or held out in its place", _winner),
    ),
)


def _decide(targets: pl.DataFrame, rules: tuple[Rule, ...]) -> pl.DataFrame:
    """The first rule that applies gives an undecided target its role and reason."""
    if "role" not in targets.columns:
        targets = targets.with_columns(
            role=pl.lit(None, pl.String), reason=pl.lit(None, pl.String)
        )
    undecided = pl.col("role").is_null()
    return targets.with_columns(
        role=pl.coalesce(
            "role", *(pl.when(undecided & when).then(pl.lit(role)) for role, when, _ in rules)
        ),
        reason=pl.coalesce(
            "reason", *(pl.when(undecided & when).then(reason) for _, when, reason in rules)
        ),
    )


def _hold_out(targets: pl.DataFrame, *, share: float, seed: int) -> pl.DataFrame:
    """The first ``share`` of every family's undecided targets, in an order drawn by the seed."""
    undecided = pl.col("role").is_null()
    lot = pl.col("target_id").map_elements(
        lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest(), pl.String
    )
    place = lot.rank("ordinal").over("family", "role")
    held_out = undecided & (place <= (pl.len().over("family", "role") * share).floor())
    return targets.with_columns(
        role=pl.when(held_out)
        .then(pl.lit("held_out"))
        .when(undecided)
        .then(pl.lit("fitted"))
        .otherwise("role"),
        reason=pl.when(held_out)
        .then(pl.lit(f"drawn by seed {seed} to score the fit on totals it has not seen"))
        .when(undecided)
        .then(pl.format("{} definition: {}", "closeness", "definition"))
        .otherwise("reason"),
    )

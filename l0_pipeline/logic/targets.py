"""From published figures to targets: every figure gets one role, and the reason for it.

Four roles, and their counts add up to the figures declared: *fitted* (the weights are made to
reproduce it), *held out* (kept from the fit and scored), *benchmark* (compared only: it means
something else, or is printed twice) and *rejected* (the survey cannot show it). What can be
decided from the figures alone is decided by ``declare_targets``; ``settle_roles`` adds what only
the compiled coefficients show.
"""

import hashlib
import math
from collections.abc import Mapping

import polars as pl

from l0_pipeline.logic.constraints import age_band_columns
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.figures import NATION, STATES
from l0_pipeline.logic.filters import parse_filters

ROLES = ("fitted", "held_out", "benchmark", "rejected")
RECORDS = ("everyone", "filers", "itemizers")
CLOSENESS = ("same", "close", "different", "absent")

IDENTITY = (
    "year", "target_id", "family", "variable", "measure", "universe", "geography", "filters",
    "value", "unit", "standard_error", "period", "publisher", "published_table", "aged_from",
)  # fmt: skip

CONCEPT = ("variable", "measure", "unit", "geography", "filter_text")

# so that quotients which are whole numbers but for their last bits count as whole
_ROUNDING = 1e-9


def declare_targets(
    figures: pl.DataFrame,
    variables: pl.DataFrame,
    *,
    held_out_share: float,
    seed: int,
    fold: int = 0,
) -> pl.DataFrame:
    """Every figure of one year as a target with its microdata column, role and reason.

    Args:
        figures: validated figures, one row each.
        variables: the dictionary: variable, records, column, closeness, definition.
        held_out_share: share of the fittable targets of every family to keep from the fit.
        seed: decides which; under one seed a target's lot does not depend on the others' values.
        fold: which rotation of the lot is held out, below ``folds(held_out_share)``. Every
            fittable target is held out in exactly one.

    Raises:
        InputError: a variable is not in the dictionary, or there is no such fold.
    """
    if fold not in range(folds(held_out_share)):
        raise InputError(
            f"fold is {fold}, but with held_out_share {held_out_share} the folds are 0 to "
            f"{folds(held_out_share) - 1}. Choose one of them."
        )
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
    _refuse_undescribed(described)
    asked = described.rename({"role": "asked"})
    decided = _decide(asked, _SURVEY_RULES)
    decided = _decide(decided, _PRINTED_TWICE)
    ruled = _hold_out(decided, share=held_out_share, seed=seed, fold=fold)
    return (
        ruled.rename({"column": "microdata_column"})
        .select(
            *(*IDENTITY, "records", "microdata_column", "closeness"),
            *("role", "fold", "reason", "note"),
        )
        .sort("target_id")
    )


def folds(held_out_share: float) -> int:
    """How many rotations it takes until every fittable target was held out once."""
    return math.ceil(1 / held_out_share - _ROUNDING) if held_out_share else 1


def settle_roles(
    targets: pl.DataFrame, support: pl.DataFrame, *, minimum_support: int
) -> pl.DataFrame:
    """The roles after compilation, when it shows which households carry each target.

    A target that too few households carry is rejected. Of several targets with the very same
    coefficients one stays: one that a file asks to fit, the one of the closest definition, of the
    source that wins where one concept is printed twice, the first by its id; the
    others become benchmarks, since no weights could tell them apart: fitting one against another
    would be vain where their values differ, and scoring one on another's fit would be no test.

    Args:
        targets: declared targets.
        support: ``target_id``, ``support`` (contributing households) and ``row_digest`` of every
            compiled target.
        minimum_support: the fewest households that may carry a target.

    Returns:
        The targets with ``support`` (0 where none was compiled) and ``condition``, the filters
        as text.
    """
    compiled = targets.join(
        support, on="target_id", how="left", validate="1:1", maintain_order="left"
    ).with_columns(pl.col("support").fill_null(0), condition=_condition())
    few = f"{{}} households contribute, fewer than the {minimum_support} asked for"
    wanted = pl.col("role").is_in(["fitted", "held_out"])
    carried = _overrule(
        compiled,
        ("rejected", wanted & (pl.col("support") == 0), pl.lit("no household contributes")),
        ("rejected", wanted & (pl.col("support") < minimum_support), pl.format(few, "support")),
    )
    nearest = pl.col("closeness").replace_strict(CLOSENESS, range(len(CLOSENESS)))
    order = (~pl.col("reason").str.starts_with(_ASKED), nearest, _precedence, "target_id")
    first = pl.col("target_id").sort_by(*order).first().over("row_digest", wanted)
    return _overrule(
        carried,
        (
            "benchmark",
            wanted & (pl.col("target_id") != first),
            pl.format("the same coefficients as {}, which is used in its place", first),
        ),
    ).select(pl.exclude("row_digest", "fold"), fold=pl.when(wanted).then("fold"))


def reject_implausible(
    targets: pl.DataFrame,
    estimates: pl.DataFrame,
    *,
    factor: float,
    floors: Mapping[str, float],
) -> pl.DataFrame:
    """The targets, those that the survey is far away from before any fit rejected.

    Args:
        targets: settled targets.
        estimates: ``target_id`` and ``estimate`` under the scaled design weights.
        factor: how many times the smaller the larger of value and estimate may be.
        floors: by unit, what the smaller counts for at least.
    """
    value, estimate = pl.col("value").abs(), pl.col("estimate").abs()
    floor = pl.col("unit").replace_strict(floors, return_dtype=pl.Float64)
    larger, smaller = pl.max_horizontal(value, estimate), pl.min_horizontal(value, estimate)
    wanted = pl.col("role").is_in(["fitted", "held_out"])
    far = wanted & (larger > factor * pl.max_horizontal(smaller, floor))
    told = (
        "implausible: the survey's own estimate is {}, over {} times away: thousands for units, "
        "a suppressed cell, or another thing"
    )
    return (
        _overrule(
            targets.join(estimates, on="target_id", how="left", maintain_order="left"),
            (
                "rejected",
                far,
                pl.format(told, pl.col("estimate").round().cast(pl.Int64), pl.lit(f"{factor:g}")),
            ),
        )
        .with_columns(fold=pl.when(wanted).then("fold"))
        .drop("estimate")
    )


def hold_out_fold(targets: pl.DataFrame, fold: int) -> pl.DataFrame:
    """Settled targets with another fold held out, and the one held out before fitted."""
    turned = pl.when(pl.col("fold") == fold).then(pl.lit("held_out")).otherwise(pl.lit("fitted"))
    fittable = pl.col("role").is_in(["fitted", "held_out"])
    return targets.with_columns(role=pl.when(fittable).then(turned).otherwise("role"))


def contradictions(targets: pl.DataFrame, support: pl.DataFrame) -> pl.DataFrame:
    """Printed totals of one thing with different values, the furthest apart first.

    Two targets are the same thing where their coefficients are the same: no weights meet both.

    Args:
        targets: settled targets.
        support: of ``settle_roles``.

    Returns:
        One row for each target that has the very coefficients of a fitted or held-out one and
        another value: both, and the ``difference`` to the one used, as a share of it.
    """
    compiled = targets.join(support.select("target_id", "row_digest"), on="target_id")
    carried = compiled.filter(pl.col("support") > 0)
    used = carried.filter(pl.col("role").is_in(["fitted", "held_out"]))
    others = carried.join(used.select("target_id"), on="target_id", how="anti")
    named = ("variable", "measure", "geography", "condition")
    return (
        others.join(used, on="row_digest", suffix="_used")
        .filter(pl.col("value") != pl.col("value_used"))
        .with_columns(
            difference=(pl.col("value") - pl.col("value_used")) / pl.col("value_used").abs()
        )
        .sort(pl.col("difference").abs(), "target_id", descending=[True, False])
        .select(
            *named,
            *("value_used", "value", "difference", "published_table_used", "published_table"),
            *("target_id_used", "target_id"),
        )
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
        f"line {line}, {name}: read {value!r}, but must not be empty"
        for name in ("variable", "definition")
        for line, value in numbered.filter(pl.col(name).str.strip_chars() == "")
        .select("line", name)
        .rows()
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

# whom a figure may speak of, by the records that its variable is read from; deductions of
# itemizers are also printed in tables of all returns
_UNIVERSES: dict[str, tuple[str, ...]] = {
    "everyone": ("residents",),
    "filers": ("returns",),
    "itemizers": ("returns", "itemizing_returns"),
}
_same_universe = pl.any_horizontal(
    (pl.col("records") == records) & pl.col("universe").is_in(universes)
    for records, universes in _UNIVERSES.items()
)

_counts_persons = pl.col("column").is_in(["persons", "medicaid_persons"])
# how the reason of a role begins that the file asks for
_ASKED = "asked for: "
_asked_to_fit = pl.col("asked").eq_missing("fitted")

_SURVEY_RULES: tuple[Rule, ...] = (
    (
        "rejected",
        ~pl.col("geography").is_in([NATION, *STATES]),
        pl.lit("the survey covers the 50 states and the District of Columbia only"),
    ),
    ("rejected", pl.col("closeness") == "absent", pl.col("definition")),
    (
        "rejected",
        ~_same_universe,
        pl.format("the figure speaks of {}, the dictionary of {}", "universe", "records"),
    ),
    (
        "rejected",
        (pl.col("column") == "persons") & ~pl.col("is_age_union"),
        pl.lit("the file tells ages apart only at 6, 13, 18, 21 and 65 years"),
    ),
    (
        "rejected",
        _counts_persons & (pl.col("unit") != "persons"),
        pl.format("{} is counted in persons, not in {}", "variable", "unit"),
    ),
    (
        "rejected",
        ~_counts_persons & (pl.col("unit") == "persons"),
        pl.format("the file does not say which persons of a tax unit have {}", "variable"),
    ),
    (
        "rejected",
        (pl.col("records") == "everyone") & (pl.col("unit") == "returns"),
        pl.format("{} is not counted in returns: it is of everyone", "variable"),
    ),
    (
        "rejected",
        (pl.col("unit") == "households") & (pl.col("column") != "snap_benefit"),
        pl.lit("only SNAP is kept once a household; all else is of tax units"),
    ),
    *(
        (role, pl.col("asked") == role, pl.format(_ASKED + "{}", "note"))
        for role in ("rejected", "benchmark")
    ),
    ("benchmark", (pl.col("closeness") == "different") & ~_asked_to_fit, pl.col("definition")),
)

# the source that wins where one concept is printed twice: printed figures before aged ones, years
# before fiscal years, Publication 1304 before the tables by state (final figures before returns
# processed within the year)
_precedence = (
    pl.col("aged_from").is_not_null().cast(pl.Int8) * 4
    + pl.col("period").str.contains("fiscal").cast(pl.Int8) * 2
    + pl.col("published_table").str.contains("Publication 1304").not_().cast(pl.Int8)
)
_winner = (
    pl.col("target_id")
    .sort_by(~_asked_to_fit, _precedence, "target_id")
    .first()
    .over(*CONCEPT, "role")
)

_PRINTED_TWICE: tuple[Rule, ...] = (
    (
        "benchmark",
        pl.col("target_id") != _winner,
        pl.format("printed twice: {} is fitted or held out in its place", _winner),
    ),
)


def _overrule(targets: pl.DataFrame, *rules: Rule) -> pl.DataFrame:
    """The first rule that applies replaces role and reason."""
    return targets.with_columns(
        role=pl.coalesce(*(pl.when(when).then(pl.lit(role)) for role, when, _ in rules), "role"),
        reason=pl.coalesce(*(pl.when(when).then(text) for _, when, text in rules), "reason"),
    )


def _refuse_undescribed(targets: pl.DataFrame) -> None:
    undescribed = targets.filter(pl.col("closeness").is_null())
    if len(undescribed):
        raise InputError(
            f"{len(undescribed)} figures have a variable that the dictionary does not describe, "
            f"the first {undescribed['target_id'][0]}: {undescribed['variable'][0]!r}. Add a row "
            "to data/figures/variables.csv."
        )


def _condition() -> pl.Expr:
    clause = pl.element().struct
    return (
        pl.col("filters")
        .list.eval(
            pl.concat_str(
                clause.field("column"), clause.field("operator"), clause.field("value"),
                separator=" ",
            )
        )
        .list.join(" & ")
    )  # fmt: skip


def _decide(targets: pl.DataFrame, rules: tuple[Rule, ...]) -> pl.DataFrame:
    """The first rule that applies gives an undecided target its role and reason."""
    if "role" not in targets.columns:
        targets = targets.with_columns(role=pl.lit(None, pl.String), reason=pl.lit(None, pl.String))
    undecided = pl.col("role").is_null()
    return targets.with_columns(
        role=pl.coalesce(
            "role", *(pl.when(undecided & when).then(pl.lit(role)) for role, when, _ in rules)
        ),
        reason=pl.coalesce(
            "reason", *(pl.when(undecided & when).then(reason) for _, when, reason in rules)
        ),
    )


# the design weights are raised to these totals before anything is fitted: they can judge no fit
_anchor = (pl.col("variable") == "population") & (pl.col("filter_text") == "")


def _hold_out(targets: pl.DataFrame, *, share: float, seed: int, fold: int) -> pl.DataFrame:
    """One fold of every family's undecided targets, in an order drawn by the seed.

    Of n targets the k-th is in fold ceil(k / (n share)) - 1: all folds but the last have the
    share, rounded, and a family of one target is in the last.
    """
    undecided = pl.col("role").is_null()
    eligible = undecided & ~_anchor & ~_asked_to_fit
    lot = pl.col("target_id").map_elements(
        lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest(), pl.String
    )
    place = lot.rank("ordinal").over("family", eligible)
    quota = eligible.sum().over("family") * share
    turn = (place / quota - _ROUNDING).ceil() - 1 if share else pl.lit(None)
    numbered = targets.with_columns(fold=pl.when(eligible).then(turn).cast(pl.Int64))
    held_out = (pl.col("fold") == fold).fill_null(False)
    return numbered.with_columns(
        role=pl.when(held_out)
        .then(pl.lit("held_out"))
        .when(undecided)
        .then(pl.lit("fitted"))
        .otherwise("role"),
        reason=pl.when(held_out)
        .then(
            pl.lit(f"fold {fold} of seed {seed}, kept to score the fit on totals it has not seen")
        )
        .when(undecided & _asked_to_fit)
        .then(pl.format(_ASKED + "{}", "note"))
        .when(undecided)
        .then(pl.format("{} definition: {}", "closeness", "definition"))
        .otherwise("reason"),
    )

"""The columns of the tables that the pipeline makes: name, type, unit, meaning.

The survey's own columns are in ``microdata.columns``. From both come the column schemas in the
UI and the data dictionary of a release.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import polars as pl

from l0_pipeline.logic.microdata.columns import DOLLARS_THEN, Column
from l0_pipeline.logic.tax_model import FILING_THRESHOLD, OTHER_INCOMES, RESPONDING

DOLLARS = "dollars of the target year"
WEIGHT = "households"

_TARGET_ID = Column("target_id", pl.String, "identifier", "Published figure in data/figures")
_HOUSEHOLD_ID = Column("household_id", pl.Int64, "identifier", "Household of the survey")
_SCALED_DESIGN_WEIGHT = Column(
    "scaled_design_weight",
    pl.Float64,
    WEIGHT,
    "Design weight, raised so that persons add up to the published population",
)

TAX_OUTPUT_COLUMNS: tuple[Column, ...] = (
    Column("unit_id", pl.Int64, "identifier", "Tax unit"),
    *(
        Column(name, pl.Float64, DOLLARS, f"{meaning}, at the target year")
        for name, meaning in {
            "c00100": "Adjusted gross income",
            "c02500": "Taxable social security benefits",
            "c04470": "Itemized deductions, zero for those who do not itemize",
            "standard": "Standard deduction, zero for those who itemize",
            "c04800": "Taxable income",
            "c05800": "Income tax before credits, with the alternative minimum tax",
            "c07100": "Non-refundable credits used",
            "c07180": "Child and dependent care credit",
            "c07220": "Child tax credit, non-refundable part",
            "odc": "Credit for other dependents",
            "c09600": "Alternative minimum tax",
            "c11070": "Additional child tax credit, refundable",
            "c17000": "Itemized medical expenses above the floor",
            "c18300": "Itemized taxes paid, after the cap",
            "c19200": "Itemized interest paid",
            "c19700": "Itemized charitable contributions",
            "eitc": "Earned income tax credit",
            "iitax": "Individual income tax after refundable credits",
            "niit": "Net investment income tax",
            "payrolltax": "Payroll taxes of employer and employee",
            "ptax_amc": "Additional medicare tax",
            "qbided": "Qualified business income deduction",
            "setax": "Self-employment tax",
            "e00200": "Wages and salaries",
            "e00300": "Taxable interest",
            "e00400": "Tax-exempt interest",
            "e00600": "Ordinary dividends",
            "e00650": "Qualified dividends",
            "e00900": "Business income or loss",
            "e01100": "Capital gains",
            "e01400": "Taxable IRA distributions",
            "e01500": "Pensions and annuities",
            "e01700": "Taxable pensions and annuities",
            "e02100": "Farm income or loss",
            "e02300": "Unemployment compensation",
            "e02400": "Social security benefits",
            "e03150": "Deductible IRA contributions",
            "e03210": "Student loan interest",
            "e03270": "Self-employed health insurance",
            "e03300": "Contributions to own retirement plans of the self-employed",
            "e17500": "Medical expenses",
            "e18400": "State and local income or sales taxes",
            "e18500": "State and local property taxes",
            "e19200": "Interest paid that can be itemized",
            "mcaid_ben": "Medicaid, at a constant a person",
            "mcare_ben": "Medicare, at a constant a person",
            "snap_ben": "SNAP benefits, on the household's first unit",
            "ssi_ben": "Supplemental Security Income",
            FILING_THRESHOLD: "Standard deduction of the filing status, for everybody",
        }.items()
    ),
)

RESPONSE_COLUMNS: tuple[Column, ...] = (
    TAX_OUTPUT_COLUMNS[0],
    *(
        Column(
            f"{column.name}_{incomes}",
            pl.Float64,
            DOLLARS,
            f"{column.description}, had all amounts of money been {factor:g} times as high",
        )
        for incomes, factor in OTHER_INCOMES.items()
        for column in TAX_OUTPUT_COLUMNS
        if column.name in RESPONDING
    ),
)

_YEAR = Column("year", pl.Int64, "year", "The year that the figure is about")
_FAMILY = Column("family", pl.String, "name", "Subject and level of the figure")
_VARIABLE = Column("variable", pl.String, "name", "What is measured, a row of variables.csv")
_MEASURE = Column("measure", pl.String, "name", "sum: dollars; count: units with a non-zero amount")
_UNIVERSE = Column("universe", pl.String, "name", "Filed returns, itemizing returns or residents")
_GEOGRAPHY = Column("geography", pl.String, "code", "US, two-digit FIPS code, or OA: other areas")
_VALUE = Column("value", pl.Float64, "see unit", "The figure as printed, never in thousands")
_UNIT = Column("unit", pl.String, "name", "dollars, returns, persons or households")
_STANDARD_ERROR = Column("standard_error", pl.Float64, "see unit", "As published; null for none")
_PERIOD = Column("period", pl.String, "text", "Exactly when")
_PUBLISHER = Column("publisher", pl.String, "name", "Agency that printed the figure")
_PUBLISHED_TABLE = Column("published_table", pl.String, "text", "Publication and table")
_NOTE = Column("note", pl.String, "text", "Warnings; empty for none")
_AGED_FROM = Column(
    "aged_from", pl.Int64, "year", "The year it was printed for, where growth brought it to this"
)
_ROLE = Column("role", pl.String, "name", "fitted, held_out, benchmark or rejected")
_ASKED = Column("role", pl.String, "name", "The role that the file asks for; null for none")
_FOLD = Column("fold", pl.Int64, "number", "The fold that holds it out; null where none does")
_REASON = Column("reason", pl.String, "text", "Why the target has this role")

FIGURE_COLUMNS: tuple[Column, ...] = (
    _YEAR,
    Column("figure_id", pl.String, "identifier", "Name of the figure, unique over all files"),
    _FAMILY,
    _VARIABLE,
    _MEASURE,
    _UNIVERSE,
    _GEOGRAPHY,
    Column("filters", pl.String, "clauses", "Who is counted; lower bounds included, upper not"),
    _VALUE,
    _UNIT,
    _STANDARD_ERROR,
    _PERIOD,
    _PUBLISHER,
    _PUBLISHED_TABLE,
    _NOTE,
    _ASKED,
    _AGED_FROM,
    Column("file", pl.String, "text", "File below data/figures, or the table, it was read from"),
    Column("line", pl.Int64, "number", "Line of a CSV file, row of a Parquet file or table"),
)

FINDING_COLUMNS: tuple[Column, ...] = (
    _YEAR,
    Column("finding_id", pl.String, "identifier", "Name of the finding"),
    Column("kind", pl.String, "name", "What is wrong"),
    Column("severity", pl.String, "name", "error, warning or note"),
    Column("figure_id", pl.String, "identifier", "The figure that it is about"),
    Column("file", pl.String, "text", "Where the figure was read"),
    Column("line", pl.Int64, "number", "Line or row of it"),
    Column("related", pl.String, "identifiers", "Other figures that it is about"),
    Column("value", pl.Float64, "unit of the figure", "The figure as read"),
    Column("expected", pl.Float64, "unit of the figure", "What the others imply; null: unknown"),
    Column("gap", pl.Float64, "unit of the figure", "Value less expected"),
    Column("detail", pl.String, "text", "What is wrong, in a sentence"),
)

TARGET_COLUMNS: tuple[Column, ...] = (
    _YEAR,
    _TARGET_ID,
    _FAMILY,
    _VARIABLE,
    _MEASURE,
    _GEOGRAPHY,
    Column("condition", pl.String, "text", "Who is counted: age, income class, filing status"),
    _VALUE,
    _UNIT,
    _PERIOD,
    _PUBLISHER,
    _PUBLISHED_TABLE,
    _ROLE,
    _FOLD,
    _REASON,
    Column("scale", pl.Float64, "see unit", "What errors are divided by: |value| or a floor"),
    Column("support", pl.Int64, "households", "Households of the survey that contribute"),
    *(
        Column(
            f"one_household_{name}",
            pl.Float64,
            "share of scale",
            f"The {size} error that leaving out one contributing household causes",
        )
        for name, size in {"least": "smallest", "most": "largest"}.items()
    ),
)

DECLARED_TARGET_COLUMNS: tuple[Column, ...] = (
    _YEAR,
    _TARGET_ID,
    _FAMILY,
    _VARIABLE,
    _MEASURE,
    _UNIVERSE,
    _GEOGRAPHY,
    Column("filters", pl.List, "clauses", "Conditions that hold together"),
    _VALUE,
    _UNIT,
    _STANDARD_ERROR,
    _PERIOD,
    _PUBLISHER,
    _PUBLISHED_TABLE,
    _AGED_FROM,
    Column("records", pl.String, "name", "Tax units of the survey that stand for the universe"),
    Column("microdata_column", pl.String, "name", "Measure of the microdata; empty for none"),
    Column("closeness", pl.String, "name", "How close the two definitions are"),
    _ROLE,
    _FOLD,
    _REASON,
    _NOTE,
)

CONFLICT_COLUMNS: tuple[Column, ...] = (
    _YEAR,
    Column("conflict_id", pl.Int64, "number", "Targets of one number exclude each other"),
    _TARGET_ID,
    _VALUE,
    _UNIT,
    Column("multiplier", pl.Float64, "per unit", "The target's part in the certificate"),
    Column("gap", pl.Float64, "see unit", "By how much it misses at least when the others are met"),
    Column(
        "least_error",
        pl.Float64,
        "share of scale",
        "No admissible weights bring all targets of the conflict nearer than this",
    ),
    Column("max_weight_ratio", pl.Float64, "ratio", "Bound of the admissible weights"),
    Column("areas", pl.String, "codes", "Geographies of the conflict"),
)

TARGET_FIT_COLUMNS: tuple[Column, ...] = (
    *TARGET_COLUMNS,
    Column("kept_support", pl.Int64, "households", "Households of the release that contribute"),
    *(
        column
        for name, weights in {
            "design": "the scaled design weights of all households",
            "gates": "as many households chosen by gates alone",
            "random": "as many households drawn at random",
            "released": "the released weights",
        }.items()
        for column in (
            Column(f"{name}_estimate", pl.Float64, "see unit", f"Estimate under {weights}"),
            Column(f"{name}_error", pl.Float64, "share", f"Relative error under {weights}, signed"),
        )
    ),
)

UNSEEN_COLUMNS: tuple[Column, ...] = (
    _TARGET_ID,
    _FAMILY,
    _VARIABLE,
    _MEASURE,
    _GEOGRAPHY,
    Column("condition", pl.String, "text", "Who is counted: age, income class, filing status"),
    _FOLD,
    _VALUE,
    _UNIT,
    Column("unseen_estimate", pl.Float64, "see unit", "Estimate of the fit without this fold"),
    Column("unseen_error", pl.Float64, "share", "Its relative error, signed"),
)

CALIBRATED_WEIGHT_COLUMNS: tuple[Column, ...] = (
    _HOUSEHOLD_ID,
    _SCALED_DESIGN_WEIGHT,
    Column(
        "log_alpha",
        pl.Float64,
        "log-odds",
        "Location of the gate; null if it left the matrix early",
    ),
    Column("open_probability", pl.Float64, "probability", "Chance that the gate is open"),
    Column("calibrated_weight", pl.Float64, WEIGHT, "Weight; zero outside the support"),
)

HISTORY_COLUMNS: tuple[Column, ...] = (
    Column(
        "stage",
        pl.String,
        "name",
        "pilot and validation (to choose the refit's penalty), selection, or refit; coarse 1, 2 "
        "and so on before the name of a refit: its reference is fitted first",
    ),
    Column("epoch", pl.Int64, "epochs", "Epoch of the stage"),
    Column("epochs", pl.Int64, "epochs", "Epochs of the stage in all"),
    Column("loss", pl.Float64, "share", "Weighted mean of errors, each capped at 1"),
    Column("penalty", pl.Float64, "share", "Kullback-Leibler penalty towards the design"),
    Column("records", pl.Int64, "households", "Households still in the matrix"),
    Column("budget", pl.Float64, "households", "Open gates asked for at this epoch"),
    Column("expected_count", pl.Float64, "households", "Expected number of open gates"),
    Column("temperature", pl.Float64, "none", "Temperature of the gates"),
)

WHOLE_FILE_COLUMNS: tuple[Column, ...] = (
    _HOUSEHOLD_ID,
    Column(
        "weight", pl.Float64, WEIGHT, "Weight when all households are calibrated, none left out"
    ),
)

MODEL_TOTAL_COLUMNS: tuple[Column, ...] = (
    Column("total_id", pl.String, "identifier", "The total in words"),
    Column("grouping", pl.String, "name", "By what tax units are grouped; all: one class"),
    Column("agi_above", pl.Float64, DOLLARS, "Adjusted gross income above this; null: no bound"),
    Column("agi_upto", pl.Float64, DOLLARS, "Adjusted gross income up to this; null: no bound"),
    Column("split", pl.String, "name", "Column of tax_units that splits the class; null for none"),
    Column("value", pl.Int64, "code", "Its value; null for none"),
    Column("variable", pl.String, "name", "Column of tax_outputs or tax_responses, or a number"),
    Column("whole_estimate", pl.Float64, "dollars or a number", "Total of the whole file"),
    Column("support", pl.Int64, "tax units", "Units of the survey that contribute"),
)

VALIDATION_COLUMNS: tuple[Column, ...] = (
    Column("penalty", pl.Float64, "none", "Strength of the pull towards the design weights"),
    Column("loss", pl.Float64, "share", "Loss of the targets set aside; null where none were"),
    Column(
        "standard_error", pl.Float64, "share", "Standard error of its difference to the least loss"
    ),
    Column("chosen", pl.Boolean, "flag", "The strength of this year's refits"),
)

FRONTIER_COLUMNS: tuple[Column, ...] = (
    Column("budget", pl.Int64, "households", "Households kept"),
    Column("loss", pl.Float64, "share", "Loss of the fitted targets: by default mean capped error"),
    Column("held_out_error", pl.Float64, "share", "The same of held-out targets; null without any"),
    Column("effective_sample_size", pl.Float64, "households", "Kish's, of the weights"),
    Column("max_weight_ratio", pl.Float64, "ratio", "Largest weight over scaled design weight"),
    Column("suggested", pl.Boolean, "flag", "The smallest size nearly as good as the best"),
)

SELECTED_COLUMNS: tuple[Column, ...] = (
    _HOUSEHOLD_ID,
    Column("kind", pl.String, "name", "l0: chosen by its gate; random: drawn from what was left"),
    Column(
        "stratum",
        pl.Int64,
        "number",
        "Stratum of the draw, numbered: the states in the order of their codes",
    ),
    Column(
        "inclusion_probability",
        pl.Float64,
        "probability",
        "Chance to be kept, given the gates: 1 where a gate chose with certainty",
    ),
    _SCALED_DESIGN_WEIGHT,
    Column("weight", pl.Float64, WEIGHT, "Calibrated weight: households it stands for"),
    Column(
        "weight_ratio",
        pl.Float64,
        "ratio",
        "Weight over the design weight of a household kept, all of these raised by one factor to "
        "the total of the whole survey: 1 where thinning alone made the weight",
    ),
)

_STATE = Column("state_fips", pl.Int64, "code", "State, by its FIPS code")

SELECTION_DESIGN_COLUMNS: tuple[Column, ...] = (
    _STATE,
    Column("pool", pl.Int64, "households", "Households of the survey"),
    Column("by_gates", pl.Int64, "households", "Kept by their gates"),
    Column("at_random", pl.Int64, "households", "Drawn at random from what was left"),
    Column("random_share", pl.Float64, "share", "Drawn at random, of those that gates left"),
    Column("minimum", pl.Int64, "households", "The fewest that the plan lets the state keep"),
)


def replicate_weight_columns(count: int) -> tuple[Column, ...]:
    """The household and one column a replicate."""
    return (
        _HOUSEHOLD_ID,
        *(
            Column(name, pl.Float32, WEIGHT, "Replicate weight: calibrated like `weight`")
            for name in replicate_names(count)
        ),
    )


UNTARGETED_COLUMNS: tuple[Column, ...] = (
    Column("variable", pl.String, "name", "Column of households that no target mentions"),
    Column("held", pl.Boolean, "flag", "Whether the refit held its shares near the survey's"),
    Column("area", pl.String, "code", "US, or a state's two-digit FIPS code"),
    Column("category", pl.String, "name", "Its value; rare ones together are `other`"),
    Column("share_pool", pl.Float64, "share", "Of the state's households in the survey"),
    Column("share_released", pl.Float64, "share", "Of the state's households as released"),
    Column("difference", pl.Float64, "share", "The second less the first"),
)


def aged_unit_columns(tax_unit_columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of ``tax_units``, in dollars of the target year, and the weight."""
    aged = (
        replace(column, unit=DOLLARS) if column.unit == DOLLARS_THEN else column
        for column in tax_unit_columns
    )
    return (*aged, Column("weight", pl.Float64, WEIGHT, "Weight of its household"))


def reform_outcome_columns(reforms: Iterable[str]) -> tuple[Column, ...]:
    """The unit, what Tax-Calculator says of it under current law, and one column a reform."""
    return (
        Column("unit_id", pl.Int64, "identifier", "Tax unit"),
        *(
            Column(name, pl.Float64, DOLLARS, f"{meaning} under current law")
            for name, meaning in {
                "c00100": "Adjusted gross income",
                "eitc": "Earned income tax credit",
                "c11070": "Additional child tax credit, refundable",
            }.items()
        ),
        *(Column(name, pl.Float64, DOLLARS, "Change of its taxes") for name in reforms),
    )


CREDIT_DRAW_COLUMNS: tuple[Column, ...] = (
    Column("unit_id", pl.Int64, "identifier", "Tax unit"),
    Column(
        "draw", pl.Float64, "none", "Number by which Tax-Calculator decides who claims a credit"
    ),
    *(
        Column(name, pl.Float64, "none", f"{size} draw that gives the same credits")
        for name, size in {"least": "Smallest", "most": "Largest"}.items()
    ),
)


def replicate_names(count: int) -> list[str]:
    """replicate_001 and so on, all of one width."""
    width = max(3, len(str(count)))
    return [f"replicate_{number:0{width}}" for number in range(1, count + 1)]


REPLICATE_DESIGN_COLUMNS: tuple[Column, ...] = (
    Column("method", pl.String, "name", "bootstrap or jackknife"),
    Column("replicates", pl.Int64, "replicates", "Columns of replicate_weights"),
    Column(
        "variance_of",
        pl.String,
        "name",
        "thinning: of keeping these households of the survey; survey: of the survey's draw too",
    ),
    Column("seed", pl.Int64, "none", "Seed of the replicates"),
    Column(
        "scale",
        pl.Float64,
        "none",
        "Factor of the sum, over replicates, of squared differences to the released estimate",
    ),
)

STANDARD_ERROR_COLUMNS: tuple[Column, ...] = (
    _YEAR,
    _TARGET_ID,
    Column("released_estimate", pl.Float64, "see unit", "Estimate under the released weights"),
    Column("standard_error", pl.Float64, "see unit", "Its standard error, from the replicates"),
    Column(
        "relative_standard_error",
        pl.Float64,
        "share of scale",
        "Standard error over the scale of target_fit: the value, or a floor near zero",
    ),
)

STUDY_COLUMNS: tuple[Column, ...] = (
    Column("gate_share", pl.Float64, "share", "Share of the households chosen by gates"),
    Column("anchored", pl.Boolean, "flag", "Whether the survey's own shares were held"),
    Column("loss", pl.Float64, "share", "Loss of the fitted targets"),
    Column("held_out_error", pl.Float64, "share", "The same of held-out targets; null for none"),
    Column("held_out_median_error", pl.Float64, "share", "Median absolute error of these"),
    Column("effective_sample_size", pl.Float64, "households", "Kish's, of the weights"),
    Column("max_weight_ratio", pl.Float64, "ratio", "Largest weight over scaled design weight"),
    Column("distortion", pl.Float64, "share", "Largest distortion of the anchored columns' shares"),
    Column(
        "watched_distortion", pl.Float64, "share", "Largest of the columns that are only watched"
    ),
    Column("drift", pl.Float64, "share", "Median absolute drift of amounts without a target"),
    Column(
        "standard_error",
        pl.Float64,
        "share of scale",
        "Median standard error of the held-out estimates; null where nothing is random",
    ),
    Column("error_ratio", pl.Float64, "ratio", "Held-out error over that of gates alone"),
    Column(
        "distortion_ratio",
        pl.Float64,
        "ratio",
        "Distortion over that of gates alone, the largest of the anchored columns",
    ),
    Column("effective_ratio", pl.Float64, "ratio", "Effective sample size over the same"),
    Column("supported", pl.Boolean, "flag", "Within the plan's limits against gates alone"),
)

_REFORM = Column("reform", pl.String, "name", "The reform")
_EFFECTS = tuple(
    Column(f"effect_{file}", pl.Float64, DOLLARS, f"Change of income and payroll tax, {of}")
    for file, of in {"whole": "whole file", "sparse": "sparse file"}.items()
)

REFORM_COLUMNS: tuple[Column, ...] = (
    _REFORM,
    Column("description", pl.String, "text", "What it changes"),
    Column(
        "units_affected_share",
        pl.Float64,
        "share of tax units",
        "Tax changes by more than a dollar, on the whole file",
    ),
    *_EFFECTS,
    Column("error", pl.Float64, "share", "Effect on the sparse file over the whole file's, less 1"),
    *(
        Column(f"{who}_{file}", pl.Float64, "share of tax units", f"Pay {more}, {file} file")
        for who, more in {"winners": "less", "losers": "more"}.items()
        for file in ("whole", "sparse")
    ),
    *(
        Column(
            f"largest_{grouping}_error",
            pl.Float64,
            "share of the effect",
            f"Largest difference of any {grouping}'s effect, absolute",
        )
        for grouping in ("decile", "state")
    ),
    Column(
        "standard_error",
        pl.Float64,
        "share of the effect",
        "Of the sparse file's effect, from the replicate weights",
    ),
)

REFORM_GROUP_COLUMNS: tuple[Column, ...] = (
    _REFORM,
    Column("grouping", pl.String, "name", "decile: of adjusted gross income; or state"),
    Column("group", pl.Int64, "code", "1 to 10 from the lowest incomes, or FIPS code"),
    *_EFFECTS,
    Column("error", pl.Float64, "share of the effect", "Difference, over the whole effect's size"),
)

REFORM_COST_COLUMNS: tuple[Column, ...] = (
    Column("file", pl.String, "name", "whole or sparse"),
    Column("tax_units", pl.Int64, "tax units", "Units that the model was run on"),
    Column("seconds", pl.Float64, "seconds", "Median of one calculation, once compiled"),
    Column(
        "memory_mb",
        pl.Float64,
        "megabytes",
        "Most memory that the records and one calculation held at once",
    ),
    Column("reforms", pl.Int64, "reforms", "Calculations that the medians are of"),
)

RANDOM_COLUMNS: tuple[Column, ...] = (
    _HOUSEHOLD_ID,
    Column("inclusion_probability", pl.Float64, "probability", "Share of households drawn"),
    Column("weight", pl.Float64, WEIGHT, "Weight after the same refit"),
)


def descriptions(columns: Sequence[Column]) -> dict[str, str]:
    """What each column means with its unit, as the UI shows it."""
    return {column.name: f"{column.description} [{column.unit}]" for column in columns}


def names(columns: Sequence[Column]) -> list[str]:
    """The columns' names, in order."""
    return [column.name for column in columns]

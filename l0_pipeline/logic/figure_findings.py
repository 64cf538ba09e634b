"""Faults in published figures, found before anything is computed from them.

Every finding names a row, what is wrong with it and the next move. Nothing is corrected here, and
a row that cannot be read at all is refused earlier, in ``figures``.
"""

import polars as pl

from l0_pipeline.logic.figure_peers import unlike_their_peers
from l0_pipeline.logic.figure_relations import sums, with_axes
from l0_pipeline.logic.figure_sums import Finding, broken_sums, open_ledger
from l0_pipeline.logic.figure_tables import faulty_tables

SEVERITIES = ("error", "warning", "note")
KINDS = (
    "thousands",
    "sign",
    "swapped_areas",
    "missing_area",
    "duplicate",
    "total_against_parts",
    "overlapping_bands",
)
SCHEMA = {
    "year": pl.Int64,
    "finding_id": pl.String,
    "kind": pl.String,
    "severity": pl.String,
    "figure_id": pl.String,
    "file": pl.String,
    "line": pl.Int64,
    "related": pl.String,
    "value": pl.Float64,
    "expected": pl.Float64,
    "gap": pl.Float64,
    "detail": pl.String,
}

_SHOWN = 12


def find(figures: pl.DataFrame) -> pl.DataFrame:
    """Every fault that the figures of one year show by themselves.

    Args:
        figures: validated figures, one row each, with ``published_table``, ``file`` and ``line``.
            Aged figures (``aged_from``) are left out: they are judged in the year of their print.

    Returns:
        ``SCHEMA``, one row a finding, by severity, kind and ``figure_id``. ``kind`` is one of
        ``KINDS``; an ``error`` is a fault to mend that a sum or a second source confirms, a
        ``warning`` a gap to look at, a ``note`` a known difference. ``related`` are other figures
        of the finding, ``expected`` is null where nothing says what the value should be, ``gap``
        is value - expected in the figure's unit.
    """
    aged = pl.col("aged_from").is_not_null() if "aged_from" in figures.columns else False
    cells = with_axes(figures.remove(aged))
    ledger = open_ledger(cells, sums(cells))
    findings = [
        *broken_sums(cells, ledger),
        *unlike_their_peers(cells, ledger),
        *faulty_tables(cells, ledger),
    ]
    return _table(findings, cells)


def _table(findings: list[Finding], cells: pl.DataFrame) -> pl.DataFrame:
    identity = cells["figure_id"].to_list()
    found = pl.DataFrame(
        [
            (
                one.kind,
                one.severity,
                one.row,
                _list(one.related, identity),
                one.expected,
                one.detail,
            )
            for one in findings
        ],
        schema={
            "kind": pl.String,
            "severity": pl.String,
            "row": cells.schema["row"],
            "related": pl.String,
            "expected": pl.Float64,
            "detail": pl.String,
        },
        orient="row",
    )
    return (
        found.join(cells, on="row", how="left", validate="m:1", maintain_order="left")
        .sort(pl.col("severity").cast(pl.Enum(SEVERITIES)), "kind", "figure_id", "detail")
        .with_columns(
            place=pl.int_range(pl.len()).over("kind", "figure_id"),
            gap=pl.col("value") - pl.col("expected"),
        )
        .with_columns(
            finding_id=pl.when(pl.col("place") == 0)
            .then(pl.format("{}:{}", "kind", "figure_id"))
            .otherwise(pl.format("{}:{}:{}", "kind", "figure_id", pl.col("place") + 1))
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _list(rows: tuple[int, ...], identity: list[str]) -> str:
    shown = ", ".join(identity[row] for row in rows[:_SHOWN])
    return shown + (f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else "")

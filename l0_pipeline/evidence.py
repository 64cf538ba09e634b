"""Plots and tables as metadata that an asset's page shows."""

import base64
import io

import dagster as dg
import polars as pl
from matplotlib.figure import Figure
from PIL import Image

COLOURS = 64


def plot(figure: Figure) -> dg.MarkdownMetadataValue:
    """A figure as PNG inside markdown; small, since it is kept in the event log."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    # few colours are used: a palette takes a third of the bytes
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    image = base64.b64encode(small.getvalue()).decode("ascii")
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{image})")


def table(frame: pl.DataFrame) -> dg.TableMetadataValue:
    """A small frame as a table; numbers keep four significant digits, blanks stand for nothing."""
    shown = frame.with_columns(pl.col(pl.Float64).round_sig_figs(4))
    return dg.MetadataValue.table(
        [
            dg.TableRecord({name: "" if value is None else value for name, value in row.items()})
            for row in shown.iter_rows(named=True)
        ],
        schema=dg.TableSchema([dg.TableColumn(name) for name in shown.columns]),
    )

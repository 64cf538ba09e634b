"""A figure as an image inside the page: SVG, or PNG where SVG is large; the same bytes each time.

Glyphs are drawn as shapes, so that no font is asked for. Coordinates keep a hundredth of a point.
"""

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

LARGEST_SVG = 90_000  # bytes
PNG_DPI = 150
COLOURS = 64
RASTER_DPI = 130  # of dense scatters inside SVG
_NOTHING_OF_THE_MOMENT = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_PLACES = re.compile(r' (?:d|points|x|y)="[^"]*"|translate\([^)]*\)')
_LONG_WINDED = (
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"DejaVuSans-"), "g"),
    (re.compile(r"\n\s*"), "\n"),
)
_DIGITS = re.compile(r"(\.\d\d)\d+")


@dataclass(frozen=True)
class Picture:
    """An image that needs no other file, with what is seen on it in words."""

    source: str  # a data: address
    alt: str
    width: int  # points
    height: int


@contextmanager
def drawn_alike() -> Iterator[None]:
    """Figures made and drawn in here look alike and have the same bytes every time."""
    style: dict[Any, Any] = {
        "svg.hashsalt": "l0", "svg.fonttype": "path", "font.family": "DejaVu Sans",
        "font.size": 9, "axes.titlesize": 10,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with mpl.rc_context(style):
        yield


def picture(figure: Figure, alt: str) -> Picture:
    """``figure`` as an image inside the page."""
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    svg = _svg(figure)
    if len(svg) <= LARGEST_SVG:
        return Picture(_address("svg+xml", svg), alt, width, height)
    return Picture(_address("png", _png(figure)), alt, width, height)


def _svg(figure: Figure) -> bytes:
    drawn = io.BytesIO()
    figure.dpi = RASTER_DPI
    # straight to the canvas: savefig would draw everything twice
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(drawn, metadata=_NOTHING_OF_THE_MOMENT)
    shorter = _PLACES.sub(lambda found: _DIGITS.sub(r"\1", found[0]), drawn.getvalue().decode())
    for pattern, short in _LONG_WINDED:
        shorter = pattern.sub(short, shorter)
    return shorter.encode()


def _png(figure: Figure) -> bytes:
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=PNG_DPI, metadata={"Software": None})
    # few colours are used: a palette takes a third of the bytes
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"

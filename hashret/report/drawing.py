"""How every curve is drawn: colours, dashes, frames, legends, and files that are the same bytes each time.

Colours are Okabe and Ito's, which the colour-blind tell apart, and neighbouring lines differ in dashes or marks for
print. What is drawn is the business of the files that import this one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike

from hashret.arrayfile import replace_file
from hashret.report.lettering import DPI, families, wrapped

__all__ = [
    "COLORS",
    "DASHES",
    "GRID",
    "INK",
    "MARKS",
    "MUTED",
    "drawn",
    "frame",
    "label",
    "legend",
    "line",
    "new_figure",
    "panel_title",
    "save",
    "styles",
]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = (
    "-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 2)),
)  # fmt: skip
MARKS = ("o", "s", "^", "D", "v", "P", "X")
INK, MUTED, GRID = "#1F2328", "#656D76", "#E4E7EA"
LEGEND_WIDTH = 2.1  # inches
# Texts stay texts, ids do not depend on chance, and no date is written.
_SVG = {"svg.fonttype": "none", "svg.hashsalt": "hashret"}
_IMAGE_ID = re.compile(rb' id="image[0-9a-f]{10}"')
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def styles(names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """A colour and dashes for each name, in order of appearance; no two alike up to 49 names."""
    found = {}
    for i, name in enumerate(dict.fromkeys(names)):
        found[name] = (COLORS[i % len(COLORS)], DASHES[(i + i // len(COLORS)) % len(DASHES)])
    return found


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """A white page in inches that lays itself out, with a line above."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    if title:
        text = wrapped(title, size=12, width=width - 0.4)[0]
        figure.suptitle(text, fontsize=12, x=0.02, ha="left", color=INK, family=list(families()), parse_math=False)
    return figure


def panel_title(axes: Axes, title: str, width: float) -> None:
    """A line above a panel, cut to ``width`` inches."""
    text = wrapped(title, size=10, width=width)[0]
    axes.set_title(text, fontsize=10, loc="left", color=INK, family=list(families()), parse_math=False)


def line(axes: Axes, x: ArrayLike, y: ArrayLike, text: str, style: tuple[str, Any], marker: str) -> None:
    """One curve."""
    color, dashes = style
    axes.plot(x, y, label=text, color=color, ls=dashes, lw=1.5, marker=marker, ms=3, mec="none")


def label(name: str, suffix: str = "", width: float = LEGEND_WIDTH - 0.6) -> str:
    """A legend's text, cut to ``width``; one that starts with an underscore would be left out by matplotlib."""
    text = wrapped(name, size=8, width=width)[0].lstrip("_") or "-"
    return text.replace("$", r"\$") + suffix


def frame(axes: Axes, name: str, below: str = "") -> None:
    """Two spines, a light grid, small ticks, and what the axes are."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color=MUTED, labelcolor=INK)
    axes.set_ylabel(name, fontsize=8.5, color=INK)
    if below:
        axes.set_xlabel(below, fontsize=8.5, color=INK)


def legend(axes: Axes) -> None:
    """Beside the axes, where it covers no line."""
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, frameon=False, handlelength=2.6, labelcolor=INK,
        prop={"family": list(families()), "size": 8},
    )  # fmt: skip


def drawn(figure: Figure, form: str) -> bytes:
    """A figure as "png" or "svg", the same bytes each time."""
    file = BytesIO()
    if form == "svg":
        with rc_context(_SVG):
            FigureCanvasSVG(figure).print_svg(file, metadata=_NO_METADATA)
    else:
        FigureCanvasAgg(figure).print_png(file)
    figure.set_layout_engine("none")  # it is laid out now, for its other form too
    # With a salt, matplotlib gives all images of a figure one id, which nothing refers to.
    return _IMAGE_ID.sub(b"", file.getvalue()) if form == "svg" else file.getvalue()


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure atomically, as SVG where the name ends so and else as PNG."""
    replace_file(path, drawn(figure, "svg" if Path(path).suffix.lower() == ".svg" else "png"))

"""What benchmarks/embedding_codes.py prints and draws of its rows. Nothing is measured here, nothing is left out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedding_codes_worker import LISTS, PROBES, SAMPLE, STEPS, TIMED, TURNS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from rich.console import Console

from hashret.report import Cell, Sheet

Row = dict[str, Any]

WIDTH = 150
COLORS = {  # Okabe and Ito's colours, which the colour-blind tell apart
    "sign": "#9AA0A6", "lsh": "#E69F00", "itq": "#56B4E9", "cca_itq": "#0072B2", "contrastive": "#D55E00",
    "IndexPQ": "#009E73", "IndexRaBitQ": "#CC79A7", "float": "#1F2328",
}  # fmt: skip
SHOWN = ("captions to images by CCA", "captions to images by contrastive heads", "captions (MiniLM)")
INK, GRID = "#1F2328", "#E4E7EA"
LEAST = 0.98
MODEST = (
    f"ITQ and CCA-ITQ take {TURNS} turns (50 in the paper). faiss trains on at most {SAMPLE:,} vectors with {STEPS} "
    f"turns of k-means and no polysemous order; inverted files have {LISTS} lists, of which {PROBES} are searched. "
    "Hash layers of contrastive share one space, trained once. "
    f"Times are of the first {TIMED:,} queries at once, one thread."
)


def sheets(rows: Sequence[Row]) -> list[Sheet]:
    """Two tables a set: recall by bits without and with the second look, and time and bytes by bits."""
    found = []
    for name in dict.fromkeys(row["set"] for row in rows):
        mine = [row for row in rows if row["set"] == name]
        base = next(row for row in mine if row["method"] == "float")
        bits = sorted({row["bits"] for row in mine if row["bits"]})
        methods = list(dict.fromkeys(row["method"] for row in mine if row["method"] != "float"))
        kind = "the right image among the first 10" if name.startswith("captions to") else "share of the float top 10"
        caption = [
            f"float: recall {base['recall']:.4f}, {_micro(base)} us a query, {base['bytes']} bytes an item",
            f"{base['items']:,} items, {base['queries']:,} queries; right of the bar: after a second look at "
            f"{_candidates(mine)[0]} candidates, int8",
            *_notes(mine),
        ]
        for title, cell in (
            (f"{name}: recall@10, {kind}", lambda row: f"{row['recall']:.4f}"),
            (f"{name}: us a query, bytes an item", lambda row: f"{_micro(row)}, {row['bytes']}"),
        ):
            body = [(Cell(method), *(Cell(_pair(mine, method, width, cell)) for width in bits)) for method in methods]
            found.append(Sheet(("codes", *(f"{width} bits" for width in bits)), tuple(body), title, tuple(caption)))
    return found


def _pair(rows: Sequence[Row], method: str, bits: int, cell: Any) -> str:
    texts = [cell(row) for look in ("", "int8") for row in _picked(rows, method, bits, look)[:1]]
    return " | ".join(texts) or "-"


def _picked(rows: Sequence[Row], method: str, bits: int, look: str) -> list[Row]:
    """Rows of a method, the shortest shortlist first."""
    return [row for row in rows if (row["method"], row["bits"], row.get("look")) == (method, bits, look)]


def _candidates(rows: Sequence[Row]) -> list[int]:
    return sorted({row["candidates"] for row in rows if "candidates" in row})


def _micro(row: Row) -> str:
    return f"{row['seconds_per_query'] * 1e6:.3g}"


def _notes(rows: Sequence[Row]) -> list[str]:
    """What was refused or has other bits than the column says."""
    said: dict[str, list[str]] = {}
    for row in rows:
        if "note" in row:
            said.setdefault(f"{row['method']}: {row['note']}", []).append(str(row["bits"] or ""))
        elif row.get("bits_used", row["bits"]) != row["bits"]:
            said.setdefault(f"{row['method']}: {row['bits_used']} bits, all dimensions there are", []).append(
                str(row["bits"])
            )
    return [f"{note} ({', '.join(dict.fromkeys(bits))})" for note, bits in said.items()]


def verdicts(rows: Sequence[Row]) -> list[Sheet]:
    """Fitted and learned codes beside sign and random planes at equal bits, and what the second look keeps, by set."""
    found, lists = [], _candidates(rows)
    looks = [*(f"int8, {count}" for count in lists), *(f"float32, {count}" for count in lists[:1])]
    header = ("codes", "recall@10", "of float", "better sign", "lsh", "ahead of sign", *looks)
    caption = f"last columns: share of the float recall@10 kept by a second look, by candidates; bold: {LEAST:.0%}"
    for name in dict.fromkeys(row["set"] for row in rows):
        mine, body = [row for row in rows if row["set"] == name], []
        base = next(row["recall"] for row in mine if row["method"] == "float")
        for method in [m for m in ("itq", "cca_itq", "contrastive") if any(row["method"] == m for row in mine)]:
            for bits in sorted({row["bits"] for row in mine if row["method"] == method and "recall" in row}):
                code, sign, centred, lsh = (
                    _picked(mine, m, bits, "")[0]["recall"] for m in (method, "sign", "sign, centred", "lsh")
                )
                best = max(sign, centred)
                kept = [
                    row["recall"] / base for look in ("int8", "float32") for row in _picked(mine, method, bits, look)
                ]
                shares = (f"{method}, {bits}", f"{code:.4f}", f"{code / base:.1%}", f"{best:.4f}", f"{lsh:.4f}")
                ahead = Cell("yes" if code > best else "NO")
                body.append((*map(Cell, shares), ahead, *(Cell(f"{share:.1%}", bold=share >= LEAST) for share in kept)))
        if body:
            found.append(Sheet(header, tuple(body), f"{name}: what codes keep", (caption,)))
    return found


def show(report: Row) -> None:
    """Print all tables."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for sheet in sheets(report["rows"]):
        console.print(sheet.terminal())
    for sheet in verdicts(report["rows"]):
        console.print(sheet.terminal())
    console.print(MODEST)
    console.print(f"chosen: {report['chosen']}", f"options: {report['options']}", sep="\n", markup=False)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Recall against query time and against bytes: codes alone, joined by width, and after a second look."""
    names = [name for name in SHOWN if any(row["set"] == name for row in rows)] or [rows[0]["set"]]
    figure = Figure(figsize=(10, 0.9 + 3.4 * len(names)), dpi=110, facecolor="white", layout="constrained")
    panels = figure.subplots(len(names), 2, squeeze=False, sharey="row")
    for name, line in zip(names, panels, strict=True):
        mine = [row for row in rows if row["set"] == name and "recall" in row]
        for axes, key, scale, label in zip(
            line, ("seconds_per_query", "bytes"), (1e6, 1), ("µs a query, one thread", "bytes an item"), strict=True
        ):
            _panel(axes, mine, key, scale)
            axes.set_xlabel(label, fontsize=9, color=INK)
        line[0].set_ylabel("recall@10", fontsize=9, color=INK)
        line[0].set_title(f"{name}: {mine[0]['items']:,} items", fontsize=10, color=INK, loc="left")
    widths = ", ".join(map(str, sorted({row["bits"] for row in rows if row["bits"]})))
    handles = [Line2D([], [], color=color, marker="o", ms=5, lw=1.4, label=name) for name, color in COLORS.items()
               if any(row["method"] == name and row["set"] in names for row in rows)]  # fmt: skip
    handles += [
        Line2D([], [], color=INK, marker="s", mfc="white", ms=5, lw=1.4, ls=":",
               label=f"after a second look, int8, {_candidates(rows)[0]} candidates"),
        Line2D([], [], lw=0, label=f"joined: {widths} bits"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    FigureCanvasAgg(figure).print_png(path)


def _panel(axes: Any, rows: Sequence[Row], key: str, scale: float) -> None:
    for method, color in COLORS.items():
        for look, style in (("", "-o"), ("int8", ":s")):
            widths = sorted({row["bits"] for row in rows if row["method"] == method})
            points = [row for bits in widths for row in _picked(rows, method, bits, look)[:1]]
            x, y = [row[key] * scale for row in points], [row["recall"] for row in points]
            axes.plot(x, y, style, color=color, mfc="white" if look else color, mec=color, ms=5, lw=1.4)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, labelcolor=INK)

"""Charts that compare runs: values with their intervals, precision against recall, a metric against bits and by class.

Each function takes plain numbers and returns a figure; nothing here measures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from hashret.report.drawing import COLORS, DASHES, GRID, INK, MARKS, MUTED, frame, label, new_figure, panel_title
from hashret.report.lettering import families

__all__ = ["bits_figure", "classes_figure", "interval_figure", "recall_figure"]

WIDTH, ROW_NAME = 7.6, 2.2  # inches
FEW_POINTS = 40  # curves of so few points have each marked
MOST_POINTS = 240  # a drawn curve has no more

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
Value = tuple[float, float, float]


def interval_figure(values: Mapping[str, Mapping[str, Value]], metric: str, floors: Collection[str] = ()) -> Figure:
    """A metric and its interval, a row a run and a panel a task.

    Args:
        values: Task -> run -> (value, low, high).
        metric: Its name.
        floors: Rows that are no runs, drawn as squares and in grey.
    """
    names = list(dict.fromkeys(name for row in values.values() for name in row))
    figure = new_figure(WIDTH, 0.75 + 0.26 * len(names))
    panels = _panels(figure, list(values), share_y=True)
    for task, axes in panels.items():
        for place, name in enumerate(names):
            if name in values[task]:
                value, low, high = values[task][name]
                color, mark = (MUTED, "s") if name in floors else (COLORS[0], "o")
                axes.plot([low, high], [place, place], color=color, lw=2.4, solid_capstyle="butt")
                axes.plot(value, place, mark, ms=5.4, color=color, mec="white", mew=0.9)
        frame(axes, "", metric)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.margins(x=0.06)
        axes.set_ylim(len(names) - 0.5, -0.5)
    _row_names(next(iter(panels.values())), names)
    return figure


def recall_figure(curves: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Precision against recall, a panel a task and a line a run.

    Args:
        curves: Task -> run -> (recall, precision), each float64 (n,), NaN where nothing was found.
    """
    names = list(dict.fromkeys(name for row in curves.values() for name in row))
    figure = new_figure(WIDTH, 3.5 + 0.2 * _legend_rows(names))
    for task, axes in _panels(figure, list(curves), share_y=True).items():
        for place, name in enumerate(names):
            if name in curves[task]:
                recall, precision = (part[_kept(curves[task][name])] for part in curves[task][name])
                mark = MARKS[place % len(MARKS)] if len(recall) <= FEW_POINTS else ""
                axes.plot(recall, precision, label=label(name), marker=mark, ms=3.4, **_look(place))
        frame(axes, "precision", "recall")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _tidy(figure, names)
    return figure


def bits_figure(points: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], metric: str) -> Figure:
    """A metric against the width of the codes, a panel a task: a point a run, a line through the means of a method.

    Args:
        points: Task -> method -> (bits, value) of its runs.
        metric: Its name.
    """
    names = list(dict.fromkeys(name for row in points.values() for name in row))
    widths = sorted({bits for row in points.values() for found in row.values() for bits, _ in found})
    figure = new_figure(WIDTH, 2.9 + 0.2 * _legend_rows(names))
    for task, axes in _panels(figure, list(points), share_y=False).items():
        for place, name in enumerate(names):
            found = points[task].get(name, ())
            own = sorted({bits for bits, _ in found})
            means = [float(np.mean([value for bits, value in found if bits == width])) for width in own]
            look = _look(place)
            axes.plot(own, means, label=label(name), marker=MARKS[place % len(MARKS)], ms=5, **look)
            xs, ys = zip(*found, strict=True) if found else ((), ())
            axes.plot(xs, ys, ".", ms=5, color=look["color"], alpha=0.55, mec="none")
        frame(axes, metric, "bits")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(widths))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(widths, [str(width) for width in widths])
        axes.margins(x=0.12, y=0.12)
    _tidy(figure, names)
    return figure


def classes_figure(values: Mapping[str, Mapping[str, NDArray[np.float64]]], classes: Sequence[str]) -> Figure:
    """Mean average precision by class, a row a class, a panel a task, a mark a run.

    Args:
        values: Task -> run -> means, float64 (C,), NaN of a class without a query.
        classes: C names, in the order they are drawn.
    """
    names = list(dict.fromkeys(name for row in values.values() for name in row))
    figure = new_figure(WIDTH, 0.85 + 0.185 * len(classes) + 0.2 * _legend_rows(names))
    panels = _panels(figure, list(values), share_y=True)
    rows = np.arange(len(classes))
    for task, axes in panels.items():
        axes.hlines(rows, 0, 1, color=GRID, lw=0.8, zorder=0.5)
        for place, name in enumerate(names):
            if name in values[task]:
                axes.plot(
                    values[task][name], rows, ls="none", marker=MARKS[place % len(MARKS)], ms=4.6, label=label(name),
                    color=COLORS[place % len(COLORS)], mec="white", mew=0.5,
                )  # fmt: skip
        frame(axes, "", "mean average precision")
        axes.grid(axis="y", visible=False)
        axes.set(xlim=(0, 1), ylim=(len(classes) - 0.5, -0.5))
    _row_names(next(iter(panels.values())), classes)
    _tidy(figure, names)
    return figure


def _panels(figure: Figure, tasks: Sequence[str], *, share_y: bool) -> dict[str, Axes]:
    """A panel a task, side by side, its name above."""
    found = figure.subplots(1, len(tasks), squeeze=False, sharey=share_y)[0]
    for task, axes in zip(tasks, found, strict=True):
        panel_title(axes, task, WIDTH / len(tasks) - 0.6)
        axes.tick_params(axis="y", length=0)
    return dict(zip(tasks, found, strict=True))


def _row_names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [label(name, width=ROW_NAME) for name in names])
    for tick in axes.get_yticklabels():
        tick.set(family=list(families()))


def _tidy(figure: Figure, names: Sequence[str]) -> None:
    """Axis labels on the first panel only, and one legend below all panels, where it covers nothing."""
    for axes in figure.axes[1:]:
        axes.set_ylabel("")
    if len(names) > 1:
        handles = {
            text: handle for axes in figure.axes for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            handles.values(), handles, loc="outside lower left", ncols=_legend_columns(names), frameon=False,
            handlelength=2.8, labelcolor=INK, prop={"family": list(families()), "size": 8},
        )  # fmt: skip


def _legend_columns(names: Sequence[str]) -> int:
    return min(len(names), 3)


def _legend_rows(names: Sequence[str]) -> int:
    return -(-len(names) // _legend_columns(names)) if len(names) > 1 else 0


def _look(place: int) -> dict[str, Any]:
    """How the line of the run at a place is drawn."""
    dashes = DASHES[(place + place // len(COLORS)) % len(DASHES)]
    return {"color": COLORS[place % len(COLORS)], "ls": dashes, "lw": 1.5, "mec": "none"}


def _kept(curve: Curve) -> NDArray[np.int64]:
    """Places of a curve that are drawn: those with values, and of many so many that none is missed by the eye."""
    places = np.flatnonzero(~np.isnan(curve[1]))
    if len(places) <= MOST_POINTS:
        return places
    steps = np.geomspace(1, len(places), MOST_POINTS).round().astype(np.int64) - 1
    return places[np.unique(steps)]

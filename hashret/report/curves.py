"""Curves: how a run's losses and validation scores went, and precision against recall.

A loss term has one colour in all stages. Nothing is smoothed, and nothing is computed but the best epoch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from hashret.errors import InputError
from hashret.report.drawing import COLORS, INK, frame, label, legend, line, new_figure, panel_title, save, styles

__all__ = ["precision_recall_curves", "training_curves", "training_figure"]

LOG_RANGE = 10  # losses whose largest is so many times their smallest are drawn on a logarithmic scale

# Inches.
WIDTH, LOSS_HEIGHT, SCORE_HEIGHT, LABELS = 7.6, 1.5, 0.9, 0.75
LEGEND_LINE = 0.18


def training_curves(log: Sequence[Mapping[str, Any]], path: str | os.PathLike[str], title: str = "") -> None:
    """Draw :func:`training_figure` into a file.

    Args:
        log: The lines of a run's ``log.jsonl``.
        path: The PNG or SVG to write, atomically.
        title: A line above; empty for none.

    Raises:
        InputError: The log has no epoch.
        FileError: The place cannot be written.
    """
    save(training_figure(log, title), path)


def training_figure(log: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """The mean of each loss term and the validation score, epoch by epoch, one panel a stage.

    Args:
        log: The lines of a run's ``log.jsonl``: ``{"event": "epoch", "stage": "codes", "epoch": 3,
            "losses": {"pair": 1.2}, "validation": 0.71, ...}``. Lines of other events are passed over; ``validation``
            may be None or missing.
        title: A line above; empty for none.

    Raises:
        InputError: The log has no epoch.
    """
    epochs = [row for row in log if row.get("event") == "epoch"]
    if not epochs:
        raise InputError(
            "log", expected="at least one epoch", got=f"{len(log)} lines without one", remedy="Let an epoch end first."
        )
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for row in epochs:
        stages.setdefault(row["stage"], []).append(row)
    looks = styles([name for row in epochs for name in row["losses"]])
    scored = {stage for stage, rows in stages.items() if any(row.get("validation") is not None for row in rows)}
    heights = []
    for stage, rows in stages.items():
        terms = len({name for row in rows for name in row["losses"]})
        heights += [max(LOSS_HEIGHT, terms * LEGEND_LINE), *([SCORE_HEIGHT] if stage in scored else [])]
    figure = new_figure(WIDTH, sum(heights) + LABELS * len(stages), title)
    grid = iter(figure.add_gridspec(len(heights), 1, height_ratios=heights))
    for stage, rows in stages.items():
        axes = figure.add_subplot(next(grid))
        panel_title(axes, stage, 4.5)
        _losses(axes, rows, looks)
        if stage in scored:
            axes.tick_params(labelbottom=False)
            axes = figure.add_subplot(next(grid), sharex=axes)
            _validation(axes, rows)
        axes.set_xlabel("epoch", fontsize=8.5, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        first, last = (pick(row["epoch"] for row in rows) for pick in (min, max))
        pad = 0.6 + 0.012 * (last - first)
        axes.set_xlim(first - pad, last + pad)
    figure.align_ylabels()
    return figure


def precision_recall_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], path: str | os.PathLike[str], title: str = ""
) -> None:
    """Draw precision against recall.

    Args:
        curves: Name -> (recall, precision), each numbers (n,) in [0, 1], in the order they are joined.
        path: The PNG or SVG to write, atomically.
        title: A line above; empty for none.

    Raises:
        InputError: No curve, or arrays that are empty, of different shapes, or outside [0, 1].
        FileError: The place cannot be written.
    """
    if not curves:
        raise InputError(
            "curves", expected="at least one", got="none", remedy="Give a name with its recall and precision."
        )
    figure = new_figure(WIDTH, 4.4, title)
    axes = figure.subplots()
    looks = styles(list(curves))
    for name, (recall, precision) in curves.items():
        x, y = _unit(recall, f"recall of {name}"), _unit(precision, f"precision of {name}")
        if x.shape != y.shape:
            raise InputError(
                f"curve {name}", expected=f"as many precisions as recalls, {len(x)}", got=str(len(y)),
                remedy="Give one precision a recall.",
            )  # fmt: skip
        line(axes, x, y, label(name), looks[name], marker="o" if len(x) <= 40 else "")
    frame(axes, "precision")
    axes.set_xlabel("recall", fontsize=8.5, color=INK)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    legend(axes)
    save(figure, path)


def _losses(axes: Axes, rows: Sequence[Mapping[str, Any]], looks: Mapping[str, tuple[str, Any]]) -> None:
    """One line a loss term; on a logarithmic scale where all are positive and their range is wide."""
    terms: dict[str, tuple[list[int], list[float]]] = {}
    for row in rows:
        for name, value in row["losses"].items():
            xs, ys = terms.setdefault(name, ([], []))
            xs.append(row["epoch"])
            ys.append(value)
    # A term that is always zero (its weight is) has no place on a logarithmic scale, and is no reason against one.
    silent = {name for name, (_, ys) in terms.items() if not any(ys)}
    values = [y for name, (_, ys) in terms.items() if name not in silent for y in ys]
    logarithmic = bool(values) and min(values) > 0 and max(values) > LOG_RANGE * min(values)
    for name, (xs, ys) in terms.items():
        zero = name in silent
        drawn = [math.nan] * len(ys) if zero and logarithmic else ys
        line(
            axes,
            xs,
            drawn,
            label(name, " (always 0)" if zero else ""),
            looks[name],
            marker="o" if len(xs) <= 40 else "",
        )
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if max(values) > 100 * min(values) else (1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    frame(axes, "mean loss")
    legend(axes)


def _validation(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """The validation score, its best epoch marked and named."""
    points = [(row["epoch"], row["validation"]) for row in rows if row.get("validation") is not None]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    line(axes, xs, ys, "validation score", (INK, "-"), marker="o" if len(xs) <= 40 else "")
    best = int(np.argmax(ys))
    axes.plot(
        xs[best], ys[best], "o", ms=9, mfc="none", mec=COLORS[1], mew=1.6, clip_on=False, zorder=4,
        label=f"best: {ys[best]:.4f}, epoch {xs[best]}",
    )  # fmt: skip
    frame(axes, "score")
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.margins(y=0.15)
    legend(axes)


def _unit(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size or not ((array >= 0) & (array <= 1)).all():
        span = f", {array.min()} ... {array.max()}" if array.size else ""
        raise InputError(
            name, expected="numbers (n,) in [0, 1]", got=f"shape {array.shape}{span}",
            remedy="Leave queries without a right answer out of the mean.",
        )  # fmt: skip
    return array

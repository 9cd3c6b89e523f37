"""The health of a run's codes as a picture: balance of the bits, their correlation, and distances of pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from hashret.evaluation.health import Health
from hashret.report.charts import WIDTH
from hashret.report.drawing import COLORS, INK, MUTED, frame, new_figure, panel_title
from hashret.report.lettering import families

__all__ = ["distances_figure", "health_figure"]

Counts = NDArray[np.int64]
# Blue below, vermilion above, which the colour-blind tell apart; nothing is grey, so that a constant bit can be.
_CORRELATION = LinearSegmentedColormap.from_list("correlation", [COLORS[0], "#F7F7F7", COLORS[1]]).with_extremes(
    bad="#C4C8CC"
)


def health_figure(health: Mapping[str, Health]) -> Figure:
    """Balance of each bit and correlation between bits, a row a kind of item.

    Args:
        health: Kind of item ("images", "texts") -> how its codes use their bits.
    """
    figure = new_figure(WIDTH, 2.45 * len(health) + 0.3)
    grid = figure.add_gridspec(len(health), 2, width_ratios=(1.75, 1))
    for row, (kind, found) in enumerate(health.items()):
        _balance(figure.add_subplot(grid[row, 0]), kind, found)
        axes = figure.add_subplot(grid[row, 1])
        shown = axes.imshow(
            np.ma.masked_invalid(found.correlation), cmap=_CORRELATION, vmin=-1, vmax=1, interpolation="nearest"
        )
        panel_title(axes, f"correlation, {kind}", 2.4)
        frame(axes, "bit", "bit")
        axes.grid(visible=False)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        bar = figure.colorbar(shown, ax=axes, shrink=0.9, ticks=(-1, 0, 1))
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, color=MUTED, labelcolor=INK)
    return figure


def _balance(axes: Axes, kind: str, found: Health) -> None:
    """How far each bit is from being set in half of the codes."""
    bits = np.arange(len(found.balance))
    axes.bar(bits, found.balance - 0.5, bottom=0.5, width=0.8, color=COLORS[0])
    axes.axhline(0.5, color=INK, lw=0.9)
    frame(axes, "codes with the bit set", "bit")
    axes.grid(axis="x", visible=False)
    axes.set(ylim=(0, 1), xlim=(-1, len(bits)))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    panel_title(axes, f"balance, {kind}", 4)


def distances_figure(pairs: Mapping[str, tuple[Counts, Counts]]) -> Figure:
    """How far relevant and irrelevant pairs lie, each as shares of its kind, a panel a task.

    Args:
        pairs: Task -> relevant and irrelevant pairs at each distance, int64 (bits + 1,).
    """
    figure = new_figure(WIDTH, 2.75)
    panels = figure.subplots(1, len(pairs), squeeze=False, sharey=True)[0]
    for axes, (task, both) in zip(panels, pairs.items(), strict=True):
        looks = (("relevant", COLORS[2], "-", ""), ("irrelevant", COLORS[1], (0, (4, 1.4)), "////"))
        for (name, color, dashes, hatch), counts in zip(looks, both, strict=True):
            shares = counts / max(int(counts.sum()), 1)
            edges = np.arange(len(counts) + 1) - 0.5
            axes.stairs(shares, edges, fill=True, color=color, alpha=0.18, hatch=hatch, ec=color, lw=0)
            axes.stairs(shares, edges, color=color, lw=1.6, ls=dashes, label=f"{name} pairs")
        frame(axes, "share of the pairs" if axes is panels[0] else "", "Hamming distance")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlim(-0.5, len(both[0]) - 0.5)
        axes.tick_params(axis="y", length=0)
        panel_title(axes, task, WIDTH / len(pairs) - 0.6)
    panels[0].set_ylim(
        0, 1.08 * max(float(counts.max() / max(counts.sum(), 1)) for both in pairs.values() for counts in both)
    )
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower left", ncols=2, frameon=False, handlelength=2.8, labelcolor=INK,
        prop={"family": list(families()), "size": 8},
    )  # fmt: skip
    return figure

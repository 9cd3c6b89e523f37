"""Charts: what is drawn is asked of the axes, and nothing leaves the page or covers a curve."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from synthetic_runs import findings

from hashret.report.charts import MOST_POINTS, classes_figure, interval_figure, recall_figure
from hashret.report.drawing import drawn
from hashret.report.health_chart import distances_figure, health_figure


def check_layout(figure):
    """No axes and no legend overlap, all texts are on the page."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    boxes = [part.get_tightbbox(renderer) for part in (*figure.axes, *figure.legends)]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.shrunk(0.99, 0.99).overlaps(b)]
    page = figure.bbox
    assert all(b.x0 > -1 and b.y0 > -1 and b.x1 < page.x1 + 1 and b.y1 < page.y1 + 1 for b in boxes)


def test_recall_draws_what_was_found_and_of_much_enough():
    recall, precision = np.linspace(0, 1, 5), np.array([np.nan, 0.9, 0.8, 0.7, 0.6])
    long = np.linspace(0, 1, 5000)
    figure = recall_figure({"i2t": {"short": (recall, precision), "long": (long, 1 - long / 2)}, "t2i": {}})
    short, thinned = figure.axes[0].lines
    np.testing.assert_array_equal(short.get_xydata(), np.stack([recall, precision], 1)[1:])
    assert len(thinned.get_xdata()) <= MOST_POINTS
    assert (thinned.get_xdata()[0], thinned.get_xdata()[-1]) == (0, 1)
    np.testing.assert_allclose(thinned.get_ydata(), 1 - thinned.get_xdata() / 2)
    check_layout(figure)


def test_intervals_and_names_of_any_length():
    names = ["a" * 90, "b", "_c", "$d$"]
    figure = interval_figure({"i2t": {name: (0.5, 0.4, 0.7) for name in names}, "t2i": {"b": (0.1, 0.1, 0.2)}}, "map")
    bars = figure.axes[0].lines[::2]
    assert [bar.get_xdata().tolist() for bar in bars] == [[0.4, 0.7]] * 4
    assert len(figure.axes[1].lines) == 2
    check_layout(figure)


@pytest.mark.parametrize("count", [1, 80])
def test_classes_have_a_row_each(count):
    means = np.linspace(0, 1, count)
    figure = classes_figure({"t2i": {"one": means, "two": means[::-1]}}, [f"class {n}" for n in range(count)])
    one, two = figure.axes[0].lines
    np.testing.assert_array_equal(one.get_xydata(), np.stack([means, np.arange(count)], 1))
    np.testing.assert_array_equal(two.get_xdata(), means[::-1])
    check_layout(figure)


def test_health_is_drawn_as_it_is():
    found = findings(tasks=("i2t", "t2i"))
    figure = health_figure(found.health)
    bars = [bar.get_y() + bar.get_height() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(bars, found.health["texts"].balance)
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), found.health["texts"].correlation)
    assert drawn(figure, "svg") == drawn(health_figure(found.health), "svg")


def test_distances_are_shares_and_fit_the_axes():
    wide, sharp = np.full(9, 5), np.array([0, 0, 0, 100, 0, 0, 0, 0, 0])
    figure = distances_figure({"i2t": (wide, wide), "t2i": (wide, sharp)})
    for axes, both in zip(figure.axes, ((wide, wide), (wide, sharp)), strict=True):
        lines = [patch.get_data().values for patch in axes.patches[1::2]]
        np.testing.assert_allclose(lines, [counts / counts.sum() for counts in both])
        assert axes.get_ylim()[1] > 1
    check_layout(figure)

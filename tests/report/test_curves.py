"""Curves: the PNG is read back; what is drawn is asked of the axes where pixels cannot tell."""

import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from hashret.errors import FileError, InputError
from hashret.report import curves as curves_file
from hashret.report import precision_recall_curves, training_curves


def epochs(stage, terms, count=5, validation=True):
    """Log lines of a stage whose terms fall linearly from their value to half of it."""
    return [
        {
            "event": "epoch", "stage": stage, "epoch": e + 1, "seconds": 1.0,
            "losses": {name: value * (1 - e / (2 * count)) for name, value in terms.items()},
            "validation": 0.5 + 0.1 * np.sin(e) if validation else None,
        }
        for e in range(count)
    ]  # fmt: skip


@pytest.fixture
def figure(monkeypatch):
    """The figure that was saved last, besides writing it."""
    saved = []
    write = curves_file.save
    monkeypatch.setattr(curves_file, "save", lambda figure, path: (saved.append(figure), write(figure, path)))
    return lambda: saved[-1]


def size_of(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        return image.size


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def overlapping(figure):
    """Pairs of axes and legends whose drawn boxes overlap, and boxes that leave the page."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent(renderer) for axes in figure.axes]
    boxes += [axes.get_legend().get_window_extent(renderer) for axes in figure.axes]
    page = figure.bbox
    outside = [b for b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > page.x1 + 1 or b.y1 > page.y1 + 1]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]
    return pairs, outside


def test_one_panel_a_stage_and_one_for_its_scores(tmp_path, figure):
    log = [
        {"event": "start", "stage": "nothing"},
        *epochs("image_to_text", {"reconstruction": 0.9}, validation=False),
        *epochs("student", {"classification": 3.0, "pair": 1.0}),
    ]
    training_curves(log, tmp_path / "curves.png", "CRCGS")
    width, height = size_of(tmp_path / "curves.png")
    assert width == 1140
    assert 600 < height < 1400
    first, losses, scores = figure().axes
    assert first.get_title("left") == "image_to_text"
    assert losses.get_title("left") == "student"
    assert legend(losses) == ["classification", "pair"]
    np.testing.assert_allclose(losses.lines[0].get_ydata(), [3.0 * (1 - e / 10) for e in range(5)])
    np.testing.assert_allclose(scores.lines[0].get_ydata(), 0.5 + 0.1 * np.sin(np.arange(5)))
    assert list(scores.lines[0].get_xdata()) == [1, 2, 3, 4, 5]


def test_the_best_epoch_is_marked(tmp_path, figure):
    training_curves(epochs("student", {"pair": 1.0}), tmp_path / "curves.png")
    best = figure().axes[1].lines[1]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (3, pytest.approx(0.5 + 0.1 * np.sin(2)))
    assert legend(figure().axes[1])[1] == "best: 0.5909, epoch 3"


def test_validation_that_is_not_measured_every_epoch(tmp_path, figure):
    log = epochs("student", {"pair": 1.0})
    log[1]["validation"] = None
    del log[3]["validation"]
    training_curves(log, tmp_path / "curves.png")
    assert list(figure().axes[1].lines[0].get_xdata()) == [1, 3, 5]


def test_a_term_looks_the_same_in_all_stages_and_like_no_other(tmp_path, figure):
    names = [f"term {i}" for i in range(20)]
    log = epochs("a", dict.fromkeys(names, 1.0)) + epochs("b", dict.fromkeys(reversed(names), 1.0))
    training_curves(log, tmp_path / "curves.png")
    looks = []
    for axes in (figure().axes[0], figure().axes[2]):
        looks.append({line.get_label(): (line.get_color(), line._unscaled_dash_pattern) for line in axes.lines})
    assert looks[0] == looks[1]
    assert len({str(look) for look in looks[0].values()}) == 20


@pytest.mark.parametrize(
    ("terms", "scale"),
    [
        ({"a": 1.0, "b": 100.0}, "log"),
        ({"a": 1.0, "b": 3.0}, "linear"),
        ({"a": 1.0, "b": -100.0}, "linear"),
        ({"a": 1.0, "b": 100.0, "c": 0.0}, "log"),
        ({"a": 0.0}, "linear"),
    ],
)
def test_wide_positive_ranges_are_logarithmic(tmp_path, figure, terms, scale):
    training_curves(epochs("a", terms), tmp_path / "curves.png")
    assert figure().axes[0].get_yscale() == scale


def test_a_term_that_is_always_zero_is_said_to_be(tmp_path, figure):
    training_curves(epochs("hash", {"structure": 8.0, "pair": 0.1, "quantization": 0.0}), tmp_path / "curves.png")
    assert legend(figure().axes[0]) == ["structure", "pair", "quantization (always 0)"]


@pytest.mark.parametrize("terms", [1, 7, 25])
@pytest.mark.parametrize("stages", [1, 4])
def test_nothing_overlaps_and_nothing_is_cut(tmp_path, figure, terms, stages):
    log = []
    for stage in range(stages):
        losses = {f"a rather long name of a loss term, {i}": 10.0 ** (i % 5) for i in range(terms)}
        log += epochs(f"stage {stage}", losses, count=3, validation=stage % 2 == 0)
    training_curves(log, tmp_path / "curves.png", "title")
    assert overlapping(figure()) == ([], [])


def test_single_epochs_long_runs_and_strange_names(tmp_path, figure):
    training_curves(epochs("one", {"pair": 1.0}, count=1), tmp_path / "one.png")
    left, right = figure().axes[1].get_xlim()
    assert [tick for tick in figure().axes[1].get_xticks() if left <= tick <= right] == [1]
    training_curves(epochs("long", {"pair": 1.0}, count=500), tmp_path / "long.png")
    names = ["_private", "$x$ and $y$", "日本語 🐕", "x" * 200, ""]
    training_curves(epochs("$tage_\n" * 30, dict.fromkeys(names, 1.0)), tmp_path / "names.png", "$ti_tle$ " * 50)
    assert len(legend(figure().axes[0])) == 5
    assert overlapping(figure()) == ([], [])


def test_precision_against_recall(tmp_path, figure):
    recall = np.linspace(0, 1, 65)
    curves = {f"{m}, {t}": (recall, (1 - recall) ** (i + 1)) for i, m in enumerate("ab") for t in ("i2t", "t2i")}
    precision_recall_curves(curves, tmp_path / "pr.png", "Precision and recall")
    assert size_of(tmp_path / "pr.png") == (1140, 660)
    axes = figure().axes[0]
    assert legend(axes) == list(curves)
    for line, (x, y) in zip(axes.lines, curves.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), x)
        np.testing.assert_array_equal(line.get_ydata(), y)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")
    assert overlapping(figure()) == ([], [])


def test_curves_of_one_point_and_plain_lists(tmp_path):
    precision_recall_curves({"one": ([0.3], [0.8]), "few": ([0, 0.5, 1], [1, 0.4, 0.2])}, tmp_path / "pr.png")
    assert size_of(tmp_path / "pr.png") == (1140, 660)


def test_mistakes_have_names(tmp_path):
    path = tmp_path / "x.png"
    for log in ([], [{"event": "start"}]):
        with pytest.raises(InputError, match="at least one epoch"):
            training_curves(log, path)
    with pytest.raises(InputError, match="at least one, got none"):
        precision_recall_curves({}, path)
    with pytest.raises(InputError, match="curve a: expected as many precisions as recalls, 2, got 1"):
        precision_recall_curves({"a": ([0, 1], [1])}, path)
    for bad in ([0.5, 1.5], [0.5, np.nan], [], [[0.5]]):
        with pytest.raises(InputError, match="recall of a"):
            precision_recall_curves({"a": (bad, [1, 1])}, path)
    with pytest.raises(FileError):
        precision_recall_curves({"a": ([0], [1])}, tmp_path / "missing" / "x.png")
    assert not list(tmp_path.iterdir())


def test_no_global_state_of_pyplot_is_touched(tmp_path):
    training_curves(epochs("a", {"pair": 1.0}), tmp_path / "curves.png")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()

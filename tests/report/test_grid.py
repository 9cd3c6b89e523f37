"""Retrieval grids: the PNG is read back and its pixels are asked."""

import numpy as np
import pytest
from PIL import Image

from hashret.errors import FileError, ImageError, InputError
from hashret.report import Answer, GridRow, retrieval_grid
from hashret.report.grid import NEUTRAL, RIGHT, WRONG

LONG = "a brown dog with a very long stick in its mouth runs through deep snow towards the camera " * 6


def picture(color="teal", size=(64, 64)):
    return Image.new("RGB", size, color)


def draw(folder, rows, title=""):
    """The pixels (H, W, 3) of the file that was written."""
    path = folder / "grid.png"
    retrieval_grid(rows, path, title)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def count(pixels, color):
    """How many pixels have the colour, exactly."""
    rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return int((pixels == rgb).all(-1).sum())


def test_right_and_wrong_have_their_frame_and_unjudged_answers_have_neither(tmp_path):
    right = draw(tmp_path, [GridRow("dog", [Answer(picture(), True, "distance 3")])])
    wrong = draw(tmp_path, [GridRow("dog", [Answer(picture(), False, "distance 3")])])
    unknown = draw(tmp_path, [GridRow("dog", [Answer(picture(), None, "distance 3")])])
    assert count(right, RIGHT) > 2000  # frame, badge, and the badge of the legend
    assert count(wrong, WRONG) > 2000
    assert count(unknown, RIGHT) == count(unknown, WRONG) == 0
    assert count(unknown, NEUTRAL) > 500
    assert unknown.shape[0] < right.shape[0]  # no legend where nothing is judged


def test_the_marks_differ_without_colour(tmp_path):
    """The badge of a right answer has a white check, that of a wrong one a white cross: same place, other shape."""
    badges = []
    for right in (True, False):
        pixels = draw(tmp_path, [GridRow("dog", [Answer("cat", right)])])
        ink = (pixels == [int((RIGHT if right else WRONG)[i : i + 2], 16) for i in (1, 3, 5)]).all(-1)
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        y, x = rows.min(), columns.max()  # the badge sits on the upper right corner
        badges.append((pixels[y : y + 28, x - 28 : x] > 240).all(-1))
    differ = (badges[0] != badges[1]).mean()
    assert badges[0].sum() > 30
    assert badges[1].sum() > 30
    assert differ > 0.05


def test_every_answer_is_marked_once(tmp_path):
    def greens(k):
        answers = [Answer(picture(), i < k) for i in range(4)]
        return count(draw(tmp_path, [GridRow("dog", answers)]), RIGHT)

    steps = np.diff([greens(k) for k in range(5)])
    assert (np.abs(steps - steps[0]) <= 0.02 * steps[0]).all()
    assert steps[0] > 1500


def test_images_are_shown_whole_and_pixel_by_pixel(tmp_path):
    wide = Image.new("RGB", (400, 100), "blue")
    wide.paste((255, 0, 0), (0, 0, 40, 100))
    wide.paste((0, 255, 0), (360, 0, 400, 100))
    pixels = draw(tmp_path, [GridRow("dog", [Answer(wide)])])
    red, green, blue = (count(pixels, c) for c in ("#ff0000", "#00ff00", "#0000ff"))
    assert red == pytest.approx(0.1 * 218 * 54, rel=0.15)
    assert green == pytest.approx(red, rel=0.1)
    assert blue == pytest.approx(8 * red, rel=0.15)


@pytest.mark.parametrize("columns", [1, 2, 6, 30])
def test_the_page_grows_with_its_answers(tmp_path, columns):
    pixels = draw(
        tmp_path, [GridRow(picture("navy"), [Answer("a dog", None, f"distance {i}") for i in range(columns)])]
    )
    assert pixels.shape[1] == pytest.approx(150 * (0.6 + 1.45 + 0.36 + columns * 1.67 - 0.22), abs=2)
    rim = np.concatenate([pixels[:20].ravel(), pixels[-20:].ravel(), pixels[:, :20].ravel(), pixels[:, -20:].ravel()])
    assert (rim == 255).all()  # nothing runs off the page


def test_many_rows(tmp_path):
    rows = [GridRow(f"query {i}", [Answer(picture(), i % 2 == 0)]) for i in range(40)]
    one = draw(tmp_path, rows[:1])
    assert draw(tmp_path, rows).shape[0] - one.shape[0] == pytest.approx(39 * 1.85 * 150, abs=40)


@pytest.mark.parametrize(
    "text", ["", "x", LONG, "x" * 3000, "日本語 한국어 🐕 \U00012000", "costs $5 or $6_a^b", "a\nb\tc\x00", "__init__"]
)
def test_no_text_leaves_its_card(tmp_path, text):
    plain = draw(tmp_path, [GridRow("", [Answer(""), Answer(""), Answer("")])])
    pixels = draw(tmp_path, [GridRow("", [Answer(""), Answer(text), Answer("")])])
    assert pixels.shape == plain.shape
    changed = np.argwhere((pixels != plain).any(-1))
    middle = 150 * (0.3 + 1.45 + 0.36 + 1.67)  # left edge of the second answer
    if text:
        assert changed[:, 1].min() > middle + 10
        assert changed[:, 1].max() < middle + 218 - 10
        assert changed[:, 0].max() - changed[:, 0].min() < 218 - 20
    else:
        assert not changed.size


def test_long_captions_take_up_to_three_lines_and_no_more_than_the_card(tmp_path):
    one = draw(tmp_path, [GridRow("dog", [Answer("", None, "a"), Answer("", None, "a"), Answer("", None, "a")])])
    three = draw(tmp_path, [GridRow("dog", [Answer("", None, ""), Answer("", None, LONG), Answer("", None, "")])])
    assert three.shape[0] - one.shape[0] == pytest.approx(2 * 0.2 * 150, abs=2)
    left = round(150 * (0.3 + 1.45 + 0.36 + 1.67))
    beneath = three[-round(150 * (0.3 + 0.6 - 0.03)) :]
    ink = np.flatnonzero((beneath < 200).any((0, 2)))
    assert ink.size
    assert ink.min() >= left - 1
    assert ink.max() <= left + 218 + 1


def test_a_long_title_is_cut(tmp_path):
    row = GridRow("dog", [Answer("cat")])
    assert draw(tmp_path, [row], LONG).shape[1] == draw(tmp_path, [row]).shape[1]


def test_what_stands_behind_the_places_has_no_number(tmp_path):
    rows = [GridRow("a", [Answer("b"), Answer("c"), Answer("d")])]
    whole = draw(tmp_path, rows)
    retrieval_grid(rows, tmp_path / "grid.png", ranked=2)
    with Image.open(tmp_path / "grid.png") as image:
        fewer = np.asarray(image.convert("RGB")).astype(int)
    changed = np.argwhere((whole != fewer).any(-1))
    third = 150 * (0.3 + 1.45 + 0.36 + 2 * 1.67)
    assert len(changed)
    assert changed[:, 1].min() > third
    assert changed[:, 0].max() < 150 * 0.6


def test_rows_of_different_lengths_and_without_answers(tmp_path):
    pixels = draw(tmp_path, [GridRow("a", [Answer("b")] * 3), GridRow("c", []), GridRow("d", [Answer("e")])])
    assert pixels.shape[1] == draw(tmp_path, [GridRow("a", [Answer("b")] * 3)]).shape[1]


def test_images_come_as_pil_arrays_and_paths(tmp_path):
    path = tmp_path / "red.png"
    picture("red").save(path)
    array = np.full((10, 20, 3), (255, 0, 0), np.uint8)
    pixels = draw(tmp_path, [GridRow(path, [Answer(array), Answer(picture("red")), Answer(Image.new("L", (9, 9)))])])
    assert count(pixels, "#ff0000") == pytest.approx(218 * 218 * 2.5, rel=0.05)


def test_mistakes_have_names(tmp_path):
    good = GridRow("dog", [Answer("cat")])
    for rows in ([], [GridRow("dog", [])]):
        with pytest.raises(InputError, match="at least one row"):
            retrieval_grid(rows, tmp_path / "x.png")
    for rows in ([good] * 101, [GridRow("dog", [Answer("cat")] * 31)]):
        with pytest.raises(InputError, match="at most 100 rows of 30"):
            retrieval_grid(rows, tmp_path / "x.png")
    with pytest.raises(ImageError):
        retrieval_grid([GridRow("dog", [Answer(tmp_path / "missing.png")])], tmp_path / "x.png")
    with pytest.raises(FileError):
        retrieval_grid([good], tmp_path / "missing" / "x.png")
    assert not list(tmp_path.iterdir())

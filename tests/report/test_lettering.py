"""Text that fits: measured against what matplotlib draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hashret.report.lettering import DPI, families, legible, wrapped


def drawn_width(line, size):
    """Width in inches of the ink, counted in the pixels of a picture."""
    figure = Figure(figsize=(12, 1), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    figure.text(0.01, 0.4, line, fontsize=size, family=list(families()), parse_math=False)
    canvas.draw()
    dark = np.flatnonzero((np.asarray(canvas.buffer_rgba())[..., :3] < 128).any((0, 2)))
    return (dark.max() - dark.min() + 1) / DPI if dark.size else 0.0


@pytest.mark.parametrize("size", [7.5, 8.0, 9.5, 12.0])
def test_lines_as_drawn_are_not_wider_than_asked(size):
    text = (
        "A large brown dog, wearing a $5 collar_that_has_no_end_at_all_whatever_you_do, leaps over WWWWMMMM iiiilllll"
    )
    for width in (0.6, 1.23, 3.0):
        for line in wrapped(text, size=size, width=width, lines=20):
            assert drawn_width(line, size) <= width


def test_lines_are_as_full_as_they_can_be():
    text = "the quick brown fox jumps over the lazy dog and runs on through the snow"
    lines = wrapped(text, size=8, width=1.2, lines=20)
    assert " ".join(lines) == text
    for line, following in zip(lines, lines[1:], strict=False):
        assert drawn_width(f"{line} {following.split()[0]}", 8) > 1.2 - 0.03


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=120), st.integers(1, 6))
def test_whole_or_cut_with_an_ellipsis(text, lines):
    found = wrapped(text, size=8, width=1.2, lines=lines)
    whole = legible(text)
    assert 1 <= len(found) <= lines
    flat, wanted = "".join("".join(found).split()), "".join(whole.split())
    assert flat == wanted or (flat.endswith("…") and wanted.startswith(flat[:-1]) and len(found) == lines)


def test_the_end_is_cut_where_the_room_ends():
    assert wrapped("word " * 100, size=8, width=1.2, lines=2)[-1].endswith("…")
    assert wrapped("x" * 5000, size=8, width=1.2, lines=3)[-1].endswith("…")
    assert wrapped("short", size=8, width=1.2, lines=3) == ["short"]
    assert wrapped("", size=8, width=1.2, lines=3) == [""]


def test_what_the_fonts_lack_becomes_a_square_and_line_breaks_become_spaces():
    assert legible("a\n\tb\x00c\u200bd  e") == "a b c d e"
    assert legible("über naïve Ωμέγα русский ✓") == "über naïve Ωμέγα русский ✓"
    assert legible("\U00012000") == "\N{WHITE SQUARE}"  # cuneiform

"""Lettering: text that fits its card. Measured in the font it is drawn in, broken into lines, cut with an ellipsis.

Any text can come from a dataset: line breaks, dollar signs, words without an end, scripts the font has no glyphs for.
None of it may overlap its neighbour or make matplotlib warn. This file draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

__all__ = ["DPI", "families", "legible", "wrapped"]

DPI = 150
ELLIPSIS = "…"
_REPLACEMENT = "\N{WHITE SQUARE}"
_LONGEST = 2000  # more than any card holds
# matplotlib brings the first one; the others are taken for what it lacks where a system has them.
_FAMILIES = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "Noto Sans Devanagari",
    "Noto Emoji",
    "Symbola",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Malgun Gothic",
)


@lru_cache
def families() -> tuple[str, ...]:
    """The font families to draw with, in order, all of them installed."""
    installed = {font.name for font in fontManager.ttflist}
    return tuple(name for name in _FAMILIES if name in installed)


@lru_cache
def _glyphs() -> frozenset[int]:
    return frozenset().union(*(get_font(findfont(FontProperties(family=[name]))).get_charmap() for name in families()))


def legible(text: str) -> str:
    r"""One line of text without control characters; characters that no font has become squares.

    Example:
        >>> legible("two  words\nand a tab\there")
        'two words and a tab here'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:_LONGEST]).split())
    return "".join(c if ord(c) in _glyphs() else _REPLACEMENT for c in line)


def wrapped(text: str, *, size: float, width: float, lines: int = 1) -> list[str]:
    """Break text into lines that fit.

    Args:
        text: Anything; see :func:`legible`.
        size: Font size in points.
        width: Width in inches.
        lines: At most so many lines; what is left over is cut and shown by an ellipsis.

    Returns:
        The lines; one empty line for an empty text.

    Example:
        >>> wrapped("a brown dog runs through the snow", size=8, width=1.2, lines=2)
        ['a brown dog runs', 'through the snow']
        >>> wrapped("a brown dog runs through the snow", size=8, width=1.0)
        ['a brown dog ru…']
    """

    def fits(line: str) -> bool:
        return _width(line, size) <= width

    found: list[str] = []
    rest = legible(text)
    while rest and len(found) < lines:
        end = len(rest) if fits(rest) else _break(rest, fits)
        found.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    if rest:
        last = found[-1]
        while last and not fits(last.rstrip() + ELLIPSIS):
            last = last[:-1]
        found[-1] = last.rstrip(" ,.;:") + ELLIPSIS
    return found or [""]


def _break(text: str, fits: Callable[[str], bool]) -> int:
    """Where the first line ends: after the last word that fits, or within a word that is wider than the line."""
    low, high = 1, len(text)  # at least one character, so that every line gets on
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(text[:middle].rstrip()) else (low, middle - 1)
    if low < len(text) and text[low] == " ":
        return low
    space = text.rfind(" ", 0, low)
    return space if space > 0 else low


@lru_cache(4096)
def _width(line: str, size: float) -> float:
    """Width in inches as Agg draws it."""
    font = FontProperties(family=list(families()), size=size)
    pixels, _, _ = RendererAgg(1, 1, DPI).get_text_width_height_descent(line, font, ismath=False)
    return float(pixels) / DPI

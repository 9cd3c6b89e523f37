"""A retrieval grid: each row a query and its nearest answers, right ones and wrong ones marked.

Right is a green frame with a check, wrong an orange one with a cross: the marks tell without the colours, and the
colours are Okabe and Ito's, which the colour-blind tell apart. Nothing is ranked or judged here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from numpy.typing import NDArray
from PIL import Image

from hashret.errors import InputError
from hashret.images import open_image
from hashret.report.drawing import INK, MUTED, save
from hashret.report.lettering import DPI, families, wrapped

__all__ = ["Answer", "GridRow", "retrieval_grid"]

Shown = str | os.PathLike[str] | Image.Image | NDArray[Any]

MOST_ROWS, MOST_ANSWERS = 100, 30

# Inches and points.
CARD, GAP, MARGIN, PAD = 1.45, 0.22, 0.3, 0.11
QUERY_GAP, ROW_GAP, CAPTION, HEADING, TITLE, LEGEND = 0.36, 0.2, 0.2, 0.26, 0.42, 0.32
TEXT_SIZE, QUERY_SIZE, SMALL, TITLE_SIZE, LEADING = 8.0, 9.5, 7.5, 12.0, 1.32
BADGE = 0.1
_CHECK = (((-1, -0.25, 1), (0.1, 0.75, -0.8)),)
_CROSS = (((-0.8, 0.8), (-0.8, 0.8)), ((-0.8, 0.8), (0.8, -0.8)))

RIGHT, WRONG, NEUTRAL = "#009E73", "#D55E00", "#C4C8CC"
CARD_FILL, QUERY_FILL, QUERY_EDGE = "#F6F7F8", "#EAF1F8", "#7A8794"


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer.

    Attributes:
        shown: A text (str), or an image: a PIL image, uint8 pixels or a ``pathlib.Path``.
        right: Whether it answers the query; None where nobody knows.
        caption: Up to three lines beneath it, such as its distance.
    """

    shown: Shown
    right: bool | None = None
    caption: str = ""


@dataclass(frozen=True, eq=False)
class GridRow:
    """One query and its answers, best first.

    Attributes:
        query: A text (str), or an image: a PIL image, uint8 pixels or a ``pathlib.Path``.
        answers: Best first; may be empty.
        caption: Up to three lines beneath it, such as the modifying text of a composed query.
    """

    query: Shown
    answers: Sequence[Answer]
    caption: str = ""


def retrieval_grid(
    rows: Sequence[GridRow], path: str | os.PathLike[str], title: str = "", ranked: int | None = None
) -> None:
    """Draw queries and answers into a picture.

    Args:
        rows: One a query, 1 ... 100, with at most 30 answers each; rows may differ in their number of answers.
        path: The PNG or SVG to write, atomically.
        title: A line above; empty for none.
        ranked: How many columns are places and numbered; what stands behind them is no answer of that place, such as a
            target that was found further down. None for all.

    Raises:
        InputError: No row, no answer at all, or too many of either.
        ImageError: Something that is no text cannot be decoded as an image.
        FileError: The place cannot be written.
    """
    columns = _checked(rows)
    judged = any(answer.right is not None for row in rows for answer in row.answers)
    top = MARGIN + (TITLE if title else 0) + HEADING
    captions = [row.caption for row in rows] + [answer.caption for row in rows for answer in row.answers]
    pitch = CARD + max(len(_caption(caption)) for caption in captions) * CAPTION + ROW_GAP
    sheet = _Sheet(
        Path(path),
        MARGIN * 2 + CARD + QUERY_GAP + columns * CARD + (columns - 1) * GAP,
        top + len(rows) * pitch - ROW_GAP + (LEGEND if judged else 0) + MARGIN,
    )
    first = MARGIN + CARD + QUERY_GAP
    if title:
        sheet.line(MARGIN, MARGIN + 0.08, title, sheet.width - 2 * MARGIN, size=TITLE_SIZE)
    sheet.line(MARGIN, top - 0.15, "query", CARD, size=SMALL, color=MUTED)
    for column in range(columns if ranked is None else min(ranked, columns)):
        centre = first + column * (CARD + GAP) + CARD / 2
        sheet.line(centre, top - 0.15, str(column + 1), CARD, size=SMALL, color=MUTED, align="center")
    for number, row in enumerate(rows):
        y = top + number * pitch
        sheet.query(MARGIN, y, row)
        for column, answer in enumerate(row.answers):
            sheet.answer(first + column * (CARD + GAP), y, answer)
        if not row.answers:
            sheet.line(first, y + CARD / 2, "no answer", CARD, size=SMALL, color=MUTED)
    if judged:
        sheet.legend(first, sheet.height - MARGIN - 0.04)
    save(sheet.figure, sheet.path)


def _caption(text: str) -> list[str]:
    return wrapped(text, size=SMALL, width=CARD, lines=3)


def _checked(rows: Sequence[GridRow]) -> int:
    """Refuse what cannot be drawn; the largest number of answers."""
    columns = max((len(row.answers) for row in rows), default=0)
    if not rows or not columns:
        raise InputError(
            "grid", expected="at least one row with an answer", got=f"{len(rows)} rows, {columns} answers",
            remedy="Give a query and what was found.",
        )  # fmt: skip
    if len(rows) > MOST_ROWS or columns > MOST_ANSWERS:
        raise InputError(
            "grid", expected=f"at most {MOST_ROWS} rows of {MOST_ANSWERS} answers", got=f"{len(rows)} of {columns}",
            remedy="Draw fewer: a picture that large is not looked at.",
        )  # fmt: skip
    return columns


class _Sheet:
    """A page in inches, y downwards, that knows how to draw cards, lines and badges."""

    def __init__(self, path: Path, width: float, height: float) -> None:
        """Make a white page that becomes a PNG, or by the name of its file an SVG."""
        self.path, self.width, self.height = path, width, height
        self.figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def line(
        self, x: float, y: float, text: str, width: float, *, size: float, color: str = INK, align: str = "left"
    ) -> None:
        """One line of text, cut to ``width``, vertically centred on ``y``."""
        self._text(x, y, wrapped(text, size=size, width=width)[0], size, color, align)

    def query(self, x: float, y: float, row: GridRow) -> None:
        """The card of a query, with its caption."""
        self._card(x, y, row.query, QUERY_FILL, QUERY_EDGE, 1.2, QUERY_SIZE)
        self._beneath(x, y, row.caption, INK)

    def answer(self, x: float, y: float, answer: Answer) -> None:
        """The card of an answer, with its caption and its mark."""
        color = NEUTRAL if answer.right is None else RIGHT if answer.right else WRONG
        self._card(x, y, answer.shown, CARD_FILL, color, 1.0 if answer.right is None else 2.6, TEXT_SIZE)
        if answer.right is not None:
            self._badge(x + CARD, y, answer.right)
        self._beneath(x, y, answer.caption, MUTED)

    def legend(self, x: float, y: float) -> None:
        """What the marks mean."""
        for offset, right, word in ((0.0, True, "right"), (0.75, False, "wrong")):
            self._badge(x + offset + BADGE, y, right)
            self.line(x + offset + 2 * BADGE + 0.07, y, word, CARD, size=SMALL, color=MUTED)

    def _beneath(self, x: float, y: float, caption: str, color: str) -> None:
        for number, line in enumerate(_caption(caption)):
            self._text(x + CARD / 2, y + CARD + 0.12 + number * CAPTION * 0.8, line, SMALL, color, "center")

    def _card(self, x: float, y: float, shown: Shown, fill: str, edge: str, line: float, size: float) -> None:
        half = line / 72 / 2  # the frame surrounds the card instead of covering its rim
        frame = Rectangle((x - half, y - half), CARD + 2 * half, CARD + 2 * half, lw=line, ec=edge, joinstyle="miter")
        frame.set_facecolor(fill if isinstance(shown, str) else "none")
        self.axes.add_patch(frame)
        if not isinstance(shown, str):
            self._picture(x, y, open_image(shown), fill)
            return
        leading = size * LEADING / 72
        lines = wrapped(shown, size=size, width=CARD - 2 * PAD, lines=int((CARD - 2 * PAD) / leading))
        begin = y + CARD / 2 - (len(lines) - 1) * leading / 2
        for number, text in enumerate(lines):
            self._text(x + PAD, begin + number * leading, text, size, INK, "left")

    def _picture(self, x: float, y: float, image: Image.Image, fill: str) -> None:
        """The whole image, scaled to the card and centred on it, pixel by pixel so that nothing resamples it again."""
        side = round(CARD * DPI)
        scale = side / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        card = Image.new("RGB", (side, side), fill)
        # Lanczos leaves a rim around what it enlarges.
        fitted = image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.HAMMING)
        card.paste(fitted, ((side - size[0]) // 2, (side - size[1]) // 2))
        if self.path.suffix.lower() == ".svg":  # whose viewers scale it themselves
            place = (x, x + CARD, y + CARD, y)
            self.axes.imshow(np.asarray(card), extent=place, aspect="auto", interpolation="none", zorder=0.5)
            return
        left, bottom = round(x * DPI), round((self.height - y - CARD) * DPI)
        self.figure.figimage(np.asarray(card), left, bottom, origin="upper", zorder=-1)

    def _badge(self, x: float, y: float, right: bool) -> None:
        self.axes.add_patch(Circle((x, y), BADGE, fc=RIGHT if right else WRONG, ec="white", lw=1.0, zorder=3))
        u = BADGE * 0.42
        for xs, ys in _CHECK if right else _CROSS:
            self.axes.plot(
                [x + u * a for a in xs], [y + u * b for b in ys], color="white", lw=1.6, zorder=4,
                solid_capstyle="round", scalex=False, scaley=False,
            )  # fmt: skip

    def _text(self, x: float, y: float, line: str, size: float, color: str, align: str) -> None:
        if line:
            label = self.axes.text(x, y, line, fontsize=size, color=color, ha=align, va="center_baseline")
            label.set(family=list(families()), parse_math=False)

"""Shown: hits beside what their ids stand for, as a notebook shows them. It ranks and judges nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashret.catalogue import Item
from hashret.errors import ImageError, InputError
from hashret.examples import Example
from hashret.images import thumbnail
from hashret.markup import Html, escaped, framed, table

__all__ = ["Showable", "Shown"]

Showable = str | os.PathLike[str] | Image.Image | NDArray[Any] | Example | Item
"""A text (str), an image (a path that is no str, a PIL image, uint8 pixels), an Example or an item of a catalogue."""

ROWS, ANSWERS, SIDE = 20, 10, 104


@dataclass(frozen=True, eq=False)
class Shown:
    """Hits and their items; made by ``hits.show(items)``.

    Attributes:
        distances: int32 (Q, k).
        ids: int64 (Q, k); -1 pads.
        items: What was searched, by id.
        queries: What was asked, one a row, or None.
        right: Which answers are right, bool (Q, k), or None where nobody knows.

    Raises:
        InputError: An id beyond the items, or another number of queries or marks than of rows.
    """

    distances: NDArray[np.int32]
    ids: NDArray[np.int64]
    items: Sequence[Showable]
    queries: Sequence[Showable] | None = None
    right: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit."""
        most = int(self.ids.max(initial=-1))
        if most >= len(self.items):
            raise InputError(
                "items", expected=f"an item for every id, 0 ... {most}", got=f"{len(self.items)} items",
                remedy="Give what was searched, in the order of its ids.",
            )  # fmt: skip
        if self.queries is not None and len(self.queries) != len(self.ids):
            raise InputError(
                "queries", expected=f"{len(self.ids)}, one a row", got=str(len(self.queries)),
                remedy="Give what was asked, in the order it was asked.",
            )  # fmt: skip
        if self.right is not None and self.right.shape != self.ids.shape:
            raise InputError(
                "right", expected=f"marks {self.ids.shape}", got=str(self.right.shape),
                remedy="relevance.judge(rows, hits.ids) gives them.",
            )  # fmt: skip

    def _repr_html_(self) -> str:
        """A row a query, its answers best first; the first twenty queries and ten answers."""
        ids = self.ids[:ROWS, :ANSWERS]
        header = ["query", *map(str, range(1, ids.shape[1] + 1))]
        body = [
            [self._query(row), *(self._answer(row, place) for place in range(ids.shape[1]))] for row in range(len(ids))
        ]
        told = f"{len(ids):,} of {len(self.ids):,} queries, {ids.shape[1]} of {self.ids.shape[1]:,} answers"
        return framed(table(header, body, told))

    def _query(self, row: int) -> str:
        return str(row) if self.queries is None else _card(self.queries[row], Html(""))

    def _answer(self, row: int, place: int) -> str:
        id_ = int(self.ids[row, place])
        if id_ < 0:
            return ""
        mark = "" if self.right is None else " ✓ right" if self.right[row, place] else " ✗ wrong"
        return _card(self.items[id_], escaped(f"distance {self.distances[row, place]}{mark}"))


def _card(item: Showable, note: Html) -> Html:
    """An item as HTML, with a note below."""
    image, text, key = _parts(item)
    pieces = []
    if image is not None:
        try:
            pieces.append(f'<img src="{thumbnail(image, SIDE)}" alt="{escaped(key or text)}">')
        except ImageError as error:
            pieces.append(escaped(f"{key}: {error.got}"))
    pieces.append(escaped(text if text or image is not None else key))
    return Html(f'<div class="card">{"".join(pieces)}<div class="note">{note}</div></div>')


def _parts(item: Showable) -> tuple[Any, str, str]:
    """Image or None, text or nothing, and what it is called."""
    if isinstance(item, Item):
        return item.path or None, item.text, item.key
    if isinstance(item, Example):
        text = item.text if isinstance(item.text, str) else ""
        return (None if _is_vector(item.image) else item.image), text, item.key
    if isinstance(item, str):
        return None, item, ""
    return item, "", Path(item).name if isinstance(item, os.PathLike) else "image"


def _is_vector(image: Any) -> bool:
    """Whether an example's image is of numbers that nobody can look at."""
    return isinstance(image, np.ndarray) and image.dtype.kind == "f"

"""Columns: what the files of a labelled set say of its rows, images aside, whatever form they come in.

The hashing sets are passed around as official trees, as matrices and as lists of strings. Each reader turns its form
into names, labels, sentences and bags of words, row by row; from there on nobody asks which form it was. Rows that
cannot be used are still here: which are used depends on the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hashret.data.matrixfile import open_matrix
from hashret.errors import DataError, DataFileError
from hashret.examples import TextSource

__all__ = ["UNTAGGED", "Columns", "label_matrix", "same_rows"]

UNTAGGED = "untagged"
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Columns:
    """What is known of N rows.

    Attributes:
        names: File name of each row's image, or its number where no file names it.
        labels: Multi-hot uint8 (N, C).
        classes: Names of the C labels.
        sentences: N strings, blank for a row without a tag; None where there are none.
        bags: Bag of words (N, D), counts or zeros and ones; None where there is none.
        words: Names of the D words; empty where they are not told.
        order: All rows in the order in which the usable ones are taken; None where that is their own.
        chosen: Rows that the authors say are usable, in order; None where they do not.
        lists: The authors' rows of "queries", "train" and "validation"; None where there are none.
        notes: What a reader must know of how they were read.

    Raises:
        DataError: A name stands twice, or the columns are not equally long.
    """

    names: Sequence[str]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    sentences: Sequence[str] | None = None
    bags: NDArray[Any] | None = None
    words: Sequence[str] = ()
    order: Rows | None = None
    chosen: Rows | None = None
    lists: Mapping[str, Rows] | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check that the columns belong together."""
        for what, column in (("labels", self.labels), ("texts", self.sentences), ("bags of words", self.bags)):
            if column is not None:
                same_rows(what, len(column), "names", len(self.names))
        if len(set(self.names)) < len(self.names):
            seen, twice = set[str](), []
            for name in self.names:
                twice += [name] if name in seen else []
                seen.add(name)
            raise DataError(
                "images", expected="every image once",
                got=f"{len(twice):,} of {len(self.names):,} once more, such as {', '.join(twice[:3])}",
                remedy="An image in two rows would be asked and found at once: take the original list.",
            )  # fmt: skip

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which rows have a label, (N,)."""
        return np.asarray(self.labels.any(1), np.bool_)

    @property
    def tagged(self) -> NDArray[np.bool_]:
        """Which rows have a word: of the bag where there is one, of the sentence otherwise."""
        if self.bags is not None:
            step = max(1, (1 << 24) // max(1, self.bags.shape[1]))
            parts = [np.asarray(self.bags[at : at + step]).any(1) for at in range(0, len(self.bags), step)]
            return np.concatenate(parts) if parts else np.zeros(0, np.bool_)
        return np.array([bool(text.strip()) for text in self.sentences or ()], np.bool_)

    def usable(self, with_tags: bool, chosen: bool = True) -> Rows:
        """The rows with a label, and with a tag if it is asked for, in the order in which they are taken.

        Args:
            with_tags: Whether it is.
            chosen: Whether the rows that the authors chose count instead, where they did; with a label, these too.
        """
        if chosen and self.chosen is not None:
            return self.chosen[self.labelled[self.chosen]]
        good = self.labelled & self.tagged if with_tags else self.labelled
        if self.order is not None:
            return self.order[good[self.order]]
        return np.flatnonzero(good).astype(np.int64)

    def texts(self, rows: Rows, kind: Literal["auto", "tags", "bag"]) -> tuple[list[TextSource], str]:
        """The texts of some rows, and a note on what they are.

        Args:
            rows: Which.
            kind: "tags": a sentence of tags; "bag": a vector; "auto": sentences if they are in the files.

        Raises:
            DataError: The files hold no such texts.
        """
        if kind == "bag" or (kind == "auto" and self.sentences is None):
            if self.bags is None:
                raise DataError(
                    "texts", expected="bags of words in the files", got="sentences only", remedy="Set texts=tags."
                )
            bags = self.bags.view(np.uint8) if self.bags.dtype == np.bool_ else self.bags
            empty = int((~self.tagged[rows]).sum())
            zeros = f", {empty:,} of them without a word" if empty else ""
            return [bags[row] for row in rows], f"texts: bags of {bags.shape[1]:,} words{zeros}"
        sentences = [self._sentence(int(row)) for row in rows]
        silent = sum(not text.strip() for text in sentences)
        blank = f"; {silent:,} items without one have the sentence {UNTAGGED!r}" if silent else ""
        return [text if text.strip() else UNTAGGED for text in sentences], f"texts: sentences of tags{blank}"

    def _sentence(self, row: int) -> str:
        if self.sentences is not None:
            return self.sentences[row]
        if self.bags is None or not self.words:
            raise DataError(
                "texts", expected="tags as words for texts=tags", got="bags of words whose words are not told",
                remedy="Set texts=bag, or put the list of words, a line each, beside the files.",
            )  # fmt: skip
        return " ".join(self.words[int(place)] for place in np.flatnonzero(self.bags[row]))


def same_rows(what: str, count: int, other: str, rows: int) -> None:
    """Refuse a column that is longer or shorter than another.

    Raises:
        DataError: It is.
    """
    if count != rows:
        raise DataError(
            what, expected=f"{rows:,} rows as in {other}", got=f"{count:,}",
            remedy="They are of two releases, or one is cut short: take files that were made together.",
        )  # fmt: skip


def label_matrix(path: Path, names: Sequence[str], classes: Sequence[str]) -> NDArray[np.uint8]:
    """Read multi-hot labels, uint8 (N, C), of one of several variables.

    Raises:
        DataFileError: Another width than the classes', or values other than 0 and 1.
    """
    values = open_matrix(path, names, columns=len(classes))
    fits = values.ndim == 2 and values.shape[1] == len(classes)
    if not fits or not np.isin(values, (0, 1)).all():
        other = " with other values" if fits else ""
        raise DataFileError(
            str(path), expected=f"zeros and ones, a column for each of {len(classes)} labels",
            got=f"{values.dtype} {values.shape}{other}", remedy="This is another file, or another version of it.",
        )  # fmt: skip
    return np.ascontiguousarray(values, np.uint8)

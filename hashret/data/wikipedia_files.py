"""The files of the Wikipedia set, read and checked: lists of ids and classes, features, articles' sections.

The lists name the items and their order; a feature matrix has a row for each of them, in that order. Which items are
asked of which is :mod:`hashret.data.wikipedia`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from hashret.data.card import Card
from hashret.data.matrixfile import open_matrix
from hashret.errors import DataError, DataFileError

__all__ = ["FEATURES", "Listed", "check_classes", "list_name", "one_hot", "read_features", "read_list", "read_section"]

FEATURES = "raw_features.mat"
_MATRICES = {"train": {"image": "I_tr", "text": "T_tr"}, "test": {"image": "I_te", "text": "T_te"}}


@dataclass(frozen=True)
class Listed:
    """A line of a list: ids of text and image, and the class from 0."""

    text: str
    image: str
    label: int


def list_name(split: str) -> str:
    """The file of a split.

    Example:
        >>> list_name("train")
        'trainset_txt_img_cat.list'
    """
    return f"{split}set_txt_img_cat.list"


def read_list(card: Card, root: Path, split: str) -> list[Listed]:
    """Read the items of a split.

    Raises:
        DataFileError: It is not there, or a line is not two ids and a class.
        DataError: An image or a text stands in it twice.
    """
    path = root / list_name(split)
    if not path.is_file():
        raise card.missing(path, "ids of texts and images, and classes")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        fields = line.split("\t")
        label = (
            int(fields[2]) if len(fields) == 3 and fields[2].strip().isascii() and fields[2].strip().isdigit() else 0
        )
        if not (1 <= label <= len(card.classes) and all(fields)):
            expected = f"text id, image id and a class 1 ... {len(card.classes)}, with tabs between"
            raise card.damaged(f"{path}, line {number}", expected, repr(line[:80]))
        found.append(Listed(fields[0], fields[1], label - 1))
    for kind in ("image", "text"):
        twice = [name for name, times in Counter(getattr(item, kind) for item in found).items() if times > 1]
        if twice:
            raise DataError(
                f"{card.title}, {path}", expected=f"every {kind} once", got=f"{len(twice)} twice, first {twice[0]}",
                remedy="Take the original list again.",
            )  # fmt: skip
    return found


def check_classes(card: Card, root: Path) -> None:
    """Refuse a categories.list with other classes, or in another order; there need be none.

    Raises:
        DataFileError: It names others.
    """
    path = root / "categories.list"
    if path.is_file():
        names = path.read_text(encoding="utf-8", errors="replace").split()
        if tuple(names) != card.classes:
            raise card.damaged(path, ", ".join(card.classes), ", ".join(names)[:120])


def one_hot(card: Card, listed: Sequence[Listed]) -> NDArray[np.uint8]:
    """Classes as labels: uint8 (N, C)."""
    return np.eye(len(card.classes), dtype=np.uint8)[np.array([item.label for item in listed], np.int64)]


def read_features(card: Card, root: Path, split: str, side: str, count: int) -> NDArray[np.float32]:
    """Read the released features of the "image" or "text" side of a split: float32 (count, D).

    Raises:
        DataFileError: The file is not there, is damaged, or holds something else.
        DataError: It has another number of rows than the list has lines.
    """
    path, name = root / FEATURES, _MATRICES[split][side]
    if not path.is_file():
        raise card.missing(path, "the released features")
    try:
        rows = open_matrix(path, [name])
    except DataFileError as error:
        raise card.damaged(path, error.expected, error.got) from error
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise card.damaged(path, f"numbers (items, features) in {name}", f"{rows.dtype} {rows.shape}")
    if len(rows) != count:
        raise DataError(
            f"{card.title}, {root / list_name(split)}", expected=f"{len(rows):,} lines, as {name} has rows",
            got=f"{count:,}", remedy="The files are of different versions: take both from one copy.",
        )  # fmt: skip
    return np.asarray(rows, np.float32)


def read_section(card: Card, path: Path) -> tuple[str, bool]:
    """Read what stands in <text> of an article's file, with single spaces.

    Returns:
        The text, and whether it had to be cut out of XML that a parser does not take.

    Raises:
        DataFileError: There is no such file, or no words in it between <text> and </text>.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise card.missing(path, "an article's text") from error
    text, loose = "", False
    try:
        element = ElementTree.fromstring(content).find(".//text")
        text = "" if element is None else "".join(element.itertext())
    except ElementTree.ParseError as error:
        _, start, rest = content.partition(b"<text>")
        inside, end, _ = rest.partition(b"</text>")
        if not (start and end):
            raise card.damaged(path, "XML with a whole <text>", f"{error} in {len(content):,} bytes") from error
        text, loose = inside.decode("utf-8", "replace"), True
    if not text.strip():
        raise card.damaged(path, "words in <text>", "none")
    return " ".join(text.split()), loose

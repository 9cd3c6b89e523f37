"""NUS-WIDE as it is given out: a list of 269,648 images, a line of tags each, and a column of zeros and ones a label.

Only the order of lines joins its files. The lines of tags begin with a photo's number, which is compared with the list;
the columns are compared by length. The 1,000 commonest tags come as a text of 270 million digits, which is read once
into the cache. Which labels are the commonest ten is counted where all 81 files are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.data.columns import Columns, same_rows
from hashret.data.layouts import Layout, Needed, find
from hashret.data.matrixcopy import SMALL, kept_copy
from hashret.errors import DataError, DataFileError

__all__ = ["WORDS", "official_tree"]

CONCEPTS = 81
WORDS = ("NUS_WID_Tags/TagList1k.txt", "Concepts/TagList1k.txt", "ConceptsList/TagList1k.txt", "TagList1k.txt")
_LIST = ("ImageList/Imagelist.txt", "ImageList/ImageList.txt", "Imagelist.txt")
_LABELS = ("Groundtruth/AllLabels", "AllLabels")
_TAGS = ("NUS_WID_Tags/All_Tags.txt", "All_Tags.txt")
_BAGS = ("NUS_WID_Tags/AllTags1k.txt", "AllTags1k.txt")
_BLOCK = 1 << 24


def official_tree(classes: tuple[str, ...], *, all_tags: bool, commonest: int = 0) -> Layout:
    """The layout of the official downloads.

    Args:
        classes: Names of the labels, which are those of the label files.
        all_tags: Take all tags of an image as its sentence, as DCHMT does; otherwise those among the 1,000.
        commonest: Take so many labels that most images have, where all 81 files are there; 0 takes ``classes``.
    """

    def read(root: Path) -> Columns:
        names = _read_names(root)
        labels, chosen = _read_labels(root, classes, commonest, len(names))
        words = _read_words(root)
        bags = _read_bags(root, len(names), len(words))
        sentences, counted = _read_tags(root, names, words, all_tags)
        _compare_tags(root, counted, bags)
        if not all_tags:
            for row in _silent(sentences, bags):
                sentences[row] = " ".join(words[int(place)] for place in np.flatnonzero(bags[row]))
        return Columns(names, labels, chosen, sentences, bags, words)

    needed = [Needed("names of the images", _LIST), Needed("tags of each image", _TAGS)]
    needed += [Needed("the 1,000 tags of each image", _BAGS), Needed("the 1,000 tags", WORDS)]
    needed += [Needed(f"label {name} of each image", _label_places(name)) for name in classes]
    return Layout("official tree", tuple(needed), read, folders=("Flickr", "images"))


def _label_places(name: str) -> tuple[str, ...]:
    return tuple(f"{folder}/Labels_{name}.txt" for folder in _LABELS)


def _lines(root: Path, places: Sequence[str]) -> list[str]:
    """The lines of a text, UTF-8 or Latin-1; an empty last one does not count."""
    path = find(root, places)
    assert path is not None
    content = path.read_bytes()
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        lines = content.decode("latin-1").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _read_words(root: Path) -> list[str]:
    words = [line.strip() for line in _lines(root, WORDS)]
    if not words:
        raise DataFileError(
            str(find(root, WORDS)), expected="1,000 tags, a line each", got="none",
            remedy="It is damaged: take it from its source again.",
        )  # fmt: skip
    return words


def _read_names(root: Path) -> list[str]:
    return [line.strip().replace("\\", "/").strip("/") for line in _lines(root, _LIST)]


def _read_labels(
    root: Path, classes: Sequence[str], commonest: int, count: int
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Multi-hot labels (N, C) and their names, alphabetically."""
    folder = find(root, _LABELS)
    names = sorted(path.stem.removeprefix("Labels_") for path in folder.glob("Labels_*.txt")) if folder else []
    if commonest and len(names) >= CONCEPTS:
        columns = {name: _read_column(root, name, count) for name in names}
        classes = sorted(sorted(names, key=lambda name: (-int(columns[name].sum()), name))[:commonest])
        return np.stack([columns[name] for name in classes], 1), tuple(classes)
    return np.stack([_read_column(root, name, count) for name in classes], 1), tuple(classes)


def _read_column(root: Path, name: str, count: int) -> NDArray[np.uint8]:
    path = find(root, _label_places(name))
    assert path is not None
    digits = _digits(path, path.read_bytes())
    same_rows(str(path), len(digits), _LIST[0], count)
    return digits


def _digits(path: Path, content: bytes) -> NDArray[np.uint8]:
    """The zeros and ones of a text, in order."""
    letters = np.frombuffer(content, np.uint8)
    marks = letters[letters > ord(" ")]
    digits: NDArray[np.uint8] = marks - np.uint8(ord("0"))
    if digits.size and digits.max() > 1:
        other = chr(int(marks[np.argmax(digits > 1)]))
        raise DataFileError(
            str(path), expected="zeros and ones", got=repr(other),
            remedy="It is damaged: take it from its source again.",
        )  # fmt: skip
    return digits


def _read_bags(root: Path, count: int, width: int) -> NDArray[Any]:
    """The 1,000 tags of each image, uint8 (N, 1000), from a text of digits."""
    path = find(root, _BAGS)
    assert path is not None

    def blocks() -> Iterator[NDArray[np.uint8]]:
        rows, rest = 0, np.empty(0, np.uint8)
        with path.open("rb") as file:
            while content := file.read(_BLOCK):
                digits = np.concatenate([rest, _digits(path, content)])
                whole = len(digits) // width * width
                rows, rest = rows + whole // width, digits[whole:]
                yield digits[:whole].reshape(-1, width)
                if rows > count:
                    break
        if rows != count or len(rest):
            more = f" and {len(rest)} of {width} tags" if len(rest) else ""
            raise DataFileError(
                str(path), expected=f"{count:,} lines of {width:,} zeros and ones", got=f"{rows:,} lines{more}",
                remedy="It is cut short, or of another list: take it from its source again.",
            )  # fmt: skip

    if count * width < SMALL:
        return np.concatenate([np.empty((0, width), np.uint8), *blocks()])
    return kept_copy(path, f"{count} lines of {width}", lambda: ((count, width), np.dtype(np.uint8), blocks()))


def _read_tags(
    root: Path, names: Sequence[str], words: Sequence[str], all_tags: bool
) -> tuple[list[str], NDArray[np.int64]]:
    """A sentence an image, and how many of the words it has; the photos' numbers must be the list's."""
    path = find(root, _TAGS)
    assert path is not None
    lines, known = _lines(root, _TAGS), frozenset(words)
    same_rows(str(path), len(lines), _LIST[0], len(names))
    sentences, counts, strange = [], np.zeros(len(names), np.int64), []
    for row, (line, name) in enumerate(zip(lines, names, strict=True)):
        photo, *tags = line.split() or [""]
        if photo != name.rpartition("/")[2].rpartition(".")[0].rpartition("_")[2]:
            strange.append(f"{photo} for {name}")
        told = dict.fromkeys(tags)
        counted = [tag for tag in told if tag in known]
        counts[row] = len(counted)
        sentences.append(" ".join(told if all_tags else counted))
    if strange:
        raise DataError(
            str(path), expected=f"the photos of {_LIST[0]} in its order",
            got=f"{len(strange):,} others: {', '.join(strange[:3])}",
            remedy="The order of lines joins the files: take both from the official downloads.",
        )  # fmt: skip
    return sentences, counts


def _compare_tags(root: Path, counts: NDArray[np.int64], bags: NDArray[Any]) -> None:
    """Refuse two files of tags that tell different photos; officially 16 rows differ."""
    step = max(1, _BLOCK // bags.shape[1])
    sums = [np.asarray(bags[at : at + step]).sum(1, dtype=np.int64) for at in range(0, len(bags), step)]
    differing = np.flatnonzero(np.concatenate([np.zeros(0, np.int64), *sums]) != counts)
    if len(differing) > max(16, len(bags) // 100):
        raise DataError(
            str(find(root, _BAGS)), expected=f"as many of the {bags.shape[1]:,} tags a line as {_TAGS[0]} has",
            got=f"another number in {len(differing):,} lines, first in line {differing[0] + 1:,}",
            remedy="The order of lines joins the files: take both from the official downloads.",
        )  # fmt: skip


def _silent(sentences: Sequence[str], bags: NDArray[Any]) -> list[int]:
    """Rows whose tags the two files tell differently: none of the 1,000 in one, some in the other (officially 16)."""
    return [row for row, text in enumerate(sentences) if not text and bags[row].any()]

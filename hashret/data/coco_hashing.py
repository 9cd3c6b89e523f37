"""The files that hashing papers made of MS-COCO: matrices of pictures' names or features, texts and labels.

Three families: index.mat, caption.mat and label.mat (the CLIP hashing papers), one HDF5 file of deep and Doc2Vec
features (UCCH), and feature.npy, bow.npy and label.npy with three index lists (CRCGS). Only the order of rows joins
their parts; feature matrices are mapped and never held in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.data.captioned import Captioned
from hashret.data.card import Card
from hashret.data.coco_annotations import CLASSES
from hashret.data.coco_pictures import Pictures, parse_name
from hashret.data.matrixfile import open_matrix, open_texts
from hashret.errors import DataError, DataFileError
from hashret.examples import Example, ImageSource, TextSource

__all__ = [
    "ARRAYS",
    "BAG",
    "CELLS",
    "FEATURES",
    "LISTS",
    "Rows",
    "open_arrays",
    "open_cells",
    "open_features",
    "open_lists",
]

CELLS = {
    "index.mat": ("index", "imgs", "FAll"),
    "caption.mat": ("caption", "tags"),
    "label.mat": ("label", "category", "LAll", "labels"),
}
BAG = "caption_one_hot.mat"
FEATURES = "MSCOCO_deep_doc2vec_data_rand.h5py"
ARRAYS = ("feature.npy", "bow.npy", "label.npy")
LISTS = {"queries": "test_data_list.npy", "train": "train_data_list.npy", "validation": "val_data_list.npy"}


@dataclass(frozen=True, eq=False)
class Rows:
    """Items of a hashing file in its order.

    Attributes:
        keys: A name for each.
        images: Paths, or rows of a mapped matrix (N, D).
        texts: At least one text each: sentences, or a row of a mapped matrix.
        labels: Multi-hot uint8 (N, 80).
    """

    keys: Sequence[str]
    images: Sequence[ImageSource] | NDArray[Any]
    texts: Sequence[Sequence[TextSource]]
    labels: NDArray[np.uint8]

    @property
    def usable(self) -> NDArray[np.int64]:
        """Rows that have a label, int64, ascending."""
        return np.flatnonzero(self.labels.any(1)).astype(np.int64)

    def items(self) -> list[Captioned]:
        """The usable items."""
        found = []
        for row in self.usable.tolist():
            key = self.keys[row]
            texts = tuple(Example(text=text, key=f"{key}#{i}") for i, text in enumerate(self.texts[row]))
            found.append(Captioned(Example(image=self.images[row], key=key), texts, row, self.labels[row]))
        return found


class _Single(Sequence[Sequence[TextSource]]):
    """The rows of a matrix, each as the only text of its item; read when looked at."""

    def __init__(self, matrix: NDArray[Any]) -> None:
        self._matrix = matrix

    def __len__(self) -> int:
        return len(self._matrix)

    def __getitem__(self, row: Any) -> Any:
        return (self._matrix[row],)


def open_cells(card: Card, root: Path, texts: str) -> Rows:
    """Open index.mat, caption.mat and label.mat; for texts "bag" caption_one_hot.mat in place of the captions.

    Raises:
        DataFileError: One is missing, damaged or of another form, or names pictures that are not MS-COCO's.
        DataError: They have different numbers of rows, or a picture stands in two.
    """
    bag = texts == "bag"
    for name in CELLS if not bag else ("index.mat", BAG, "label.mat"):
        _require(card, root / name)
    names = _strings(card, root / "index.mat", CELLS["index.mat"])
    labels = _labels(card, root / "label.mat", CELLS["label.mat"])
    written: Sequence[Sequence[TextSource]] = (
        _Single(_open(card, root / BAG, ("caption_one_hot",), rows=len(labels)))
        if bag
        else _captions(card, root / "caption.mat")
    )
    lengths = (len(names), len(written), len(labels))
    _same_length(card, root, dict(zip(("index.mat", BAG if bag else "caption.mat", "label.mat"), lengths, strict=True)))
    paths = _paths(card, root, names)
    _once(card, root / "index.mat", names)
    return Rows([Path(name).name for name in names], paths, written, labels)


def open_features(card: Card, root: Path) -> Rows:
    """Open UCCH's file: deep features (N, 4096), Doc2Vec (N, 300) and labels (N, 80).

    Raises:
        DataFileError: It is missing, damaged or of another form.
        DataError: Its parts have different numbers of rows.
    """
    path = root / FEATURES
    _require(card, path)
    labels = _labels(card, path, ("LAll",))
    images, texts = (_open(card, path, (name,), rows=len(labels)) for name in ("XAll", "YAll"))
    _same_length(card, path, {"XAll": len(images), "YAll": len(texts), "LAll": len(labels)})
    return Rows([str(row) for row in range(len(labels))], images, _Single(texts), labels)


def open_arrays(card: Card, root: Path) -> Rows:
    """Open CRCGS's folder: features (N, 4096), bag of words (N, 2000) and labels (N, 81), the last of no use.

    Raises:
        DataFileError: A file is missing, damaged or of another form.
        DataError: They have different numbers of rows.
    """
    for name in ARRAYS:
        _require(card, root / name)
    labels = _labels(card, root / "label.npy", (), spare=True)
    images, texts = (_open(card, root / name, (), rows=len(labels)) for name in ARRAYS[:2])
    _same_length(card, root, dict(zip(ARRAYS, (len(images), len(texts), len(labels)), strict=True)))
    return Rows([str(row) for row in range(len(labels))], images, _Single(texts), labels)


def open_lists(card: Card, root: Path, rows: Rows) -> tuple[dict[str, NDArray[np.int64]] | None, int]:
    """Open CRCGS's three index lists, which number the rows of its matrices.

    Returns:
        The lists as numbers of usable items, or None where none of them is there; and how many rows they name that
        have no label and are left out.

    Raises:
        DataFileError: One or two of the three are missing, or one is damaged.
        DataError: A list names rows that there are not.
    """
    if not any((root / name).exists() for name in LISTS.values()):
        return None, 0
    place = np.full(len(rows.labels), -1, np.int64)
    place[rows.usable] = np.arange(len(rows.usable))
    lists, dropped = {}, 0
    for part, name in LISTS.items():
        _require(card, root / name)
        numbers = _open(card, root / name, (), axes=(1, 2)).ravel()
        if numbers.dtype.kind not in "iu" or (len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(place)):
            raise DataError(
                f"{card.title}, {root / name}", expected=f"rows 0 ... {len(place) - 1}",
                got=f"{numbers.dtype} {numbers.min()} ... {numbers.max()}" if len(numbers) else f"{numbers.dtype}",
                remedy="Take the lists that were made with these matrices.",
            )  # fmt: skip
        found = place[numbers]
        lists[part] = found[found >= 0]
        dropped += int((found < 0).sum())
    return lists, dropped


def _require(card: Card, path: Path) -> None:
    if not path.is_file():
        raise card.missing(path, "a file of its hashing set")


def _open(
    card: Card,
    path: Path,
    names: Sequence[str],
    rows: int | None = None,
    columns: int | None = None,
    axes: tuple[int, ...] = (2,),
) -> NDArray[Any]:
    try:
        values = open_matrix(path, names, rows=rows, columns=columns)
    except DataFileError as error:
        raise card.damaged(path, error.expected, error.got) from error
    if values.ndim not in axes:
        raise card.damaged(path, "a matrix (items, columns)", f"{values.dtype} {values.shape}")
    return values


def _labels(card: Card, path: Path, names: Sequence[str], spare: bool = False) -> NDArray[np.uint8]:
    width = len(CLASSES)
    values = _open(card, path, names, columns=None if spare else width)
    if values.shape[1] not in ((width, width + 1) if spare else (width,)):
        raise card.damaged(path, f"labels (items, {width})", str(values.shape))
    values = values[:, :width]
    if not np.isin(values, (0, 1)).all():
        raise card.damaged(path, "labels that are 0 or 1", "other values")
    return np.ascontiguousarray(values, np.uint8)


def _strings(card: Card, path: Path, names: Sequence[str]) -> list[str]:
    found = _captions(card, path, names)
    several = [row for row, strings in enumerate(found) if len(strings) != 1]
    if several:
        raise card.damaged(path, "a file name an item", f"{len(found[several[0]])} in row {several[0]}")
    return [strings[0] for strings in found]


def _captions(card: Card, path: Path, names: Sequence[str] = CELLS["caption.mat"]) -> list[list[str]]:
    try:
        return open_texts(path, names)
    except DataFileError as error:
        raise card.damaged(path, error.expected, error.got) from error


def _paths(card: Card, root: Path, names: Sequence[str]) -> list[Path]:
    """As index.mat has them if they are paths of this machine; else the pictures of this copy with the same ids."""
    if names and Path(names[0]).is_absolute() and Path(names[0]).is_file():
        return [Path(name) for name in names]
    pictures, found = Pictures(card, root), []
    for row, name in enumerate(names):
        parsed = parse_name(name)
        if parsed is None:
            raise card.damaged(f"{root / 'index.mat'}, row {row}", "a file name of MS-COCO", repr(name[:80]))
        found.append(pictures.path(*parsed))
    return found


def _once(card: Card, path: Path, names: Sequence[str]) -> None:
    """Refuse a picture in two rows, be it under its names of 2014 and of 2017."""
    seen, twice = set[object](), []
    for name in names:
        parsed = parse_name(name)
        picture = name if parsed is None else parsed[0]
        twice += [name] if picture in seen else []
        seen.add(picture)
    if twice:
        raise DataError(
            f"{card.title}, {path}", expected="every image once",
            got=f"{len(twice):,} of {len(names):,} once more, first {twice[0]}",
            remedy="An image in two rows would be asked and found at once: take the original list.",
        )  # fmt: skip


def _same_length(card: Card, place: Path, lengths: dict[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{card.title}, {place}", expected="the same number of rows in all parts",
            got=", ".join(f"{count:,} in {name}" for name, count in lengths.items()),
            remedy="The files are of different versions: take all from one place.",
        )  # fmt: skip

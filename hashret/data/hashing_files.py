"""The files that hashing papers pass around instead of images and tags: DCMH's matrices, the CLIP family's, CRCGS's.

DCMH (and SSAH, UCCH) put pixels, tags, labels and file names of the usable items into four MATLAB files, or one. The
papers on CLIP (DCHMT, MITH, DSPH) put image paths, sentences and labels into three. CRCGS has NumPy arrays, and lists
of the rows that are asked and trained on. Only the order of rows joins the files of a set, so that their lengths are
compared here, and whether labels say something of texts by :mod:`hashret.data.alignment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.data.columns import Columns, Rows, label_matrix, same_rows
from hashret.data.layouts import Layout, Needed, find
from hashret.data.matrixfile import open_matrix, open_strings
from hashret.errors import DataError, DataFileError

__all__ = ["clip_files", "crcgs_files", "one_file", "separate_files"]

_LISTS = {"queries": "test_data_list.npy", "train": "train_data_list.npy", "validation": "val_data_list.npy"}
_CHOSEN = ("legal_data_list.npy", "data_list.npy")


def separate_files(
    prefix: str,
    classes: tuple[str, ...],
    *,
    words: tuple[str, ...] = (),
    features: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
) -> Layout:
    """DCMH's four files: ``PREFIX-iall.mat`` (pixels), ``-yall`` (tags), ``-lall`` (labels), ``-fall`` (file names).

    The last may be absent; the first as well where there are features, or files that the last names.

    Args:
        prefix: Such as "mirflickr25k".
        classes: Names of the labels.
        words: Where a list of the tags may lie, a line a column of the tags' matrix.
        features: Where image features may lie.
        folders: Where image files may lie.
    """

    def places(kind: str) -> tuple[str, ...]:
        return f"{prefix}-{kind}.mat", f"{kind[0].upper()}All/{prefix}-{kind}.mat"

    def read(root: Path) -> Columns:
        return _from_matrices(
            root, classes, _at(root, places("lall")), _at(root, places("yall")), places("fall"), words
        )

    needed = (Needed("labels, LAll", places("lall")), Needed("tags, YAll", places("yall")))
    return Layout(f"{prefix}-*all.mat", needed, read, (places("iall"), ("IAll", "images")), features, folders, _listed)


def one_file(name: str, classes: tuple[str, ...], *, words: tuple[str, ...] = ()) -> Layout:
    """DCMH's three matrices in one file: images (or IAll), YAll and LAll.

    Args:
        name: Of the file.
        classes: See :func:`separate_files`.
        words: See there.
    """

    def read(root: Path) -> Columns:
        return _from_matrices(root, classes, root / name, root / name, (), words)

    needed = (Needed("images, YAll and LAll", (name,)),)
    return Layout(name, needed, read, ((name,), ("images", "IAll")), lists=_listed)


def clip_files(classes: tuple[str, ...], folders: tuple[str, ...]) -> Layout:
    """The CLIP family's files: ``index.mat`` (image paths), ``caption.mat`` or ``.txt`` (sentences), ``label.mat``.

    Of an image's path only the file name counts. MITH's ``caption_one_hot.mat``, if it is there, is the bag of words.

    Args:
        classes: Names of the labels.
        folders: Where the image files may lie.
    """

    def read(root: Path) -> Columns:
        index = open_strings(root / "index.mat", ("index", "imgs", "FAll"))
        path = _at(root, ("caption.mat", "caption.txt"))
        sentences = open_strings(path, ("caption", "tags"))
        labels = label_matrix(root / "label.mat", ("category", "label", "labels", "LAll"), classes)
        same_rows(f"{path}", len(sentences), "index.mat", len(index))
        same_rows(f"{root / 'label.mat'}", len(labels), "index.mat", len(index))
        bags = None
        if (root / "caption_one_hot.mat").is_file():
            bags = open_matrix(root / "caption_one_hot.mat", ("caption_one_hot",), rows=len(index))
            same_rows(str(root / "caption_one_hot.mat"), len(bags), "index.mat", len(index))
        return Columns([_file_name(name) for name in index], labels, classes, sentences, bags)

    needed = (
        Needed("image paths, index", ("index.mat",)),
        Needed("sentences, caption", ("caption.mat", "caption.txt")),
        Needed("labels, category or label", ("label.mat",)),
    )
    return Layout("index.mat, caption.mat and label.mat", needed, read, folders=folders)


def crcgs_files(classes: tuple[str, ...], pixels: str, *, words: tuple[str, ...] = ()) -> Layout:
    """CRCGS's folder: ``feature.npy``, ``bow.npy``, ``label.npy``, lists of rows, and DCMH's file of pixels.

    Args:
        classes: Names of the labels.
        pixels: Name of the file of pixels, which may be absent.
        words: See :func:`separate_files`.
    """

    def read(root: Path) -> Columns:
        return _from_matrices(root, classes, _at(root, _LABELS), root / "bow.npy", (), words)

    needed = (Needed("labels", _LABELS), Needed("bags of words", ("bow.npy",)))
    return Layout("bow.npy and label.npy", needed, read, ((pixels,), ("IAll",)), ("feature.npy",), lists=_listed)


_LABELS = ("label.npy", "labels.npy")


def _from_matrices(
    root: Path, classes: tuple[str, ...], labels: Path, tags: Path, names: tuple[str, ...], words: tuple[str, ...]
) -> Columns:
    """Labels and bags of words, and file names where they are told."""
    marked = label_matrix(labels, ("LAll",), classes)
    bags = open_matrix(tags, ("YAll",), rows=len(marked))
    if bags.ndim != 2:
        raise DataFileError(
            str(tags), expected="bags of words, a row an item", got=f"{bags.dtype} {bags.shape}",
            remedy="This is another file, or another version of it.",
        )  # fmt: skip
    same_rows(str(tags), len(bags), labels.name, len(marked))
    named = find(root, names)
    files = [str(row) for row in range(len(marked))]
    if named is not None:
        files = [name.replace("\\", "/").strip("/") for name in open_strings(named, ("FAll",))]
        same_rows(str(named), len(files), labels.name, len(marked))
    return Columns(files, marked, classes, bags=bags, words=_words(root, words, bags.shape[1]))


def _listed(root: Path, columns: Columns) -> Columns:
    """The same with CRCGS's lists of rows, where they lie beside the matrices."""
    count = len(columns.names)
    return replace(columns, chosen=_chosen(root, count), lists=_lists(root, count))


def _words(root: Path, places: Sequence[str], width: int) -> list[str]:
    """The words of a bag's columns; none where there is no list of that length."""
    path = find(root, places)
    words = [] if path is None else [line.split()[0] if line else "" for line in open_strings(path)]
    return words if len(words) == width else []


def _lists(root: Path, count: int) -> dict[str, Rows] | None:
    there = {part: root / name for part, name in _LISTS.items() if (root / name).is_file()}
    if not there:
        return None
    lacking = [_LISTS[part] for part in _LISTS if part not in there]
    if lacking:
        raise DataError(
            str(root / lacking[0]), expected=f"the list beside {next(iter(there.values())).name}", got="nothing",
            remedy="Take all three lists that were made together, or none.",
        )  # fmt: skip
    return {part: _row_list(path, count) for part, path in there.items()}


def _chosen(root: Path, count: int) -> Rows | None:
    path = find(root, _CHOSEN)
    return None if path is None else np.unique(_row_list(path, count))


def _row_list(path: Path, count: int) -> Rows:
    rows: NDArray[Any] = open_matrix(path).ravel()
    if rows.dtype.kind not in "iu" or not rows.size or rows.min() < 0 or rows.max() >= count:
        span = f"{rows.min()} ... {rows.max()}" if rows.size else "none"
        raise DataFileError(
            str(path), expected=f"row numbers 0 ... {count - 1:,}", got=f"{rows.dtype}, {span}",
            remedy="It belongs to other labels: take the files that were made together.",
        )  # fmt: skip
    return rows.astype(np.int64)


def _at(root: Path, places: Sequence[str]) -> Path:
    """The first place that exists, or the official one, which its reader will say is missing."""
    return find(root, places) or root / places[0]


def _file_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]

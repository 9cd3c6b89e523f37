"""MIRFLICKR-25K as it is given out: 25,000 images, a file of tags each, and a file of image numbers for each label.

The hashing papers use the tags that occur for at least 20 of the images (1,386, listed by the authors) and the images
that have one of them and a label (20,015). DCHMT takes every image with a label and all its tags. Numbers that the
annotations name and nobody else does are an error: they are of another collection, or half of this one is missing.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashret.data.columns import Columns
from hashret.data.layouts import Layout, Needed, find
from hashret.errors import DataError, DataFileError

__all__ = ["official_tree"]

IMAGES = 25_000
LEAST = 20
_FOLDERS = ("mirflickr", ".", "images")
_TAGS = ("mirflickr/meta/tags", "meta/tags", "mirflickr/meta/tags_raw", "meta/tags_raw")
_COMMON = ("mirflickr/doc/common_tags.txt", "doc/common_tags.txt")
_LABELS = ("mirflickr25k_annotations_v080", "mirflickr/mirflickr25k_annotations_v080", "annotations")


def official_tree(classes: tuple[str, ...], *, least: int, all_tags: bool, partial: bool) -> Layout:
    """The layout of the official downloads.

    Args:
        classes: Names of the labels, which are those of the annotation files.
        least: For how many images a tag must occur to count. For 20 the authors' list (``doc/common_tags.txt``) is
            taken if it is there.
        all_tags: Take all tags of an image as its sentence, and the usable images in the order of their numbers as
            text (1, 10, 100, ...), as DCHMT's script does; otherwise only the tags that count, and 1, 2, 3, ... Rows
            are in the latter order either way, so that those of a file of features are.
        partial: Leave out labels of images that are officially there but not in this copy.
    """

    def read(root: Path) -> Columns:
        tags = _read_tags(root)
        numbers = sorted(tags.keys() | _image_numbers(root))
        labels, left = _read_labels(root, classes, numbers, partial)
        words = _counted_words(root, tags.values(), least)
        bags, sentences = _bags(numbers, tags, words), []
        counted = frozenset(words)
        for number in numbers:
            sentences.append(" ".join(tag for tag in tags.get(number, ()) if all_tags or tag in counted))
        notes = [f"tags: {len(words):,} that occur for at least {least} images"] if not all_tags else []
        notes += [f"{left:,} labels of images that are not in this copy left out"] if left else []
        names = [f"im{number}.jpg" for number in numbers]
        order = np.array(sorted(range(len(numbers)), key=lambda row: str(numbers[row])), np.int64) if all_tags else None
        return Columns(names, labels, classes, sentences, bags, words, order=order, notes=tuple(notes))

    needed = [Needed("tags, a file an image", _TAGS)]
    needed += [Needed(f"image numbers of label {name}", _label_places(name)) for name in classes]
    return Layout("official tree", tuple(needed), read, folders=_FOLDERS)


def _label_places(name: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}.txt" for folder in _LABELS)


def _image_numbers(root: Path) -> set[int]:
    """Numbers of the images in the first folder that has any."""
    for folder in _FOLDERS:
        if (root / folder).is_dir():
            found = {
                int(match[1]) for name in os.listdir(root / folder) if (match := re.fullmatch(r"im(\d+)\.jpg", name))
            }
            if found:
                return found
    return set()


def _read_tags(root: Path) -> dict[int, list[str]]:
    """Number of an image -> its tags, none twice; raw tags are written as the others are, small and without blanks."""
    folder = find(root, _TAGS)
    assert folder is not None
    found = {}
    for name in os.listdir(folder):
        match = re.fullmatch(r"tags(\d+)\.txt", name)
        if match:
            lines = _text(folder / name).split("\n")
            if folder.name == "tags_raw":
                lines = ["".join(line.lower().split()) for line in lines]
            found[int(match[1])] = list(dict.fromkeys(tag for line in lines if (tag := line.strip())))
    return found


def _text(path: Path) -> str:
    """UTF-8, or Latin-1 where it is not."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _read_labels(
    root: Path, classes: Sequence[str], numbers: Sequence[int], partial: bool
) -> tuple[NDArray[np.uint8], int]:
    """Multi-hot labels of these images, and how many labels of absent images were left out."""
    row = {number: place for place, number in enumerate(numbers)}
    labels, absent = np.zeros((len(numbers), len(classes)), np.uint8), dict[int, str]()
    left = 0
    for column, name in enumerate(classes):
        path = find(root, _label_places(name))
        assert path is not None
        for line, text in enumerate(_text(path).split("\n"), 1):
            if not text.strip():
                continue
            try:
                number = int(text)
            except ValueError:
                raise DataFileError(
                    str(path), expected="the number of an image in each line", got=f"{text[:40]!r} in line {line}",
                    remedy="It is damaged: take it from its source again.",
                ) from None  # fmt: skip
            if number in row:
                labels[row[number], column] = 1
            elif partial and 1 <= number <= IMAGES:
                left += 1
            else:
                absent.setdefault(number, path.name)
    if absent:
        first = ", ".join(f"im{number}.jpg ({name})" for number, name in list(absent.items())[:3])
        raise DataError(
            "MIRFLICKR-25K, annotations", expected="numbers of images that are there",
            got=f"{len(absent):,} others: {first}",
            remedy="Unpack all of the images and tags; data.partial=true takes a part of them.",
        )  # fmt: skip
    return labels, left


def _counted_words(root: Path, tags: Iterable[Sequence[str]], least: int) -> list[str]:
    """The tags that count, the commonest first."""
    path = find(root, _COMMON)
    if path is not None and least == LEAST:
        return list(dict.fromkeys(line.split()[0] for line in _text(path).split("\n") if line.strip()))
    counts = Counter(tag for each in tags for tag in each)
    return sorted((tag for tag, count in counts.items() if count >= least), key=lambda tag: (-counts[tag], tag))


def _bags(numbers: Sequence[int], tags: Mapping[int, Sequence[str]], words: Sequence[str]) -> NDArray[np.uint8]:
    place = {word: column for column, word in enumerate(words)}
    bags = np.zeros((len(numbers), len(words)), np.uint8)
    for row, number in enumerate(numbers):
        bags[row, [place[tag] for tag in tags.get(number, ()) if tag in place]] = 1
    return bags

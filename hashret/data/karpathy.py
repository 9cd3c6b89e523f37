"""Karpathy's json: images, their captions and their split, as Flickr8k, Flickr30k and MS-COCO are divided by it.

What the file says is read and checked key by key; where the images lie is their dataset's business. The split
"restval" of MS-COCO counts as "train", as everybody trains.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashret.data.annotationfile import read_json
from hashret.data.card import Card
from hashret.errors import FileError, FormatError

__all__ = ["Karpathy", "Photo", "read", "read_for"]

_KEYS = frozenset(
    ["dataset", "images", "classes", "filename", "filepath", "split", "sentences", "raw", "labels", "width", "height"]
)


@dataclass(frozen=True)
class Photo:
    """What the json says of one image.

    Attributes:
        file_name: Relative to the images' folder.
        split: "train", "val", "test" or another.
        texts: At least one caption.
        labels: None where it has none.
        size: Width and height in pixels; None where it does not say (the official files do not).
    """

    file_name: str
    split: str
    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Karpathy:
    """What the json says: its name, its images in order, and the classes (empty without labels)."""

    name: str
    photos: tuple[Photo, ...]
    classes: tuple[str, ...]


def read_for(card: Card, path: str | os.PathLike[str]) -> Karpathy:
    """Read the json of a dataset.

    Raises:
        DataFileError: It is not there, or not Karpathy's json; says where to get it.
    """
    try:
        return read(path)
    except FormatError as error:
        raise card.damaged(error.what, error.expected, error.got) from error
    except FileError as error:
        raise card.missing(path, "Karpathy's json") from error


def read(path: str | os.PathLike[str]) -> Karpathy:
    """Read Karpathy's json.

    Raises:
        FileError: There is no such file.
        FormatError: It is no JSON, or lacks a key; names the key and the number of the image.
    """
    path = Path(path)
    content = read_json(path, _KEYS)
    entries = _get(path, "the file", content, "images", list)
    photos = tuple(_photo(path, number, entry) for number, entry in enumerate(entries))
    twice = [name for name, count in Counter(photo.file_name for photo in photos).items() if count > 1]
    if twice:
        raise FormatError(
            str(path), expected="every image once", got=f"{twice[0]} more than once", remedy="Leave the doubles out."
        )
    found = {name for photo in photos for name in photo.labels or ()}
    classes = tuple(_get(path, "the file", content, "classes", list, of=str)) if "classes" in content else sorted(found)
    unknown = sorted(found - set(classes))
    if unknown:
        raise FormatError(
            str(path), expected="labels that are among its classes", got=repr(unknown[0]), remedy="Add it to classes."
        )
    name = content.get("dataset", path.stem.removeprefix("dataset_"))
    return Karpathy(str(name), photos, tuple(classes) if found else ())


def _photo(path: Path, number: int, entry: Any) -> Photo:
    where = f"image {number}"
    file_name = _get(path, where, entry, "filename", str)
    if "filepath" in entry:
        file_name = f"{_get(path, where, entry, 'filepath', str)}/{file_name}"
    split = _get(path, where, entry, "split", str)
    sentences = _get(path, where, entry, "sentences", list)
    texts = tuple(_get(path, f"sentence {i} of {where}", each, "raw", str) for i, each in enumerate(sentences))
    if not texts:
        raise FormatError(
            f"{path}, key 'sentences' of {where}", expected="at least one", got="none", remedy="Leave the image out."
        )
    labels = tuple(_get(path, where, entry, "labels", list, of=str)) if "labels" in entry else None
    size = None
    if "width" in entry or "height" in entry:
        size = _get(path, where, entry, "width", int), _get(path, where, entry, "height", int)
        if min(size) < 1:
            raise FormatError(
                f"{path}, size of {where}", expected="width and height of at least 1 pixel", got=str(size),
                remedy="Leave both out where they are not known.",
            )  # fmt: skip
    return Photo(file_name, "train" if split == "restval" else split, texts, labels, size)


def _get(path: Path, where: str, holder: Any, key: str, kind: type, of: type = object) -> Any:
    """The value of a key, checked; ``of`` is the type of the items of a list."""
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, kind) or (isinstance(value, list) and not all(isinstance(each, of) for each in value)):
        named = {list: "a list of strings" if of is str else "a list", str: "a string", int: "an integer"}
        got = "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
        raise FormatError(
            f"{path}, key {key!r} of {where}", expected=named[kind], got=got,
            remedy="This is not Karpathy's json, or it was changed: take the original again.",
        )  # fmt: skip
    return value

"""The official annotation files of MS-COCO: which images there are, what they are called, what is said of them.

``captions_SPLIT.json`` names images and their captions, ``instances_SPLIT.json`` boxes of 80 categories; of half a
gigabyte only image and category are kept. An annotation of an image or a category that the file does not list is
refused: a part of another version would be mixed in silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.data.annotationfile import read_json
from hashret.data.card import Card
from hashret.errors import DataError, FormatError

__all__ = [
    "CAPTIONS",
    "CATEGORY_IDS",
    "CLASSES",
    "IMAGES",
    "Captions",
    "annotation_name",
    "check_counts",
    "read_captions",
    "read_labels",
]

IMAGES = {"train2014": 82_783, "val2014": 40_504, "train2017": 118_287, "val2017": 5_000}
CAPTIONS = {"train2014": 414_113, "val2014": 202_654, "train2017": 591_753, "val2017": 25_014}
CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
_KEYS = frozenset(
    ["images", "annotations", "categories", "id", "file_name", "image_id", "caption", "category_id", "name"]
)
_COLUMN = {number: column for column, number in enumerate(CATEGORY_IDS)}


@dataclass(frozen=True, eq=False)
class Captions:
    """What a captions file says, by image id, ascending.

    Attributes:
        files: The image's file name.
        texts: Its captions in the order of the file; () for an image without one.
    """

    files: Mapping[int, str]
    texts: Mapping[int, tuple[str, ...]]


def annotation_name(kind: str, split: str) -> str:
    """Where a file lies below the root.

    Example:
        >>> annotation_name("captions", "val2017")
        'annotations/captions_val2017.json'
    """
    return f"annotations/{kind}_{split}.json"


def read_captions(card: Card, root: Path, split: str) -> Captions:
    """Read the captions of a split.

    Raises:
        DataFileError: The file is missing, cut short or of another form; names the key.
        DataError: Captions of images that it does not list.
    """
    path = root / annotation_name("captions", split)
    content = _read(card, path, f"the captions of {split}")
    files = _files(card, path, content)
    said = _by_image(card, path, content, files, "caption", str)
    return Captions(files, {number: tuple(texts) for number, texts in said.items()})


def read_labels(card: Card, root: Path, split: str) -> dict[int, NDArray[np.uint8]]:
    """Read which categories the boxes of each image of a split are of: image id -> multi-hot uint8 (80,).

    Raises:
        DataFileError: The file is missing, cut short or of another form; names the key.
        DataError: Boxes of images or categories that it does not list.
    """
    path = root / annotation_name("instances", split)
    content = _read(card, path, f"the boxes of {split}")
    listed = [
        (_get(card, path, f"category {place}", entry, "id", int), _get(card, path, "a category", entry, "name", str))
        for place, entry in enumerate(_get(card, path, "the file", content, "categories", list))
    ]
    if sorted(listed) != list(zip(CATEGORY_IDS, CLASSES, strict=True)):
        odd = next((pair for pair in sorted(listed) if pair not in set(zip(CATEGORY_IDS, CLASSES, strict=True))), None)
        raise card.damaged(path, "the 80 categories of MS-COCO", f"{len(listed)}, such as {odd}" if odd else "fewer")
    files = _files(card, path, content)
    boxes = _by_image(card, path, content, files, "category_id", int)
    unknown = [number for found in boxes.values() for number in found if number not in _COLUMN]
    if unknown:
        raise _strange(card, path, "boxes of its 80 categories", "of other category ids", unknown)
    labels = np.zeros((len(files), len(CLASSES)), np.uint8)
    for row, found in zip(labels, boxes.values(), strict=True):
        row[[_COLUMN[number] for number in found]] = 1
    return dict(zip(boxes, labels, strict=True))


def check_counts(card: Card, split: str, found: Captions, partial: bool) -> None:
    """Refuse another number of images or captions than the official one, and images without a caption.

    Raises:
        DataError: The numbers differ, unless ``partial``.
    """
    silent = [found.files[number] for number, texts in found.texts.items() if not texts]
    images, captions = len(found.files), sum(map(len, found.texts.values()))
    if partial or ((images, captions) == (IMAGES[split], CAPTIONS[split]) and not silent):
        return
    without = f", and {len(silent):,} images without a caption, first {silent[0]}" if silent else ""
    raise DataError(
        f"{card.title}, {split}", expected=f"{IMAGES[split]:,} images and {CAPTIONS[split]:,} captions",
        got=f"{images:,} and {captions:,}{without}",
        remedy="Files are missing or of another version; data.partial=true takes a part of the set in proportion.",
    )  # fmt: skip


def _read(card: Card, path: Path, what: str) -> Any:
    if not path.is_file():
        raise card.missing(path, what)
    try:
        return read_json(path, _KEYS)
    except FormatError as error:
        raise card.damaged(path, error.expected, error.got) from error


def _files(card: Card, path: Path, content: Any) -> dict[int, str]:
    """Image id -> file name, ascending."""
    found: dict[int, str] = {}
    for place, entry in enumerate(_get(card, path, "the file", content, "images", list)):
        number = _get(card, path, f"image {place}", entry, "id", int)
        if number in found:
            raise card.damaged(path, "every image once", f"image id {number} twice")
        found[number] = _get(card, path, f"image {place}", entry, "file_name", str)
    return dict(sorted(found.items()))


def _by_image(
    card: Card, path: Path, content: Any, files: Mapping[int, str], key: str, kind: type
) -> dict[int, list[Any]]:
    """Image id -> a value of each of its annotations, for every image of the file."""
    found: dict[int, list[Any]] = {number: [] for number in files}
    unknown = []
    for place, entry in enumerate(_get(card, path, "the file", content, "annotations", list)):
        number, value = (entry.get("image_id"), entry.get(key)) if isinstance(entry, dict) else (None, None)
        if not (isinstance(number, int) and isinstance(value, kind)):  # a million of them: named when it is needed
            number = _get(card, path, f"annotation {place}", entry, "image_id", int)
            value = _get(card, path, f"annotation {place}", entry, key, kind)
        if number in found:
            found[number].append(value)
        else:
            unknown.append(number)
    if unknown:
        raise _strange(card, path, "annotations of the images that it lists", "of other image ids", unknown)
    return found


def _strange(card: Card, path: Path, expected: str, got: str, numbers: Sequence[int]) -> DataError:
    first = ", ".join(map(str, dict.fromkeys(numbers[:3])))
    return DataError(
        f"{card.title}, {path}", expected=expected, got=f"{len(numbers):,} {got}, first {first}",
        remedy="It was changed, or is of two versions: take the original again.",
    )  # fmt: skip


def _get(card: Card, path: Path, where: str, holder: Any, key: str, kind: type) -> Any:
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, kind):
        named = {str: "a string", int: "an integer", list: "a list"}[kind]
        got = "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
        raise card.damaged(f"{path}, key {key!r} of {where}", named, got)
    return value

"""Pictures: where the image of a name or number lies in a copy of MS-COCO, or what stands for it.

The images of 2014 and 2017 are the same ones under other names, divided in another way, and annotation files of one
year are often used with the pictures of the other. A picture that is nowhere keeps the path it should have: telling
that it is absent is the quarantine's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from hashret.data.card import Card
from hashret.data.karpathy import Karpathy, Photo
from hashret.data.region_tree import RegionTree
from hashret.errors import DataFileError
from hashret.examples import ImageSource

__all__ = ["Pictures", "image_finder", "parse_name"]

_NAME = re.compile(r"(?:COCO_(?P<prefix>train2014|val2014)_)?(?P<number>\d{12})\.jpg")
_SPLITS = ("train2014", "val2014", "train2017", "val2017")


def parse_name(name: str) -> tuple[int, str | None] | None:
    r"""Tell image id and split from a file name or path; None for a name that is not MS-COCO's.

    Example:
        >>> parse_name("COCO_val2014_000000522418.jpg"), parse_name("/data/train2017/000000000009.jpg")
        ((522418, 'val2014'), (9, 'train2017'))
        >>> parse_name("000000000009.jpg"), parse_name("im1.jpg")
        ((9, None), None)
    """
    folder, _, file_name = name.replace("\\", "/").rpartition("/")
    match = _NAME.fullmatch(file_name)
    if match is None:
        return None
    last = folder.rpartition("/")[2]
    return int(match["number"]), match["prefix"] or (last if last in _SPLITS else None)


def _file_name(number: int, split: str | None) -> str:
    return f"COCO_{split}_{number:012d}.jpg" if split in ("train2014", "val2014") else f"{number:012d}.jpg"


class Pictures:
    """The pictures of a copy: in ``train2014/``, ``val2014/``, ``train2017/``, ``val2017/`` or all in ``images/``.

    Args:
        card: The dataset's.
        root: The folder that holds these, itself or in its ``images/``.

    Raises:
        DataFileError: None of them is there.
    """

    def __init__(self, card: Card, root: Path) -> None:
        """Look which folders there are."""
        self._root = root
        places = {split: (root / split, root / "images" / split) for split in _SPLITS}
        self._folders = {split: place for split in _SPLITS for place in places[split] if place.is_dir()}
        self._together = root / "images" if not self._folders and (root / "images").is_dir() else None
        if not self._folders and self._together is None:
            raise card.missing(
                root, "pictures in train2014/ and val2014/, in train2017/ and val2017/, or all in images/"
            )

    def path(self, number: int, split: str | None) -> Path:
        """Where an image lies: in the folder of its split, else wherever a folder of the other year has it."""
        if split in self._folders:
            return self._folders[split] / _file_name(number, split)
        if self._together is not None:
            return self._together / _file_name(number, split)
        for other, names in self._listed.items():
            if _file_name(number, other) in names:
                return self._folders[other] / _file_name(number, other)
        return self._root / (split or "images") / _file_name(number, split)

    @cached_property
    def _listed(self) -> dict[str, frozenset[str]]:
        """Names in each folder; read only where an image's own folder is absent."""
        return {split: frozenset(path.name for path in folder.iterdir()) for split, folder in self._folders.items()}


def image_finder(card: Card, root: Path, content: Karpathy, tree: RegionTree | None) -> Callable[[Photo], ImageSource]:
    """What tells the picture of a photo in Karpathy's json, or the files of its regions, numbered by its image id.

    Args:
        card: The dataset's.
        root: Of the copy.
        content: The json.
        tree: Where regions lie; None for pictures.

    Returns:
        From a photo with a name of MS-COCO's to its image.

    Raises:
        DataFileError: No pictures, which are needed without regions and where boxes are to be divided by their sizes.
    """
    pictures: Pictures | None = None
    try:
        pictures = Pictures(card, root)
    except DataFileError:
        if tree is None or tree.needs_pictures([photo.size for photo in content.photos]):
            raise

    def image_of(photo: Photo) -> ImageSource:
        parsed = parse_name(photo.file_name)
        assert parsed is not None
        place = None if pictures is None else pictures.path(*parsed)
        if tree is None:
            assert place is not None
            return place
        return tree.files(parsed[0], photo.size, place)

    return image_of

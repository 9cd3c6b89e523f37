"""RegionTree: the folder in which bottom-up regions of a set lie, a file of features and one of boxes an image.

Everybody who compares regions on Flickr30k and MS-COCO passes the same two folders on, ``bu_att/`` and ``bu_box/``,
with files named by a number: the image's place in Karpathy's json, or MS-COCO's image id. This file says where the
regions of a number lie; whether they are there and whole is the quarantine's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hashret.data.card import Card
from hashret.errors import DataError
from hashret.regions import RegionFiles

__all__ = ["FEATURES", "USUAL", "RegionTree"]

FEATURES, BOXES = "bu_att", "bu_box"
USUAL = "features_36"
"""Where the folder usually lies in a dataset's root."""


class RegionTree:
    """Regions of a set: ``bu_att/NUMBER.npz`` and, if there are boxes, ``bu_box/NUMBER.npy``.

    Args:
        card: The dataset's.
        folder: Holds both folders; without ``bu_box/`` regions have features only.

    Attributes:
        boxed: Whether there are boxes.

    Raises:
        DataFileError: There is no ``bu_att/`` in it.
    """

    def __init__(self, card: Card, folder: Path) -> None:
        """Look which folders there are."""
        if not (folder / FEATURES).is_dir():
            raise card.missing(folder / FEATURES, "regions: bu_att/NUMBER.npz, with bu_box/NUMBER.npy beside it")
        self._card, self._folder = card, folder
        self.boxed = (folder / BOXES).is_dir()

    def needs_pictures(self, sizes: Sequence[tuple[int, int] | None]) -> bool:
        """Whether the pictures have to be there: for the sizes by which boxes are divided, where the json has none."""
        return self.boxed and None in sizes

    def files(self, number: int, size: tuple[int, int] | None, picture: Path | None) -> RegionFiles:
        """Where the regions of an image lie.

        Args:
            number: Its number.
            size: Its width and height, if the json has them.
            picture: Its file, if the pictures are there.

        Raises:
            DataError: Boxes, and neither size nor picture.
        """
        if self.boxed and size is None and picture is None:
            raise DataError(
                f"{self._card.title}, boxes of image {number}", expected="the picture, or its width and height in the "
                "json", got="neither", remedy="Add the pictures: boxes are divided by their size.",
            )  # fmt: skip
        boxes = self._folder / BOXES / f"{number}.npy" if self.boxed else None
        return RegionFiles(self._folder / FEATURES / f"{number}.npz", boxes, size, picture)

    def note(self) -> str:
        """What a reader of a result must know of them."""
        boxes = "with boxes and area" if self.boxed else f"without boxes: there is no {BOXES}/"
        return f"images: regions in files of {self._folder.name}/, {boxes}"

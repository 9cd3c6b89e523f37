"""Layout: one of the forms in which the files of a labelled set come, and which of them lies in a folder.

A layout is told by its files. Which is taken where several lie side by side is the order of the list; what is read from
the files is the layout's own reader. Images may lie beside any of them in three forms: pixels, features, files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hashret.data.card import Card
from hashret.data.columns import Columns, Rows
from hashret.data.imagerows import PixelRows, feature_rows, find_photos
from hashret.errors import DataError
from hashret.examples import ImageSource

__all__ = ["FoundImages", "Images", "Layout", "Needed", "choose_layout", "find", "find_images"]

Images = Literal["auto", "pixels", "features"]


@dataclass(frozen=True)
class Needed:
    """A file or folder that a layout needs.

    Attributes:
        what: What is in it.
        places: Where it may lie, relative to the root; the first is the official one.
    """

    what: str
    places: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """One form of the files.

    Attributes:
        name: As notes call it.
        needed: What it is told by.
        read: Reads what lies under a root.
        pixels: Places of a matrix of pixels, and names of its variable.
        features: Places of a matrix of features.
        folders: Folders that may hold the images as files.
        lists: Adds the authors' lists of rows that lie under a root, if there are any; read only where a protocol asks
            for them. None where none belong to the layout.
    """

    name: str
    needed: tuple[Needed, ...]
    read: Callable[[Path], Columns]
    pixels: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    features: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    lists: Callable[[Path, Columns], Columns] | None = None

    def present(self, root: Path) -> list[Path]:
        """What of it is there."""
        return [path for each in self.needed if (path := find(root, each.places)) is not None]

    def missing(self, root: Path) -> list[Needed]:
        """What of it is not there."""
        return [each for each in self.needed if find(root, each.places) is None]

    def images(self) -> str:
        """Where its images may lie, in words."""
        folders = [f"{folder}/ with the images" if folder != "." else "the images" for folder in self.folders[:1]]
        return " or ".join([*self.pixels[0][:1], *self.features[:1], *folders])


def find(root: Path, places: Sequence[str]) -> Path | None:
    """The first place that exists."""
    return next((root / place for place in places if (root / place).exists()), None)


def choose_layout(card: Card, root: Path, layouts: Sequence[Layout]) -> Layout:
    """The first layout that is whole.

    Raises:
        DataFileError: None is; names what the nearest one lacks.
    """
    for layout in layouts:
        if not layout.missing(root):
            return layout
    nearest = max(layouts, key=lambda layout: len(layout.present(root)) / len(layout.needed))
    lacking = nearest.missing(root)
    if not nearest.present(root):
        forms = "; ".join(f"{layout.name} ({layout.needed[0].places[0]}, ...)" for layout in layouts)
        raise card.missing(root, f"its files in one of these forms: {forms}")
    more = f", and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    others = ", ".join(layout.name for layout in layouts if layout is not nearest)
    other = f"; or {others}" if others else ""
    raise card.missing(root / lacking[0].places[0], f"{lacking[0].what}{more} ({nearest.name}{other})")


@dataclass(frozen=True, eq=False)
class FoundImages:
    """Images of some rows.

    Attributes:
        images: One a row.
        path: The file or folder that holds them.
        what: What they are, as a note.
    """

    images: Sequence[ImageSource]
    path: Path
    what: str


def find_images(
    card: Card, layout: Layout, root: Path, columns: Columns, rows: Rows, images: Images, features: str
) -> FoundImages:
    """The images of some rows in the form that is wanted.

    Args:
        card: Of the dataset.
        layout: Whose images.
        root: Where it lies.
        columns: What it says.
        rows: The rows whose images are wanted, in the order in which they are.
        images: "auto" takes features if a file of them is named, then pixels, files, features, whichever is there.
        features: A file of features, relative to the root: a row for each of the rows, or for each of all rows, either
            way in the order of all rows.

    Raises:
        DataFileError: They are not there, or belong to another number of rows.
        DataError: Pixels are wanted and features named.
    """
    if features and images == "pixels":
        raise DataError(
            f"{card.title}, images", expected="features, where a file of them is named", got="images=pixels",
            remedy="Leave images or features out.",
        )  # fmt: skip
    matrix = root / features if features else find(root, layout.features)
    if images != "features" and not features:
        seen = _pictures(layout, root, columns, rows)
        if seen is not None:
            return seen
    if matrix is None or images == "pixels":
        wanted = f"image features ({', '.join(layout.features) or 'name a file: features=...'})"
        raise card.missing(root, wanted if images == "features" else f"images: {layout.images()}, or features=FILE")
    if not matrix.is_file():
        raise card.missing(matrix, "a matrix of image features, .npy or .mat")
    vectors = feature_rows(matrix, (len(columns.names), len(rows)))
    taken = rows if len(vectors) == len(columns.names) else np.searchsorted(np.sort(rows), rows)
    what = f"images: features of {vectors.shape[1]:,} values from {matrix.name}"
    return FoundImages([vectors[row] for row in taken], matrix, what)


def _pictures(layout: Layout, root: Path, columns: Columns, rows: Rows) -> FoundImages | None:
    """Pixels or files, if there are any."""
    path = find(root, layout.pixels[0])
    if path is not None:
        held = PixelRows(path, layout.pixels[1], len(columns.names))
        return FoundImages(_Some(held, rows), path, f"images: pixels from {path.name}")
    names = [columns.names[int(row)] for row in rows]
    for folder in layout.folders:
        photos = find_photos(root / folder, names)
        if photos is not None:
            return FoundImages(photos, root / folder, f"images: files in {folder if folder != '.' else root.name}")
    return None


class _Some(Sequence[ImageSource]):
    """Some rows of a sequence."""

    def __init__(self, images: Sequence[ImageSource], rows: Rows) -> None:
        self._images, self._rows = images, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        assert not isinstance(place, slice)
        return self._images[int(self._rows[place])]

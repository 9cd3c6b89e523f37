"""Images as rows: of a matrix of pixels, of a matrix of features, or as files of a folder, looked at one at a time.

The hashing papers keep 224 x 224 pixels of all images in one matrix of MATLAB's, up to 30 GB. A row here is a view of
the mapped file, opened when the first row is asked for; nothing is decoded and nothing is copied into memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hashret.data.matrixfile import matrix_shapes, open_matrix
from hashret.errors import DataFileError
from hashret.examples import ImageSource

__all__ = ["NamedImages", "PixelRows", "feature_rows", "find_photos"]

_SUFFIXES = (".jpg", ".jpeg", ".png")


class PixelRows(Sequence[NDArray[Any]]):
    """Rows of a matrix of pixels as uint8 (H, W, 3), whichever way round the matrix lies.

    Args:
        path: A .mat or .npy.
        names: Names of its variable.
        rows: Number of images.

    Raises:
        DataFileError: It cannot be read, or is no matrix of the pixels of so many images; or, when the first row is
            asked for, its pixels are not uint8. That row is asked for before any thread asks.
    """

    def __init__(self, path: Path, names: Sequence[str], rows: int) -> None:
        """Look at the shape; the matrix is opened later."""
        shapes = matrix_shapes(path)
        name = next((name for name in ("", *names) if name in shapes), None)
        shape = shapes.get(name, ()) if name is not None else ()
        self._path, self._names, self._rows = path, [] if name is None else [name], rows
        if len(shape) == 4 and shape[:2] == (rows, 3):
            self._way = "items, channels, width, height"  # as MATLAB's reversed axes come out of HDF5
        elif len(shape) == 4 and (shape[0], shape[3]) == (rows, 3):
            self._way = "items, height, width, channels"
        elif len(shape) == 4 and shape[2:] == (3, rows):
            self._way = "height, width, channels, items"
        else:
            raise DataFileError(
                str(path), expected=f"{' or '.join(names)}: the pixels of {rows:,} images",
                got=", ".join(f"{name} {shape}".strip() for name, shape in shapes.items()) or "no variable",
                remedy="It belongs to other labels, or is another version.",
            )  # fmt: skip

    @cached_property
    def _matrix(self) -> NDArray[Any]:
        matrix = open_matrix(self._path, self._names, rows=self._rows)
        if matrix.dtype != np.uint8:
            raise DataFileError(
                str(self._path), expected="pixels in uint8", got=str(matrix.dtype), remedy="Scale them to 0 ... 255."
            )
        return matrix

    def __len__(self) -> int:
        """Number of images."""
        return self._rows

    @overload
    def __getitem__(self, row: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, row: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, row: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        """A view of one image (H, W, 3), or a list of some."""
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(self._rows))]
        if self._way.endswith("items"):
            return self._matrix[..., row]
        image: NDArray[Any] = self._matrix[row]
        return image.transpose(2, 1, 0) if self._way.endswith("height") else image


class NamedImages(Mapping[str, ImageSource]):
    """Name -> image, each looked up when it is asked for.

    Args:
        names: All different.
        images: As many.
    """

    def __init__(self, names: Sequence[str], images: Sequence[ImageSource]) -> None:
        """Number the names."""
        self._row = {name: row for row, name in enumerate(names)}
        self._images = images

    def __getitem__(self, name: str) -> ImageSource:
        """The image of that name."""
        return self._images[self._row[name]]

    def __iter__(self) -> Iterator[str]:
        """All names."""
        return iter(self._row)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._row)


def feature_rows(path: Path, counts: Sequence[int]) -> NDArray[Any]:
    """A matrix of features, a row an image, with one of these numbers of rows; the variable "XAll", or the first.

    Raises:
        DataFileError: It cannot be read, or has another number of rows.
    """
    names = () if path.suffix == ".npy" else ("XAll", *matrix_shapes(path))
    got = ""
    for count in dict.fromkeys(counts):
        matrix = open_matrix(path, names, rows=count)
        if matrix.ndim == 2 and len(matrix) == count and matrix.shape[1]:
            return matrix
        got = f"{matrix.dtype} {matrix.shape}"
    expected = " or ".join(f"{count:,}" for count in dict.fromkeys(counts))
    raise DataFileError(
        str(path), expected=f"features, {expected} rows", got=got,
        remedy="Extract them for these images, in their order.",
    )  # fmt: skip


def find_photos(folder: Path, names: Sequence[str]) -> list[Path] | None:
    """Where the images of these names lie in a folder or its subfolders; None if not one of them is there.

    A name may be a path, of which the folders count if they are there: ``actor/0001_21.jpg`` is looked for as it is, in
    the folder itself, then in any subfolder. One that is nowhere is taken to lie where it should.
    """
    if not folder.is_dir():
        return None
    flat, below = set[str](), dict[str, str]()
    inside = set[str]()
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                flat.add(entry.name)
            elif not entry.name.startswith("."):
                inside.add(entry.name)
    if not all(name in flat for name in names):
        for sub in sorted(inside):
            for name in os.listdir(folder / sub):
                if name.lower().endswith(_SUFFIXES):
                    below.setdefault(name, f"{sub}/{name}")
                    below[f"{sub}/{name}"] = f"{sub}/{name}"
    paths, found = [], False
    for name in names:
        base = name.rpartition("/")[2]
        place = below.get(name) or (base if base in flat else below.get(base))
        found = found or place is not None
        paths.append(folder / (place or (name if name.partition("/")[0] in inside else base)))
    return paths if found else None

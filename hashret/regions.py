"""read_regions: what a detector found in one image, from the two files that it left: features, and boxes beside them.

Bottom-up features (Anderson et al., CVPR 2018) come as ``bu_att/ID.npz`` with an array "feat" and ``bu_box/ID.npy`` in
pixels. Thirty thousand images of them fill a memory, so that an example holds where they lie and they are read when
they are used. This file exists so that training, encoding and the quarantine agree on what is in them; it detects
nothing, repairs nothing and never opens a pickle.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashret.errors import ImageError, InputError

__all__ = ["PLACE", "RegionFiles", "read_regions"]

PLACE = 5
"""Values that follow the features of a region: x1, y1, x2, y2 and area, as shares of the image."""
_KEY = "feat"
_OUTSIDE = 1.0  # pixels: detectors count a box's last pixel in, and round when they scale back


@dataclass(frozen=True)
class RegionFiles:
    """Where the regions of one image lie. Equal places are one image.

    Attributes:
        features: A .npz file whose "feat" holds a row of features for each region.
        boxes: A .npy file of their boxes in pixels, x1, y1, x2, y2; None leaves boxes out.
        size: Width and height of the image in pixels; None takes them from the header of ``image``.
        image: The picture itself, of which at most the header is read; None where it is not there.

    Raises:
        InputError: Boxes of an image whose size is neither given nor to be found, or a size that is none.

    Example:
        >>> RegionFiles("bu_att/7.npz", "bu_box/7.npy", size=(640, 480)).size
        (640, 480)
    """

    features: str | os.PathLike[str]
    boxes: str | os.PathLike[str] | None = None
    size: tuple[int, int] | None = None
    image: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        """Check that boxes can be divided by something."""
        if self.boxes is not None and self.size is None and self.image is None:
            raise InputError(
                f"boxes {self.boxes}", expected="the size of their image, or its file", got="neither",
                remedy="Give size=(width, height) or image=; boxes=None does without them.",
            )  # fmt: skip
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise InputError(
                f"size of {self.features}", expected="width and height, at least 1 pixel each", got=str(self.size),
                remedy="Leave it out where the picture is there.",
            )  # fmt: skip


def read_regions(source: RegionFiles) -> NDArray[np.float32]:
    """Features of the regions of an image, each followed by where it lies.

    A region is its features, x1, y1, x2, y2 divided by width and height, and the area (x2 - x1) (y2 - y1) of that, as
    TERAN and TGDT take them (for the usual 2,048 features, 2,053 values). A box may reach out of the image by a pixel,
    as boxes that were scaled back do; its numbers stay as they are.

    Args:
        source: Where they lie.

    Returns:
        Float32 (R, features + 5), or (R, features) without boxes; R >= 1.

    Raises:
        ImageError: A file is missing, truncated, of another form or pickled, numbers are not finite, there are other
            boxes than regions, a box ends before it begins or lies outside of the image. Its ``got`` is the bare
            reason.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> np.savez(folder / "7.npz", feat=np.ones((1, 2)))
        >>> np.save(folder / "7.npy", np.array([[0, 0, 10, 5]]))
        >>> read_regions(RegionFiles(folder / "7.npz", folder / "7.npy", size=(20, 10))).tolist()
        [[1.0, 1.0, 0.0, 0.0, 0.5, 0.5, 0.25]]
    """
    name = f"regions {os.fspath(source.features)}"
    features = _loaded(source.features, name, archived=True)
    if features.ndim != 2 or not features.size:
        raise _wrong(name, f"a row of features for each region in {_KEY!r}", f"an array of shape {features.shape}")
    rows = _finite(features, name, "its features")
    if source.boxes is None:
        return rows
    name = f"boxes {os.fspath(source.boxes)}"
    boxes = _loaded(source.boxes, name, archived=False)
    if boxes.shape != (len(rows), 4):
        raise _wrong(name, f"({len(rows)}, 4), a box for each region", f"boxes of shape {boxes.shape}")
    return np.concatenate([rows, _places(_finite(boxes, name, "its boxes"), _size_of(source), name)], axis=1)


def _places(boxes: NDArray[np.float32], size: tuple[int, int], name: str) -> NDArray[np.float32]:
    """Boxes in pixels as shares of the image, and their area; float32 (R, 5)."""
    corners, limits = boxes.astype(np.float64), np.array([*size, *size])
    backward: NDArray[Any] = np.any(corners[:, 2:] < corners[:, :2], axis=1)
    if backward.any():
        raise ImageError(
            f"{name}, {_first(boxes, backward)}", expected="x1, y1, x2, y2 with x1 <= x2 and y1 <= y2",
            got="a box that ends before it begins", remedy="Boxes of x, y, width, height have to be converted.",
        )  # fmt: skip
    outside: NDArray[Any] = np.any((corners < -_OUTSIDE) | (corners > limits + _OUTSIDE), axis=1)
    if outside.any():
        raise ImageError(
            f"{name}, {_first(boxes, outside)}", got="a box outside of its image",
            expected=f"boxes in pixels, at most one outside of its {size[0]} x {size[1]} pixels",
            remedy="Boxes and images must be of one set and one size: check which image has this number.",
        )  # fmt: skip
    shares = corners / limits
    areas = (shares[:, 2] - shares[:, 0]) * (shares[:, 3] - shares[:, 1])
    return np.concatenate([shares, areas[:, None]], axis=1).astype(np.float32)


def _first(boxes: NDArray[np.float32], bad: NDArray[Any]) -> str:
    row = int(np.flatnonzero(bad)[0])
    return f"{boxes[row].tolist()} of region {row}"


def _size_of(source: RegionFiles) -> tuple[int, int]:
    """Width and height of the image, in pixels."""
    if source.size is not None:
        return source.size
    assert source.image is not None
    name = f"image {os.fspath(source.image)}, for its size,"
    try:
        with open(source.image, "rb") as file, Image.open(file) as picture:
            return picture.size
    except Exception as error:  # a damaged file leads decoders into anything
        raise _wrong(name, "a picture", _reason(error, "bytes that are no known image")) from error


def _loaded(path: str | os.PathLike[str], name: str, *, archived: bool) -> NDArray[Any]:
    """The array of a .npy file, or the one called "feat" of a .npz file."""
    expected, damaged = f"a .npz file with {_KEY!r}" if archived else "a .npy file", "a truncated or damaged file"
    try:
        with open(path, "rb") as file:
            if archived != zipfile.is_zipfile(file):
                raise _wrong(name, expected, damaged)
            file.seek(0)
            if not archived:
                return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
            with np.load(file, allow_pickle=False) as archive:
                if _KEY not in archive:
                    raise _wrong(name, f"{expected}, not {', '.join(archive.files) or 'nothing'}", f"no key {_KEY!r}")
                return np.asarray(archive[_KEY])
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib, tokenize and NumPy each have their own
        pickled = isinstance(error, ValueError) and "allow_pickle" in str(error)
        got = "pickled objects, which are never opened" if pickled else _reason(error, damaged)
        raise _wrong(name, expected, got) from error


def _finite(values: NDArray[Any], name: str, what: str) -> NDArray[np.float32]:
    """Numbers as float32."""
    if values.dtype.kind not in "fiu":
        raise _wrong(name, "numbers", f"an array of {values.dtype}")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(rows).all():
        raise _wrong(name, "finite float32 values", f"NaN or infinity in {what}")
    return rows


def _reason(error: Exception, otherwise: str) -> str:
    """Why a file cannot be read, in the words of :mod:`hashret.images`."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "a folder"
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else otherwise


def _wrong(name: str, expected: str, got: str) -> ImageError:
    return ImageError(
        name, expected=expected, got=got, remedy="Take the file from its source again, or leave the image out."
    )

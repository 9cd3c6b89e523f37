"""picture_of: the picture of an item as the page shows it, drawn anew.

What is sent is a JPEG of bounded size that holds pixels only: no EXIF, no place, no thumbnail of an earlier crop.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

from PIL import Image

from hashret.images import open_image

__all__ = ["SIZES", "PictureSize", "picture_of"]

PictureSize = Literal["small", "large"]
SIZES: dict[PictureSize, int] = {"small": 384, "large": 1280}
_SMALLEST = 160


def picture_of(path: Path, size: PictureSize) -> bytes:
    """A JPEG of the picture, at most 384 or 1280 pixels long and wide.

    Tiny pictures are enlarged without smoothing, so that their pixels can be seen.

    Raises:
        ImageError: It cannot be decoded.
    """
    longest = SIZES[size]
    picture = _opened(path, longest)
    if max(picture.size) > longest:
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    elif max(picture.size) < _SMALLEST:
        times = longest // max(picture.size)
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=88, optimize=True)
    return kept.getvalue()


def _opened(path: Path, longest: int) -> Image.Image:
    """The picture; a JPEG far larger than is needed is decoded at a fraction of its size."""
    try:
        with Image.open(path) as file:
            file.draft(None, (longest, longest))
            return open_image(file)
    except Exception:
        return open_image(path)  # says by name what is wrong

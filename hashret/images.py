"""open_image: whatever a user calls an image, as 8-bit RGB; and a thumbnail of it for a page.

Only decoding tells what a file is: rotated by EXIF, CMYK, 16-bit, transparent, cut short, or no image at all. This file
exists so that training, encoding and the quarantine agree on the answer. It normalises nothing, makes no tensor, and
never guesses: what has no agreed meaning as RGB is refused by name.
"""

from __future__ import annotations

import base64
import io
import os
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hashret.errors import ImageError

__all__ = ["open_image", "thumbnail"]

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(source: str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]) -> Image.Image:
    """Decode an image completely and turn it into RGB as a viewer would show it.

    EXIF orientation is applied; grey, palette and CMYK are converted; 16-bit grey is scaled to 8 bits (value / 257,
    rounded); transparency is laid over white; of an animation the first frame is taken.

    Args:
        source: A path, the bytes of an image file, a PIL image, or uint8 pixels (H, W, 3) or (H, W).

    Returns:
        A new RGB image that holds pixels only (no EXIF that a second call could apply again); no file stays open.

    Raises:
        ImageError: Missing, empty, truncated or no image; more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``; floating
            point, which has no agreed range; an array of another shape or dtype. Its ``got`` is the bare reason.

    Example:
        >>> open_image(np.zeros((4, 6), np.uint8)).size
        (6, 4)
    """
    if isinstance(source, np.ndarray):
        return _from_pixels(source)
    if isinstance(source, Image.Image):
        name = f"image {getattr(source, 'filename', '') or f'({source.mode}, {source.width} x {source.height})'}"
    elif isinstance(source, bytes):
        name = f"image ({len(source)} bytes)"
    elif isinstance(source, (str, os.PathLike)):
        name = f"image {os.fspath(source)}"
    else:
        raise ImageError(
            "image", expected="a path, bytes, a PIL image or uint8 pixels", got=type(source).__name__,
            remedy="Convert it.",
        )  # fmt: skip
    try:
        if isinstance(source, Image.Image):
            return _to_rgb(source, name)
        with _bytes_of(source) as file, Image.open(file) as picture:
            return _to_rgb(picture, name)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # a damaged file leads decoders into anything, SyntaxError and struct.error included
        got, remedy = _reason(error, source)
        raise ImageError(name, expected="an image that can be decoded", got=got, remedy=remedy) from error


def thumbnail(source: str | os.PathLike[str] | bytes | Image.Image | NDArray[Any], side: int) -> str:
    """A small copy of an image as a ``data:`` address, which a page holds instead of asking for a file.

    Args:
        source: As :func:`open_image` takes it.
        side: The longer side at most, pixels; small images are not enlarged.

    Returns:
        The address of a JPEG.

    Raises:
        ImageError: As :func:`open_image`.

    Example:
        >>> thumbnail(np.zeros((4, 6, 3), np.uint8), 144)[:23]
        'data:image/jpeg;base64,'
    """
    small, file = open_image(source), io.BytesIO()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.save(file, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _bytes_of(source: str | os.PathLike[str] | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115 (the caller closes)


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    limit, (width, height) = Image.MAX_IMAGE_PIXELS, picture.size
    if not width or not height:
        raise ImageError(name, expected="pixels", got=f"{width} x {height} of them", remedy="Leave it out.")
    if limit is not None and width * height > limit:
        raise Image.DecompressionBombError
    picture.load()
    turn = _TURNS.get(_orientation(picture))  # after load(): a TIFF is turned by its decoder, which then drops the tag
    if picture.mode.startswith("I"):
        picture = _from_16_bit(picture)
    elif picture.mode == "F":
        raise ImageError(
            name, expected="8 or 16 bits a channel", got="floating point pixels",
            remedy="Their range is not agreed on (0 ... 1? 0 ... 255?): scale them to uint8 yourself.",
        )  # fmt: skip
    if picture.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        seen = picture.convert("RGBA")
        rgb = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    else:
        rgb = picture.convert("RGB")
    if turn is not None:
        rgb = rgb.transpose(turn)
    rgb.info = {}
    return rgb


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF beside good pixels: the pixels count
        return 1


def _from_16_bit(picture: Image.Image) -> Image.Image:
    """Scale 16-bit grey (which some Pillow versions open as 32-bit "I") to 8 bits."""
    values = np.asarray(picture).astype(np.int64).clip(0, 65535)
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        values[values == clear] = 65535
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _from_pixels(pixels: NDArray[Any]) -> Image.Image:
    grey_or_rgb = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if pixels.dtype != np.uint8 or not grey_or_rgb or not pixels.size:
        remedy = "Scale the pixels to 0 ... 255 and put the channels last."
        if pixels.ndim == 1:
            remedy = "This is a feature vector, not pixels: choose an image encoder that takes vectors."
        raise ImageError(
            "image array", expected="uint8 pixels (H, W, 3) or (H, W)", got=f"{pixels.dtype} {pixels.shape}",
            remedy=remedy,
        )  # fmt: skip
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def _reason(error: Exception, source: object) -> tuple[str, str]:
    """Say in a few words why decoding failed, the same words for the same cause, and what to do."""
    again = "Take the file from its source again, or leave it out."
    if isinstance(error, FileNotFoundError):
        return "no such file", "Check the path and the folder it starts from."
    if isinstance(error, IsADirectoryError):
        return "a folder", "Name a file in it."
    if isinstance(error, UnidentifiedImageError):
        empty = source == b"" or (isinstance(source, (str, os.PathLike)) and os.path.getsize(source) == 0)
        return ("an empty file" if empty else "bytes that are no known image"), again
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        limit = f"more than {Image.MAX_IMAGE_PIXELS} pixels (a decompression bomb?)"
        return limit, "Scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file."
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower(), "Check the file and its permissions."
    if "truncated" in str(error).lower():
        return "a truncated image", again
    return f"a damaged image ({type(error).__name__}: {error})", again

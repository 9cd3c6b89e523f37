"""open_upload: the bytes somebody sent as an image, opened only if they are one and of the kind they claim to be.

What a stranger sends may be a bomb, cut short, or a file for another program. Only formats that browsers make are
read, the header is looked at before anything is decoded, and no name or path that came with the bytes is used.
"""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

from hashret.errors import ImageError
from hashret.images import open_image
from hashret.serve.problems import TooLargeError, UnknownKindError

__all__ = ["KINDS", "open_upload"]

KINDS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}
_SAME = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
}
_UNSAID = ("", "application/octet-stream")
_LONGEST = 20  # times its shorter side: scaled until that fits a network, more would be a bomb of its own
_KNOWN = "JPEG, PNG, WebP, GIF or BMP"


def open_upload(content: bytes, declared: str, pixels: int) -> Image.Image:
    """Decode an upload as RGB, as :func:`hashret.images.open_image` does.

    Args:
        content: The bytes.
        declared: The media type they were sent under; "" and application/octet-stream claim nothing.
        pixels: How many it may have.

    Raises:
        UnknownKindError: No image of a known kind, or of another kind than declared.
        TooLargeError: More pixels, or far longer than wide.
        ImageError: Truncated or damaged.
    """
    claimed = declared.partition(";")[0].strip().lower()
    claimed = _SAME.get(claimed, claimed)
    if claimed not in _UNSAID and claimed not in KINDS.values():
        raise UnknownKindError(
            "image",
            expected=_KNOWN,
            got=f"a file sent as {claimed[:80]}",
            remedy="Send a picture of one of these kinds.",
        )
    try:
        picture = Image.open(io.BytesIO(content), formats=tuple(KINDS))
    except UnidentifiedImageError as error:
        got = "an empty file" if not content else "bytes that are none of these"
        raise UnknownKindError("image", expected=_KNOWN, got=got, remedy="Is it a picture, and whole?") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("far more", pixels) from error
    except Exception as error:  # a damaged header leads decoders into anything
        raise ImageError(
            "image", expected="one that can be decoded", got=f"a damaged header ({type(error).__name__})",
            remedy="Save it again, or send another.",
        ) from error  # fmt: skip
    with picture:
        kind = KINDS[str(picture.format)]
        if claimed not in (*_UNSAID, kind):
            raise UnknownKindError(
                "image", expected=f"{claimed}, as it was sent", got=kind,
                remedy="Name the file after what it is, or save it again.",
            )  # fmt: skip
        width, height = picture.size
        if width * height > pixels or max(width, height) > _LONGEST * max(1, min(width, height)):
            raise _too_large(f"{width:,} x {height:,}", pixels)
        return open_image(picture)


def _too_large(got: str, pixels: int) -> TooLargeError:
    return TooLargeError(
        "image", expected=f"at most {pixels:,} pixels, and sides of at most {_LONGEST} : 1", got=got,
        remedy="Scale it down or cut it.",
    )  # fmt: skip

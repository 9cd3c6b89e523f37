"""An album: scenes to be drawn, each once; the pictures are kept on disk where that is asked for.

A scene takes about a millisecond, and a campaign loads the same tens of thousands of them for every run. What is kept
is found by the scenes themselves, their accidents, the size and the code that draws them, so that it is never stale.
Nothing is evicted: delete ``shapes`` in the cache to free it. What is in a scene is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from hashret.arrayfile import replace_file
from hashret.data import shapes_background, shapes_drawing, shapes_outline
from hashret.data.shapes_scene import Scene
from hashret.errors import FileError
from hashret.examples import Example

__all__ = ["Album", "key_of"]

Order = tuple[Scene, int, int]
_BLOCK = 512


def key_of(split: str, number: int) -> str:
    """The key of a scene of a split."""
    return f"shapes/{split}/{number:06d}"


class Album:
    """Collects the scenes of a split, then draws them.

    Args:
        split: Whose scenes they are, for their keys.
        size: Side of the pictures in pixels.
        keep: Whether the pictures are read from, and kept in, ``$HASHRET_CACHE`` (or ``hashret`` in
            ``$XDG_CACHE_HOME`` or ``~/.cache``).

    Example:
        >>> from hashret.data.shapes_scene import scenes
        >>> album, chance = Album("test", 64, keep=False), random.Random(0)
        >>> album.add(scenes("test", 2, seed=0), palette=chance.getrandbits(64), chance=chance)
        >>> [(picture.key, picture.image.size) for picture in album.drawn().values()]
        [('shapes/test/000000', (64, 64)), ('shapes/test/000001', (64, 64))]
    """

    def __init__(self, split: str, size: int, *, keep: bool) -> None:
        """Start with no scene."""
        self.split, self.size, self.keep = split, size, keep
        self.orders: dict[Scene, Order] = {}

    def add(self, found: Sequence[Scene], palette: int, chance: random.Random) -> None:
        """Take scenes in whose pictures have one palette, as edited photographs have.

        Args:
            found: None of them in the album yet.
            palette: Seed of their backgrounds' colours.
            chance: Draws the other accidents of each.
        """
        for scene in found:
            self.orders[scene] = scene, palette, chance.getrandbits(64)

    def drawn(self) -> dict[Scene, Example]:
        """The picture of each scene, in the order in which they came.

        Raises:
            FileError: The cache cannot be written.
        """
        orders = list(self.orders.values())
        images = _kept(orders, self.size) if self.keep else (_draw(order, self.size) for order in orders)
        return {
            scene: Example(image=image, key=key_of(self.split, number))
            for number, (scene, image) in enumerate(zip(self.orders, images, strict=True))
        }


def _draw(order: Order, size: int) -> Image.Image:
    scene, palette, detail = order
    return shapes_drawing.draw(scene, size, palette=palette, detail=detail)


def _kept(orders: Sequence[Order], size: int) -> Iterator[Image.Image]:
    place, shape = _place(orders, size), (len(orders), size, size, 3)
    pixels = _read(place, shape)
    if pixels is None:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_file(place, _file(orders, size, shape))
        except (FileError, OSError) as error:
            got = error.got if isinstance(error, FileError) else error.strerror or str(error)
            raise FileError(
                str(place.parent), expected=f"room for {np.prod(shape) / 2**20:.0f} MiB of drawn scenes", got=got,
                remedy="Set HASHRET_CACHE to a folder with room, or data.keep=false.",
            ) from error  # fmt: skip
        pixels = np.load(place, mmap_mode="r", allow_pickle=False)
    return (Image.fromarray(np.array(picture)) for picture in pixels)


def _read(place: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The kept pictures; None where there are none, or a crash cut them short."""
    try:
        pixels: NDArray[np.uint8] = np.load(place, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None


def _file(orders: Sequence[Order], size: int, shape: tuple[int, ...]) -> Iterator[bytes]:
    """The bytes of a .npy, a block of pictures at a time."""
    head = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(head, about)
    yield head.getvalue()
    for first in range(0, len(orders), _BLOCK):
        yield b"".join(_draw(order, size).tobytes() for order in orders[first : first + _BLOCK])


def _place(orders: Sequence[Order], size: int) -> Path:
    digest = hashlib.blake2b(f"{size} {PIL.__version__} {np.__version__}".encode(), digest_size=16)
    for module in (shapes_drawing, shapes_outline, shapes_background):
        digest.update(Path(str(module.__file__)).read_bytes())
    for order in orders:
        digest.update(repr(order).encode())
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get("HASHRET_CACHE") or os.path.join(home, "hashret")).expanduser()
    return folder / "shapes" / f"{digest.hexdigest()}.npy"

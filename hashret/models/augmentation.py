"""Augmented copies of an image: the same picture, cropped, recoloured, turned; what self-supervised terms compare.

The set is that of MLCL's code for its reference images, by torchvision's functions, and ``mirror``. What is drawn for
a picture is a function of its pixels, a seed and the number of the copy, never of a global generator: copies are the
same in every worker and every run, so that the feature cache may keep theirs. Which kinds are applied is the caller's
choice, since some contradict a text about the picture (hue, flips).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch import Tensor

from hashret.models.features import Preprocess

__all__ = ["AUGMENTATIONS", "Augmentation", "AugmentationKind", "Augmented"]

AugmentationKind = Literal[
    "crop", "jitter", "hue", "flips", "mirror", "rotations", "autocontrast", "perspective", "grayscale"
]
AUGMENTATIONS: tuple[AugmentationKind, ...] = (
    "crop", "jitter", "hue", "flips", "rotations", "autocontrast", "perspective", "grayscale",
)  # fmt: skip
"""What MLCL's code draws, all of it."""
Chance = np.random.Generator


@dataclass(frozen=True)
class Augmentation:
    """Which changes are drawn, in this order.

    Attributes:
        kinds: Any of

            * ``crop``: ``smallest`` to all of the picture at an aspect ratio of 3/4 to 4/3, made a square;
            * ``jitter``: one of brightness, contrast or saturation by up to a half, or all of them by up to 0.1, 0.3 or
              0.5, in random order;
            * ``hue``: ``jitter`` may also turn the hue, alone or with the others;
            * ``flips`` and ``rotations``: one of the symmetries of a square that they make: with both one of eight;
            * ``mirror``: left for right, with probability 1/2; photos are not turned upside down;
            * ``autocontrast``, ``perspective`` (up to a half of the way to the middle), ``grayscale``: each with
              probability 1/2.
        smallest: Share of the picture that a crop keeps at least, in (0, 1].
    """

    kinds: tuple[AugmentationKind, ...] = AUGMENTATIONS
    smallest: float = 0.08

    def __call__(self, image: Image.Image, side: int, chance: Chance) -> Image.Image:
        """A changed copy of an RGB picture; ``side`` is that of the square a crop becomes, in pixels."""
        if "crop" in self.kinds:
            image = _cropped(image, side, self.smallest, chance)
        if "jitter" in self.kinds:
            image = _jittered(image, "hue" in self.kinds, chance)
        image = self._turned(image, chance)
        if "mirror" in self.kinds and chance.random() < 0.5:
            image = _changed(image, "horizontal_flip")
        if "autocontrast" in self.kinds and chance.random() < 0.5:
            image = _changed(image, "autocontrast")
        if "perspective" in self.kinds and chance.random() < 0.5:
            image = _in_perspective(image, chance)
        if "grayscale" in self.kinds and chance.random() < 0.5:
            image = _changed(image, "rgb_to_grayscale", 3)
        return image

    def _turned(self, image: Image.Image, chance: Chance) -> Image.Image:
        turns = (0, 90, 180, 270) if "rotations" in self.kinds else (0,)
        flips = (False, True) if "flips" in self.kinds else (False,)
        vertical = "flips" in self.kinds and "rotations" not in self.kinds and chance.random() < 1 / 3
        if vertical:  # with rotations it is the horizontal flip, turned by half
            return _changed(image, "vertical_flip")
        turn, flip = turns[chance.integers(len(turns))], flips[chance.integers(len(flips))]
        image = _changed(image, "horizontal_flip") if flip else image
        return image.rotate(turn, expand=True) if turn else image


def _changed(image: Image.Image, function: str, *arguments: object) -> Image.Image:
    """What one of torchvision's functions makes of a picture; torchvision is slow to load and not always needed."""
    from torchvision.transforms.v2 import functional

    changed: Image.Image = getattr(functional, function)(image, *arguments)
    return changed


def _cropped(image: Image.Image, side: int, smallest: float, chance: Chance) -> Image.Image:
    """As torchvision's RandomResizedCrop: ten tries, then the middle."""
    width, height = image.size
    for _ in range(10):
        area = width * height * chance.uniform(smallest, 1.0)
        ratio = math.exp(chance.uniform(math.log(3 / 4), math.log(4 / 3)))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            top, left = chance.integers(height - high + 1), chance.integers(width - wide + 1)
            return _changed(image, "resized_crop", int(top), int(left), high, wide, [side, side])
    short = min(width, height)
    return _changed(image, "resized_crop", (height - short) // 2, (width - short) // 2, short, short, [side, side])


_CHANGES = ("brightness", "contrast", "saturation", "hue")


def _jittered(image: Image.Image, hue: bool, chance: Chance) -> Image.Image:
    names = _CHANGES if hue else _CHANGES[:-1]
    choices = [((name,), 0.5) for name in names] + [(names, strength) for strength in (0.1, 0.3, 0.5)]
    chosen, strength = choices[chance.integers(len(choices))]
    for place in chance.permutation(len(chosen)):
        name = chosen[place]
        middle = 0.0 if name == "hue" else 1.0
        image = _changed(image, f"adjust_{name}", float(chance.uniform(middle - strength, middle + strength)))
    return image


def _in_perspective(image: Image.Image, chance: Chance) -> Image.Image:
    """Each corner moves up to a quarter of the picture towards its middle, on either axis (distortion 1/2)."""
    width, height = image.size
    corners = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    ends = [
        [
            x + (1 if x == 0 else -1) * int(chance.integers(width // 4 + 1)),
            y + (1 if y == 0 else -1) * int(chance.integers(height // 4 + 1)),
        ]
        for x, y in corners
    ]
    return _changed(image, "perspective", corners, ends)


@dataclass(frozen=True)
class Augmented:
    """The preprocessing of an encoder, of one augmented copy of each picture.

    Attributes:
        preprocess: The encoder's own.
        augmentation: What is drawn.
        seed: Of the copies, >= 0.
        copy: Number of this copy, >= 0.

    Example:
        >>> from hashret.models.processor import Pixels
        >>> plain = Pixels(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        >>> first, second = (Augmented(plain, Augmentation(), 0, copy) for copy in (0, 1))
        >>> picture = Image.linear_gradient("L").convert("RGB")
        >>> bool((first(picture) == first(picture)).all()), bool((first(picture) == second(picture)).all())
        (True, False)
    """

    preprocess: Preprocess
    augmentation: Augmentation
    seed: int
    copy: int

    def __call__(self, image: Image.Image) -> Tensor:
        """Pixels float32 (3, H, W) of the copy."""
        digest = hashlib.blake2b(f"{image.size}".encode() + image.tobytes(), digest_size=8).digest()
        chance = np.random.default_rng([int.from_bytes(digest), self.seed, self.copy])
        return self.preprocess(self.augmentation(image, self._side, chance))

    @cached_property
    def _side(self) -> int:
        """Of the square that a crop becomes: what the encoder reads."""
        return int(self.preprocess(Image.new("RGB", (64, 64))).shape[-1])

    def config(self) -> dict[str, Any]:
        """What its copies depend on."""
        return {
            "kind": "augmented", "preprocess": self.preprocess.config(), "kinds": list(self.augmentation.kinds),
            "smallest": self.augmentation.smallest, "seed": self.seed, "copy": self.copy,
        }  # fmt: skip

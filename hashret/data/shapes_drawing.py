"""A scene as a picture: things like stickers, with a rim that sets them off from whatever lies behind.

Everything a description leaves open is an accident here: exact place, hue, turn, size, light, noise. This file takes no
decision about what is in a scene.
"""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageChops

from hashret.data.shapes_background import paint
from hashret.data.shapes_outline import masks, pattern
from hashret.data.shapes_scene import SIZES, Scene, Thing

__all__ = ["draw"]

Colour = tuple[int, int, int]

_RGB: dict[str, Colour] = {
    "red": (218, 41, 44), "orange": (246, 128, 18), "yellow": (251, 208, 48), "green": (52, 158, 66),
    "teal": (20, 168, 170), "blue": (41, 92, 226), "purple": (128, 58, 186), "pink": (245, 122, 184),
    "white": (246, 246, 242), "black": (34, 34, 40),
}  # fmt: skip
_BRIGHT = ("orange", "yellow", "pink", "white")
_CENTRES = (0.2, 0.5, 0.8)
_RIM = 0.020
_SCALES = (0.95, 1.0, 1.06)
_TURNS = range(-12, 13, 3)


def draw(scene: Scene, size: int, *, palette: int, detail: int) -> Image.Image:
    """Draw a scene.

    Args:
        scene: What is in it.
        size: Side in pixels, at least 64.
        palette: Seed of the background's colours; pictures of one family share it.
        detail: Seed of all other accidents.

    Returns:
        An RGB image (size, size).

    Example:
        >>> scene = Scene((Thing(4, "star", "red", "large", "plain"),), "night")
        >>> draw(scene, 64, palette=1, detail=2).size
        (64, 64)
    """
    chance = random.Random(detail)
    image = paint(scene.background, size, random.Random(palette), chance)
    for thing in scene.things:
        _stick(image, thing, size, chance)
    return _exposed(image, chance)


def _stick(image: Image.Image, thing: Thing, size: int, chance: random.Random) -> None:
    radius, rim = SIZES[thing.size] * chance.choice(_SCALES) * size, _RIM * size
    angle, mirrored = chance.choice(_TURNS), chance.random() < 0.5
    shape = masks(thing.shape, radius, rim, angle, mirrored)
    half, least = shape.rim.width // 2, radius + rim
    row, column = divmod(thing.cell, 3)
    left, top = (
        round(min(max((_CENTRES[step] + chance.uniform(-0.02, 0.02)) * size, least), size - least)) - half
        for step in (column, row)
    )
    colour = _tinted(_RGB[thing.colour], 5 if thing.colour in ("white", "black") else 16, chance)
    bright = thing.colour in _BRIGHT
    # The rim is light round dark things and dark round light ones: a shape is seen on any background.
    rim_colour = _mixed(colour, (20, 20, 26), 0.72) if bright else _mixed(colour, (255, 255, 250), 0.92)
    second = _mixed(colour, (20, 20, 26), 0.66) if bright else _mixed(colour, (255, 255, 250), 0.80)
    drop = max(1, round(0.016 * size))
    image.paste((8, 8, 16), (left + drop, top + drop), shape.shadow)
    image.paste(rim_colour, (left, top), shape.rim)
    if thing.texture == "outlined":
        image.paste(second, (left, top), shape.face)
        image.paste(colour, (left, top), shape.edge)
        return
    image.paste(colour, (left, top), shape.face)
    if thing.texture != "plain":
        spots = pattern(thing.texture, radius, rim, angle)
        image.paste(second, (left, top), ImageChops.multiply(spots, shape.face))


def _exposed(image: Image.Image, chance: random.Random) -> Image.Image:
    """Vary the light of the whole picture and add a little noise."""
    light, amount = chance.uniform(0.92, 1.06), chance.uniform(2.0, 9.0)
    pixels = np.asarray(image, np.float32)
    noise = np.frombuffer(chance.randbytes(pixels.size), np.uint8).reshape(pixels.shape)
    lit = pixels * np.float32(light) + (noise.astype(np.float32) - 127.5) * np.float32(amount / 127.5)
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def _tinted(colour: Colour, by: int, chance: random.Random) -> Colour:
    red, green, blue = (min(max(value + chance.randint(-by, by), 0), 255) for value in colour)
    return red, green, blue


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a * (1 - share) + b * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue

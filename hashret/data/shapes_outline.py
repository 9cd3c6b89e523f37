"""Outlines of the drawn shapes as masks: where a thing's rim, face, edge and pattern are.

Masks are drawn four times too large, reduced and kept, because thousands of scenes share a few hundred of them.
This file knows no colours and no scenes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFilter

__all__ = ["OUTLINES", "Masks", "masks", "pattern"]

Points = list[tuple[float, float]]
_FINE = 4


class Outline(NamedTuple):
    """Contours in units of the radius, x to the right and y down, all within about 1 of the centre.

    Attributes:
        solid: Filled, one over the other.
        hole: Cut out, the background shows.
        inset: Painted like the rim: an eye, a door.
    """

    solid: tuple[Points, ...]
    hole: tuple[Points, ...] = ()
    inset: tuple[Points, ...] = ()


class Masks(NamedTuple):
    """Grey masks of one square size, 255 inside.

    Attributes:
        rim: The outline grown by the rim's width, holes and insets of the rim included.
        face: The inside, without holes and insets.
        edge: The part of the face that lies along its outline.
        shadow: The rim, faint and soft.
    """

    rim: Image.Image
    face: Image.Image
    edge: Image.Image
    shadow: Image.Image


def _round(radius: float, x: float = 0.0, y: float = 0.0, tall: float = 1.0) -> Points:
    angles = [math.tau * step / 40 for step in range(40)]
    return [(x + radius * math.cos(a), y + radius * tall * math.sin(a)) for a in angles]


def _polar(radius: Callable[[float], float], steps: int) -> Points:
    angles = [math.tau * step / steps - math.pi / 2 for step in range(steps)]
    return [(radius(a + math.pi / 2) * math.cos(a), radius(a + math.pi / 2) * math.sin(a)) for a in angles]


def _heart() -> Points:
    angles = [math.tau * step / 48 for step in range(48)]
    across = [16 * math.sin(a) ** 3 for a in angles]
    down = [-(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) for a in angles]
    return [(x / 16.5, (y - 2.5) / 15.5) for x, y in zip(across, down, strict=True)]


def _moon(bite: float = 0.8, offset: float = 0.5) -> Points:
    meet = (1 - bite**2 + offset**2) / (2 * offset)
    outer, inner = math.acos(meet), math.acos((meet - offset) / bite)
    far = [outer + (math.tau - 2 * outer) * step / 30 for step in range(31)]
    near = [math.tau - inner - (math.tau - 2 * inner) * step / 24 for step in range(1, 24)]
    back = [(math.cos(a), math.sin(a)) for a in far]
    front = [(offset + bite * math.cos(a), bite * math.sin(a)) for a in near]
    return [(x + 0.22, y) for x, y in (*back, *front)]


def _fish() -> Points:
    # A lens that tapers to the left, then the tail.
    steps = [math.pi * step / 14 for step in range(1, 14)]
    top = [(0.30 + 0.70 * math.cos(a), -0.62 * math.sin(a) ** 0.9) for a in steps]
    bottom = [(x, -y) for x, y in reversed(top)]
    return [(1.0, 0.0), *top, (-0.45, -0.12), (-1.0, -0.62), (-0.82, 0.0), (-1.0, 0.62), (-0.45, 0.12), *bottom]


OUTLINES: dict[str, Outline] = {
    "star": Outline((_polar(lambda a: 1.05 if round(a / math.tau * 10) % 2 == 0 else 0.44, 10),)),
    "ring": Outline((_round(0.98),), hole=(_round(0.50),)),
    "heart": Outline((_heart(),)),
    "circle": Outline((_round(0.92),)),
    "square": Outline(([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],)),
    "triangle": Outline(([(0.0, -0.98), (1.0, 0.78), (-1.0, 0.78)],)),
    "flower": Outline((_polar(lambda a: 0.55 + 0.46 * abs(math.cos(3 * a)) ** 0.7, 96),), inset=(_round(0.27),)),
    "fish": Outline((_fish(),), inset=(_round(0.14, 0.52, -0.16),)),
    "moon": Outline((_moon(),)),
    "tree": Outline(
        ([(0.0, -1.05), (0.55, -0.38), (0.28, -0.38), (0.72, 0.14), (0.40, 0.14), (0.86, 0.66), (0.18, 0.66),
          (0.18, 1.0), (-0.18, 1.0), (-0.18, 0.66), (-0.86, 0.66), (-0.40, 0.14), (-0.72, 0.14), (-0.28, -0.38),
          (-0.55, -0.38)],),
    ),
    "house": Outline(
        ([(0.0, -1.0), (0.42, -0.62), (0.42, -0.92), (0.68, -0.92), (0.68, -0.38), (1.0, -0.08), (0.76, -0.08),
          (0.76, 0.86), (-0.76, 0.86), (-0.76, -0.08), (-1.0, -0.08)],),
        inset=([(-0.22, 0.22), (0.22, 0.22), (0.22, 0.86), (-0.22, 0.86)],),
    ),
    "arrow": Outline(
        ([(1.05, 0.0), (0.22, -0.80), (0.22, -0.32), (-1.0, -0.32), (-1.0, 0.32), (0.22, 0.32), (0.22, 0.80)],),
    ),
    "cross": Outline(
        ([(-0.33, -0.98), (0.33, -0.98), (0.33, -0.33), (0.98, -0.33), (0.98, 0.33), (0.33, 0.33), (0.33, 0.98),
          (-0.33, 0.98), (-0.33, 0.33), (-0.98, 0.33), (-0.98, -0.33), (-0.33, -0.33)],),
    ),
    "diamond": Outline(([(0.0, -1.08), (0.70, 0.0), (0.0, 1.08), (-0.70, 0.0)],)),
}  # fmt: skip


@lru_cache(maxsize=4096)
def masks(shape: str, radius: float, rim: float, angle: int, mirrored: bool) -> Masks:
    """Draw the masks of a shape.

    Args:
        shape: A key of OUTLINES.
        radius: In pixels.
        rim: Width of the rim in pixels.
        angle: Turned clockwise by so many degrees.
        mirrored: Left and right exchanged first.

    Returns:
        Masks whose side is an even number of pixels and whose middle is the shape's centre.
    """
    side = _side(radius, rim)
    outline = OUTLINES[shape]
    solid, hole, inset = (_placed(part, side, radius, angle, mirrored) for part in outline)
    width = max(1, round(2 * rim * _FINE))
    grown, face, edge = (Image.new("L", (side * _FINE, side * _FINE)) for _ in range(3))
    for image, value in ((grown, 255), (face, 255)):
        for contour in solid:
            ImageDraw.Draw(image).polygon(contour, fill=value)
    for contour in (*hole, *inset):
        ImageDraw.Draw(face).polygon(contour, fill=0)
    for contour in hole:
        ImageDraw.Draw(grown).polygon(contour, fill=0)
    for contour in (*solid, *hole):
        closed = [*contour, contour[0], contour[1]]
        ImageDraw.Draw(grown).line(closed, fill=255, width=width, joint="curve")
        ImageDraw.Draw(edge).line(closed, fill=255, width=round(0.5 * radius * _FINE), joint="curve")
    edge = ImageChops.multiply(edge, face)
    small = grown.reduce(_FINE)
    shadow = small.filter(ImageFilter.GaussianBlur(rim * 0.6)).point([round(value * 0.45) for value in range(256)])
    return Masks(small, face.reduce(_FINE), edge.reduce(_FINE), shadow)


@lru_cache(maxsize=4096)
def pattern(texture: str, radius: float, rim: float, angle: int) -> Image.Image:
    """Draw the mask of a pattern, to be multiplied with the face of a shape of the same radius and rim.

    Args:
        texture: "striped", "dotted" or "checked".
        radius: In pixels.
        rim: Width of the rim in pixels.
        angle: Turned clockwise by so many degrees.
    """
    side = _side(radius, rim)
    steps = [0.5 * step for step in range(-4, 5)]
    spots: list[Points] = []
    if texture == "striped":
        spots = [[(-2, y - 0.13), (2, y - 0.13), (2, y + 0.13), (-2, y + 0.13)] for y in steps]
        angle += 45
    elif texture == "dotted":
        spots = [_round(0.17, x + (0.25 if row % 2 else 0.0), y) for row, y in enumerate(steps) for x in steps]
    else:
        corner = [(0.0, 0.0), (0.4, 0.0), (0.4, 0.4), (0.0, 0.4)]
        whole = range(-5, 5)
        spots = [[(0.4 * i + x, 0.4 * j + y) for x, y in corner] for i in whole for j in whole if (i + j) % 2]
    image = Image.new("L", (side * _FINE, side * _FINE))
    for spot in _placed(spots, side, radius, angle, False):
        ImageDraw.Draw(image).polygon(spot, fill=255)
    return image.reduce(_FINE)


def _side(radius: float, rim: float) -> int:
    return 2 * math.ceil(radius * 1.1 + rim + 1)


def _placed(contours: Iterable[Points], side: int, radius: float, angle: int, mirrored: bool) -> list[Points]:
    cos, sin = math.cos(math.radians(angle)) * radius * _FINE, math.sin(math.radians(angle)) * radius * _FINE
    middle, sign = side * _FINE / 2, -1 if mirrored else 1
    return [
        [(middle + sign * x * cos - y * sin, middle + sign * x * sin + y * cos) for x, y in contour]
        for contour in contours
    ]

"""Backgrounds of the drawn scenes, one function a kind, each with its own accidents of hue, light and detail.

Plain, gradient and speckled backgrounds come in the hues of all others, so that a mean colour says little about what is
pictured. Two sources of chance go in: `palette` for the colours, shared by pictures of one family, and `detail` for the
rest. All accidents are drawn in fractions of the side, so that one scene looks the same at every size.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from colorsys import hsv_to_rgb

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["PAINTERS", "paint"]

Colour = tuple[int, int, int]
_FINE = 2


def paint(background: str, size: int, palette: random.Random, detail: random.Random) -> Image.Image:
    """Paint a background.

    Args:
        background: A key of PAINTERS.
        size: Side in pixels.
        palette: Source of the colours.
        detail: Source of clouds, waves, blades, bricks.

    Returns:
        An RGB image (size, size).
    """
    return PAINTERS[background](size * _FINE, palette, detail).reduce(_FINE)


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return round(255 * red), round(255 * green), round(255 * blue)


def _shade(colour: Colour, by: float) -> Colour:
    """Lighten (by > 0) towards white or darken towards black, by -1 ... 1."""
    end = 255 if by > 0 else 0
    red, green, blue = (round(value + (end - value) * abs(by)) for value in colour)
    return red, green, blue


def _ramp(side: int, top: Colour, bottom: Colour) -> Image.Image:
    share = np.linspace(0.0, 1.0, side, dtype=np.float32)[:, None]
    rows = np.asarray(top, np.float32) * (1 - share) + np.asarray(bottom, np.float32) * share
    return Image.fromarray(np.repeat(rows.astype(np.uint8)[:, None], side, axis=1))


def _any(palette: random.Random) -> Colour:
    return _hsv(palette.random(), palette.uniform(0.05, 0.55), palette.uniform(0.30, 0.97))


def _plain(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    return Image.new("RGB", (side, side), _shade(_any(palette), detail.uniform(-0.06, 0.06)))


def _gradient(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    image = _ramp(side, _any(palette), _any(palette))
    turns = palette.choice((None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180))
    return image if turns is None else image.transpose(turns)


def _speckled(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    ground = _any(palette)
    image = Image.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(image)
    tones = [_shade(ground, by) for by in (-0.22, -0.12, 0.12, 0.25)]
    for _ in range(90):
        _dot(draw, side, detail.random(), detail.random(), detail.uniform(0.005, 0.016), detail.choice(tones))
    return image


def _sky_colours(palette: random.Random) -> tuple[Colour, Colour]:
    if palette.random() < 0.3:  # dusk
        return (
            _hsv(palette.uniform(0.60, 0.85), palette.uniform(0.25, 0.55), palette.uniform(0.50, 0.85)),
            _hsv(palette.uniform(0.00, 0.12), palette.uniform(0.30, 0.60), palette.uniform(0.85, 1.00)),
        )
    hue = palette.uniform(0.52, 0.63)
    return (
        _hsv(hue, palette.uniform(0.35, 0.75), palette.uniform(0.70, 0.98)),
        _hsv(hue - 0.02, palette.uniform(0.08, 0.30), palette.uniform(0.85, 1.00)),
    )


def _clouds(draw: ImageDraw.ImageDraw, side: int, detail: random.Random, count: int, lowest: float) -> None:
    for _ in range(count):
        x, y, wide = detail.random(), detail.uniform(0.04, lowest), detail.uniform(0.05, 0.09)
        tone = detail.randint(238, 255)
        for step, tall in ((-1.3, 0.6), (-0.5, 0.95), (0.4, 1.0), (1.3, 0.55)):
            _dot(draw, side, x + step * wide, y - 0.35 * tall * wide, wide * tall, (tone, tone, tone))
        draw.rectangle(_box(side, x - 1.8 * wide, y, x + 1.7 * wide, y + 0.3 * wide), fill=(tone, tone, tone))


def _sky(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    image = _ramp(side, *_sky_colours(palette))
    _clouds(ImageDraw.Draw(image), side, detail, detail.randint(3, 5), 0.95)
    return image


def _grass_colour(palette: random.Random) -> Colour:
    return _hsv(palette.uniform(0.16, 0.40), palette.uniform(0.30, 0.75), palette.uniform(0.35, 0.75))


def _blades(image: Image.Image, colour: Colour, top: float, detail: random.Random) -> None:
    draw, side = ImageDraw.Draw(image), image.width
    tones = [_shade(colour, by) for by in (-0.35, -0.2, 0.2, 0.35)]
    count = round(110 * (1 - top))
    for step in range(count):
        x, y = detail.random(), top + (1.06 - top) * step / count
        tall = detail.uniform(0.05, 0.09)
        tip = (x + detail.uniform(-0.025, 0.025), y - tall)
        foot = 0.010
        draw.polygon(
            [((x - foot) * side, y * side), ((x + foot) * side, y * side), (tip[0] * side, tip[1] * side)],
            fill=detail.choice(tones),
        )


def _lawn(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    colour = _grass_colour(palette)
    image = _ramp(side, _shade(colour, detail.uniform(0.0, 0.15)), _shade(colour, -0.1))
    _blades(image, colour, 0.0, detail)
    return image


def _meadow(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    image = _ramp(side, *_sky_colours(palette))
    draw = ImageDraw.Draw(image)
    _clouds(draw, side, detail, detail.randint(1, 3), 0.3)
    colour, top = _grass_colour(palette), detail.uniform(0.42, 0.62)
    draw.rectangle(_box(side, 0, top, 1, 1), fill=colour)
    _blades(image, colour, top, detail)
    return image


def _night(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    hue, value = palette.uniform(0.55, 0.82), palette.uniform(0.06, 0.20)
    image = _ramp(side, _hsv(hue, 0.65, value), _hsv(hue + 0.03, 0.55, value + palette.uniform(0.08, 0.22)))
    draw = ImageDraw.Draw(image)
    for _ in range(detail.randint(26, 40)):
        glow = detail.randint(150, 255)
        colour = (glow, glow, max(glow - detail.randint(0, 60), 0))
        _dot(draw, side, detail.random(), detail.random(), detail.choice((0.006, 0.006, 0.011)), colour)
    return image


def _water_colour(palette: random.Random) -> Colour:
    return _hsv(palette.uniform(0.44, 0.64), palette.uniform(0.30, 0.75), palette.uniform(0.40, 0.85))


def _waves(draw: ImageDraw.ImageDraw, side: int, colour: Colour, bottom: float, detail: random.Random) -> None:
    light, dark, y = _shade(colour, 0.45), _shade(colour, -0.25), detail.uniform(0.01, 0.05)
    while y < bottom:
        start, length, high = detail.uniform(0, math.tau), detail.uniform(0.14, 0.24), detail.uniform(0.010, 0.018)
        for tone, below in ((dark, 0.016), (light, 0.0)):
            points = [
                (step / 24 * side, (y + below + high * math.sin(start + math.tau * step / 24 / length)) * side)
                for step in range(25)
            ]
            draw.line(points, fill=tone, width=max(1, round(0.014 * side)))
        y += detail.uniform(0.075, 0.11)


def _sea(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    colour = _water_colour(palette)
    image = _ramp(side, _shade(colour, 0.2), _shade(colour, -0.2))
    _waves(ImageDraw.Draw(image), side, colour, 1.0, detail)
    return image


def _sand_colour(palette: random.Random) -> Colour:
    return _hsv(palette.uniform(0.05, 0.15), palette.uniform(0.15, 0.60), palette.uniform(0.60, 0.95))


def _grains(draw: ImageDraw.ImageDraw, side: int, colour: Colour, top: float, detail: random.Random) -> None:
    tones = [_shade(colour, by) for by in (-0.4, -0.22, 0.5)]
    for _ in range(round(170 * (1 - top))):
        _dot(draw, side, detail.random(), detail.uniform(top, 1.0), 0.006, detail.choice(tones))


def _dunes(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    colour = _sand_colour(palette)
    image = _ramp(side, _shade(colour, 0.2), _shade(colour, -0.05))
    draw = ImageDraw.Draw(image)
    for step, by in enumerate((0.06, -0.06, -0.14, -0.2)):
        _hill(draw, side, 0.12 + 0.25 * step + detail.uniform(-0.06, 0.06), 0.07, _shade(colour, by), detail)
    _grains(draw, side, colour, 0.0, detail)
    return image


def _beach(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    water, sand, shore = _water_colour(palette), _sand_colour(palette), detail.uniform(0.40, 0.60)
    image = _ramp(side, _shade(water, 0.2), _shade(water, -0.1))
    draw = ImageDraw.Draw(image)
    _waves(draw, side, water, shore, detail)
    again = detail.getrandbits(32)  # foam and sand follow one line
    for tone, y in ((_shade(water, 0.85), shore), (_shade(sand, -0.15), shore + 0.03), (sand, shore + 0.05)):
        _hill(draw, side, y, 0.03, tone, random.Random(again))
    _grains(draw, side, sand, shore + 0.1, detail)
    return image


def _wall(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    brick = _hsv(palette.choice((0.02, 0.04, 0.08, 0.6)), palette.uniform(0.08, 0.6), palette.uniform(0.40, 0.88))
    mortar = _shade(brick, palette.choice((-0.45, 0.45)))
    image = Image.new("RGB", (side, side), mortar)
    draw = ImageDraw.Draw(image)
    tall, wide, gap = detail.uniform(0.095, 0.125), detail.uniform(0.22, 0.30), 0.018
    left, y, row = detail.uniform(-0.3, -0.15), detail.uniform(-0.1, 0.0), 0
    while y < 1:
        x = left + (wide / 2 if row % 2 else 0.0)
        while x < 1:
            tone = _shade(brick, detail.uniform(-0.16, 0.16))
            draw.rectangle(_box(side, x, y, x + wide - gap, y + tall - gap), fill=tone)
            x += wide
        y, row = y + tall, row + 1
    return image


def _snowfield(side: int, palette: random.Random, detail: random.Random) -> Image.Image:
    hue, value = palette.uniform(0.52, 0.75), palette.uniform(0.40, 0.80)
    image = _ramp(side, _hsv(hue, 0.30, value), _hsv(hue, 0.18, min(value + 0.15, 1.0)))
    draw = ImageDraw.Draw(image)
    ground = _hsv(hue, palette.uniform(0.0, 0.10), palette.uniform(0.90, 1.0))
    for by, y in ((-0.12, 0.52), (0.0, 0.66)):
        _hill(draw, side, y + detail.uniform(-0.05, 0.05), 0.05, _shade(ground, by), detail)
    for _ in range(55):
        radius = detail.choice((0.008, 0.012, 0.016))
        _dot(draw, side, detail.random(), detail.random(), radius, (255, 255, 255))
    return image


def _hill(draw: ImageDraw.ImageDraw, side: int, y: float, high: float, colour: Colour, detail: random.Random) -> None:
    start, length = detail.uniform(0, math.tau), detail.uniform(0.7, 1.3)
    line = [
        (step / 16 * side, (y + high * math.sin(start + math.tau * step / 16 / length)) * side) for step in range(17)
    ]
    draw.polygon([*line, (side, side + 1), (0, side + 1)], fill=colour)


def _dot(draw: ImageDraw.ImageDraw, side: int, x: float, y: float, radius: float, colour: Colour) -> None:
    draw.ellipse(_box(side, x - radius, y - radius, x + radius, y + radius), fill=colour)


def _box(side: int, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    return left * side, top * side, right * side, bottom * side


PAINTERS: dict[str, Callable[[int, random.Random, random.Random], Image.Image]] = {
    "plain": _plain, "gradient": _gradient, "speckled": _speckled, "sky": _sky, "meadow": _meadow, "lawn": _lawn,
    "night": _night, "sea": _sea, "beach": _beach, "dunes": _dunes, "wall": _wall, "snowfield": _snowfield,
}  # fmt: skip

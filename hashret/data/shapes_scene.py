"""What a drawn scene is before it is drawn: a few things in a 3 x 3 grid before one background, and its labels.

A description decides its own split: its checksum falls to train, validation, test or database, whatever the seed and
the sizes asked for, so no description can ever be both trained on and tested. This file knows neither pixels nor words.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ATTRIBUTES",
    "BACKGROUNDS",
    "COLOURS",
    "CONCEPTS",
    "SHAPES",
    "SIZES",
    "SPLITS",
    "TEXTURES",
    "Scene",
    "Thing",
    "fits",
    "labels_of",
    "sample",
    "sample_thing",
    "scenes",
    "split_of",
]

_Value = TypeVar("_Value")

# Weights are uneven as the tags of real collections are: the commonest concept is about six times the rarest.
SHAPES = {
    "star": 17, "ring": 13, "heart": 11, "circle": 9, "square": 8, "triangle": 8, "flower": 7, "fish": 7,
    "moon": 6, "tree": 5, "house": 5, "arrow": 4, "cross": 4, "diamond": 3,
}  # fmt: skip
TEXTURES = {"plain": 73, "striped": 9, "dotted": 6, "checked": 5, "outlined": 7}
COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white", "black")
SIZES = {"small": 0.115, "medium": 0.150, "large": 0.185}
"""Radius of a thing as a fraction of the image's side."""

_BACKGROUND_TABLE: dict[str, tuple[int, tuple[str, ...]]] = {
    "plain": (18, ()), "gradient": (15, ()), "speckled": (11, ()),
    "sky": (7, ("sky",)), "meadow": (7, ("sky", "grass")), "lawn": (7, ("grass",)), "night": (10, ("night",)),
    "sea": (6, ("water",)), "beach": (4, ("water", "sand")), "dunes": (4, ("sand",)), "wall": (6, ("brick",)),
    "snowfield": (5, ("snow",)),
}  # fmt: skip
BACKGROUNDS = {name: concepts for name, (_, concepts) in _BACKGROUND_TABLE.items()}
"""What a background shows, as concepts; the first three show nothing and come in any colour."""

CONCEPTS = (*SHAPES, "sky", "grass", "night", "water", "sand", "brick", "snow", "striped", "dotted", "checked")
ATTRIBUTES = (*COLOURS, *SIZES, "plain", "outlined")
"""What else may be a label: whatever else tells one thing from another."""
SPLITS = ("train", "validation", "test", "database")

_COLUMN = {name: column for column, name in enumerate(CONCEPTS)}
_ATTRIBUTE_COLUMN = {name: column for column, name in enumerate((*CONCEPTS, *ATTRIBUTES))}
_SHAPE_NAMES, _SHAPE_SUMS = tuple(SHAPES), tuple(accumulate(SHAPES.values()))
_TEXTURE_NAMES, _TEXTURE_SUMS = tuple(TEXTURES), tuple(accumulate(TEXTURES.values()))
_SIZE_NAMES, _CELLS = tuple(SIZES), tuple(range(9))
_BACKGROUND_NAMES = tuple(_BACKGROUND_TABLE)
_BACKGROUND_SUMS = tuple(accumulate(weight for weight, _ in _BACKGROUND_TABLE.values()))
_HOW_MANY, _HOW_MANY_SUMS = (1, 2, 3, 4), (30, 68, 89, 100)
_ALIKE = 0.3
_CLOSEST = 0.305  # two radii side by side; cells are 0.3 apart, so that neighbours touch at most


@dataclass(frozen=True, order=True, slots=True)
class Thing:
    """One object of a scene.

    Attributes:
        cell: Place in the 3 x 3 grid, 0 ... 8, row by row from the top left.
        shape: A key of SHAPES.
        colour: One of COLOURS.
        size: A key of SIZES.
        texture: A key of TEXTURES.
    """

    cell: int
    shape: str
    colour: str
    size: str
    texture: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A background and one to four things in cells of their own, ordered by cell: equal scenes are equal values."""

    things: tuple[Thing, ...]
    background: str

    @classmethod
    def of(cls, things: Iterable[Thing], background: str) -> Scene:
        """Make a scene of things in any order."""
        return cls(tuple(sorted(things)), background)


def fits(scene: Scene) -> bool:
    """Tell whether the things have cells of their own and no two large neighbours overlap."""
    things = scene.things
    for place, one in enumerate(things):
        for other in things[place + 1 :]:
            steps = abs(one.cell // 3 - other.cell // 3) + abs(one.cell % 3 - other.cell % 3)
            if steps == 0 or (steps == 1 and SIZES[one.size] + SIZES[other.size] > _CLOSEST):
                return False
    return 1 <= len(things) <= 4


def split_of(scene: Scene) -> str:
    """Name the one split a description may occur in.

    Example:
        >>> split_of(Scene((Thing(4, "star", "red", "large", "plain"),), "night"))
        'validation'
    """
    words = [f"{t.cell} {t.shape} {t.colour} {t.size} {t.texture}" for t in scene.things]
    return SPLITS[crc32("; ".join((scene.background, *words)).encode()) % len(SPLITS)]


def labels_of(scene: Scene, *, attributes: bool = False) -> NDArray[np.uint8]:
    """Return the multi-hot labels, uint8 (24,) in the order of CONCEPTS: shapes, background, patterns; never colours.

    Args:
        scene: What is labelled.
        attributes: Whether those of ATTRIBUTES follow, as Visual Genome has attributes beside objects: uint8 (39,).

    Example:
        >>> row = labels_of(Scene((Thing(4, "star", "red", "large", "striped"),), "beach"))
        >>> [name for name, on in zip(CONCEPTS, row, strict=True) if on]
        ['star', 'water', 'sand', 'striped']
    """
    column = _ATTRIBUTE_COLUMN if attributes else _COLUMN
    row = np.zeros(len(column), np.uint8)
    for name in BACKGROUNDS[scene.background]:
        row[column[name]] = 1
    for thing in scene.things:
        for name in (thing.shape, thing.texture, thing.colour, thing.size):
            if name in column:
                row[column[name]] = 1
    return row


def sample_thing(cell: int, chance: random.Random) -> Thing:
    """Draw a thing at random for a cell."""
    return Thing(
        cell,
        _pick(_SHAPE_NAMES, _SHAPE_SUMS, chance),
        chance.choice(COLOURS),
        chance.choice(_SIZE_NAMES),
        _pick(_TEXTURE_NAMES, _TEXTURE_SUMS, chance),
    )


def sample(split: str, chance: random.Random) -> Scene:
    """Draw a scene of one split at random.

    Things and background are drawn until they fit, then colours until the description falls into the split: colours are
    uniform and no label, so labels are distributed alike in all splits.
    """
    while True:
        cells = chance.sample(_CELLS, _pick(_HOW_MANY, _HOW_MANY_SUMS, chance))
        things = [sample_thing(cell, chance) for cell in cells]
        alike = len(things) > 1 and chance.random() < _ALIKE
        if alike:
            things[1] = replace(things[0], cell=cells[1])
        scene = Scene.of(things, _pick(_BACKGROUND_NAMES, _BACKGROUND_SUMS, chance))
        if not fits(scene):
            continue
        for _ in range(20):
            if split_of(scene) == split:
                return scene
            colours = [chance.choice(COLOURS) for _ in things]
            if alike:
                colours[1] = colours[0]
            things = [replace(thing, colour=colour) for thing, colour in zip(things, colours, strict=True)]
            scene = Scene.of(things, scene.background)


def scenes(split: str, count: int, seed: int, *, without: Iterable[Scene] = ()) -> list[Scene]:
    """Draw different scenes of one split; a longer list starts with the shorter one of the same seed.

    Args:
        split: One of SPLITS.
        count: How many.
        seed: Of the random draws.
        without: Scenes to leave out.

    Returns:
        `count` scenes, no two alike.

    Example:
        >>> scenes("test", 3, seed=0) == scenes("test", 5, seed=0)[:3]
        True
    """
    chance = random.Random(f"{seed} {split}")
    taken = set(without)
    found: list[Scene] = []
    while len(found) < count:
        scene = sample(split, chance)
        if scene not in taken:
            taken.add(scene)
            found.append(scene)
    return found


def _pick(values: tuple[_Value, ...], sums: tuple[int, ...], chance: random.Random) -> _Value:
    drawn = chance.random() * sums[-1]
    for value, reached in zip(values, sums, strict=True):
        if drawn < reached:
            return value
    return values[-1]

"""Captions of the drawn scenes: a small English grammar with synonyms, numbers, relations and places.

A caption never says what is false, and rarely says everything: some name only the main things, some the background,
some a relation. The word tables here are the whole vocabulary; edits use them too. Nothing here sees a picture.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from hashret.data.shapes_scene import BACKGROUNDS, Scene, Thing

__all__ = [
    "BACKGROUND_PHRASES",
    "COLOUR_WORDS",
    "PLACE_PHRASES",
    "SHAPE_WORDS",
    "SIZE_WORDS",
    "TEXTURE_WORDS",
    "captions",
    "noun_phrase",
    "plural",
    "with_article",
]

SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "star": ("star", "star", "five-pointed star"),
    "ring": ("ring", "ring", "hoop", "donut"),
    "heart": ("heart", "heart", "love heart"),
    "circle": ("circle", "disc", "ball"),
    "square": ("square", "square", "box", "block"),
    "triangle": ("triangle", "triangle", "pyramid"),
    "flower": ("flower", "flower", "blossom", "daisy"),
    "fish": ("fish",),
    "moon": ("moon", "crescent", "crescent moon"),
    "tree": ("tree", "tree", "fir", "pine tree"),
    "house": ("house", "house", "cottage", "hut"),
    "arrow": ("arrow", "arrow", "pointer"),
    "cross": ("cross", "plus sign"),
    "diamond": ("diamond", "rhombus", "lozenge"),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "crimson", "scarlet"),
    "orange": ("orange", "orange", "tangerine"),
    "yellow": ("yellow", "yellow", "golden"),
    "green": ("green", "green", "emerald"),
    "teal": ("teal", "turquoise"),
    "blue": ("blue", "blue", "azure"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "rosy"),
    "white": ("white", "white", "ivory"),
    "black": ("black", "black", "jet-black"),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "small", "little", "tiny"),
    "medium": ("medium-sized",),
    "large": ("large", "big", "big", "huge"),
}
TEXTURE_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("plain",),
    "striped": ("striped", "striped", "stripy"),
    "dotted": ("dotted", "spotted", "polka-dot"),
    "checked": ("checked", "checkered"),
    "outlined": ("outlined", "bordered"),
}
BACKGROUND_PHRASES: dict[str, tuple[str, ...]] = {
    "plain": ("on a plain background", "on plain paper"),
    "gradient": ("on a shaded background", "on a soft gradient"),
    "speckled": ("on a speckled background", "on speckled paper"),
    "sky": ("in the sky", "among the clouds", "in a cloudy sky"),
    "meadow": ("on grass under the sky", "in a meadow", "on a meadow under clouds"),
    "lawn": ("on grass", "on a lawn", "in the grass"),
    "night": ("at night", "in the dark of the night", "on a dark night"),
    "sea": ("on water", "at sea", "on the waves"),
    "beach": ("on a beach", "by the sea", "on sand by the water"),
    "dunes": ("on sand", "in the desert", "among dunes"),
    "wall": ("on a brick wall", "in front of bricks", "on bricks"),
    "snowfield": ("in the snow", "on snow", "on a snowy field"),
}
PLACE_PHRASES: tuple[tuple[str, ...], ...] = (
    ("in the top left corner", "at the top left"),
    ("at the top",),
    ("in the top right corner", "at the top right"),
    ("on the left",),
    ("in the middle", "in the centre"),
    ("on the right",),
    ("in the bottom left corner", "at the bottom left"),
    ("at the bottom",),
    ("in the bottom right corner", "at the bottom right"),
)
"""For each cell of the grid."""

_NUMBERS = ("no", "one", "two", "three", "four")
_RELATIONS = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
}
_OPENINGS = ("", "", "", "", "a picture of ", "a scene with ", "there is ")


@dataclass(frozen=True)
class _Group:
    """Things of one scene that a caption describes by the same words."""

    things: tuple[Thing, ...]
    phrase: str

    @property
    def many(self) -> bool:
        return len(self.things) > 1


def plural(noun: str) -> str:
    """Form the plural of a noun of SHAPE_WORDS.

    Example:
        >>> plural("box"), plural("daisy"), plural("fish"), plural("crescent moon")
        ('boxes', 'daisies', 'fish', 'crescent moons')
    """
    if noun == "fish":
        return noun
    if noun.endswith("y"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "sh", "ch")) else f"{noun}s"


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase.

    Example:
        >>> with_article("orange star")
        'an orange star'
    """
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def noun_phrase(thing: Thing, said: Sequence[str], chance: random.Random, *, count: int = 1) -> str:
    """Describe a thing, or several alike, without article: "small striped red stars".

    Args:
        thing: What to describe.
        said: Which of "size", "texture" and "colour" to mention.
        chance: Chooses among synonyms.
        count: More than one makes the plural.
    """
    words = []
    if "size" in said:
        words.append(chance.choice(SIZE_WORDS[thing.size]))
    if "texture" in said:
        words.append(chance.choice(TEXTURE_WORDS[thing.texture]))
    if "colour" in said:
        words.append(chance.choice(COLOUR_WORDS[thing.colour]))
    noun = chance.choice(SHAPE_WORDS[thing.shape])
    return " ".join([*words, noun if count == 1 else plural(noun)])


def captions(scene: Scene, chance: random.Random, count: int = 5) -> tuple[str, ...]:
    """Describe a scene in different sentences, all true, lower case, without full stop.

    Args:
        scene: What to describe.
        chance: Chooses what is said and how.
        count: How many sentences, at most about 20.

    Returns:
        `count` sentences, no two alike.

    Example:
        >>> star, ring = Thing(3, "star", "red", "small", "plain"), Thing(5, "ring", "blue", "large", "dotted")
        >>> scene = Scene((star, ring), "lawn")
        >>> captions(scene, random.Random(3), 2)[1:]
        ('a big dotted blue donut and a tiny scarlet star',)
    """
    found: dict[str, None] = {}
    while len(found) < count:
        found[_caption(scene, chance)] = None
    return tuple(found)


def _caption(scene: Scene, chance: random.Random) -> str:
    groups = _groups(scene, chance)
    if len(groups) > 1 and chance.random() < 0.3:
        groups = groups[: chance.randint(1, len(groups) - 1)]
    body, placed = _body(groups, chance)
    opening = chance.choice(_OPENINGS)
    if opening == "there is " and groups[0].many:
        opening = "there are "
    if chance.random() >= (0.65 if BACKGROUNDS[scene.background] else 0.2):
        return f"{opening}{body}"
    where = chance.choice(BACKGROUND_PHRASES[scene.background])
    if opening.startswith("there") and chance.random() < 0.5:
        return f"{where} {opening}{body}"
    return f"{opening}{body}{', ' if placed else ' '}{where}"


def _body(groups: Sequence[_Group], chance: random.Random) -> tuple[str, bool]:
    """Name the groups, in a relation or at a place if chance will; tell whether a phrase after it needs a comma."""
    first, rest = groups[0], groups[1:]
    if not rest and not first.many and chance.random() < 0.35:
        return f"{first.phrase} {chance.choice(PLACE_PHRASES[first.things[0].cell])}", True
    relation = _relation(first, rest[0]) if rest and chance.random() < 0.5 else None
    if relation is None:
        return _listed(groups), False
    others = f", with {_listed(rest[1:])}" if rest[1:] else ""
    return f"{first.phrase} {chance.choice(_RELATIONS[relation])} {rest[0].phrase}{others}", bool(others)


def _groups(scene: Scene, chance: random.Random) -> list[_Group]:
    """Gather the things that one choice of words fits, the largest first."""
    size, texture, middling = chance.random() < 0.45, chance.random() < 0.6, chance.random() < 0.15
    colour = chance.random() < 0.8 or not (size or texture)
    gathered: dict[tuple[str, ...], list[Thing]] = {}
    told: dict[tuple[str, ...], list[str]] = {}
    things = list(scene.things)
    chance.shuffle(things)
    for thing in sorted(things, key=lambda thing: ("large", "medium", "small").index(thing.size)):
        said = ["size"] if size and (middling or thing.size != "medium") else []
        said += ["texture"] if texture and thing.texture != "plain" else []
        said += ["colour"] if colour else []
        key = (thing.shape, *(getattr(thing, name) for name in said))
        gathered.setdefault(key, []).append(thing)
        told[key] = said
    groups = []
    for key, members in gathered.items():
        words = noun_phrase(members[0], told[key], chance, count=len(members))
        phrase = f"{_NUMBERS[len(members)]} {words}" if len(members) > 1 else with_article(words)
        groups.append(_Group(tuple(members), phrase))
    return groups


def _relation(one: _Group, other: _Group) -> str | None:
    """Name a relation that holds between all things of one group and all of the other, if any does."""
    steps = [(b.cell % 3 - a.cell % 3, b.cell // 3 - a.cell // 3) for a in one.things for b in other.things]
    if all(right > 0 and right >= abs(down) for right, down in steps):
        return "left"
    if all(right < 0 and -right >= abs(down) for right, down in steps):
        return "right"
    if all(down > 0 and down >= abs(right) for right, down in steps):
        return "above"
    if all(down < 0 and -down >= abs(right) for right, down in steps):
        return "below"
    return None


def _listed(groups: Sequence[_Group]) -> str:
    phrases = [group.phrase for group in groups]
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"

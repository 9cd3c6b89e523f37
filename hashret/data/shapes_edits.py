"""Edits of drawn scenes for composed queries: a reference, a sentence that changes one thing about it, the target.

Families are made so that neither half of a query suffices. The reference is close to all targets of its family, so the
image alone cannot choose; targets have near-duplicates that satisfy the sentence but differ elsewhere, so the sentence
alone cannot choose either. All scenes of a family belong to one split. Nothing here sees a picture.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

from hashret.data.shapes_language import (
    BACKGROUND_PHRASES,
    COLOUR_WORDS,
    PLACE_PHRASES,
    SHAPE_WORDS,
    SIZE_WORDS,
    TEXTURE_WORDS,
    noun_phrase,
    with_article,
)
from hashret.data.shapes_scene import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    SIZES,
    TEXTURES,
    Scene,
    Thing,
    fits,
    sample,
    sample_thing,
    split_of,
)

__all__ = [
    "EDITS_A_REFERENCE",
    "KINDS",
    "NEAR_A_TARGET",
    "Edit",
    "Family",
    "apply",
    "families",
    "sample_edit",
    "say",
    "scenes_of",
    "twins",
]

KINDS = {
    "colour": 22, "texture": 14, "size": 12, "shape": 14, "move": 6, "remove": 8, "add": 14, "background": 10,
}  # fmt: skip
"""Kinds of edit and how often they are drawn."""

EDITS_A_REFERENCE = 4
NEAR_A_TARGET = 2

_VALUES = {"colour": COLOURS, "texture": tuple(TEXTURES), "size": tuple(SIZES), "shape": tuple(SHAPES)}
_WORDS = {"colour": COLOUR_WORDS, "texture": TEXTURE_WORDS, "size": SIZE_WORDS, "shape": SHAPE_WORDS}
_SENTENCES = {
    "colour": ("make {the} {new}", "paint {the} {new}", "change the colour of {the} to {new}", "{the} should be {new}"),
    "texture": ("make {the} {new}", "{the} should be {new}", "make {the} {new} instead"),
    "size": ("make {the} {new}", "{the} should be {new}", "now {the} is {new}"),
    "shape": ("replace {the} with {new}", "turn {the} into {new}", "swap {the} for {new}"),
    "move": ("move {the} so that it is {new}", "{the} should be {new}", "let {the} be {new}"),
    "remove": ("remove {the}", "take away {the}", "the same without {the}", "delete {the}"),
    "add": ("add {new}", "put {new}", "there is also {new}", "the same with {new}"),
    "background": ("put everything {new}", "the same {new}", "change the background, now {new}", "show it {new}"),
}


@dataclass(frozen=True)
class Edit:
    """One change of a scene: a thing before and after, or a new background.

    Attributes:
        kind: A key of KINDS.
        before: The thing changed or removed; None for a new thing or background.
        after: What it becomes, or the new thing; None for a removal or a background.
        background: The new background; empty for all other kinds.
    """

    kind: str
    before: Thing | None = None
    after: Thing | None = None
    background: str = ""


@dataclass(frozen=True)
class Family:
    """A reference, its edits, and scenes close to their targets.

    Attributes:
        reference: The scene all edits start from.
        edits: Sentence and target of each.
        near: Scenes one edit away from a target, none of them the reference or a target; NEAR_A_TARGET for each target,
            in the order of the edits.
    """

    reference: Scene
    edits: tuple[tuple[str, Scene], ...]
    near: tuple[Scene, ...]


def apply(scene: Scene, edit: Edit) -> Scene:
    """Change a scene.

    Example:
        >>> ring = Thing(0, "ring", "red", "small", "plain")
        >>> apply(Scene((ring,), "sky"), Edit("background", background="sea")).background
        'sea'
    """
    things = [thing for thing in scene.things if thing != edit.before]
    return Scene.of(things if edit.after is None else [*things, edit.after], edit.background or scene.background)


def sample_edit(scene: Scene, chance: random.Random, like: Edit | None = None) -> Edit:
    """Draw an edit that leads to another scene that fits.

    Args:
        scene: What to change.
        chance: Source of the draws.
        like: Draw an edit of the same kind at the same thing, as far as there is another one (not for removals).

    Returns:
        An edit of `scene`.
    """
    kinds, sums = tuple(KINDS), tuple(accumulate(KINDS.values()))
    while True:
        if like is not None and like.kind != "remove" and chance.random() < 0.9:
            kind, thing = like.kind, like.before
        else:
            kind, thing, like = chance.choices(kinds, cum_weights=sums)[0], None, None
        edit = _drawn(scene, kind, thing or chance.choice(scene.things), like, chance)
        target = apply(scene, edit)
        if target != scene and fits(target):
            return edit


def _drawn(scene: Scene, kind: str, thing: Thing, like: Edit | None, chance: random.Random) -> Edit:
    if kind == "background":
        return Edit(kind, background=chance.choice(tuple(BACKGROUNDS)))
    if kind == "remove":
        return Edit(kind, before=thing)
    if kind == "move":
        return Edit(kind, before=thing, after=replace(thing, cell=chance.randrange(9)))
    if kind == "add":
        new = like.after if like is not None else None
        if new is None:
            return Edit(kind, after=sample_thing(chance.randrange(9), chance))
        return Edit(kind, after=_with(new, chance.choice(tuple(_VALUES)), chance))
    return Edit(kind, before=thing, after=_with(thing, kind, chance))


def _with(thing: Thing, attribute: str, chance: random.Random) -> Thing:
    value = chance.choice(_VALUES[attribute])
    return Thing(
        thing.cell,
        value if attribute == "shape" else thing.shape,
        value if attribute == "colour" else thing.colour,
        value if attribute == "size" else thing.size,
        value if attribute == "texture" else thing.texture,
    )


def say(scene: Scene, edit: Edit, chance: random.Random) -> str:
    """Put an edit into words; the thing it names is the only one of the scene that the words fit.

    What is said of a new thing is all there is to it: a size that is not named is medium, a texture that is not, plain.

    Example:
        >>> ring = Thing(0, "ring", "red", "small", "plain")
        >>> say(Scene((ring,), "sky"), Edit("remove", before=ring), random.Random(2))
        'remove the hoop'
    """
    sentence = chance.choice(_SENTENCES[edit.kind])
    the = "" if edit.before is None else _referent(scene, edit.before, chance)
    if edit.kind == "background":
        new = chance.choice(BACKGROUND_PHRASES[edit.background])
    elif edit.after is None:
        new = ""
    elif edit.kind == "move":
        new = chance.choice(PLACE_PHRASES[edit.after.cell])
    elif edit.kind == "add":
        usual = {"size": "medium", "texture": "plain", "colour": ""}
        said = [name for name, value in usual.items() if getattr(edit.after, name) != value]
        new = f"{with_article(noun_phrase(edit.after, said, chance))} {chance.choice(PLACE_PHRASES[edit.after.cell])}"
    else:
        new = chance.choice(_WORDS[edit.kind][getattr(edit.after, edit.kind)])
        new = with_article(new) if edit.kind == "shape" else new
    return sentence.format(the=the, new=new)


def _referent(scene: Scene, thing: Thing, chance: random.Random) -> str:
    """Name a thing by as much as tells it from the others, sometimes by more."""
    alike = [other for other in scene.things if other.shape == thing.shape]
    choices: tuple[tuple[str, ...], ...] = (
        (), ("colour",), ("size",), ("texture",), ("size", "colour"), ("texture", "colour"), ("size", "texture"),
    )  # fmt: skip
    telling = [
        said for said in choices if sum(all(getattr(o, n) == getattr(thing, n) for n in said) for o in alike) == 1
    ]
    if not telling:
        return f"the {noun_phrase(thing, (), chance)} {chance.choice(PLACE_PHRASES[thing.cell])}"
    return f"the {noun_phrase(thing, telling[0] if chance.random() < 0.6 else chance.choice(telling[:2]), chance)}"


def families(split: str, queries: int, seed: int) -> list[Family]:
    """Draw families of one split; a longer list starts with the shorter one of the same seed.

    Args:
        split: One of SPLITS; every scene of every family belongs to it.
        queries: How many edits in all; the last family may have fewer than EDITS_A_REFERENCE.
        seed: Of the random draws.

    Returns:
        Families without a scene in common.

    Example:
        >>> [len(family.edits) for family in families("test", 6, seed=0)]
        [4, 2]
    """
    return list(_families(split, queries, seed))


@lru_cache(maxsize=4)  # a campaign asks for the same ones at every run
def _families(split: str, queries: int, seed: int) -> tuple[Family, ...]:
    chance = random.Random(f"{seed} {split} edits")
    taken: set[Scene] = set()
    found = []
    for done in range(0, queries, EDITS_A_REFERENCE):
        family = _family(split, taken, chance)
        left = queries - done
        found.append(Family(family.reference, family.edits[:left], family.near[: left * NEAR_A_TARGET]))
    return tuple(found)


def twins(split: str, queries: int, seed: int) -> list[tuple[Family, Family]]:
    """Draw families two by two: the second reference is one edit away from the first, and both are asked the same.

    A target and that of its twin satisfy one request and differ where it is silent. Beside each other in training they
    teach what families alone do not: to keep of the reference whatever the sentence does not speak of.

    Args:
        split: One of SPLITS; every scene of every family belongs to it.
        queries: How many edits in all; the last families may have fewer than EDITS_A_REFERENCE each.
        seed: Of the random draws.

    Returns:
        Families without a scene in common, and without near-duplicates; `say` tells the edits of each in its own words.

    Example:
        >>> [len(one.edits) + len(other.edits) for one, other in twins("train", 11, seed=0)]
        [8, 3]
    """
    return list(_all_twins(split, queries, seed))


@lru_cache(maxsize=4)
def _all_twins(split: str, queries: int, seed: int) -> tuple[tuple[Family, Family], ...]:
    chance = random.Random(f"{seed} {split} twins")
    taken: set[Scene] = set()
    found = []
    for done in range(0, queries, 2 * EDITS_A_REFERENCE):
        one, other = _twins(split, taken, chance)
        left = queries - done
        first, second = one.edits[: -(-left // 2)], other.edits[: left // 2]
        found.append((Family(one.reference, first, ()), Family(other.reference, second, ())))
    return tuple(found)


def _twins(split: str, taken: set[Scene], chance: random.Random) -> tuple[Family, Family]:
    while True:
        one = _reference(split, taken, chance)
        other = apply(one, _new(split, one, taken, chance, None))
        edits: list[Edit] = []
        while len(other.things) > 1 and len(edits) < EDITS_A_REFERENCE:
            found = _found(split, (one, other), taken, chance, edits[-1] if len(edits) % 2 else None)
            if found is None:  # checksums of scenes alike in length go hand in hand: these never share a split
                break
            edits.append(found)
        if len(edits) == EDITS_A_REFERENCE:
            first, second = (
                Family(scene, tuple((say(scene, edit, chance), apply(scene, edit)) for edit in edits), ())
                for scene in (one, other)
            )
            return first, second


def _family(split: str, taken: set[Scene], chance: random.Random) -> Family:
    reference = _reference(split, taken, chance)
    edits: list[Edit] = []
    texts: list[tuple[str, Scene]] = []
    for step in range(EDITS_A_REFERENCE):
        # Every second edit changes what the one before it changed, so that its target is one value away.
        like = edits[-1] if step % 2 else None
        edit = _new(split, reference, taken, chance, like)
        edits.append(edit)
        texts.append((say(reference, edit, chance), apply(reference, edit)))
    near = [
        apply(target, _new(split, target, taken, chance, None)) for _, target in texts for _ in range(NEAR_A_TARGET)
    ]
    return Family(reference, tuple(texts), tuple(near))


def _reference(split: str, taken: set[Scene], chance: random.Random) -> Scene:
    """Draw a scene that is not taken yet, and take it."""
    reference = sample(split, chance)
    while reference in taken or len(reference.things) == 1:  # of one thing there is nothing to tell it from
        reference = sample(split, chance)
    taken.add(reference)
    return reference


def _new(split: str, scene: Scene, taken: set[Scene], chance: random.Random, like: Edit | None) -> Edit:
    """Draw an edit whose target is of the split and not taken yet, and take it."""
    edit = _found(split, (scene,), taken, chance, like)
    assert edit is not None, "a scene has thousands of edits, a quarter of them in its split"
    return edit


def _found(
    split: str, scenes: Sequence[Scene], taken: set[Scene], chance: random.Random, like: Edit | None
) -> Edit | None:
    """Draw an edit all of whose targets are of the split and not taken yet, and take them; None if none turns up."""
    for attempt in range(1_000 if len(scenes) == 1 else 200):
        edit = sample_edit(scenes[0], chance, like if attempt < 50 else None)
        if not all(edit.before is None or edit.before in scene.things for scene in scenes):
            continue
        targets = [apply(scene, edit) for scene in scenes]
        different = len({*scenes, *targets}) == 2 * len(scenes)
        if different and all(t not in taken and split_of(t) == split and fits(t) for t in targets):
            taken.update(targets)
            return edit
    return None


def scenes_of(found: Iterable[Family]) -> list[Scene]:
    """List every scene of some families: references, targets, near-duplicates."""
    return [s for one in found for s in (one.reference, *(target for _, target in one.edits), *one.near)]

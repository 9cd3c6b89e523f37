"""Families: targets differ from their reference by one thing, and neither half of a query points at the answer."""

import random
from collections import Counter

import pytest

from hashret.data.shapes_edits import (
    EDITS_A_REFERENCE,
    KINDS,
    NEAR_A_TARGET,
    Edit,
    apply,
    families,
    sample_edit,
    scenes_of,
    twins,
)
from hashret.data.shapes_scene import Scene, Thing, fits, scenes, split_of


@pytest.fixture(scope="module")
def found():
    return families("test", 600, seed=0)


def difference(one, other):
    """Name what differs if it is one thing only, else None; independent of how edits are represented."""
    lost, won = set(one.things) - set(other.things), set(other.things) - set(one.things)
    if one.background != other.background:
        return None if lost or won else "background"
    if len(lost) + len(won) == 1:
        return "remove" if lost else "add"
    if len(lost) != 1 or len(won) != 1:
        return None
    before, after = lost.pop(), won.pop()
    names = ("cell", "shape", "colour", "size", "texture")
    changed = [name for name in names if getattr(before, name) != getattr(after, name)]
    return changed[0].replace("cell", "move") if len(changed) == 1 else None


def test_apply_by_hand():
    ring, star = Thing(0, "ring", "blue", "small", "plain"), Thing(5, "star", "red", "large", "dotted")
    green = Thing(0, "ring", "green", "small", "plain")
    scene = Scene((ring, star), "sky")
    assert apply(scene, Edit("colour", before=ring, after=green)) == Scene((green, star), "sky")
    assert apply(scene, Edit("remove", before=star)) == Scene((ring,), "sky")
    assert apply(Scene((star,), "sky"), Edit("add", after=ring)) == scene
    assert apply(scene, Edit("background", background="sea")) == Scene((ring, star), "sea")


def test_sampled_edits_change_one_thing_of_their_kind():
    chance, kinds = random.Random(1), Counter()
    for scene in scenes("train", 2000, seed=1):
        edit = sample_edit(scene, chance)
        target = apply(scene, edit)
        assert difference(scene, target) == edit.kind
        assert fits(target)
        kinds[edit.kind] += 1
    assert set(kinds) == set(KINDS)
    assert kinds.most_common()[0][0] == "colour"


def test_targets_and_near_duplicates_are_one_edit_away(found):
    assert sum(len(family.edits) for family in found) == 600
    for family in found:
        assert len(family.reference.things) > 1
        assert len(family.near) == NEAR_A_TARGET * len(family.edits)
        for place, (_, target) in enumerate(family.edits):
            assert difference(family.reference, target) is not None
            for near in family.near[NEAR_A_TARGET * place : NEAR_A_TARGET * (place + 1)]:
                assert difference(target, near) is not None
                assert near != family.reference


def test_families_are_disjoint_and_of_one_split(found):
    for split, others in (("test", found), ("train", families("train", 400, seed=0))):
        members = scenes_of(others)
        assert len(set(members)) == len(members)
        assert {split_of(scene) for scene in members} == {split}


def test_families_repeat_and_extend():
    assert families("train", 8, seed=5) == families("train", 40, seed=5)[:2]
    assert families("train", 8, seed=5) != families("train", 8, seed=6)
    last = families("train", 10, seed=5)[-1]
    assert (len(last.edits), len(last.near)) == (2, 2 * NEAR_A_TARGET)


def test_twins_are_one_edit_apart_and_so_are_their_targets():
    found = twins("train", 804, seed=0)
    assert [(len(one.edits), len(other.edits)) for one, other in found] == [(4, 4)] * 100 + [(2, 2)]
    kinds: Counter[str] = Counter()
    for one, other in found:
        assert min(len(one.reference.things), len(other.reference.things)) > 1
        apart = difference(one.reference, other.reference)
        assert apart is not None
        for (_, target), (_, twin) in zip(one.edits, other.edits, strict=True):
            told = difference(one.reference, target)
            assert told is not None
            assert told == difference(other.reference, twin)
            assert target != twin
            assert fits(twin)
            assert set(one.reference.things) - set(target.things) == set(other.reference.things) - set(twin.things)
            assert set(target.things) - set(one.reference.things) == set(twin.things) - set(other.reference.things)
            kinds[told] += 1
            if apart != "background":  # what one lacks of the other is what their targets lack of each other
                assert target.background == twin.background
                things, others = set(one.reference.things), set(other.reference.things)
                assert set(target.things) - set(twin.things) == things - others
                assert set(twin.things) - set(target.things) == others - things
            else:
                assert target.things == twin.things
    assert set(kinds) == set(KINDS)
    members = scenes_of([family for both in found for family in both])
    assert len(set(members)) == len(members)
    assert {split_of(scene) for scene in members} == {"train"}
    assert twins("train", 16, seed=5) == twins("train", 80, seed=5)[:2] != twins("train", 16, seed=6)


def test_the_image_alone_cannot_answer(found):
    for family in found:
        close = [scene for scene in scenes_of([family]) if difference(family.reference, scene)]
        assert len(close) >= len(family.edits) == EDITS_A_REFERENCE
        assert len({text for text, _ in family.edits}) > 1


def test_the_sentence_alone_cannot_answer(found):
    gallery, also = scenes_of(found), 0
    for family in found:
        for _, target in family.edits:
            new = set(target.things) - set(family.reference.things)
            if new:  # others show what the sentence asks for, even exactly the same thing in the same place
                also += sum(new <= set(scene.things) for scene in gallery) > 1
            else:
                also += sum(scene.background == target.background for scene in gallery) > 1
    assert also / 600 > 0.9


def test_some_targets_of_a_reference_differ_in_one_value(found):
    pairs = [(family.edits[0][1], family.edits[1][1]) for family in found]
    assert sum(difference(*pair) is not None for pair in pairs) / len(pairs) > 0.5

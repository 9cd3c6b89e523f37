"""Descriptions: valid, different, in one split each, labelled evenly enough and without regard to colour."""

from collections import Counter

import numpy as np
import pytest

from hashret.data.shapes_scene import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLOURS,
    CONCEPTS,
    SHAPES,
    SIZES,
    SPLITS,
    TEXTURES,
    Scene,
    Thing,
    fits,
    labels_of,
    scenes,
    split_of,
)


@pytest.fixture(scope="module")
def drawn():
    return {split: scenes(split, 1500, seed=0) for split in SPLITS}


def test_every_scene_is_valid_and_every_value_occurs(drawn):
    things = [thing for split in SPLITS for scene in drawn[split] for thing in scene.things]
    for attribute, values in {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "texture": TEXTURES}.items():
        assert {getattr(thing, attribute) for thing in things} == set(values)
    assert {scene.background for scene in drawn["train"]} == set(BACKGROUNDS)
    assert {len(scene.things) for scene in drawn["train"]} == {1, 2, 3, 4}
    for scene in drawn["train"]:
        cells = [thing.cell for thing in scene.things]
        assert fits(scene)
        assert cells == sorted(set(cells))
        assert set(cells) <= set(range(9))


def test_splits_share_no_description_under_any_seed(drawn):
    every = {split: set(drawn[split]) | set(scenes(split, 300, seed=7)) for split in SPLITS}
    assert all(len(set(drawn[split])) == 1500 for split in SPLITS)
    assert sum(map(len, every.values())) == len(set().union(*every.values()))
    assert all(split_of(scene) == split for split, members in every.items() for scene in members)


def test_seeds_repeat_and_differ(drawn):
    assert scenes("train", 400, seed=0) == drawn["train"][:400]
    assert len(set(scenes("train", 400, seed=1)) & set(drawn["train"])) < 100


def test_scenes_can_be_left_out(drawn):
    left = drawn["test"][:50]
    assert scenes("test", 100, seed=0, without=left) == drawn["test"][50:150]


def test_labels_are_like_tags(drawn):
    labels = np.stack([labels_of(scene) for split in SPLITS for scene in drawn[split]])
    rate = labels.mean(axis=0)
    assert labels.shape == (6000, 24)
    assert len(set(CONCEPTS)) == 24
    assert labels.sum(axis=1).min() >= 1
    assert 2.5 <= labels.sum(axis=1).mean() <= 3
    assert 0.20 <= rate.max() <= 0.30
    assert 0.03 <= rate.min() <= 0.06
    queries, gallery = labels[3000:4500].astype(int), labels[4500:].astype(int)
    assert 0.25 <= (queries @ gallery.T > 0).mean() <= 0.35
    for one in range(0, 6000, 1500):  # choosing the split by the description moves no label
        np.testing.assert_allclose(labels[one : one + 1500].mean(axis=0), rate, atol=0.035)


def test_some_scenes_show_a_thing_twice(drawn):
    twice = [
        len({(thing.shape, thing.colour, thing.size, thing.texture) for thing in scene.things}) < len(scene.things)
        for scene in drawn["train"]
    ]
    assert 0.1 < np.mean(twice) < 0.3


def test_labels_follow_the_description(drawn):
    for scene in drawn["test"]:
        named = {name for name, on in zip(CONCEPTS, labels_of(scene), strict=True) if on}
        things = {thing.shape for thing in scene.things} | {thing.texture for thing in scene.things}
        assert named == (things | set(BACKGROUNDS[scene.background])) & set(CONCEPTS)
        assert not named & set(COLOURS)


def test_attributes_stand_behind_the_labels(drawn):
    names = (*CONCEPTS, *ATTRIBUTES)
    assert len(set(names)) == 39
    for scene in drawn["validation"]:
        row = labels_of(scene, attributes=True)
        np.testing.assert_array_equal(row[:24], labels_of(scene))
        named = {name for name, on in zip(names, row, strict=True) if on}
        told = {word for thing in scene.things for word in (thing.shape, thing.texture, thing.colour, thing.size)}
        assert named == told | set(BACKGROUNDS[scene.background])


def test_colours_tell_nothing_about_shapes(drawn):
    things = [thing for split in SPLITS for scene in drawn[split] for thing in scene.things]
    for shape in SHAPES:
        seen = Counter(thing.colour for thing in things if thing.shape == shape)
        for colour in COLOURS:
            assert seen[colour] / seen.total() == pytest.approx(1 / len(COLOURS), abs=0.05)


def test_crowded_scenes_do_not_fit():
    def thing(cell, size):
        return Thing(cell, "star", "red", size, "plain")

    assert fits(Scene.of([thing(0, "large"), thing(4, "large")], "sky"))
    assert not fits(Scene.of([thing(0, "large"), thing(1, "large")], "sky"))
    assert not fits(Scene.of([thing(3, "medium"), thing(0, "large")], "sky"))
    assert fits(Scene.of([thing(2, "large"), thing(3, "large")], "sky"))  # end of one row, start of the next
    assert not fits(Scene.of([thing(0, "small"), thing(0, "small")], "sky"))
    assert not fits(Scene((), "sky"))
    assert not fits(Scene.of([thing(cell, "small") for cell in range(5)], "sky"))

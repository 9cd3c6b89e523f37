"""Pictures: repeatable, the same at every size, every shape visible on every ground, varied where nothing is said."""

import random
from itertools import product

import numpy as np
import pytest

from hashret.data import shapes_background, shapes_outline
from hashret.data.shapes_drawing import draw
from hashret.data.shapes_scene import BACKGROUNDS, COLOURS, SHAPES, TEXTURES, Scene, Thing, scenes


def pixels(scene, size=64, palette=1, detail=2):
    return np.asarray(draw(scene, size, palette=palette, detail=detail)).astype(int)


def blurred(picture):
    step = len(picture) // 16
    return picture.reshape(16, step, 16, step, 3).mean(axis=(1, 3))


def test_painters_and_outlines_cover_the_vocabulary():
    assert set(shapes_background.PAINTERS) == set(BACKGROUNDS)
    assert set(shapes_outline.OUTLINES) == set(SHAPES)


def test_kept_masks_equal_fresh_ones():
    drawn = [(scene, number) for number, scene in enumerate(scenes("train", 60, seed=0))]
    kept = [pixels(scene, detail=number) for scene, number in drawn for _ in range(2)][1::2]
    shapes_outline.masks.cache_clear()
    shapes_outline.pattern.cache_clear()
    for (scene, number), before in zip(reversed(drawn), reversed(kept), strict=True):
        np.testing.assert_array_equal(pixels(scene, detail=number), before)


@pytest.mark.parametrize("size", [64, 96, 129])
def test_size(size):
    image = draw(scenes("test", 1, seed=0)[0], size, palette=0, detail=0)
    assert (image.mode, image.size) == ("RGB", (size, size))


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_scene_looks_the_same_at_every_size(background):
    things = Thing(0, "star", "red", "large", "plain"), Thing(5, "ring", "white", "small", "dotted")
    scene = Scene(things, background)
    for detail in range(3):
        small = pixels(scene, 64, detail=detail)
        large = pixels(scene, 128, detail=detail)
        other = pixels(scene, 64, palette=9, detail=detail + 100)
        again, anew = (np.abs(blurred(small) - blurred(picture)).mean() for picture in (large, other))
        assert again < 5
        assert again < anew


@pytest.mark.parametrize("texture", TEXTURES)
def test_every_thing_stands_out_where_it_should(texture):
    for number, (shape, colour) in enumerate(product(SHAPES, COLOURS)):
        cell = number % 9
        picture = pixels(Scene((Thing(cell, shape, colour, "small", texture),), "plain"), palette=number, detail=number)
        ground = np.median(picture.reshape(-1, 3), axis=0)
        rows, columns = np.nonzero(np.abs(picture - ground).max(axis=2) > 25)
        wide, tall = np.ptp(columns) + 1, np.ptp(rows) + 1
        assert 14 <= max(wide, tall) <= 24, (shape, colour)
        assert min(wide, tall) >= 9, (shape, colour)
        middle = (rows.max() + rows.min()) / 128, (columns.max() + columns.min()) / 128
        assert np.abs(np.array(middle) - [(0.2, 0.5, 0.8)[cell // 3], (0.2, 0.5, 0.8)[cell % 3]]).max() < 0.07


def test_pictures_of_one_palette_keep_their_colours():
    scene = Scene((Thing(4, "star", "red", "small", "plain"),), "plain")
    corners = np.array([pixels(scene, palette=3, detail=detail)[:8, :8].mean(axis=(0, 1)) for detail in range(20)])
    others = np.array([pixels(scene, palette=number, detail=0)[:8, :8].mean(axis=(0, 1)) for number in range(20)])
    assert corners.std(axis=0).max() < 15
    assert others.std(axis=0).min() > 30


def test_details_move_turn_and_mirror_things():
    scene = Scene((Thing(4, "arrow", "black", "large", "plain"),), "plain")
    drawn = {pixels(scene, detail=detail).tobytes() for detail in range(30)}
    assert len(drawn) == 30
    heads = []
    for detail in range(30):
        dark = pixels(scene, detail=detail, palette=5).sum(axis=2) < 170
        heads.append(np.nonzero(dark)[1][np.argmax(dark.sum(axis=0)[np.nonzero(dark)[1]])])
    assert min(heads) < 32 < max(heads)  # points to either side


def test_patterns_lie_inside_and_differ():
    radius, rim = 12.0, 1.3
    face = np.asarray(shapes_outline.masks("square", radius, rim, 0, False).face)
    kinds = [np.asarray(shapes_outline.pattern(kind, radius, rim, 0)) for kind in ("striped", "dotted", "checked")]
    for kind in kinds:
        assert kind.shape == face.shape
        assert 0.25 < kind[face == 255].mean() / 255 < 0.6
    assert all(np.abs(one.astype(int) - two).mean() > 40 for one, two in zip(kinds, kinds[1:] + kinds[:1], strict=True))


def test_no_picture_depends_on_those_before():
    first, second = scenes("train", 2, seed=1)
    alone = pixels(second)
    pixels(first)
    random.seed(0)
    np.testing.assert_array_equal(pixels(second), alone)

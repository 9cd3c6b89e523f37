"""Copies differ from their picture and from each other, always in the same way, and only in what was asked for."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from hashret.models.augmentation import AUGMENTATIONS, Augmentation, Augmented
from hashret.models.processor import Pixels

PLAIN = Pixels(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def picture(seed=0, size=(48, 40)):
    low = Image.fromarray(np.random.default_rng(seed).integers(30, 200, (5, 6, 3), dtype=np.uint8))
    return low.resize(size, Image.Resampling.BICUBIC)


def changed(*kinds, seed=0, image=None):
    return Augmentation(kinds)(image or picture(), 32, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", [kind for kind in AUGMENTATIONS if kind != "hue"])
def test_every_kind_changes_some_copies(kind):
    original = picture()
    copies = [changed(kind, seed=seed) for seed in range(12)]
    assert all(copy.mode == "RGB" for copy in copies)
    assert any(copy.size != original.size or copy.tobytes() != original.tobytes() for copy in copies)


def test_no_kind_changes_nothing():
    assert changed().tobytes() == picture().tobytes()


def test_a_crop_is_a_square_of_the_side_asked_for():
    assert {changed("crop", seed=seed).size for seed in range(10)} == {(32, 32)}
    assert changed("crop", image=picture(size=(200, 3))).size == (32, 32)


def test_a_crop_keeps_as_much_as_is_asked_for():
    """Told by how far across a picture that brightens from left to right it reaches."""
    ramp = Image.fromarray(np.repeat(np.arange(100, dtype=np.uint8)[None] * 2, 100, 0)).convert("RGB")
    for smallest in (0.08, 0.5, 1.0):
        widths = []
        for seed in range(60):
            row = np.asarray(Augmentation(("crop",), smallest)(ramp, 100, np.random.default_rng(seed)))[50, :, 0]
            widths.append(int(row[-1]) - int(row[0]))
        # Of a square picture a crop at an aspect ratio of 3/4 that keeps a share s is sqrt(3/4 s) wide.
        assert min(widths) >= 198 * np.sqrt(0.75 * smallest) - 6
        assert max(widths) <= 198
        assert smallest == 1 or min(widths) < 198 * np.sqrt(4 / 3 * smallest) + 30


def test_flips_and_rotations_are_the_symmetries_they_make():
    square = picture(size=(40, 40))
    turns = [square, *(square.transpose(turn) for turn in (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180,
                                                           Image.Transpose.ROTATE_270))]  # fmt: skip
    flips = [turn.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for turn in turns]
    expected = {
        ("rotations",): {turn.tobytes() for turn in turns},
        ("flips",): {image.tobytes() for image in (square, flips[0], flips[2])},
        ("mirror",): {image.tobytes() for image in (square, flips[0])},
        ("flips", "rotations"): {image.tobytes() for image in turns + flips},
    }
    for kinds, images in expected.items():
        assert {changed(*kinds, seed=seed, image=square).tobytes() for seed in range(80)} == images


def hue_of(image):
    return float(np.asarray(image.convert("HSV"), np.float32)[..., 0].mean())


def test_hue_stays_unless_it_is_asked_for():
    red = Image.new("RGB", (32, 32), (200, 40, 40))
    assert all(hue_of(changed("jitter", seed=seed, image=red)) < 3 for seed in range(40))
    assert any(3 < hue_of(changed("jitter", "hue", seed=seed, image=red)) < 252 for seed in range(40))


def test_grey_is_half_of_the_copies():
    grey = 0
    for seed in range(200):
        channels = np.asarray(changed("grayscale", seed=seed))
        grey += bool((channels[..., 0] == channels[..., 1]).all())
    assert 70 < grey < 130


def test_a_copy_is_a_function_of_pixels_seed_and_number():
    first = Augmented(PLAIN, Augmentation(), seed=0, copy=0)
    assert first(picture()).shape == (3, 32, 32)
    torch.manual_seed(1)
    again = first(picture())
    np.random.default_rng(2)
    torch.manual_seed(3)
    assert torch.equal(first(picture()), again)
    for other in (Augmented(PLAIN, Augmentation(), seed=1, copy=0), Augmented(PLAIN, Augmentation(), seed=0, copy=1)):
        assert not torch.equal(other(picture()), again)
        assert other.config() != first.config()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(first, [picture(n) for n in range(20)]))
    assert all(torch.equal(one, first(picture(n))) for n, one in enumerate(made))

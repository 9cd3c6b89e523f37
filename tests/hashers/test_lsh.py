"""LSH: Hamming distance estimates the angle, and what centring changes."""

import numpy as np
import pandas as pd
import pytest

from hashret.errors import InputError
from hashret.hashers import LSH


@pytest.mark.parametrize("degrees", [10, 45, 90, 150])
def test_share_of_different_bits_is_the_angle(degrees):
    """Charikar: probability t / pi; 20,000 planes leave a standard error of 0.35 %."""
    angle = np.deg2rad(degrees)
    pair = np.array([[1, 0, 0], [np.cos(angle), np.sin(angle), 0]]) * [[3], [0.2]]
    a, b = LSH(bits=20_000, centre=False).fit(pair).transform(pair).unpack()
    assert (a != b).mean() == pytest.approx(degrees / 180, abs=0.012)


def test_planes_are_normal_and_independent():
    weights = LSH(bits=3000).fit(np.zeros((1, 4))).weights_
    np.testing.assert_allclose(weights.mean(1), 0, atol=0.08)
    np.testing.assert_allclose(np.cov(weights), np.eye(4), atol=0.1)


def test_centring_lets_a_narrow_cone_be_told_apart():
    vectors = np.random.default_rng(0).normal(size=(300, 16)) + 20
    spread = {}
    for centre in (False, True):
        codes = LSH(bits=64, centre=centre).fit(vectors).transform(vectors).unpack()
        spread[centre] = np.abs(codes.mean(0)).mean()
    assert spread[True] < 0.15
    assert spread[False] > 0.7
    hasher = LSH(bits=8).fit(vectors)
    expected = (vectors - vectors.mean(0)) @ hasher.weights_ > 0
    np.testing.assert_array_equal(hasher.transform(vectors).unpack() > 0, expected)


def test_more_bits_than_columns_are_fine_and_a_bad_seed_is_not():
    assert LSH(bits=100).fit([[1.0], [2.0]]).transform([[3.0]]).bits == 100
    with pytest.raises(InputError, match="seed"):
        LSH(seed=-1).fit([[1.0], [2.0]])


def test_names_of_columns_survive_a_file(tmp_path):
    frame = pd.DataFrame({"height": [1.0, 2.0, 5.0], "weight": [3.0, 1.0, 0.0]})
    LSH(bits=8).fit(frame).save(tmp_path / "lsh")
    again = LSH.load(tmp_path / "lsh")
    assert again.feature_names_in_.tolist() == ["height", "weight"]
    assert again.transform(frame) == LSH(bits=8).fit(frame).transform(frame)
    with pytest.raises(InputError, match="feature names"):
        again.transform(frame.rename(columns={"weight": "mass"}))

"""CCAITQ against a generalised eigenproblem, and its rotation against what it claims to make small."""

import numpy as np
import pytest
from scipy import linalg

from hashret.errors import InputError
from hashret.hashers import CCAITQ, CCASign


def paired(items, seed, *, widths=(12, 9), noise=0.5):
    world, rng = np.random.default_rng(7), np.random.default_rng(seed)
    maps = [world.normal(size=(4, width)) for width in widths]
    latent = rng.normal(size=(items, 4))
    return tuple(latent @ m + noise * rng.normal(size=(items, m.shape[1])) for m in maps)


def dense(x, y, r):
    """Naive oracle: [0 C_xy; C_yx 0] w = l [C_x' 0; 0 C_y'] w, in one piece."""
    n, (dx, dy) = len(x), (x.shape[1], y.shape[1])
    x, y = x - x.mean(0), y - y.mean(0)
    cx, cy, cxy = x.T @ x / n, y.T @ y / n, x.T @ y / n
    a = np.block([[np.zeros((dx, dx)), cxy], [cxy.T, np.zeros((dy, dy))]])
    b = linalg.block_diag(cx + r * np.trace(cx) / dx * np.eye(dx), cy + r * np.trace(cy) / dy * np.eye(dy))
    values, vectors = linalg.eigh(a, b)
    return values[::-1], vectors[:dx, ::-1] * np.sqrt(2), vectors[dx:, ::-1] * np.sqrt(2)


@pytest.mark.parametrize("regularization", [1e-4, 0.3])
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_projections_are_those_of_the_generalised_eigenproblem(regularization, power):
    x, y = paired(300, 0)
    hasher = CCAITQ(5, regularization=regularization, power=power).fit(x, y)
    values, wx, wy = dense(x, y, regularization)
    np.testing.assert_allclose(hasher.correlations_, values[:5], atol=1e-9)
    for ours, theirs in ((hasher.image_weights_, wx), (hasher.text_weights_, wy)):
        unrotated = ours @ hasher.rotation_.T
        theirs = theirs[:, :5] * values[:5] ** power
        np.testing.assert_allclose(unrotated, theirs * np.sign((unrotated * theirs).sum(0)), atol=1e-6)


@pytest.mark.parametrize("rotate_on", ["image", "mean"])
def test_the_rotation_makes_the_loss_of_its_projections_small(rotate_on):
    x, y = paired(400, 1)
    hasher = CCAITQ(6, rotate_on=rotate_on, regularization=0.1).fit(x, y)
    np.testing.assert_allclose(hasher.rotation_ @ hasher.rotation_.T, np.eye(6), atol=1e-12)
    assert (np.diff(hasher.losses_) <= 1e-12).all()
    a, b = (x - x.mean(0)) @ hasher.image_weights_, (y - y.mean(0)) @ hasher.text_weights_
    rotated = a if rotate_on == "image" else (a + b) / 2
    assert hasher.losses_[-1] == pytest.approx(((np.sign(rotated) - rotated) ** 2).sum() / 400)


def test_pairs_agree_more_than_without_a_learned_rotation():
    x, y = paired(600, 2)
    new_x, new_y = paired(300, 3)

    def agreement(hasher):
        hasher.fit(x, y)
        a, b = hasher.transform(new_x, side="image").unpack(), hasher.transform(new_y, side="text").unpack()
        return (a == b).mean()

    learned = agreement(CCAITQ(4, regularization=0.1, power=0))
    drawn = np.mean([agreement(CCASign(4, regularization=0.1, power=0, seed=seed)) for seed in range(5)])
    assert learned > drawn
    assert learned > 0.85


def test_columns_that_never_vary_get_no_weight():
    x, y = paired(200, 4)
    hasher = CCAITQ(4).fit(np.c_[x, np.full(200, 0.1)], y)
    np.testing.assert_array_equal(hasher.image_weights_[-1], 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bits": 10}, "at most 9 bits"), ({"regularization": 0.0}, "regularization"), ({"power": -1.0}, "power"),
        ({"rotate_on": "text"}, "rotate_on"), ({"iterations": -1}, "iterations"), ({"seed": -1}, "seed"),
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_refused_by_name(options, said):
    with pytest.raises(InputError, match=said):
        CCAITQ(**{"bits": 4, **options}).fit(*paired(50, 5))

"""ITQ: its loss never rises, its rotation solves the Procrustes problem, its codes are those of its rotation."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA

from hashret.errors import InputError
from hashret.hashers import ITQ, PCASign
from hashret.hashers.rotation import learned_rotation, quantization_loss, random_rotation


def spread(items, seed):
    """Vectors whose variance falls steeply from direction to direction."""
    return np.random.default_rng(seed).normal(size=(items, 16)) @ np.diag(0.8 ** np.arange(16)) + 2


def test_the_loss_falls_and_never_rises():
    hasher = ITQ(bits=12).fit(spread(400, 0))
    assert hasher.losses_.shape == (51,)
    assert (np.diff(hasher.losses_) <= 1e-12).all()
    assert hasher.losses_[-1] < 0.97 * hasher.losses_[0]
    np.testing.assert_allclose(hasher.rotation_ @ hasher.rotation_.T, np.eye(12), atol=1e-12)


def test_each_step_is_scipys_procrustes_solution():
    projections = np.random.default_rng(1).normal(size=(200, 5))
    naive = random_rotation(5, np.random.default_rng(7))
    for step in range(4):
        ours, losses = learned_rotation(projections, step, np.random.default_rng(7))
        np.testing.assert_allclose(ours, naive, atol=1e-10)
        assert losses[-1] == pytest.approx(((np.sign(projections @ naive) - projections @ naive) ** 2).sum() / 200)
        naive = orthogonal_procrustes(projections, np.where(projections @ naive > 0, 1.0, -1.0))[0]


def test_the_corners_of_a_turned_cube_are_found():
    """Codes under an unknown rotation: with a loss of 0 the rotation is undone up to order and sign."""
    corners = np.where(np.random.default_rng(2).random((600, 4)) > 0.5, 1.0, -1.0)
    turned = corners @ random_rotation(4, np.random.default_rng(3))
    best = min(
        (learned_rotation(turned, 100, np.random.default_rng(seed)) for seed in range(8)), key=lambda one: one[1][-1]
    )
    assert best[1][-1] < 1e-9
    assert quantization_loss(turned @ best[0]) == pytest.approx(0, abs=1e-9)


def test_codes_are_signs_of_rotated_principal_components():
    vectors = spread(300, 4)
    hasher = ITQ(bits=6, seed=3).fit(vectors)
    components = PCA(6, svd_solver="full").fit(vectors)
    projections = components.transform(vectors) * np.sign(
        (PCASign(6).fit(vectors).weights_.T * components.components_).sum(1)
    )
    np.testing.assert_array_equal(hasher.transform(vectors).unpack(), np.sign(projections @ hasher.rotation_))
    np.testing.assert_array_equal(
        ITQ(bits=6, iterations=0, seed=3).fit(vectors).rotation_, random_rotation(6, np.random.default_rng(3))
    )


def test_neighbours_are_kept_better_than_by_components_alone():
    vectors, queries = spread(1500, 5), spread(60, 6)
    true = ((queries[:, None] - vectors) ** 2).sum(2).argsort(1)[:, :50]

    def found(hasher):
        a, b = hasher.fit(vectors).transform(queries).unpack(), hasher.transform(vectors).unpack()
        near = (-(a.astype(int) @ b.T)).argsort(1, kind="stable")[:, :50]
        return np.mean([len(np.intersect1d(*pair)) / 50 for pair in zip(true, near, strict=True)])

    assert found(ITQ(bits=16)) > found(PCASign(bits=16)) + 0.03


def test_more_bits_than_columns_are_refused():
    with pytest.raises(InputError, match=r"bits: expected a whole number 1 \.\.\. 16, got 64"):
        ITQ().fit(spread(50, 7))
    with pytest.raises(InputError, match="iterations"):
        ITQ(bits=4, iterations=-1).fit(spread(50, 7))

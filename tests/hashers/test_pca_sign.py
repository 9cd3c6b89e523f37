"""PCASign against scikit-learn's PCA, and what it does where there is no variance."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from hashret.errors import InputError
from hashret.hashers import PCASign
from hashret.hashers.principal import principal_directions


@pytest.mark.parametrize("shape", [(200, 12), (9, 30)])
def test_directions_and_variances_are_scikit_learns(shape):
    vectors = np.random.default_rng(0).normal(size=shape) @ np.diag(np.linspace(3, 1, shape[1])) + 5
    ours, theirs = PCASign(bits=6).fit(vectors), PCA(6, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(ours.mean_, theirs.mean_, atol=1e-12)
    np.testing.assert_allclose(ours.variances_, theirs.explained_variance_, rtol=1e-9)
    same = np.sign((ours.weights_ * theirs.components_.T).sum(0))
    np.testing.assert_allclose(ours.weights_, theirs.components_.T * same, atol=1e-8)
    assert (ours.weights_[np.abs(ours.weights_).argmax(0), np.arange(6)] > 0).all()
    np.testing.assert_array_equal(ours.transform(vectors).unpack(), np.sign(theirs.transform(vectors) * same))


def test_a_direction_without_variance_is_a_constant_bit():
    plane = np.random.default_rng(1).normal(size=(100, 2)) @ np.random.default_rng(2).normal(size=(2, 7)) + 1e3
    hasher = PCASign(bits=5).fit(plane)
    np.testing.assert_array_equal(hasher.variances_[2:], 0)
    np.testing.assert_array_equal(hasher.weights_[:, 2:], 0)
    codes = hasher.transform(plane + 1).unpack()
    assert (codes[:, 2:] == -1).all()
    assert len(np.unique(codes[:, :2], axis=0)) == 4


def test_vectors_that_are_all_the_same_have_no_direction():
    mean, directions, variances = principal_directions(np.full((4, 3), 0.1), 3)
    assert not directions.any()
    assert not variances.any()
    np.testing.assert_allclose(mean, 0.1)


def test_more_bits_than_columns_are_refused():
    with pytest.raises(InputError, match=r"bits: expected a whole number 1 \.\.\. 4, got 5.*hasher lsh"):
        PCASign(bits=5).fit(np.eye(4))
    with pytest.raises(InputError, match="1 sample"):
        PCASign(bits=1).fit([[1.0, 2.0]])

"""SCM against the matrix of all items by all items that it never writes out."""

import numpy as np
import pytest
from scipy import linalg

from hashret.errors import InputError
from hashret.hashers import SCM


def labelled(items, seed, *, widths=(10, 6), noise=0.7):
    """Two noisy views of multi-hot labels of four classes."""
    world, rng = np.random.default_rng(5), np.random.default_rng(seed)
    labels = (rng.random((items, 4)) < 0.35).astype(int)
    labels[labels.sum(1) == 0, 0] = 1
    x, y = (labels @ world.normal(size=(4, w)) + noise * rng.normal(size=(items, w)) for w in widths)
    return x, y, labels


def naive(x, y, labels, bits, r):
    """Naive oracle: S and every residual as N x N, each bit the generalised eigenproblem as the paper writes it."""
    n = len(x)
    x, y = x - x.mean(0), y - y.mean(0)
    unit = labels / np.linalg.norm(labels, axis=1)[:, None]
    cx, cy = x.T @ x, y.T @ y
    cx, cy = (
        cx + r * np.linalg.eigvalsh(cx).mean() * np.eye(len(cx)),
        cy + r * np.linalg.eigvalsh(cy).mean() * np.eye(len(cy)),
    )
    residual = bits * (2 * unit @ unit.T - 1)
    found = []
    for _ in range(bits):
        c = x.T @ residual @ y
        squares, vectors = linalg.eigh(c @ np.linalg.inv(cy) @ c.T, cx)
        wx = vectors[:, -1] * np.sqrt(n)
        wy = np.linalg.inv(cy) @ c.T @ wx / np.sqrt(squares[-1])
        residual = residual - np.outer(np.sign(x @ wx), np.sign(y @ wy))
        found.append((wx, wy))
    return found


@pytest.mark.parametrize("regularization", [1e-6, 0.1])
def test_every_bit_is_the_dense_eigenproblem(regularization):
    x, y, labels = labelled(120, 0)
    hasher = SCM(9, regularization=regularization).fit(x, y, labels)  # more bits than the texts have columns
    for bit, (wx, wy) in enumerate(naive(x, y, labels, 9, regularization)):
        sign = np.sign(wx @ hasher.image_weights_[:, bit])
        np.testing.assert_allclose(hasher.image_weights_[:, bit], sign * wx, atol=1e-6)
        np.testing.assert_allclose(hasher.text_weights_[:, bit], sign * wy, atol=1e-6)


def test_projections_have_the_variance_the_constraint_asks_for():
    x, y, labels = labelled(300, 1)
    hasher = SCM(5, regularization=1e-9).fit(x, y, labels)
    for vectors, weights in ((x, hasher.image_weights_), (y, hasher.text_weights_)):
        np.testing.assert_allclose(((vectors - vectors.mean(0)) @ weights).var(0), 1, rtol=1e-6)


def test_codes_of_more_bits_fit_the_labels_better():
    x, y, labels = labelled(400, 2)
    unit = labels / np.linalg.norm(labels, axis=1)[:, None]
    wanted = 2 * unit @ unit.T - 1
    errors = []
    for bits in (1, 4, 16):
        hasher = SCM(bits).fit(x, y, labels)
        a, b = hasher.transform(x, side="image").unpack(), hasher.transform(y, side="text").unpack()
        errors.append(np.mean((a @ b.T.astype(float) / bits - wanted) ** 2))
    assert errors[0] > errors[1] > errors[2]


def test_training_codes_are_signs_of_both_projections():
    x, y, labels = labelled(100, 3)
    hasher = SCM(6).fit(x, y, labels)
    both = (x - x.mean(0)) @ hasher.image_weights_ + (y - y.mean(0)) @ hasher.text_weights_
    np.testing.assert_array_equal(hasher.training_codes_.unpack(), np.sign(both))
    assert (hasher.training_codes_.unpack() == hasher.transform(x, side="image").unpack()).mean() > 0.8


def test_topics_that_sum_to_one_and_class_numbers_are_fine():
    x, y, labels = labelled(200, 4)
    topics = np.exp(y) / np.exp(y).sum(1)[:, None]
    numbers = labels.argmax(1)
    hasher = SCM(8).fit(x, topics, numbers)
    assert hasher.transform(topics, side="text") == SCM(8).fit(x, topics, np.eye(4)[numbers]).transform(
        topics, side="text"
    )


def test_parameters_out_of_range_are_refused_by_name():
    x, y, labels = labelled(50, 5)
    with pytest.raises(InputError, match="regularization"):
        SCM(4, regularization=0.0).fit(x, y, labels)
    with pytest.raises(InputError, match="labels: expected zeros and ones"):
        SCM(4).fit(x, y, labels * 0.5)

"""SePH: its gradients against finite differences and naive loops, its codes against its labels."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.hashers import SePH
from hashret.hashers import neighbour_codes as neighbours
from hashret.hashers.kernel_logistic import Anchors, find_anchors, logistic_loss, logistic_weights
from hashret.hashers.neighbour_codes import divergence, learned_codes


def labelled(items, seed, *, noise=0.5):
    world, rng = np.random.default_rng(5), np.random.default_rng(seed)
    labels = (rng.random((items, 3)) < 0.4).astype(int)
    labels[labels.sum(1) == 0, 0] = 1
    x, y = (labels @ world.normal(size=(3, w)) + noise * rng.normal(size=(items, w)) for w in (8, 5))
    return x, y, labels


def unit(labels):
    return labels / np.linalg.norm(labels, axis=1)[:, None]


def naive(codes, labels, alpha):
    """Naive oracle: the divergence over all ordered pairs, one after the other."""
    n = len(codes)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    affinity = {
        (i, j): labels[i] @ labels[j] / (np.linalg.norm(labels[i]) * np.linalg.norm(labels[j])) for i, j in pairs
    }
    near = {(i, j): 1 / (1 + ((codes[i] - codes[j]) ** 2).sum() / 4) for i, j in pairs}
    all_p, all_q = sum(affinity.values()), sum(near.values())
    total = sum(a / all_p * np.log((a / all_p) / (near[pair] / all_q)) for pair, a in affinity.items() if a > 0)
    return total + alpha / codes.size * ((np.abs(codes) - 1) ** 2).sum()


@pytest.mark.parametrize("rows", [4, 512])
def test_the_loss_is_that_of_all_pairs_and_its_gradient_that_of_finite_differences(monkeypatch, rows):
    monkeypatch.setattr(neighbours, "_ROWS", rows)  # blocks must not show
    labels = labelled(14, 0)[2]
    codes = np.random.default_rng(1).normal(size=(14, 5))
    loss, gradient = divergence(codes, unit(labels), 0.3)
    assert loss == pytest.approx(naive(codes, labels, 0.3), rel=1e-12)
    for row, column in [(0, 0), (3, 4), (13, 2)]:
        step = np.zeros_like(codes)
        step[row, column] = 1e-6
        slope = (naive(codes + step, labels, 0.3) - naive(codes - step, labels, 0.3)) / 2e-6
        assert gradient[row, column] == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_the_regressions_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(2)
    features, targets = np.c_[rng.random((20, 4)), np.ones(20)], np.sign(rng.normal(size=(20, 3)))

    def flat(which):
        return lambda w: np.ravel(logistic_loss(w.reshape(5, 3), features, targets, 0.1)[which])

    start = rng.normal(size=15)
    assert check_grad(lambda w: flat(0)(w)[0], flat(1), start) < 1e-6


def test_the_regression_is_scikit_learns():
    rng = np.random.default_rng(3)
    features, targets = np.c_[rng.normal(size=(80, 4)), np.ones(80)], np.sign(rng.normal(size=(80, 2)))
    targets = np.c_[targets, targets[:, :1]]
    ours = logistic_weights(features, targets, 0.05, 500)
    for bit in range(3):
        theirs = LogisticRegression(C=1 / (2 * 0.05 * 80), tol=1e-9, max_iter=5000).fit(
            features[:, :4], targets[:, bit]
        )
        np.testing.assert_allclose(ours[:4, bit], theirs.coef_[0], atol=2e-3)
        np.testing.assert_allclose(ours[4, bit], theirs.intercept_[0], atol=2e-3)


def test_kernel_features_are_gaussians_of_anchors():
    vectors = np.random.default_rng(4).normal(size=(60, 3))
    anchors = find_anchors(vectors, 7, np.random.default_rng(0))
    squares = ((vectors[:, None] - anchors.points) ** 2).sum(2)
    assert anchors.scale == pytest.approx(squares.mean())
    expected = np.c_[np.exp(-squares / (2 * anchors.scale)), np.ones(60)]
    np.testing.assert_allclose(anchors.features(vectors), expected, atol=1e-12)
    assert len(find_anchors(np.repeat(np.eye(3), 9, axis=0), 20, np.random.default_rng(0)).points) == 3


def test_learned_codes_are_near_where_labels_are_alike():
    labels = labelled(150, 5)[2]
    codes = np.where(learned_codes(unit(labels), 16, alpha=0.01, iterations=100, rng=np.random.default_rng(0)), 1, -1)
    distances, affinity = (16 - codes @ codes.T) / 2, unit(labels) @ unit(labels).T
    means = [distances[mask].mean() for mask in (affinity == 0, (affinity > 0) & (affinity < 0.9), affinity > 0.99)]
    assert means[0] > means[1] + 1
    assert means[1] > means[2] + 1


def test_views_are_fused_by_the_product_of_their_probabilities():
    x, y, labels = labelled(120, 6)
    hasher = SePH(8, anchors=20).fit(x, y, labels)

    def probabilities(vectors, side):
        anchors = Anchors(getattr(hasher, f"{side}_anchors_"), getattr(hasher, f"{side}_scale_"))
        return 1 / (1 + np.exp(-anchors.features(vectors) @ getattr(hasher, f"{side}_weights_")))

    p, q = probabilities(x, "image"), probabilities(y, "text")
    np.testing.assert_array_equal(hasher.transform_pairs(x, y).unpack() > 0, p * q > (1 - p) * (1 - q))
    np.testing.assert_array_equal(hasher.transform(y, side="text").unpack() > 0, q > 0.5)
    alone = [hasher.transform_pairs(x[i : i + 1], y[i : i + 1]) for i in range(120)]
    assert Codes.concatenate(alone) == hasher.transform_pairs(x, y)
    learned = hasher.training_codes_.unpack()
    assert (hasher.transform_pairs(x, y).unpack() == learned).mean() > (
        hasher.transform(x, side="image").unpack() == learned
    ).mean()
    with pytest.raises(InputError, match="120 images and 119 texts"):
        hasher.transform_pairs(x, y[1:])


def test_of_many_items_some_are_learned_and_the_rest_predicted():
    x, y, labels = labelled(200, 7)
    hasher = SePH(8, anchors=20, items=80, seed=3).fit(x, y, labels)
    assert len(hasher.training_codes_) == 200
    same = (hasher.training_codes_.packed == hasher.transform_pairs(x, y).packed).all(1)
    chosen = np.sort(np.random.default_rng(3).permutation(200)[:80])
    rest = np.setdiff1d(np.arange(200), chosen)
    assert same[rest].all()
    assert not same[chosen].all()


@pytest.mark.parametrize("name", ["alpha", "anchors", "penalty", "iterations", "items", "seed"])
def test_parameters_out_of_range_are_refused_by_name(name):
    with pytest.raises(InputError, match=name):
        SePH(4, **{name: -1}).fit(*labelled(30, 8))


def test_labels_that_no_two_items_share_are_refused():
    x, y, _ = labelled(20, 9)
    with pytest.raises(InputError, match="share a label"):
        SePH(4).fit(x, y, np.eye(20))

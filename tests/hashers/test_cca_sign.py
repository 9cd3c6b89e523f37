"""CCASign against a generalised eigenproblem, scikit-learn's CCA, random codes and a real benchmark."""

from pathlib import Path

import numpy as np
import pytest
from scipy import linalg
from scipy.io import loadmat
from sklearn.cross_decomposition import CCA
from sklearn.preprocessing import StandardScaler

from hashret.codes import Codes, binarize
from hashret.errors import InputError, NonFiniteError, WidthError
from hashret.hashers import CCASign

WIKIPEDIA = Path(__file__).parents[3] / "shared" / "data" / "wikipedia"


def paired(items, seed, *, widths=(12, 9), shared=4, noise=0.5):
    """Two noisy linear views of common latent vectors; also returns the latent vectors."""
    world, rng = np.random.default_rng(7), np.random.default_rng(seed)
    maps = [world.normal(size=(shared, width)) for width in widths]
    latent = rng.normal(size=(items, shared))
    x, y = (latent @ m + noise * rng.normal(size=(items, m.shape[1])) for m in maps)
    return x, y, latent


def eigenproblem(x, y, regularization):
    """Naive oracle: C_xy C_y'^-1 C_yx w = rho^2 C_x' w, solved as it stands."""
    n = len(x)
    x, y = x - x.mean(0), y - y.mean(0)
    cx, cy, cxy = x.T @ x / n, y.T @ y / n, x.T @ y / n
    cx = cx + regularization * np.linalg.eigvalsh(cx).mean() * np.eye(len(cx))
    cy = cy + regularization * np.linalg.eigvalsh(cy).mean() * np.eye(len(cy))
    squares, w = linalg.eigh(cxy @ np.linalg.inv(cy) @ cxy.T, cx)
    wx = w[:, ::-1]
    return np.sqrt(np.maximum(squares[::-1], 0)), wx, np.linalg.inv(cy) @ cxy.T @ wx


def mean_average_precision(queries, database, relevant):
    """Naive mAP@all of one query at a time, ties by position."""
    distances = (queries.bits - queries.unpack().astype(float) @ database.unpack().astype(float).T) / 2
    precisions = []
    for row, right in zip(distances, relevant, strict=True):
        found = right[np.argsort(row, kind="stable")]
        ranks = np.flatnonzero(found) + 1
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return float(np.mean(precisions))


@pytest.mark.parametrize("regularization", [1e-6, 0.1, 3.0])
def test_directions_are_those_of_the_generalised_eigenproblem(regularization):
    x, y, _ = paired(300, 0)
    hasher = CCASign(5, regularization=regularization, rotate=False, power=0).fit(x, y)
    correlations, wx, wy = eigenproblem(x, y, regularization)
    np.testing.assert_allclose(hasher.correlations_, correlations[:5], atol=1e-9)
    for ours, theirs in ((hasher.image_weights_, wx), (hasher.text_weights_, wy)):
        signs = np.sign((ours * theirs[:, :5]).sum(0))
        unit = theirs[:, :5] / np.linalg.norm(theirs[:, :5], axis=0) * signs
        np.testing.assert_allclose(ours / np.linalg.norm(ours, axis=0), unit, atol=1e-6)
    # Both sides of a direction point the same way: their projections correlate positively.
    a, b = x @ hasher.image_weights_, y @ hasher.text_weights_
    assert all(np.corrcoef(a[:, i], b[:, i])[0, 1] > 0 for i in range(5))


def test_correlations_without_regularization_are_those_of_scikit_learn():
    x, y, _ = paired(400, 1)
    x, y = StandardScaler().fit_transform(x), StandardScaler().fit_transform(y)
    hasher = CCASign(3, regularization=1e-9).fit(x, y)
    a, b = CCA(3, max_iter=5000, tol=1e-10).fit_transform(x, y)
    theirs = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(3)]
    np.testing.assert_allclose(hasher.correlations_, theirs, atol=1e-6)


def test_codes_are_the_signs_of_weighted_rotated_projections():
    x, y, _ = paired(300, 2)
    plain = CCASign(4, regularization=0.1, rotate=False).fit(x, y)
    weighted = CCASign(4, regularization=0.1, power=2.0, seed=3).fit(x, y)
    flat = CCASign(4, regularization=0.1, power=0, seed=3).fit(x, y)
    # The rotation is what is left when the canonical directions are divided out: orthogonal and the same on both sides.
    unit = plain.image_weights_ / plain.correlations_**plain.power
    rotation = np.linalg.lstsq(unit, flat.image_weights_, rcond=None)[0]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(weighted.image_weights_, unit * plain.correlations_**2 @ rotation, atol=1e-9)
    expected = binarize((y - y.mean(0)) @ weighted.text_weights_)
    assert weighted.transform(y, side="text") == expected
    assert weighted.transform(y, side="text") != flat.transform(y, side="text")
    assert plain.transform(x, side="image") == CCASign(4, regularization=0.1, rotate=False, power=0).fit(
        x, y
    ).transform(x, side="image")


def test_pairs_get_nearer_codes_than_strangers():
    hasher = CCASign(9).fit(*paired(500, 3)[:2])
    x, y, _ = paired(200, 4)
    a, b = hasher.transform(x, side="image").unpack(), hasher.transform(y, side="text").unpack()
    assert (a == b).mean() > 0.75
    assert 0.4 < (a == np.roll(b, 1, axis=0)).mean() < 0.6


def test_weighting_and_held_out_regularization_find_the_latent_neighbours():
    """With few pairs in many dimensions an unregularised, unweighted CCA follows noise."""
    x, y, _ = paired(150, 5, widths=(80, 90), noise=2.0)
    queries, database = paired(100, 6, widths=(80, 90), noise=2.0), paired(400, 7, widths=(80, 90), noise=2.0)
    relevant = queries[2] @ database[2].T > 3
    relevant[relevant.sum(1) == 0, 0] = True

    def score(**options):
        hasher = CCASign(32, **options).fit(x, y)
        a, b = hasher.transform(queries[0], side="image"), hasher.transform(database[1], side="text")
        return mean_average_precision(a, b, relevant)

    tuned = score()
    assert tuned > score(power=0) + 0.05
    assert tuned > score(regularization=1e-6) + 0.05


def test_regularization_chosen_is_the_best_on_held_out_images():
    x, y, _ = paired(120, 8, widths=(60, 60), noise=2.0)
    assert CCASign(8, regularization=(1e-6, 1.0)).fit(x, y).regularization_ == 1.0
    x, y, _ = paired(3000, 9, noise=0.1)
    assert CCASign(4, regularization=(0.001, 100.0)).fit(x, y).regularization_ == 0.001
    assert CCASign(4, regularization=0.25).fit(x[:50], y[:50]).regularization_ == 0.25
    assert CCASign(4, regularization=(0.1, 9.0)).fit(x[:19], y[:19]).regularization_ == 9.0


def test_captions_of_one_image_are_held_out_together():
    """Five captions an image: split by pair, too little regularisation would win by recognising its images."""
    x, _, latent = paired(60, 10, widths=(100, 100), noise=1.0)
    rng = np.random.default_rng(0)
    maps = np.random.default_rng(8).normal(size=(4, 100))
    texts = np.repeat(latent @ maps + 2 * rng.normal(size=(60, 100)), 5, axis=0) + 0.1 * rng.normal(size=(300, 100))
    hasher = CCASign(8, regularization=(1e-4, 3.0)).fit(np.repeat(x, 5, axis=0), texts)
    assert hasher.regularization_ == 3.0


def test_columns_that_never_vary_get_no_weight():
    x, y, _ = paired(200, 11)
    y[:, 2] = 0
    hasher = CCASign(4).fit(np.c_[x, np.full(200, 0.1)], y)
    np.testing.assert_array_equal(hasher.image_weights_[-1], 0)
    np.testing.assert_array_equal(hasher.text_weights_[2], 0)
    strange = y.copy()
    strange[:, 2] = 1e6
    assert hasher.transform(strange, side="text") == hasher.transform(y, side="text")


def test_a_direction_without_correlation_is_a_constant_bit_not_rounding_noise():
    x, y, _ = paired(200, 12)
    y = np.c_[y[:, :3], y[:, :3] @ np.random.default_rng(0).normal(size=(3, 3))]  # rank 3 in 6 columns
    hasher = CCASign(6, regularization=0.1, rotate=False).fit(x, y)
    codes = hasher.transform(x, side="image").unpack()
    assert (codes[:, 3:] == -1).all()
    assert np.abs(codes[:, :3].mean(0)).max() < 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.bool_])
def test_other_number_types_are_taken(dtype):
    x, y, _ = paired(200, 13)
    x, y = x * 10, y * 10
    x, y = (x > 0, y > 0) if dtype is np.bool_ else (x.astype(dtype), y.astype(dtype))
    codes = CCASign(4, regularization=0.1).fit(x, y).transform(x, side="image")
    assert codes == CCASign(4, regularization=0.1).fit(x.astype(float), y.astype(float)).transform(x, side="image")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bits": 10}, "at most 9 bits"),
        ({"bits": 0}, "1 ... 9"),
        ({"bits": 4.0}, "1 ... 9"),
        ({"bits": True}, "1 ... 9"),
        ({"regularization": 0.0}, "regularization"),
        ({"regularization": ()}, "regularization"),
        ({"regularization": (0.1, float("nan"))}, "regularization"),
        ({"regularization": "auto"}, "regularization"),
        ({"power": -1.0}, "power"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(options, said):
    x, y, _ = paired(50, 14)
    with pytest.raises(InputError, match=said):
        CCASign(**{"bits": 4, **options}).fit(x, y)


def test_data_that_cannot_be_fitted_is_refused():
    x, y, _ = paired(50, 15)
    hasher = CCASign(4)
    with pytest.raises(InputError, match="50 images and 49 texts"):
        hasher.fit(x, y[:-1])
    with pytest.raises(InputError, match="at least 2"):
        hasher.fit(x[:1], y[:1])
    with pytest.raises(InputError, match="texts: expected rows that differ"):
        hasher.fit(x, np.ones_like(y))
    with pytest.raises(InputError, match="real vectors"):
        hasher.fit(x[0], y)
    with pytest.raises(NonFiniteError, match="texts"):
        hasher.fit(x, np.where(np.arange(9) == 3, np.nan, y))
    hasher.fit(x, y)
    with pytest.raises(WidthError, match="expected 12 columns, got 9"):
        hasher.transform(y, side="image")
    with pytest.raises(InputError, match="'image' or 'text'"):
        hasher.transform(x, side="audio")


@pytest.mark.skipif(not WIKIPEDIA.exists(), reason="the Wikipedia benchmark is not at ../shared/data/wikipedia")
def test_beats_random_codes_on_wikipedia():
    arrays = loadmat(WIKIPEDIA / "raw_features.mat")
    lists = [WIKIPEDIA / f"{split}set_txt_img_cat.list" for split in ("train", "test")]
    train, test = (np.array([line.split()[2] for line in path.read_text().splitlines()]) for path in lists)
    relevant = test[:, None] == train[None, :]
    hasher = CCASign(8).fit(arrays["I_tr"], arrays["T_tr"])

    rng = np.random.default_rng(0)
    chance = mean_average_precision(
        Codes(rng.integers(0, 256, (len(test), 1), np.uint8), 8),
        Codes(rng.integers(0, 256, (len(train), 1), np.uint8), 8),
        relevant,
    )
    images, texts = hasher.transform(arrays["I_te"], side="image"), hasher.transform(arrays["T_te"], side="text")
    i2t = mean_average_precision(images, hasher.transform(arrays["T_tr"], side="text"), relevant)
    t2i = mean_average_precision(texts, hasher.transform(arrays["I_tr"], side="image"), relevant)
    assert chance == pytest.approx(0.11, abs=0.01)
    assert i2t > chance + 0.08
    assert t2i > chance + 0.05

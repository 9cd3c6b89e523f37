"""The bits of an affine map against exact arithmetic, for vectors whose product of matrices rounds the wrong way."""

from fractions import Fraction

import numpy as np
import pytest

from hashret.codes import Codes
from hashret.errors import NonFiniteError
from hashret.hashers.signs import signs


def exact(vectors, weights, offsets):
    """Naive oracle in rational numbers, which round nothing."""
    rows = [[Fraction(float(v)) for v in row] for row in vectors]
    columns = [[Fraction(float(w)) for w in column] for column in weights.T]
    return np.array(
        [
            [sum(a * b for a, b in zip(row, column, strict=True)) > Fraction(float(offset))
             for column, offset in zip(columns, offsets, strict=True)]
            for row in rows
        ]
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_are_those_of_exact_arithmetic(dtype):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(40, 11))
    vectors = rng.normal(size=(60, 40)).astype(dtype)
    offsets = rng.normal(size=11)
    assert (signs(vectors, weights, offsets).unpack() > 0).tolist() == exact(vectors, weights, offsets).tolist()


def test_values_next_to_the_threshold_are_not_left_to_float32():
    """Vectors are moved onto the hyperplane, where float32 products err by more than the value."""
    rng = np.random.default_rng(1)
    weights, offsets = rng.normal(size=(64, 1)), np.array([5.0])
    vectors = rng.normal(size=(400, 64))
    vectors += (offsets - vectors @ weights) * weights.T / (weights**2).sum()
    vectors = vectors.astype(np.float32)
    right = exact(vectors, weights, offsets)
    assert (signs(vectors, weights, offsets).unpack() > 0).tolist() == right.tolist()
    single = vectors @ weights.astype(np.float32) > np.float32(5)
    assert (single != right).mean() > 0.05, "the plain product must err here, or this shows nothing"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_scale_changes_no_bit(dtype, scale):
    """Squares of such numbers leave the range of float32."""
    rng = np.random.default_rng(2)
    weights, vectors = rng.normal(size=(16, 8)), rng.normal(size=(50, 16)).astype(dtype)
    plain = signs(vectors, weights, np.zeros(8))
    assert signs((vectors * dtype(scale)).astype(dtype), weights, np.zeros(8)) == plain
    assert signs(vectors, weights * scale, np.zeros(8)) == plain


def test_an_offset_beyond_float32_decides_alone():
    codes = signs(np.ones((2, 2), np.float32), np.ones((2, 2)), np.array([1e200, -1e200]))
    assert codes.unpack().tolist() == [[-1, 1]] * 2


def test_rows_stand_alone_across_blocks():
    rng = np.random.default_rng(3)
    vectors = rng.integers(-3, 4, (20_000, 6)).astype(np.float32)  # many products are exactly 0
    weights = rng.integers(-2, 3, (6, 13)).astype(float)
    whole = signs(vectors, weights, np.zeros(13))
    parts = [signs(vectors[start : start + 777], weights, np.zeros(13)) for start in range(0, 20_000, 777)]
    assert Codes.concatenate(parts) == whole
    np.testing.assert_array_equal(whole.unpack() > 0, vectors @ weights > 0)


def test_a_weight_of_zeros_gives_what_its_offset_says():
    codes = signs(np.ones((3, 2)), np.zeros((2, 3)), np.array([-1.0, 0.0, 1.0]))
    assert codes.unpack().tolist() == [[1, -1, -1]] * 3
    assert len(signs(np.ones((0, 2)), np.zeros((2, 3)), np.zeros(3))) == 0


@pytest.mark.parametrize("bits", [1, 7, 8, 12, 16, 64])
def test_bits_lie_where_packbits_puts_them(bits):
    rng = np.random.default_rng(4)
    vectors, weights = rng.normal(size=(33, 5)), rng.normal(size=(5, bits))
    np.testing.assert_array_equal(
        signs(vectors, weights, np.zeros(bits)).packed, np.packbits(vectors @ weights > 0, axis=1)
    )


@pytest.mark.parametrize("width", [3, 64, 512, 4000])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6])
def test_rounding_never_reaches_beyond_its_bound(width, offset):
    """The worst a float32 product errs by, in any order of summing, is within what is summed again."""
    rng = np.random.default_rng(5)
    weights, offsets = rng.normal(size=(width, 3)), np.full(3, offset)
    vectors = np.abs(rng.normal(size=(300, width)))  # long sums of one sign round the most
    vectors *= np.where(rng.random((300, 1)) < 0.5, 1, weights[:, :1].T)
    vectors -= ((vectors @ weights - offsets)[:, :1]) * weights[:, :1].T / (weights[:, 0] ** 2).sum()
    vectors = vectors.astype(np.float32)
    right = exact(vectors[:20], weights[:, :1], offsets[:1])
    found = signs(vectors[:20], weights, offsets).unpack()[:, :1] > 0
    double = vectors[:20].astype(np.float64) @ weights[:, :1] - offsets[:1]
    sure = np.abs(double) > 1e-12 * (1 + np.abs(vectors[:20]) @ np.abs(weights[:, :1]) + offset)
    assert (found == right)[sure].all()
    assert signs(vectors.astype(np.float64), weights, offsets) == signs(vectors, weights, offsets)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 4095, 4096, 9000])
def test_what_is_not_finite_is_named_wherever_it_stands(bad, row):
    vectors = np.ones((9001, 3), np.float32)
    vectors[row, 1] = bad
    with pytest.raises(NonFiniteError, match=f"image vectors: .* in row {row}, column 1, and 1 such"):
        signs(vectors, np.eye(3), np.zeros(3), "image vectors")

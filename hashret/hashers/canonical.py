"""Regularised canonical correlation analysis of pairs: the directions along which two modalities agree most.

With covariances C_x, C_y, C_xy of the centred pairs and C' = C + r mean(eigenvalues of C) I, the singular value
decomposition C'_x^{-1/2} C_xy C'_y^{-1/2} = U S V^T gives the weights C'_x^{-1/2} U and C'_y^{-1/2} V, and the
correlations S (Hotelling, 1936). Nothing here makes codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from hashret.errors import InputError
from hashret.hashers.parameters import check_whole

__all__ = [
    "canonical_directions", "check_bits_of_pairs", "check_pairs", "check_regularizations", "chosen_regularization",
    "direction_scales", "second_moments", "without_constant_columns",
]  # fmt: skip

Matrix = NDArray[np.float64]

_HELD_OUT = 5  # one image in five judges the candidates for the regularization
_FEWEST = 20  # distinct images below which a held-out correlation says nothing
_NO_CORRELATION = 1e-7  # what rounding makes of a correlation of 0


def check_pairs(x: Matrix, y: Matrix) -> None:
    """Refuse sides that are no pairs, and a side whose rows are all the same.

    Raises:
        InputError: Different numbers of rows, fewer than two, or equal ones.
    """
    if len(x) != len(y) or len(x) < 2:
        raise InputError(
            "pairs", expected="as many images as texts, at least 2", got=f"{len(x)} images and {len(y)} texts",
            remedy="Give row i of both sides the same item; repeat an image for each of its texts.",
        )  # fmt: skip
    for values, name in ((x, "images"), (y, "texts")):
        if not (values != values[0]).any():
            raise InputError(
                name, expected="rows that differ", got=f"{len(values)} equal ones", remedy="Check how they arose."
            )


def check_bits_of_pairs(bits: object, image_width: int, text_width: int) -> int:
    """Refuse more bits than canonical directions.

    Raises:
        InputError: Not 1 ... the narrower width.
    """
    largest = min(image_width, text_width)
    why = f"Use at most {largest} bits, or wider vectors: a bit takes a canonical direction of {image_width} and "
    return check_whole("bits", bits, 1, largest, why=f"{why}{text_width} columns.")


def check_regularizations(given: float | Sequence[float]) -> tuple[float, ...]:
    """The candidates for the regularization.

    Raises:
        InputError: None, or one that is no number > 0.
    """
    candidates = tuple(np.ravel(given).tolist())
    if not candidates or not all(isinstance(r, (int, float)) and 0 < r < np.inf for r in candidates):
        raise InputError("regularization", expected="a number > 0 or several", got=repr(given), remedy="Try 1.0.")
    return candidates


def second_moments(x: Matrix, y: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Covariances C_x, C_y and C_xy of centred pairs."""
    return x.T @ x / len(x), y.T @ y / len(y), x.T @ y / len(x)


def canonical_directions(
    moments: tuple[Matrix, Matrix, Matrix], regularization: float, bits: int
) -> tuple[Matrix, Matrix, Matrix]:
    """Canonical weights (Dx, bits) and (Dy, bits), unit variance under C', and their correlations (bits,).

    Cholesky factors whiten as well as square roots do, at a fraction of the time: L^{-1} C' L^{-T} = I.
    """
    cx, cy, cxy = moments
    lx, ly = (linalg.cholesky(c + regularization * np.trace(c) / len(c) * np.eye(len(c)), lower=True) for c in (cx, cy))
    whitened = linalg.solve_triangular(ly, linalg.solve_triangular(lx, cxy, lower=True).T, lower=True).T
    left, correlations, right = linalg.svd(whitened, full_matrices=False)
    u = linalg.solve_triangular(lx, left[:, :bits], lower=True, trans="T")
    v = linalg.solve_triangular(ly, right[:bits].T, lower=True, trans="T")
    signs = np.sign(u[np.abs(u).argmax(0), np.arange(bits)])  # LAPACKs disagree on the sign of a singular vector
    return u * signs, v * signs, correlations[:bits]


def direction_scales(correlations: Matrix, power: float) -> Matrix:
    """What each direction is weighted by: its correlation to a power.

    A direction without correlation is a sign of rounding errors; its weight is 0.
    """
    return np.where(correlations > _NO_CORRELATION, correlations**power, 0)


def without_constant_columns(weights: Matrix, vectors: Matrix) -> Matrix:
    """Weights (D, bits), 0 where a column of ``vectors`` (N, D) never varies; but for rounding errors they are."""
    return np.where((vectors == vectors[0]).all(0)[:, None], 0, weights)


def chosen_regularization(
    x: Matrix, y: Matrix, candidates: Sequence[float], bits: int, rng: np.random.Generator
) -> float:
    """The candidate with the largest sum of canonical correlations on held-out images (Leurgans et al., 1993)."""
    # Held out by image: the captions of one image on both sides would favour too little regularization.
    groups: dict[bytes, int] = {}
    group = np.array([groups.setdefault(row.tobytes(), len(groups)) for row in x])
    if len(groups) < _FEWEST:
        return max(candidates)
    held = rng.permutation(len(groups))[group] % _HELD_OUT == 0
    x, y = x - x[~held].mean(0), y - y[~held].mean(0)
    moments = second_moments(x[~held], y[~held])
    scores = []
    for candidate in candidates:
        u, v, _ = canonical_directions(moments, candidate, bits)
        scores.append(_correlations(x[held] @ u, y[held] @ v).sum())
    return candidates[int(np.argmax(scores))]


def _correlations(a: Matrix, b: Matrix) -> Matrix:
    """Correlation of each column of ``a`` with that of ``b``, 0 where one of them does not vary."""
    a, b = a - a.mean(0), b - b.mean(0)
    norms = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return np.where(norms > 0, (a * b).sum(0) / np.where(norms > 0, norms, 1), 0)

"""Codes whose Hamming distances follow given affinities: the first step of SePH (Lin, Ding, Hu and Wang, CVPR 2015).

Affinities of labels are made a distribution P over pairs of items, Hamming distances one Q by Student's t, as t-SNE
does for pictures; the codes make the Kullback-Leibler divergence of Q from P small. Features are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

__all__ = ["affinity_sums", "divergence", "learned_codes"]

Matrix = NDArray[np.float64]

_ROWS = 512  # of the matrix of all pairs that stand in memory at a time


def affinity_sums(marks: Matrix) -> tuple[float, float]:
    """What the affinities alone decide: the sums of A_ij and of A_ij log A_ij over pairs i != j.

    Args:
        marks: Label rows l at length 1, float64 (N, C), no negative product.
    """
    total, entropy = 0.0, 0.0
    for start in range(0, len(marks), _ROWS):
        p = marks[start : start + _ROWS] @ marks.T
        p[np.arange(len(p)), np.arange(start, start + len(p))] = 0
        total, entropy = total + float(p.sum()), entropy + float((p * np.log(np.where(p > 0, p, 1))).sum())
    return total, entropy


def divergence(
    codes: Matrix, marks: Matrix, alpha: float, sums: tuple[float, float] | None = None
) -> tuple[float, Matrix]:
    """What relaxed codes H lose, and its gradient.

    With p_ij = A_ij / sum A over pairs i != j, A_ij = l_i . l_j; d_ij = |h_i - h_j|^2 / 4, which is the Hamming
    distance of codes in {-1, +1}; q_ij = (1 + d_ij)^{-1} / sum (1 + d)^{-1}:

        loss = sum p_ij log(p_ij / q_ij) + alpha / (N bits) | |H| - 1 |^2

        d loss / d h_i = sum_j (p_ij - q_ij) (1 + d_ij)^{-1} (h_i - h_j) + 2 alpha / (N bits) (|h_i| - 1) sgn(h_i)

    Args:
        codes: H, float64 (N, bits).
        marks: Label rows l at length 1, float64 (N, C), no negative product.
        alpha: Weight of the distance to the corners of the cube.
        sums: :func:`affinity_sums` of the marks, where they are known.

    Returns:
        The loss and its gradient (N, bits).
    """
    total_p, entropy = affinity_sums(marks) if sums is None else sums
    lengths, total_q, spread = (codes**2).sum(1), 0.0, 0.0
    pull, push = np.zeros_like(codes), np.zeros_like(codes)
    for start in range(0, len(codes), _ROWS):
        rows = slice(start, start + _ROWS)
        distances = (lengths[rows, None] + lengths - 2 * codes[rows] @ codes.T) / 4
        one_more = 1 + np.maximum(distances, 0)
        p, q = marks[rows] @ marks.T, 1 / one_more
        themselves = (np.arange(len(p)), np.arange(start, start + len(p)))
        p[themselves] = q[themselves] = 0
        total_q += float(q.sum())
        spread += float((p * np.log(one_more)).sum())
        for factors, moved in ((p * q, pull), (q * q, push)):
            moved[rows] = factors.sum(1)[:, None] * codes[rows] - factors @ codes
    short = np.abs(codes) - 1
    loss = (entropy + spread) / total_p - np.log(total_p) + np.log(total_q) + alpha * float((short**2).mean())
    return float(loss), pull / total_p - push / total_q + 2 * alpha / codes.size * short * np.sign(codes)


def learned_codes(
    marks: Matrix, bits: int, *, alpha: float, iterations: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Codes of items from their labels, by gradient descent from small random numbers.

    The paper says gradient descent and no more. L-BFGS is one that finds its own step, and it stops when nothing moves.

    Args:
        marks: Label rows at length 1, (N, C).
        bits: Width of a code.
        alpha: See :func:`divergence`.
        iterations: At most.
        rng: Draws the start.

    Returns:
        bool (N, bits).

    Example:
        >>> marks = np.repeat(np.eye(2), 20, axis=0)
        >>> codes = learned_codes(marks, 8, alpha=0.01, iterations=50, rng=np.random.default_rng(0))
        >>> bool((codes[:20] == codes[0]).mean() > (codes[20:] == codes[0]).mean())
        True
    """
    start = rng.standard_normal((len(marks), bits)) * 0.1
    sums = affinity_sums(marks)
    return descended(lambda codes: divergence(codes, marks, alpha, sums), start, iterations) > 0


def descended(loss: Callable[[Matrix], tuple[float, Matrix]], start: Matrix, iterations: int) -> Matrix:
    """Where L-BFGS comes to from ``start`` in at most ``iterations`` steps; ``loss`` also gives its gradient."""

    def flat(values: Matrix) -> tuple[float, Matrix]:
        found, gradient = loss(values.reshape(start.shape))
        return found, gradient.ravel()

    done = minimize(flat, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    return np.asarray(done.x, np.float64).reshape(start.shape)

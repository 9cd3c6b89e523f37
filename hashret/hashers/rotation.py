"""Rotations of projections before they are cut at zero: a random one, and the one iterative quantisation learns.

ITQ (Gong and Lazebnik, CVPR 2011) looks for codes B and a rotation R that make the loss ||B - V R||^2 small. For a
given R the best codes are B = sign(V R); for given B the best R is an orthogonal Procrustes problem: with the singular
value decomposition B^T V = S Omega T^T it is R = T S^T. Neither step can make the loss larger.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

__all__ = ["learned_rotation", "quantization_loss", "random_rotation"]

Matrix = NDArray[np.float64]


def random_rotation(bits: int, rng: np.random.Generator) -> Matrix:
    """A random orthogonal matrix (bits, bits), uniform over all of them."""
    q, r = linalg.qr(rng.standard_normal((bits, bits)))
    return np.asarray(q * np.sign(np.diag(r)), np.float64)


def learned_rotation(projections: Matrix, iterations: int, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """The rotation of ITQ, and its loss a row on the way.

    Args:
        projections: V, centred, float64 (N, bits).
        iterations: How often codes and rotation take turns.
        rng: Draws the rotation it starts from.

    Returns:
        R, orthogonal (bits, bits), and ||B - V R||^2 / N at the start and after each iteration, (iterations + 1,).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> rotation, losses = learned_rotation(rng.normal(size=(50, 3)), 5, rng)
        >>> bool((np.diff(losses) <= 1e-12).all())
        True
    """
    rotation = random_rotation(projections.shape[1], rng)
    losses = [quantization_loss(projections @ rotation)]
    for _ in range(iterations):
        codes = np.where(projections @ rotation > 0, 1.0, -1.0)
        left, _, right = linalg.svd(codes.T @ projections)
        rotation = np.asarray((left @ right).T)
        losses.append(quantization_loss(projections @ rotation))
    return rotation, np.array(losses)


def quantization_loss(rotated: Matrix) -> float:
    """||sign(V R) - V R||^2 / N of V R, (N, bits)."""
    return float(((1 - np.abs(rotated)) ** 2).sum() / len(rotated))

"""LSH: signs of random projections, which nothing is learned for.

Two vectors at an angle t get different bits on a random hyperplane through the origin with probability t / pi
(Charikar, STOC 2002), so that Hamming distance estimates the angle. Any learned hash has to beat it at the same length.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from hashret.hashers.hasher import VectorHasher
from hashret.hashers.parameters import check_whole
from hashret.hashers.vectors import fitted_vectors

__all__ = ["LSH"]


class LSH(VectorHasher):
    """Codes of vectors from random hyperplanes.

    Bit k is set where (x - m) . w_k > 0, the w_k independent standard normal vectors, m the mean of the fitted vectors
    or 0. Charikar's planes pass through the origin; embeddings of neural networks often lie in a narrow cone around
    their mean, where such planes separate nothing, and so the mean is taken off by default.

    Args:
        bits: Width of a code, any number.
        centre: Whether to take off the mean.
        seed: Of the planes.

    Attributes:
        weights_: The normals of the planes, float64 (D, bits).
        offsets_: m . w_k, float64 (bits,).

    Example:
        >>> hasher = LSH(bits=256).fit(np.eye(3))
        >>> a, b = hasher.transform([[1, 0, 0], [5, -2, -2]]).unpack()
        >>> bool((a == b).all())  # the same direction, seen from the mean
        True
    """

    name: ClassVar[str] = "lsh"
    learned: ClassVar[tuple[str, ...]] = ("weights_", "offsets_")

    def __init__(self, bits: int = 64, *, centre: bool = True, seed: int = 0) -> None:
        """Keep the parameters; they are checked by :meth:`fit`, as scikit-learn asks."""
        self.bits = bits
        self.centre = centre
        self.seed = seed

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803
        """Draw the planes; of the vectors (N, D) only the width and the mean are used.

        Raises:
            InputError: ``bits`` below 1, a bad seed, or vectors that are no real matrix.
            NonFiniteError: NaN or infinity.
        """
        vectors = fitted_vectors(self, X)
        bits, seed = check_whole("bits", self.bits, 1), check_whole("seed", self.seed, 0)
        self.weights_ = np.random.default_rng(seed).standard_normal((vectors.shape[1], bits))
        self.offsets_ = vectors.mean(0) @ self.weights_ if self.centre else np.zeros(bits)
        return self

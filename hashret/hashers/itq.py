"""ITQ: principal components, rotated so that cutting them at zero loses least (Gong and Lazebnik, CVPR 2011).

The directions of largest variance carry most of it in the first bits. A rotation changes no distance between
projections and spreads their variance; iterative quantisation finds one under which the projections lie near the
corners of the cube. Labels are not used.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.hashers.hasher import VectorHasher
from hashret.hashers.parameters import check_whole
from hashret.hashers.principal import principal_directions
from hashret.hashers.rotation import learned_rotation
from hashret.hashers.vectors import fitted_vectors

__all__ = ["ITQ"]


class ITQ(VectorHasher):
    """Codes of vectors by iterative quantisation.

    V = (X - mean) W with W the ``bits`` first principal directions; then B = sign(V R), and R from the singular value
    decomposition of B^T V, in turn; see :mod:`hashret.hashers.rotation`. A bit is set where (x - mean) . W R > 0.
    The loss depends on the scale of V. The paper centres the vectors and does not scale them, and so it is here: bring
    them to a length near sqrt(bits) first if theirs is far from it.

    Args:
        bits: Width of a code, 1 ... D.
        iterations: How often codes and rotation take turns; 50 in the paper.
        seed: Of the rotation it starts from.

    Attributes:
        weights_: W R, float64 (D, bits).
        offsets_: mean . W R, float64 (bits,).
        mean_: float64 (D,).
        rotation_: R, orthogonal, float64 (bits, bits).
        losses_: ||B - V R||^2 / N at the start and after each iteration, float64 (iterations + 1,); never rises.

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(100, 6))
        >>> hasher = ITQ(bits=4).fit(vectors)
        >>> bool(hasher.losses_[-1] < hasher.losses_[0])
        True
    """

    name: ClassVar[str] = "itq"
    learned: ClassVar[tuple[str, ...]] = ("weights_", "offsets_", "mean_", "rotation_", "losses_")
    rotation_: NDArray[np.float64]
    losses_: NDArray[np.float64]

    def __init__(self, bits: int = 64, *, iterations: int = 50, seed: int = 0) -> None:
        """Keep the parameters; they are checked by :meth:`fit`, as scikit-learn asks."""
        self.bits = bits
        self.iterations = iterations
        self.seed = seed

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803
        """Learn directions and rotation from vectors (N, D), N >= 2.

        Raises:
            InputError: More bits than columns, a bad parameter, or vectors that are no real matrix of two rows.
            NonFiniteError: NaN or infinity.
        """
        vectors = fitted_vectors(self, X, least=2)
        width = vectors.shape[1]
        bits = check_whole(
            "bits", self.bits, 1, width, why=f"A bit takes a direction of {width}: use fewer bits, or hasher lsh."
        )
        iterations = check_whole("iterations", self.iterations, 0)
        rng = np.random.default_rng(check_whole("seed", self.seed, 0))
        self.mean_, directions, _ = principal_directions(vectors, bits)
        self.rotation_, self.losses_ = learned_rotation((vectors - self.mean_) @ directions, iterations, rng)
        self.weights_ = directions @ self.rotation_
        self.offsets_ = self.mean_ @ self.weights_
        return self

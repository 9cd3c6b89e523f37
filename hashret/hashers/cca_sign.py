"""Signs of rotated canonical projections: the baseline a trained hash has to beat.

Canonical correlation analysis (Hotelling, 1936) finds the directions along which paired vectors of two modalities agree
most. The directions are weighted by their correlations (Gong, Ke, Isard and Lazebnik, IJCV 2014), rotated at random,
which is where ITQ starts from (Gong and Lazebnik, CVPR 2011), and cut at zero. Nothing here sees labels or iterates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.hashers.canonical import (
    canonical_directions,
    check_bits_of_pairs,
    check_pairs,
    check_regularizations,
    chosen_regularization,
    direction_scales,
    second_moments,
    without_constant_columns,
)
from hashret.hashers.hasher import LinearPairHasher
from hashret.hashers.parameters import check_number, check_whole
from hashret.hashers.rotation import random_rotation
from hashret.hashers.vectors import matrix

__all__ = ["CCASign"]

Matrix = NDArray[np.float64]


class CCASign(LinearPairHasher):
    """Codes of two modalities from regularised CCA.

    With covariances C_x, C_y, C_xy of the centred pairs and C' = C + r mean(eigenvalues of C) I, the singular value
    decomposition C'_x^{-1/2} C_xy C'_y^{-1/2} = U S V^T gives the projections W_x = C'_x^{-1/2} U S^p R and
    W_y = C'_y^{-1/2} V S^p R of its first ``bits`` directions, where R is a random orthogonal matrix. A bit is set
    where a centred projection is greater than 0.

    Args:
        bits: Width of a code, 1 ... min(image width, text width).
        regularization: r > 0, relative to the mean eigenvalue. Of several, fitting takes the one whose projections
            correlate best on a fifth of the images that it holds out, and refits on all; below 20 images, the largest.
        power: p >= 0. At 0 a weak direction counts as much as a strong one. Without rotation it changes no bit.
        rotate: Whether to rotate; without, bit i is the sign of canonical direction i.
        seed: Of the rotation and of the images held out.

    Attributes:
        correlations_: Regularised canonical correlations, float64 (bits,), descending.
        regularization_: The r that was used.
        image_mean_, text_mean_: float64 (D,).
        image_weights_, text_weights_: float64 (D, bits).

    Example:
        >>> import numpy as np
        >>> shared = np.random.default_rng(0).normal(size=(200, 4))
        >>> hasher = CCASign(bits=4).fit(shared, shared[:, ::-1])
        >>> hasher.transform(shared, side="image") == hasher.transform(shared[:, ::-1], side="text")
        True
    """

    name: ClassVar[str] = "cca_sign"
    learned: ClassVar[tuple[str, ...]] = (*LinearPairHasher.learned, "correlations_", "regularization_")
    correlations_: Matrix
    regularization_: float

    def __init__(
        self,
        bits: int = 64,
        *,
        regularization: float | Sequence[float] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        power: float = 4.0,
        rotate: bool = True,
        seed: int = 0,
    ) -> None:
        """Keep the parameters; they are checked by :meth:`fit`, as scikit-learn asks."""
        self.bits = bits
        self.regularization = regularization
        self.power = power
        self.rotate = rotate
        self.seed = seed

    def fit(self, images: ArrayLike, texts: ArrayLike) -> Self:
        """Learn the projections from pairs.

        Args:
            images: Real vectors (N, Dx); row i belongs to row i of ``texts``.
            texts: Real vectors (N, Dy); columns that never vary get no weight.

        Returns:
            Itself.

        Raises:
            InputError: Parameters out of range, not two-dimensional, fewer than two pairs, different numbers of rows,
                vectors that are all the same, or more bits than the narrower side has columns.
            NonFiniteError: NaN or infinity.
        """
        x, y = (np.asarray(matrix(v, n), np.float64) for v, n in ((images, "images"), (texts, "texts")))
        check_pairs(x, y)
        bits = check_bits_of_pairs(self.bits, x.shape[1], y.shape[1])
        candidates = check_regularizations(self.regularization)
        power = check_number("power", self.power, least=0)
        rng = np.random.default_rng(check_whole("seed", self.seed, 0))
        self.regularization_ = (
            candidates[0] if len(candidates) == 1 else chosen_regularization(x, y, candidates, bits, rng)
        )
        self.image_mean_, self.text_mean_ = x.mean(0), y.mean(0)
        moments = second_moments(x - self.image_mean_, y - self.text_mean_)
        u, v, self.correlations_ = canonical_directions(moments, self.regularization_, bits)
        scales = direction_scales(self.correlations_, power)
        rotation = random_rotation(bits, rng) if self.rotate else np.eye(bits)
        self.image_weights_ = without_constant_columns((u * scales) @ rotation, x)
        self.text_weights_ = without_constant_columns((v * scales) @ rotation, y)
        return self

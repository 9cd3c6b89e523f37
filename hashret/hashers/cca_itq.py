"""CCAITQ: canonical projections of two modalities under one rotation that loses least when they are cut at zero.

CCA-ITQ of Gong, Lazebnik, Gordo and Perronnin (TPAMI 2013) replaces PCA by canonical correlation analysis and learns
ITQ's rotation on its projections. There the other view are labels or tags; here it is whatever vectors the texts have,
and both sides get codes by the same rotation. Labels are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

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
from hashret.hashers.parameters import check_choice, check_number, check_whole
from hashret.hashers.rotation import learned_rotation
from hashret.hashers.vectors import matrix

__all__ = ["CCAITQ"]

Matrix = NDArray[np.float64]


class CCAITQ(LinearPairHasher):
    """Codes of two modalities from regularised CCA and ITQ.

    With canonical weights U, V and correlations S (:mod:`hashret.hashers.canonical`) the projections are
    P_x = (x - mean_x) U S^p and P_y = (y - mean_y) V S^p; R makes ||sign(P R) - P R||^2 small, and a bit is set where
    P_x R > 0 or P_y R > 0. The paper weights directions by their correlations, p = 1, and rotates on the images; P of
    the pair's mean, (P_x + P_y) / 2, is nearer to both sides, and was not in the paper.

    Args:
        bits: Width of a code, 1 ... min(image width, text width).
        regularization: r > 0, relative to the mean eigenvalue. Of several, the one whose projections correlate best on
            a fifth of the images held out; below 20 images, the largest. The paper adds one small constant, which
            suits its own features only.
        power: p >= 0.
        rotate_on: Whether R is learned on the projections of the "image" or of the pair's "mean".
        iterations: How often codes and rotation take turns; 50 in the paper.
        seed: Of the rotation it starts from, and of the images held out.

    Attributes:
        correlations_: Regularised canonical correlations, float64 (bits,), descending.
        regularization_: The r that was used.
        rotation_: R, orthogonal, float64 (bits, bits).
        losses_: ||B - P R||^2 / N at the start and after each iteration, float64 (iterations + 1,).
        image_mean_, text_mean_: float64 (D,).
        image_weights_, text_weights_: U S^p R and V S^p R, float64 (D, bits).

    Example:
        >>> shared = np.random.default_rng(0).normal(size=(200, 4))
        >>> hasher = CCAITQ(bits=4).fit(shared, shared[:, ::-1])
        >>> hasher.transform(shared, side="image") == hasher.transform(shared[:, ::-1], side="text")
        True
    """

    name: ClassVar[str] = "cca_itq"
    learned: ClassVar[tuple[str, ...]] = (
        *LinearPairHasher.learned, "correlations_", "regularization_", "rotation_", "losses_",
    )  # fmt: skip
    correlations_: Matrix
    regularization_: float
    rotation_: Matrix
    losses_: Matrix

    def __init__(
        self,
        bits: int = 64,
        *,
        regularization: float | Sequence[float] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        power: float = 1.0,
        rotate_on: Literal["image", "mean"] = "mean",
        iterations: int = 50,
        seed: int = 0,
    ) -> None:
        """Keep the parameters; they are checked by :meth:`fit`, as scikit-learn asks."""
        self.bits = bits
        self.regularization = regularization
        self.power = power
        self.rotate_on = rotate_on
        self.iterations = iterations
        self.seed = seed

    def fit(self, images: ArrayLike, texts: ArrayLike) -> Self:
        """Learn the projections and the rotation from pairs.

        Args:
            images: Real vectors (N, Dx); row i belongs to row i of ``texts``.
            texts: Real vectors (N, Dy).

        Raises:
            InputError: Parameters out of range, not two-dimensional, fewer than two pairs, different numbers of rows,
                vectors that are all the same, or more bits than the narrower side has columns.
            NonFiniteError: NaN or infinity.
        """
        x, y = (np.asarray(matrix(v, n), np.float64) for v, n in ((images, "images"), (texts, "texts")))
        check_pairs(x, y)
        bits = check_bits_of_pairs(self.bits, x.shape[1], y.shape[1])
        candidates = check_regularizations(self.regularization)
        power, iterations = check_number("power", self.power, least=0), check_whole("iterations", self.iterations, 0)
        check_choice("rotate_on", self.rotate_on, ("image", "mean"))
        rng = np.random.default_rng(check_whole("seed", self.seed, 0))
        self.regularization_ = (
            candidates[0] if len(candidates) == 1 else chosen_regularization(x, y, candidates, bits, rng)
        )
        self.image_mean_, self.text_mean_ = x.mean(0), y.mean(0)
        centred_x, centred_y = x - self.image_mean_, y - self.text_mean_
        moments = second_moments(centred_x, centred_y)
        u, v, self.correlations_ = canonical_directions(moments, self.regularization_, bits)
        scales = direction_scales(self.correlations_, power)
        seen = centred_x @ (u * scales)
        if self.rotate_on == "mean":
            seen = (seen + centred_y @ (v * scales)) / 2
        self.rotation_, self.losses_ = learned_rotation(seen, iterations, rng)
        self.image_weights_ = without_constant_columns((u * scales) @ self.rotation_, x)
        self.text_weights_ = without_constant_columns((v * scales) @ self.rotation_, y)
        return self

"""Signs of rotated canonical projections: the baseline a trained hash has to beat.

Canonical correlation analysis (Hotelling, 1936) finds the directions along which paired vectors of two modalities agree
most. The directions are weighted by their correlations (Gong, Ke, Isard and Lazebnik, IJCV 2014), rotated at random,
which is where ITQ starts from (Gong and Lazebnik, CVPR 2011), and cut at zero. Nothing here sees labels or iterates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from hashret.codes import Codes, binarize, check_finite
from hashret.errors import InputError, WidthError

__all__ = ["CCASign"]

Matrix = NDArray[np.float64]

_HELD_OUT = 5  # one image in five judges the candidates for the regularization
_FEWEST = 20  # distinct images below which a held-out correlation says nothing
_NO_CORRELATION = 1e-7  # what rounding makes of a correlation of 0


class CCASign(BaseEstimator):  # type: ignore[misc]
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

    def fit(self, images: ArrayLike, texts: ArrayLike) -> CCASign:
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
        x, y = _vectors(images, "images"), _vectors(texts, "texts")
        candidates = self._checked(x, y)
        rng = np.random.default_rng(self.seed)
        self.regularization_ = candidates[0] if len(candidates) == 1 else _chosen(x, y, candidates, self.bits, rng)
        self.image_mean_, self.text_mean_ = x.mean(0), y.mean(0)
        moments = _moments(x - self.image_mean_, y - self.text_mean_)
        u, v, self.correlations_ = _canonical(moments, self.regularization_, self.bits)
        # A direction without correlation is a sign of rounding errors; without weight its bit is never set.
        scale = np.where(self.correlations_ > _NO_CORRELATION, self.correlations_**self.power, 0)
        rotation = _rotation(self.bits, rng) if self.rotate else np.eye(self.bits)
        self.image_weights_, self.text_weights_ = (u * scale) @ rotation, (v * scale) @ rotation
        for weights, values in ((self.image_weights_, x), (self.text_weights_, y)):
            weights[(values == values[0]).all(0)] = 0  # but for rounding errors they are
        return self

    def transform(self, vectors: ArrayLike, *, side: Literal["image", "text"]) -> Codes:
        """Turn vectors of one modality into codes.

        Args:
            vectors: Real vectors (N, D) as wide as those of this side in :meth:`fit`; N may be 0.
            side: Which modality they are of.

        Returns:
            N codes of ``bits`` bits; the code of a vector does not depend on the others.

        Raises:
            NotFittedError: :meth:`fit` was not called (of scikit-learn).
            InputError: Another side, or vectors that are not two-dimensional.
            WidthError: Vectors of another width.
            NonFiniteError: NaN or infinity.
        """
        check_is_fitted(self)
        if side not in ("image", "text"):
            raise InputError("side", expected="'image' or 'text'", got=repr(side), remedy="Say which modality it is.")
        mean = self.image_mean_ if side == "image" else self.text_mean_
        weights = self.image_weights_ if side == "image" else self.text_weights_
        values = _vectors(vectors, f"{side} vectors")
        if values.shape[1] != len(mean):
            raise WidthError(
                f"{side} vectors", expected=f"{len(mean)} columns", got=f"{values.shape[1]}",
                remedy="Embed them as those the hasher was fitted on, and check the side.",
            )  # fmt: skip
        return binarize((values - mean) @ weights)

    def _checked(self, x: Matrix, y: Matrix) -> tuple[float, ...]:
        """Check the parameters against the data; returns the candidates for the regularization."""
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
        largest = min(x.shape[1], y.shape[1])
        if isinstance(self.bits, bool) or not isinstance(self.bits, (int, np.integer)) or not 1 <= self.bits <= largest:
            raise InputError(
                "bits", expected=f"1 ... {largest} for {x.shape[1]} and {y.shape[1]} columns", got=repr(self.bits),
                remedy=f"Use at most {largest} bits, or wider vectors: a bit takes a canonical direction.",
            )  # fmt: skip
        candidates = tuple(np.ravel(self.regularization).tolist())
        if not candidates or not all(isinstance(r, (int, float)) and 0 < r < np.inf for r in candidates):
            raise InputError(
                "regularization", expected="a number > 0 or several", got=repr(self.regularization), remedy="Try 1.0."
            )
        if not isinstance(self.power, (int, float)) or not 0 <= self.power < np.inf:
            raise InputError("power", expected="a number >= 0", got=repr(self.power), remedy="Use 4.0.")
        return candidates


def _vectors(values: ArrayLike, name: str) -> Matrix:
    array: NDArray[Any] = np.asarray(values)
    if array.ndim != 2 or array.shape[1] < 1 or array.dtype.kind not in "fiub":
        raise InputError(
            name, expected="real vectors (N, D)", got=f"{array.dtype} {array.shape}",
            remedy="Give one row an item; turn sparse matrices into arrays first.",
        )  # fmt: skip
    check_finite(array, name)
    return array.astype(np.float64, copy=False)


def _moments(x: Matrix, y: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Covariances C_x, C_y and C_xy of centred pairs."""
    return x.T @ x / len(x), y.T @ y / len(y), x.T @ y / len(x)


def _canonical(
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


def _chosen(x: Matrix, y: Matrix, candidates: Sequence[float], bits: int, rng: np.random.Generator) -> float:
    """The candidate with the largest sum of canonical correlations on held-out images (Leurgans et al., 1993)."""
    # Held out by image: the captions of one image on both sides would favour too little regularization.
    groups: dict[bytes, int] = {}
    group = np.array([groups.setdefault(row.tobytes(), len(groups)) for row in x])
    if len(groups) < _FEWEST:
        return max(candidates)
    held = rng.permutation(len(groups))[group] % _HELD_OUT == 0
    x, y = x - x[~held].mean(0), y - y[~held].mean(0)
    moments = _moments(x[~held], y[~held])
    scores = []
    for candidate in candidates:
        u, v, _ = _canonical(moments, candidate, bits)
        scores.append(_correlations(x[held] @ u, y[held] @ v).sum())
    return candidates[int(np.argmax(scores))]


def _correlations(a: Matrix, b: Matrix) -> Matrix:
    """Correlation of each column of ``a`` with that of ``b``, 0 where one of them does not vary."""
    a, b = a - a.mean(0), b - b.mean(0)
    norms = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return np.where(norms > 0, (a * b).sum(0) / np.where(norms > 0, norms, 1), 0)


def _rotation(bits: int, rng: np.random.Generator) -> Matrix:
    """A random orthogonal matrix (bits, bits), uniform over all of them."""
    q, r = linalg.qr(rng.standard_normal((bits, bits)))
    return np.asarray(q * np.sign(np.diag(r)), np.float64)

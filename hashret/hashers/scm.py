"""SCM: linear codes of two modalities whose products follow the labels, one bit after the other.

Semantic correlation maximisation (Zhang and Li, AAAI 2014), its sequential form: the similarity of labels is never
written out as a matrix of items by items, each bit is an eigenproblem with a closed form, and each next bit is learned
on what the bits before it left unexplained. No encoder is trained and nothing iterates within a bit.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from hashret.codes import Codes
from hashret.hashers.canonical import check_pairs, second_moments
from hashret.hashers.hasher import LinearPairHasher
from hashret.hashers.labels import label_rows
from hashret.hashers.parameters import check_number, check_whole
from hashret.hashers.signs import signs
from hashret.hashers.vectors import matrix

__all__ = ["SCM"]

Matrix = NDArray[np.float64]

_NOTHING_LEFT = 1e-12  # of the first bit's singular value: what rounding makes of a residual of 0


class SCM(LinearPairHasher):
    """Codes of two modalities by sequential semantic correlation maximisation.

    X and Y are the centred vectors (N, D) of the two sides, L the label rows at length 1, S = 2 L L^T - 1 1^T their
    similarity in [-1, 1]. Codes sgn(X W_x), sgn(Y W_y) of c bits should satisfy sgn(X W_x) sgn(Y W_y)^T = c S. Bit t
    maximises w_x^T (X^T R_t Y) w_y with w_x^T X^T X w_x = w_y^T Y^T Y w_y = N, where R_1 = c S and
    R_{t+1} = R_t - sgn(X w_x) sgn(Y w_y)^T. With C_t = X^T R_t Y that is the generalised eigenproblem
    C_t (Y^T Y)^{-1} C_t^T w_x = l^2 (X^T X) w_x, w_y = (Y^T Y)^{-1} C_t^T w_x / l; and C_t is all that is kept of R_t:
    C_1 = c (2 (X^T L)(Y^T L)^T - (X^T 1)(Y^T 1)^T), C_{t+1} = C_t - (X^T sgn(X w_x)) (Y^T sgn(Y w_y))^T.

    The vectors are centred, so that a threshold of 0 cuts where they are: then X^T 1 = 0, and only the product of
    labels remains. The paper inverts X^T X as it is; r times its mean eigenvalue is added here, since topics that sum
    to 1 or fewer items than columns have no inverse. SCM has no common code of an item's two sides; where a table asks
    for learned codes of training items, ``training_codes_`` is the sign of the sum of the two projections, which
    the constraints give equal weight.

    Args:
        bits: Width of a code, any number: a bit may use a direction again.
        regularization: r > 0, relative to the mean eigenvalue.

    Attributes:
        image_mean_, text_mean_: float64 (D,).
        image_weights_, text_weights_: float64 (D, bits), |X w| = sqrt(N) but for r; 0 once nothing is left to explain.
        training_codes_: Codes of the fitted pairs, one a pair.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 2, 200)
        >>> x = labels[:, None] + 0.1 * rng.normal(size=(200, 3))
        >>> codes = SCM(bits=1).fit(x, -x, labels).transform(x, side="image").unpack()[:, 0]
        >>> bool(abs(np.corrcoef(codes, labels)[0, 1]) > 0.99)
        True
    """

    name: ClassVar[str] = "scm"
    inputs: ClassVar[tuple[str, ...]] = ("images", "texts", "labels")
    learned: ClassVar[tuple[str, ...]] = (*LinearPairHasher.learned, "training_codes_")
    training_codes_: Codes

    def __init__(self, bits: int = 64, *, regularization: float = 1e-3) -> None:
        """Keep the parameters; they are checked by :meth:`fit`, as scikit-learn asks."""
        self.bits = bits
        self.regularization = regularization

    def fit(self, images: ArrayLike, texts: ArrayLike, labels: ArrayLike) -> Self:
        """Learn the projections from labelled pairs.

        Args:
            images: Real vectors (N, Dx); row i belongs to row i of ``texts`` and of ``labels``.
            texts: Real vectors (N, Dy).
            labels: Multi-hot (N, C), or class numbers (N,).

        Raises:
            InputError: A parameter out of range, not two-dimensional, fewer than two pairs, different numbers of rows,
                vectors that are all the same, or an item without a label.
            WidthError: Other numbers of labels than pairs.
            NonFiniteError: NaN or infinity.
        """
        x, y = (np.asarray(matrix(v, n), np.float64) for v, n in ((images, "images"), (texts, "texts")))
        check_pairs(x, y)
        marks = label_rows(labels, len(x))
        bits, r = check_whole("bits", self.bits, 1), check_number("regularization", self.regularization, above=0)
        self.image_mean_, self.text_mean_ = x.mean(0), y.mean(0)
        x, y = x - self.image_mean_, y - self.text_mean_
        self.image_weights_, self.text_weights_ = _sequence(x, y, marks, bits, r)
        both = np.vstack([self.image_weights_, self.text_weights_])
        self.training_codes_ = signs(np.hstack([x, y]), both, np.zeros(bits))
        return self


def _sequence(x: Matrix, y: Matrix, marks: Matrix, bits: int, regularization: float) -> tuple[Matrix, Matrix]:
    """Weights (Dx, bits) and (Dy, bits) from centred vectors and label rows of length 1."""
    cx, cy, _ = second_moments(x, y)
    lx, ly = (linalg.cholesky(c + regularization * np.trace(c) / len(c) * np.eye(len(c)), lower=True) for c in (cx, cy))
    # Whitened, the constraint is |w| = 1 and the problem a singular vector: x, y and C are whitened once.
    x, y = linalg.solve_triangular(lx, x.T, lower=True).T, linalg.solve_triangular(ly, y.T, lower=True).T
    left = bits * (2 * (x.T @ marks) @ (y.T @ marks).T - np.outer(x.sum(0), y.sum(0)))
    weights_x, weights_y = np.zeros((x.shape[1], bits)), np.zeros((y.shape[1], bits))
    first = 0.0
    for bit in range(bits):
        u, value, v = _top_singular(left)
        first = first or value
        if value <= _NOTHING_LEFT * first:
            break
        weights_x[:, bit], weights_y[:, bit] = u, v
        left = left - np.outer(x.T @ np.where(x @ u > 0, 1.0, -1.0), y.T @ np.where(y @ v > 0, 1.0, -1.0))
    return (
        linalg.solve_triangular(lx, weights_x, lower=True, trans="T"),
        linalg.solve_triangular(ly, weights_y, lower=True, trans="T"),
    )


def _top_singular(matrix: Matrix) -> tuple[Matrix, float, Matrix]:
    """Largest singular value of a matrix (m, n) and its vectors (m,), (n,), by the smaller of its two squares."""
    if matrix.shape[0] > matrix.shape[1]:
        v, value, u = _top_singular(matrix.T)
        return u, value, v
    last = len(matrix) - 1
    squares, vectors = linalg.eigh(matrix @ matrix.T, subset_by_index=[last, last])
    u = vectors[:, 0] * np.sign(vectors[np.abs(vectors[:, 0]).argmax(), 0])
    v = matrix.T @ u
    value = float(np.linalg.norm(v)) if squares[0] > 0 else 0.0
    return u, value, v / value if value else v

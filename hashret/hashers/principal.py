"""Principal directions of vectors: where PCA's signs and ITQ begin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

__all__ = ["principal_directions"]

Matrix = NDArray[np.float64]

_NO_VARIANCE = 1e-12  # of the largest: what rounding makes of a variance of 0 in a covariance


def principal_directions(vectors: Matrix, bits: int) -> tuple[Matrix, Matrix, Matrix]:
    """The directions of largest variance.

    The eigenvectors of the covariance, its largest coefficient made positive, since LAPACKs disagree on the sign. A
    direction without variance is one of rounding errors; it is given as zeros.

    Args:
        vectors: float64 (N, D), N >= 2.
        bits: How many, 1 ... D.

    Returns:
        Mean (D,), directions (D, bits) and variances (bits,), descending; variances are over N - 1.

    Example:
        >>> mean, directions, variances = principal_directions(np.array([[0.0, 1], [4, 1]]), 1)
        >>> mean.tolist(), directions.tolist(), variances.tolist()
        ([2.0, 1.0], [[1.0], [0.0]], [8.0])
    """
    mean, width = vectors.mean(0), vectors.shape[1]
    centred = vectors - mean
    covariance = centred.T @ centred / (len(vectors) - 1)
    variances, directions = linalg.eigh(covariance, subset_by_index=[width - bits, width - 1])
    variances, directions = variances[::-1], directions[:, ::-1]
    directions = directions * np.sign(directions[np.abs(directions).argmax(0), np.arange(bits)])
    varies = variances > _NO_VARIANCE * max(variances[0], np.finfo(np.float64).tiny)
    return mean, np.where(varies, directions, 0.0), np.where(varies, variances, 0.0)

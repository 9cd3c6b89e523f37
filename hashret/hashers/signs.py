"""The bits of an affine map, fast and exact: bit = (x . w - b > 0), whatever batch a row stands in.

A product of matrices rounds differently with the number of rows, the threads and the machine, which turns a bit whose
value is near 0. So the product, in the precision of the vectors, decides only where its rounding error cannot; the few
values nearer to 0 than that are summed again in float64, each by itself. The code of a row is then a function of that
row alone, and the same in float32 as in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.hashers.vectors import check_rows

__all__ = ["signs"]

_ROWS = 4096  # whose values stand in memory at a time
_AGAIN = 1 << 19  # numbers gathered at a time to be summed again


def signs(
    vectors: NDArray[Any], weights: NDArray[np.float64], offsets: NDArray[np.float64], name: str = "vectors"
) -> Codes:
    """Codes of vectors: bit k of row i is set where vectors[i] . weights[:, k] > offsets[k].

    Args:
        vectors: float32 or float64 (N, D).
        weights: float64 (D, bits), finite; a column of zeros gives a bit that only ``offsets`` decides.
        offsets: float64 (bits,), finite.
        name: What an error calls the vectors.

    Returns:
        N codes.

    Raises:
        NonFiniteError: NaN or infinity, with the first such row. The lengths that bound the rounding tell it, so that
            the vectors are passed over no more than once for both.

    Example:
        >>> signs(np.array([[2.0, 0.0], [0.5, 9.0]]), np.eye(2), np.ones(2)).unpack().tolist()
        [[1, -1], [-1, 1]]
    """
    bits, dtype = weights.shape[1], vectors.dtype
    packed = np.empty((len(vectors), -(-bits // 8)), np.uint8)
    lengths = np.linalg.norm(weights, axis=0)
    constant = np.flatnonzero(lengths == 0)
    scales = np.ldexp(1.0, -np.frexp(np.where(lengths == 0, 1.0, lengths))[1])  # exact, and nothing underflows
    weights, offsets, lengths = weights * scales, offsets * scales, lengths * scales
    rows = np.ascontiguousarray(weights.T)
    unit = _unit(weights.shape[0], dtype)
    with np.errstate(over="ignore"):
        rounded, shifts = weights.astype(dtype), offsets.astype(dtype)
        # The scaled weights are 1/2 to 1 long: one bound a row, of the longest, is hardly looser than one a bit.
        steep = dtype.type(unit * lengths.max())
        level = dtype.type(2 * np.finfo(dtype).eps * np.abs(offsets).max())
    for start in range(0, len(vectors), _ROWS):
        block = vectors[start : start + _ROWS]
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large for float32 is summed again
            values = block @ rounded
            values -= shifts
            squares = np.einsum("ij,ij->i", block, block)
            if not np.isfinite(squares).all():
                check_rows(vectors, name)
            reach = np.sqrt(squares + block.shape[1] * np.finfo(dtype).tiny)
            chosen = values > 0
            sure = np.abs(values, out=values) > (reach * steep + level)[:, None]  # not so where it is NaN
        if len(constant):
            sure[:, constant], chosen[:, constant] = True, (offsets < 0)[constant]
        places = np.flatnonzero(np.logical_not(sure, out=sure))
        chosen.ravel()[places] = _summed(block, rows, offsets, *np.divmod(places, bits))
        packed[start : start + _ROWS] = _packed(chosen)
    return Codes(packed, bits)


def _unit(width: int, dtype: np.dtype[Any]) -> float:
    """What rounding adds to a product x . w - b at most, as a share of |x| |w|, beside 2 eps |b|.

    A sum of D products in any order errs by at most D u / (1 - D u) |x| |w| with u = eps / 2, the rounded weights by
    u |x| |w|, the rounded offset by u |b|; the difference is rounded by a factor, which turns no sign. The length
    |x| is itself a rounded sum: with n = (D + 4) u <= 1/4, n (1 + 4 n) bounds all of it. Beyond that nothing is
    promised, and every bit is summed again.
    """
    share = (width + 4) * float(np.finfo(dtype).eps) / 2
    return share * (1 + 4 * share) if share <= 0.25 else np.inf


def _packed(chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The bits of rows as bytes; whole bytes are packed in one run, which is far faster than row by row."""
    if chosen.shape[1] % 8:
        return np.packbits(chosen, axis=1)
    return np.packbits(chosen.ravel()).reshape(len(chosen), -1)


def _summed(
    block: NDArray[Any], weights: NDArray[np.float64], offsets: NDArray[np.float64], rows: Any, columns: Any
) -> NDArray[np.bool_]:
    """The bits at (rows, columns), each summed in float64 in an order of its own row and column alone."""
    step, found = max(1, _AGAIN // block.shape[1]), np.empty(len(rows), np.bool_)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        products = block[rows[part]].astype(np.float64) * weights[columns[part]]
        found[part] = products.sum(axis=1) > offsets[columns[part]]
    return found

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

__all__ = ["signs"]

_ROWS = 4096  # whose values stand in memory at a time
_AGAIN = 1 << 21  # numbers gathered at a time to be summed again


def signs(vectors: NDArray[Any], weights: NDArray[np.float64], offsets: NDArray[np.float64]) -> Codes:
    """Codes of vectors: bit k of row i is set where vectors[i] . weights[:, k] > offsets[k].

    Args:
        vectors: float32 or float64 (N, D), finite.
        weights: float64 (D, bits); a column of zeros gives a bit that only ``offsets`` decides.
        offsets: float64 (bits,).

    Returns:
        N codes.

    Example:
        >>> signs(np.array([[2.0, 0.0], [0.5, 9.0]]), np.eye(2), np.ones(2)).unpack().tolist()
        [[1, -1], [-1, 1]]
    """
    bits, dtype = weights.shape[1], vectors.dtype
    packed = np.empty((len(vectors), -(-bits // 8)), np.uint8)
    lengths = np.linalg.norm(weights, axis=0)
    constant = lengths == 0
    scales = np.ldexp(1.0, -np.frexp(np.where(constant, 1.0, lengths))[1])  # exact, and nothing underflows
    weights, offsets, lengths = weights * scales, offsets * scales, lengths * scales
    rows = np.ascontiguousarray(weights.T)
    # |error| <= (D + 3) u (|x| |w| + |b|), of products, sums, the rounded weights and offsets; eps is twice u. The
    # scaled weights are 1/2 to 1 long, so that one bound a row, of the longest, is hardly looser than one a bit.
    unit = (weights.shape[0] + 3) * np.finfo(dtype).eps
    with np.errstate(over="ignore"):
        rounded, shifts = weights.astype(dtype), offsets.astype(dtype)
        steep, level = np.array([unit * lengths.max(), unit * np.abs(offsets).max()]).astype(dtype)
    for start in range(0, len(vectors), _ROWS):
        block = vectors[start : start + _ROWS]
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large for float32 is summed again
            values = block @ rounded
            values -= shifts
            reach = np.sqrt(np.einsum("ij,ij->i", block, block) + block.shape[1] * np.finfo(dtype).tiny)
            unsure = ~(np.abs(values) > (reach * steep + level)[:, None])
        chosen = values > 0
        unsure[:, constant], chosen[:, constant] = False, (offsets < 0)[constant]
        places = np.flatnonzero(unsure)
        chosen.ravel()[places] = _summed(block, rows, offsets, *np.divmod(places, bits))
        packed[start : start + _ROWS] = np.packbits(chosen, axis=1)
    return Codes(packed, bits)


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

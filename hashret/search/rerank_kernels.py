"""The kernel of the second look: products of queries with the rows of their shortlists, read where they lie.

Rows are float32, float16 or int8 and are summed in float64, each pair by itself, so that a score depends on its query
and its row alone and is exact before it is rounded to float32. Nothing is copied out of the rows, which may be mapped
from a file larger than memory. Numba knows no half precision on a CPU: float16 comes as uint16 and is taken apart here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from hashret.search.multi_index_kernels import compiled_for, read_only

__all__ = ["scorer"]

# Sums may be taken in any order, of which the compiler chooses one for each width; NaN and infinity stay what they are.
_SUMS = {"reassoc", "contract"}
_HALF = np.float32(2.0**112)  # between the exponents of half and single precision
_INFINITE = np.uint16(0x7C00)


def _pair(row: Any, query: Any) -> Any:
    """Product of a row with a query, and of the row with itself, chosen by the row's type.

    Compiled kernels choose when they are compiled (:func:`_pair_of`): one that closed over one of two compiled
    functions would be compiled anew in every process.
    """
    return (_half if row.dtype == np.uint16 else _plain)(row, query)


def _plain(row: Any, query: Any) -> Any:
    """Of float64, float32 or int8."""
    product, square = 0.0, 0.0
    for place in range(len(query)):
        value = np.float64(row[place])
        product += value * query[place]
        square += value * value
    return product, square


def _half(row: Any, query: Any) -> Any:
    """Of float16 given as uint16: sign, exponent and fraction are moved to where float32 has them."""
    product, square, largest = 0.0, 0.0, np.uint16(0)
    for place in range(len(query)):
        bits = row[place]
        rest = np.uint16(bits & np.uint16(0x7FFF))
        largest = max(largest, rest)
        moved = np.uint32(np.uint32(bits - rest) << np.uint32(16) | np.uint32(rest) << np.uint32(13))
        value = np.float64(moved.view(np.float32) * _HALF)
        product += value * query[place]
        square += value * value
    if largest >= _INFINITE:
        product = np.nan
    return product, square


@overload(_pair, jit_options={"fastmath": _SUMS})
def _pair_of(row: Any, query: Any) -> Callable[..., Any]:
    return _half if row.dtype == types.uint16 else _plain


def _score(rows: Any, scales: Any, places: Any, queries: Any, cosine: bool, scores: Any) -> None:
    for number in range(len(queries)):
        query = queries[number]
        own = np.sqrt(_pair(query, query)[1])
        for column in range(places.shape[1]):
            place = places[number, column]
            if place < 0:
                continue
            product, square = _pair(rows[place], query)
            if cosine:
                length = own * np.sqrt(square)
                product = product / length if length != 0 else product
            elif scales.size:
                product *= scales[place]
            scores[number, column] = product + 0.0  # no negative zero


@cache
def scorer(dtype: str) -> Any:
    """The kernel for rows of "float32", "float16" or "int8".

    Its arguments are rows (N, D), float16 as uint16; the scales of int8 rows, float32 (N,), or none; places of rows
    int64 (Q, c), of which negative ones are passed over; queries float64 (Q, D); whether to divide by both lengths, 0
    where one of them is 0; and float32 (Q, c), where the scores are written.
    """
    kind = {"float32": types.float32, "float16": types.uint16, "int8": types.int8}[dtype]
    signature = (
        read_only(kind, 2), read_only(types.float32, 1), read_only(types.int64, 2), read_only(types.float64, 2),
        types.boolean, types.Array(types.float32, 2, "C"),
    )  # fmt: skip
    return compiled_for(_score, *signature)

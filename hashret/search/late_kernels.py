"""The kernel of late interaction: every word's best region, summed over the words, from token rows where they lie.

A score belongs to one item that is summed over (its words) and one whose best is taken (its regions). Products are
float32 sums over ``LANES`` lanes, each lane in the order of the columns and the lanes by one tree, whatever else is
scored in the same call; the sum over the words is taken in their order in float64. So a score depends on its query and
its item alone, to the last bit, and is the same whichever of the two is asked. A row of float16 or int8 is taken apart
once and meets all query tokens while it lies in the cache. Nothing is normalised here, and no answers are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from hashret.search.multi_index_kernels import compiled_for, read_only

__all__ = ["BEST", "LANES", "SUMMED", "late_scorer", "stride"]

LANES = 8  # numbers of a vector: two of them a cycle on most CPUs
BEST = 3  # rows at a time on the side of which the best is taken
SUMMED = 4  # rows at a time on the side that is summed: 12 sums stay in registers

_LINE = 16  # float32 in a line of cache
_HALF = np.float32(2.0**112)  # between the exponents of half and single precision
_TOO_LARGE = np.float32(65536.0)  # what infinity and NaN of half precision become
_I64, _FLOAT = ir.IntType(64), ir.FloatType()
_VECTOR, _QUARTET = ir.VectorType(_FLOAT, LANES), ir.VectorType(_FLOAT, SUMMED)
_NAN, _NONE = np.float32(np.nan), np.float32(-np.inf)


def stride(width: int) -> int:
    """Numbers from one prepared row to the next: an odd number of lines of cache, that rows do not push each other out.

    Example:
        >>> stride(512), stride(5)
        (528, 16)
    """
    return _LINE * (-(-width // _LINE) | 1)


def _call(builder: Any, name: str, kind: Any, *values: Any) -> Any:
    """Call an LLVM intrinsic on float vectors."""
    function = ir.FunctionType(kind, [value.type for value in values])
    name = f"llvm.{name}.v{kind.count}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), values)


def _pairs(builder: Any, first: Any, second: Any) -> Any:
    """Sums of neighbouring lanes of two vectors, within each half of them: a step of the tree."""
    half = LANES // 2
    even = [start + place for start in (0, half) for base in (0, LANES) for place in range(base, base + half, 2)]
    kind = ir.VectorType(ir.IntType(32), LANES)
    evens = builder.shuffle_vector(first, second, ir.Constant(kind, even))
    odds = builder.shuffle_vector(first, second, ir.Constant(kind, [place + 1 for place in even]))
    return builder.fadd(evens, odds)


def _sums(builder: Any, four: list[Any]) -> Any:
    """The sum of each of four vectors over its lanes."""
    both = _pairs(builder, _pairs(builder, four[0], four[1]), _pairs(builder, four[2], four[3]))
    kind, nothing = ir.VectorType(ir.IntType(32), SUMMED), ir.Constant(_VECTOR, ir.Undefined)
    low = builder.shuffle_vector(both, nothing, ir.Constant(kind, [0, 1, 2, 3]))
    high = builder.shuffle_vector(both, nothing, ir.Constant(kind, [4, 5, 6, 7]))
    return builder.fadd(low, high)


@intrinsic
def _take_best(typing: Any, best: Any, place: Any, regions: Any, region: Any, words: Any, word: Any, width: Any) -> Any:
    """Products of ``BEST`` rows with ``SUMMED`` rows; ``best[place : place + SUMMED]`` becomes the best of each word.

    Args: best float32 (n,), place int64, regions float32 (n, stride), first row, words float32 (n, stride), first row,
    width int64, a multiple of LANES. NaN in a product stays NaN.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        line, left, right = (context.make_array(kinds[i])(context, builder, args[i]) for i in (0, 2, 4))

        def rows(array: Any, first: Any, count: int) -> list[Any]:
            step = cgutils.unpack_tuple(builder, array.shape)[1]
            numbers = [builder.add(first, ir.Constant(_I64, number)) for number in range(count)]
            return [builder.gep(array.data, [builder.mul(number, step)]) for number in numbers]

        def load(row: Any, column: Any) -> Any:
            return builder.load(builder.bitcast(builder.gep(row, [column]), _VECTOR.as_pointer()), align=4)

        lefts, rights = rows(left, args[3], BEST), rows(right, args[5], SUMMED)
        sums = [[cgutils.alloca_once(builder, _VECTOR) for _ in rights] for _ in lefts]
        for slot in (slot for row in sums for slot in row):
            builder.store(ir.Constant(_VECTOR, [0.0] * LANES), slot)
        zero, step = ir.Constant(_I64, 0), ir.Constant(_I64, LANES)
        with cgutils.for_range_slice(builder, zero, args[6], step, intp=_I64) as (column, _):
            mine = [load(row, column) for row in lefts]
            for number, row in enumerate(rights):
                other = load(row, column)
                for value, slots in zip(mine, sums, strict=True):
                    total = _call(builder, "fmuladd", _VECTOR, value, other, builder.load(slots[number]))
                    builder.store(total, slots[number])
        target = builder.bitcast(builder.gep(line.data, [args[1]]), _QUARTET.as_pointer())
        most = builder.load(target, align=4)
        for slots in sums:
            most = _call(builder, "maximum", _QUARTET, most, _sums(builder, [builder.load(slot) for slot in slots]))
        builder.store(most, target, align=4)
        return context.get_dummy_value()

    number = types.int64
    return types.none(best, number, regions, number, words, number, number), emit


def _unpack(row: Any, scale: Any, out: Any) -> None:
    """A stored row as float32, times its scale; what is not finite becomes NaN. Below, by the type of row."""


@overload(_unpack)
def _unpack_of(row: Any, scale: Any, out: Any) -> Any:
    def single(row: Any, scale: Any, out: Any) -> None:
        for place in range(len(row)):
            value = np.float32(row[place]) * scale
            out[place] = value + value * np.float32(0)

    def half(row: Any, scale: Any, out: Any) -> None:  # sign, exponent and fraction go to where float32 has them
        for place in range(len(row)):
            bits = row[place]
            rest = np.uint16(bits & np.uint16(0x7FFF))
            moved = np.uint32(np.uint32(bits - rest) << np.uint32(16) | np.uint32(rest) << np.uint32(13))
            value = moved.view(np.float32) * _HALF
            out[place] = value if abs(value) < _TOO_LARGE else _NAN

    return half if row.dtype == types.uint16 else single


def _scorer(queries_summed: bool) -> Callable[..., None]:
    """The loops; the gallery's rows are taken a tile at a time, and all query tokens of a group pass over it."""
    rows_at_once = BEST if queries_summed else SUMMED

    def score(rows: Any, scales: Any, offsets: Any, places: Any, groups: Any, queries: Any, starts: Any, lengths: Any,
              scores: Any) -> None:  # fmt: skip
        width = (rows.shape[1] + LANES - 1) // LANES * LANES
        tile = np.zeros((rows_at_once, queries.shape[1]), np.float32)
        best = np.empty(len(queries) if queries_summed else SUMMED, np.float32)
        for group in range(len(groups) - 1):
            first, end = groups[group], groups[group + 1]
            for column in range(places.shape[1]):
                place = places[group, column]
                if place < 0:
                    continue
                if queries_summed:
                    best[starts[first] : starts[end]] = _NONE
                scores[first:end, column] = 0
                for row in range(offsets[place], offsets[place + 1], rows_at_once):
                    valid = min(rows_at_once, offsets[place + 1] - row)
                    for number in range(rows_at_once):
                        at = row + min(number, valid - 1)  # a row once more changes no maximum
                        _unpack(rows[at], scales[at] if scales.size else np.float32(1), tile[number])
                    if queries_summed:
                        for word in range(starts[first], starts[end], SUMMED):
                            _take_best(best, word, tile, 0, queries, word, width)
                        continue
                    for query in range(first, end):
                        best[:] = _NONE
                        for region in range(starts[query], starts[query + 1], BEST):
                            _take_best(best, 0, queries, region, tile, 0, width)
                        for word in range(valid):
                            scores[query, column] += best[word]
                if queries_summed:
                    for query in range(first, end):
                        for word in range(starts[query], starts[query] + lengths[query]):
                            scores[query, column] += best[word]

    return score


@cache
def late_scorer(dtype: str, queries_summed: bool) -> Any:
    """The kernel for gallery rows of "float32", "float16" or "int8"; summed are the tokens of queries or of items.

    Its arguments are rows (S, D), float16 as uint16; the scales of int8 rows, float32 (S,), or none; offsets of items
    int64 (N + 1,); places of items int64 (G, c), of which negative ones are passed over; the queries of each of G
    groups int64 (G + 1,), which all meet the group's items; query tokens float32 (T, stride) with zeros beyond D, where
    query q has the rows from starts[q] to starts[q + 1], a multiple of SUMMED if queries are summed, else of BEST, its
    last token repeated; starts int64 (Q + 1,); the number of tokens of each int64 (Q,); and float64 (Q, c), where the
    sums are written, NaN or infinite where a number is not finite or a product is beyond float32.
    """
    kind = {"float32": types.float32, "float16": types.uint16, "int8": types.int8}[dtype]
    table, line = read_only(types.int64, 2), read_only(types.int64, 1)
    signature = (
        read_only(kind, 2), read_only(types.float32, 1), line, table, line, read_only(types.float32, 2), line, line,
        types.Array(types.float64, 2, "C"),
    )  # fmt: skip
    return compiled_for(_scorer(queries_summed), *signature)

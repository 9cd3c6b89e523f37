"""The vector instructions of the Hamming kernels, written as LLVM IR for Numba.

LLVM left to itself vectorises these loops by 256 bits and spends half of the time on widening counts. So the inner step
is emitted by hand, as vectors of 512 bits that LLVM turns into what the CPU at hand has (AVX-512 with VPOPCNT, AVX2 or
NEON): XOR, population count, sum over words, lowest distance, one comparison. Nothing is set in the environment and
nothing global is changed. This file knows one block of codes (see :mod:`hashret.search.blocks`) and some queries; it
keeps no answers.

A block is a row of ``VECTORS`` vectors for each word of a code: ``row = VECTORS * 512 / lane bits`` codes. ``words`` is
a compile-time constant, so that the loop over words is unrolled; 0 means as many as the blocks have, in a loop.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "STAMP",
    "TOGETHER",
    "VECTORS",
    "VECTOR_BYTES",
    "compiled",
    "lowest_bit",
    "nearer",
    "nearer_lanes",
    "popcount",
    "prefetch",
    "put",
    "splat",
]

# Numba asks whether the file of a kernel was changed, not those it imports; kernels that use this file close over its
# stamp, which counts among what their cached code depends on.
STAMP = zlib.crc32(Path(__file__).read_bytes()) or 1

VECTORS = 4
VECTOR_BYTES = 64
TOGETHER = 4  # queries whose distances to a block are computed at once: a loaded vector serves all of them

_I1, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 16, 32, 64))
_NOTHING = ir.Constant(_I64, 0)

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile a kernel at its first call: without the GIL, and kept on disk for the next process.

    Numba keeps the machine code beside the source or, where that cannot be written, in the user's cache folder; where
    neither can be written the kernel is compiled anew in each process.
    """
    try:
        kernel: Kernel = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no place for a cache
        kernel = njit(nogil=True)(function)
    return kernel


def _constant(number: int) -> Any:
    return ir.Constant(_I64, number)


def _vector(array: Any) -> Any:
    """The vector of an array's elements."""
    return ir.VectorType(ir.IntType(array.dtype.bitwidth), VECTOR_BYTES * 8 // array.dtype.bitwidth)


def _call(builder: Any, name: str, result: Any, *values: Any) -> Any:
    """Call an LLVM intrinsic; ``name`` without its type is completed by the result's."""
    short = f"v{result.count}i{result.element.width}" if isinstance(result, ir.VectorType) else f"i{result.width}"
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{short}"), values)


def splat(builder: Any, number: Any, vector: Any) -> Any:
    """One number in all lanes."""
    if number.type.width > vector.element.width:
        number = builder.trunc(number, vector.element)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(_I32, 0))
    places = ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), places)


def _lane_bits(builder: Any, mask: Any) -> Any:
    """A mask of lanes as the low bits of an i64."""
    bits = builder.bitcast(mask, ir.IntType(mask.type.count))
    return builder.zext(bits, _I64) if mask.type.count < 64 else bits


def _distances(
    builder: Any, blocks: Any, block: Any, starts: Sequence[Any], queries: Any, rows: Sequence[Any], words: int
) -> list[list[Any]]:
    """Distances of the codes at ``starts`` of a block to the queries at ``rows``: one list of vectors a query."""
    kind, array = blocks
    vector = _vector(kind)
    count = _constant(words) if words else cgutils.unpack_tuple(builder, array.shape)[1]
    row = _constant(VECTORS * vector.count)
    origin = builder.mul(block, builder.mul(count, row))

    def add_word(word: Any, sums: list[list[Any]] | None) -> list[list[Any]]:
        base = builder.add(origin, builder.mul(word, row))
        places = [builder.gep(array.data, [builder.add(base, start)]) for start in starts]
        codes = [
            builder.load(builder.bitcast(place, vector.as_pointer()), align=vector.element.width // 8)
            for place in places
        ]
        found = []
        for number, query in enumerate(rows):
            bits = builder.load(builder.gep(queries.data, [builder.add(builder.mul(query, count), word)]))
            mine = splat(builder, bits, vector)
            far = [_call(builder, "ctpop", vector, builder.xor(code, mine)) for code in codes]
            found.append(far if sums is None else [builder.add(*two) for two in zip(sums[number], far, strict=True)])
        return found

    sums = add_word(_NOTHING, None)
    for word in range(1, words):
        sums = add_word(_constant(word), sums)
    if words:
        return sums
    slots = [[cgutils.alloca_once_value(builder, value) for value in line] for line in sums]

    def keep(values: list[list[Any]]) -> None:
        for line, new in zip(slots, values, strict=True):
            for slot, value in zip(line, new, strict=True):
                builder.store(value, slot)

    keep(sums)  # the stack slot may be older than this pass
    with cgutils.for_range_slice(builder, _constant(1), count, _constant(1), intp=_I64) as (word, _):
        keep(add_word(word, [[builder.load(slot) for slot in line] for line in slots]))
    return [[builder.load(slot) for slot in line] for line in slots]


def _array(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.make_array(kind)(context, builder, value)


@intrinsic(prefer_literal=True)
def nearer(
    typing: Any, blocks: Any, block: Any, queries: Any, first: Any, limits: Any, words: Any, together: Any
) -> Any:
    """Which of the ``together`` queries from ``first`` on have a code of the block at a distance below their limit.

    Args: blocks uintX (B, W, row), block number, queries uintX (Q, W), first query, limits int64 (Q,), words and
    together as constants. Distances must be below 2**16. Returns int64: bit j is set for query ``first + j``.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        codes, asked, ends = (_array(context, builder, kinds[i], args[i]) for i in (0, 2, 4))
        vector = _vector(kinds[0])
        starts = [_constant(number * vector.count) for number in range(VECTORS)]
        rows = [builder.add(args[3], _constant(number)) for number in range(together.literal_value)]
        sums = _distances(builder, (kinds[0], codes), args[1], starts, asked, rows, words.literal_value)
        # Minima of 16 bits are one instruction everywhere; the upper parts of wider lanes are 0.
        narrow = ir.VectorType(_I16, VECTOR_BYTES // 2) if vector.element.width > 16 else vector
        result = _NOTHING
        for number, (row, far) in enumerate(zip(rows, sums, strict=True)):
            least = [builder.bitcast(value, narrow) for value in far]
            while len(least) > 1:
                least = [_call(builder, "umin", narrow, *two) for two in zip(least[::2], least[1::2], strict=True)]
            limit = splat(builder, builder.load(builder.gep(ends.data, [row])), vector)
            bits = _lane_bits(builder, builder.icmp_unsigned("<", builder.bitcast(least[0], vector), limit))
            found = builder.icmp_unsigned("!=", bits, _NOTHING)
            result = builder.or_(result, builder.select(found, _constant(1 << number), _NOTHING))
        return result

    return types.int64(blocks, types.int64, queries, types.int64, limits, words, together), emit


@intrinsic(prefer_literal=True)
def nearer_lanes(
    typing: Any, blocks: Any, block: Any, part: Any, queries: Any, query: Any, limit: Any, words: Any
) -> Any:
    """Which codes of a block lie at a distance below ``limit`` of one query.

    Args: blocks uintX (B, W, row), block number, part: which 64 codes of the block (its only part where row <= 64),
    queries uintX (Q, W), query number, limit int64, words as a constant. Returns uint64: bit x is set for code
    ``64 * part + x`` of the block.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        codes, asked = (_array(context, builder, kinds[i], args[i]) for i in (0, 3))
        vector = _vector(kinds[0])
        first = builder.mul(args[2], _constant(64))
        at_once = min(VECTORS, 64 // vector.count)
        starts = [builder.add(first, _constant(number * vector.count)) for number in range(at_once)]
        (far,) = _distances(builder, (kinds[0], codes), args[1], starts, asked, [args[4]], words.literal_value)
        end = splat(builder, args[5], vector)
        result = _NOTHING
        for number, value in enumerate(far):
            bits = _lane_bits(builder, builder.icmp_unsigned("<", value, end))
            result = builder.or_(result, builder.shl(bits, _constant(number * vector.count)))
        return result

    return types.uint64(blocks, types.int64, types.int64, queries, types.int64, types.int64, words), emit


@intrinsic(prefer_literal=True)
def put(typing: Any, blocks: Any, block: Any, queries: Any, query: Any, out: Any, place: Any, words: Any) -> Any:
    """Write the distances of a block's codes to one query at ``out[place : place + row]`` of a flat integer array.

    Args: blocks uintX (B, W, row), block number, queries uintX (Q, W), query number, out: one-dimensional and
    contiguous, of a dtype that holds the largest distance, place int64, words as a constant.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        codes, asked, line = (_array(context, builder, kinds[i], args[i]) for i in (0, 2, 4))
        vector = _vector(kinds[0])
        starts = [_constant(number * vector.count) for number in range(VECTORS)]
        (far,) = _distances(builder, (kinds[0], codes), args[1], starts, asked, [args[3]], words.literal_value)
        width = kinds[4].dtype.bitwidth
        stored = ir.VectorType(ir.IntType(width), vector.count)
        for start, value in zip(starts, far, strict=True):
            if width != vector.element.width:
                value = (builder.trunc if width < vector.element.width else builder.zext)(value, stored)
            address = builder.gep(line.data, [builder.add(args[5], start)])
            builder.store(value, builder.bitcast(address, stored.as_pointer()), align=width // 8)
        return context.get_dummy_value()

    return types.none(blocks, types.int64, queries, types.int64, out, types.int64, words), emit


@intrinsic
def prefetch(typing: Any, array: Any, place: Any) -> Any:
    """Ask for the cache line of an element of a contiguous array, counted in elements from its start.

    The element may lie outside the array: nothing is read.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = _array(context, builder, array, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, _I32, _I32, _I32])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(ask, [address, ir.Constant(_I32, 0), ir.Constant(_I32, 3), ir.Constant(_I32, 1)])
        return context.get_dummy_value()

    return types.none(array, types.int64), emit


@intrinsic
def popcount(typing: Any, number: Any) -> Any:
    """Number of set bits of an unsigned integer, int64."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        count = _call(builder, "ctpop", args[0].type, args[0])
        return builder.zext(count, _I64) if number.bitwidth < 64 else count

    return types.int64(number), emit


@intrinsic
def lowest_bit(typing: Any, number: Any) -> Any:
    """Place of the lowest set bit of a uint64 that is not 0, int64."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "cttz", _I64, args[0], ir.Constant(_I1, 1))

    return types.int64(types.uint64), emit

"""The search of multi-index hashing, compiled by Numba.

A code is cut into chunks. For each chunk there is a table: codes that have the same bits there form a bucket, and the
buckets lie one after the other in the order of their bits. A search visits, for s = 0, 1, 2 and so on and for each
chunk, the buckets whose bits differ from the query's in s places. After chunk c (from 0) at weight s every code within
a distance of ``chunks * s + c`` has been met, because one farther away in all chunks so far is farther away in sum; the
search ends when the k-th distance is not above that.

What a visit costs is waiting for memory. So a search first asks for the bounds of a few hundred buckets, then for what
lies in them, and only then reads. Of each code a bucket holds one word, eight of which are compared at once; the few
that may be near enough are looked into. Which chunk and weight meet a code first is known from its bits, so that one
met again is passed over without a list of those seen. Everything runs without the GIL; memory, threads and files are
the business of :mod:`hashret.search.multi_index`, the choice between tables and scan that of its caller.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from hashret.search.kernels import POSITION_BITS
from hashret.search.lanes import STAMP as LANES_STAMP
from hashret.search.lanes import lowest_bit, popcount, prefetch, splat

__all__ = [
    "COLUMNS", "LIFT", "RUNS", "STAMP", "TABLE", "WIDTH", "bucket_of", "compared_word", "compiled_for", "read_only",
    "searcher",
]  # fmt: skip

STAMP = zlib.crc32(Path(__file__).read_bytes(), LANES_STAMP) or 1  # as in lanes.py, and of that file too

# Columns of a layout, int64 (chunks, COLUMNS): where the bits of a chunk lie in a code, and its buckets in the offsets.
# A chunk is one or two runs of bits, each within a word; the second run stands above the first.
WIDTH, TABLE, LIFT, COLUMNS = 0, 1, 2, 9
RUNS = ((3, 4, 5), (6, 7, 8))  # word, shift, mask after the shift

_LANES = 8  # codes compared at once, those in a line of cache
_LINES = 3  # lines compared without a branch in between
_MASKS = 256  # buckets asked for before the first is read
_ROOM = 64  # codes sifted before they are looked into
_SLACK = 1024  # answers kept beyond 2 k before they are cut back to k
_ONE = np.uint64(1)
_LAST = np.iinfo(np.int64).max
(_WORD1, _SHIFT1, _MASK1), (_WORD2, _SHIFT2, _MASK2) = RUNS


class _Tables(NamedTuple):
    """What a search reads; ``rows`` holds whole codes: the copies where a code is one word, else all codes in order."""

    offsets: Any
    ids: Any
    copies: Any
    rows: Any
    layout: Any
    alive: Any


class _Room(NamedTuple):
    """What a search writes to and forgets."""

    places: Any
    spans: Any
    entries: Any
    counts: Any


@intrinsic
def _near_lanes(typing: Any, codes: Any, start: Any, word: Any, limit: Any) -> Any:
    """Which of the ``_LANES`` words of an array from ``start`` on differ from ``word`` in at most ``limit`` bits."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        vector = ir.VectorType(ir.IntType(64), _LANES)
        place = builder.bitcast(builder.gep(data, [args[1]]), vector.as_pointer())
        word, limit = (splat(builder, value, vector) for value in args[2:])
        kind = ir.FunctionType(vector, [vector])
        count = cgutils.get_or_insert_function(builder.module, kind, f"llvm.ctpop.v{_LANES}i64")
        far = builder.call(count, [builder.xor(builder.load(place, align=8), word)])
        bits = builder.bitcast(builder.icmp_unsigned("<=", far, limit), ir.IntType(_LANES))
        return builder.zext(bits, ir.IntType(64))

    return types.uint64(codes, types.int64, types.uint64, types.int64), emit


@njit(forceinline=True)
def _bits_of(first: Any, second: Any, layout: Any, chunk: Any) -> Any:
    """The bits of a chunk from the two words they lie in, uint64."""
    low = first >> np.uint64(layout[chunk, _SHIFT1]) & np.uint64(layout[chunk, _MASK1])
    high = second >> np.uint64(layout[chunk, _SHIFT2]) & np.uint64(layout[chunk, _MASK2])
    return low | high << np.uint64(layout[chunk, LIFT])


@njit(forceinline=True)
def bucket_of(rows: Any, row: Any, layout: Any, chunk: Any) -> Any:
    """The bits of a chunk of the code at ``row``, int64."""
    one, two = rows[row + layout[chunk, _WORD1]], rows[row + layout[chunk, _WORD2]]
    return np.int64(_bits_of(one, two, layout, chunk))


@njit(forceinline=True)
def compared_word(layout: Any, chunk: Any, words: Any) -> Any:
    """Which word of a code its copy in a table is: one far from the chunk's own, which is known to be near."""
    return (layout[chunk, _WORD1] + words // 2) % words


@njit(forceinline=True)
def _is_new(rows: Any, row: Any, asked: Any, query: Any, layout: Any, weight: Any, chunk: Any) -> Any:
    """Whether no chunk met this code earlier: by a lower weight, or before ``chunk`` by the same."""
    for other in range(len(layout)):
        first, second = layout[other, _WORD1], layout[other, _WORD2]
        one, two = rows[row + first] ^ asked[query + first], rows[row + second] ^ asked[query + second]
        if popcount(_bits_of(one, two, layout, other)) < weight + (other < chunk):
            return False
    return True


@njit(forceinline=True)
def _next_mask(mask: Any) -> Any:
    """The next larger number with as many set bits (Gosper)."""
    low = mask & -mask
    carried = mask + low
    return ((carried ^ mask) >> 2) >> lowest_bit(np.uint64(mask)) | carried


@njit(forceinline=True)
def _approach(tables: Any, asked: Any, query: Any) -> Any:
    """Ask for the query's own buckets in all tables, which are the first to be visited."""
    chunks = len(tables.layout)
    for chunk in range(chunks):
        prefetch(tables.offsets, tables.layout[chunk, TABLE] + bucket_of(asked, query, tables.layout, chunk))
    for chunk in range(chunks):
        place = tables.layout[chunk, TABLE] + bucket_of(asked, query, tables.layout, chunk)
        first = chunk * (len(tables.ids) // chunks) + np.int64(tables.offsets[place])
        for line in range(_LINES + 1):
            prefetch(tables.copies, first + line * _LANES)


@njit(forceinline=True)
def _open(tables: Any, chunk: Any, value: Any, mask: Any, count: Any, places: Any, spans: Any) -> Any:
    """Find ``count`` buckets from ``mask`` on, note the spans of those that hold codes and ask for these codes.

    Returns the mask to go on with, the number of spans and the number of codes in them.
    """
    start, base = tables.layout[chunk, TABLE], chunk * (len(tables.ids) // len(tables.layout))
    for number in range(count):
        place = start + (value ^ mask)
        places[number] = place
        prefetch(tables.offsets, place)
        mask = _next_mask(mask)
    used, codes = 0, 0
    for number in range(count):
        first = base + np.int64(tables.offsets[places[number]])
        end = base + np.int64(tables.offsets[places[number] + 1])
        spans[used, 0], spans[used, 1] = first, end
        used += end > first
        codes += end - first
        if tables.copies.size:
            for line in range(_LINES):
                prefetch(tables.copies, min(first + line * _LANES, end - 1))
            prefetch(tables.copies, end - 1)
        else:
            prefetch(tables.ids, first)
            prefetch(tables.ids, end - 1)
    return mask, used, codes


@njit(forceinline=True)
def _sift(tables: Any, word: Any, far: Any, spans: Any, used: Any, span: Any, place: Any, entries: Any) -> Any:
    """Note entries of the spans that may be within ``far``, from ``place`` in ``span`` on, until there is no room.

    Whole lines of cache are read, and none that was not asked for: what a line holds of other buckets, or of what lies
    around the array, is masked out. Returns the number of entries, and where to go on.
    """
    phase, count = (np.int64(tables.copies.ctypes.data) >> 3) & (_LANES - 1), 0
    while span < used and count <= _ROOM - _LINES * _LANES:
        end = spans[span, 1]
        line = (place + phase & -_LANES) - phase
        last = (end - 1 + phase & -_LANES) - phase
        size = min(end, line + _LINES * _LANES) - place
        lanes = (_ONE << np.uint64(size)) - _ONE
        if tables.copies.size:
            near = _near_lanes(tables.copies, line, word, far)
            for number in range(1, _LINES):
                more = _near_lanes(tables.copies, min(line + number * _LANES, last), word, far)
                near |= more << np.uint64(number * _LANES)
            lanes &= near >> np.uint64(place - line)
        while lanes:
            entry = place + lowest_bit(lanes)
            lanes &= lanes - _ONE
            entries[count] = entry
            count += 1
            prefetch(tables.ids, entry)
        place += size
        if place >= end:
            span += 1
            place = spans[span, 0]
    return count, span, place


@njit(forceinline=True)
def _look(tables: Any, asked: Any, query: Any, words: Any, step: Any, k: Any, entries: Any, found: Any, used: Any,
          counts: Any, far: Any, nearer: Any, ceiling: Any) -> Any:  # fmt: skip
    """Append the keys of entries that are near, new and alive, and lower ``far`` to the k-th distance.

    Returns the number of keys, ``far`` and the number of codes nearer than that.
    """
    whole = words == 1 and tables.copies.size > 0
    if not whole:
        for entry in entries:
            row = np.int64(tables.ids[entry]) * words
            for word in range(0, words, _LANES):
                prefetch(tables.rows, row + word)
            prefetch(tables.rows, row + words - 1)
    for entry in entries:
        row = entry if whole else np.int64(tables.ids[entry]) * words
        distance = np.int64(0)
        for word in range(words):
            distance += popcount(tables.rows[row + word] ^ asked[query + word])
        if distance > far or not _is_new(tables.rows, row, asked, query, tables.layout, step[0], step[1]):
            continue
        position = np.int64(tables.ids[entry])
        key = distance << POSITION_BITS | position
        if key >= ceiling:
            continue
        if tables.alive.size and not tables.alive[position >> 6] >> np.uint64(position & 63) & _ONE:
            continue
        found[used] = key
        used += 1
        counts[distance] += 1
        nearer += distance < far
        while nearer >= k:
            far -= 1
            nearer -= counts[far]
    return used, far, nearer


@njit(forceinline=True)
def _with_room(found: Any, used: Any, more: Any) -> Any:
    """The same keys with room for ``more``."""
    if used + more <= len(found):
        return found
    larger = np.empty(2 * len(found) + more, np.int64)
    larger[:used] = found[:used]
    return larger


@njit(forceinline=True)
def _visit(tables: Any, asked: Any, query: Any, words: Any, step: Any, masks: Any, k: Any, costs: Any, budget: Any,
           room: Any, found: Any, base: Any, used: Any, far: Any, nearer: Any, ceiling: Any) -> Any:  # fmt: skip
    """Go through the buckets of a chunk at a weight; the budget that is left comes back negative if it did not do."""
    (weight, chunk), (bucket_cost, code_cost, look_cost) = step, costs
    value = bucket_of(asked, query, tables.layout, chunk)
    word = asked[query + compared_word(tables.layout, chunk, words)]
    mask = (1 << weight) - 1
    while masks > 0 and budget >= 0:
        count = min(masks, _MASKS)
        masks -= count
        mask, spans, codes = _open(tables, chunk, value, mask, count, room.places, room.spans)
        budget -= bucket_cost * count + code_cost * codes
        span, place = 0, room.spans[0, 0]
        while span < spans and budget >= 0:
            size, span, place = _sift(tables, word, far, room.spans, spans, span, place, room.entries)
            budget -= look_cost * size
            if used - base > 2 * k + _SLACK:
                found[base:used].sort()
                used = base + k
                ceiling = found[used - 1]
            found = _with_room(found, used, size)
            entries = room.entries[:size]
            used, far, nearer = _look(
                tables, asked, query, words, step, k, entries, found, used, room.counts, far, nearer, ceiling
            )
    return budget, found, used, far, nearer, ceiling


@njit(forceinline=True)
def _explore(tables: Any, asked: Any, query: Any, words: Any, k: Any, far: Any, costs: Any, budget: Any, room: Any,
             found: Any, base: Any) -> Any:  # fmt: skip
    """Append the keys of one query's answers, and maybe of more, at ``base``.

    Returns the keys, their end, the largest distance of an answer, and whether the budget did.
    """
    chunks, codes = len(tables.layout), len(tables.ids) // len(tables.layout)
    width, narrow = tables.layout[0, WIDTH], chunks - (len(room.counts) - 1) % chunks
    price = costs[0] + costs[1] * codes / (1 << width)
    price_wide = costs[0] + costs[1] * codes / (2 << width)
    _approach(tables, asked, query)
    used, nearer, ceiling, weight, masks, masks_wide = base, 0, _LAST, 0, 1, 1
    while True:
        for chunk in range(chunks):
            last = min(far - chunks * weight, chunks - 1) + 1
            near = max(min(last, narrow) - chunk, 0)
            if budget < near * masks * price + (last - chunk - near) * masks_wide * price_wide:
                return found, used, far, False
            budget, found, used, far, nearer, ceiling = _visit(
                tables, asked, query, words, (weight, chunk), masks if chunk < narrow else masks_wide, k, costs,
                budget, room, found, base, used, far, nearer, ceiling,
            )  # fmt: skip
            if budget < 0:
                return found, used, far, False
            if far <= chunks * weight + chunk or weight == width or used - base == codes:
                return found, used, far, True
        masks = masks * (width - weight) // (weight + 1)
        masks_wide = masks_wide * (width + 1 - weight) // (weight + 1)
        weight += 1


def _search_of(stamp: int) -> Callable[..., Any]:
    def search(queries: Any, rows: Any, offsets: Any, ids: Any, copies: Any, layout: Any, alive: Any, k: int,
               radius: int, prices: Any, budget: float) -> Any:  # fmt: skip
        assert stamp
        count, words = queries.shape
        asked, whole = queries.reshape(-1), words == 1 and copies.size > 0
        tables = _Tables(offsets, ids, copies, copies if whole else rows.reshape(-1), layout, alive)
        costs, bits = (prices[0], prices[1], prices[2]), layout[:, WIDTH].sum()
        room = _Room(
            np.empty(_MASKS, np.int64), np.empty((_MASKS + 1, 2), np.int64), np.empty(_ROOM, np.int64),
            np.empty(bits + 1, np.int64),
        )  # fmt: skip
        starts, done = np.zeros(count + 1, np.int64), np.empty(count, np.bool_)
        found = np.empty(_SLACK, np.int64)
        for number in range(count):
            room.counts[:] = 0
            base = starts[number]
            found, used, far, done[number] = _explore(
                tables, asked, number * words, words, k, min(radius, bits), costs, budget, room, found, base
            )
            end = base
            if done[number]:
                for place in range(base, used):
                    found[end] = found[place]
                    end += found[place] >> POSITION_BITS <= far
                found[base:end].sort()
            starts[number + 1] = min(end, base + k)
        return found[: starts[count]], starts, done

    return search


def read_only(kind: Any, dimensions: int) -> Any:
    """The Numba type of an array that is read; one that could be written is taken too."""
    return types.Array(kind, dimensions, "C", readonly=True)


def compiled_for(function: Callable[..., Any], *signature: Any) -> Any:
    """Compile now, for arrays in memory and mapped ones alike, and keep the machine code on disk where that works."""
    try:
        return njit([signature], nogil=True, cache=True)(function)
    except RuntimeError:  # no place for a cache
        return njit([signature], nogil=True)(function)


@cache
def searcher() -> Any:
    """The search.

    Its arguments are queries uint64 (Q, W), all codes uint64 (N, W) (none where copies of one word say all), offsets
    uint32, ids uint32 (chunks * N,), copies uint64 (chunks * N,) or none, a layout, a bitset of codes that count or
    none, k, the largest distance that counts, the costs of a bucket, of a code in it and of a code looked into, and the
    budget of a query. It returns keys int64 (total,) (distance << 40 | position, ascending for each query), starts
    int64 (Q + 1,) and whether each query was done, bool (Q,).
    """
    word, short = types.uint64, types.uint32
    return compiled_for(
        _search_of(STAMP), read_only(word, 2), read_only(word, 2), read_only(short, 1), read_only(short, 1),
        read_only(word, 1), read_only(types.int64, 2), read_only(word, 1), types.int64, types.int64,
        read_only(types.float64, 1), types.float64,
    )  # fmt: skip

"""The Hamming kernels: one pass over blocks of codes for many queries, compiled by Numba.

``collect`` finds the nearest codes. It goes through the codes in tiles that stay in the first-level cache while all
queries pass over them, four queries at a time. For each block it asks only whether any code of it beats a query's
present k-th distance; blocks that do are noted without a branch and looked into after the tile, because a mispredicted
branch costs more than a block. Found codes go to a buffer of the query as ``distance << 40 | position``; counts of
their distances tighten the limit after each tile. Codes are visited in the order of their positions and a code at the
limit is not taken, so that ties at the k-th distance stay with the lowest positions.

``measure`` writes distances. ``tally``, ``tally_shared`` and ``order`` read what it wrote: they count distances, count
them apart for relevant codes, and sort a whole ranking by counting. All run without the GIL; threads, files and ids are
the business of :mod:`hashret.search.scan` and :mod:`hashret.search.index`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from hashret.search.lanes import (
    STAMP,
    TOGETHER,
    VECTORS,
    compiled,
    lowest_bit,
    nearer,
    nearer_lanes,
    popcount,
    prefetch,
    put,
)

__all__ = ["POSITION_BITS", "collector", "measurer", "order", "tally", "tally_marked", "tally_shared"]

POSITION_BITS = 40
_UNROLLED = (1, 2, 3, 4, 8, 16)  # numbers of words with a kernel of their own
_AHEAD = 16  # blocks
_ONE = np.uint64(1)


@njit(forceinline=True)
def _is_set(bits: Any, position: int) -> Any:
    """Whether a bit of a uint64 bitset is set."""
    return bits[position >> 6] >> np.uint64(position & 63) & _ONE


@njit(nogil=True)
def _tighten(query: int, old: int, k: int, limits: Any, closer: Any, counts: Any, keys: Any, used: Any) -> None:
    """Count the keys a tile brought and lower the query's limit to its k-th distance."""
    limit, near = limits[query], closer[query]
    for place in range(old, used[query]):
        far = keys[query, place] >> POSITION_BITS
        counts[query, far] += 1
        near += far < limit
    while near >= k:
        limit -= 1
        near -= counts[query, limit]
    limits[query], closer[query] = limit, near


@njit(nogil=True)
def _squeeze(query: int, k: int, limits: Any, closer: Any, keys: Any, used: Any) -> None:
    """Drop the keys that are no longer among the k nearest; what stays keeps its order."""
    limit, ties, kept = limits[query], k - closer[query], 0
    for place in range(used[query]):
        key = keys[query, place]
        far = key >> POSITION_BITS
        if far < limit or (far == limit and ties > 0):
            ties -= far == limit
            keys[query, kept] = key
            kept += 1
    used[query] = kept


@njit(nogil=True)
def _look(blocks: Any, count: int, alive: Any, queries: Any, first: int, tile: int, events: Any, limits: Any, keys: Any,
          used: Any, words: int) -> None:  # fmt: skip
    """Append the keys of all codes below their limit in the noted blocks of a tile."""
    row, width = blocks.shape[2], blocks.shape[1]
    for event in events:
        block, hits = tile + (event >> TOGETHER), np.uint64(event & ((1 << TOGETHER) - 1))
        while hits:
            query = first + lowest_bit(hits)
            hits &= hits - _ONE
            end = used[query]
            for part in range(max(1, row >> 6)):
                bits = nearer_lanes(blocks, block, part, queries, query, limits[query], words)
                start = block * row + 64 * part
                if start >= count:
                    break
                if start + 64 > count:
                    bits &= (_ONE << np.uint64(count - start)) - _ONE
                if alive.size:
                    bits &= alive[start >> 6] >> np.uint64(start & 63)
                while bits:
                    lane = lowest_bit(bits)
                    bits &= bits - _ONE
                    far = 0
                    for word in range(width):
                        far += popcount(blocks[block, word, 64 * part + lane] ^ queries[query, word])
                    keys[query, end] = far << POSITION_BITS | start + lane
                    end += 1
            used[query] = end


def _collector(words: int, stamp: int = STAMP) -> Callable[..., None]:
    def collect(blocks: Any, count: int, alive: Any, span: Any, tile: int, queries: Any, k: int, limits: Any,
                closer: Any, counts: Any, keys: Any, used: Any) -> None:  # fmt: skip
        assert stamp
        events = np.empty(tile + 1, np.int64)
        before = np.empty(TOGETHER, np.int64)
        start, last = span
        codes, lanes = blocks.shape[1] * blocks.shape[2], blocks.shape[2] // VECTORS
        size = max(1, min(tile, k // blocks.shape[2]))  # the first tiles are small: they admit everything
        while start < last:
            end = min(start + size, last)
            for first in range(0, len(queries), TOGETHER):
                together = min(TOGETHER, len(queries) - first)
                noted = 0
                if together == TOGETHER:
                    for block in range(start, end):
                        hits = nearer(blocks, block, queries, first, limits, words, TOGETHER)
                        events[noted] = (block - start) << TOGETHER | hits
                        noted += hits != 0
                else:
                    together = 1
                    for block in range(start, end):
                        if len(queries) == 1:  # codes come from memory: more of them are to be on their way
                            for line in range(blocks.shape[1] * VECTORS):
                                prefetch(blocks, (block + _AHEAD) * codes + line * lanes)
                        hits = nearer(blocks, block, queries, first, limits, words, 1)
                        events[noted] = (block - start) << TOGETHER | hits
                        noted += hits
                if noted:
                    before[:together] = used[first : first + together]
                    _look(blocks, count, alive, queries, first, start, events[:noted], limits, keys, used, words)
                    for query in range(first, first + together):
                        if used[query] > before[query - first]:
                            _tighten(query, before[query - first], k, limits, closer, counts, keys, used)
                            if used[query] + tile * blocks.shape[2] > keys.shape[1]:
                                _squeeze(query, k, limits, closer, keys, used)
            start, size = end, min(2 * size, tile)

    return compiled(collect)


def _measurer(words: int, stamp: int = STAMP) -> Callable[..., None]:
    def measure(blocks: Any, start: int, stop: int, queries: Any, out: Any) -> None:
        assert stamp
        row, flat = blocks.shape[2], out.reshape(-1)
        for block in range(start, stop):
            for query in range(len(queries)):
                put(blocks, block, queries, query, flat, query * out.shape[1] + (block - start) * row, words)

    return compiled(measure)


@cache
def _made(make: Callable[[int], Callable[..., None]], words: int) -> Callable[..., None]:
    return make(words)


def collector(words: int) -> Callable[..., None]:
    """The kernel ``collect(blocks, count, alive, span, tile, queries, k, limits, closer, counts, keys, used)``.

    Args of the kernel: blocks uintX (B, W, row); number of codes; alive: bitset uint64 (ceil(count / 64),), or empty
    where all count; span: first and last block; tile: blocks a tile; queries uintX (Q, W), Q = 1 or a multiple of 4;
    k; limits int64 (Q,): only distances below count, at the end the k-th distance; closer int64 (Q,): how many lie
    below it; counts int64 (Q, bits + 2); keys int64 (Q, room), room >= k + 2 tiles of codes; used int64 (Q,): how
    many keys were found.
    """
    return _made(_collector, words if words in _UNROLLED else 0)


def measurer(words: int) -> Callable[..., None]:
    """The kernel ``measure(blocks, start, stop, queries, out)``: distances of blocks start ... stop - 1.

    ``out`` is an integer array (Q, at least (stop - start) x row) in C order; lanes behind the last code hold nonsense.
    """
    return _made(_measurer, words if words in _UNROLLED else 0)


@compiled
def tally(far: Any, start: int, alive: Any, counts: Any) -> None:
    """Add distances ``far`` (Q, n) of the codes from position ``start`` on to ``counts`` int64 (Q, bins)."""
    for position in range(far.shape[1]):
        if alive.size == 0 or _is_set(alive, start + position):
            for query in range(far.shape[0]):
                counts[query, far[query, position]] += 1


@compiled
def tally_marked(far: Any, start: int, alive: Any, marks: Any, counts: Any) -> None:
    """Add distances to ``counts`` int64 (Q, 2, bins), apart by ``marks`` bool (Q, n).

    The distances are scratch, of a type that holds 2 x bins: those of marked codes are moved up by ``bins``, many at
    once, so that one count of single codes tells both kinds.
    """
    bins = far.dtype.type(counts.shape[2])
    for query in range(far.shape[0]):
        for position in range(far.shape[1]):
            far[query, position] += marks[query, position] * bins
    tally(far, start, alive, counts.reshape(len(counts), 2 * counts.shape[2]))


@compiled
def tally_shared(far: Any, start: int, alive: Any, ours: Any, planes: Any, counts: Any) -> None:
    """As :func:`tally_marked`, apart by whether labels share a bit: uint64 (Q, L) and, word by word, (L, N)."""
    bins, stop = far.dtype.type(counts.shape[2]), start + far.shape[1]
    shared = np.empty(far.shape[1], np.uint64)
    for query in range(far.shape[0]):
        line = far[query]
        if len(planes) == 2:  # in one pass: 65 to 128 labels are common
            first, second, near, next_to = ours[query, 0], ours[query, 1], planes[0, start:stop], planes[1, start:stop]
            for position in range(len(line)):
                line[position] += (((first & near[position]) | (second & next_to[position])) != 0) * bins
        else:
            shared[:] = 0
            for word in range(len(planes)):
                mine, plane = ours[query, word], planes[word, start:stop]
                if mine:
                    for position in range(len(line)):
                        shared[position] |= mine & plane[position]
            for position in range(len(line)):
                line[position] += (shared[position] != 0) * bins
    tally(far, start, alive, counts.reshape(len(counts), 2 * counts.shape[2]))


@compiled
def order(far: Any, alive: Any, bins: int, distances: Any, positions: Any) -> int:
    """Rank codes by their distances ``far`` (n,), by counting; ties by position.

    Writes the k nearest to ``distances`` int32 (k,) and ``positions`` int64 (k,); returns how many there are.
    """
    every = alive.size == 0
    counts = np.zeros((2, bins), np.int64)  # two tables: equal neighbours do not wait for each other
    for position in range(len(far)):
        if every or _is_set(alive, position):
            counts[position & 1, far[position]] += 1
    places = np.empty(bins, np.int64)
    end, k = 0, len(positions)
    for distance in range(bins):
        places[distance] = end
        start, end = end, end + counts[0, distance] + counts[1, distance]
        distances[min(start, k) : min(end, k)] = distance
    for position in range(len(far)):
        if every or _is_set(alive, position):
            place = places[far[position]]
            places[far[position]] = place + 1
            if place < k:
                positions[place] = position
    return min(end, k)

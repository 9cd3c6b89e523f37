"""The exhaustive scan: every query against every code, by XOR and popcount.

This is the part between the kernels and whoever holds codes: it lays out queries, cuts the work into threads (many
queries are shared out; few queries share out the codes) and puts the parts together. Results depend neither on threads
nor on how the work was cut. A code is named by its position; ids, files and what the codes mean are the business of
:mod:`hashret.search.index`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, check_width
from hashret.search.blocks import EVERY, Blocks, lane_words
from hashret.search.crew import crew, together
from hashret.search.hits import PAD_DISTANCE, PAD_ID
from hashret.search.kernels import POSITION_BITS, collector, measurer, order, tally, tally_marked, tally_shared
from hashret.search.lanes import TOGETHER

Judge = tuple[NDArray[np.uint64], NDArray[np.uint64]] | Callable[[slice], NDArray[np.bool_]]

__all__ = [
    "NO_KEY",
    "distances",
    "histogram",
    "joint_histogram",
    "nearest",
    "nearest_keys",
    "split_keys",
    "within",
]

NO_KEY = np.iinfo(np.int64).max  # pads keys, distance << 40 | position
_POSITION = (1 << POSITION_BITS) - 1

_QUERIES = 256  # a block of queries: their counts and buffers stay in the second-level cache
_TILE_BYTES = 16_384  # codes that stay in the first-level cache while the queries pass over them
_RANK_SHARE = 24  # k above N / 24: sorting all distances by counting is faster than collecting
_MEASURED = 8_192  # codes whose distances are written before they are counted
_NEAR_QUERIES, _NEAR_CODES = 16, 65_536  # queries x codes whose answers within a radius are held at once


def _spans(length: int, step: int) -> Iterator[tuple[int, int]]:
    """Starts and ends of parts of at most ``step`` that cover 0 ... length."""
    for start in range(0, length, step):
        yield start, min(start + step, length)


def _blocks(gallery: Codes | Blocks) -> Blocks:
    return Blocks.of(gallery) if isinstance(gallery, Codes) else gallery


def _used(gallery: Blocks) -> int:
    """Blocks that hold codes."""
    return -(-len(gallery) // gallery.row)


def nearest(
    queries: Codes, gallery: Codes | Blocks, k: int, *, alive: NDArray[np.uint64] = EVERY, threads: int | None = 1
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The k nearest codes of every query by (distance, position).

    Args:
        queries: Q codes.
        gallery: N codes of the same width.
        k: Answers a query, at least 1.
        alive: Bitset uint64 (ceil(N / 64),), least bit first: codes whose bit is 0 are passed over. Empty: none is.
        threads: How many to use at most; None for all cores.

    Returns:
        Distances int32 (Q, k) and positions int64 (Q, k), padded with (2147483647, -1) where k > N.

    Raises:
        WidthError: The two sides differ in width.

    Example:
        >>> from hashret.codes import binarize
        >>> found = nearest(binarize([[1, 1]]), binarize([[-1, -1], [1, 1], [1, -1]]), k=2)
        >>> [part.tolist() for part in found]
        [[[0, 1]], [[1, 2]]]
    """
    check_width(queries, gallery.bits, "queries")
    gallery, words = _blocks(gallery), lane_words(queries)
    if k * _RANK_SHARE > len(gallery) and k > 16:
        return _ranked(words, gallery, k, alive, threads)
    found = split_keys(nearest_keys(words, gallery, min(k, max(len(gallery), 1)), alive=alive, threads=threads))
    missing = ((0, 0), (0, k - found[0].shape[1]))
    if not missing[1][1]:
        return found
    return np.pad(found[0], missing, constant_values=PAD_DISTANCE), np.pad(found[1], missing, constant_values=PAD_ID)


def nearest_keys(
    words: NDArray[Any], gallery: Blocks, k: int, *, alive: NDArray[np.uint64] = EVERY, threads: int | None = 1,
    radius: int | None = None,
) -> NDArray[np.int64]:  # fmt: skip
    """Keys ``distance << 40 | position`` of the k nearest, int64 (Q, k), ascending, padded with :data:`NO_KEY`.

    ``radius`` leaves out what is known not to matter: codes farther than it.
    """
    count, blocks = len(words), _used(gallery)
    workers = crew(threads, count * len(gallery) * gallery.data.shape[1])
    groups = max(1, min(workers, count // TOGETHER))  # of queries
    height = min(_QUERIES, max(1, -(-count // (groups * TOGETHER))) * TOGETHER)
    parts = 1 if groups >= workers else -(-workers // groups)  # of codes
    width = max(1, -(-blocks // parts))
    spans = list(_spans(blocks, width))
    tasks = [
        partial(_best, words[slice(*rows)], gallery, span, k, alive, radius)
        for rows in _spans(count, height)
        for span in spans
    ]
    done = together(tasks, workers)
    if len(spans) > 1:
        grouped = [done[at : at + len(spans)] for at in range(0, len(done), len(spans))]
        done = [np.sort(np.concatenate(group, axis=1), axis=1)[:, :k] for group in grouped]
    return np.concatenate(done) if done else np.full((count, k), NO_KEY, np.int64)


def _best(
    words: NDArray[Any], gallery: Blocks, span: tuple[int, int], k: int, alive: NDArray[np.uint64], radius: int | None
) -> NDArray[np.int64]:
    """The k lowest keys of a few queries among some blocks, int64 (Q, k), sorted and padded."""
    keys, used = _collected(words, gallery, span, k, alive, radius)
    if keys.shape[1] < k:
        keys = np.pad(keys, ((0, 0), (0, k - keys.shape[1])))
    keys[np.arange(keys.shape[1]) >= used[:, None]] = NO_KEY
    return np.sort(keys, axis=1)[:, :k]


def _collected(
    words: NDArray[Any], gallery: Blocks, span: tuple[int, int], k: int, alive: NDArray[np.uint64], radius: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The k nearest keys and some others, (Q, most), in no order, of a few queries among some blocks; how many each."""
    count, bits = len(words), gallery.bits
    padded = count if count == 1 else -(-count // TOGETHER) * TOGETHER
    if padded > count:
        words = np.concatenate([words, np.zeros((padded - count, words.shape[1]), words.dtype)])
    block_bytes = gallery.data.strides[0] if len(gallery.data) else 1
    tile = max(1, min(_TILE_BYTES // block_bytes, span[1] - span[0]))
    limits = np.full(padded, bits + 1 if radius is None else min(radius, bits) + 1, np.int64)
    limits[count:] = 0  # finds nothing
    keys = np.empty((padded, 2 * k + 2 * tile * gallery.row), np.int64)
    closer, used = np.zeros(padded, np.int64), np.zeros(padded, np.int64)
    counts = np.zeros((padded, bits + 2), np.int64)
    collector(words.shape[1])(
        gallery.data, len(gallery), alive, span, tile, words, k, limits, closer, counts, keys, used
    )
    return keys[:count, : int(used[:count].max(initial=0))], used[:count]


def _ranked(
    words: NDArray[Any], gallery: Blocks, k: int, alive: NDArray[np.uint64], threads: int | None
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The k nearest where k is a good part of N: all distances of a query, sorted by counting."""
    far, positions = np.empty((len(words), k), np.int32), np.empty((len(words), k), np.int64)
    measure, blocks = measurer(words.shape[1]), _used(gallery)

    def rank(start: int, end: int) -> None:
        line = np.empty((1, blocks * gallery.row), np.min_scalar_type(gallery.bits))
        for query in range(start, end):
            measure(gallery.data, 0, blocks, words[query : query + 1], line)
            found = order(line[0, : len(gallery)], alive, gallery.bits + 1, far[query], positions[query])
            far[query, found:], positions[query, found:] = PAD_DISTANCE, PAD_ID

    workers = crew(threads, 16 * len(words) * len(gallery))
    height = max(1, -(-len(words) // (4 * workers)))
    together([partial(rank, *span) for span in _spans(len(words), height)], workers)
    return far, positions


def within(
    queries: Codes, gallery: Codes | Blocks, radius: int, *, alive: NDArray[np.uint64] = EVERY,
    threads: int | None = 1,
) -> list[NDArray[np.int64]]:  # fmt: skip
    """All codes at distance ``radius`` or less of every query.

    Args:
        queries: Q codes.
        gallery: N codes of the same width.
        radius: Largest distance that counts, inclusive.
        alive: As in :func:`nearest`.
        threads: As in :func:`nearest`.

    Returns:
        For each query the keys ``distance << 40 | position`` of its answers, int64 (w,), ascending.

    Raises:
        WidthError: The two sides differ in width.

    Example:
        >>> from hashret.codes import binarize
        >>> found = within(binarize([[1, 1], [-1, 1]]), binarize([[-1, -1], [1, 1]]), radius=0)
        >>> [keys.tolist() for keys in found]
        [[1], []]
    """
    check_width(queries, gallery.bits, "queries")
    gallery, words = _blocks(gallery), lane_words(queries)
    blocks, step = _used(gallery), _NEAR_CODES // gallery.row
    workers = crew(threads, len(words) * len(gallery) * words.shape[1])

    def find(rows: tuple[int, int], start: int, end: int) -> list[list[NDArray[np.int64]]]:
        found: list[list[NDArray[np.int64]]] = [[] for _ in range(*rows)]
        for low, high in _spans(end - start, step):
            span = (start + low, start + high)
            keys, used = _collected(words[slice(*rows)], gallery, span, step * gallery.row, alive, radius)
            for line, mine, count in zip(found, keys, used, strict=True):
                line.append(mine[:count].copy())
        return found

    rows = list(_spans(len(words), _NEAR_QUERIES))
    parts = list(_spans(blocks, max(step, -(-blocks // (workers if len(rows) < workers else 1)))))
    tasks = [partial(find, mine, *part) for mine in rows for part in parts]
    done = iter(together(tasks, workers))
    answers: list[NDArray[np.int64]] = []
    for mine in rows:
        columns = [next(done) for _ in parts]
        for query in range(mine[1] - mine[0]):
            pieces = [piece for column in columns for piece in column[query]]
            answers.append(np.sort(np.concatenate(pieces)) if pieces else np.empty(0, np.int64))
    return answers


def distances(queries: Codes, gallery: Codes | Blocks) -> NDArray[np.int32]:
    """Hamming distances of every query to every code.

    Args:
        queries: Q codes.
        gallery: N codes of the same width.

    Returns:
        int32 (Q, N), each 0 ... bits. The whole matrix: call it for a part of a large problem.

    Raises:
        WidthError: The two sides differ in width.

    Example:
        >>> from hashret.codes import binarize
        >>> distances(binarize([[1, 1, -1]]), binarize([[1, 1, -1], [1, -1, 1]])).tolist()
        [[0, 2]]
    """
    check_width(queries, gallery.bits, "queries")
    gallery, words = _blocks(gallery), lane_words(queries)
    blocks = _used(gallery)
    result = np.empty((len(words), blocks * gallery.row), np.int32)
    measurer(words.shape[1])(gallery.data, 0, blocks, words, result)
    return result[:, : len(gallery)]


def _measured(
    words: NDArray[Any], gallery: Blocks, threads: int | None, largest: int,
    count: Callable[[slice, int, NDArray[Any]], None],
) -> None:  # fmt: skip
    """Call ``count(rows, start, distances (q, n))`` for parts of queries x codes; parts of other rows run at once.

    The distances may be written over; they are of a type that holds ``largest``.
    """
    measure, blocks, step = measurer(words.shape[1]), _used(gallery), _MEASURED // gallery.row

    def part(rows: tuple[int, int]) -> None:
        mine = words[slice(*rows)]
        tile = np.empty((len(mine), _MEASURED), np.min_scalar_type(largest))
        for low, high in _spans(blocks, step):
            measure(gallery.data, low, high, mine, tile)
            start, end = low * gallery.row, min(high * gallery.row, len(gallery))
            count(slice(*rows), start, tile[:, : end - start])

    workers = crew(threads, 16 * len(words) * len(gallery))
    together([partial(part, rows) for rows in _spans(len(words), TOGETHER)], workers)


def histogram(
    queries: Codes, gallery: Codes | Blocks, *, alive: NDArray[np.uint64] = EVERY, threads: int | None = 1
) -> NDArray[np.int64]:
    """How many codes lie at each distance of every query.

    Args:
        queries: Q codes.
        gallery: N codes of the same width.
        alive: As in :func:`nearest`.
        threads: As in :func:`nearest`.

    Returns:
        int64 (Q, bits + 1); each row sums to N.

    Raises:
        WidthError: The two sides differ in width.

    Example:
        >>> from hashret.codes import binarize
        >>> histogram(binarize([[1, 1]]), binarize([[-1, -1], [1, 1], [1, -1], [1, 1]])).tolist()
        [[2, 1, 1]]
    """
    check_width(queries, gallery.bits, "queries")
    gallery, words = _blocks(gallery), lane_words(queries)
    counts = np.zeros((len(words), gallery.bits + 1), np.int64)
    _measured(words, gallery, threads, gallery.bits, lambda rows, start, far: tally(far, start, alive, counts[rows]))
    return counts


def joint_histogram(
    queries: Codes, gallery: Codes | Blocks, judge: Judge, *, alive: NDArray[np.uint64] = EVERY,
    threads: int | None = 1,
) -> NDArray[np.int64]:  # fmt: skip
    """How many irrelevant and how many relevant codes lie at each distance of every query.

    Args:
        queries: Q codes.
        gallery: N codes of the same width.
        judge: What is relevant: a pair of label bitsets, uint64 (Q, L) and (N, L), relevant where a query and a code
            share a bit; or a function of a slice of queries that gives their rows, bool (q, N).
        alive: As in :func:`nearest`.
        threads: As in :func:`nearest`.

    Returns:
        int64 (Q, 2, bits + 1): [q, 0] counts the irrelevant codes by distance, [q, 1] the relevant ones.

    Raises:
        WidthError: The two sides differ in width.

    Example:
        >>> from hashret.codes import binarize
        >>> labels = np.array([[1]], np.uint64), np.array([[1], [2], [3]], np.uint64)
        >>> joint_histogram(binarize([[1, 1]]), binarize([[-1, -1], [1, 1], [1, -1]]), labels).tolist()
        [[[1, 0, 0], [0, 1, 1]]]
    """
    check_width(queries, gallery.bits, "queries")
    gallery, words = _blocks(gallery), lane_words(queries)
    counts = np.zeros((len(words), 2, gallery.bits + 1), np.int64)
    planes = np.ascontiguousarray(judge[1].T) if isinstance(judge, tuple) else np.empty((0, 0), np.uint64)
    marks: dict[int, NDArray[np.bool_]] = {}

    def count(rows: slice, start: int, far: NDArray[Any]) -> None:
        end = start + far.shape[1]
        if isinstance(judge, tuple):
            tally_shared(far, start, alive, judge[0][rows], planes, counts[rows])
            return
        if start == 0:
            marks[rows.start] = judge(rows)
        tally_marked(far, start, alive, marks[rows.start][:, start:end], counts[rows])
        if end == len(gallery):
            del marks[rows.start]

    _measured(words, gallery, threads, 2 * gallery.bits + 1, count)
    return counts


def split_keys(keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Take keys apart into distances int32 and positions int64; :data:`NO_KEY` becomes (2147483647, -1)."""
    if not keys.size or keys.max() < NO_KEY:
        return (keys >> POSITION_BITS).astype(np.int32), keys & _POSITION
    pad = keys == NO_KEY
    far = np.where(pad, PAD_DISTANCE, keys >> POSITION_BITS).astype(np.int32)
    return far, np.where(pad, PAD_ID, keys & _POSITION)

"""The exhaustive scan: every query against every code, by XOR and popcount.

It is exact, needs nothing but NumPy, and works in tiles, so that its memory does not grow with queries x gallery. A row
of the gallery is named by its position; ids, files and what the codes mean are the business of
:mod:`hashret.search.index`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, check_width
from hashret.search.hits import PAD_DISTANCE, PAD_ID

__all__ = ["distances", "histogram", "nearest", "within"]

_TILE_PAIRS = 1 << 22  # (query, code) pairs whose distances are held at once
_TILE_COLUMNS = 1 << 16
_XOR_PAIRS = 1 << 17  # pairs XORed at once: 1 MiB of words stays in the cache

# A key holds (distance, position) in one integer, so that sorting keys sorts by distance and then by position.
_POSITION_BITS = 40
_POSITION = (1 << _POSITION_BITS) - 1
_PAD_KEY = np.iinfo(np.int64).max


def distances(queries: Codes, gallery: Codes) -> NDArray[np.int32]:
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
    ours, theirs = queries.words(), np.ascontiguousarray(gallery.words().T)
    result = np.zeros((len(queries), len(gallery)), np.int32)
    for rows in _spans(len(queries), max(1, _XOR_PAIRS // max(len(gallery), 1))):
        for column, plane in zip(ours[rows].T, theirs, strict=True):
            result[rows] += np.bitwise_count(column[:, None] ^ plane)
    return result


def nearest(queries: Codes, gallery: Codes, k: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The k nearest codes of every query by (distance, position).

    Args:
        queries: Q codes.
        gallery: N codes of the same width.
        k: Answers a query, at least 1.

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
    keep = min(k, len(gallery))
    keys = np.full((len(queries), k), _PAD_KEY, np.int64)
    check_width(queries, gallery.bits, "queries")
    for rows in _spans(len(queries), max(1, _TILE_PAIRS // max(min(_TILE_COLUMNS, len(gallery)), keep, 1))):
        best = np.empty((len(queries[rows]), 0), np.int64)
        for columns in _spans(len(gallery), _TILE_COLUMNS):
            tile = distances(queries[rows], gallery[columns]).astype(np.int64) << _POSITION_BITS
            best = np.concatenate([best, tile | np.arange(columns.start, columns.stop)], axis=1)
            if best.shape[1] > keep:
                best = np.partition(best, keep - 1, axis=1)[:, :keep]
        keys[rows, :keep] = np.sort(best, axis=1)
    return _split(keys)


def within(queries: Codes, gallery: Codes, radius: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """All codes at distance ``radius`` or less of every query, by (distance, position).

    Args:
        queries: Q codes.
        gallery: N codes of the same width.
        radius: Largest distance that counts, inclusive.

    Returns:
        Distances int32 (Q, w) and positions int64 (Q, w); w is the largest number of answers any query has, and shorter
        rows are padded with (2147483647, -1).

    Raises:
        WidthError: The two sides differ in width.

    Example:
        >>> from hashret.codes import binarize
        >>> found = within(binarize([[1, 1], [-1, 1]]), binarize([[-1, -1], [1, 1]]), radius=0)
        >>> [part.tolist() for part in found]
        [[[0], [2147483647]], [[1], [-1]]]
    """
    check_width(queries, gallery.bits, "queries")
    rows_found, keys_found = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for rows, columns, tile in _tiles(queries, gallery):
        row, column = np.nonzero(tile <= radius)
        rows_found.append(row + rows.start)
        keys_found.append(tile[row, column].astype(np.int64) << _POSITION_BITS | (column + columns.start))
    row, key = np.concatenate(rows_found), np.concatenate(keys_found)
    order = np.lexsort((key, row))
    row, key = row[order], key[order]
    counts = np.bincount(row, minlength=len(queries))
    keys = np.full((len(queries), int(counts.max(initial=0))), _PAD_KEY, np.int64)
    keys[row, np.arange(len(row)) - (np.cumsum(counts) - counts)[row]] = key
    return _split(keys)


def histogram(queries: Codes, gallery: Codes) -> NDArray[np.int64]:
    """How many codes lie at each distance of every query.

    Args:
        queries: Q codes.
        gallery: N codes of the same width.

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
    bins = gallery.bits + 1
    counts = np.zeros((len(queries), bins), np.int64)
    for rows, _, tile in _tiles(queries, gallery):
        places = tile + bins * np.arange(len(tile))[:, None]
        counts[rows] += np.bincount(places.ravel(), minlength=bins * len(tile)).reshape(len(tile), bins)
    return counts


def _split(keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Take keys apart into distances and positions."""
    pad = keys == _PAD_KEY
    far = np.where(pad, PAD_DISTANCE, keys >> _POSITION_BITS).astype(np.int32)
    return far, np.where(pad, PAD_ID, keys & _POSITION)


def _spans(length: int, step: int) -> Iterator[slice]:
    """Slices of at most ``step`` that cover 0 ... length."""
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def _tiles(queries: Codes, gallery: Codes) -> Iterator[tuple[slice, slice, NDArray[np.int32]]]:
    """Rows, columns and distances of tiles that together cover queries x gallery."""
    height = max(1, _TILE_PAIRS // max(1, min(_TILE_COLUMNS, len(gallery))))
    for rows in _spans(len(queries), height):
        for columns in _spans(len(gallery), _TILE_COLUMNS):
            yield rows, columns, distances(queries[rows], gallery[columns])

"""Rows of a result as Hits: (query, distance, id) in this order, a batch of queries a statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.search import Hits
from hashret.search.hits import PAD_DISTANCE, PAD_ID

__all__ = ["TOGETHER", "batches", "hits_of", "stacked"]

TOGETHER = 64  # queries of a statement


def batches(queries: Codes) -> Iterator[Codes]:
    """Queries, as many at a time as a statement takes."""
    for start in range(0, len(queries), TOGETHER):
        yield queries[start : start + TOGETHER]


def hits_of(columns: Sequence[NDArray[Any]], queries: int, k: int | None = None) -> Hits:
    """Hits of one statement.

    Args:
        columns: Query numbers ascending, distances and ids.
        queries: How many there are.
        k: Width of the answer; None for the longest answer.

    Raises:
        InputError: Rows that are not by (distance, id).
    """
    query, distances, ids = columns
    counts = np.bincount(query, minlength=queries)
    width = int(counts.max(initial=0)) if k is None else k
    hits = np.full((queries, width), PAD_DISTANCE, np.int32), np.full((queries, width), PAD_ID, np.int64)
    place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    hits[0][query, place], hits[1][query, place] = distances, ids
    return Hits(*hits)


def stacked(parts: Sequence[Hits], width: int) -> Hits:
    """Hits of all queries, each part padded to ``width``."""
    if not parts:
        return Hits(np.empty((0, width), np.int32), np.empty((0, width), np.int64))
    return Hits(
        np.concatenate([_wide(part.distances, width, PAD_DISTANCE) for part in parts]),
        np.concatenate([_wide(part.ids, width, PAD_ID) for part in parts]),
    )


def _wide(values: NDArray[Any], width: int, pad: np.integer[Any]) -> NDArray[Any]:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=pad)

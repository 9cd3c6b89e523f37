"""Answers of one segment: which of its codes are asked, and by which algorithm.

The multi-index tables answer by looking into a few buckets where codes lie in clusters, and give a query up when that
would cost more than a part of a scan; what they give up is scanned. Both find the same, ties included, so that the
choice is one of time only. A search among few codes copies these out and scans them alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.relevance import Relevance, SharedLabels
from hashret.search import scan
from hashret.search.blocks import Blocks
from hashret.search.crew import crew
from hashret.search.hits import PAD_DISTANCE, PAD_ID, Hits, merge
from hashret.search.multi_index import MultiIndex
from hashret.search.segment import EVERY, Segment, bitset

__all__ = ["Selection", "check_judged", "histogram", "joint_histogram", "nearest", "rows_of", "rows_of_all", "within"]

_FEW = 16  # fewer than 1 / 16 of the codes are asked: copy them out
_FEWEST = 1 << 18  # codes below which a scan is over before the tables have been looked into
_SHARE = 0.2  # of the cost of a scan that the tables may spend on a query before it is scanned
_BATCH = 0.15  # cost of scanning for one of many queries, relative to one alone
_PROBES = 16  # queries that show whether the tables pay for the others, which may then cost as much as a scan each

Answers = tuple[NDArray[np.int32], NDArray[np.int64]]


class Selection:
    """The codes of a segment that are asked: all that were not removed, or those of them at some positions.

    Args:
        segment: The segment.
        positions: Ascending positions of codes that count, int64 (p,); None for all.
    """

    def __init__(self, segment: Segment, positions: NDArray[np.int64] | None = None) -> None:
        """Make the bitset, or copy the codes out where they are few."""
        self.segment, self.blocks, self.alive = segment, segment.blocks, segment.alive
        self.copied: NDArray[np.int64] | None = None
        self.count = len(segment) if positions is None else len(positions)
        if positions is None:
            return
        if self.count * _FEW < len(segment.blocks):
            self.blocks, self.alive, self.copied = Blocks.of(segment.blocks.take(positions)), EVERY, positions
        elif self.count < len(segment):
            marks = np.zeros(len(segment.blocks), np.bool_)
            marks[positions] = True
            self.alive = bitset(marks)

    def name(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ids of positions in ``blocks``; -1 stays -1."""
        if self.copied is None:
            return self.segment.name(positions)
        if not len(self.copied):
            return positions
        return self.segment.name(np.where(positions < 0, positions, self.copied[positions]))


def nearest(selection: Selection, queries: Codes, k: int, algorithm: str, threads: int | None) -> Answers:
    """Distances int32 (Q, k) and ids int64 (Q, k) of the k nearest, by (distance, id), padded."""
    tables = selection.segment.tables
    small = algorithm == "auto" and len(selection.blocks) < _FEWEST
    if algorithm == "scan" or small or tables is None or selection.copied is not None or not len(queries):
        far, places = scan.nearest(queries, selection.blocks, k, alive=selection.alive, threads=threads)
        return far, selection.name(places)
    words = queries.words()
    first = len(words) if algorithm == "multi-index" else _PROBES
    keys, done = _look_up(selection, tables, words[:first], k, _SHARE if len(words) <= first else _BATCH, threads)
    if len(words) > first:
        if 2 * np.count_nonzero(done) > first:
            others = _look_up(selection, tables, words[first:], k, _BATCH, threads)
            keys, done = np.concatenate([keys, others[0]]), np.concatenate([done, others[1]])
        else:
            keys = np.concatenate([keys, np.zeros((len(words) - first, k), np.int64)])
            done = np.concatenate([done, np.zeros(len(words) - first, np.bool_)])
    far, places = scan.split_keys(keys)
    if not done.all():
        left = np.flatnonzero(~done)
        far[left], places[left] = scan.nearest(
            queries[left], selection.blocks, k, alive=selection.alive, threads=threads
        )
    return far, selection.name(places)


def _look_up(
    selection: Selection, tables: MultiIndex, words: NDArray[np.uint64], k: int, share: float, threads: int | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Keys (Q, k) from the tables, and which queries were done at the cost of a share of a scan each."""
    return tables.nearest(
        words, k, budget=share * len(selection.blocks), alive=selection.alive if selection.alive.size else None,
        threads=1 if len(words) < _PROBES else crew(threads, len(words) << 17),
    )  # fmt: skip


def within(
    selection: Selection, queries: Codes, radius: int, algorithm: str, threads: int | None
) -> list[tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """For each query distances int32 (w,) and ids int64 (w,) of all codes within a radius, by (distance, id)."""
    tables = selection.segment.tables
    left = np.arange(len(queries))
    found: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(queries)
    if algorithm != "scan" and tables is not None and selection.copied is None and len(queries):
        keys, starts, done = tables.within(
            queries.words(), radius, budget=_SHARE * len(selection.blocks),
            alive=selection.alive if selection.alive.size else None, threads=crew(threads, len(queries) << 17),
        )  # fmt: skip
        for query in np.flatnonzero(done):
            found[query] = keys[starts[query] : starts[query + 1]]
        left = np.flatnonzero(~done)
    if len(left):
        scanned = scan.within(queries[left], selection.blocks, radius, alive=selection.alive, threads=threads)
        for query, mine in zip(left, scanned, strict=True):
            found[query] = mine
    split = [scan.split_keys(mine) for mine in found]
    return [(far, selection.name(places)) for far, places in split]


def histogram(selection: Selection, queries: Codes, threads: int | None) -> NDArray[np.int64]:
    """Codes at each distance, int64 (Q, bits + 1)."""
    return scan.histogram(queries, selection.blocks, alive=selection.alive, threads=threads)


def joint_histogram(
    selection: Selection, queries: Codes, threads: int | None, relevance: Relevance
) -> NDArray[np.int64]:
    """Irrelevant and relevant codes at each distance, int64 (Q, 2, bits + 1); relevance judges ids."""
    ids = selection.name(np.arange(len(selection.blocks)))
    ids = np.minimum(ids, relevance.gallery - 1)  # removed items may be unknown to it
    if isinstance(relevance, SharedLabels):
        ours, theirs = relevance.words()
        judge: scan.Judge = ours, np.ascontiguousarray(theirs[ids])
    else:

        def judge(rows: slice) -> NDArray[np.bool_]:
            return np.ascontiguousarray(relevance.matrix(np.arange(relevance.queries)[rows])[:, ids])

    return scan.joint_histogram(queries, selection.blocks, judge, alive=selection.alive, threads=threads)


def rows_of(answers: list[tuple[NDArray[np.int32], NDArray[np.int64]]]) -> Answers:
    """Answers of different number as one padded array each, as wide as the longest."""
    width = max((len(ids) for _, ids in answers), default=0)
    far = np.full((len(answers), width), PAD_DISTANCE, np.int32)
    ids = np.full((len(answers), width), PAD_ID, np.int64)
    for row, (mine, names) in enumerate(answers):
        far[row, : len(names)], ids[row, : len(names)] = mine, names
    return far, ids


def rows_of_all(parts: list[list[Answers]], queries: int) -> Hits:
    """What :func:`within` found in each segment as one, padded to the most answers a query has."""
    padded = [Hits.checked(*rows_of(part)) for part in parts]
    if len(parts) == 1:
        return padded[0]
    width = max((sum(len(part[query][1]) for part in parts) for query in range(queries)), default=0)
    return merge([*padded, Hits.none(queries)], width) if width else Hits.none(queries)


def check_judged(relevance: Relevance, queries: int, largest: int) -> None:
    """Refuse relevance of other queries, or of a gallery that has not all ids up to ``largest``.

    Raises:
        InputError: It is.
    """
    if relevance.queries != queries or relevance.gallery <= largest:
        raise InputError(
            "relevance", expected=f"{queries} queries and a gallery of at least {largest + 1} items",
            got=f"{relevance.queries} queries and {relevance.gallery} items",
            remedy="Judge the queries that are searched, and items by their ids in the index.",
        )  # fmt: skip

"""What can be evaluated: codes on both sides, vectors on both sides, or hits, each read as judged tie groups.

Each class answers one question, :meth:`Ranking.read`: the judged tie groups of some of the queries. They differ in what
they know: codes and vectors rank the whole gallery, hits (:mod:`hashret.evaluation.listed`) may end before it does.
Codes are never sorted: the engine counts right and wrong answers at each distance, or, where ids break ties, the places
of the right ones. Metrics are no concern of this file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, check_finite, check_width
from hashret.errors import InputError, WidthError
from hashret.evaluation.places import FEW, gains_at, right_groups, right_places
from hashret.evaluation.ties import Groups
from hashret.relevance import Relevance, SharedLabels
from hashret.search.blocks import Blocks, lane_words
from hashret.search.crew import crew, together
from hashret.search.hits import PAD_DISTANCE
from hashret.search.kernels import measurer
from hashret.search.scan import joint_histogram

__all__ = ["CandidatesRanking", "CodesRanking", "Judged", "KeyedRanking", "Ranking", "VectorsRanking", "over_blocks"]

Ids = NDArray[np.int64]
Result = TypeVar("Result")

_ITEMS = 1 << 20  # queries x items that are sorted at once; the same whatever the number of threads
_COUNTED = 1 << 23  # the same for those that are only counted
_BINS = 1 << 20  # queries x distances that are counted at once


class Judged(NamedTuple):
    """What a metric sees of q rankings.

    Attributes:
        groups: Their tie groups.
        totals: Right answers of each query, ranked or not, int64 (q,).
        ideal: Gains of these, the largest first, float64 (q, m); None where each gains 1 or gains were not asked for.
    """

    groups: Groups
    totals: NDArray[np.int64]
    ideal: NDArray[np.float64] | None = None


class Ranking(ABC):
    """Q rankings of one gallery.

    Attributes:
        queries: Q.
        width: Items that reading one query touches.
    """

    queries: int
    width: int

    @abstractmethod
    def read(self, rows: Ids, relevance: Relevance, ties: str, graded: bool) -> Judged:
        """Tie groups of these queries as a policy of TIES sees them, with gains if ``graded``."""

    def known(self, ties: str) -> int | None:
        """First places whose order every ranking knows under a policy; None if it knows all."""
        return None

    def known_radius(self) -> int | None:
        """Largest distance up to which every ranking knows all items; None if it knows all, -1 if there is none."""
        return None

    def height(self, ties: str, graded: bool) -> int:
        """Queries to read at once, so that memory is bounded."""
        return max(1, _ITEMS // max(self.width, 1))


def over_blocks(
    opened: Ranking, height: int, task: Callable[[Ids], Result], threads: int | None = None
) -> list[Result]:
    """Call ``task`` with the numbers of ``height`` queries at a time, in threads; results in the order of the queries.

    ``threads`` is how many to use at most, None for all cores. Results do not depend on it.
    """
    starts = range(0, opened.queries, height)
    parts = [np.arange(start, min(start + height, opened.queries)) for start in starts]
    workers = min(crew(threads, 8 * opened.queries * opened.width), max(len(parts), 1))
    return together([partial(task, rows) for rows in parts], workers)


class KeyedRanking(Ranking):
    """The whole gallery by a number for each item, smallest first; an item's position is its id."""

    @abstractmethod
    def keys(self, rows: Ids) -> NDArray[Any]:
        """Distances, or negative scores, of all items: unsigned integers or floats (q, N)."""

    def read(self, rows: Ids, relevance: Relevance, ties: str, graded: bool) -> Judged:
        """Count the items before the right answers where there are few of them; else sort the keys."""
        keys = self.keys(rows)
        if graded:
            gains = relevance.gains(rows)
            return _sorted(keys, gains > 0, ties, gains)
        judged = relevance.matrix(rows)
        totals = np.count_nonzero(judged, axis=1).astype(np.int64)
        most = int(totals.max(initial=0))
        if most <= FEW:
            return Judged(right_groups(keys, judged, most, ties == "by-id").ordered(ties), totals)
        return _sorted(keys, judged, ties, None)


class CodesRanking(KeyedRanking):
    """Every gallery code, by Hamming distance; its position is its id.

    Args:
        queries: Q codes.
        gallery: N codes.

    Raises:
        WidthError: The two sides differ in width.
    """

    def __init__(self, queries: Codes, gallery: Codes) -> None:
        """Check both sides and lay out the gallery as the engine reads it."""
        check_width(queries, gallery.bits, "queries")
        self.codes, self.blocks = queries, Blocks.of(gallery)
        self.queries, self.width = len(queries), len(gallery)

    def height(self, ties: str, graded: bool) -> int:
        """More queries at once where distances are only counted."""
        if graded or ties == "by-id":
            return super().height(ties, graded)
        return max(4, min(max(64, _COUNTED // max(self.width, 1)), _BINS // (self.blocks.bits + 1)))

    def keys(self, rows: Ids) -> NDArray[Any]:
        """Distances, uint8 or uint16 (q, N)."""
        words, used = lane_words(self.codes[rows]), -(-self.width // self.blocks.row)
        far = np.empty((len(rows), used * self.blocks.row), np.min_scalar_type(self.blocks.bits))
        measurer(words.shape[1])(self.blocks.data, 0, used, words, far)
        return far[:, : self.width]

    def read(self, rows: Ids, relevance: Relevance, ties: str, graded: bool) -> Judged:
        """Count; sort only where gains break ties."""
        if graded and ties == "expected":
            gains = relevance.gains(rows)
            groups = gains_at(self.keys(rows), gains, self.blocks.bits + 1)
            return Judged(groups, groups.relevant.sum(1), -np.sort(-gains, axis=1))
        if graded:
            return super().read(rows, relevance, ties, graded)
        if ties == "by-id":
            places, counts = right_places(self.keys(rows), relevance.matrix(rows), self.blocks.bits + 1)
            return Judged(Groups.of_ranks(places, counts), counts)
        if isinstance(relevance, SharedLabels):
            ours, theirs = relevance.words()
            counts = joint_histogram(self.codes[rows], self.blocks, (ours[rows], theirs))
        else:
            counts = joint_histogram(self.codes[rows], self.blocks, lambda part: relevance.matrix(rows[part]))
        right = counts[:, 1]
        return Judged(Groups.of_counts(counts.sum(1), right).ordered(ties), right.sum(1))


class VectorsRanking(KeyedRanking):
    """Every gallery vector, by cosine similarity; its position is its id. Equal scores tie; equal vectors always do.

    Args:
        queries: Real numbers (Q, D).
        gallery: Real numbers (N, D).

    Raises:
        InputError: No real numbers, not two-dimensional, or a row of zeros, which has no direction.
        WidthError: The two sides differ in width.
        NonFiniteError: NaN or infinity.
    """

    def __init__(self, queries: NDArray[Any], gallery: NDArray[Any]) -> None:
        """Scale both sides to length 1."""
        self.query_vectors, every = _unit(queries, "query vectors"), _unit(gallery, "gallery vectors")
        if self.query_vectors.shape[1] != every.shape[1]:
            raise WidthError(
                "query vectors", expected=f"{every.shape[1]} columns as the gallery",
                got=str(self.query_vectors.shape[1]), remedy="Embed both sides with the same model.",
            )  # fmt: skip
        # A matrix product rounds equal columns differently, depending on where they stand: score each vector once.
        numbers: dict[bytes, int] = {}
        self.copies = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in every], np.int64)
        self.gallery_vectors = every[np.unique(self.copies, return_index=True)[1]]
        self.queries, self.width = len(self.query_vectors), len(every)

    def known_radius(self) -> int | None:
        """Scores are no Hamming distances."""
        return -1

    def keys(self, rows: Ids) -> NDArray[Any]:
        """Negative similarities, float32 or float64 (q, N)."""
        scores: NDArray[Any] = -self.query_vectors[rows] @ self.gallery_vectors.T
        return scores[:, self.copies] if len(self.gallery_vectors) < self.width else scores


class CandidatesRanking(Ranking):
    """The part of a ranking that is among the candidates of each query.

    Args:
        whole: Codes or vectors.
        candidates: Ids, ascending, int64 (Q, c); -1 fills up behind them.
    """

    def __init__(self, whole: KeyedRanking, candidates: Ids) -> None:
        """Keep both."""
        self.whole, self.candidates = whole, candidates
        self.queries, self.width = whole.queries, max(whole.width, candidates.shape[1])

    def known_radius(self) -> int | None:
        """As the whole ranking."""
        return self.whole.known_radius()

    def read(self, rows: Ids, relevance: Relevance, ties: str, graded: bool) -> Judged:
        """Sort the keys of the candidates; right answers that are none do not count."""
        ids = self.candidates[rows]
        keys = self.whole.keys(rows)
        beyond = np.inf if keys.dtype.kind == "f" else PAD_DISTANCE
        wide = keys if keys.dtype.kind == "f" else keys.astype(np.int32)
        held = np.take_along_axis(wide, np.maximum(ids, 0), 1) if self.whole.width else np.zeros(ids.shape)
        gains = relevance.judge_gains(rows, ids) if graded else None
        judged = relevance.judge(rows, ids) if gains is None else gains > 0
        return _sorted(np.where(ids < 0, beyond, held), judged, ties, gains)


def _sorted(keys: NDArray[Any], judged: NDArray[np.bool_], ties: str, gains: NDArray[np.float64] | None) -> Judged:
    """Items in ascending order of keys (q, n); equal ones in the order they come in where ids break ties."""
    if keys.dtype.kind == "f":
        order = np.argsort(keys, axis=1)
        if ties == "by-id":
            ranked = np.take_along_axis(keys, order, 1)
            for row in np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).any(1)):  # few: a stable sort is slow
                order[row] = np.argsort(keys[row], kind="stable")
    else:
        order = np.argsort(keys, axis=1, kind="stable")  # by radix for 8 and 16 bits
    right = np.take_along_axis(judged, order, 1)
    kept = None if gains is None else np.take_along_axis(gains, order, 1)
    ideal = None if gains is None else -np.sort(-gains, axis=1)
    groups = Groups.of_items(np.take_along_axis(keys, order, 1), right, ties, kept)
    return Judged(groups, np.count_nonzero(judged, axis=1).astype(np.int64), ideal)


def _unit(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Rows scaled to length 1, float32 or float64."""
    vectors: NDArray[Any] = np.asarray(values)
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(
            name, expected="real numbers (items, dimensions)", got=f"{vectors.dtype} {vectors.shape}",
            remedy="Wrap packed bits as Codes(packed, bits); convert whole numbers with .astype(np.float32).",
        )  # fmt: skip
    check_finite(vectors, name)
    vectors = vectors.astype(np.float32 if vectors.dtype.itemsize <= 4 else np.float64, copy=False)
    largest = np.abs(vectors).max(1, initial=0, keepdims=True)
    if not largest.all():
        row = int(np.flatnonzero(largest == 0)[0])
        raise InputError(
            name, expected="vectors with a direction", got=f"only zeros in row {row} ({(largest == 0).sum()} in all)",
            remedy="Leave these rows out, or find what made them.",
        )  # fmt: skip
    scaled = vectors / largest  # so that squares neither overflow nor vanish
    unit: NDArray[Any] = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return unit + 0.0  # -0 becomes 0, so that equal rows have equal bytes

"""What can be evaluated: hits, codes on both sides, or vectors on both sides, each read as tie groups.

Each class answers one question, :meth:`Ranking.read`: the judged tie groups of some of the queries. They differ in what
they know: codes and vectors rank the whole gallery, hits may end before it does. Metrics are no concern of theirs.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, check_finite, check_width
from hashret.errors import InputError, WidthError
from hashret.evaluation.ties import Groups
from hashret.relevance import Relevance
from hashret.search.hits import PAD_ID, Hits
from hashret.search.scan import distances

__all__ = ["CodesRanking", "HitsRanking", "Ranking", "VectorsRanking", "open_ranking"]

Totals = NDArray[np.int64]


class Ranking(Protocol):
    """Q rankings of one gallery.

    Attributes:
        queries: Q.
        width: Items that reading one query touches, which bounds the memory it takes.
    """

    queries: int
    width: int

    def known(self, ties: str) -> int | None:
        """First places whose order every ranking knows under a policy; None if it knows all."""

    def read(self, rows: NDArray[np.int64], relevance: Relevance, ties: str) -> tuple[Groups, Totals]:
        """Tie groups of these queries, ordered by a policy of TIES, and their numbers of right answers (q,)."""


class HitsRanking:
    """Answers of a search. After padding nothing is found any more; a row without padding may go on unseen.

    Args:
        hits: The answers (Q, k).
        gallery: N; a row of N answers is whole.

    Raises:
        InputError: A row lists an id twice.
    """

    def __init__(self, hits: Hits, gallery: int) -> None:
        """Check and keep the hits."""
        self.hits, self.gallery = hits, gallery
        self.queries, self.width = len(hits), max(hits.k, gallery)

    def known(self, ties: str) -> int | None:
        """The list's length, less its last tie group where a policy must know all of a group."""
        far, ids = self.hits
        if not 0 < self.hits.k < self.gallery:  # no list at all is a search that found nothing
            return None
        cut = ids[:, -1] != PAD_ID
        if not cut.any():
            return None
        if ties == "by-id":
            return self.hits.k
        return int((far[cut] < far[cut, -1:]).sum(1).min())

    def read(self, rows: NDArray[np.int64], relevance: Relevance, ties: str) -> tuple[Groups, Totals]:
        """Judge the listed ids; what is not listed counts in the totals only."""
        far, ids = self.hits.distances[rows], self.hits.ids[rows]
        ordered = np.sort(ids, axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != PAD_ID)
        if twice.any():
            row, column = np.argwhere(twice)[0]
            raise InputError(
                "hits", expected="each id once a row", got=f"id {ordered[row, column]} twice for query {rows[row]}",
                remedy="Merge shards that share no id.",
            )  # fmt: skip
        relevant = relevance.judge(rows, ids)
        groups = Groups.of_order(relevant) if ties == "by-id" else Groups.of_sorted(far, relevant).ordered(ties)
        return groups, relevance.matrix(rows).sum(1, dtype=np.int64)


class CodesRanking:
    """Every gallery code, by Hamming distance; its position is its id.

    Args:
        queries: Q codes.
        gallery: N codes.

    Raises:
        WidthError: The two sides differ in width.
    """

    def __init__(self, queries: Codes, gallery: Codes) -> None:
        """Check and keep both sides."""
        check_width(queries, gallery.bits, "queries")
        self.query_codes, self.gallery_codes = queries, gallery
        self.queries, self.width = len(queries), len(gallery)

    def known(self, ties: str) -> int | None:
        """All."""
        return None

    def read(self, rows: NDArray[np.int64], relevance: Relevance, ties: str) -> tuple[Groups, Totals]:
        """Count the distances, or sort them where ids break ties."""
        far, relevant = distances(self.query_codes[rows], self.gallery_codes), relevance.matrix(rows)
        totals = relevant.sum(1, dtype=np.int64)
        bits = self.gallery_codes.bits
        if ties != "by-id":
            return Groups.of_distances(far, relevant, bits + 1).ordered(ties), totals
        narrow = far.astype(np.min_scalar_type(bits))  # NumPy sorts 8 and 16 bit integers by radix
        order = np.argsort(narrow, axis=1, kind="stable")
        return Groups.of_order(np.take_along_axis(relevant, order, 1)), totals


class VectorsRanking:
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

    def known(self, ties: str) -> int | None:
        """All."""
        return None

    def read(self, rows: NDArray[np.int64], relevance: Relevance, ties: str) -> tuple[Groups, Totals]:
        """Sort the scores."""
        scores = self.query_vectors[rows] @ self.gallery_vectors.T
        if len(self.gallery_vectors) < self.width:
            scores = scores[:, self.copies]
        far, relevant = -scores, relevance.matrix(rows)
        order = np.argsort(far, axis=1)
        ranked = np.take_along_axis(far, order, 1)
        if ties == "by-id":
            for row in np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).any(1)):  # few: a stable sort is slow
                order[row] = np.argsort(far[row], kind="stable")
        judged, totals = np.take_along_axis(relevant, order, 1), relevant.sum(1, dtype=np.int64)
        return (Groups.of_order(judged) if ties == "by-id" else Groups.of_sorted(ranked, judged).ordered(ties)), totals


def open_ranking(ranking: object, relevance: Relevance) -> Ranking:
    """The ranking that hits, a pair of codes or a pair of vector arrays stand for.

    Raises:
        InputError: None of these, or of other sizes than ``relevance``.
    """
    opened: Ranking
    if isinstance(ranking, Hits):
        opened, size = HitsRanking(ranking, relevance.gallery), relevance.gallery
    elif isinstance(ranking, tuple) and len(ranking) == 2 and all(isinstance(side, Codes) for side in ranking):
        opened, size = CodesRanking(*ranking), len(ranking[1])
    elif isinstance(ranking, tuple) and len(ranking) == 2 and not any(isinstance(side, Codes) for side in ranking):
        opened, size = VectorsRanking(*ranking), len(ranking[1])
    else:
        got = f"({', '.join(type(side).__name__ for side in ranking)})" if isinstance(ranking, tuple) else ""
        raise InputError(
            "ranking", expected="Hits, or a tuple of two Codes or two float arrays (queries, gallery)",
            got=got or type(ranking).__name__, remedy="binarize(x) makes Codes of relaxed codes.",
        )  # fmt: skip
    if (opened.queries, size) != (relevance.queries, relevance.gallery):
        raise InputError(
            "ranking", expected=f"{relevance.queries} queries and {relevance.gallery} gallery items (relevance)",
            got=f"{opened.queries} and {size}", remedy="Rank the items the relevance was made for.",
        )  # fmt: skip
    return opened


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

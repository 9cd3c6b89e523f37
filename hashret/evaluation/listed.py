"""Hits as a ranking: what a search listed, and how far a list that was cut can be trusted.

After padding nothing is found any more: a row that ends in padding is whole, and what it leaves out is a miss. A row
without padding that does not list the whole gallery goes on unseen; it is read only as far as it is known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.evaluation.rankings import Judged, Ranking
from hashret.evaluation.ties import Groups
from hashret.relevance import Relevance
from hashret.search.hits import PAD_DISTANCE, PAD_ID, Hits

__all__ = ["HitsRanking"]

Ids = NDArray[np.int64]


class HitsRanking(Ranking):
    """Answers of a search.

    Args:
        hits: The answers (Q, k).
        gallery: N; a row of N answers is whole.
        totals: Right answers of each query, listed or not, int64 (Q,).
        candidates: Ids that each query may be answered with, ascending, int64 (Q, c), -1 fills up; None for all. Other
            answers are passed over, and a row that lists all of them is whole.

    Raises:
        InputError: A row lists an id twice.
    """

    def __init__(self, hits: Hits, gallery: int, totals: Ids, candidates: Ids | None = None) -> None:
        """Check and keep the hits."""
        far, ids = hits
        ordered = np.sort(ids, axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != PAD_ID)
        if twice.any():
            row, column = np.argwhere(twice)[0]
            raise InputError(
                "hits", expected="each id once a row", got=f"id {ordered[row, column]} twice for query {row}",
                remedy="Merge shards that share no id.",
            )  # fmt: skip
        whole = np.ones(len(ids), np.bool_)
        if 0 < hits.k < gallery:  # no list at all is a search that found nothing
            whole = ids[:, -1] == PAD_ID
        self.edges = np.where(whole, PAD_DISTANCE, far[:, -1] if hits.k else 0)  # from this distance on it is unknown
        if candidates is not None:
            keep = _among(ids, candidates)
            self.edges[keep.sum(1) == (candidates >= 0).sum(1)] = PAD_DISTANCE
            order = np.argsort(~keep, axis=1, kind="stable")
            far = np.take_along_axis(np.where(keep, far, PAD_DISTANCE), order, 1)
            ids = np.take_along_axis(np.where(keep, ids, PAD_ID), order, 1)
        self.far, self.ids, self.totals, self.candidates, self.gallery = far, ids, totals, candidates, gallery
        self.queries, self.width = len(hits), hits.k

    def known(self, ties: str) -> int | None:
        """The list's length, less its last tie group where a policy must know all of a group."""
        cut = self.edges < PAD_DISTANCE
        if not cut.any():
            return None
        sure = self.ids[cut] >= 0 if ties == "by-id" else self.far[cut] < self.edges[cut, None]
        return int(sure.sum(1).min())

    def known_radius(self) -> int | None:
        """Up to the distance before the last one of a list that was cut."""
        return int(self.edges.min()) - 1 if (self.edges < PAD_DISTANCE).any() else None

    def height(self, ties: str, graded: bool) -> int:
        """Fewer queries at once where the gains of the whole gallery are looked through."""
        return max(1, (1 << 20) // max(self.width, self.gallery if graded else 0, 1))

    def read(self, rows: Ids, relevance: Relevance, ties: str, graded: bool) -> Judged:
        """Judge the listed ids; what is not listed counts in the totals only."""
        far, ids = self.far[rows], self.ids[rows]
        if not graded:
            return Judged(Groups.of_items(far, relevance.judge(rows, ids), ties), self.totals[rows])
        gains = relevance.judge_gains(rows, ids)
        if self.candidates is None:
            ideal = relevance.best_gains(rows)
        else:
            ideal = -np.sort(-relevance.judge_gains(rows, self.candidates[rows]), axis=1)
        return Judged(Groups.of_items(far, gains > 0, ties, gains), self.totals[rows], ideal)


def _among(ids: Ids, candidates: Ids) -> NDArray[np.bool_]:
    """Which ids (Q, k) are among the candidates (Q, c) of their row; padding never is."""
    result: NDArray[np.bool_] = np.zeros(ids.shape, np.bool_)
    for row, (listed, allowed) in enumerate(zip(ids, candidates, strict=True)):
        result[row] = np.isin(listed, allowed)
    return result & (ids >= 0)

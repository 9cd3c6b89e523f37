"""Rankings with ties: what a metric sees of a ranking is a sequence of tie groups.

Hamming distances tie massively (64 bits give 65 distances for 20,000 items), so the rule that orders equals is part of
a result. A ranking here is a sequence of groups of equally distant items, each with its size and its number of right
answers; nothing else matters to a metric. The four policies:

- ``expected``: the average over all orders within every group, in closed form (F. McSherry and M. Najork, "Computing
  information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008). No order is
  assumed, so it is the one number that a permutation of the gallery cannot change.
- ``by-id``: equals in ascending id, the order in which an index lists them.
- ``best`` and ``worst``: in every group the right answers first, or last. They bound what any order can give.

Nothing here computes a distance or knows a metric.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TIES", "Groups"]

TIES = ("expected", "by-id", "best", "worst")


@dataclass(frozen=True, eq=False)
class Groups:
    """The tie groups of q rankings, nearest first; groups of size 0 fill the rows up.

    Attributes:
        sizes: Items in each group, int64 (q, g).
        relevant: Right answers among them, int64 (q, g).
        before: Items in the groups before, int64 (q, g).
        found: Right answers in the groups before, int64 (q, g).
        dense: Whether empty groups stand only at the end of a row.

    Example:
        >>> groups = Groups.of_sorted(np.array([[3, 5, 5, 8]]), np.array([[True, False, True, False]]))
        >>> groups.sizes.tolist(), groups.relevant.tolist()
        ([[1, 2, 1]], [[1, 1, 0]])
        >>> groups.ordered("best").relevant.tolist()
        [[1, 0, 1, 0, 0, 0]]
    """

    sizes: NDArray[np.int64]
    relevant: NDArray[np.int64]
    before: NDArray[np.int64]
    found: NDArray[np.int64]
    dense: bool = False

    @classmethod
    def of_counts(cls, sizes: NDArray[np.int64], relevant: NDArray[np.int64]) -> Groups:
        """Groups whose sizes and right answers are counted already, both int64 (q, g)."""
        return cls(sizes, relevant, np.cumsum(sizes, 1) - sizes, np.cumsum(relevant, 1) - relevant)

    @classmethod
    def of_order(cls, relevant: NDArray[np.bool_]) -> Groups:
        """Groups of one item each, from the judged items (q, n) in the order they are ranked: no ties left."""
        counts = relevant.astype(np.int64)
        sizes = np.broadcast_to(np.int64(1), counts.shape)
        before = np.broadcast_to(np.arange(counts.shape[1]), counts.shape)
        return cls(sizes, counts, before, np.cumsum(counts, 1) - counts, dense=True)

    @classmethod
    def of_distances(cls, distances: NDArray[np.int32], relevant: NDArray[np.bool_], bins: int) -> Groups:
        """Groups of equal integer distances 0 ... bins - 1, from both as (q, n), in any order of items."""
        row_starts = 2 * bins * np.arange(len(distances))[:, None]
        places = (distances.astype(np.int64) * 2 + relevant + row_starts).ravel()
        counts = np.bincount(places, minlength=2 * bins * len(distances)).reshape(len(distances), bins, 2)
        return cls.of_counts(counts.sum(2), counts[:, :, 1])

    @classmethod
    def of_sorted(cls, keys: NDArray[Any], relevant: NDArray[np.bool_]) -> Groups:
        """Groups of equal neighbours in sorted keys (q, n), such as distances or scores."""
        starts = np.zeros(keys.shape, np.int64)
        starts[:, 1:] = keys[:, 1:] != keys[:, :-1]
        groups = np.cumsum(starts, 1)
        bins = int(groups.max(initial=0)) + 1 if keys.shape[1] else 0
        if bins == keys.shape[1] and (groups[:, -1:] == bins - 1).all():  # no tie in any row
            return cls.of_order(relevant)
        return replace(cls.of_distances(groups.astype(np.int32), relevant, bins), dense=True)

    def reaching(self, cut: int | None) -> Groups:
        """The groups without those that cannot begin in the first ``cut`` places, where that is cheap to tell."""
        if cut is None or not self.dense:
            return self
        sizes, relevant, before, found = (
            part[:, :cut] for part in (self.sizes, self.relevant, self.before, self.found)
        )
        return Groups(sizes, relevant, before, found, dense=True)

    def ordered(self, ties: str) -> Groups:
        """The groups as a policy other than "by-id" sees them: as they are, or split into right and wrong answers."""
        if ties == "expected":
            return self
        right, wrong = self.relevant, self.sizes - self.relevant
        pairs = (right, wrong) if ties == "best" else (wrong, right)
        none = np.zeros_like(right)
        answers = (right, none) if ties == "best" else (none, right)
        shape = (len(right), 2 * right.shape[1])
        return Groups.of_counts(np.stack(pairs, 2).reshape(shape), np.stack(answers, 2).reshape(shape))

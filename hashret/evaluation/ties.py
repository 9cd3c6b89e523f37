"""Rankings with ties: what a metric sees of a ranking is a sequence of tie groups.

Hamming distances tie massively (64 bits give 65 distances for 20,000 items), so the rule that orders equals is part of
a result. A ranking here is a sequence of groups of equally distant items, each with its size and its number of right
answers; nothing else matters to a metric. The four policies:

- ``expected``: the average over all orders within every group, in closed form (F. McSherry and M. Najork, "Computing
  information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008). No order is
  assumed, so it is the one number that a permutation of the gallery cannot change.
- ``by-id``: equals in ascending id, the order in which an index lists them.
- ``best`` and ``worst``: in every group the right answers first, or last; graded ones by their gains. They bound what
  any order can give, for every metric but ``map@K:hits`` (see :mod:`hashret.evaluation.metrics`).

Nothing here computes a distance or knows a metric.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOWHERE", "TIES", "Groups"]

TIES = ("expected", "by-id", "best", "worst")


NOWHERE = np.iinfo(np.int32).max  # the place of what fills a row up: after every item


@dataclass(frozen=True, eq=False)
class Groups:
    """The tie groups of q rankings, nearest first; groups without a right answer may be left out or empty.

    Attributes:
        sizes: Items in each group, int64 (q, g).
        relevant: Right answers among them, int64 (q, g).
        before: Items before the group, int64 (q, g), those of groups left out included.
        found: Right answers before the group, int64 (q, g).
        dense: Whether the group in column j begins at place j or later.
        single: Whether every group with a right answer holds one item, so that there are no ties.
        distances: Distance of each group, int64 (q, g), where there are whole numbers and no group is left out.
        gains: Sum of the gains in each group, float64 (q, g); None where a right answer gains 1.

    Example:
        >>> groups = Groups.of_sorted(np.array([[3, 5, 5, 8]]), np.array([[True, False, True, False]]))
        >>> groups.sizes.tolist(), groups.relevant.tolist(), groups.distances.tolist()
        ([[1, 2, 1]], [[1, 1, 0]], [[3, 5, 8]])
        >>> groups.ordered("worst").before.tolist()
        [[0, 2, 4]]
    """

    sizes: NDArray[np.int64]
    relevant: NDArray[np.int64]
    before: NDArray[np.int64]
    found: NDArray[np.int64]
    dense: bool = False
    single: bool = False
    distances: NDArray[np.int64] | None = None
    gains: NDArray[np.float64] | None = None

    @classmethod
    def of_counts(cls, sizes: NDArray[np.int64], relevant: NDArray[np.int64]) -> Groups:
        """Groups whose sizes and right answers are counted already, both int64 (q, g), at the distances 0 ... g - 1."""
        distances = np.broadcast_to(np.arange(sizes.shape[1]), sizes.shape)
        return cls(sizes, relevant, np.cumsum(sizes, 1) - sizes, np.cumsum(relevant, 1) - relevant, distances=distances)

    @classmethod
    def of_ranks(
        cls, ranks: NDArray[np.integer[Any]], counts: NDArray[np.int64], gains: NDArray[np.float64] | None = None
    ) -> Groups:
        """Groups of one right answer each, from the places (0 is the first) of the right answers: no ties.

        Args:
            ranks: Places, ascending, (q, t); what stands after the first ``counts`` of a row is of no meaning.
            counts: Right answers in each ranking, int64 (q,).
            gains: Gain of each, float64 (q, t), or None.
        """
        real = np.arange(ranks.shape[1]) < counts[:, None]
        ones = np.broadcast_to(np.int64(1), ranks.shape)
        found = np.broadcast_to(np.arange(ranks.shape[1]), ranks.shape)
        before = np.where(real, ranks, NOWHERE).astype(np.int64, copy=False)
        return cls(ones, real.astype(np.int64), before, found, dense=True, single=True, gains=gains)

    @classmethod
    def of_order(cls, relevant: NDArray[np.bool_], gains: NDArray[np.float64] | None = None) -> Groups:
        """Groups of one right answer each, from the judged items (q, n) in the order they are ranked: no ties left."""
        rows, places = np.nonzero(relevant)
        counts = np.bincount(rows, minlength=len(relevant))
        columns = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
        ranks = np.zeros((len(relevant), int(counts.max(initial=0))), np.int64)
        ranks[rows, columns] = places
        if gains is None:
            return cls.of_ranks(ranks, counts)
        kept = np.zeros(ranks.shape)
        kept[rows, columns] = gains[rows, places]
        return cls.of_ranks(ranks, counts, kept)

    @classmethod
    def of_sorted(
        cls, keys: NDArray[Any], relevant: NDArray[np.bool_], gains: NDArray[np.float64] | None = None
    ) -> Groups:
        """Groups of equal neighbours in sorted keys (q, n), such as distances or scores; gains are float64 (q, n)."""
        starts = np.zeros(keys.shape, np.int64)
        starts[:, 1:] = keys[:, 1:] != keys[:, :-1]
        whole = keys.dtype.kind in "iu"
        if not whole and starts[:, 1:].all():
            return cls.of_order(relevant, gains)
        groups = np.cumsum(starts, 1)
        bins = int(groups.max(initial=-1)) + 1
        shape, places = (len(keys), bins), (groups + bins * np.arange(len(keys))[:, None]).ravel()
        sizes = np.bincount(places, minlength=len(keys) * bins).reshape(shape)
        right = np.bincount(places[relevant.ravel()], minlength=len(keys) * bins).reshape(shape)
        made = replace(cls.of_counts(sizes, right), dense=True, distances=None)
        if whole:
            distances = np.zeros(shape, np.int64)
            np.put_along_axis(distances, groups, keys.astype(np.int64), 1)
            made = replace(made, distances=distances)
        if gains is not None:
            sums = np.bincount(places, gains.ravel(), len(keys) * bins).astype(np.float64)
            made = replace(made, gains=sums.reshape(shape))
        return made

    @classmethod
    def of_items(
        cls, keys: NDArray[Any], relevant: NDArray[np.bool_], ties: str, gains: NDArray[np.float64] | None = None
    ) -> Groups:
        """The groups that a policy sees of judged items.

        Args:
            keys: Distances or the like (q, n), ascending; equal ones by ascending id where ``ties`` is "by-id".
            relevant: Whether each is right, bool (q, n).
            ties: One of TIES.
            gains: Gain of each, float64 (q, n), 0 where it is wrong; or None.
        """
        if ties == "by-id":
            return cls.of_order(relevant, gains)
        if gains is None or ties == "expected":
            return cls.of_sorted(keys, relevant, gains).ordered(ties)
        order = np.lexsort((-gains if ties == "best" else gains, keys), axis=1)
        return cls.of_order(np.take_along_axis(relevant, order, 1), np.take_along_axis(gains, order, 1))

    def reaching(self, cut: int | None) -> Groups:
        """The groups without those that cannot begin in the first ``cut`` places, where that is cheap to tell."""
        if cut is None or not self.dense or cut >= self.sizes.shape[1]:
            return self
        return replace(
            self,
            sizes=self.sizes[:, :cut],
            relevant=self.relevant[:, :cut],
            before=self.before[:, :cut],
            found=self.found[:, :cut],
            distances=None if self.distances is None else self.distances[:, :cut],
            gains=None if self.gains is None else self.gains[:, :cut],
        )

    def last_beginning(self, cut: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """Column, int64 (q,), of the last group that begins in the first ``cut`` places; 0 where none does."""
        columns: NDArray[np.int64] = np.maximum((self.before < cut).sum(1) - 1, 0)
        return columns

    def ordered(self, ties: str) -> Groups:
        """The groups as a policy sees them: as they are, or only their right answers, which stand first or last.

        The wrong answers are left out then; the places of the right ones tell where they stood. For "by-id" there must
        be no ties left: counts do not tell an order.
        """
        if ties == "expected" or (ties == "by-id" and self.single):
            return self
        assert ties != "by-id"
        assert self.gains is None
        before = self.before if ties == "best" else self.before + self.sizes - self.relevant
        return replace(self, sizes=self.relevant, before=before, distances=None)

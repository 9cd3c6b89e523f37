"""The values of the metrics on tie groups, one function a family; what they are called is :mod:`.metrics`' concern.

Each gives the expectation over all orders within the groups, which is the plain value where every group holds one item
or only items of one kind: so one formula serves all four tie policies. All take q rankings as
:class:`hashret.evaluation.ties.Groups`, the number of right answers of each query, found or not, as int64 (q,), the cut
K (None for all), and return float64 (q,); a query without a right answer is given 0, or an infinite rank.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hashret.evaluation.draws import first_right, harmonic, hits_inside
from hashret.evaluation.ties import Groups
from hashret.search.hits import PAD_DISTANCE

__all__ = [
    "average_precision",
    "average_precision_of_first_relevant",
    "average_precision_of_hits",
    "first_rank",
    "hit",
    "ndcg",
    "precision",
    "radius_precision",
    "recall",
]

Values = NDArray[np.float64]
Totals = NDArray[np.int64]


def average_precision(groups: Groups, totals: Totals, cut: int | None) -> Values:
    r"""Expected average precision over the first K places, divided by min(K, right answers).

    In a group of n items with r right answers after N items with R right answers, place i = 1 ... n holds a right
    answer with probability r / n, and then has (i - 1)(r - 1)/(n - 1) right answers of its group before it on average:

    .. math:: \sum_{i=1}^{n} \frac{r}{n} \cdot \frac{R + 1 + (i - 1)(r - 1)/(n - 1)}{N + i}

    With j = N + i the fraction is s + (R + 1 - (N + 1) s) / j for s = (r - 1)/(n - 1), so the sum needs only a sum of
    reciprocals. A cut stops the sum at place K, also inside a group.
    """
    best = totals if cut is None else np.minimum(totals, cut)
    values: Values = _precisions(groups, cut).sum(1) / np.maximum(best, 1)
    return values


def average_precision_of_hits(groups: Groups, totals: Totals, cut: int | None) -> Values:
    """Expected average precision over the first K places, divided by the right answers among them; 0 if there is none.

    How many there are is random when the cut goes through a group; see :func:`hashret.evaluation.draws.hits_inside`.
    """
    assert cut is not None
    if not groups.sizes.shape[1]:
        return np.zeros(len(totals))
    at = groups.last_beginning(cut)
    n, r, before, found = _at(groups, at)
    earlier = _precisions(groups, cut)
    earlier[np.arange(groups.sizes.shape[1]) >= at[:, None]] = 0
    return hits_inside(n, r, np.clip(cut - before, 0, n), before, found, earlier.sum(1))


def average_precision_of_first_relevant(groups: Groups, totals: Totals, cut: int | None) -> Values:
    """Expected average precision over the first min(K, right answers) right answers, wherever they rank.

    A right answer that is not ranked at all adds 0. The group in which the last of them stands is entered only in part;
    see :func:`hashret.evaluation.draws.first_right`.
    """
    assert cut is not None
    wanted = np.minimum(totals, cut)
    left = wanted[:, None] - groups.found
    sums = np.where(groups.relevant <= left, _precisions(groups, None), 0).sum(1)
    rows, columns = np.nonzero((left > 0) & (groups.relevant > left))
    if len(rows):
        n, r, before, found = (
            part[rows, columns] for part in (groups.sizes, groups.relevant, groups.before, groups.found)
        )
        sums[rows] += first_right(n, r, left[rows, columns], before, found)
    values: Values = sums / np.maximum(wanted, 1)
    return values


def precision(groups: Groups, totals: Totals, cut: int | None) -> Values:
    """Expected right answers in the first K places, divided by K."""
    assert cut is not None
    return _found_within(groups, cut) / cut


def recall(groups: Groups, totals: Totals, cut: int | None) -> Values:
    """Expected right answers in the first K places, divided by all right answers."""
    assert cut is not None
    return _found_within(groups, cut) / np.maximum(totals, 1)


def hit(groups: Groups, totals: Totals, cut: int | None) -> Values:
    r"""Probability that a right answer is in the first K places.

    It is 1 where a group before the cut holds one. Else m of the n items of the group at the cut are drawn, r of them
    right, and none is with the hypergeometric probability

    .. math:: \binom{n - r}{m} / \binom{n}{m} = \prod_{j < \min(m, r)} \frac{n - \max(m, r) - j}{n - j}
    """
    assert cut is not None
    if not groups.sizes.shape[1]:
        return np.zeros(len(totals))
    n, r, before, found = _at(groups, groups.last_beginning(cut))
    drawn = np.clip(cut - before, 0, n)
    few, many = np.where(found > 0, 0, np.minimum(drawn, r)), np.maximum(drawn, r)
    none = np.ones(len(totals))
    for j in range(int(few.max(initial=0))):
        going = few > j
        none[going] *= (n - many - j)[going] / (n - j)[going]
        if (none[going] < 2.0**-60).all():  # 1 - none is 1 by now; a product that reached 0 stays 0
            break
    return np.where(found > 0, 1.0, 1.0 - none)


def first_rank(groups: Groups, totals: Totals, cut: int | None) -> Values:
    """Expected place, from 1, of the first right answer; infinite where none is ranked.

    In a group of n items with r right ones after N items it is N + (n + 1) / (r + 1).
    """
    if not groups.sizes.shape[1]:
        return np.full(len(totals), np.inf)
    n, r, before, _ = _at(groups, np.argmax(groups.relevant > 0, axis=1))
    return np.where(r > 0, before + (n + 1) / (r + 1), np.inf)


def ndcg(groups: Groups, totals: Totals, cut: int | None, ideal: Values | None = None) -> Values:
    r"""Expected discounted cumulative gain over the first K places, divided by the largest that any ranking has.

    An item at place j adds its gain divided by log2(j + 1). In a group all places add the group's mean gain.

    Args:
        groups: q rankings.
        totals: Right answers of each query.
        cut: K, or None.
        ideal: Gains of all right answers of each query, the largest first, float64 (q, m); None where each gains 1.
    """
    places = totals.max(initial=0) if ideal is None else ideal.shape[1]
    reached = np.where(groups.relevant > 0, groups.before + groups.sizes, 0).max(initial=0)
    last = int(max(places, reached)) if cut is None else min(int(max(places, reached)), cut)
    discounts, sums = _discounts(last.bit_length())
    gains = groups.relevant if groups.gains is None else groups.gains
    rows, columns = np.nonzero((groups.relevant > 0) & (groups.before < last))
    n, before = groups.sizes[rows, columns], groups.before[rows, columns]
    discount = discounts[before]
    many = n > 1
    end = np.minimum((before + n)[many], last)
    discount[many] = (sums[end] - sums[before[many]]).astype(np.float64) / n[many]
    reached_gain = np.bincount(rows, weights=gains[rows, columns] * discount, minlength=len(totals))
    if ideal is None:
        best = sums[np.minimum(totals, last)].astype(np.float64)
    else:
        best = ideal[:, :last] @ discounts[: min(last, ideal.shape[1])]
    return np.divide(reached_gain, best, out=np.zeros(len(totals)), where=best > 0)


def radius_precision(groups: Groups, totals: Totals, cut: int | None) -> Values:
    """Share of right answers among the items within Hamming radius K, inclusive; 0 where there is no item."""
    assert groups.distances is not None
    assert cut is not None
    near = groups.distances <= min(cut, int(PAD_DISTANCE) - 1)  # padding is never near
    values: Values = (groups.relevant * near).sum(1) / np.maximum((groups.sizes * near).sum(1), 1)
    return values


def _at(groups: Groups, columns: Totals) -> tuple[Totals, Totals, Totals, Totals]:
    """Size, right answers, items before and right answers before of one group in each ranking."""
    rows = np.arange(len(columns))
    return (
        groups.sizes[rows, columns],
        groups.relevant[rows, columns],
        groups.before[rows, columns],
        groups.found[rows, columns],
    )


def _precisions(groups: Groups, cut: int | None) -> Values:
    """Expected sum of the precisions at the right answers of each group in the first ``cut`` places, float64 (q, g)."""
    counts = groups.relevant > 0 if cut is None else (groups.relevant > 0) & (groups.before < cut)
    if groups.single:
        return np.where(counts, (groups.found + 1) / (groups.before + 1), 0.0)
    rows, columns = np.nonzero(counts)
    n, r, before, found = (part[rows, columns] for part in (groups.sizes, groups.relevant, groups.before, groups.found))
    counted = n if cut is None else np.minimum(n, cut - before)
    slope = (r - 1) / np.maximum(n - 1, 1)
    sums = np.zeros(groups.sizes.shape)
    sums[rows, columns] = (
        r / n * (counted * slope + (found + 1 - (before + 1) * slope) * harmonic(before, counted))
    )  # fmt: skip
    return sums


def _found_within(groups: Groups, cut: int) -> Values:
    """Expected right answers in the first ``cut`` places."""
    inside = np.clip(cut - groups.before, 0, groups.sizes)
    result: Values = (groups.relevant * (inside / np.maximum(groups.sizes, 1))).sum(1)
    return result


@lru_cache(maxsize=2)
def _discounts(power: int) -> tuple[Values, NDArray[np.longdouble]]:
    """The discounts 1 / log2(j + 1) of the first 2 ** power places, and their sums (one more) from the first on.

    The sums are kept in the widest float there is: what a group adds is a difference of two of them.
    """
    discounts = 1 / np.log2(np.arange(2, 2 + 2**power, dtype=np.longdouble))
    return discounts.astype(np.float64), np.concatenate([np.zeros(1, np.longdouble), np.cumsum(discounts)])

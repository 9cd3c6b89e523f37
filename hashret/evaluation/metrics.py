"""The metrics: what their names mean, and their value on a ranking with ties.

Names print as they are typed::

    map           mean average precision over the whole ranking, divided by the number of right answers
    map@K         the same over the first K places, divided by min(K, number of right answers)
    precision@K   share of the first K places that hold a right answer (divided by K, also where fewer are ranked)
    recall@K      share of the right answers that are in the first K places
    hit@K         whether any right answer is in the first K places: the R@K of caption and composed retrieval papers

"map@K" is a cut by rank. Some published code means by it the first K *relevant* items wherever they rank, or divides by
the right answers found before the cut; neither is computed here. Each function gives the expectation over all orders
within tie groups, which is the plain value where every group holds one item or only items of one kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from hashret.errors import InputError
from hashret.evaluation.ties import Groups

__all__ = ["METRICS", "Metric", "average_precision", "hit", "parse_metrics", "precision", "recall"]

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One metric: its family and where it cuts the ranking.

    Attributes:
        family: A key of METRICS.
        cut: Places that count, at least 1; None for all.
    """

    family: str
    cut: int | None

    def __str__(self) -> str:
        """As typed: ``map``, ``recall@10``."""
        return self.family if self.cut is None else f"{self.family}@{self.cut}"

    def values(self, groups: Groups, totals: NDArray[np.int64]) -> Values:
        """Value for every query, float64 (q,); 0 for a query without right answers."""
        return METRICS[self.family](groups.reaching(self.cut), totals, self.cut)


def average_precision(groups: Groups, totals: NDArray[np.int64], cut: int | None) -> Values:
    r"""Expected average precision.

    In a group of n items with r right answers after N items with R right answers, place i = 1 ... n holds a right
    answer with probability r / n, and then has (i - 1)(r - 1)/(n - 1) right answers of its group before it on average:

    .. math:: \sum_{i=1}^{n} \frac{r}{n} \cdot \frac{R + 1 + (i - 1)(r - 1)/(n - 1)}{N + i}

    With j = N + i the fraction is s + (R + 1 - (N + 1) s) / j for s = (r - 1)/(n - 1), so the sum needs only a
    difference of two harmonic numbers. A cut stops the sum at place K, also inside a group.

    Args:
        groups: q rankings.
        totals: Right answers of each query, int64 (q,), found or not.
        cut: K, or None.

    Returns:
        float64 (q,).
    """
    rows, columns = np.nonzero(groups.relevant if cut is None else groups.relevant * (groups.before < cut))
    n, r, before, found = (part[rows, columns] for part in (groups.sizes, groups.relevant, groups.before, groups.found))
    counted = n if cut is None else np.minimum(n, cut - before)
    slope = (r - 1) / np.maximum(n - 1, 1)
    reciprocals = 1 / (before + 1)  # 1 / (N + 1) + ... + 1 / (N + counted), as a difference of harmonic numbers
    many = counted > 1
    reciprocals[many] = digamma((before + counted)[many] + 1) - digamma(before[many] + 1)
    sums = r / n * (counted * slope + (found + 1 - (before + 1) * slope) * reciprocals)
    best = totals if cut is None else np.minimum(totals, cut)
    return np.bincount(rows, weights=sums, minlength=len(totals)) / np.maximum(best, 1)


def precision(groups: Groups, totals: NDArray[np.int64], cut: int | None) -> Values:
    """Expected right answers in the first K places, divided by K."""
    assert cut is not None
    return _found_within(groups, cut) / cut


def recall(groups: Groups, totals: NDArray[np.int64], cut: int | None) -> Values:
    """Expected right answers in the first K places, divided by all right answers."""
    assert cut is not None
    return _found_within(groups, cut) / np.maximum(totals, 1)


def hit(groups: Groups, totals: NDArray[np.int64], cut: int | None) -> Values:
    r"""Probability that a right answer is in the first K places.

    It is 1 where a group before the cut holds one. Else m of the n items of the group at the cut are drawn, r of them
    right, and none is with the hypergeometric probability

    .. math:: \binom{n - r}{m} / \binom{n}{m} = \prod_{j < \min(m, r)} \frac{n - \max(m, r) - j}{n - j}

    Args:
        groups: q rankings.
        totals: Right answers of each query; not needed.
        cut: K.

    Returns:
        float64 (q,).
    """
    assert cut is not None
    if not groups.sizes.shape[1]:
        return np.zeros(len(totals))
    at = np.maximum((groups.before < cut).sum(1) - 1, 0)[:, None]
    n, r, before, found = (
        np.take_along_axis(part, at, 1)[:, 0] for part in (groups.sizes, groups.relevant, groups.before, groups.found)
    )
    drawn = np.minimum(n, cut - before)
    few, many = np.where(found > 0, 0, np.minimum(drawn, r)), np.maximum(drawn, r)
    none = np.ones(len(totals))
    for j in range(int(few.max(initial=0))):
        going = few > j
        none[going] *= (n - many - j)[going] / (n - j)[going]
        if (none[going] < 2.0**-60).all():  # 1 - none is 1 by now; a product that reached 0 stays 0
            break
    return np.where(found > 0, 1.0, 1.0 - none)


METRICS: dict[str, Callable[[Groups, NDArray[np.int64], int | None], Values]] = {
    "map": average_precision,
    "precision": precision,
    "recall": recall,
    "hit": hit,
}
_WITHOUT_CUT = ("map",)


def parse_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """Metrics by their names.

    Args:
        names: Such as ``["map", "recall@10"]``; a single name may stand alone. One named twice is taken once.

    Returns:
        The metrics, in the order named.

    Raises:
        InputError: No name, or names that mean nothing: all of them at once, with those that exist.

    Example:
        >>> [str(metric) for metric in parse_metrics(["map", "recall@10"])]
        ['map', 'recall@10']
    """
    asked = [names] if isinstance(names, str) else list(names)
    parsed = [_parse(name) for name in asked]
    bad = [repr(name) for name, metric in zip(asked, parsed, strict=True) if metric is None]
    if bad or not asked:
        known = [name for family in METRICS for name in ([family] * (family in _WITHOUT_CUT) + [f"{family}@K"])]
        raise InputError(
            "metrics", expected="names among " + ", ".join(known), got=", ".join(bad) or "none",
            remedy="K is a whole number of at least 1, as in recall@10.",
        )  # fmt: skip
    return tuple(dict.fromkeys(metric for metric in parsed if metric is not None))


def _parse(name: object) -> Metric | None:
    match = re.fullmatch(r"([a-z]+)(?:@([1-9][0-9]*))?", name) if isinstance(name, str) else None
    if match is None or match[1] not in METRICS or (match[2] is None and match[1] not in _WITHOUT_CUT):
        return None
    return Metric(match[1], None if match[2] is None else int(match[2]))


def _found_within(groups: Groups, cut: int) -> Values:
    """Expected right answers in the first ``cut`` places."""
    inside = np.clip(cut - groups.before, 0, groups.sizes)
    result: Values = (groups.relevant * (inside / np.maximum(groups.sizes, 1))).sum(1)
    return result

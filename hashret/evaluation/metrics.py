r"""The metrics: what their names mean. This page is the reference; a name prints as it is typed.

What follows is the value for one query. Its answers are ranked on places 1, 2, ...; T is the number of its right
answers, ranked or not; P(j) is the share of right answers among the first j places; K and R are whole numbers::

    map               average precision: sum of P(j) over the places j of all right answers, divided by T
    map@K             the same over the places j <= K, divided by min(K, T)
    map@K:hits        the same sum over the places j <= K, divided by the right answers among them; 0 if there is none
    map@K:relevant    mean of P(j) over the places j of the first min(K, T) right answers, however deep they rank
    precision@K       right answers among the first K places, divided by K (also where fewer are ranked)
    recall@K          right answers among the first K places, divided by T
    hit@K             1 if a right answer is among the first K places, else 0: the R@K of caption retrieval
    mean-rank         place of the first right answer; the mean over the queries
    median-rank       the same; the median over the queries
    ndcg              DCG divided by the largest DCG that any ranking has; DCG = sum of gain(j) / log2(j + 1)
    ndcg@K            the same over the places j <= K, in both
    radius-precision@R  share of right answers among the items at Hamming distance <= R; 0 where there is no item

**Four things are called mAP.** "map" is what cross-modal hashing papers mean by mAP@all. "map@K" is trec_eval's
map_cut with a divisor that lets a perfect ranking reach 1. "map@K:hits" is what CRCGS and UCCH compute (and the MATLAB
code of DCMH): finding less costs nothing, so it lies above the others, and it is the only one that can get worse by
finding one more right answer. "map@K:relevant" is what DCHMT, MITH and TwDH call mAP@K: K counts right answers, not
places. :mod:`hashret.evaluation.presets` has the whole protocol of CRCGS.

**Ties.** Under ``ties="expected"`` a value is its average over all orders of every group of equally distant items, in
closed form; ranks too, so they need not be whole. ``best`` and ``worst`` rank the right answers of each group first, or
last, which bounds every order: worst <= expected <= best, for ranks best <= expected <= worst. Only ``map@K:hits`` is
not bounded, because it is not monotone: with a right answer on place 1, then one right answer among three equals, and
K = 3, right answers first (right, right, wrong) give 1, last (right, wrong, wrong) give 1 too, but between them (right,
wrong, right) they give 5/6, and ``expected`` is 17/18. ``radius-precision@R`` asks for no order and is the same under
all policies.

**Gains.** A right answer gains 1, unless the relevance is graded (:class:`hashret.relevance.GradedLabels`,
:class:`hashret.relevance.GradedTargets`). Then ndcg takes its gain, as trec_eval and ranx do (not 2^gain - 1), ``best``
and ``worst`` order equals by gain, and every other metric asks only whether the gain is above 0.

**Misses.** A right answer that a list does not name is never found: it adds nothing, and the rank of a query none of
whose right answers is named is infinite. Then mean-rank is infinite, while median-rank keeps its meaning as long as
half of the queries find something. A query without any right answer is left out, or, with ``unanswered="zero"``, given
the worst value there is: 0, or an infinite rank.

The formulas stand in :mod:`hashret.evaluation.measures` and :mod:`hashret.evaluation.draws`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.evaluation import measures
from hashret.evaluation.ties import Groups

__all__ = ["METRICS", "Family", "Metric", "aggregate", "parse_metrics"]

Aggregate = Literal["mean", "median"]


@dataclass(frozen=True)
class Family:
    """What metrics of one form have in common.

    Attributes:
        value: One of :mod:`hashret.evaluation.measures`.
        reads: What it needs to know of a ranking: its first K "places", "all" of it, or the items within a "radius".
        aggregate: How the values of the queries become one: "mean" or "median".
        miss: The worst value: that of a query without a right answer where those count.
    """

    value: Callable[..., NDArray[np.float64]]
    reads: Literal["places", "all", "radius"] = "places"
    aggregate: Aggregate = "mean"
    miss: float = 0.0


METRICS: dict[str, Family] = {
    "map": Family(measures.average_precision, "all"),
    "map@K": Family(measures.average_precision),
    "map@K:hits": Family(measures.average_precision_of_hits),
    "map@K:relevant": Family(measures.average_precision_of_first_relevant, "all"),
    "precision@K": Family(measures.precision),
    "recall@K": Family(measures.recall),
    "hit@K": Family(measures.hit),
    "mean-rank": Family(measures.first_rank, "all", miss=np.inf),
    "median-rank": Family(measures.first_rank, "all", "median", np.inf),
    "ndcg": Family(measures.ndcg, "all"),
    "ndcg@K": Family(measures.ndcg),
    "radius-precision@R": Family(measures.radius_precision, "radius"),
}
"""Every form a name can have; K is a whole number of at least 1, R of at least 0."""

_NAME = re.compile(r"([a-z-]+)(?:@(0|[1-9][0-9]{0,11})((?::[a-z]+)?))?")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        form: A key of METRICS.
        cut: K or R; None where the form has neither.
    """

    form: str
    cut: int | None

    def __str__(self) -> str:
        """As typed: ``map``, ``recall@10``, ``map@50:hits``."""
        return self.form if self.cut is None else re.sub("@[KR]", f"@{self.cut}", self.form)

    @property
    def family(self) -> Family:
        """What it has in common with the metrics of its form."""
        return METRICS[self.form]

    @property
    def takes_gains(self) -> bool:
        """Whether gains matter to it."""
        return self.family.value is measures.ndcg

    def values(
        self, groups: Groups, totals: NDArray[np.int64], ideal: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Value for every query, float64 (q,).

        Args:
            groups: q rankings.
            totals: Right answers of each query, int64 (q,), found or not.
            ideal: Their gains, the largest first, float64 (q, m); None where each gains 1.
        """
        if self.family.reads == "places":
            groups = groups.reaching(self.cut)
        if self.takes_gains:
            return self.family.value(groups, totals, self.cut, ideal)
        return self.family.value(groups, totals, self.cut)


def parse_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """Metrics by their names.

    Args:
        names: Such as ``["map", "recall@10"]``; a single name may stand alone. One named twice is taken once.

    Returns:
        The metrics, in the order named.

    Raises:
        InputError: No name, or names that mean nothing: all of them at once, with those that exist.

    Example:
        >>> [str(metric) for metric in parse_metrics(["map", "map@50:hits", "radius-precision@2"])]
        ['map', 'map@50:hits', 'radius-precision@2']
    """
    asked = [names] if isinstance(names, str) else list(names)
    parsed = [_parse(name) for name in asked]
    bad = [repr(name) for name, metric in zip(asked, parsed, strict=True) if metric is None]
    if bad or not asked:
        raise InputError(
            "metrics", expected="names among " + ", ".join(METRICS), got=", ".join(bad) or "none",
            remedy="K is a whole number of at least 1, as in recall@10; R one of at least 0.",
        )  # fmt: skip
    return tuple(dict.fromkeys(metric for metric in parsed if metric is not None))


def aggregate(name: str) -> Aggregate:
    """How a metric's values of single queries become one number: by their "mean" or their "median".

    Raises:
        InputError: The name means nothing.

    Example:
        >>> aggregate("map@50"), aggregate("median-rank")
        ('mean', 'median')
    """
    return parse_metrics(name)[0].family.aggregate


def _parse(name: object) -> Metric | None:
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        return None
    if match[2] is None:
        return Metric(match[1], None) if match[1] in METRICS else None
    forms = [f"{match[1]}@{letter}{match[3]}" for letter in ("R" if match[2] == "0" else "KR")]
    return next((Metric(form, int(match[2])) for form in forms if form in METRICS), None)

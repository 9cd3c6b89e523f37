"""evaluate: a ranking and its ground truth in, metrics out, with the tie rule as a named argument.

It works in blocks of queries, so that memory does not grow with queries x gallery, and it never averages silently:
queries without a right answer are counted, and what a cut list cannot tell is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation.metrics import Metric, parse_metrics
from hashret.evaluation.rankings import Ranking, open_ranking
from hashret.evaluation.ties import TIES
from hashret.relevance import Relevance
from hashret.search.hits import Hits

__all__ = ["UNANSWERED", "Scores", "evaluate"]

UNANSWERED = ("omit", "zero")
_BLOCK_PAIRS = 1 << 21


@dataclass(frozen=True, eq=False)
class Scores:
    """What :func:`evaluate` found.

    Attributes:
        per_query: By metric, in the order asked: float64 (Q,), NaN for an unanswerable query that is left out.
        ties: The tie policy.
        queries: Q.
        unanswered: Queries without any right answer in the gallery.
        policy: What became of them: "omit" (left out of the means) or "zero" (counted as 0).

    Example:
        >>> scores = Scores({"map": np.array([1.0, np.nan, 0.5])}, "expected", 3, 1, "omit")
        >>> scores["map"]
        0.75
    """

    per_query: dict[str, NDArray[np.float64]]
    ties: str
    queries: int
    unanswered: int
    policy: str

    def __getitem__(self, metric: str) -> float:
        """Mean of a metric over the queries that count.

        Raises:
            InputError: It was not asked for.
        """
        if metric not in self.per_query:
            raise InputError(
                "metric", expected="one of " + ", ".join(self.per_query), got=repr(metric),
                remedy="Name it in evaluate(metrics=...).",
            )  # fmt: skip
        return float(np.nanmean(self.per_query[metric]))

    def means(self) -> dict[str, float]:
        """The mean of every metric."""
        return {metric: self[metric] for metric in self.per_query}

    def to_dict(self) -> dict[str, Any]:
        """Means and the rules they were made by, as JSON can hold them; the values per query stay behind."""
        return {
            "means": self.means(),
            "ties": self.ties,
            "queries": self.queries,
            "unanswered": self.unanswered,
            "policy": self.policy,
        }


def evaluate(
    ranking: Hits | tuple[Codes, Codes] | tuple[NDArray[Any], NDArray[Any]],
    relevance: Relevance,
    metrics: Sequence[str] = ("map",),
    ties: str = "expected",
    unanswered: str = "omit",
) -> Scores:
    """Measure a ranking.

    Args:
        ranking: What ranks the gallery of ``relevance``, whose ids are 0 ... N - 1.

            - ``(query codes, gallery codes)``: by Hamming distance; the position of a gallery code is its id.
            - ``(query vectors, gallery vectors)``: float arrays (Q, D) and (N, D), by cosine similarity; equal scores
              tie.
            - ``Hits``: as listed. A row that ends in padding, or lists all N items, is whole: what it does not list is
              never found. Any other row is cut: what follows is unknown, and so is the rest of its last group of equal
              distances. A metric that reads beyond what is known is refused; ``ties="by-id"`` knows the whole list,
              the other policies know it up to the last group.
        relevance: The right answers.
        metrics: Names; see :mod:`hashret.evaluation.metrics`.
        ties: What orders items at equal distance: "expected" (the exact average over all orders), "by-id", "best" or
            "worst".
        unanswered: What becomes of queries without any right answer: "omit" leaves them out of the means, "zero" counts
            them as 0. Either way they are counted in the result.

    Returns:
        Scores.

    Raises:
        InputError: Unknown metrics, ties or unanswered; a ranking of another size than ``relevance``; hits that are too
            short for a metric; a vector of zeros; no query, or none with a right answer where those are left out.
        WidthError: The two sides differ in width.
        NonFiniteError: NaN or infinity in vectors.

    Example:
        >>> from hashret.codes import binarize
        >>> from hashret.relevance import SameInstance
        >>> queries, gallery = binarize([[1, 1]]), binarize([[1, 1], [1, -1], [-1, 1]])
        >>> scores = evaluate((queries, gallery), SameInstance([7], [0, 0, 7]), metrics=["map", "hit@2"])
        >>> round(scores["map"], 4), scores["hit@2"]
        (0.4167, 0.5)
    """
    wanted = parse_metrics(metrics)
    _check_choice("ties", ties, TIES)
    _check_choice("unanswered", unanswered, UNANSWERED)
    if not isinstance(relevance, Relevance):
        raise InputError(
            "relevance", expected="a Relevance", got=type(relevance).__name__,
            remedy="Use SharedLabels(query_labels, gallery_labels), SameInstance or Targets.",
        )  # fmt: skip
    opened = open_ranking(ranking, relevance)
    if not opened.queries:
        raise InputError("queries", expected="at least one", got="none", remedy="A mean over nothing has no value.")
    _check_depth(opened, wanted, relevance.gallery, ties)
    values, answers = _read(opened, relevance, wanted, ties)
    unanswerable = answers == 0
    if unanswered == "omit":
        if unanswerable.all():
            raise InputError(
                "relevance", expected="a right answer for some query", got=f"none for any of {opened.queries}",
                remedy='Check that both sides are numbered or labelled alike; unanswered="zero" counts them as 0.',
            )  # fmt: skip
        values[:, unanswerable] = np.nan
    per_query = {str(metric): row for metric, row in zip(wanted, values, strict=True)}
    return Scores(per_query, ties, opened.queries, int(unanswerable.sum()), unanswered)


def _read(
    opened: Ranking, relevance: Relevance, wanted: Sequence[Metric], ties: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values (metrics, Q) and the number of right answers (Q,)."""
    values, answers = np.zeros((len(wanted), opened.queries)), np.zeros(opened.queries, np.int64)
    height = max(1, _BLOCK_PAIRS // max(opened.width, 1))
    for start in range(0, opened.queries, height):
        rows = np.arange(start, min(start + height, opened.queries))
        groups, totals = opened.read(rows, relevance, ties)
        answers[rows] = totals
        for place, metric in enumerate(wanted):
            values[place, rows] = metric.values(groups, totals)
    return values, answers


def _check_depth(opened: Ranking, wanted: Sequence[Metric], gallery: int, ties: str) -> None:
    """Refuse metrics that read places the ranking does not know."""
    known = opened.known(ties)
    if known is None:
        return
    deep = [str(metric) for metric in wanted if (metric.cut or gallery) > known]
    if deep:
        why = "" if ties == "by-id" else f' (ties="{ties}" needs whole tie groups, and a list may cut its last)'
        remedy = "" if ties == "by-id" else 'set ties="by-id", '
        raise InputError(
            "hits", expected=f"rankings deep enough for {', '.join(deep)}", got=f"{known} known places{why}",
            remedy=f'Search with a larger k, cut the metric ("map@K"), {remedy}or pass (query codes, gallery codes).',
        )  # fmt: skip


def _check_choice(name: str, got: str, known: Sequence[str]) -> None:
    if got not in known:
        raise InputError(
            name, expected="one of " + ", ".join(known), got=repr(got), remedy=f"Set {name} to one of these."
        )

"""Precision and recall as curves: over the Hamming radius, which needs no order among ties, and over the rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation.inputs import Rankable, check_choice, check_known, check_threads, open_ranking
from hashret.evaluation.metrics import parse_metrics
from hashret.evaluation.rankings import CodesRanking, over_blocks
from hashret.evaluation.ties import TIES, Groups
from hashret.relevance import Relevance
from hashret.search.inputs import whole_number

__all__ = ["precision_recall", "precision_recall_by_rank"]

Curve = NDArray[np.float64]

_PLACES = 1 << 20  # queries x places that are worked out at once


def precision_recall(
    ranking: tuple[Codes, Codes], relevance: Relevance, *, threads: int | None = None
) -> tuple[Curve, Curve]:
    """Mean recall and precision of what lies within each Hamming radius 0 ... bits ("hash lookup").

    Args:
        ranking: Codes of the queries and of the gallery.
        relevance: The right answers.
        threads: How many to use at most; None for all cores.

    Returns:
        Recall and precision, each float64 (bits + 1,). Recall is averaged over the queries that have a right answer;
        precision at a radius over those of them that find anything within it, NaN where none does (the metric
        ``radius-precision@R`` counts those that find nothing as 0).

    Raises:
        InputError: No codes, other sizes than ``relevance``, or no query has a right answer.
        WidthError: The two sides differ in width.

    Example:
        >>> from hashret.codes import binarize
        >>> from hashret.relevance import SameInstance
        >>> gallery = binarize([[1.0, 1.0], [1.0, -1.0]])
        >>> recall, precision = precision_recall((gallery[:1], gallery), SameInstance([0], [0, 1]))
        >>> recall.tolist(), precision.tolist()
        ([1.0, 1.0, 1.0], [1.0, 0.5, 0.5])
    """
    check_threads(threads)
    opened = open_ranking(ranking, relevance)
    if not isinstance(opened, CodesRanking):
        raise InputError(
            "ranking", expected="a tuple of two Codes (queries, gallery)", got="another ranking",
            remedy="precision_recall_by_rank takes all rankings.",
        )  # fmt: skip

    def count(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        groups, totals, _ = opened.read(rows, relevance, "expected", False)
        keep = totals > 0
        size, right = groups.sizes[keep].cumsum(1), groups.relevant[keep].cumsum(1)
        answerable = np.full(size.shape[1], keep.sum())
        precision = right / np.maximum(size, 1)
        return np.array([(right / totals[keep, None]).sum(0), precision.sum(0), (size > 0).sum(0), answerable])

    parts = over_blocks(opened, opened.height("expected", False), count, threads)
    recall, precision, finding, answerable = np.sum(parts, axis=0)
    if not answerable[0]:
        raise _no_answer()
    return recall / answerable, np.divide(precision, finding, out=np.full(len(recall), np.nan), where=finding > 0)


def precision_recall_by_rank(
    ranking: Rankable, relevance: Relevance, depth: int, ties: str = "expected", *, threads: int | None = None
) -> tuple[Curve, Curve]:
    """Mean recall and precision of the first 1, 2, ... places, over the queries that have a right answer.

    Args:
        ranking: As :func:`hashret.evaluation.evaluate.evaluate` takes it.
        relevance: The right answers.
        depth: Last place, at least 1.
        ties: What orders items at equal distance, one of TIES.
        threads: How many to use at most; None for all cores.

    Returns:
        Recall and precision, each float64 (depth,): at index K - 1 the means of ``recall@K`` and ``precision@K``.

    Raises:
        InputError: As evaluate; or no query has a right answer.
        WidthError: The two sides differ in width.

    Example:
        >>> from hashret.codes import binarize
        >>> from hashret.relevance import SameInstance
        >>> gallery = binarize([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]])
        >>> recall, precision = precision_recall_by_rank((gallery[:1], gallery), SameInstance([0], [1, 0, 1]), depth=3)
        >>> recall.tolist(), precision.round(3).tolist()
        ([0.0, 0.5, 1.0], [0.0, 0.25, 0.333])
    """
    check_threads(threads)
    check_choice("ties", ties, TIES)
    whole_number(depth, "depth", least=1)
    opened = open_ranking(ranking, relevance)
    check_known(opened, parse_metrics(f"precision@{depth}"), relevance.gallery, ties)

    def count(rows: NDArray[np.int64]) -> Curve:
        groups, totals, _ = opened.read(rows, relevance, ties, False)
        keep = totals > 0
        found = _found(groups.reaching(depth), depth)[keep]
        precision = found / np.arange(1, depth + 1)
        return np.array([(found / totals[keep, None]).sum(0), precision.sum(0), np.full(depth, keep.sum())])

    height = min(opened.height(ties, False), max(1, _PLACES // depth))
    recall, precision, answerable = np.sum(over_blocks(opened, height, count, threads), axis=0)
    if not answerable[0]:
        raise _no_answer()
    return recall / answerable, precision / answerable


def _found(groups: Groups, depth: int) -> NDArray[np.float64]:
    """Expected right answers in the first 1 ... depth places, float64 (q, depth)."""
    rows = np.arange(len(groups.sizes))[:, None]
    if not groups.sizes.shape[1]:
        return np.zeros((len(rows), depth))
    begun = np.minimum(groups.before, depth) + (depth + 1) * rows
    counts = np.bincount(begun.ravel(), minlength=(depth + 1) * len(rows)).reshape(-1, depth + 1)
    columns = counts.cumsum(1)[:, :depth] - 1  # of the last group that begins at a place or before it
    at = np.maximum(columns, 0)
    n, r, before, found = (part[rows, at] for part in (groups.sizes, groups.relevant, groups.before, groups.found))
    inside = np.clip(np.arange(1, depth + 1) - before, 0, n)
    values: NDArray[np.float64] = np.where(columns < 0, 0, found + r * inside / np.maximum(n, 1))
    return values


def _no_answer() -> InputError:
    return InputError(
        "relevance", expected="a query with a right answer", got="none", remedy="Check labels and splits."
    )

"""evaluate: a ranking and its ground truth in, metrics out, with the tie rule as a named argument.

It works in blocks of queries, so that memory does not grow with queries x gallery, and it never averages silently:
queries without a right answer are counted, and what a cut list cannot tell is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.evaluation.inputs import (
    Candidates,
    Rankable,
    check_choice,
    check_known,
    check_threads,
    open_ranking,
)
from hashret.evaluation.metrics import Metric, parse_metrics
from hashret.evaluation.rankings import Ranking, over_blocks
from hashret.evaluation.scores import Scores
from hashret.evaluation.ties import TIES
from hashret.relevance import Relevance

__all__ = ["UNANSWERED", "evaluate"]

UNANSWERED = ("omit", "zero")


def evaluate(
    ranking: Rankable,
    relevance: Relevance,
    metrics: Sequence[str] = ("map",),
    ties: str = "expected",
    unanswered: str = "omit",
    *,
    candidates: Candidates | None = None,
    threads: int | None = None,
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
              the other policies know it up to the last group. Of the answers of ``index.within`` the longest row has
              no padding: append a column of it, and all are whole.
        relevance: The right answers.
        metrics: Names; see :mod:`hashret.evaluation.metrics`.
        ties: What orders items at equal distance: "expected" (the exact average over all orders), "by-id", "best" or
            "worst".
        unanswered: What becomes of queries without any right answer: "omit" leaves them out of the means, "zero" gives
            them the worst value there is, which is 0, or an infinite rank. Either way they are counted in the result.
        candidates: The only ids each query may be answered with, one list of ids a query, or int64 (Q, c) with -1
            behind them (as :class:`hashret.examples.Task` has them): the ranking is what is left of the whole one, and
            right answers that are no candidates do not count. None for all.
        threads: How many to use at most; None for all cores. Results do not depend on it.

    Returns:
        Scores.

    Raises:
        InputError: Unknown metrics, ties or unanswered; a ranking of another size than ``relevance``; hits that are too
            short for a metric; a vector of zeros; candidates that are no ids; no query, or none with a right answer
            where those are left out.
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
    check_choice("ties", ties, TIES)
    check_choice("unanswered", unanswered, UNANSWERED)
    check_threads(threads)
    opened = open_ranking(ranking, relevance, candidates)
    check_known(opened, wanted, relevance.gallery, ties)
    values, totals = _measured(opened, relevance, wanted, ties, threads)
    missing = totals == 0
    if unanswered == "omit" and missing.all():
        raise InputError(
            "relevance", expected="a right answer for some query", got=f"none for any of {opened.queries}",
            remedy='Check that both sides are numbered or labelled alike; unanswered="zero" counts them as 0.',
        )  # fmt: skip
    for metric, row in zip(wanted, values, strict=True):
        row[missing] = np.nan if unanswered == "omit" else metric.family.miss
    per_query = {str(metric): row for metric, row in zip(wanted, values, strict=True)}
    return Scores(per_query, ties, opened.queries, int(missing.sum()), unanswered)


def _measured(
    opened: Ranking, relevance: Relevance, wanted: Sequence[Metric], ties: str, threads: int | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values (metrics, Q) and the number of right answers (Q,)."""
    parts = [part for part in _parts(wanted, ties, relevance.is_graded) if part.places]
    values, totals = np.empty((len(wanted), opened.queries)), np.zeros(opened.queries, np.int64)
    for part in parts:

        def measure(rows: NDArray[np.int64], part: _Part = part) -> None:
            judged = opened.read(rows, relevance, part.ties, part.graded)
            totals[rows] = judged.totals
            for place in part.places:
                values[place, rows] = wanted[place].values(*judged)

        over_blocks(opened, opened.height(part.ties, part.graded), measure, threads)
    return values, totals


@dataclass(frozen=True)
class _Part:
    """Metrics that are read off the same groups: their places among those wanted, and how the ranking is read."""

    places: tuple[int, ...]
    ties: str
    graded: bool


def _parts(wanted: Sequence[Metric], ties: str, graded: bool) -> tuple[_Part, ...]:
    """Gains make reading slow and are read only for metrics that take them; a radius needs the groups unordered."""
    gaining = [place for place, metric in enumerate(wanted) if graded and metric.takes_gains]
    within = [place for place, metric in enumerate(wanted) if metric.family.reads == "radius"]
    rest = [place for place in range(len(wanted)) if place not in (*gaining, *within)]
    if ties == "expected":
        return _Part(tuple(rest + within), ties, False), _Part(tuple(gaining), ties, True)
    return (
        _Part(tuple(rest), ties, False), _Part(tuple(within), "expected", False), _Part(tuple(gaining), ties, True),
    )  # fmt: skip

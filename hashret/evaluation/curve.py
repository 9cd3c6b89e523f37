"""Precision and recall over the Hamming radius: a curve that needs no order among ties."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation.rankings import CodesRanking
from hashret.relevance import Relevance

__all__ = ["precision_recall"]

_BLOCK = 256


def precision_recall(
    ranking: tuple[Codes, Codes], relevance: Relevance
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean recall and precision of what lies within each Hamming radius 0 ... bits ("hash lookup").

    Args:
        ranking: Codes of the queries and of the gallery.
        relevance: The right answers.

    Returns:
        Recall and precision, each float64 (bits + 1,). Recall is averaged over the queries that have a right answer;
        precision at a radius over those of them that find anything within it, NaN where none does.

    Raises:
        InputError: No query has a right answer.
        WidthError: The two sides differ in width.

    Example:
        >>> from hashret.codes import binarize
        >>> from hashret.relevance import SameInstance
        >>> gallery = binarize([[1.0, 1.0], [1.0, -1.0]])
        >>> recall, precision = precision_recall((gallery[:1], gallery), SameInstance([0], [0, 1]))
        >>> recall.tolist(), precision.tolist()
        ([1.0, 1.0, 1.0], [1.0, 0.5, 0.5])
    """
    opened = CodesRanking(*ranking)
    radii = ranking[1].bits + 1
    recall, precision, finding, answerable = np.zeros(radii), np.zeros(radii), np.zeros(radii), 0
    for start in range(0, opened.queries, _BLOCK):
        groups, totals = opened.read(np.arange(start, min(start + _BLOCK, opened.queries)), relevance, "expected")
        keep = totals > 0
        size, right = groups.sizes[keep].cumsum(1), groups.relevant[keep].cumsum(1)
        answerable += int(keep.sum())
        recall += (right / totals[keep, None]).sum(0)
        precision += (right / np.maximum(size, 1)).sum(0)
        finding += (size > 0).sum(0)
    if not answerable:
        raise InputError(
            "relevance", expected="a query with a right answer", got="none", remedy="Check labels and splits."
        )
    return recall / answerable, np.divide(precision, finding, out=np.full(radii, np.nan), where=finding > 0)

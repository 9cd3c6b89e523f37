"""Numbers made of several evaluations, as papers print them: means over folds or categories, and rsum.

- **COCO 1K** is the mean over five folds of the 5,000 test images: :func:`evaluate_folds`, then :func:`means_over`.
- **FashionIQ** is the mean over its three categories, each with its own gallery: :func:`means_over`.
- **rsum** adds up six recalls of caption retrieval: :func:`rsum`.
- **CIRR**'s recall within subsets needs no summary: it is ``evaluate(..., candidates=task.candidates)``.

Nothing here ranks, and no number of single queries is averaged twice: a mean over parts is of the parts' own values,
so that a part with few queries counts as much as one with many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation.evaluate import evaluate
from hashret.evaluation.scores import Scores
from hashret.relevance import Relevance

__all__ = ["evaluate_folds", "means_over", "rsum"]

_RSUM = ("hit@1", "hit@5", "hit@10")


def evaluate_folds(
    ranking: tuple[Codes, Codes] | tuple[NDArray[Any], NDArray[Any]],
    relevance: Relevance,
    query_folds: ArrayLike,
    gallery_folds: ArrayLike,
    metrics: Sequence[str] = ("hit@1", "hit@5", "hit@10"),
    ties: str = "expected",
    unanswered: str = "omit",
    *,
    threads: int | None = None,
) -> dict[int, Scores]:
    """Measure each fold by itself: its queries against its part of the gallery.

    COCO 1K of the 5,000 test images with their captions is ``image // 1000`` as the fold of both, an image's number for
    the images and the number of its image for each caption; a paper's number is ``means_over`` of the result.

    Args:
        ranking: Codes or vectors of all queries and of the whole gallery.
        relevance: The right answers among all.
        query_folds: Whole numbers (Q,): the fold of each query.
        gallery_folds: Whole numbers (N,): the fold of each gallery item. Items of folds without queries are not used.
        metrics: As :func:`hashret.evaluation.evaluate.evaluate` takes them; so the others.
        ties: What orders items at equal distance.
        unanswered: What becomes of queries without a right answer *in their fold*.
        threads: How many to use at most; None for all cores.

    Returns:
        Scores of each fold, by its number, ascending.

    Raises:
        InputError: Not one fold a query and a gallery item, no query, or as evaluate.

    Example:
        >>> from hashret.codes import binarize
        >>> from hashret.relevance import SameInstance
        >>> codes, numbers = binarize([[1, 1], [1, 1], [1, -1]]), [0, 1, 2]
        >>> folds = evaluate_folds((codes, codes), SameInstance(numbers, numbers), [0, 1, 1], [0, 1, 1], ["hit@1"])
        >>> {fold: scores.means() for fold, scores in folds.items()}
        {0: {'hit@1': 1.0}, 1: {'hit@1': 1.0}}
    """
    if not isinstance(ranking, tuple) or len(ranking) != 2:
        raise InputError(
            "ranking", expected="a tuple of two Codes or two float arrays (queries, gallery)",
            got=type(ranking).__name__, remedy="Hits cannot be cut into folds: search each fold by itself.",
        )  # fmt: skip
    ours = _folds(query_folds, relevance.queries, "query folds")
    theirs = _folds(gallery_folds, relevance.gallery, "gallery folds")
    if not len(ours):
        raise InputError("query folds", expected="at least one query", got="none", remedy="Give queries.")
    if (len(ranking[0]), len(ranking[1])) != (len(ours), len(theirs)):
        raise InputError(
            "ranking", expected=f"{len(ours)} queries and {len(theirs)} gallery items (relevance)",
            got=f"{len(ranking[0])} and {len(ranking[1])}", remedy="Rank the items the relevance was made for.",
        )  # fmt: skip
    found = {}
    for fold in np.unique(ours).tolist():
        rows, ids = np.flatnonzero(ours == fold), np.flatnonzero(theirs == fold)
        part: Any = (ranking[0][rows], ranking[1][ids])
        found[fold] = evaluate(part, relevance.restrict(rows, ids), metrics, ties, unanswered, threads=threads)
    return found


def means_over(scores: Mapping[Any, Scores]) -> dict[str, float]:
    """The mean of every metric over several evaluations: the folds of COCO 1K, the categories of FashionIQ.

    Args:
        scores: By fold, category or task; all of the same metrics and the same rules.

    Returns:
        By metric, the plain mean of the values of the parts, however many queries each has.

    Raises:
        InputError: None given, or some that differ in metrics, in what breaks ties, or in what becomes of queries
            without an answer.

    Example:
        >>> dress = Scores({"recall@10": np.array([1.0, 1.0])}, "expected", 2, 0, "omit")
        >>> shirt = Scores({"recall@10": np.array([0.0])}, "expected", 1, 0, "omit")
        >>> means_over({"dress": dress, "shirt": shirt})
        {'recall@10': 0.5}
    """
    parts = list(scores.values())
    rules = {(tuple(part.per_query), part.ties, part.policy) for part in parts}
    if len(rules) != 1:
        told = "; ".join(f"{', '.join(metrics)} with ties={ties}, {policy}" for metrics, ties, policy in sorted(rules))
        raise InputError(
            "scores", expected="evaluations of the same metrics by the same rules", got=told or "none",
            remedy="Evaluate all parts with the same arguments.",
        )  # fmt: skip
    return {metric: float(np.mean([part[metric] for part in parts])) for metric in parts[0].per_query}


def rsum(i2t: Scores | Mapping[str, float], t2i: Scores | Mapping[str, float]) -> float:
    """The sum of ``hit@1``, ``hit@5`` and ``hit@10`` in percent over both directions, 0 ... 600.

    Args:
        i2t: Image to text: scores that have the three, or their means by name (as :func:`means_over` gives them).
        t2i: Text to image.

    Raises:
        InputError: One of the three was not measured.

    Example:
        >>> perfect = {"hit@1": 1.0, "hit@5": 1.0, "hit@10": 1.0}
        >>> rsum(perfect, {**perfect, "hit@1": 0.5})
        550.0
    """
    total = 0.0
    for name, side in (("i2t", i2t), ("t2i", t2i)):
        missing = [m for m in _RSUM if m not in (side.per_query if isinstance(side, Scores) else side)]
        if missing:
            raise InputError(
                f"rsum of {name}", expected=", ".join(_RSUM), got=f"no {', '.join(missing)}",
                remedy="Name them in evaluate(metrics=...).",
            )  # fmt: skip
        total += 100 * sum(side[metric] for metric in _RSUM)
    return float(total)


def _folds(folds: ArrayLike, count: int, name: str) -> NDArray[np.int64]:
    numbers: NDArray[Any] = np.asarray(folds)
    if numbers.shape != (count,) or (numbers.size and numbers.dtype.kind not in "iu"):
        raise InputError(
            name, expected=f"whole numbers ({count},)", got=f"{numbers.dtype} {numbers.shape}",
            remedy="Give the number of its fold for each item.",
        )  # fmt: skip
    return numbers.astype(np.int64)

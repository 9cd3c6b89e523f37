"""Presets: other people's whole protocols, a metric with its tie rule and what becomes of queries without an answer.

A published number can be compared only with one made by the same rules. A preset fixes all of them at once, so that
nobody has to find them again; what it gives is not comparable with ``map``.

``crcgs-compat`` is the metric of CRCGS's released code (``fx_calc_map_label_with_diff_label``):

- Codes are ranked by Hamming distance and the ranking is cut at place K = *number of queries* (2,000 on MIRFlickr-25K,
  5,000 on MS COCO), which has nothing to do with the gallery.
- Average precision is divided by the right answers inside the cut, so that finding few costs nothing: ``map@K:hits``.
- A query with no right answer inside the cut counts as 0, and so does one that has none at all; the mean is over all.
- Equal distances stay in gallery order (``by-id``). The released code calls NumPy's default sort, which is not stable:
  the order of ties there depends on the version and the processor. A stable sort is the nearest rule that is one.
- With more queries than gallery items the released code stops with an IndexError; here all items count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hashret.evaluation.evaluate import evaluate
from hashret.evaluation.inputs import Rankable, check_choice
from hashret.evaluation.scores import Scores
from hashret.relevance import Relevance

__all__ = ["PRESETS", "Preset", "evaluate_preset"]


@dataclass(frozen=True)
class Preset:
    """Arguments of :func:`hashret.evaluation.evaluate.evaluate` that belong together.

    Attributes:
        metrics: Names.
        ties: What orders items at equal distance.
        unanswered: What becomes of queries without any right answer.
    """

    metrics: tuple[str, ...]
    ties: str
    unanswered: str


PRESETS: dict[str, Callable[[int], Preset]] = {
    "crcgs-compat": lambda queries: Preset((f"map@{queries}:hits",), "by-id", "zero"),
}
"""By name: what a preset asks for, given the number of queries."""


def evaluate_preset(name: str, ranking: Rankable, relevance: Relevance, *, threads: int | None = None) -> Scores:
    """Measure a ranking by somebody else's rules.

    Args:
        name: A key of PRESETS.
        ranking: As :func:`hashret.evaluation.evaluate.evaluate` takes it.
        relevance: The right answers.
        threads: How many to use at most; None for all cores.

    Returns:
        Scores, which tell the metric, the tie rule and the rest.

    Raises:
        InputError: An unknown preset, or as evaluate.

    Example:
        >>> from hashret.codes import binarize
        >>> from hashret.relevance import SameInstance
        >>> queries, gallery = binarize([[1, 1], [-1, -1]]), binarize([[1, 1], [1, -1], [-1, 1], [-1, -1]])
        >>> evaluate_preset("crcgs-compat", (queries, gallery), SameInstance([7, 8], [7, 8, 7, 7])).means()
        {'map@2:hits': 0.75}
    """
    check_choice("preset", name, tuple(PRESETS))
    wanted = PRESETS[name](relevance.queries)
    return evaluate(ranking, relevance, wanted.metrics, wanted.ties, wanted.unanswered, threads=threads)

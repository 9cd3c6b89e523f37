"""What callers may hand to an evaluation, each refused by name when it is something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation.listed import HitsRanking
from hashret.evaluation.metrics import Metric
from hashret.evaluation.rankings import CandidatesRanking, CodesRanking, KeyedRanking, Ranking, VectorsRanking
from hashret.relevance import Relevance
from hashret.search.hits import Hits
from hashret.search.inputs import whole_number

__all__ = ["Candidates", "Rankable", "as_candidates", "check_choice", "check_known", "check_threads", "open_ranking"]

Rankable = Hits | tuple[Codes, Codes] | tuple[NDArray[Any], NDArray[Any]]
Candidates = Sequence[ArrayLike] | NDArray[np.int64]


def open_ranking(ranking: Rankable, relevance: Relevance, candidates: Candidates | None = None) -> Ranking:
    """The ranking that hits, a pair of codes or a pair of vector arrays stand for.

    Args:
        ranking: As :func:`hashret.evaluation.evaluate.evaluate` takes it.
        relevance: What judges it.
        candidates: See :func:`as_candidates`.

    Raises:
        InputError: None of these, no query, or other sizes than ``relevance``.
    """
    if not isinstance(relevance, Relevance):
        raise InputError(
            "relevance", expected="a Relevance", got=type(relevance).__name__,
            remedy="Use SharedLabels(query_labels, gallery_labels), SameInstance or Targets.",
        )  # fmt: skip
    whole = ranking if isinstance(ranking, Hits) else _keyed(ranking)
    queries, gallery = (len(whole), relevance.gallery) if isinstance(whole, Hits) else (whole.queries, whole.width)
    if (queries, gallery) != (relevance.queries, relevance.gallery):
        raise InputError(
            "ranking", expected=f"{relevance.queries} queries and {relevance.gallery} gallery items (relevance)",
            got=f"{queries} and {gallery}", remedy="Rank the items the relevance was made for.",
        )  # fmt: skip
    if not queries:
        raise InputError("queries", expected="at least one", got="none", remedy="A mean over nothing has no value.")
    among = None if candidates is None else as_candidates(candidates, queries, gallery)
    if isinstance(whole, KeyedRanking):
        return whole if among is None else CandidatesRanking(whole, among)
    if among is None:
        return HitsRanking(whole, gallery, relevance.totals())
    totals = relevance.judge(np.arange(queries), among).sum(1, dtype=np.int64)
    return HitsRanking(whole, gallery, totals, among)


def as_candidates(candidates: Candidates, queries: int, gallery: int) -> NDArray[np.int64]:
    """The only ids each query may be answered with, as int64 (Q, c), ascending; -1 fills up.

    Args:
        candidates: For each query its ids, in any order; -1 pads and is passed over.
        queries: Q.
        gallery: N.

    Raises:
        InputError: Not one list of whole numbers a query, an id out of range, or one given twice to a query.

    Example:
        >>> as_candidates([[2, 0], [1]], queries=2, gallery=3).tolist()
        [[0, 2], [1, -1]]
    """
    rows = [np.asarray(ids) for ids in candidates]
    good = [ids.ndim == 1 and (not ids.size or ids.dtype.kind in "iu") for ids in rows]
    if len(rows) != queries or not all(good):
        raise InputError(
            "candidates", expected=f"a list of gallery ids for each of {queries} queries",
            got=f"{len(rows)} lists" if all(good) else f"for query {good.index(False)} something else",
            remedy="Give the ids a query may be answered with; -1 fills rows of an array up.",
        )  # fmt: skip
    filled = np.full((queries, max((len(ids) for ids in rows), default=0)), gallery, np.int64)
    for line, ids in zip(filled, rows, strict=True):
        line[: len(ids)] = np.where(ids == -1, gallery, ids)
        wrong = ids[(ids < -1) | (ids >= gallery)]
        if len(wrong):
            raise InputError(
                "candidates", expected=f"gallery ids 0 ... {gallery - 1}", got=str(wrong[0]),
                remedy="Number the gallery as it was given.",
            )  # fmt: skip
    filled.sort(axis=1)
    twice = (filled[:, 1:] == filled[:, :-1]) & (filled[:, 1:] < gallery)
    if twice.any():
        row, column = np.argwhere(twice)[0]
        raise InputError(
            "candidates", expected="each id once a query", got=f"id {filled[row, column]} twice for query {row}",
            remedy="Leave out the second.",
        )  # fmt: skip
    filled[filled == gallery] = -1
    return filled


def check_known(opened: Ranking, wanted: Sequence[Metric], gallery: int, ties: str) -> None:
    """Refuse metrics that read places or distances the ranking does not know.

    Raises:
        InputError: With all such metrics, and how far the ranking is known.
    """
    radius = opened.known_radius()
    near = [m for m in wanted if m.family.reads == "radius" and radius is not None and (m.cut or 0) > radius]
    if near and radius == -1:
        raise InputError(
            "metrics", expected="codes or hits, whose distances are whole numbers, for " + ", ".join(map(str, near)),
            got="a ranking without Hamming distances", remedy="Leave the metric out, or pass codes.",
        )  # fmt: skip
    if near:
        raise InputError(
            "hits", expected="all items within the radius for " + ", ".join(map(str, near)),
            got=f"lists that are known up to distance {radius}",
            remedy="List farther items too, pad lists that are whole, or pass (query codes, gallery codes).",
        )  # fmt: skip
    known = opened.known(ties)
    depth = [((m.cut or gallery) if m.family.reads == "places" else gallery, m) for m in wanted]
    deep = [str(m) for places, m in depth if m.family.reads != "radius" and known is not None and places > known]
    if deep:
        why = "" if ties == "by-id" else f' (ties="{ties}" needs whole tie groups, and a list may cut its last)'
        remedy = "" if ties == "by-id" else 'set ties="by-id", '
        raise InputError(
            "hits", expected=f"rankings deep enough for {', '.join(deep)}", got=f"{known} known places{why}",
            remedy=f'Search with a larger k, cut the metric ("map@K"), {remedy}or pass (query codes, gallery codes).',
        )  # fmt: skip


def check_choice(name: str, got: str, known: Sequence[str]) -> None:
    """Refuse a word that is not among those known.

    Raises:
        InputError: It is not.
    """
    if got not in known:
        raise InputError(
            name, expected="one of " + ", ".join(known), got=repr(got), remedy=f"Set {name} to one of these."
        )


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that is none.

    Raises:
        InputError: Below 1, or no whole number.
    """
    if threads is not None:
        whole_number(threads, "threads", least=1)


def _keyed(ranking: object) -> KeyedRanking:
    """Codes or vectors on both sides."""
    if isinstance(ranking, tuple) and len(ranking) == 2:
        queries, gallery = ranking
        if isinstance(queries, Codes) and isinstance(gallery, Codes):
            return CodesRanking(queries, gallery)
        if not isinstance(queries, Codes) and not isinstance(gallery, Codes):
            return VectorsRanking(queries, gallery)
    got = f"({', '.join(type(side).__name__ for side in ranking)})" if isinstance(ranking, tuple) else ""
    raise InputError(
        "ranking", expected="Hits, or a tuple of two Codes or two float arrays (queries, gallery)",
        got=got or type(ranking).__name__, remedy="binarize(x) makes Codes of relaxed codes.",
    )  # fmt: skip

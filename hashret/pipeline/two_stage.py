"""Two-stage search of a trained method: a shortlist of the whole gallery, then a fine score of the shortlist alone.

Stage 1 ranks everything by embeddings (cosine) or by codes (Hamming distance); stage 2 scores the shortlist by tokens
where the method has them (TGDT) and by the cosine of embeddings where it has not, plus a weight times the score of
stage 1. The weight is chosen on validation tasks. A right answer that is not in the shortlist is a miss: it cannot come
back. (The released code of TGDT counts it as a hit.)
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation import evaluate
from hashret.examples import Example, Task
from hashret.retriever import Retriever
from hashret.search import (
    EmbeddingStore,
    HammingIndex,
    Hits,
    Scored,
    Tokens,
    TokenStore,
    exhaustive,
    nearest,
    rerank,
    rerank_tokens,
)
from hashret.search.hits import PAD_DISTANCE, PAD_ID
from hashret.search.stored_rows import StoredAs

__all__ = [
    "FirstStage",
    "TwoStageGallery",
    "Queries",
    "TwoStage",
    "choose_weight",
    "ended",
    "fine_ranking",
    "milliseconds",
    "ways_of",
]

FirstStage = Literal["codes", "embedding"]
WEIGHTS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
BLOCK = 4096


@dataclass(frozen=True)
class TwoStage:
    """How a gallery is searched.

    Attributes:
        shortlist: Candidates of stage 1 that stage 2 looks at, >= 1.
        by: What ranks the whole gallery in stage 1.
        weight: What the score of stage 1 (a cosine, or 1 - 2 distance / bits) is multiplied by before it is added to
            the fine score; >= 0.
    """

    shortlist: int = 100
    by: FirstStage = "embedding"
    weight: float = 0.0


@dataclass(frozen=True, eq=False)
class Queries:
    """Q queries as every stage needs them.

    Attributes:
        embeddings: float32 (Q, D).
        codes: Their codes.
        tokens: What a fine score compares; None where it compares embeddings.
        texts: Whether they are texts.
    """

    embeddings: NDArray[np.float32]
    codes: Codes
    tokens: Tokens | None
    texts: bool

    @classmethod
    def of(cls, retriever: Retriever, examples: Sequence[Example]) -> Queries:
        """Embed, hash and take apart."""
        tokens = retriever.tokens(examples) if retriever.method.looks_closer else None
        return cls(retriever.embed(examples), retriever.encode(examples), tokens, examples[0].image is None)

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.embeddings)

    def one(self, row: int) -> Queries:
        """One of them."""
        part = slice(row, row + 1)
        tokens = None if self.tokens is None else self.tokens[part]
        return Queries(self.embeddings[part], self.codes[part], tokens, self.texts)


@dataclass(frozen=True, eq=False)
class TwoStageGallery:
    """N items as every stage needs them: an index of codes, and stores of embeddings and tokens mapped from files.

    Attributes:
        index: Their codes.
        embeddings: Their embeddings.
        tokens: Their tokens; None where the fine score compares embeddings.
    """

    index: HammingIndex
    embeddings: EmbeddingStore
    tokens: TokenStore | None

    @classmethod
    def write(
        cls, retriever: Retriever, examples: Sequence[Example], folder: str | os.PathLike[str],
        dtype: StoredAs = "float16",
    ) -> TwoStageGallery:  # fmt: skip
        """Encode a gallery into a folder: embeddings as float32, tokens as ``dtype``."""
        place, index = Path(folder), HammingIndex(retriever.bits)
        index.add(retriever.encode(examples))
        embeddings = EmbeddingStore.write(place / "embeddings", retriever.embed(examples), dtype="float32")
        tokens = None
        if retriever.method.looks_closer:
            blocks = (retriever.tokens(examples[start : start + BLOCK]) for start in range(0, len(examples), BLOCK))
            tokens = TokenStore.write(place / "tokens", blocks, dtype=dtype)
        return cls(index, embeddings, tokens)

    def __len__(self) -> int:
        """Number of items."""
        return len(self.embeddings)

    def first(self, queries: Queries, how: TwoStage) -> Scored:
        """Stage 1: the best of the whole gallery, (Q, shortlist)."""
        count = min(how.shortlist, len(self))
        if how.by == "embedding":
            return nearest(queries.embeddings, self.embeddings, count)
        hits = self.index.search(queries.codes, k=count)
        return Scored(np.float32(1) - np.float32(2 / self.index.bits) * hits.distances.astype(np.float32), hits.ids)

    def second(self, queries: Queries, listed: Scored, how: TwoStage) -> Scored:
        """Stage 2: the shortlist in the order of the fine score and the weighted score of stage 1."""
        if self.tokens is not None and queries.tokens is not None:
            return rerank_tokens(
                listed, queries.tokens, self.tokens, listed.k, summed=_summed(queries), weight=how.weight
            )
        fine = rerank(listed.hits(), queries.embeddings, self.embeddings, listed.k)
        return _mixed(fine, listed, how.weight)

    def search(self, queries: Queries, how: TwoStage) -> Scored:
        """Both stages, (Q, shortlist)."""
        return self.second(queries, self.first(queries, how), how)

    def search_all(self, queries: Queries) -> Scored:
        """The fine score of everything, (Q, N): what two stages can come to at best."""
        if self.tokens is not None and queries.tokens is not None:
            return exhaustive(queries.tokens, self.tokens, len(self), summed=_summed(queries))
        return nearest(queries.embeddings, self.embeddings, len(self))


def _summed(queries: Queries) -> Literal["queries", "gallery"]:
    """The sum runs over words, on whichever side the texts are."""
    return "queries" if queries.texts else "gallery"


def _mixed(fine: Scored, listed: Scored, weight: float) -> Scored:
    """Fine scores plus the weighted ones of stage 1, in their order."""
    if not weight:
        return fine
    here, there = np.argsort(fine.ids, axis=1), np.argsort(listed.ids, axis=1)
    first = np.empty_like(listed.scores)
    np.put_along_axis(first, here, np.take_along_axis(listed.scores, there, 1), 1)
    scores = np.float32(fine.scores.astype(np.float64) + weight * first)
    order = np.lexsort((fine.ids, -scores), axis=1)
    return Scored(np.take_along_axis(scores, order, 1), np.take_along_axis(fine.ids, order, 1))


def ended(found: Scored) -> Hits:
    """Answers of which nothing follows: what they do not list is never found."""
    hits = found.hits()
    rows = len(hits)
    return Hits(
        np.hstack([hits.distances, np.full((rows, 1), PAD_DISTANCE, np.int32)]),
        np.hstack([hits.ids, np.full((rows, 1), PAD_ID, np.int64)]),
    )


def check_everything(task: Task) -> None:
    """Refuse a task that allows each query some answers only: a shortlist knows nothing of them.

    Raises:
        InputError: It is one.
    """
    if task.allowed() is not None:
        raise InputError(
            f"task {task.name}", expected="queries that may be answered with everything", got="candidates",
            remedy="Rank such a task by embeddings or codes alone.",
        )  # fmt: skip


def fine_ranking(retriever: Retriever, task: Task) -> Hits:
    """Everything ranked by the fine score, each query its own whole list.

    Raises:
        InputError: A task that allows each query some answers only.
    """
    check_everything(task)
    with tempfile.TemporaryDirectory() as folder:
        gallery = TwoStageGallery.write(retriever, task.gallery, folder, "float32")
        return gallery.search_all(Queries.of(retriever, task.queries)).hits()


def choose_weight(
    retriever: Retriever,
    tasks: Sequence[Task],
    how: TwoStage,
    metrics: Sequence[str],
    weights: Sequence[float] = WEIGHTS,
) -> tuple[TwoStage, Mapping[float, float]]:
    """The weight with the best mean of the metrics over validation tasks; the smallest of equals.

    Returns:
        ``how`` with it, and weight -> mean.

    Raises:
        InputError: No task.
    """
    if not tasks:
        raise InputError(
            "weight",
            expected="validation tasks to choose it on",
            got="none",
            remedy="Give a weight, or hold a part out.",
        )
    found = dict.fromkeys(weights, 0.0)
    for task in tasks:
        with tempfile.TemporaryDirectory() as folder:
            gallery = TwoStageGallery.write(retriever, task.gallery, folder)
            queries = Queries.of(retriever, task.queries)
            listed = gallery.first(queries, how)
            for weight in weights:
                answers = gallery.second(queries, listed, TwoStage(how.shortlist, how.by, weight))
                scores = evaluate(ended(answers), task.relevance, metrics, unanswered="zero")
                found[weight] += float(np.mean([scores[metric] for metric in metrics])) / len(tasks)
    best = max(weights, key=lambda weight: (found[weight], -weight))
    return TwoStage(how.shortlist, how.by, best), found


def ways_of(gallery: TwoStageGallery, how: TwoStage) -> dict[str, Callable[[Queries], Scored]]:
    """Each way of searching a gallery: by stage 1 alone, by both, and by the fine score of everything."""
    return {
        "first stage": lambda queries: gallery.first(queries, how),
        "two stages": lambda queries: gallery.search(queries, how),
        "exhaustive": gallery.search_all,
    }


def milliseconds(search: Callable[[Queries], Scored], queries: Queries, count: int = 50) -> float:
    """Median time of one query alone, encoded beforehand, of the first ``count`` after one that is not counted."""
    times = []
    for row in [0, *range(min(count, len(queries)))]:
        asked = queries.one(row)
        begun = time.perf_counter()
        search(asked)
        times.append(1000 * (time.perf_counter() - begun))
    return float(np.median(times[1:]))

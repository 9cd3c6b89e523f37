"""The second look: a shortlist found by Hamming distance, put in the order of the embeddings themselves.

A code loses what its bits cannot hold, but hardly ever sends what is near far away. So the nearest hundred codes are
looked up in an :class:`~hashret.search.embedding_store.EmbeddingStore`, and only these rows are read. What the codes
did not list cannot come back: a second look over c candidates is as good as c is large.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import check_finite
from hashret.errors import InputError, NonFiniteError, WidthError
from hashret.search.crew import crew, together
from hashret.search.embedding_store import EmbeddingStore
from hashret.search.hits import PAD_DISTANCE, PAD_ID, Hits
from hashret.search.inputs import whole_number
from hashret.search.rerank_kernels import scorer

__all__ = ["PAD_SCORE", "Scored", "Similarity", "as_similarity", "as_vectors", "in_order", "rerank"]

Similarity = Literal["cosine", "dot"]

PAD_SCORE = np.float32(-np.inf)
_NUMBERS = 1 << 20  # of a block of queries: candidates, or values of their embeddings


@dataclass(frozen=True, eq=False)
class Scored:
    """The k best of each of Q queries by a score.

    Attributes:
        scores: float32 (Q, k), descending; minus infinity pads.
        ids: int64 (Q, k); ascending among equal scores; -1 pads.

    Raises:
        InputError: Shapes or dtypes differ from these, a padding pair is half set, or a row is out of order.

    Example:
        >>> scores, ids = Scored(np.array([[0.9, 0.1]], np.float32), np.array([[4, 2]]))
        >>> ids.tolist()
        [[4, 2]]
    """

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check shapes, dtypes and the order of every row."""
        scores, ids = self.scores, self.ids
        if scores.dtype != np.float32 or ids.dtype != np.int64 or scores.ndim != 2 or scores.shape != ids.shape:
            raise InputError(
                "scored", expected="float32 (Q, k) scores and int64 (Q, k) ids",
                got=f"{scores.dtype} {scores.shape} and {ids.dtype} {ids.shape}", remedy="Convert them first.",
            )  # fmt: skip
        padded = ids == PAD_ID
        if not np.where(padded, scores == PAD_SCORE, (ids >= 0) & np.isfinite(scores)).all():
            raise InputError(
                "scored", expected=f"ids >= 0 with finite scores, or padding ({PAD_SCORE}, {PAD_ID})",
                got="another pair", remedy="Pad the score and the id together, and number items from 0.",
            )  # fmt: skip
        near, far = scores[:, :-1], scores[:, 1:]
        ordered = (near > far) | ((near == far) & ((ids[:, :-1] < ids[:, 1:]) | padded[:, 1:]))
        if not ordered.all():
            raise InputError(
                "scored", expected="rows ordered by score, descending, and id",
                got=f"row {np.argwhere(~ordered)[0, 0]} out of order", remedy="Sort them first.",
            )  # fmt: skip

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Unpack as ``scores, ids``."""
        return iter((self.scores, self.ids))

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.ids)

    @property
    def k(self) -> int:
        """Answers a query, padding included."""
        return int(self.ids.shape[1])

    def __eq__(self, other: object) -> bool:
        """Same scores and ids."""
        return (
            isinstance(other, Scored)
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.ids, other.ids)
        )

    __hash__ = None  # type: ignore[assignment]

    def hits(self) -> Hits:
        """The same answers with their places for distances, as :func:`hashret.evaluate` takes them.

        Equal scores share a place, so that ties are counted as ties.

        Example:
            >>> scored = Scored(np.array([[0.9, 0.9, 0.1]], np.float32), np.array([[2, 4, 3]]))
            >>> scored.hits().distances.tolist()
            [[0, 0, 1]]
        """
        places = np.zeros(self.ids.shape, np.int32)
        np.cumsum(self.scores[:, 1:] != self.scores[:, :-1], axis=1, out=places[:, 1:])
        return Hits(np.where(self.ids == PAD_ID, PAD_DISTANCE, places), self.ids)


def rerank(
    hits: Hits,
    queries: ArrayLike,
    store: EmbeddingStore,
    k: int = 10,
    *,
    similarity: Similarity = "cosine",
    threads: int | None = None,
) -> Scored:
    """The k best of each query's shortlist by the embeddings themselves.

    A score depends on its query and its row alone, not on what else is in the batch or on the number of threads; sums
    are taken in float64 and rounded once, to float32.

    Args:
        hits: The shortlists (Q, c), such as ``index.search(codes, k=100)``; padding is passed over.
        queries: The embeddings of the same queries (Q, D), of the model the store's are of.
        store: The embeddings of the gallery; has every id of the shortlists.
        k: Answers a query; more than c are padded.
        similarity: "cosine", which is 0 with an embedding of zeros, or "dot".
        threads: How many to use at most; None for all cores.

    Returns:
        Scores and ids (Q, k), ordered by (score descending, id), padded with (-inf, -1).

    Raises:
        InputError: Other queries than were searched, a bad ``k`` or ``similarity``, or ids that the store lacks.
        WidthError: Queries of another width than the store.
        NonFiniteError: NaN or infinity in a query, in a row that was looked up, or a dot beyond float32; with its id.

    Example:
        >>> from hashret.codes import binarize
        >>> from hashret.search.index import HammingIndex
        >>> gallery = np.array([[1, 2], [3, 1], [-1, 2]], np.float32)
        >>> index = HammingIndex(bits=2)
        >>> _ = index.add(binarize(gallery))
        >>> query = [[5.0, 1.0]]
        >>> scores, ids = rerank(index.search(binarize(query), k=2), query, EmbeddingStore(gallery), k=2)
        >>> ids.tolist()
        [[1, 0]]
    """
    k = whole_number(k, "k", least=1)
    cosine = as_similarity(similarity)
    vectors, candidates = as_vectors(queries, store, len(hits)), hits.k
    scores = np.full((len(hits), k), PAD_SCORE)
    ids = np.full((len(hits), k), PAD_ID)
    workers = crew(None if threads is None else whole_number(threads, "threads", least=1), _words(hits, store))
    step = max(1, min(_NUMBERS // max(1, candidates, store.width), -(-len(hits) // workers)))

    def look(start: int) -> None:
        part = slice(start, start + step)
        found, names = in_order(hits.ids[part], vectors[part], store, cosine)
        best = min(k, candidates)
        scores[part, :best], ids[part, :best] = found[:, :best], names[:, :best]

    together([partial(look, start) for start in range(0, len(hits), step)], workers)
    return Scored(scores, ids)


def _words(hits: Hits, store: EmbeddingStore) -> int:
    """What there is to do, in words of 8 bytes."""
    return hits.ids.size * store.width * store.rows.dtype.itemsize // 8


def as_similarity(similarity: Similarity) -> bool:
    """Whether it is the cosine.

    Raises:
        InputError: It is neither "cosine" nor "dot".
    """
    if similarity not in ("cosine", "dot"):
        raise InputError("similarity", expected="'cosine' or 'dot'", got=repr(similarity), remedy="Choose one of them.")
    return similarity == "cosine"


def as_vectors(queries: ArrayLike, store: EmbeddingStore, count: int | None = None) -> NDArray[Any]:
    """Queries (Q, D) for a store, ``count`` of them if it is given.

    Raises:
        InputError: Not real vectors, or another number of them.
        WidthError: Another width than the store has.
        NonFiniteError: NaN or infinity.
    """
    vectors: NDArray[Any] = np.asarray(queries)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiub" or count not in (None, len(vectors)):
        raise InputError(
            "queries", expected=f"real vectors ({'Q' if count is None else count}, {store.width})"
            + ("" if count is None else ", one a shortlist"),
            got=f"{vectors.dtype} {vectors.shape}", remedy="Give the embeddings of the queries that were searched.",
        )  # fmt: skip
    if vectors.shape[1] != store.width:
        raise WidthError(
            "queries", expected=f"{store.width} columns, as the store has", got=str(vectors.shape[1]),
            remedy="Embed queries and gallery with one model.",
        )  # fmt: skip
    check_finite(vectors, "queries")
    return vectors


def in_order(
    ids: NDArray[np.int64], queries: NDArray[Any], store: EmbeddingStore, cosine: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores and ids (Q, c) of whole shortlists, the best first, padding last.

    Raises:
        InputError: An id that the store lacks.
        NonFiniteError: A score that is none; with its id.
    """
    listed = ids != PAD_ID
    places = np.full(ids.shape, -1, np.int64)
    places[listed] = store.places(ids[listed])
    vectors = np.array(queries, np.float64, order="C")
    if cosine:  # a power of two changes no direction, and no square overflows or vanishes
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
        vectors = np.ldexp(vectors, -np.frexp(largest)[1])
    rows = store.rows.view(np.uint16) if store.dtype == "float16" else store.rows
    scores = np.full(ids.shape, PAD_SCORE)
    scorer(store.dtype)(rows, store.scales, places, vectors, cosine, scores)
    bad = listed & ~np.isfinite(scores)
    if bad.any():
        raise NonFiniteError(
            "scores", expected="finite numbers", got=f"{scores[bad][0]} for id {ids[bad][0]}",
            remedy="Its embedding has NaN or infinity, or the product is beyond float32: write the store anew.",
        )  # fmt: skip
    order = np.lexsort((ids, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

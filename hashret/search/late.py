"""Late interaction: a text and an image compared token by token, over a shortlist or over all there is.

The score of a text and an image is the sum over its words of the best product with one of the image's regions:
ColBERT's MaxSim (Khattab & Zaharia, SIGIR 2020), in image-text matching the max-over-regions, sum-over-words pooling of
TERAN and TGDT. It costs hundreds of products a pair, so it is a second look at what codes or embeddings listed; what
these did not list cannot come back. Tokens are taken as they are: nothing is normalised, and no slot is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.errors import InputError, NonFiniteError, WidthError
from hashret.search.crew import crew, together
from hashret.search.hits import PAD_ID, Hits
from hashret.search.inputs import whole_number
from hashret.search.late_kernels import BEST, SUMMED, late_scorer, stride
from hashret.search.rerank import PAD_SCORE, Scored
from hashret.search.stored_rows import read_ahead
from hashret.search.token_store import TokenStore
from hashret.search.tokens import Tokens, offsets_of, row_numbers

__all__ = ["Summed", "exhaustive", "late_scores", "rerank_tokens"]

Summed = Literal["queries", "gallery"]

_CACHE = 1 << 18  # bytes of query tokens that meet a gallery token while it lies in the cache
_SCORES = 1 << 21  # of a block of the gallery with all queries, or of a block of shortlists


def late_scores(
    queries: Tokens, gallery: Tokens, *, summed: Summed, scale: float = 1.0, threads: int | None = None
) -> NDArray[np.float32]:
    """The score of every query with every item, float32 (Q, N).

    ``s(text, image) = scale * sum over words w of max over regions r of <w, r>``. A score depends on its two items
    alone, to the last bit: texts asked of images and images asked of texts have the same scores.

    Args:
        queries: Their tokens.
        gallery: The tokens of the items, of the same width.
        summed: Whose tokens are the words, over which the sum runs: "queries" where texts are asked of images,
            "gallery" where images are asked of texts.
        scale: What the sum is multiplied by; TGDT takes 10.
        threads: How many to use at most; None for all cores.

    Raises:
        InputError: Something else than Tokens, or a bad ``summed``, ``scale`` or ``threads``.
        WidthError: Tokens of different widths.
        NonFiniteError: A score beyond float32.

    Example:
        >>> text, image = Tokens.of([[[1, 0], [0, 2]]]), Tokens.of([[[1, 1], [3, 0], [0, -1]]])
        >>> late_scores(text, image, summed="queries").tolist()  # 3 and 2
        [[5.0]]
        >>> late_scores(image, text, summed="gallery").tolist()
        [[5.0]]
    """
    side = _Side(summed, scale)
    items = _Items.of_tokens(gallery)
    _asked(queries, items)
    workers = _workers(threads, len(queries) * len(gallery), queries, items)
    scores = _every(queries, items, slice(0, len(gallery)), side, workers)
    _finite(scores, np.ones(scores.shape, bool), np.broadcast_to(np.arange(len(gallery)), scores.shape), "item")
    return scores


def rerank_tokens(
    shortlist: Hits | Scored,
    queries: Tokens,
    store: TokenStore,
    k: int = 10,
    *,
    summed: Summed,
    scale: float = 1.0,
    coarse: ArrayLike | None = None,
    weight: float = 0.0,
    threads: int | None = None,
) -> Scored:
    """The k best of each query's shortlist by ``fine + weight * coarse``, fine being the score of :func:`late_scores`.

    A score depends on its query and its item alone, to the last bit, not on the shortlist, the batch or the number of
    threads: a shortlist of everything gives what :func:`exhaustive` gives.

    Args:
        shortlist: Hits of codes or Scored of embeddings (Q, c); padding is passed over.
        queries: The tokens of the same queries.
        store: The tokens of the gallery; has every id of the shortlists.
        k: Answers a query; more than c are padded.
        summed: As in :func:`late_scores`.
        scale: As in :func:`late_scores`.
        coarse: Real numbers (Q, c), one beside each id of the shortlist; None for the scores of a Scored.
        weight: What the coarse scores count, at least 0; choose it on validation data.
        threads: How many to use at most; None for all cores.

    Returns:
        Scores and ids (Q, k), ordered by (score descending, id), padded with (-inf, -1).

    Raises:
        InputError: Other queries than were searched, ids that the store lacks, a weight without coarse scores, or a
            bad ``k``, ``summed``, ``scale``, ``weight`` or ``threads``.
        WidthError: Queries of another width than the store.
        NonFiniteError: NaN or infinity in a row that was looked up or in a coarse score, or a score beyond float32;
            with its id.

    Example:
        >>> images = TokenStore(np.array([[1, 0], [0, 1], [1, 1]], np.float32), [2, 1])
        >>> nearest_codes = Hits(np.array([[0, 3]], np.int32), np.array([[1, 0]]))
        >>> scores, ids = rerank_tokens(nearest_codes, Tokens.of([[[2, 0], [0, 3]]]), images, k=2, summed="queries")
        >>> scores.tolist(), ids.tolist()
        ([[5.0, 5.0]], [[0, 1]])
    """
    k, side, items = whole_number(k, "k", least=1), _Side(summed, scale), _Items.of_store(store)
    _asked(queries, items)
    if not isinstance(shortlist, (Hits, Scored)) or len(shortlist) != len(queries):
        got = f"{len(shortlist)} of them" if isinstance(shortlist, (Hits, Scored)) else type(shortlist).__name__
        raise InputError(
            "shortlist", expected=f"Hits or Scored of {len(queries)} queries", got=got,
            remedy="Give the shortlists of these queries, and the tokens of those that were searched.",
        )  # fmt: skip
    listed = shortlist.ids != PAD_ID
    added = _coarse(shortlist, coarse, weight, listed)
    places = np.full(shortlist.ids.shape, -1, np.int64)
    places[listed] = store.places(shortlist.ids[listed])
    scores, ids = np.full((len(queries), k), PAD_SCORE), np.full((len(queries), k), PAD_ID)
    best, workers = min(k, shortlist.k), _workers(threads, int(listed.sum()), queries, items)
    step = max(1, min(_SCORES // max(1, shortlist.k), -(-len(queries) // workers)))

    def look(start: int) -> None:
        part = slice(start, min(start + step, len(queries)))
        asked = queries[part]
        found = _score(asked, items, places[part], np.arange(len(asked) + 1), side)
        found[~listed[part]] = PAD_SCORE
        _finite(found, listed[part], shortlist.ids[part], "id")
        if added is not None:
            found = _mixed(found, added[part])
            _finite(found, listed[part], shortlist.ids[part], "id")
        order = np.lexsort((shortlist.ids[part], -found), axis=1)[:, :best]
        scores[part, :best] = np.take_along_axis(found, order, 1)
        ids[part, :best] = np.take_along_axis(shortlist.ids[part], order, 1)

    together([partial(look, start) for start in range(0, len(queries), step)], workers)
    return Scored(scores, ids)


def exhaustive(
    queries: Tokens, store: TokenStore, k: int = 10, *, summed: Summed, scale: float = 1.0, threads: int | None = None
) -> Scored:
    """The k best of the whole gallery by the score of :func:`late_scores`: what a shortlist can at best come to.

    All rows are read, a block of the gallery at a time, and each meets all queries.

    Args:
        queries: Their tokens.
        store: The tokens of the gallery.
        k: Answers a query; more than the store has are padded.
        summed: As in :func:`late_scores`.
        scale: As in :func:`late_scores`.
        threads: How many to use at most; None for all cores.

    Returns:
        Scores and ids (Q, k), ordered by (score descending, id), padded with (-inf, -1).

    Raises:
        InputError: A bad ``k``, ``summed``, ``scale`` or ``threads``.
        WidthError: Queries of another width than the store.
        NonFiniteError: NaN or infinity in a row, or a score beyond float32; with its id.

    Example:
        >>> images = TokenStore(np.array([[1, 0], [0, 1], [1, 1]], np.float32), [2, 1], ids=[7, 3])
        >>> exhaustive(Tokens.of([[[2, 0], [0, 3]]]), images, k=3, summed="queries").ids.tolist()
        [[3, 7, -1]]
    """
    k, side, items = whole_number(k, "k", least=1), _Side(summed, scale), _Items.of_store(store)
    _asked(queries, items)
    workers, names = _workers(threads, len(queries) * len(store), queries, items), store.ids
    scores, ids = np.full((len(queries), k), PAD_SCORE), np.full((len(queries), k), PAD_ID)
    step = max(1, _SCORES // max(1, len(queries)))
    for start in range(0, len(store) if len(queries) else 0, step):
        part = slice(start, min(start + step, len(store)))
        read_ahead(store.rows, *store.offsets[[part.stop, min(part.stop + step, len(store))]].tolist())
        found = _every(queries, items, part, side, workers)
        _finite(found, np.ones(found.shape, bool), np.broadcast_to(names[part], found.shape), "id")
        for number, line in enumerate(found):
            near = _nearly_best(line, k)
            both = np.concatenate([scores[number], line[near]])
            labels = np.concatenate([ids[number], names[part][near]])
            order = np.lexsort((labels, -both))[:k]
            scores[number], ids[number] = both[order], labels[order]
    return Scored(scores, ids)


class _Side:
    """Whose tokens are summed, and the scale; checked."""

    def __init__(self, summed: Summed, scale: float) -> None:
        if summed not in ("queries", "gallery"):
            raise InputError(
                "summed", expected="'queries' or 'gallery'", got=repr(summed),
                remedy="The sum runs over the words: name the side that is text.",
            )  # fmt: skip
        self.queries, self.scale = summed == "queries", _number(scale, "scale")


def _number(value: float, name: str) -> float:
    """A finite number of at least 0."""
    plain = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not plain or not math.isfinite(value) or value < 0:
        raise InputError(name, expected="a finite number >= 0", got=repr(value), remedy=f"Give {name} as a float.")
    return float(value)


@dataclass(frozen=True)
class _Items:
    """The tokens of a gallery as the kernel reads them, in memory or mapped."""

    rows: NDArray[Any]
    scales: NDArray[np.float32]
    offsets: NDArray[np.int64]
    dtype: str

    @classmethod
    def of_tokens(cls, tokens: Tokens) -> _Items:
        if not isinstance(tokens, Tokens):
            raise InputError("gallery", expected="Tokens", got=type(tokens).__name__, remedy="Tokens.of makes them.")
        return cls(tokens.values, np.empty(0, np.float32), tokens.offsets, "float32")

    @classmethod
    def of_store(cls, store: TokenStore) -> _Items:
        if not isinstance(store, TokenStore):
            raise InputError(
                "store", expected="a TokenStore", got=type(store).__name__, remedy="TokenStore.write makes one."
            )
        rows = store.rows.view(np.uint16) if store.dtype == "float16" else store.rows
        return cls(rows, store.scales, store.offsets, store.dtype)


def _asked(queries: Tokens, items: _Items) -> None:
    """Refuse what are no queries for these items."""
    if not isinstance(queries, Tokens):
        raise InputError("queries", expected="Tokens", got=type(queries).__name__, remedy="Tokens.of makes them.")
    if queries.width != items.rows.shape[1]:
        raise WidthError(
            "queries", expected=f"tokens of width {items.rows.shape[1]}, as the gallery has", got=str(queries.width),
            remedy="Embed queries and gallery with one model.",
        )  # fmt: skip


def _workers(threads: int | None, pairs: int, queries: Tokens, items: _Items) -> int:
    """Threads for so many pairs of a query and an item."""
    allowed = None if threads is None else whole_number(threads, "threads", least=1)
    products = len(queries.values) / max(1, len(queries)) * len(items.rows) / max(1, len(items.offsets) - 1)
    return crew(allowed, int(pairs * products * queries.width / 8))


def _score(
    queries: Tokens, items: _Items, places: NDArray[np.int64], groups: NDArray[np.int64], side: _Side
) -> NDArray[np.float32]:
    """Scores (Q, c) of the queries of each group with the items at its places."""
    tile = SUMMED if side.queries else BEST
    padded = -(-queries.lengths // tile) * tile
    starts = offsets_of(padded)
    within = row_numbers(np.zeros(len(queries), np.int64), padded)
    last = np.repeat(queries.lengths - 1, padded)
    rows = np.zeros((len(within), stride(queries.width)), np.float32)
    rows[:, : queries.width] = queries.values[np.repeat(queries.offsets[:-1], padded) + np.minimum(within, last)]
    sums = np.zeros((len(queries), places.shape[1]), np.float64)
    kernel = late_scorer(items.dtype, side.queries)
    kernel(items.rows, items.scales, items.offsets, places, groups, rows, starts, queries.lengths, sums)
    with np.errstate(over="ignore", invalid="ignore"):  # told by their callers, with the id
        return np.asarray(sums * side.scale + 0.0, np.float32)


def _every(queries: Tokens, items: _Items, part: slice, side: _Side, workers: int) -> NDArray[np.float32]:
    """Scores (Q, n) of all queries with a part of the gallery."""
    scores = np.empty((len(queries), part.stop - part.start), np.float32)
    longest = int(queries.lengths.max(initial=1)) + SUMMED
    many = max(1, _CACHE // (longest * stride(queries.width) * 4))
    groups = range(0, len(queries), many)
    step = max(1, -(-scores.shape[1] // (workers if len(groups) < 2 * workers else 1)))

    def look(first: int, start: int) -> None:
        asked = queries[first : first + many]
        end = min(start + step, scores.shape[1])
        places = np.arange(part.start + start, part.start + end)[None]
        scores[first : first + many, start:end] = _score(asked, items, places, np.array([0, len(asked)]), side)

    together([partial(look, first, at) for at in range(0, scores.shape[1], step) for first in groups], workers)
    return scores


def _coarse(
    shortlist: Hits | Scored, coarse: ArrayLike | None, weight: float, listed: NDArray[np.bool_]
) -> NDArray[np.float64] | None:
    """What is added to the fine scores, float64 (Q, c); None for nothing."""
    weight = _number(weight, "weight")
    given: Any = shortlist.scores if coarse is None and isinstance(shortlist, Scored) else coarse
    if given is None:
        if weight:
            raise InputError(
                "coarse", expected="a score beside each id", got="none, and a weight",
                remedy="Give coarse, such as the similarities of the embeddings, or a shortlist of nearest().",
            )  # fmt: skip
        return None
    scores: NDArray[Any] = np.asarray(given)
    if scores.shape != listed.shape or scores.dtype.kind not in "fiu":
        raise InputError(
            "coarse", expected=f"real numbers {listed.shape}, one beside each id of the shortlist",
            got=f"{scores.dtype} {scores.shape}", remedy="Give the scores of what is listed, in its order.",
        )  # fmt: skip
    if not weight:
        return None
    _finite(scores, listed, shortlist.ids, "id", "coarse")
    return np.where(listed, scores, 0).astype(np.float64) * weight


def _mixed(fine: NDArray[np.float32], added: NDArray[np.float64]) -> NDArray[np.float32]:
    """The sum, rounded once."""
    with np.errstate(over="ignore"):
        return np.asarray(fine + added + 0.0, np.float32)


def _finite(
    scores: NDArray[Any], listed: NDArray[np.bool_], ids: NDArray[np.int64], called: str, name: str = "scores"
) -> None:
    """Refuse a score that is none, by its id."""
    bad = listed & ~np.isfinite(scores)
    if bad.any():
        raise NonFiniteError(
            name, expected="finite numbers", got=f"{scores[bad][0]} for {called} {ids[bad][0]}",
            remedy="Its tokens have NaN or infinity, or the score is beyond float32: write them anew, or scale them.",
        )  # fmt: skip


def _nearly_best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Where the k best scores lie, and all that equal the last of them."""
    if k >= len(scores):
        return np.arange(len(scores))
    return np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k])

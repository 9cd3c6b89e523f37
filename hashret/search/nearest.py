"""The first look by embeddings: the k nearest of a whole store, exactly, a block of it at a time.

A product of float32 matrices ranks the gallery up to its rounding error, which is bounded; all that can be among the k
best within that bound is scored again by the kernel of :mod:`hashret.search.rerank_kernels`. So the answers are those
of that kernel over everything, ties and all, whatever BLAS is at hand and however it sums; equal rows cost time, never
an answer. It is a scan: there is no tree and no approximation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.errors import NonFiniteError
from hashret.search.embedding_store import EmbeddingStore
from hashret.search.hits import PAD_ID
from hashret.search.inputs import whole_number
from hashret.search.rerank import PAD_SCORE, Scored, Similarity, as_similarity, as_vectors, in_order
from hashret.search.stored_rows import read_ahead

__all__ = ["nearest"]

_BLOCK = 1 << 22  # numbers of a block of the store
_PAIRS = 1 << 21  # of a block of the store with a block of queries, and of candidates kept of a block of queries
_ROUNDING = 2.0**-24  # of float32, relative
_LEAST = 2.0**-149  # what float32 tells from 0
_SQUARES = (1e-20, 1e30)  # squared lengths that float32 sums without loss


def nearest(queries: ArrayLike, store: EmbeddingStore, k: int = 10, *, similarity: Similarity = "cosine") -> Scored:
    """The k best of a whole store by the embeddings themselves: what rerank gives with everything listed.

    Args:
        queries: Embeddings (Q, D), of the model the store's are of.
        store: The embeddings of the gallery.
        k: Answers a query; more than the store has are padded.
        similarity: "cosine", which is 0 with an embedding of zeros, or "dot".

    Returns:
        Scores and ids (Q, k), ordered by (score descending, id), padded with (-inf, -1).

    Raises:
        InputError: A bad ``k`` or ``similarity``, or queries that are no vectors.
        WidthError: Queries of another width than the store.
        NonFiniteError: NaN or infinity in a query or in a row, or a dot among the best beyond float32; with its id.

    Example:
        >>> store = EmbeddingStore(np.array([[1, 2], [3, 1], [-1, 2]], np.float32), ids=[5, 7, 9])
        >>> scores, ids = nearest([[5.0, 1.0]], store, k=2)
        >>> ids.tolist()
        [[7, 5]]
    """
    k, cosine = whole_number(k, "k", least=1), as_similarity(similarity)
    vectors, names = as_vectors(queries, store), store.ids
    rows_at_once = max(1, min(_BLOCK // store.width, len(store)))
    many = max(1, _PAIRS // (rows_at_once + min(k, len(store))))
    parts = [slice(start, start + many) for start in range(0, len(vectors), many)]
    pools = [_Pool.empty(vectors[part], store, min(k, len(store)), cosine, names) for part in parts]
    for start, rows, norms, lengths in _blocks(store, rows_at_once, names):
        for pool in pools:
            pool.look(start, rows, norms, lengths)
    scores, ids = np.full((len(vectors), k), PAD_SCORE), np.full((len(vectors), k), PAD_ID)
    for pool, part in zip(pools, parts, strict=True):
        best, labels = pool.best()
        scores[part, : best.shape[1]], ids[part, : best.shape[1]] = best, labels
    return Scored(scores, ids)


def _unit(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Vectors of length 1, or zeros, and the lengths they had."""
    exponents = np.frexp(np.abs(vectors).max(axis=1, initial=0.0))[1]
    scaled = np.ldexp(vectors, -exponents[:, None])
    lengths = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    with np.errstate(over="ignore"):
        return (scaled / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32), np.ldexp(lengths, exponents)


def _blocks(
    store: EmbeddingStore, step: int, names: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]]:
    """The first place, the rows, what their products are divided by, and the lengths of the embeddings, block by block.

    Raises:
        NonFiniteError: NaN or infinity in a row; with its id.
    """
    for start in range(0, len(store), step):
        part = slice(start, start + step)
        read_ahead(store.rows, start + step, start + 2 * step)
        rows = np.asarray(store.rows[part], np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("ij,ij->i", rows, rows)
        norms = np.sqrt(squares)
        lengths = norms.astype(np.float64)
        odd = np.flatnonzero(~((squares >= _SQUARES[0]) & (squares <= _SQUARES[1])))
        if len(odd):
            bad = odd[~np.isfinite(rows[odd]).all(axis=1)]
            if len(bad):
                raise NonFiniteError(
                    "embeddings", expected="finite numbers", got=f"others for id {names[start + bad[0]]}",
                    remedy="Write the store anew, without this row or with what it should be.",
                )  # fmt: skip
            rows = rows.copy()
            rows[odd], lengths[odd] = _unit(rows[odd].astype(np.float64))
            norms[odd] = 1
        yield start, rows, norms, lengths * store.scales[part] if store.scales.size else lengths


@dataclass
class _Pool:
    """What may be among the k best of some queries: scores by BLAS, divided by the query's length, and their bounds.

    A float32 sum of D products is off by at most D roundings of the product of both lengths in whichever order it is
    taken (Higham, Accuracy and Stability, section 3.1); the length and the divisions are off by D / 2 more and a few.
    """

    vectors: NDArray[Any]
    unit: NDArray[np.float32]
    store: EmbeddingStore
    k: int
    cosine: bool
    names: NDArray[np.int64]
    least: NDArray[np.float64]  # what is certain: k of those seen score so much, (Q,)
    slack: NDArray[np.float64]  # what rounding the answer may change beside the error, (Q,)
    queries: NDArray[np.int64]  # of each candidate
    places: NDArray[np.int64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @classmethod
    def empty(
        cls, vectors: NDArray[Any], store: EmbeddingStore, k: int, cosine: bool, names: NDArray[np.int64]
    ) -> _Pool:
        """A pool of some queries before the first block."""
        unit, lengths = _unit(np.asarray(vectors, np.float64))
        with np.errstate(divide="ignore", over="ignore"):
            slack = np.zeros(len(lengths)) if cosine else _LEAST / lengths
        nothing, none = np.empty(0, np.int64), np.empty(0)
        least = np.full(len(vectors), -np.inf)
        return cls(vectors, unit, store, k, cosine, names, least, slack, nothing, nothing, none, none)

    def look(
        self, start: int, rows: NDArray[np.float32], norms: NDArray[np.float32], lengths: NDArray[np.float64]
    ) -> None:
        """Take what may be among the best of a block that begins at a place."""
        steps = (1.5 * self.store.width + 16) * _ROUNDING
        error = steps / (1 - steps)
        near = self.unit @ rows.T
        near /= norms
        if self.cosine:
            lower = np.subtract(near, np.float32(error + 4 * _ROUNDING), dtype=np.float32)
            upper = np.add(near, np.float32(error + 4 * _ROUNDING), dtype=np.float32)
        else:
            lower = (near - error) * lengths - self.slack[:, None]
            upper = (near + error) * lengths + self.slack[:, None]
        if self.k <= lower.shape[1] and np.isneginf(self.least).any():
            certain = np.partition(lower, lower.shape[1] - self.k, axis=1)[:, lower.shape[1] - self.k]
            self.least = np.maximum(self.least, certain)
        rows_of, columns = np.nonzero(upper >= self.least[:, None])
        grown = len(self.queries) < 4 * len(columns)
        self.queries = np.concatenate([self.queries, rows_of])
        self.places = np.concatenate([self.places, columns + start])
        self.lower = np.concatenate([self.lower, lower[rows_of, columns]])
        self.upper = np.concatenate([self.upper, upper[rows_of, columns]])
        if grown:
            self._drop()

    def _drop(self) -> None:
        """Leave out what is certainly not among the best; if too much is left, ask the kernel."""
        order = np.lexsort((-self.lower, self.queries))
        counts = np.bincount(self.queries, minlength=len(self.least))
        full = np.flatnonzero(counts >= self.k)
        at = np.cumsum(counts)[full] - counts[full] + self.k - 1
        self.least[full] = np.maximum(self.least[full], self.lower[order[at]])
        self._only(self.upper >= self.least[self.queries])
        if len(self.places) > 2 * _PAIRS:
            ids = self.best()[1]
            self._only(np.concatenate([np.isin(self.names[places], line) for places, line in self._lists(ids)]))

    def _only(self, kept: NDArray[np.bool_]) -> None:
        """Leave out the other candidates."""
        self.queries, self.places = self.queries[kept], self.places[kept]
        self.lower, self.upper = self.lower[kept], self.upper[kept]

    def _lists(self, ids: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The candidates of each query, which the pool is put in the order of, and its ids."""
        order = np.argsort(self.queries, kind="stable")
        self.queries, self.places = self.queries[order], self.places[order]
        self.lower, self.upper = self.lower[order], self.upper[order]
        ends = np.searchsorted(self.queries, np.arange(len(ids) + 1))
        for number, line in enumerate(ids):
            yield self.places[ends[number] : ends[number + 1]], line

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and ids (Q, k) of the best candidates, by the kernel."""
        scores, ids = np.full((len(self.vectors), self.k), PAD_SCORE), np.full((len(self.vectors), self.k), PAD_ID)
        order = np.argsort(self.queries, kind="stable")
        queries, names = self.queries[order], self.names[self.places[order]]
        ends = np.searchsorted(queries, np.arange(len(ids) + 1))
        longest = max(self.k, int(np.diff(ends).max(initial=0)))
        step = max(1, _PAIRS // longest)
        for first in range(0, len(ids), step):
            part = slice(first, min(first + step, len(ids)))
            inside = slice(ends[part.start], ends[part.stop])
            listed = np.full((part.stop - first, longest), PAD_ID)
            column = np.arange(inside.start, inside.stop) - ends[queries[inside]]
            listed[queries[inside] - first, column] = names[inside]
            found, labels = in_order(listed, self.vectors[part], self.store, self.cosine)
            scores[part], ids[part] = found[:, : self.k], labels[:, : self.k]
        return scores, ids

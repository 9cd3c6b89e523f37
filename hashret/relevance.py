"""Relevance: which gallery items answer which query.

Three kinds of ground truth, one question. Multi-label sets (MIRFLICKR, NUS-WIDE, MS-COCO): two items are relevant to
each other when they share a label. Caption sets (Flickr30k, COCO): when they are of one instance. Composed queries
(FashionIQ, CIRR): when the item is a named target. Relevance ranks nothing and knows no metric; it refuses graded
answers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.errors import InputError, WidthError

__all__ = ["Relevance", "SameInstance", "SharedLabels", "Targets"]

_BLOCK = 256


class Relevance(ABC):
    """Which of N gallery items (ids 0 ... N-1) answer which of Q queries.

    Attributes:
        queries: Q.
        gallery: N.
    """

    queries: int
    gallery: int

    @abstractmethod
    def matrix(self, rows: ArrayLike) -> NDArray[np.bool_]:
        """Judge whole rows: bool (len(rows), N), True where the gallery item answers the query."""

    def judge(self, rows: ArrayLike, ids: ArrayLike) -> NDArray[np.bool_]:
        """Judge ranked answers.

        Args:
            rows: Query numbers, int (q,).
            ids: Gallery ids, int64 (q, k); -1 pads and is never right.

        Returns:
            bool (q, k).

        Raises:
            InputError: A query number or id out of range, or shapes that do not fit.

        Example:
            >>> relevance = SharedLabels([[1, 0]], [[1, 1], [0, 1]])
            >>> relevance.judge([0], [[1, 0, -1]]).tolist()
            [[False, True, False]]
        """
        rows, ids = self._check_answers(rows, ids)
        found = np.zeros(ids.shape, np.bool_)
        if not self.gallery:
            return found
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            known = np.where(ids[part] < 0, 0, ids[part])
            found[part] = (ids[part] >= 0) & np.take_along_axis(self.matrix(rows[part]), known, axis=1)
        return found

    def totals(self) -> NDArray[np.int64]:
        """Number of right answers of each query, int64 (Q,)."""
        blocks = np.split(np.arange(self.queries), range(_BLOCK, self.queries, _BLOCK))
        return np.concatenate([self.matrix(rows).sum(1, dtype=np.int64) for rows in blocks])

    def restrict(self, rows: ArrayLike, ids: ArrayLike) -> Relevance:
        """The same judgements for some queries and some gallery items, each renumbered from 0 in the order given.

        Args:
            rows: Query numbers to keep, int (q,).
            ids: Gallery ids to keep, int (n,).

        Returns:
            Relevance of q queries and n gallery items; a query may be left without a right answer.

        Raises:
            InputError: A query number or id out of range.

        Example:
            >>> SharedLabels([[1, 0], [0, 1]], [[1, 1], [0, 1], [1, 0]]).restrict([1], [2, 0]).matrix([0]).tolist()
            [[False, True]]
        """
        rows, ids = self._check_rows(rows), self._check_ids(ids)
        parts = (self.matrix(rows[start : start + _BLOCK])[:, ids] for start in range(0, len(rows), _BLOCK))
        return Targets([np.flatnonzero(row) for part in parts for row in part], len(ids))

    def _check_ids(self, ids: ArrayLike) -> NDArray[np.int64]:
        numbers = np.asarray(ids)
        whole = numbers.ndim == 1 and (not numbers.size or numbers.dtype.kind in "iu")
        if not whole or (numbers.size and (numbers.min() < 0 or numbers.max() >= self.gallery)):
            raise InputError(
                "ids", expected=f"gallery ids 0 ... {self.gallery - 1}", got=np.array2string(numbers, threshold=5),
                remedy="Number the gallery as it was given.",
            )  # fmt: skip
        return numbers.astype(np.int64, copy=False)

    def _check_rows(self, rows: ArrayLike) -> NDArray[np.int64]:
        numbers = np.asarray(rows)
        whole = numbers.ndim == 1 and (not numbers.size or numbers.dtype.kind in "iu")
        if not whole or (numbers.size and (numbers.min() < 0 or numbers.max() >= self.queries)):
            raise InputError(
                "rows", expected=f"query numbers 0 ... {self.queries - 1}", got=np.array2string(numbers, threshold=5),
                remedy="Number the queries as they were given.",
            )  # fmt: skip
        return numbers.astype(np.int64, copy=False)

    def _check_answers(self, rows: ArrayLike, ids: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows, answers = self._check_rows(rows), np.asarray(ids)
        if answers.ndim != 2 or len(rows) != len(answers) or (answers.size and answers.dtype.kind not in "iu"):
            raise InputError(
                "ids", expected=f"integers (q, k) for q = {len(rows)} rows", got=f"{answers.dtype} {answers.shape}",
                remedy="Give one row of gallery ids a query.",
            )  # fmt: skip
        if answers.size and (answers.max() >= self.gallery or answers.min() < -1):
            raise InputError(
                "ids", expected=f"-1 ... {self.gallery - 1}", got=f"{answers.min()} ... {answers.max()}",
                remedy="Rank the gallery this relevance was made for.",
            )  # fmt: skip
        return rows, answers.astype(np.int64, copy=False)


class SharedLabels(Relevance):
    """Relevant when query and gallery item share at least one label (PROTOCOLS of MIRFLICKR-25K, NUS-WIDE, MS-COCO).

    Args:
        query_labels: Multi-hot (Q, C), zeros and ones; a row of zeros answers nothing and has no answers.
        gallery_labels: Multi-hot (N, C).

    Raises:
        InputError: Not two-dimensional, or values other than 0 and 1.
        WidthError: The two sides have different numbers of classes.

    Example:
        >>> SharedLabels([[1, 0], [0, 0]], [[1, 1], [0, 1]]).totals().tolist()
        [1, 0]
    """

    def __init__(self, query_labels: ArrayLike, gallery_labels: ArrayLike) -> None:
        """Check and keep both label matrices."""
        self.query_labels = _multi_hot(query_labels, "query")
        self.gallery_labels = _multi_hot(gallery_labels, "gallery")
        if self.query_labels.shape[1] != self.gallery_labels.shape[1]:
            raise WidthError(
                "gallery labels", expected=f"{self.query_labels.shape[1]} classes as the queries",
                got=f"{self.gallery_labels.shape[1]}", remedy="Use one list of classes for both sides.",
            )  # fmt: skip
        self.queries, self.gallery = len(self.query_labels), len(self.gallery_labels)
        self._gallery_t = np.ascontiguousarray(self.gallery_labels.T, dtype=np.float32)

    def matrix(self, rows: ArrayLike) -> NDArray[np.bool_]:
        """Judge whole rows by one matrix product of the label matrices."""
        rows = self._check_rows(rows)
        result: NDArray[np.bool_] = self.query_labels[rows].astype(np.float32) @ self._gallery_t > 0
        return result

    def words(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Label bitsets of both sides, uint64 (Q, L) and (N, L), L = ceil(C / 64): relevant rows share a set bit."""
        return _label_words(self.query_labels), _label_words(self.gallery_labels)

    def restrict(self, rows: ArrayLike, ids: ArrayLike) -> SharedLabels:
        """Keep some label rows of both sides; see :meth:`Relevance.restrict`."""
        return SharedLabels(self.query_labels[self._check_rows(rows)], self.gallery_labels[self._check_ids(ids)])


class SameInstance(Relevance):
    """Relevant when query and gallery item are of one instance: an image and its captions.

    Args:
        query_instances: Integers (Q,).
        gallery_instances: Integers (N,).

    Raises:
        InputError: Not one-dimensional integers.

    Example:
        >>> SameInstance([7, 8], [8, 8, 7]).judge([0, 1], [[2], [2]]).tolist()
        [[True], [False]]
    """

    def __init__(self, query_instances: ArrayLike, gallery_instances: ArrayLike) -> None:
        """Check and keep both lists of instance numbers."""
        self.query_instances = _integers(query_instances, "query instances")
        self.gallery_instances = _integers(gallery_instances, "gallery instances")
        self.queries, self.gallery = len(self.query_instances), len(self.gallery_instances)

    def matrix(self, rows: ArrayLike) -> NDArray[np.bool_]:
        """Judge whole rows by comparing instance numbers."""
        rows = self._check_rows(rows)
        result: NDArray[np.bool_] = self.query_instances[rows][:, None] == self.gallery_instances[None, :]
        return result

    def judge(self, rows: ArrayLike, ids: ArrayLike) -> NDArray[np.bool_]:
        """Judge ranked answers without touching the rest of the gallery; see :meth:`Relevance.judge`."""
        rows, ids = self._check_answers(rows, ids)
        if not self.gallery:
            return np.zeros(ids.shape, np.bool_)
        result: NDArray[np.bool_] = (ids >= 0) & (self.query_instances[rows][:, None] == self.gallery_instances[ids])
        return result

    def restrict(self, rows: ArrayLike, ids: ArrayLike) -> SameInstance:
        """Keep some instance numbers of both sides; see :meth:`Relevance.restrict`."""
        return SameInstance(self.query_instances[self._check_rows(rows)], self.gallery_instances[self._check_ids(ids)])


class Targets(Relevance):
    """Relevant when the gallery item is among the targets named for the query (composed queries, qrels).

    Args:
        targets: For each query the ids of its right answers; may be empty.
        gallery: Number of gallery items.

    Raises:
        InputError: An id out of range.

    Example:
        >>> Targets([[2], [0, 1], []], gallery=3).totals().tolist()
        [1, 2, 0]
    """

    def __init__(self, targets: Sequence[Iterable[int]], gallery: int) -> None:
        """Check and keep the targets."""
        self.targets = tuple(
            np.unique(_integers(list(ids), f"targets of query {row}")) for row, ids in enumerate(targets)
        )
        self.queries, self.gallery = len(self.targets), int(gallery)
        for row, ids in enumerate(self.targets):
            if ids.size and (ids[0] < 0 or ids[-1] >= self.gallery):
                raise InputError(
                    f"targets of query {row}", expected=f"ids 0 ... {self.gallery - 1}", got=str(ids.tolist()),
                    remedy="Number the gallery from 0 and leave out targets that are not in it.",
                )  # fmt: skip

    def matrix(self, rows: ArrayLike) -> NDArray[np.bool_]:
        """Judge whole rows by setting the named targets."""
        rows = self._check_rows(rows)
        found = np.zeros((len(rows), self.gallery), np.bool_)
        for place, row in enumerate(rows):
            found[place, self.targets[row]] = True
        return found


def _multi_hot(labels: ArrayLike, name: str) -> NDArray[np.uint8]:
    values = np.asarray(labels)
    if values.ndim != 2 or values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise InputError(
            f"{name} labels", expected="zeros and ones (items, classes)", got=f"{values.dtype} {values.shape}",
            remedy="Give one multi-hot row an item (sklearn's MultiLabelBinarizer makes them).",
        )  # fmt: skip
    return values.astype(np.uint8)


def _label_words(labels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    padded = np.pad(labels, ((0, 0), (0, -labels.shape[1] % 64)))
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)


def _integers(values: ArrayLike, name: str) -> NDArray[np.int64]:
    numbers: NDArray[Any] = np.asarray(values)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise InputError(
            name, expected="whole numbers in one row", got=f"{numbers.dtype} {numbers.shape}",
            remedy="Number the instances or items from 0.",
        )  # fmt: skip
    return numbers.astype(np.int64)

"""Relevance: which gallery items answer which query.

Three kinds of ground truth, one question. Multi-label sets (MIRFLICKR, NUS-WIDE, MS-COCO): two items are relevant to
each other when they share a label. Caption sets (Flickr30k, COCO): when they are of one instance. Composed queries
(FashionIQ, CIRR): when the item is a named target. Where some answers are better than others, an answer has a gain
(:class:`GradedLabels`, :class:`GradedTargets`); it is right when its gain is above 0. Relevance ranks nothing and knows
no metric.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.errors import InputError, WidthError

__all__ = ["GradedLabels", "GradedTargets", "Relevance", "SameInstance", "SharedLabels", "Targets"]

_BLOCK_PAIRS = 1 << 22  # queries x gallery items judged at once


class Relevance(ABC):
    """Which of N gallery items (ids 0 ... N-1) answer which of Q queries.

    Attributes:
        queries: Q.
        gallery: N.
        is_graded: Whether gains differ; where they do not, each right answer gains 1.
    """

    queries: int
    gallery: int
    is_graded: bool = False

    @abstractmethod
    def matrix(self, rows: ArrayLike) -> NDArray[np.bool_]:
        """Judge whole rows: bool (len(rows), N), True where the gallery item answers the query."""

    def gains(self, rows: ArrayLike) -> NDArray[np.float64]:
        """How good each gallery item is as an answer: float64 (len(rows), N), 0 where it is wrong."""
        return self.matrix(rows).astype(np.float64)

    def best_gains(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Gains of every right answer, the largest first: float64 (len(rows), at most N), filled up with 0."""
        gains = -np.sort(-self.gains(rows), axis=1)
        return gains[:, : int((gains > 0).sum(1).max(initial=0))]

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
        return self._listed(rows, ids, self.matrix).astype(np.bool_)

    def judge_gains(self, rows: ArrayLike, ids: ArrayLike) -> NDArray[np.float64]:
        """Gains of ranked answers, float64 (q, k); arguments and errors as for :meth:`judge`."""
        return self._listed(rows, ids, self.gains)

    def totals(self) -> NDArray[np.int64]:
        """Number of right answers of each query, int64 (Q,)."""
        found = np.zeros(self.queries, np.int64)
        for part in self._parts(self.queries):
            found[part] = np.count_nonzero(self.matrix(np.arange(self.queries)[part]), axis=1)
        return found

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
        judged = self.gains if self.is_graded else self.matrix
        lines = (line for part in self._parts(len(rows)) for line in judged(rows[part])[:, ids])
        named = [(np.flatnonzero(line), line) for line in lines]
        if not self.is_graded:
            return Targets([right for right, _ in named], len(ids))
        return GradedTargets([dict(zip(right.tolist(), line[right], strict=True)) for right, line in named], len(ids))

    def _parts(self, count: int) -> Iterator[slice]:
        """Slices of 0 ... count whose rows are judged at once."""
        height = max(1, _BLOCK_PAIRS // max(self.gallery, 1))
        for start in range(0, count, height):
            yield slice(start, min(start + height, count))

    def _listed(self, rows: ArrayLike, ids: ArrayLike, judged: Callable[[ArrayLike], NDArray[Any]]) -> NDArray[Any]:
        """What ``judged`` says of whole rows, for ranked answers only."""
        rows, ids = self._check_answers(rows, ids)
        found = np.zeros(ids.shape)
        for part in self._parts(len(rows) if self.gallery else 0):
            listed = np.take_along_axis(judged(rows[part]), np.maximum(ids[part], 0), axis=1)
            found[part] = np.where(ids[part] >= 0, listed, 0)
        return found

    def _check_ids(self, ids: ArrayLike) -> NDArray[np.int64]:
        return _numbers(ids, "ids", "gallery ids", self.gallery, "Number the gallery as it was given.")

    def _check_rows(self, rows: ArrayLike) -> NDArray[np.int64]:
        return _numbers(rows, "rows", "query numbers", self.queries, "Number the queries as they were given.")

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
        self._words = _label_words(self.query_labels), _label_words(self.gallery_labels)
        self._planes = np.ascontiguousarray(self._words[1].T)  # all first words, then all second words

    def matrix(self, rows: ArrayLike) -> NDArray[np.bool_]:
        """Judge whole rows by the words of their labels."""
        rows = self._check_rows(rows)
        result = np.zeros((len(rows), self.gallery), np.bool_)
        shared, more = np.empty(self.gallery, np.uint64), np.empty(self.gallery, np.uint64)
        for place, row in enumerate(rows):
            words = self._words[0][row]
            for number, word in enumerate(np.flatnonzero(words)):
                np.bitwise_and(self._planes[word], words[word], out=more if number else shared)
                if number:
                    np.bitwise_or(shared, more, out=shared)
            if words.any():
                np.not_equal(shared, 0, out=result[place])
        return result

    def judge(self, rows: ArrayLike, ids: ArrayLike) -> NDArray[np.bool_]:
        """Judge ranked answers without touching the rest of the gallery; see :meth:`Relevance.judge`."""
        rows, ids = self._check_answers(rows, ids)
        if not self.gallery:
            return np.zeros(ids.shape, np.bool_)
        shared = np.zeros(ids.shape, np.uint64)
        for ours, theirs in zip(self._words[0].T, self._planes, strict=True):
            shared |= theirs[ids] & ours[rows, None]
        result: NDArray[np.bool_] = (ids >= 0) & (shared != 0)
        return result

    def words(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Label bitsets of both sides, uint64 (Q, L) and (N, L), L = ceil(C / 64): relevant rows share a set bit."""
        return self._words

    def graded(self) -> GradedLabels:
        """The same labels, an answer gaining as much as it shares labels."""
        return GradedLabels(self.query_labels, self.gallery_labels)

    def restrict(self, rows: ArrayLike, ids: ArrayLike) -> SharedLabels:
        """Keep some label rows of both sides; see :meth:`Relevance.restrict`."""
        return type(self)(self.query_labels[self._check_rows(rows)], self.gallery_labels[self._check_ids(ids)])


class GradedLabels(SharedLabels):
    """As :class:`SharedLabels`, and the gain of an answer is the number of labels that it shares with the query.

    Example:
        >>> SharedLabels([[1, 1, 0]], [[1, 1, 1], [0, 1, 0], [0, 0, 1]]).graded().gains([0]).tolist()
        [[2.0, 1.0, 0.0]]
    """

    is_graded = True

    def gains(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Shared labels, counted in the words; see :meth:`Relevance.gains`."""
        rows = self._check_rows(rows)
        counts = np.zeros((len(rows), self.gallery), np.uint32)
        for ours, theirs in zip(self._words[0].T, self._planes, strict=True):
            counts += np.bitwise_count(theirs & ours[rows, None])
        return counts.astype(np.float64)


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

    def totals(self) -> NDArray[np.int64]:
        """Number of right answers of each query, int64 (Q,)."""
        known, counts = np.unique(self.gallery_instances, return_counts=True)
        if not len(known):
            return np.zeros(self.queries, np.int64)
        place = np.minimum(np.searchsorted(known, self.query_instances), len(known) - 1)
        return np.where(known[place] == self.query_instances, counts[place], 0).astype(np.int64)

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

    def judge(self, rows: ArrayLike, ids: ArrayLike) -> NDArray[np.bool_]:
        """Judge ranked answers without touching the rest of the gallery; see :meth:`Relevance.judge`."""
        rows, ids = self._check_answers(rows, ids)
        found = np.zeros(ids.shape, np.bool_)
        for place, row in enumerate(rows):
            found[place] = np.isin(ids[place], self.targets[row])
        return found

    def totals(self) -> NDArray[np.int64]:
        """Number of targets of each query, int64 (Q,)."""
        return np.array([len(ids) for ids in self.targets], np.int64)


class GradedTargets(Targets):
    """As :class:`Targets`, each target with its gain (qrels with grades).

    Args:
        targets: For each query the gain, above 0, of each of its right answers by id; may be empty.
        gallery: Number of gallery items.

    Raises:
        InputError: An id out of range, or a gain that is not a finite number above 0.

    Example:
        >>> GradedTargets([{2: 3.0, 0: 1.0}], gallery=3).gains([0]).tolist()
        [[1.0, 0.0, 3.0]]
    """

    is_graded = True

    def __init__(self, targets: Sequence[Mapping[int, float]], gallery: int) -> None:
        """Check and keep targets and gains."""
        super().__init__([list(named) for named in targets], gallery)
        self.target_gains = tuple(
            np.array([named[int(number)] for number in ids], np.float64)
            for named, ids in zip(targets, self.targets, strict=True)
        )
        for row, gains in enumerate(self.target_gains):
            if not ((gains > 0) & np.isfinite(gains)).all():
                raise InputError(
                    f"gains of query {row}", expected="finite numbers above 0", got=str(gains.tolist()),
                    remedy="Leave out the items that are no answer.",
                )  # fmt: skip

    def gains(self, rows: ArrayLike) -> NDArray[np.float64]:
        """The named gains; see :meth:`Relevance.gains`."""
        rows = self._check_rows(rows)
        found = np.zeros((len(rows), self.gallery))
        for place, row in enumerate(rows):
            found[place, self.targets[row]] = self.target_gains[row]
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


def _numbers(values: ArrayLike, name: str, kind: str, count: int, remedy: str) -> NDArray[np.int64]:
    """Whole numbers in one row, each 0 ... count - 1."""
    numbers: NDArray[Any] = np.asarray(values)
    whole = numbers.ndim == 1 and (not numbers.size or numbers.dtype.kind in "iu")
    if not whole or (numbers.size and (numbers.min() < 0 or numbers.max() >= count)):
        got = np.array2string(numbers, threshold=5)
        raise InputError(name, expected=f"{kind} 0 ... {count - 1}", got=got, remedy=remedy)
    return numbers.astype(np.int64, copy=False)

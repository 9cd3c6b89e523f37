"""Embeddings somebody has, as a dataset to learn from: pairs to train on, others held out to choose the epoch by.

Rows of two modalities are pairs as they stand; rows of one with labels are paired with themselves, and what they share
labels with is right. Nobody else's split is known here: what is held out says nothing about a test, and nothing here
reads files.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError, NonFiniteError
from hashret.examples import Example, Pair, RetrievalDataset, Task
from hashret.relevance import Relevance, SameInstance, SharedLabels

__all__ = ["LEAST", "MOST_HELD_OUT", "as_singles", "dataset_of", "share_a_space"]

LEAST = 20
MOST_HELD_OUT = 1000
_MOST_MARKS = 1 << 30  # labels x rows in memory


def dataset_of(
    images: NDArray[np.float32], texts: NDArray[np.float32] | None, labels: NDArray[Any] | None, *, seed: int
) -> tuple[RetrievalDataset, int]:
    """Training pairs and validation tasks of embeddings.

    Rows that share their image vector are one instance (captions of one image): they stand on one side of the split,
    and are never each other's negatives. One instance in ten is held out, at most 1,000.

    Args:
        images: float32 (N, Dx), finite.
        texts: float32 (N, Dy) of the same rows; None where there is one modality, which then needs labels.
        labels: Multi-hot (N, C), or the class of each row, int (N,); None where there are none.
        seed: Draws what is held out.

    Returns:
        The dataset, and how many rows are held out.

    Raises:
        InputError: One modality without labels, fewer than 20 different rows, labels that are none, or of which no
            two rows held out share one.

    Example:
        >>> rows = np.arange(80, dtype=np.float32).reshape(40, 2)
        >>> dataset, held = dataset_of(rows, -rows, None, seed=0)
        >>> len(dataset.train), held, [task.name for task in dataset.validation]
        (36, 4, ['i2t', 't2i'])
    """
    if texts is None and labels is None:
        raise InputError(
            "hasher contrastive", expected="pairs, or labels", got="one modality without labels",
            remedy="Give the other modality with --pairs, or --labels; of vectors alone, use hasher itq.",
        )  # fmt: skip
    instance = _instances(images)
    count = int(instance.max(initial=-1)) + 1
    if count < LEAST:
        raise InputError(
            "embeddings", expected=f"{LEAST} different rows, some to be held out", got=str(count),
            remedy="Learned codes need many; use hasher itq or cca_itq for few.",
        )  # fmt: skip
    marks = None if labels is None else _marks(labels, len(images))
    held = np.random.default_rng((seed, 1)).permutation(count)[: max(2, min(MOST_HELD_OUT, count // 10))]
    apart = np.isin(instance, held)
    one = [Example(image=vector, key=str(row)) for row, vector in enumerate(images)]
    other = one if texts is None else [Example(text=vector, key=str(row)) for row, vector in enumerate(texts)]
    pairs = [
        Pair(one[row], other[row], None if marks is None else marks[row], int(instance[row]))
        for row in np.flatnonzero(~apart)
    ]
    tasks = _tasks(one, other, np.flatnonzero(apart), instance, marks, paired=texts is not None)
    classes = () if marks is None else tuple(map(str, range(marks.shape[1])))
    return RetrievalDataset("embeddings", pairs, tasks, classes=classes), int(apart.sum())


def share_a_space(images: NDArray[np.float32], texts: NDArray[np.float32]) -> float | None:
    """Where a row's own text stands among all texts by cosine, as a share: near 0 in one space, 1/2 in two.

    Args:
        images: float32 (N, Dx); the first 1,000 are looked at.
        texts: float32 (N, Dy).

    Returns:
        The mean share of texts that are nearer than the own one, in [0, 1]; None where the widths differ.

    Example:
        >>> share_a_space(np.eye(4, dtype=np.float32), 2 * np.eye(4, dtype=np.float32))
        0.0
    """
    if images.shape[1] != texts.shape[1]:
        return None
    x, y = (_directions(side[:MOST_HELD_OUT]) for side in (images, texts))
    cosines = x @ y.T
    nearer = cosines > np.diagonal(cosines)[:, None] + 1e-6
    return float(nearer.mean())


def as_singles(values: NDArray[Any], name: str, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """Rows as float32, in which networks compute.

    Args:
        values: Finite (N, D).
        name: What an error calls them.
        numbers: Number of each row in its file.

    Raises:
        NonFiniteError: A number beyond float32.
    """
    with np.errstate(over="ignore"):
        singles = np.ascontiguousarray(values, np.float32)
    bad = np.flatnonzero(~np.isfinite(singles).all(1))
    if len(bad):
        raise NonFiniteError(
            name, expected="numbers that float32 holds", got=f"larger ones in row {numbers[bad[0]]}",
            remedy="Bring the embeddings to a length of 1 first.",
        )  # fmt: skip
    return singles


def _instances(images: NDArray[np.float32]) -> NDArray[np.int64]:
    """Equal rows get equal numbers, in the order in which they come."""
    seen: dict[bytes, int] = {}
    rows = (blake2b(row.tobytes(), digest_size=16).digest() for row in images)
    return np.array([seen.setdefault(row, len(seen)) for row in rows], np.int64)


def _marks(labels: NDArray[Any], rows: int) -> NDArray[np.uint8]:
    """Labels as zeros and ones, uint8 (N, C)."""
    if labels.ndim == 1:
        classes, numbers = np.unique(labels, return_inverse=True)
        _check_marks(rows, len(classes))
        marks = np.zeros((rows, len(classes)), np.uint8)
        marks[np.arange(rows), numbers] = 1
        return marks
    _check_marks(*labels.shape)
    if not np.isin(labels, (0, 1)).all():
        raise InputError(
            "labels", expected="zeros and ones (N, C), or a column of class numbers (N,)",
            got=f"{labels[~np.isin(labels, (0, 1))][0]}", remedy="Give one row an item and one column a class.",
        )  # fmt: skip
    return labels.astype(np.uint8)


def _check_marks(rows: int, classes: int) -> None:
    if rows * classes > _MOST_MARKS:
        raise InputError(
            "labels", expected=f"at most {_MOST_MARKS:,} rows x classes", got=f"{rows:,} x {classes:,}",
            remedy="Fit on fewer rows (--sample), or on coarser classes.",
        )  # fmt: skip


def _tasks(
    one: Sequence[Example], other: Sequence[Example], held: NDArray[np.int64], instance: NDArray[np.int64],
    marks: NDArray[np.uint8] | None, *, paired: bool,
) -> tuple[Task, ...]:  # fmt: skip
    """What is held out, ranked: by labels where there are any, else each pair's own other half."""
    _, first = np.unique(instance[held], return_index=True)
    once = held[np.sort(first)]  # an image with several captions stands once among the images
    x, y = [one[row] for row in once], [other[row] for row in held]

    def relevance(queries: NDArray[np.int64], gallery: NDArray[np.int64]) -> Relevance:
        if marks is None:
            return SameInstance(instance[queries], instance[gallery])
        return SharedLabels(marks[queries], marks[gallery])

    tasks: tuple[Task, ...]
    if paired:
        tasks = (Task("i2t", x, y, relevance(once, held)), Task("t2i", y, x, relevance(held, once)))
    else:
        tasks = (Task("i2i", x, x, relevance(once, once), excluded=np.arange(len(once))[:, None]),)
    if not (tasks[0].relevance.totals() > (0 if paired else 1)).any():  # in one modality a row answers itself
        raise InputError(
            "labels", expected="rows held out that share one", got=f"none of {len(once)}",
            remedy="Check that each column is a class, not an item, or fit on more rows.",
        )  # fmt: skip
    return tasks


def _directions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths == 0, 1, lengths), np.float32)

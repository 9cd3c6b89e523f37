"""A metric class by class: its mean over the queries that carry each label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError

__all__ = ["by_class"]


def by_class(values: NDArray[np.float64], labels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Means of a metric over the queries of each class; a query of several classes counts in each of them.

    What is right for a query does not change: an answer that shares another of its labels is right too.

    Args:
        values: Of every query, float64 (Q,), NaN for one that is left out.
        labels: Multi-hot uint8 (Q, C).

    Returns:
        Means, float64 (C,), NaN of a class without a query that counts; and numbers of such queries, int64 (C,).

    Raises:
        InputError: Other numbers of labels than of values.

    Example:
        >>> means, counts = by_class(np.array([1.0, 0.5, np.nan]), np.array([[1, 0], [1, 1], [0, 1]], np.uint8))
        >>> means.tolist(), counts.tolist()
        ([0.75, 0.5], [2, 1])
    """
    if labels.ndim != 2 or len(labels) != len(values):
        raise InputError(
            "labels", expected=f"a row for each of {len(values)} queries", got=str(labels.shape),
            remedy="Give the labels of the queries that were measured.",
        )  # fmt: skip
    counted = ~np.isnan(values)
    held = labels[counted].astype(np.float64)
    counts = held.sum(0)
    means = np.divide(held.T @ values[counted], counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means, counts.astype(np.int64)

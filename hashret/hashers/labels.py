"""Labels as the supervised hashers read them: one row an item, one column a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.errors import InputError, WidthError

__all__ = ["label_rows"]


def label_rows(labels: ArrayLike, items: int) -> NDArray[np.float64]:
    """Label rows of length 1, so that the product of two is the cosine of their labels.

    Args:
        labels: Multi-hot (N, C), or the number of the only class of each item (N,).
        items: N.

    Returns:
        float64 (N, C).

    Raises:
        InputError: Another shape, marks other than 0 and 1, or an item without a label.
        WidthError: Not one row an item.

    Example:
        >>> label_rows([2, 7, 2], 3).tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    marks = np.asarray(labels)
    if marks.ndim == 1 and marks.dtype.kind in "iuU":
        _, numbers = np.unique(marks, return_inverse=True)
        marks = np.eye(int(numbers.max(initial=-1)) + 1)[numbers]
    if marks.ndim != 2 or marks.dtype.kind not in "fiub" or not np.isin(marks, (0, 1)).all():
        raise InputError(
            "labels", expected="zeros and ones (N, C), or class numbers (N,)", got=f"{marks.dtype} {marks.shape}",
            remedy="Give one row an item and one column a class.",
        )  # fmt: skip
    if len(marks) != items:
        raise WidthError(
            "labels", expected=f"{items} rows, one a pair", got=str(len(marks)), remedy="Give row i its item's labels."
        )
    bare = np.flatnonzero(~marks.any(1))
    if len(bare):
        raise InputError(
            "labels", expected="a label an item", got=f"none in row {bare[0]} and {len(bare) - 1} more",
            remedy="Leave items without labels out of fitting: they are like nothing, not even themselves.",
        )  # fmt: skip
    marks = marks.astype(np.float64)
    return np.asarray(marks / np.linalg.norm(marks, axis=1, keepdims=True))

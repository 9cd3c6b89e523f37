"""check_alignment: whether labels and texts that come from different files belong to the same rows.

The hashing files hold tags in one matrix and labels in another, and only the order of their rows joins them. A file
that was shuffled, sorted or cut at the front loads without a complaint and trains to chance. But tags say something of
labels: the squared correlations of all columns with all labels, summed, are far above what they are once the rows of
one side are permuted (on 500 rows of MIRFLICKR-25K by 20 to 40 standard deviations, on 5,000 by more than 100). This
file compares the two, and refuses rows that are joined no better than by chance. It says nothing of a few wrong rows.
Features of images, where they are vectors of another file, are judged as tags are.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DataError
from hashret.examples import ImageSource, TextSource

__all__ = ["association", "check_alignment"]

LEAST = 500
ROWS = 5_000
OCCURRENCES = 5  # rarer words and labels meet by chance and would hide the others
PERMUTATIONS = 19
DEVIATIONS = 6.0
_BUCKETS = 512


def association(labels: NDArray[np.uint8], texts: NDArray[np.float32], seed: int = 0) -> float | None:
    """How far the association of labels and texts stands above chance, in standard deviations of permuted rows.

    Args:
        labels: Multi-hot uint8 (N, C).
        texts: Float32 (N, D).
        seed: Of the permutations.

    Returns:
        The deviations, about 0 for rows joined by chance; None where labels or texts do not differ between rows.

    Example:
        >>> labels = np.eye(4, dtype=np.uint8)[np.arange(400) % 4]
        >>> texts = labels.astype(np.float32)
        >>> association(labels, texts) > 6, association(labels, np.random.default_rng(0).permutation(texts)) < 6
        (True, True)
        >>> association(labels, np.ones((400, 3), np.float32)) is None
        True
    """
    sides = [_standardised(side) for side in (labels.astype(np.float32), texts)]
    if not all(side.shape[1] for side in sides):
        return None
    chance = np.random.default_rng(seed)

    def joined(order: NDArray[np.int64] | slice) -> float:
        return float(np.square(sides[0][order].T @ sides[1] / len(labels)).sum())

    permuted = [joined(chance.permutation(len(labels))) for _ in range(PERMUTATIONS)]
    above, spread = joined(slice(None)) - float(np.mean(permuted)), float(np.std(permuted, ddof=1))
    return above / max(spread, float(np.finfo(np.float32).eps) * float(np.mean(permuted)))


def check_alignment(
    name: str,
    labels: NDArray[np.uint8],
    rows: Sequence[TextSource | ImageSource | None],
    what: Literal["texts", "image features"] = "texts",
) -> None:
    """Refuse labels that are joined to texts or features no better than by chance; below 500 rows nothing is judged.

    Of more than 5,000 rows so many are drawn; vectors with NaN or infinity are the quarantine's and do not count.

    Args:
        name: Of the dataset.
        labels: Multi-hot uint8 (N, C).
        rows: N sentences or vectors.
        what: What they are, for the error.

    Raises:
        DataError: They are not aligned.
    """
    if len(labels) < LEAST:
        return
    drawn = np.sort(np.random.default_rng(0).permutation(len(labels))[:ROWS])
    vectors = np.stack([_as_vector(rows[row]) for row in drawn])
    whole = np.isfinite(vectors).all(1)
    found = association(labels[drawn[whole]], vectors[whole]) if whole.sum() >= LEAST else None
    if found is not None and found < DEVIATIONS:
        raise DataError(
            f"{name}, labels", expected=f"labels that say something of the {what} in the same rows",
            got=f"an association {found:.1f} standard deviations above that of shuffled rows (at least {DEVIATIONS:g})",
            remedy=f"One of the files was shuffled or of another version: take {what} and labels that belong together.",
        )  # fmt: skip


def _as_vector(row: TextSource | ImageSource | None) -> NDArray[np.float32]:
    """A vector as it is; a sentence as hashed words."""
    if isinstance(row, np.ndarray):
        return row.astype(np.float32)
    found = np.zeros(_BUCKETS, np.float32)
    for word in str(row or "").lower().split():
        found[zlib.crc32(word.encode("utf-8", "surrogatepass")) % _BUCKETS] = 1
    return found


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns of mean 0 and deviation 1, without those that are constant or nearly always 0."""
    values = values[:, np.count_nonzero(values, axis=0) >= OCCURRENCES]
    centred = values - values.mean(0)
    spread = centred.std(0)
    varied = spread > 1e-6 * np.abs(values).max(0, initial=0)
    return np.asarray(centred[:, varied] / spread[varied], np.float32)

"""What comes into a hasher, checked once for all of them: real, two-dimensional, finite, as wide as what was fitted.

scikit-learn's own check is asked first, so that data frames, sparse matrices and complex numbers are met as its users
know it; what it refuses is said again by a named error of this package.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, validate_data

from hashret.errors import InputError, NonFiniteError, WidthError

__all__ = ["check_rows", "fitted_vectors", "matrix", "new_vectors"]

Vectors = NDArray[Any]
_FLOATS = [np.float64, np.float32]


def fitted_vectors(owner: BaseEstimator, values: ArrayLike, *, least: int = 1) -> NDArray[np.float64]:
    """The vectors a hasher of one modality is fitted on, float64 (N, D); notes their width and column names.

    Args:
        owner: Gets ``n_features_in_``, and ``feature_names_in_`` from a data frame.
        values: Real numbers (N, D).
        least: Rows that are needed.

    Raises:
        InputError: Not two-dimensional, not real numbers, or fewer rows.
        NonFiniteError: NaN or infinity, with the first such row.
    """
    _check_no_strings(values)
    try:
        array = validate_data(owner, values, dtype=np.float64, ensure_all_finite=False, ensure_min_samples=least)
    except (ValueError, TypeError) as error:
        raise _refused("vectors", error) from error
    check_rows(array, "vectors")
    return np.asarray(array)


def new_vectors(owner: BaseEstimator, values: ArrayLike) -> Vectors:
    """The vectors a fitted hasher of one modality turns into codes, float32 or float64 (N, D); N may be 0.

    NaN and infinity are left to :func:`hashret.hashers.signs.signs`, which meets them on its way.

    Raises:
        InputError: Not two-dimensional or not real numbers.
        WidthError: Another width than was fitted.
    """
    _check_no_strings(values)
    try:
        array = validate_data(
            owner, values, reset=False, dtype=_FLOATS, ensure_all_finite=False, ensure_min_samples=0, order="C"
        )
    except (ValueError, TypeError) as error:
        wrong_width = "is expecting" in str(error) and "features" in str(error)
        raise _refused("vectors", error, WidthError if wrong_width else InputError) from error
    return np.asarray(array)


def matrix(values: ArrayLike, name: str, *, width: int | None = None, finite: bool = True) -> Vectors:
    """The vectors of one side of a pair, float32 or float64 (N, D); N may be 0.

    Args:
        values: Real numbers (N, D).
        name: What an error calls them.
        width: D that is asked for; None for any.
        finite: Whether NaN and infinity are refused here; False where who reads the vectors meets them anyway.

    Raises:
        InputError: Not two-dimensional, or not real numbers.
        WidthError: Another width.
        NonFiniteError: NaN or infinity, with the first such row.

    Example:
        >>> matrix([[1, 2]], "images").dtype
        dtype('float64')
    """
    given: Any = values if hasattr(values, "dtype") or hasattr(values, "dtypes") else np.asarray(values)
    dtype, shape = getattr(given, "dtype", np.dtype(float)), getattr(given, "shape", ())
    if dtype.kind not in "fiub" or len(shape) != 2:
        raise InputError(name, expected="real vectors (N, D)", got=f"{dtype} {shape}", remedy="Give one row an item.")
    try:
        array = check_array(given, dtype=_FLOATS, ensure_all_finite=False, ensure_min_samples=0, order="C")
    except (ValueError, TypeError) as error:
        raise _refused(name, error) from error
    if width is not None and array.shape[1] != width:
        raise WidthError(
            name, expected=f"{width} columns", got=str(array.shape[1]),
            remedy="Embed them as those the hasher was fitted on, and check the side.",
        )  # fmt: skip
    if finite:
        check_rows(array, name)
    return np.asarray(array)


def check_rows(array: Vectors, name: str, first: int = 0) -> None:
    """Refuse NaN and infinity by the first row that has one.

    Args:
        array: Real numbers (N, D).
        name: What an error calls them.
        first: Number of the first row, where these are a block of many.

    Raises:
        NonFiniteError: With row and column.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):  # one pass without a mask: the usual case, by far the fastest
            return
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(1))[0])
        column = int(np.flatnonzero(~finite[row])[0])
        got = "NaN" if np.isnan(array[row, column]) else "infinity (inf)"
        raise NonFiniteError(
            name, expected="finite numbers",
            got=f"{got} in row {first + row}, column {column}, and {int((~finite.all(1)).sum())} such rows here",
            remedy="Leave these rows out, or find what made them (half precision overflows, zero norms).",
        )  # fmt: skip


def _check_no_strings(values: ArrayLike) -> None:
    """Refuse numbers written as strings, which scikit-learn would read."""
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "SUMm":
        raise InputError(
            "vectors", expected="real vectors (N, D)", got=str(dtype), remedy="Turn them into numbers first."
        )


def _refused(name: str, error: Exception, kind: type[InputError] = InputError) -> InputError:
    text = str(error)
    remedy = "Embed them as those the hasher was fitted on." if kind is WidthError else "Give one row an item."
    return kind(name, expected="real vectors (N, D) as fitted", got=text.rstrip("."), remedy=remedy)

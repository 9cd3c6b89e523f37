"""What callers may hand to an index: codes, ids and whole numbers, each refused by name when it is something else.

Every engine that offers the verbs of :class:`hashret.search.HammingIndex` takes its inputs through these, so that the
same mistake gets the same answer everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes, check_width
from hashret.errors import InputError, WidthError

__all__ = ["LARGEST_ID", "as_codes", "as_ids", "first_ids", "ids_after", "one_id_each", "whole_number"]

LARGEST_ID = np.iinfo(np.int64).max


def as_codes(codes: Codes | NDArray[np.uint8], bits: int, name: str) -> Codes:
    """Codes of ``bits`` bits, from Codes or from packed bytes.

    Args:
        codes: Codes, or uint8 (n, ceil(bits / 8)) in np.packbits order.
        bits: The width they must have.
        name: What they are called in a message.

    Raises:
        InputError: Another dtype or another number of dimensions.
        WidthError: Another width, or a set pad bit.

    Example:
        >>> as_codes(np.array([[255], [0]], np.uint8), 8, "queries")
        Codes(2 x 8 bits, 0.0 kB)
    """
    if isinstance(codes, Codes):
        check_width(codes, bits, name)
        return codes
    width = -(-bits // 8)
    array: NDArray[Any] = np.asarray(codes)
    if array.dtype != np.uint8 or array.ndim != 2:
        raise InputError(
            name, expected=f"Codes or packed bits as uint8 (n, {width})", got=f"{array.dtype} {array.shape}",
            remedy="binarize(x) packs real numbers; write x[None] for one code.",
        )  # fmt: skip
    if array.shape[1] != width:
        raise WidthError(
            name, expected=f"{width} bytes a row for {bits} bits", got=f"{array.shape[1]} bytes",
            remedy="Make the index with the width of these codes, or encode them with the same run.",
        )  # fmt: skip
    return Codes(array, bits)


def as_ids(values: ArrayLike) -> NDArray[np.int64]:
    """Ids as int64 (n,).

    Raises:
        InputError: Not one row of whole numbers, a negative one, or one above 2**63 - 1.
    """
    numbers: NDArray[Any] = np.asarray(values)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise InputError(
            "ids", expected="whole numbers (n,)", got=f"{numbers.dtype} {numbers.shape}",
            remedy="Number the items; keep their names in a table beside the index.",
        )  # fmt: skip
    if numbers.size and (numbers.min() < 0 or numbers.max() > LARGEST_ID):
        bad = numbers[(numbers < 0) | (numbers > LARGEST_ID)]
        raise InputError(
            "ids", expected=f"0 ... {LARGEST_ID}", got=first_ids(bad), remedy="Number items from 0; -1 marks padding."
        )
    return numbers.astype(np.int64)


def one_id_each(values: ArrayLike, count: int) -> NDArray[np.int64]:
    """Ids as int64 (n,) for ``count`` codes, none twice.

    Raises:
        InputError: As :func:`as_ids`; another number of them, or one given twice.
    """
    given = as_ids(values)
    if len(given) != count:
        raise InputError(
            "ids", expected=f"{count}, one a code", got=str(len(given)), remedy="Give each code its id, or give no ids."
        )
    ordered = np.sort(given)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(twice):
        raise InputError(
            "ids", expected="each id once", got=f"{first_ids(twice)} twice", remedy="Number items uniquely."
        )
    return given


def ids_after(start: int, count: int) -> NDArray[np.int64]:
    """The ``count`` ids from ``start`` on.

    Raises:
        InputError: There are not so many.
    """
    if start + count - 1 > LARGEST_ID:
        raise InputError(
            "ids", expected=f"numbers up to {LARGEST_ID}", got=f"{count} more after {start - 1}",
            remedy="Give the ids yourself: there are free ones below.",
        )  # fmt: skip
    return np.arange(count, dtype=np.int64) + np.int64(min(start, LARGEST_ID))


def whole_number(number: int, name: str, *, least: int) -> int:
    """A whole number of at least ``least`` (``k``, ``radius``, ``bits``).

    Raises:
        InputError: A float, a bool, or a smaller number.
    """
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < least:
        raise InputError(
            name, expected=f"a whole number >= {least}", got=repr(number), remedy=f"Give {name} as an int."
        )
    return int(number)


def first_ids(ids: NDArray[Any]) -> str:
    """The first ten ids and how many more there are, for a message."""
    more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
    return ", ".join(str(number) for number in ids[:10].tolist()) + more

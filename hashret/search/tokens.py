"""Tokens: the token features of N items, as many of each as it has; words of texts, regions of images.

Rows of all items lie one after the other and nothing is padded, so that a score cannot depend on padding. An item
without tokens is refused: a maximum over no regions is no number, and a text of no words says nothing. What a token
stands for, and how two items are compared, is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.errors import InputError, NonFiniteError, WidthError

__all__ = ["Tokens", "as_lengths", "offsets_of", "row_numbers"]


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token features of N items of width D, S in all.

    Attributes:
        values: float32 (S, D), C order, finite; the tokens of item 0, then those of item 1, and so on.
        lengths: int64 (N,), how many each item has, at least one.

    Raises:
        InputError: Other dtypes or shapes, an item without tokens, or lengths that do not add up to S.
        NonFiniteError: NaN or infinity; with the item and the token.

    Example:
        >>> tokens = Tokens.of([[[1, 2]], [[3, 4], [5, 6]]])
        >>> tokens, tokens.item(1).tolist(), tokens[1:].lengths.tolist()
        (Tokens(2 items, 3 x 2), [[3.0, 4.0], [5.0, 6.0]], [2])
    """

    values: NDArray[np.float32]
    lengths: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check shapes, dtypes, lengths and that every number is one."""
        values, lengths = self.values, self.lengths
        known = isinstance(values, np.ndarray) and values.dtype == np.float32 and values.ndim == 2
        if not known or not values.shape[1] or not values.flags.c_contiguous:
            got = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
            raise InputError(
                "tokens", expected="float32 (S, D), C order", got=got, remedy="Tokens.of(list of (T, D)) makes them so."
            )
        if not isinstance(lengths, np.ndarray) or lengths.dtype != np.int64:
            raise InputError(
                "lengths", expected="int64 (N,)", got=f"{getattr(lengths, 'dtype', type(lengths).__name__)}",
                remedy="Convert them first.",
            )  # fmt: skip
        as_lengths(lengths, len(values))
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            item = int(np.searchsorted(self.offsets, row, side="right")) - 1
            bad = values[row][~np.isfinite(values[row])][0]
            raise NonFiniteError(
                "tokens", expected="finite numbers",
                got=f"{bad} in token {row - int(self.offsets[item])} of item {item}",
                remedy="Leave the item out, or find what made it (half precision overflows, zero norms).",
            )  # fmt: skip

    @classmethod
    def _checked(cls, values: NDArray[np.float32], lengths: NDArray[np.int64]) -> Tokens:
        """Tokens of parts of others, which are not looked through again."""
        tokens = object.__new__(cls)
        object.__setattr__(tokens, "values", values)
        object.__setattr__(tokens, "lengths", lengths)
        return tokens

    @classmethod
    def of(cls, items: Sequence[ArrayLike]) -> Tokens:
        """Tokens of a list of items, real numbers (T, D) each.

        Raises:
            InputError: No items, or one that is not (T, D), or has no tokens.
            WidthError: An item of another width than the first.
            NonFiniteError: NaN or infinity, or a number that is infinite in float32.
        """
        parts = [np.asarray(item) for item in items]
        for number, part in enumerate(parts):
            if part.ndim != 2 or part.dtype.kind not in "fiub":
                raise InputError(
                    f"item {number}", expected="real numbers (T, D)", got=f"{part.dtype} {part.shape}",
                    remedy="Give one array an item, a row a token.",
                )  # fmt: skip
            if part.shape[1] != parts[0].shape[1]:
                raise WidthError(
                    f"item {number}", expected=f"tokens of width {parts[0].shape[1]}, as item 0 has",
                    got=str(part.shape[1]), remedy="Embed all items with one model.",
                )  # fmt: skip
        if not parts:
            raise InputError("items", expected="at least one", got="none", remedy="Take tokens[:0] for no items.")
        with np.errstate(over="ignore"):
            values = np.concatenate(parts).astype(np.float32)
        return cls(np.ascontiguousarray(values), np.array([len(part) for part in parts], np.int64))

    @classmethod
    def masked(cls, values: ArrayLike, mask: ArrayLike) -> Tokens:
        """Tokens of a padded batch: those where the mask is true.

        Args:
            values: Real numbers (N, T, D); what they are where the mask is false does not matter.
            mask: bool (N, T).

        Raises:
            InputError: Other shapes, a mask that is not bool, or an item without tokens.
            NonFiniteError: NaN or infinity where the mask is true.

        Example:
            >>> Tokens.masked([[[1], [2]], [[3], [9]]], [[True, True], [True, False]]).values.tolist()
            [[1.0], [2.0], [3.0]]
        """
        padded, kept = np.asarray(values), np.asarray(mask)
        if (
            padded.ndim != 3
            or padded.dtype.kind not in "fiub"
            or kept.dtype != np.bool_
            or kept.shape != padded.shape[:2]
        ):
            raise InputError(
                "tokens", expected="real numbers (N, T, D) and a bool mask (N, T)",
                got=f"{padded.dtype} {padded.shape} and {kept.dtype} {kept.shape}", remedy="Give a batch and its mask.",
            )  # fmt: skip
        with np.errstate(over="ignore"):
            return cls(np.ascontiguousarray(padded[kept], np.float32), kept.sum(axis=1, dtype=np.int64))

    @classmethod
    def join(cls, parts: Sequence[Tokens]) -> Tokens:
        """The items of all parts, one part after the other.

        Raises:
            InputError: No parts.
            WidthError: Parts of different widths.
        """
        if not parts:
            raise InputError("parts", expected="at least one", got="none", remedy="Join what there is.")
        widths = sorted({part.width for part in parts})
        if len(widths) > 1:
            raise WidthError("parts", expected="one width", got=str(widths), remedy="Embed all items with one model.")
        return cls._checked(
            np.concatenate([part.values for part in parts]), np.concatenate([part.lengths for part in parts])
        )

    def __len__(self) -> int:
        """Number of items."""
        return len(self.lengths)

    def __repr__(self) -> str:
        """``Tokens(1000 items, 12034 x 512)``."""
        return f"Tokens({len(self)} items, {len(self.values)} x {self.width})"

    def __eq__(self, other: object) -> bool:
        """Same lengths and same numbers."""
        return (
            isinstance(other, Tokens)
            and np.array_equal(self.lengths, other.lengths)
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def width(self) -> int:
        """Numbers a token."""
        return int(self.values.shape[1])

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """int64 (N + 1,): item n has the rows from ``offsets[n]`` to ``offsets[n + 1]``."""
        return offsets_of(self.lengths)

    def item(self, number: int) -> NDArray[np.float32]:
        """The tokens of one item, float32 (T, D)."""
        if not -len(self) <= number < len(self):
            raise InputError("item", expected=f"one of {len(self)}", got=str(number), remedy="Count from 0.")
        number %= len(self)
        return self.values[self.offsets[number] : self.offsets[number + 1]]

    def rows(self, index: slice | Sequence[int] | NDArray[Any]) -> Tokens:
        """The items at ``index``: a slice, whole numbers in any order, or a boolean mask.

        Raises:
            InputError: A single number, or one that is no item.
        """
        try:
            items = np.arange(len(self))[
                index if isinstance(index, slice) else np.asarray(index, None if len(index) else int)
            ]
        except (IndexError, TypeError) as error:
            raise InputError(
                "index", expected=f"a slice, or numbers of {len(self)} items", got=str(error) or repr(index),
                remedy="tokens.item(n) gives the tokens of one; a part of Tokens is always Tokens.",
            ) from error  # fmt: skip
        if isinstance(index, slice) and index.step in (None, 1):
            start, stop = (int(items[0]), int(items[-1]) + 1) if len(items) else (0, 0)
            return Tokens._checked(self.values[self.offsets[start] : self.offsets[stop]], self.lengths[start:stop])
        lengths = self.lengths[items]
        return Tokens._checked(self.values[row_numbers(self.offsets[items], lengths)], lengths)

    __getitem__ = rows


def as_lengths(lengths: NDArray[Any], total: int) -> None:
    """Refuse lengths of items that do not add up to ``total`` tokens, at least one each.

    Raises:
        InputError: Not one row of whole numbers, an item without tokens, or another sum.
    """
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise InputError(
            "lengths", expected="whole numbers (N,)", got=f"{lengths.dtype} {lengths.shape}", remedy="Give one an item."
        )
    bad = np.flatnonzero((lengths < 1) | (lengths > total))
    if len(bad):
        raise InputError(
            "lengths", expected=f"1 ... {total} tokens an item", got=f"{lengths[bad[0]]} for item {bad[0]}",
            remedy="Leave items without tokens out: they have no score.",
        )  # fmt: skip
    if int(lengths.sum()) != total:
        raise InputError(
            "lengths", expected=f"{total} tokens in all", got=str(int(lengths.sum())), remedy="Count them again."
        )


def offsets_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Where each item begins, and where the last one ends: int64 (N + 1,)."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def row_numbers(begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of all rows of runs that begin there and are so long.

    Example:
        >>> row_numbers(np.array([7, 2]), np.array([2, 3])).tolist()
        [7, 8, 2, 3, 4]
    """
    ends = np.cumsum(lengths)
    return np.asarray(np.arange(int(lengths.sum())) + np.repeat(begins - (ends - lengths), lengths), np.int64)

"""Rows that somebody else extracted, brought together into one batch: vectors, and token features of many lengths.

What differs between items is refused by name; numbers are neither scaled nor repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hashret.errors import NonFiniteError, WidthError
from hashret.examples import Example
from hashret.models.features import TOKEN_STEP

__all__ = ["stack_tokens", "stack_vectors"]


def stack_vectors(vectors: Sequence[Any], examples: Sequence[Example], width: int | None) -> Tensor:
    """Vectors as the rows of one tensor.

    Args:
        vectors: One (D,) an example.
        examples: Whose they are, for errors.
        width: D; None takes the first vector's.

    Returns:
        Float32 (B, D).

    Raises:
        WidthError: A vector of another width.
        NonFiniteError: NaN, infinity, or more than float32 holds.
    """
    width = len(vectors[0]) if width is None else width
    rows = np.empty((len(vectors), width), np.float32)
    for row, vector, example in zip(rows, vectors, examples, strict=True):
        name = f"vector of {example.key or 'an example'}"
        if vector.shape != (width,):
            many = "These are token features: choose the encoder 'tokens'."
            remedy = many if vector.ndim == 2 else "Use one extractor for all items."
            raise WidthError(name, expected=f"({width},)", got=str(vector.shape), remedy=remedy)
        with np.errstate(over="ignore"):
            row[:] = vector
        if not np.isfinite(row).all():
            place = int(np.flatnonzero(~np.isfinite(row))[0])
            raise NonFiniteError(
                name,
                expected="finite float32 values",
                got=f"{vector[place]} at {place}",
                remedy="Repair or leave it out.",
            )
    return torch.from_numpy(rows)


def stack_tokens(items: Sequence[Any], examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Token features, filled up with zeros to one length, a multiple of TOKEN_STEP.

    Args:
        items: One (T, E) an example, T >= 1.
        examples: Whose they are, for errors.

    Returns:
        Float32 (B, longest, E), and bool (B, longest): True where a token is one.

    Raises:
        WidthError: Tokens of another width than the first ones', or none.
        NonFiniteError: NaN, infinity, or more than float32 holds.
    """
    width = items[0].shape[1]
    longest = max(len(item) for item in items)
    length = -(-longest // TOKEN_STEP) * TOKEN_STEP
    rows, mask = np.zeros((len(items), length, width), np.float32), np.zeros((len(items), length), np.bool_)
    for row, (item, example) in enumerate(zip(items, examples, strict=True)):
        name = f"token features of {example.key or 'an example'}"
        if item.ndim != 2 or item.shape[1] != width or not len(item):
            raise WidthError(
                name, expected=f"at least one token of {width} values", got=str(item.shape),
                remedy="Use one extractor for all items.",
            )  # fmt: skip
        with np.errstate(over="ignore"):
            rows[row, : len(item)], mask[row, : len(item)] = item, True
        if not np.isfinite(rows[row]).all():
            token, place = np.argwhere(~np.isfinite(rows[row]))[0]
            raise NonFiniteError(
                name, expected="finite float32 values", got=f"{item[token, place]} in token {token}",
                remedy="Repair or leave it out.",
            )  # fmt: skip
    return torch.from_numpy(rows), torch.from_numpy(mask)

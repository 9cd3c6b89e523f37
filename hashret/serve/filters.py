"""Columns: what a source said of its items, as something a search can be narrowed by.

A column of a few values can be chosen from, a column of numbers has a range; what has more values than a person looks
through is shown with an item, and is no filter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.catalogue import Item
from hashret.errors import InputError

__all__ = ["MOST_VALUES", "Choices", "Column", "Range", "columns_of", "mask_of"]

MOST_VALUES = 200


@dataclass(frozen=True, eq=False)
class Choices:
    """A column of few values, of which an item may have several.

    Attributes:
        name: Of the column.
        rows: Value -> rows of the items that have it, int32 ascending; the most frequent value first.
        items: Number of items.
    """

    name: str
    rows: dict[str, NDArray[np.int32]]
    items: int

    def mask(self, asked: Sequence[str]) -> NDArray[np.bool_]:
        """The items with any of these values, bool (N,).

        Raises:
            InputError: A value no item has.
        """
        found = np.zeros(self.items, np.bool_)
        for value in asked:
            if value not in self.rows:
                raise InputError(
                    f"filter {self.name}", expected=f"one of {', '.join(list(self.rows)[:8])} ...", got=value[:80],
                    remedy="The values of each column are in /about.",
                )  # fmt: skip
            found[self.rows[value]] = True
        return found


@dataclass(frozen=True, eq=False)
class Range:
    """A column of numbers.

    Attributes:
        name: Of the column.
        values: float64 (N,); NaN where an item has none.
    """

    name: str
    values: NDArray[np.float64]

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest."""
        return float(np.nanmin(self.values)), float(np.nanmax(self.values))

    def mask(self, asked: Sequence[str]) -> NDArray[np.bool_]:
        """The items within any of these ranges, each "LOW..HIGH" with either end left out or one number, bool (N,).

        Raises:
            InputError: No such range.
        """
        found = np.zeros(len(self.values), np.bool_)
        for text in asked:
            low, between, high = text.partition("..")
            try:
                ends = (float(low or "-inf"), float((high if between else low) or "inf"))
            except ValueError:
                ends = (math.nan, math.nan)
            if any(map(math.isnan, ends)):
                raise InputError(
                    f"filter {self.name}", expected="LOW..HIGH or a number", got=text[:80],
                    remedy="For example 2000..2010, 2000.. or ..2010.",
                )  # fmt: skip
            found |= (self.values >= ends[0]) & (self.values <= ends[1])
        return found


Column = Choices | Range


def columns_of(items: Sequence[Item]) -> list[Column]:
    """The columns items can be filtered by, in the order they come.

    Example:
        >>> items = [Item("a", columns={"labels": ["dog", "snow"], "year": 2024}), Item("b", columns={"labels": []})]
        >>> [(column.name, type(column).__name__) for column in columns_of(items)]
        [('labels', 'Choices'), ('year', 'Range')]
    """
    names = dict.fromkeys(name for item in items for name in item.columns)
    found = (_column(name, [item.columns.get(name) for item in items]) for name in names)
    return [column for column in found if column is not None]


def _column(name: str, values: list[Any]) -> Column | None:
    there = [value for value in values if value is not None]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in there):
        try:
            numbers = np.array([math.nan if value is None else float(value) for value in values])
        except OverflowError:
            return None
        return Range(name, numbers) if np.isfinite(numbers).any() and not np.isinf(numbers).any() else None
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        for each in _each(value):
            rows.setdefault(each, []).append(row)
            if len(rows) > MOST_VALUES:
                return None
    ordered = sorted(rows, key=lambda each: (-len(rows[each]), each))
    return Choices(name, {each: np.array(rows[each], np.int32) for each in ordered}, len(values)) if rows else None


def _each(value: Any) -> Iterable[str]:
    """The values of a cell, each once, as people write them."""
    cells = value if isinstance(value, list) else [value]
    plain = [cell for cell in cells if isinstance(cell, (str, bool, int, float))]
    return dict.fromkeys(str(cell).lower() if isinstance(cell, bool) else str(cell) for cell in plain)


def mask_of(columns: Sequence[Column], where: Sequence[str]) -> NDArray[np.bool_] | None:
    """The items that pass, bool (N,), or None for all.

    Args:
        columns: What there is to filter by.
        where: ``COLUMN:VALUE`` or ``COLUMN:LOW..HIGH``; clauses of one column add up, those of several narrow.

    Raises:
        InputError: No such column or value.

    Example:
        >>> items = [Item("a", columns={"year": 2024}), Item("b", columns={"year": 1999})]
        >>> mask_of(columns_of(items), ["year:2000.."]).tolist()
        [True, False]
    """
    asked: dict[str, list[str]] = {}
    for clause in where:
        name = next((column.name for column in columns if clause.startswith(column.name + ":")), None)
        if name is None:
            there = ", ".join(column.name for column in columns) or "no column"
            raise InputError(
                "filter", expected=f"COLUMN:VALUE with a column of {there}", got=clause[:80],
                remedy="The columns are in /about.",
            )  # fmt: skip
        asked.setdefault(name, []).append(clause[len(name) + 1 :])
    mask: NDArray[np.bool_] | None = None
    for column in columns:
        if column.name in asked:
            passed = column.mask(asked[column.name])
            mask = passed if mask is None else mask & passed
    return mask

"""IdTable: which place of a store each id has; no table at all where ids follow each other.

Stores keep rows in the order they came and are asked by id. What lies at a place is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.errors import FormatError, InputError
from hashret.search.inputs import as_ids, first_ids, one_id_each

__all__ = ["IdTable"]


class IdTable:
    """The ids of ``count`` places, none twice, in any order.

    Args:
        count: How many places there are.
        ids: Whole numbers (count,); by default place i has id i.

    Attributes:
        bytes_each: Bytes of the table an id.

    Raises:
        InputError: Ids that are not one a place.

    Example:
        >>> IdTable(3, [30, 10, 20]).places([10, 30], "shop").tolist()
        [1, 0]
    """

    def __init__(self, count: int, ids: ArrayLike | None = None) -> None:
        """Sort the ids."""
        self._count, self._first = count, 0
        self._ids: NDArray[np.int64] | None = None
        self._order: NDArray[np.int64] | None = None
        if ids is not None:
            given = one_id_each(ids, count)
            if (given[1:] > given[:-1]).all():
                self._name(given, None)
            else:
                order = np.argsort(given)
                self._name(given[order], order)

    def _name(self, ids: NDArray[np.int64], order: NDArray[np.int64] | None) -> None:
        """Take ascending ids and the place of each; numbers that follow each other need no table."""
        self._ids, self._order = ids, order
        if order is None and len(ids) and int(ids[-1]) - int(ids[0]) == len(ids) - 1:
            self._first, self._ids = int(ids[0]), None

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]], count: int) -> IdTable:
        """The table that :meth:`arrays` gave to a file.

        Raises:
            InputError: Arrays of another dtype or shape.
        """
        for name in ("ids", "order"):
            found = arrays.get(name)
            if found is not None and (found.dtype != np.int64 or found.shape != (count,)):
                raise InputError(
                    name, expected=f"int64 ({count},)", got=f"{found.dtype} {found.shape}", remedy="Save it anew."
                )
        table = cls(count)
        if "ids" in arrays:
            table._name(arrays["ids"], arrays.get("order"))
        return table

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """What a file keeps of it, by name; nothing where ids count from 0."""
        if self._ids is None and not self._first:
            return {}
        ids = self._ids if self._ids is not None else self.names()
        return {"ids": ids} | ({} if self._order is None else {"order": self._order})

    @property
    def bytes_each(self) -> int:
        """Bytes of the table an id."""
        return sum(8 for table in (self._ids, self._order) if table is not None)

    def places(self, ids: ArrayLike, owner: str) -> NDArray[np.int64]:
        """The place of each id, int64 (n,); ``owner`` is what a message calls the store.

        Raises:
            InputError: Not one row of whole numbers, or an id that is not in the table.
            FormatError: The table came from a damaged file.
        """
        wanted = as_ids(ids)
        if self._ids is None:
            found = wanted - np.int64(self._first)
            unknown = (found < 0) | (found >= self._count)
        else:
            near = np.minimum(np.searchsorted(self._ids, wanted), self._count - 1)
            unknown = self._ids[near] != wanted
            found = near if self._order is None else self._order[near]
        if unknown.any():
            lacking = first_ids(np.unique(wanted[unknown]))
            raise InputError(
                "ids", expected=f"ids of {owner}", got=f"{lacking}, which it does not have",
                remedy="Write the store with all items of the index, under the index's ids.",
            )  # fmt: skip
        if len(found) and (found.min() < 0 or found.max() >= self._count):
            raise FormatError(
                "order of the store",
                expected=f"rows below {self._count}",
                got=str(found.max()),
                remedy="Write it anew.",
            )
        return np.asarray(found, np.int64)

    def names(self) -> NDArray[np.int64]:
        """The id of each place, int64 (count,).

        Raises:
            FormatError: The table came from a damaged file.
        """
        if self._ids is None:
            return np.arange(self._count, dtype=np.int64) + np.int64(self._first)
        if self._order is None:
            return np.asarray(self._ids)
        names = np.full(self._count, -1, np.int64)
        names[self._order[(self._order >= 0) & (self._order < self._count)]] = -2
        if (names == -1).any():
            raise FormatError(
                "order of the store", expected=f"each of {self._count} rows once", got="another order",
                remedy="Write it anew.",
            )  # fmt: skip
        names[self._order] = self._ids
        return names

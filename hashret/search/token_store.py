"""TokenStore: the token features of a gallery under the ids of its index, mapped from a file, for a second look.

Token features are tens of times larger than embeddings (49 regions of 512 numbers in float16 are 50 kB an image), so
they stay in their file, and a look at a shortlist reads the rows of its items alone. A store is made by
:meth:`TokenStore.write` in the container of :mod:`hashret.arrayfile`. It compares nothing and is never changed; write
it anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.arrayfile import read_arrays, write_arrays
from hashret.errors import FormatError, InputError, NonFiniteError
from hashret.search.id_table import IdTable
from hashret.search.inputs import as_ids
from hashret.search.stored_rows import StoredAs, checked_rows, here_and_there, row_spool
from hashret.search.tokens import Tokens, as_lengths, offsets_of, row_numbers

__all__ = ["TokenStore"]

KIND = "hashret.tokens/1"

_BLOCK = 1 << 24  # bytes of a block that is converted and written at a time


class TokenStore:
    """Token features of N items of width D, each item under an id.

    Args:
        rows: float32, float16 or int8 (S, D), C order, the tokens of all items one after the other; may be mapped.
        lengths: Whole numbers (N,): how many tokens each item has, at least one.
        ids: Whole numbers (N,), none twice, in any order; by default item i has id i.
        scales: float32 (S,) of int8 rows, None for others.

    Attributes:
        rows: The array.
        scales: Of int8 rows; empty for others.
        offsets: int64 (N + 1,): the rows of the item at place n begin at ``offsets[n]`` and end before the next.

    Raises:
        InputError: Arrays that do not belong together, an item without tokens, or ids that are not one an item.

    Example:
        >>> store = TokenStore(np.array([[1, 0], [0, 1], [2, 2]], np.float32), [2, 1], ids=[8, 5])
        >>> store, store.take([5, 8]).lengths.tolist()
        (TokenStore(2 items, 3 x 2, float32), [1, 2])
    """

    def __init__(
        self,
        rows: NDArray[Any],
        lengths: ArrayLike,
        ids: ArrayLike | None = None,
        *,
        scales: NDArray[np.float32] | None = None,
    ) -> None:
        """Check the arrays and learn where each id lies."""
        self.rows, self.scales = checked_rows(rows, scales, "TokenStore")
        counts: NDArray[Any] = np.asarray(lengths)
        as_lengths(counts, len(self.rows))
        self.offsets = offsets_of(counts)
        self._table = IdTable(len(counts), ids)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TokenStore:
        """Map a file that :meth:`write` made.

        Only its size, its header and its lengths are checked; a row that is not finite is named when it is looked up.
        The file must stay as it is while the store is in use: one that is cut short under a mapping ends the process.

        Raises:
            FileError: There is no such file, or it cannot be mapped.
            FormatError: It is another file, is truncated or was changed.
        """
        arrays, _ = read_arrays(path, kind=KIND, mmap=True)
        try:
            rows, lengths = here_and_there(arrays["rows"]), np.array(arrays["lengths"])
            store = cls(rows, lengths, scales=arrays.get("scales"))
            store._table = IdTable.of_arrays({name: np.asarray(array) for name, array in arrays.items()}, len(store))
        except (KeyError, InputError) as error:
            raise FormatError(
                str(path), expected="tokens with what belongs to them",
                got=str(error) if isinstance(error, InputError) else f"a file without {error}",
                remedy="Write it with TokenStore.write.",
            ) from error  # fmt: skip
        return store

    @classmethod
    def write(
        cls,
        path: str | os.PathLike[str],
        tokens: Tokens | Iterable[Tokens],
        *,
        dtype: StoredAs = "float16",
        ids: ArrayLike | None = None,
    ) -> TokenStore:
        """Write token features, a block at a time and atomically, and map them.

        Args:
            path: The file; what was there before stays until the new one is whole.
            tokens: Tokens, or blocks of them one after the other, which may be more than fit into memory.
            dtype: What they are kept as. float16 has 11 bits of precision; int8 has 8, and a scale a token.
            ids: As in :class:`TokenStore`; kept in the file.

        Raises:
            InputError: Something else than Tokens, no items, no such dtype, or ids that are not one an item.
            WidthError: A block of another width than the first.
            NonFiniteError: What float16 cannot hold; with the item and its id.
            FileError: The place cannot be written.

        Example:
            >>> import tempfile
            >>> path = tempfile.mkdtemp() + "/regions.int8"
            >>> store = TokenStore.write(path, Tokens.of([[[0.5, -0.25]], [[1, 0], [0, 1]]]), dtype="int8")
            >>> len(store), store.width, store.row_bytes, store.item_bytes, store.take([1]).values.tolist()
            (2, 2, 6, 17.0, [[1.0, 0.0], [0.0, 1.0]])
        """
        path, lengths = Path(path), list[NDArray[np.int64]]()
        names = None if ids is None else as_ids(ids)
        with row_spool(path, dtype) as spool:
            first = 0
            for block in [tokens] if isinstance(tokens, Tokens) else tokens:
                if not isinstance(block, Tokens):
                    raise InputError(
                        "tokens", expected="Tokens, or blocks of them", got=type(block).__name__,
                        remedy="Tokens.of(list of (T, D)) and Tokens.masked(values, mask) make them.",
                    )  # fmt: skip
                step = max(1, _BLOCK // (8 * block.width))
                for start in range(0, len(block.values), step):
                    spool.add(block.values[start : start + step], partial(_named, block, names, first, start))
                lengths.append(block.lengths)
                first += len(block)
            arrays = spool.arrays() | {"lengths": np.concatenate(lengths)}
            write_arrays(path, arrays | IdTable(first, names).arrays(), kind=KIND)
        return cls.open(path)

    def __len__(self) -> int:
        """Number of items."""
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        """``TokenStore(8000 items, 392000 x 512, float16)``."""
        return f"TokenStore({len(self)} items, {len(self.rows)} x {self.width}, {self.dtype})"

    @property
    def width(self) -> int:
        """Numbers a token."""
        return int(self.rows.shape[1])

    @property
    def dtype(self) -> str:
        """What they are kept as."""
        return str(self.rows.dtype)

    @property
    def ids(self) -> NDArray[np.int64]:
        """The id of the item at each place, int64 (N,)."""
        return self._table.names()

    @property
    def row_bytes(self) -> int:
        """Bytes of a token, with its scale."""
        return self.width * self.rows.dtype.itemsize + (4 if self.scales.size else 0)

    @property
    def item_bytes(self) -> float:
        """Bytes of an item, on average: its tokens, its length, and its id where this is kept."""
        return len(self.rows) * self.row_bytes / len(self) + 8 + self._table.bytes_each

    def places(self, ids: ArrayLike) -> NDArray[np.int64]:
        """The place of each id among the items, int64 (n,).

        Raises:
            InputError: Not one row of whole numbers, or an id that is not in the store.
        """
        return self._table.places(ids, repr(self))

    def take(self, ids: ArrayLike) -> Tokens:
        """The tokens of ids in that order, as they are compared: int8 times its scale.

        Raises:
            InputError: As :meth:`places`.
            NonFiniteError: NaN or infinity in a row; with its id.
        """
        places = self.places(ids)
        begins = self.offsets[places]
        lengths = self.offsets[places + 1] - begins
        rows = row_numbers(begins, lengths)
        values = np.asarray(self.rows[rows], np.float32)
        if self.scales.size:
            values *= self.scales[rows, None]
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            number = np.asarray(ids)[np.searchsorted(np.cumsum(lengths), bad[0], side="right")]
            raise NonFiniteError(
                "tokens", expected="finite numbers", got=f"others in a token of id {number}",
                remedy="The file was damaged or made elsewhere: write the store anew.",
            )  # fmt: skip
        return Tokens(values, lengths)


def _named(block: Tokens, ids: NDArray[np.int64] | None, first: int, start: int, row: int) -> str:
    """What a row of a part of a block is called in a message."""
    item = int(np.searchsorted(block.offsets, start + row, side="right")) - 1
    token, number = start + row - int(block.offsets[item]), first + item
    name = "" if ids is None or number >= len(ids) else f" (id {ids[number]})"
    return f"token {token} of item {number}{name}"

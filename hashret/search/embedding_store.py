"""EmbeddingStore: the embeddings of a gallery under the ids of its index, mapped from a file, for a second look.

A shortlist names a few rows of a file that may be larger than memory; only these are read. Rows are float32, float16,
or int8 with a scale each, from a .npy file as people have it or from a file that :meth:`EmbeddingStore.write` made in
the container of :mod:`hashret.arrayfile`. A store finds no neighbours and is never changed; write it anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.arrayfile import read_arrays, write_arrays
from hashret.errors import FileError, FormatError, InputError
from hashret.search.id_table import IdTable
from hashret.search.stored_rows import StoredAs, checked_rows, here_and_there, row_spool

__all__ = ["EmbeddingStore", "StoredAs"]

KIND = "hashret.embeddings/1"

_BLOCK = 1 << 24  # bytes of a block that is checked and written at a time


class EmbeddingStore:
    """N embeddings of width D, each under an id.

    An int8 row stands for its numbers times its scale, the row's largest magnitude / 127: each value is at most half a
    scale off, and the cosine does not depend on the scale.

    Args:
        rows: float32, float16 or int8 (N, D), C order; may be mapped.
        ids: Whole numbers (N,), none twice, in any order; by default row i has id i, as in an index that numbers its
            codes itself.
        scales: float32 (N,) of int8 rows, None for others.

    Attributes:
        rows: The array.
        scales: Of int8 rows; empty for others.

    Raises:
        InputError: Another dtype, order or number of dimensions, no rows, scales where there should be none or the
            other way round, or ids that are not one a row.

    Example:
        >>> store = EmbeddingStore(np.eye(3, dtype=np.float32), ids=[30, 10, 20])
        >>> store.take([10]).tolist()
        [[0.0, 1.0, 0.0]]
    """

    def __init__(
        self, rows: NDArray[Any], ids: ArrayLike | None = None, *, scales: NDArray[np.float32] | None = None
    ) -> None:
        """Check the arrays and learn where each id lies."""
        self.rows, self.scales = checked_rows(rows, scales, "EmbeddingStore")
        self._table = IdTable(len(rows), ids)

    @classmethod
    def open(cls, path: str | os.PathLike[str], ids: ArrayLike | None = None) -> EmbeddingStore:
        """Map a file: a .npy of float32 or float16 (N, D), or what :meth:`write` made.

        The file must stay as it is while the store is in use: one that is cut short under a mapping ends the process.

        Args:
            path: The file.
            ids: As in :class:`EmbeddingStore`; only for a .npy, the other form has its own.

        Raises:
            FileError: There is no such file, or it cannot be mapped.
            FormatError: It is neither, is truncated or was changed, or holds another dtype, order or shape.
            InputError: Ids that are not one a row, or that are given where the file has its own.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                npy = file.read(6) == b"\x93NUMPY"
        except OSError as error:
            raise FileError(
                str(path), expected="a file of embeddings", got=error.strerror or str(error), remedy="Check the path."
            ) from error
        try:
            if npy:
                store = cls(_mapped(path))
            else:
                arrays, _ = read_arrays(path, kind=KIND, mmap=True)
                store = cls._of_arrays({name: here_and_there(array) for name, array in arrays.items()})
        except (KeyError, InputError) as error:
            raise FormatError(
                str(path), expected="embeddings with what belongs to them",
                got=str(error) if isinstance(error, InputError) else f"a file without {error}",
                remedy="Write it with EmbeddingStore.write.",
            ) from error  # fmt: skip
        if ids is not None:
            if not npy:
                raise InputError(
                    "ids", expected="none beside a file that has its own", got="some",
                    remedy="Leave them out, or write the file with these.",
                )  # fmt: skip
            store._table = IdTable(len(store), ids)
        return store

    @classmethod
    def _of_arrays(cls, arrays: dict[str, NDArray[Any]]) -> EmbeddingStore:
        """A store of the arrays of a file."""
        store = cls(arrays["rows"], scales=arrays.get("scales"))
        store._table = IdTable.of_arrays(arrays, len(store))
        return store

    @classmethod
    def write(
        cls,
        path: str | os.PathLike[str],
        rows: ArrayLike | Iterable[ArrayLike],
        *,
        dtype: StoredAs = "float16",
        ids: ArrayLike | None = None,
    ) -> EmbeddingStore:
        """Write embeddings, a block at a time and atomically, and map them.

        Args:
            path: The file; what was there before stays until the new one is whole.
            rows: Real numbers (N, D), which may be mapped, or blocks of them (n, D) one after the other.
            dtype: What they are kept as. float16 has 11 bits of precision; int8 has 8, and a scale a row.
            ids: As in :class:`EmbeddingStore`; kept in the file.

        Raises:
            InputError: Not real numbers in rows, none at all, no such dtype, or ids that are not one a row.
            WidthError: A block of another width than the first.
            NonFiniteError: NaN, infinity, or what float16 or float32 cannot hold; with the number of the row.
            FileError: The place cannot be written.

        Example:
            >>> import tempfile
            >>> path = tempfile.mkdtemp() + "/gallery.int8"
            >>> store = EmbeddingStore.write(path, [[0.5, -0.25], [1.0, 0.0]], dtype="int8")
            >>> len(store), store.width, store.row_bytes, store.take([1]).tolist()
            (2, 2, 6, [[1.0, 0.0]])
        """
        path = Path(path)
        with row_spool(path, dtype) as spool:
            for block in _blocks(rows):
                spool.add(block, partial(_named, spool.count))
            arrays = spool.arrays()
            write_arrays(path, arrays | IdTable(spool.count, ids).arrays(), kind=KIND)
        return cls.open(path)

    @classmethod
    def join(cls, path: str | os.PathLike[str], parts: Sequence[str | os.PathLike[str]]) -> EmbeddingStore:
        """Put stores into one file, row after row as they are kept, and map it.

        Args:
            path: The file; atomically written.
            parts: Files that :meth:`write` made, of one width and dtype, no id in two of them.

        Raises:
            InputError: No parts, or parts of different dtypes.
            WidthError: Parts of different widths.
            FileError: A part is not there, or the place cannot be written.
        """
        if not parts:
            raise InputError("parts", expected="at least one store", got="none", remedy="Give the files to join.")
        path = Path(path)
        first, names = cls.open(parts[0]), []
        with row_spool(path, first.dtype) as spool:  # type: ignore[arg-type]
            for part in parts:
                store = cls.open(part)
                if store.dtype != first.dtype:
                    raise InputError(
                        f"store {part}", expected=f"{first.dtype} as the first", got=store.dtype,
                        remedy="Join stores that were written alike.",
                    )  # fmt: skip
                spool.add_kept(store.rows, store.scales)
                names.append(store.ids)
            arrays = spool.arrays()
            write_arrays(path, arrays | IdTable(spool.count, np.concatenate(names)).arrays(), kind=KIND)
        return cls.open(path)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __repr__(self) -> str:
        """``EmbeddingStore(8000 x 512, float16)``."""
        return f"EmbeddingStore({len(self)} x {self.width}, {self.dtype})"

    @property
    def width(self) -> int:
        """Numbers a row."""
        return int(self.rows.shape[1])

    @property
    def dtype(self) -> str:
        """What they are kept as."""
        return str(self.rows.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, with its scale and its id where these are kept."""
        return self.width * self.rows.dtype.itemsize + (4 if self.scales.size else 0) + self._table.bytes_each

    @property
    def ids(self) -> NDArray[np.int64]:
        """The id of each row, int64 (N,)."""
        return self._table.names()

    def places(self, ids: ArrayLike) -> NDArray[np.int64]:
        """The row of each id, int64 (n,).

        Raises:
            InputError: Not one row of whole numbers, or an id that is not in the store.
        """
        return self._table.places(ids, repr(self))

    def take(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The embeddings of ids, float32 (n, D), as they are compared: int8 times its scale.

        Raises:
            InputError: As :meth:`places`.
        """
        places = self.places(ids)
        found = np.asarray(self.rows[places], np.float32)
        return found * self.scales[places, None] if self.scales.size else found


def _mapped(path: Path) -> NDArray[Any]:
    """A .npy, mapped."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(
            str(path), expected="a whole .npy file of numbers", got=str(error).split("\n")[0].rstrip("."),
            remedy="It is cut short, damaged or holds objects: write it again.",
        ) from error  # fmt: skip
    return here_and_there(rows)


def _blocks(rows: ArrayLike | Iterable[ArrayLike]) -> Iterator[NDArray[Any]]:
    """Rows as blocks of numbers (n, D), an array cut into pieces."""
    whole = rows if hasattr(rows, "ndim") else None
    if isinstance(rows, (list, tuple)):
        whole = np.asarray(rows) if not any(np.ndim(row) == 2 for row in rows) else None
    if whole is not None:
        array: Any = whole if hasattr(whole, "__getitem__") else np.asarray(whole)
        width = array.shape[1] if array.ndim == 2 else 1
        step = max(1, _BLOCK // max(1, width * 8))
        parts: Iterable[Any] = (array[at : at + step] for at in range(0, max(1, len(array)), step))
    else:
        parts = rows  # type: ignore[assignment]
    for part in parts:
        block = np.asarray(part)
        if block.ndim != 2 or block.dtype.kind not in "fiub":
            raise InputError(
                "rows", expected="real numbers (n, D), or blocks of them", got=f"{block.dtype} {block.shape}",
                remedy="Give one row an item.",
            )  # fmt: skip
        yield block


def _named(first: int, row: int) -> str:
    """What a row is called in a message."""
    return f"row {first + row}"

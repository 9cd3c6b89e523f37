"""EmbeddingStore: the embeddings of a gallery under the ids of its index, mapped from a file, for a second look.

A shortlist names a few rows of a file that may be larger than memory; only these are read. Rows are float32, float16,
or int8 with a scale each, from a .npy file as people have it or from a file that :meth:`EmbeddingStore.write` made in
the container of :mod:`hashret.arrayfile`. A store finds no neighbours and is never changed; write it anew.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.arrayfile import read_arrays, write_arrays
from hashret.errors import FileError, FormatError, InputError, NonFiniteError, WidthError
from hashret.search.inputs import as_ids, first_ids, one_id_each

__all__ = ["EmbeddingStore", "StoredAs"]

KIND = "hashret.embeddings/1"
StoredAs = Literal["float32", "float16", "int8"]

_DTYPES = ("float32", "float16", "int8")
_BLOCK = 1 << 24  # bytes of a block that is checked and written at a time
_STEPS = 127  # of int8, on either side of 0
_LEAST = np.finfo(np.float32).tiny  # a scale that is still a normal number


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
        self.rows, self.scales = _checked(rows, scales)
        self._first = 0
        self._ids: NDArray[np.int64] | None = None
        self._order: NDArray[np.int64] | None = None
        if ids is not None:
            self._name(*_sorted(one_id_each(ids, len(rows))))

    def _name(self, ids: NDArray[np.int64], order: NDArray[np.int64] | None) -> None:
        """Take ascending ids and the row of each; numbers that follow each other need no table."""
        self._ids, self._order = ids, order
        if order is None and int(ids[-1]) - int(ids[0]) == len(ids) - 1:
            self._first, self._ids = int(ids[0]), None

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
                store = cls._of_arrays({name: _here_and_there(array) for name, array in arrays.items()})
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
            store._name(*_sorted(one_id_each(ids, len(store))))
        return store

    @classmethod
    def _of_arrays(cls, arrays: dict[str, NDArray[Any]]) -> EmbeddingStore:
        """A store of the arrays of a file."""
        store = cls(arrays["rows"], scales=arrays.get("scales"))
        for name in ("ids", "order"):
            found = arrays.get(name)
            if found is not None and (found.dtype != np.int64 or found.shape != (len(store),)):
                raise InputError(
                    name, expected=f"int64 ({len(store)},)", got=f"{found.dtype} {found.shape}", remedy="Save it anew."
                )
        if "ids" in arrays:
            store._name(arrays["ids"], arrays.get("order"))
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
            >>> path = tempfile.mkdtemp() + "/gallery.int8"
            >>> store = EmbeddingStore.write(path, [[0.5, -0.25], [1.0, 0.0]], dtype="int8")
            >>> len(store), store.width, store.row_bytes, store.take([1]).tolist()
            (2, 2, 6, [[1.0, 0.0]])
        """
        if dtype not in _DTYPES:
            raise InputError(
                "dtype", expected=f"one of {', '.join(_DTYPES)}", got=repr(dtype), remedy="Choose one of them."
            )
        path, scales = Path(path), list[NDArray[np.float32]]()
        try:
            with tempfile.TemporaryFile(dir=path.parent) as file:
                count, width = 0, 0
                for block in _blocks(rows):
                    width = width or block.shape[1]
                    kept, scale = _kept(block, dtype, width, count)
                    file.write(kept.data)
                    scales += [] if scale is None else [scale]
                    count += len(block)
                if not count or not width:
                    raise InputError("rows", expected="at least one", got="none", remedy="Give one row an item.")
                file.flush()
                arrays: dict[str, NDArray[Any]] = {"rows": np.memmap(file, dtype, "r", shape=(count, width))}
                arrays |= {"scales": np.concatenate(scales)} if scales else {}
                if ids is not None:
                    arrays["ids"], order = _sorted(one_id_each(ids, count))
                    arrays |= {} if order is None else {"order": order}
                write_arrays(path, arrays, kind=KIND)
        except OSError as error:
            raise FileError(
                str(path), expected="a place that can be written", got=error.strerror or str(error),
                remedy="Check the folder, its permissions and the free space; what was there before is unchanged.",
            ) from error  # fmt: skip
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
        named = sum(8 for table in (self._ids, self._order) if table is not None)
        return self.width * self.rows.dtype.itemsize + (4 if self.scales.size else 0) + named

    def places(self, ids: ArrayLike) -> NDArray[np.int64]:
        """The row of each id, int64 (n,).

        Raises:
            InputError: Not one row of whole numbers, or an id that is not in the store.
        """
        wanted = as_ids(ids)
        if self._ids is None:
            found = wanted - np.int64(self._first)
            unknown = (found < 0) | (found >= len(self))
        else:
            near = np.minimum(np.searchsorted(self._ids, wanted), len(self) - 1)
            unknown = self._ids[near] != wanted
            found = near if self._order is None else self._order[near]
        if unknown.any():
            lacking = first_ids(np.unique(wanted[unknown]))
            raise InputError(
                "ids", expected=f"ids of {self!r}", got=f"{lacking}, which it does not have",
                remedy="Write the store with all items of the index, under the index's ids.",
            )  # fmt: skip
        if len(found) and (found.min() < 0 or found.max() >= len(self)):
            raise FormatError(
                "order of the store", expected=f"rows below {len(self)}", got=str(found.max()), remedy="Write it anew."
            )
        return np.asarray(found, np.int64)

    def take(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The embeddings of ids, float32 (n, D), as they are compared: int8 times its scale.

        Raises:
            InputError: As :meth:`places`.
        """
        places = self.places(ids)
        found = np.asarray(self.rows[places], np.float32)
        return found * self.scales[places, None] if self.scales.size else found


def _checked(rows: NDArray[Any], scales: NDArray[np.float32] | None) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Rows, and scales or none of them, of dtypes and shapes that belong together."""
    known = isinstance(rows, np.ndarray) and rows.dtype in [np.dtype(name) for name in _DTYPES]
    if not known or rows.ndim != 2 or not rows.size or not rows.flags.c_contiguous:
        got = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        order = " in Fortran order" if known and rows.ndim == 2 and rows.size else ""
        raise InputError(
            "embeddings", expected="float32, float16 or int8 (N, D), C order", got=got + order,
            remedy="EmbeddingStore.write(path, rows) makes them so, a block at a time.",
        )  # fmt: skip
    if (rows.dtype == np.int8) != (scales is not None):
        raise InputError(
            "scales", expected="one a row for int8, none for others", got="none" if scales is None else "some",
            remedy="EmbeddingStore.write(path, rows, dtype='int8') finds them.",
        )  # fmt: skip
    if scales is None:
        return np.asarray(rows), np.empty(0, np.float32)
    if scales.dtype != np.float32 or scales.shape != rows.shape[:1]:
        raise InputError(
            "scales", expected=f"float32 ({len(rows)},)", got=f"{scales.dtype} {scales.shape}", remedy="One a row."
        )
    return np.asarray(rows), np.ascontiguousarray(scales)


def _mapped(path: Path) -> NDArray[Any]:
    """A .npy, mapped."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(
            str(path), expected="a whole .npy file of numbers", got=str(error).split("\n")[0].rstrip("."),
            remedy="It is cut short, damaged or holds objects: write it again.",
        ) from error  # fmt: skip
    return _here_and_there(rows)


def _here_and_there(array: NDArray[Any]) -> NDArray[Any]:
    """The array; if it is mapped, the system is told to read what is asked for and nothing ahead."""
    if isinstance(array, np.memmap) and hasattr(mmap, "MADV_RANDOM"):
        array._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
    return np.asarray(array)


def _sorted(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Ids ascending, and the row of each; None where they ascend already."""
    if (ids[1:] > ids[:-1]).all():
        return ids, None
    order = np.argsort(ids)
    return ids[order], order


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


def _kept(
    block: NDArray[Any], dtype: StoredAs, width: int, first: int
) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """A block as it is stored, and the scales of int8 rows."""
    if block.shape[1] != width:
        raise WidthError(
            "rows", expected=f"{width} numbers in every row", got=f"{block.shape[1]} from row {first} on",
            remedy="Embed all items with one model.",
        )  # fmt: skip
    numbers = block.astype(np.float64)
    largest = np.abs(numbers).max(1, initial=0.0)
    limit = float(np.finfo(np.float16 if dtype == "float16" else np.float32).max)
    bad = np.flatnonzero(~(largest <= limit))
    if len(bad):
        raise NonFiniteError(
            "rows", expected=f"finite numbers up to {limit:.5g} for {dtype}",
            got=f"{largest[bad[0]]:g} in row {first + int(bad[0])}, and {len(bad)} such rows in this block",
            remedy="Leave these rows out, scale them, or keep them as float32.",
        )  # fmt: skip
    if dtype != "int8":
        return np.ascontiguousarray(numbers, dtype), None
    scales = np.maximum(largest / _STEPS, _LEAST).astype(np.float32)
    steps = np.rint(numbers / scales[:, None].astype(np.float64))
    return np.ascontiguousarray(np.clip(steps, -_STEPS, _STEPS), np.int8), scales

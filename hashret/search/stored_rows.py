"""How rows of numbers are kept in a store: float32, float16, or int8 with a scale each, a block at a time.

An int8 row stands for its numbers times its scale, the row's largest magnitude / 127: each value is at most half a
scale off. Stores of embeddings and of tokens share this file, so that the same row is kept the same way in both; what a
row belongs to is theirs to know.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hashret.errors import FileError, InputError, NonFiniteError, WidthError

__all__ = ["RowSpool", "StoredAs", "checked_rows", "here_and_there", "read_ahead", "row_spool"]

StoredAs = Literal["float32", "float16", "int8"]

_ROWS = 4096  # rows copied at a time
_STEPS = 127  # of int8, on either side of 0
_LEAST = np.finfo(np.float32).tiny  # a scale that is still a normal number


class RowSpool:
    """Rows on their way into a file: converted and checked block by block, in a file without a name until then.

    Attributes:
        count: Rows so far.
        width: Numbers a row; 0 before the first block.
    """

    def __init__(self, file: IO[bytes], dtype: StoredAs, path: Path) -> None:
        """Begin without rows."""
        self.count, self.width = 0, 0
        self._file, self._dtype, self._path = file, dtype, path
        self._scales: list[NDArray[np.float32]] = []

    def add(self, block: NDArray[Any], named: Callable[[int], str]) -> None:
        """Append real numbers (n, D); ``named`` tells what a row of the block is called in a message.

        Raises:
            WidthError: A block of another width than the first.
            NonFiniteError: NaN, infinity, or what float16 or float32 cannot hold.
            FileError: The disk is full.
        """
        self.width = self.width or block.shape[1]
        if block.shape[1] != self.width:
            raise WidthError(
                "rows", expected=f"{self.width} numbers in every row", got=f"{block.shape[1]} from {named(0)} on",
                remedy="Embed all items with one model.",
            )  # fmt: skip
        kept, scales = _kept(block, self._dtype, named)
        self._write(kept, scales)

    def add_kept(self, rows: NDArray[Any], scales: NDArray[np.float32]) -> None:
        """Append rows of another store as they are, with their scales, which are empty but for int8.

        Raises:
            WidthError: They are of another width.
            FileError: The disk is full.
        """
        self.width = self.width or rows.shape[1]
        if rows.shape[1] != self.width:
            raise WidthError(
                "rows", expected=f"{self.width} numbers in every row", got=str(rows.shape[1]),
                remedy="Join stores of one model.",
            )  # fmt: skip
        for start in range(0, len(rows), _ROWS):
            self._write(np.ascontiguousarray(rows[start : start + _ROWS]), None)
        self._scales += [np.array(scales)] if scales.size else []

    def _write(self, kept: NDArray[Any], scales: NDArray[np.float32] | None) -> None:
        with _writing(self._path):
            self._file.write(kept.data)
        self._scales += [] if scales is None else [scales]
        self.count += len(kept)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The rows, mapped, and the scales of int8 rows.

        Raises:
            InputError: There are no rows.
        """
        if not self.count or not self.width:
            raise InputError("rows", expected="at least one", got="none", remedy="Give one row an item.")
        with _writing(self._path):
            self._file.flush()
        rows = np.memmap(self._file, self._dtype, "r", shape=(self.count, self.width))
        return {"rows": rows} | ({"scales": np.concatenate(self._scales)} if self._scales else {})


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Name the file in what the system says."""
    try:
        yield
    except OSError as error:
        raise FileError(
            str(path), expected="a place that can be written", got=error.strerror or str(error),
            remedy="Check the folder, its permissions and the free space; what was there before is unchanged.",
        ) from error  # fmt: skip


@contextmanager
def row_spool(path: Path, dtype: StoredAs) -> Iterator[RowSpool]:
    """A spool in the folder of ``path``, which takes no name there and goes when it is left.

    Raises:
        InputError: No such dtype.
        FileError: The folder cannot be written.
    """
    if dtype not in get_args(StoredAs):
        raise InputError(
            "dtype", expected=f"one of {', '.join(get_args(StoredAs))}", got=repr(dtype), remedy="Choose one of them."
        )
    with _writing(path):
        file = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 (closing is writing, too)
    try:
        yield RowSpool(file, dtype, path)
    finally:
        with _writing(path):
            file.close()


def checked_rows(
    rows: NDArray[Any], scales: NDArray[np.float32] | None, store: str
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Rows, and scales or none of them, of dtypes and shapes that belong together; ``store`` makes such files.

    Raises:
        InputError: Another dtype, order or number of dimensions, no rows, or scales where there should be none or the
            other way round.
    """
    known = isinstance(rows, np.ndarray) and rows.dtype in [np.dtype(name) for name in get_args(StoredAs)]
    if not known or rows.ndim != 2 or not rows.size or not rows.flags.c_contiguous:
        got = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        order = " in Fortran order" if known and rows.ndim == 2 and rows.size else ""
        raise InputError(
            "embeddings", expected="float32, float16 or int8 (N, D), C order", got=got + order,
            remedy=f"{store}.write(path, rows) makes them so, a block at a time.",
        )  # fmt: skip
    if (rows.dtype == np.int8) != (scales is not None):
        raise InputError(
            "scales", expected="one a row for int8, none for others", got="none" if scales is None else "some",
            remedy=f"{store}.write(path, rows, dtype='int8') finds them.",
        )  # fmt: skip
    if scales is None:
        return np.asarray(rows), np.empty(0, np.float32)
    if scales.dtype != np.float32 or scales.shape != rows.shape[:1]:
        raise InputError(
            "scales", expected=f"float32 ({len(rows)},)", got=f"{scales.dtype} {scales.shape}", remedy="One a row."
        )
    return np.asarray(rows), np.ascontiguousarray(scales)


def here_and_there(array: NDArray[Any]) -> NDArray[Any]:
    """The array; if it is mapped, the system is told to read what is asked for and nothing ahead."""
    if isinstance(array, np.memmap) and hasattr(mmap, "MADV_RANDOM"):
        array._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
    return np.asarray(array)


def read_ahead(rows: NDArray[Any], start: int, stop: int) -> None:
    """Tell the system that these rows of a mapped array are read next; nothing else changes, and others are let be."""
    origin: Any = rows
    while origin is not None and not isinstance(origin, np.memmap):
        origin = origin.base
    stop = min(stop, len(rows))
    if origin is None or not hasattr(mmap, "MADV_WILLNEED") or start >= stop:
        return
    before = origin.offset % mmap.ALLOCATIONGRANULARITY  # where the array begins in what was mapped
    begin = before + rows.ctypes.data - origin.ctypes.data + start * rows.strides[0]
    whole = begin // mmap.PAGESIZE * mmap.PAGESIZE
    origin._mmap.madvise(mmap.MADV_WILLNEED, whole, begin - whole + (stop - start) * rows.strides[0])  # type: ignore[attr-defined]


def _kept(
    block: NDArray[Any], dtype: StoredAs, named: Callable[[int], str]
) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """A block as it is stored, and the scales of int8 rows."""
    numbers = block.astype(np.float64)
    largest = np.abs(numbers).max(1, initial=0.0)
    limit = float(np.finfo(np.float16 if dtype == "float16" else np.float32).max)
    bad = np.flatnonzero(~(largest <= limit))
    if len(bad):
        raise NonFiniteError(
            "rows", expected=f"finite numbers up to {limit:.5g} for {dtype}",
            got=f"{largest[bad[0]]:g} in {named(int(bad[0]))}, and {len(bad)} such rows in this block",
            remedy="Leave these rows out, scale them, or keep them as float32.",
        )  # fmt: skip
    if dtype != "int8":
        return np.ascontiguousarray(numbers, dtype), None
    scales = np.maximum(largest / _STEPS, _LEAST).astype(np.float32)
    steps = np.rint(numbers / scales[:, None].astype(np.float64))
    return np.ascontiguousarray(np.clip(steps, -_STEPS, _STEPS), np.int8), scales

"""Rows that lie end to end in their file: .npy and .safetensors, read by position."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hashret.data.rowfile import RowFile, as_floats, check_numbers, damaged, pick_name
from hashret.errors import DataFileError

__all__ = ["FlatRows", "open_npy", "open_safetensors"]

_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class FlatRows(RowFile):
    """Rows in C order from some byte on.

    Attributes:
        start: That byte.
        dtype: Of a number in the file.
        brain: Whether these are bfloat16, which NumPy does not know: the upper half of a float32.
    """

    path: Path
    rows: int
    width: int
    flat: bool
    start: int
    dtype: np.dtype[Any]
    brain: bool = False

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        """All rows in order; see :class:`RowFile`."""
        step = self.block_rows(rows, self.dtype.itemsize)
        with self.path.open("rb") as file:
            file.seek(self.start)
            for first in range(0, self.rows, step):
                yield self._read(file, min(step, self.rows - first))

    def take(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """The rows of these numbers, ascending; only they are read."""
        check_numbers(numbers, self.rows)
        with self.path.open("rb") as file:
            parts = []
            for run in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1):
                if len(run):
                    file.seek(self.start + int(run[0]) * self.width * self.dtype.itemsize)
                    parts.append(self._read(file, len(run)))
        return np.concatenate(parts) if parts else as_floats(np.empty((0, self.width), self.dtype))

    def _read(self, file: BinaryIO, rows: int) -> NDArray[Any]:
        try:
            values = np.fromfile(file, self.dtype, rows * self.width)
        except OSError as error:
            raise damaged(self.path, error.strerror or str(error)) from error
        if len(values) < rows * self.width:
            raise damaged(self.path, "its end before its last row")
        if self.brain:
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return as_floats(values.reshape(rows, self.width))


@dataclass(frozen=True, eq=False)
class TurnedRows(RowFile):
    """A .npy in Fortran order, whose rows do not lie together: mapped, and copied a block at a time."""

    path: Path
    rows: int
    width: int
    flat: bool
    itemsize: int

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        """All rows in order; see :class:`RowFile`."""
        mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
        step = self.block_rows(rows, self.itemsize)
        return (as_floats(mapped[first : first + step]) for first in range(0, self.rows, step))


def open_npy(path: Path, name: str) -> RowFile:
    """Open a .npy; it has no names, so that one that is asked for is not there."""
    pick_name(path, name, [""])
    with path.open("rb") as file:
        shape, turned, dtype = read_npy_header(file)
        start = file.tell()
    rows, width, flat = rows_of(path, shape, dtype)
    _check_size(path, start, math.prod(shape) * dtype.itemsize, exact=False)
    if turned and not flat:
        return TurnedRows(path, rows, width, flat, dtype.itemsize)
    return FlatRows(path, rows, width, flat, start, dtype)


def open_safetensors(path: Path, name: str) -> RowFile:
    """Open one array of a .safetensors."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size - 8:
            raise damaged(path, f"{path.stat().st_size:,} bytes that are none or only its beginning")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    _check_size(path, length + 8, max((entry["data_offsets"][1] for entry in header.values()), default=0), exact=True)
    entry = header[pick_name(path, name, sorted(header))]
    if entry["dtype"] not in _DTYPES:
        raise DataFileError(str(path), expected="numbers", got=entry["dtype"], remedy="Write it as F32, F16 or BF16.")
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    rows, width, flat = rows_of(path, tuple(entry["shape"]), dtype)
    begin, end = entry["data_offsets"]
    if end - begin != rows * width * dtype.itemsize:
        raise damaged(path, "offsets that do not fit the shape")
    return FlatRows(path, rows, width, flat, length + 8 + begin, dtype, entry["dtype"] == "BF16")


def read_npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran order, and dtype; the file stands at the first number then."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def rows_of(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, int, bool]:
    """Rows, numbers a row, and whether it is a column.

    Raises:
        DataFileError: Another shape, or no real numbers.
    """
    if dtype.kind not in "fiub" or dtype.itemsize > 8 or len(shape) not in (1, 2):
        raise DataFileError(
            str(path), expected="real numbers (items, features)", got=f"{dtype} {shape}",
            remedy="Write one row an item, as float32.",
        )  # fmt: skip
    return shape[0], 1 if len(shape) == 1 else shape[1], len(shape) == 1


def _check_size(path: Path, start: int, size: int, *, exact: bool) -> None:
    there = os.stat(path).st_size
    if there < start + size or (exact and there != start + size):
        raise DataFileError(
            str(path), expected=f"{start + size:,} bytes", got=f"{there:,} bytes",
            remedy="It is truncated or something was appended; write it again.",
        )  # fmt: skip

"""Rows in a .npz: a member of a zip archive, unpacked as it is read and never as a whole."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.data.flatrows import read_npy_header, rows_of
from hashret.data.rowfile import RowFile, as_floats, damaged, pick_name
from hashret.errors import DataFileError

__all__ = ["ZippedRows", "open_npz"]


@dataclass(frozen=True, eq=False)
class ZippedRows(RowFile):
    """Rows of one member of a .npz, its checksum asked at the end.

    Attributes:
        member: Its name in the archive.
        dtype: Of a number in it.
    """

    path: Path
    rows: int
    width: int
    flat: bool
    member: str
    dtype: np.dtype[Any]

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        """All rows in order; see :class:`RowFile`."""
        step, size = self.block_rows(rows, self.dtype.itemsize), self.width * self.dtype.itemsize
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                read_npy_header(file)
                for first in range(0, self.rows, step):
                    count = min(step, self.rows - first)
                    content = file.read(count * size)
                    if len(content) < count * size:
                        raise damaged(self.path, "its end before its last row")
                    yield as_floats(np.frombuffer(content, self.dtype).reshape(count, self.width))
                file.read(1)  # at the end the checksum is compared
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise damaged(self.path, str(error) or type(error).__name__) from error


def open_npz(path: Path, name: str) -> RowFile:
    """Open one array of a .npz."""
    with zipfile.ZipFile(path) as archive:
        names = [member.removesuffix(".npy") for member in archive.namelist()]
        member = f"{pick_name(path, name, names)}.npy"
        with archive.open(member) as file:
            shape, turned, dtype = read_npy_header(file)
    rows, width, flat = rows_of(path, shape, dtype)
    if turned and not flat:
        raise DataFileError(
            str(path), expected="rows that lie together (C order)", got="Fortran order",
            remedy="Save np.ascontiguousarray of it: a packed file cannot be read crosswise.",
        )  # fmt: skip
    return ZippedRows(path, rows, width, flat, member, dtype)

"""open_rows: a file of embeddings as blocks of rows, so that it may be larger than memory.

Four forms are what people have: .npy, .npz, .safetensors and .parquet. Each is read front to back, a block at a time,
or at chosen rows; nothing is mapped (a file cut short under a mapping kills the process), unpickled, or guessed: of
several matrices one must be named. What the rows mean is not known here.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DataError, DataFileError, FileError, InputError

__all__ = ["BLOCK", "RowFile", "as_floats", "damaged", "open_rows", "pick_name"]

BLOCK = 1 << 24  # bytes of a block
_FORMS = (".npy", ".npz", ".safetensors", ".parquet")


class RowFile(ABC):
    """N rows of numbers in a file.

    Attributes:
        path: The file.
        rows: N.
        width: Numbers a row; 1 for a column.
        flat: Whether the file holds a column (N,) rather than a matrix (N, D).
    """

    path: Path
    rows: int
    width: int
    flat: bool

    @abstractmethod
    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        """All rows in order, float32 or float64 (n, D), C order.

        Args:
            rows: Rows of a block; 0 for about 16 MiB.

        Raises:
            DataFileError: The file turns out to be cut short or damaged.
        """

    def take(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """The rows of these numbers, ascending, by reading all that come before the last.

        Raises:
            DataFileError: The file turns out to be cut short or damaged.
            InputError: Numbers that do not ascend, or are no rows.
        """
        check_numbers(numbers, self.rows)
        found, start = [np.empty((0, self.width), np.float32)], 0
        for block in self.blocks():
            inside = numbers[(numbers >= start) & (numbers < start + len(block))]
            found.append(block[inside - start])
            start += len(block)
            if not len(numbers) or start > numbers[-1]:
                break
        return np.concatenate(found[1:] or found)

    def block_rows(self, asked: int, itemsize: int) -> int:
        """How many rows a block has."""
        return asked or max(1, BLOCK // max(1, self.width * itemsize))


def open_rows(path: str | os.PathLike[str], name: str = "", *, column: bool = False) -> RowFile:
    """Open a file of embeddings.

    Args:
        path: A .npy; a .npz or .safetensors of one matrix; a .parquet with one column of lists, or of numbers only.
        name: The array or column, where the file holds several.
        column: Also take a column of numbers (N,), such as classes.

    Raises:
        DataFileError: It is not there, cut short, damaged, of another form, or what it holds are no rows of numbers.
        DataError: Several arrays, and none was named; or none of that name.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "x.npy")
        >>> np.save(path, np.arange(12, dtype=np.float16).reshape(6, 2))
        >>> rows = open_rows(path)
        >>> rows.rows, rows.width, [block.tolist() for block in rows.blocks(4)][1]
        (6, 2, [[8.0, 9.0], [10.0, 11.0]])
    """
    from hashret.data.flatrows import open_npy, open_safetensors
    from hashret.data.parquetrows import open_parquet
    from hashret.data.zippedrows import open_npz

    path = Path(path)
    if not path.is_file() or path.suffix.lower() not in _FORMS:
        got = "no such file" if not path.exists() else "a folder" if path.is_dir() else path.suffix or "no suffix"
        raise DataFileError(str(path), expected=f"a file {', '.join(_FORMS)}", got=got, remedy="Check the path.")
    opener = {".npy": open_npy, ".npz": open_npz, ".safetensors": open_safetensors, ".parquet": open_parquet}
    try:
        found: RowFile = opener[path.suffix.lower()](path, name)
    except (DataError, FileError, MemoryError):
        raise
    except Exception as error:  # readers of damaged files raise what their parsers raise
        raise damaged(path, str(error).split("\n")[0]) from error
    if found.flat and not column:
        raise DataFileError(
            str(path), expected="a matrix (items, features)", got=f"({found.rows},)", remedy="Write one row an item."
        )
    if not found.rows or not found.width:
        raise DataFileError(
            str(path), expected="rows of numbers", got=f"({found.rows}, {found.width})", remedy="Name another file."
        )
    return found


def check_numbers(numbers: NDArray[np.int64], rows: int) -> None:
    """Refuse numbers that do not ascend, or are none of ``rows`` rows."""
    if len(numbers) and (numbers[0] < 0 or numbers[-1] >= rows or (np.diff(numbers) <= 0).any()):
        raise InputError("rows", expected=f"ascending numbers below {rows}", got=str(numbers), remedy="Sort them.")


def pick_name(path: Path, asked: str, there: Sequence[str]) -> str:
    """The array or column that is meant.

    Raises:
        DataError: Several and none was asked for, none at all, or not that one.
    """
    if asked in there or (not asked and len(there) == 1):
        return asked or there[0]
    raise DataError(
        str(path), expected=f"an array or column {asked!r}" if asked else "one array of rows",
        got=", ".join(there) or "none", remedy="Say which by name." if there else "Write one row an item.",
    )  # fmt: skip


def damaged(path: Path, got: str) -> DataFileError:
    """What is said of a file that cannot be read to its end."""
    return DataFileError(
        str(path), expected=f"a whole {path.suffix} file of numbers", got=got,
        remedy="It is cut short, damaged or of another kind: write it again.",
    )  # fmt: skip


def as_floats(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers as float32 where that loses nothing, float64 otherwise; C order, the machine's own byte order."""
    exact = values.dtype.kind == "b" or (values.dtype.itemsize <= 2 if values.dtype.kind in "iu" else False)
    single = exact or (values.dtype.kind == "f" and values.dtype.itemsize <= 4)
    return np.ascontiguousarray(values, np.float32 if single else np.float64)

"""kept_copy: a big matrix that cannot be mapped as it lies, copied once into a .npy of the cache and mapped from there.

What is compressed, turned or written as text is copied block by block, whole or not at all, into a file named by path,
size, time and variable: a changed file is copied anew, 3 GB of pixels never stand in memory, and every process shares
them. Nothing is evicted; delete the folder ``matrices`` of the cache to free it.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.arrayfile import replace_file
from hashret.errors import DataFileError, FileError, HashretError

__all__ = ["AGAIN", "SMALL", "kept_copy", "reason"]

SMALL = 1 << 26  # bytes that may stand in memory, and that are copied at a time
AGAIN = "It is cut short, damaged or no such file: take it from its source again."


def kept_copy(
    path: Path,
    what: str,
    make: Callable[[], tuple[tuple[int, ...], np.dtype[Any], Iterable[NDArray[Any]]]],
) -> NDArray[Any]:
    """Map the copy of a matrix, and make it first if there is none that is whole.

    Args:
        path: The file it comes from.
        what: Which of its matrices, and how it is turned.
        make: Only called if there is no copy; gives shape, dtype and blocks of rows in order.

    Raises:
        DataFileError: The file cannot be read.
        FileError: The cache cannot be written.

    Example:
        >>> import tempfile
        >>> from unittest import mock
        >>> source = Path(tempfile.mkdtemp(), "a.txt")
        >>> _ = source.write_text("1 2")
        >>> def make():
        ...     return (1, 2), np.dtype(np.uint8), [np.array([[1, 2]], np.uint8)]
        >>> with mock.patch.dict(os.environ, HASHRET_CACHE=str(source.parent)):
        ...     kept_copy(source, "all", make).tolist()
        [[1, 2]]
    """
    about = path.stat()
    key = f"{path.resolve()} {about.st_size} {about.st_mtime_ns} {what}"
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get("HASHRET_CACHE") or os.path.join(home, "hashret")).expanduser() / "matrices"
    place = folder / f"{hashlib.blake2b(key.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}.npy"
    try:
        return _mapped(place)
    except (OSError, ValueError, EOFError):  # not there, or cut short by a crash: make it again
        pass
    try:
        shape, dtype, blocks = make()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(place, _pieces(path, shape, dtype, blocks))
    except DataFileError:
        raise
    except (FileError, OSError) as error:
        got = error.got if isinstance(error, FileError) else error.strerror or str(error)
        raise FileError(
            str(folder), expected=f"room for {_size(shape, dtype)}, a copy of {path.name}", got=got,
            remedy="Set HASHRET_CACHE to a folder with room.",
        ) from error  # fmt: skip
    return _mapped(place)


def reason(error: Exception) -> str:
    """The first line of what a parser said, or what kind of error it is."""
    return str(error).split("\n")[0] or type(error).__name__


def _mapped(place: Path) -> NDArray[Any]:
    return np.asarray(np.load(place, mmap_mode="r", allow_pickle=False))


def _size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _unreadable(path: Path, error: Exception) -> DataFileError:
    return DataFileError(str(path), expected="a whole matrix file", got=reason(error), remedy=AGAIN)


def _pieces(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterable[NDArray[Any]]
) -> Iterator[bytes | memoryview]:
    """The bytes of a .npy. They are written, not mapped: a full disk under a mapping kills the process."""
    head, rows = io.BytesIO(), 0
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(head, about)
    yield head.getvalue()
    try:
        for block in blocks:
            rows += len(block)
            if block.size:
                yield np.ascontiguousarray(block, dtype).data.cast("B")
    except (HashretError, MemoryError):
        raise
    except Exception as error:  # readers of damaged files raise what their parsers raise
        raise _unreadable(path, error) from error
    assert rows == shape[0], (rows, shape)

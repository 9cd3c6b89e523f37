"""open_matrix: a big matrix of a dataset, from .npy, .mat or HDF5, as rows that are read when they are looked at.

The hashing files are MATLAB's: version 5 (read whole by scipy) or version 7.3, which is HDF5. What can be mapped as it
lies is mapped; the rest is mapped from a copy in the cache (:mod:`hashret.data.matrixcopy`). A file is never unpickled,
and a matrix that lies on its side is turned only if it fits no other way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashret.data.hdf5file import Expected, hdf5_matrix, hdf5_shapes, hdf5_texts, is_hdf5, is_turned, pick
from hashret.data.matrixcopy import AGAIN, SMALL, kept_copy, reason
from hashret.errors import DataFileError, FileError

__all__ = ["matrix_shapes", "open_matrix", "open_strings", "open_texts"]

Read = TypeVar("Read")


def open_matrix(
    path: str | os.PathLike[str],
    names: Sequence[str] = (),
    *,
    rows: int | None = None,
    columns: int | None = None,
) -> NDArray[Any]:
    """Open one matrix of numbers; its first axis is items.

    Args:
        path: A .npy, a .mat of version 5 or 7.3 (sparse ones too), or an HDF5 file.
        names: Names of the variable, the first that is there is taken; not used for .npy.
        rows: How many items it should have. It may have others: the caller compares; it only tells which way round a
            matrix of two axes lies.
        columns: How wide it should be, for the same purpose.

    Returns:
        An array, read-only and mapped if it is larger than 64 MiB.

    Raises:
        DataFileError: There is no such file, it is truncated or of another form, or holds none of the names.
        FileError: The cache cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "labels.npy")
        >>> np.save(path, np.zeros((24, 7), np.uint8))
        >>> open_matrix(path, columns=24).shape, open_matrix(path).shape
        ((7, 24), (24, 7))
    """
    path, expected = Path(path), (rows, columns)

    def read() -> NDArray[Any]:
        if path.suffix == ".npy":
            return _open_npy(path, expected)
        return hdf5_matrix(path, names, expected) if is_hdf5(path) else _open_version_5(path, names, expected)

    return _reading(path, read)


def open_texts(path: str | os.PathLike[str], names: Sequence[str] = ()) -> list[list[str]]:
    """Read the strings of each item: rows of a cell array or character matrix of a .mat, or lines of a .txt.

    Blanks around a string are dropped, since a character matrix pads with them.

    Args:
        path: A .mat of version 5 or 7.3, an HDF5 file, a .npy of strings, or a .txt in UTF-8 (Latin-1 where it is not).
        names: See :func:`open_matrix`.

    Raises:
        DataFileError: As for :func:`open_matrix`, or the variable holds something else.
    """
    path = Path(path)

    def read() -> list[list[str]]:
        if path.suffix == ".txt":
            lines = _decoded(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n").split("\n")
            return [[line.strip()] for line in (lines if lines[-1] else lines[:-1])]
        if path.suffix != ".npy" and is_hdf5(path):
            return hdf5_texts(path, names)
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _load(path, names)
        if values.ndim > 1 and 1 in values.shape:
            values = values.ravel()
        return [_strings(path, row) for row in values]

    return _reading(path, read)


def open_strings(path: str | os.PathLike[str], names: Sequence[str] = ()) -> list[str]:
    """Read one string an item; see :func:`open_texts`.

    Raises:
        DataFileError: As there, or an item has several strings.
    """
    texts = open_texts(path, names)
    for row, several in enumerate(texts):
        if len(several) > 1:
            raise DataFileError(
                str(path), expected="one string an item", got=f"{len(several)} in row {row}",
                remedy="This is another file, or another version of it.",
            )  # fmt: skip
    return ["".join(one) for one in texts]


def matrix_shapes(path: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the variables in a .mat or HDF5 file as they are stored; {"": shape} for .npy.

    Raises:
        DataFileError: It cannot be read.
    """
    path = Path(path)

    def read() -> dict[str, tuple[int, ...]]:
        if path.suffix == ".npy":
            return {"": np.load(path, mmap_mode="r", allow_pickle=False).shape}
        if is_hdf5(path):
            return hdf5_shapes(path)
        from scipy.io import whosmat

        return {name: tuple(shape) for name, shape, _ in whosmat(path)}

    return _reading(path, read)


def _reading(path: Path, read: Callable[[], Read]) -> Read:
    """Call a reader, and say by one error whatever stops it."""
    if not path.is_file():
        raise DataFileError(str(path), expected="a matrix file", got="nothing", remedy="Check the path.")
    try:
        return read()
    except (FileError, MemoryError):
        raise
    except Exception as error:  # readers of damaged files raise what their parsers raise
        size = f"{path.stat().st_size:,} bytes"
        raise DataFileError(
            str(path), expected=f"a whole {path.suffix or 'matrix'} file", got=f"{size} ({reason(error)})", remedy=AGAIN
        ) from error


def _decoded(content: bytes) -> str:
    """UTF-8, or Latin-1 where it is not, as tags of Flickr sometimes are; bytes of zero are no text."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in content:
            raise
        return content.decode("latin-1")


def _open_npy(path: Path, expected: Expected) -> NDArray[Any]:
    values = _numbers(path, np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)))
    turned = is_turned(values.shape, expected, False)
    if not turned and (values.flags.c_contiguous or values.ndim != 2):
        return values
    values = values.T if turned else values
    if values.nbytes < SMALL:
        return np.ascontiguousarray(values)
    return kept_copy(path, "turned" if turned else "", lambda: (values.shape, values.dtype, _blocks(values)))


def _open_version_5(path: Path, names: Sequence[str], expected: Expected) -> NDArray[Any]:
    from scipy.io import whosmat

    there = {name: shape for name, shape, _ in whosmat(path)}
    name = pick(path, names, list(there))
    turned = is_turned(there[name], expected, False)

    def load() -> NDArray[Any]:
        values = _numbers(path, _load(path, [name]))
        return values.T if turned else values

    if int(np.prod(there[name], dtype=np.int64)) * np.dtype(np.float64).itemsize < SMALL:
        return np.ascontiguousarray(load())

    def make() -> tuple[tuple[int, ...], np.dtype[Any], Iterator[NDArray[Any]]]:
        values = load()
        return values.shape, values.dtype, _blocks(values)

    return kept_copy(path, f"{name} turned" if turned else name, make)


def _load(path: Path, names: Sequence[str]) -> NDArray[Any]:
    """A variable of a .mat of version 5 or 4; sparse ones become whole."""
    from scipy.io import loadmat, whosmat

    name = pick(path, names, [name for name, _, _ in whosmat(path)])
    values = loadmat(path, variable_names=[name])[name]
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def _numbers(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind in "biuf":
        return values
    raise DataFileError(
        str(path), expected="numbers", got=f"{values.dtype} {values.shape}",
        remedy="This is another file, or another version of it.",
    )  # fmt: skip


def _blocks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    step = max(1, SMALL // max(1, values.nbytes // len(values)))
    return (values[start : start + step] for start in range(0, len(values), step))


def _strings(path: Path, value: Any) -> list[str]:
    """The strings of a row: of arrays in each other, as scipy reads cells."""
    if isinstance(value, str):
        return [value.strip()]
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return [str(text).strip() for text in value.ravel()] or [""]
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return [text for inner in value.ravel() for text in _strings(path, inner)]
    if isinstance(value, np.ndarray) and not value.size:  # MATLAB's [] for a missing string
        return [""]
    raise DataFileError(
        str(path), expected="strings", got=f"a cell of {getattr(value, 'dtype', type(value).__name__)}",
        remedy="This is another file, or another version of it.",
    )  # fmt: skip

"""HDF5 as MATLAB 7.3 writes it: axes reversed, compressed blocks, text as numbers, cells as references.

MATLAB puts 512 bytes of its own before the HDF5, marks what it wrote (``MATLAB_class``), and stores a matrix of N rows
as one of N columns. Other programs write the same variables the plain way round. This file tells the two apart, maps
what can be mapped as it lies and hands the rest on in blocks. What a variable means is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.data.matrixcopy import SMALL, kept_copy
from hashret.errors import DataFileError

__all__ = ["Expected", "hdf5_matrix", "hdf5_shapes", "hdf5_texts", "is_hdf5", "pick"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"

Expected = tuple[int | None, int | None]


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5, with MATLAB's 512 bytes before it or without."""
    with path.open("rb") as file:
        head = file.read(520)
    return head.startswith(_SIGNATURE) or head[512:520] == _SIGNATURE


def pick(path: Path, names: Sequence[str], there: Sequence[str]) -> str:
    """The first of the names that is there; without names, the first there is.

    Raises:
        DataFileError: None of them is there.
    """
    for name in names or there[:1]:
        if name in there:
            return name
    raise DataFileError(
        str(path), expected=f"a variable {' or '.join(names) or 'of any name'}", got=", ".join(there) or "none",
        remedy="This is another file, or another version of it.",
    )  # fmt: skip


def is_turned(shape: Sequence[int], expected: Expected, usually: bool) -> bool:
    """Whether a matrix lies on its side: it fits only turned, or fits both ways or neither and usually is.

    Example:
        >>> is_turned((24, 900), (900, 24), False), is_turned((24, 900), (None, 900), True)
        (True, False)
    """

    def fits(sizes: Sequence[int]) -> bool:
        return len(sizes) == 2 and all(want in (None, size) for want, size in zip(expected, sizes, strict=True))

    as_it_lies, turned = fits(shape), fits(shape[::-1])
    return len(shape) == 2 and (usually if as_it_lies == turned else turned)


def hdf5_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The variables and their shapes as HDF5 has them; () for a group."""
    import h5py

    with h5py.File(path, "r") as file:
        names = [name for name in file if not name.startswith("#")]
        return {name: tuple(getattr(file[name], "shape", None) or ()) for name in names}


def hdf5_matrix(path: Path, names: Sequence[str], expected: Expected) -> NDArray[Any]:
    """A matrix of numbers, its rows first; small ones are read, others mapped."""
    import h5py

    with h5py.File(path, "r") as file:
        name = pick(path, names, list(hdf5_shapes(path)))
        data = file[name]
        if isinstance(data, h5py.Group):
            return _sparse(path, data, expected)
        if data.dtype.kind not in "biuf" or data.attrs.get("MATLAB_class") in (b"char", "char"):
            raise DataFileError(
                str(path), expected=f"numbers in {name}", got=f"{data.dtype} {data.shape}",
                remedy="This is another file, or another version of it.",
            )  # fmt: skip
        if "MATLAB_empty" in data.attrs:
            return np.empty(tuple(int(size) for size in data[()]))
        turned = is_turned(data.shape, expected, "MATLAB_class" in data.attrs)
        if data.size * data.dtype.itemsize < SMALL:
            values = data[()]
            return np.ascontiguousarray(values.T) if turned else values
        offset = data.id.get_offset()  # from the start of the file, MATLAB's 512 bytes included
        if offset is not None and data.chunks is None and not turned:
            return np.asarray(np.memmap(path, data.dtype, "r", offset, data.shape))
        shape = tuple(data.shape[::-1] if turned else data.shape)
        what = f"{name} turned" if turned else name
        return kept_copy(path, what, lambda: (shape, data.dtype, _blocks(data, turned)))


def _blocks(data: Any, turned: bool) -> Iterator[NDArray[Any]]:
    """Rows (or columns, where they lie turned) some at a time, whole compressed blocks of them."""
    axis = 1 if turned else 0
    across = data.size // data.shape[axis] * data.dtype.itemsize
    chunk = data.chunks[axis] if data.chunks else 1
    step = max(1, SMALL // max(1, across * chunk)) * chunk
    for start in range(0, data.shape[axis], step):
        yield data[:, start : start + step].T if turned else data[start : start + step]


def _sparse(path: Path, group: Any, expected: Expected) -> NDArray[Any]:
    """MATLAB's sparse matrix: columns of values and their rows."""
    from scipy.sparse import csc_matrix

    if not {"data", "ir", "jc"} <= set(group) and "MATLAB_sparse" not in group.attrs:
        raise DataFileError(
            f"{path}, {group.name}", expected="a matrix", got=f"a struct of {', '.join(group)}",
            remedy="This is another file, or another version of it.",
        )  # fmt: skip
    starts, rows = group["jc"][()].astype(np.int64), int(group.attrs["MATLAB_sparse"])
    values = group["data"][()] if "data" in group else np.empty(0)
    places = group["ir"][()].astype(np.int64) if "ir" in group else np.empty(0, np.int64)
    whole = csc_matrix((values, places, starts), (rows, len(starts) - 1)).toarray()
    return np.ascontiguousarray(whole.T if is_turned(whole.shape, expected, False) else whole)


def hdf5_texts(path: Path, names: Sequence[str]) -> list[list[str]]:
    """The strings of each row of a cell array, of a character matrix, or of a column of strings."""
    import h5py

    with h5py.File(path, "r") as file:
        name = pick(path, names, list(hdf5_shapes(path)))
        return _rows(file, file[name], str(path))


def _rows(file: Any, data: Any, where: str) -> list[list[str]]:
    """Rows of strings: MATLAB's axes are reversed, so that a cell array of one row is one of one column here."""
    if _is_matlab_cell(data):
        if "MATLAB_empty" in data.attrs:
            return []
        cells = data[()]
        cells = cells.T if cells.shape[0] != 1 and cells.shape[-1] != 1 else cells.reshape(-1, 1)
        return [[text for cell in row for text in _strings(file, file[cell], where)] for row in cells]
    return [[text] for text in _strings(file, data, where)]


def _strings(file: Any, data: Any, where: str) -> list[str]:
    """All strings of a variable or cell."""
    import h5py

    if _is_matlab_cell(data):
        return [text for row in _rows(file, data, where) for text in row]
    if "MATLAB_empty" in data.attrs:
        return [""]
    if data.attrs.get("MATLAB_class") in (b"char", "char") and data.dtype.kind == "u":
        letters = np.atleast_2d(data[()].T)  # a row a string
        return [row.astype("<u2").tobytes().decode("utf-16-le", "replace").strip() for row in letters]
    if h5py.check_string_dtype(data.dtype) is not None:
        return [str(text).strip() for text in np.ravel(data.asstr()[()])]
    raise DataFileError(
        where, expected="strings", got=f"{data.dtype} {data.shape}", remedy="This is another file or version of it."
    )


def _is_matlab_cell(data: Any) -> bool:
    import h5py

    return bool(h5py.check_ref_dtype(data.dtype) is not None)

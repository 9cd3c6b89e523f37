"""Files as MATLAB 7.3 writes them: HDF5 behind 512 bytes, axes reversed, marks of the classes, cells as references."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.sparse import issparse

HEAD = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 ."
CLASSES = {"float64": "double", "float32": "single", "bool": "logical"}


def write_version_73(path: Path, variables: dict[str, Any], compressed: bool = True, marked: bool = True) -> None:
    """Write variables as MATLAB sees them: arrays of numbers, a list of strings as a cell array of one column.

    Args:
        path: Where to.
        variables: Name -> array, sparse matrix, string or list of strings (or of lists of them).
        compressed: In blocks, as MATLAB does; otherwise as one piece.
        marked: Whether it says what MATLAB class each is, as MATLAB does and others do not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            _write(file, name, value, compressed, marked)
    with path.open("r+b") as file:
        file.write(HEAD.ljust(116) + b" " * 8 + b"\x00\x02IM")


def _write(file: Any, name: str, value: Any, compressed: bool, marked: bool) -> None:
    if issparse(value):
        value = value.tocsc()
        group = file.create_group(name)
        group.attrs.update({"MATLAB_class": np.bytes_("double"), "MATLAB_sparse": np.uint64(value.shape[0])})
        group["jc"] = value.indptr.astype(np.uint64)
        if value.nnz:
            group["data"], group["ir"] = value.data, value.indices.astype(np.uint64)
        return
    if isinstance(value, str):
        letters = np.frombuffer(value.encode("utf-16-le"), "<u2").astype(np.uint16)
        data = file.create_dataset(name, data=letters[:, None] if value else np.zeros(2, np.uint64))
        data.attrs["MATLAB_class"] = np.bytes_("char")
        if not value:
            data.attrs["MATLAB_empty"] = np.uint8(1)
        return
    if isinstance(value, list):
        rows = [row if isinstance(row, list) else [row] for row in value]
        references = np.empty((len(rows[0]), len(rows)), h5py.ref_dtype)
        for row, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                inner = f"#refs#/{name}{row}_{column}"
                _write(file, inner, cell, compressed, marked)
                references[column, row] = file[inner].ref
        file.create_dataset(name, data=references, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_("cell")
        return
    value = np.asarray(value)
    stored = value.astype(np.uint8) if value.dtype == bool else value
    chunks = tuple(max(1, size // 2) for size in reversed(stored.shape)) if compressed else None
    data = file.create_dataset(name, data=stored.T, chunks=chunks, compression="gzip" if compressed else None)
    if marked:
        data.attrs["MATLAB_class"] = np.bytes_(CLASSES.get(value.dtype.name, value.dtype.name))

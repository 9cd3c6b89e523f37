"""Named arrays in one file: written atomically, checked when read, memory-mapped on demand.

Codes, indexes, cached features and checkpoints are all "a few arrays and a little metadata"; this file exists so that
they share one container and one set of promises. The container is safetensors (an 8-byte header length, a JSON header,
raw little-endian arrays), so any safetensors reader opens it. It never pickles, and it never knows what the arrays
mean.
"""

from __future__ import annotations

import errno
import json
import math
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hashret.errors import FileError, FormatError

__all__ = ["read_arrays", "replace_file", "write_arrays"]

Array = np.ndarray[Any, np.dtype[Any]]

_DTYPES = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32,
    "I32": np.int32, "U64": np.uint64, "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def replace_file(path: str | os.PathLike[str], content: bytes | Iterable[bytes | memoryview]) -> None:
    """Write ``content``, whole or in pieces, to ``path`` so that a reader sees the old bytes or the new ones.

    The bytes go to a temporary file in the same folder, are flushed to the disk and then renamed over ``path``; the
    folder is flushed too, so that what is written after this call never outlives it.

    Raises:
        FileError: The folder does not exist, is not writable, or the disk is full; the old file is untouched.
    """
    path = Path(path)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            for piece in [content] if isinstance(content, bytes) else content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise FileError(
            str(path),
            expected="a place that can be written",
            got=error.strerror or str(error),
            remedy="Check the folder, its permissions and the free space; what was there before is unchanged.",
        ) from error
    finally:  # also when interrupted: leave no part behind
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def _flush_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; some file systems know no such call."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], *, kind: str, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write named arrays and JSON-able metadata as one safetensors file, atomically.

    Args:
        path: Where to; an existing file is replaced only once the new one is whole.
        arrays: Names to arrays of bool, int, uint or float dtype, any shape.
        kind: What the file holds, such as ``"hashret.codes/1"``; :func:`read_arrays` asks for it again.
        metadata: Anything JSON can hold.

    Raises:
        FileError: The place cannot be written.

    Example:
        >>> import tempfile, numpy as np
        >>> path = tempfile.mkdtemp() + "/a.safetensors"
        >>> write_arrays(path, {"x": np.arange(3)}, kind="example/1", metadata={"note": "hi"})
        >>> arrays, metadata = read_arrays(path, kind="example/1")
        >>> arrays["x"].tolist(), metadata["note"]
        ([0, 1, 2], 'hi')
    """
    solid = {name: _solid(array) for name, array in arrays.items()}
    sums = {name: zlib.crc32(array.data if array.size else b"") for name, array in solid.items()}
    about = {"kind": kind, "checksums": json.dumps(sums), "metadata": json.dumps(dict(metadata or {}))}
    layout = {name: (array.dtype, array.shape) for name, array in solid.items()}
    about["header_checksum"] = str(_header_checksum(about, layout))
    replace_file(path, _pieces(solid, {"hashret": json.dumps(about)}))


def _pieces(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """A safetensors file, piece by piece, so that arrays larger than memory can be written.

    The widest elements come first and the header fills up to 8 bytes, so that every mapped array is aligned.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    end = 0
    for name in names:
        begin, end = end, end + arrays[name].nbytes
        dtype = _NAMES[arrays[name].dtype]
        header[name] = {"dtype": dtype, "shape": list(arrays[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        if arrays[name].size:
            yield arrays[name].reshape(-1).view(np.uint8).data


def read_arrays(
    path: str | os.PathLike[str], *, kind: str | Sequence[str], mmap: bool = False
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what :func:`write_arrays` wrote.

    Args:
        path: The file.
        kind: The kind it must be, or several that will do.
        mmap: Map the arrays read-only instead of reading them; then header and size are checked, the arrays'
            checksums are not.

    Returns:
        The arrays by name, and the metadata.

    Raises:
        FileError: There is no such file, or it cannot be read.
        FormatError: It is another kind of file, is truncated, or its checksums do not match.
    """
    path = Path(path)
    with _open(path) as file:  # once: the file may be replaced at any moment
        header, start = _header(path, file)
        about = _about(path, header, (kind,) if isinstance(kind, str) else tuple(kind))
        sums: dict[str, int] = json.loads(about["checksums"])
        arrays: dict[str, Array] = {}
        for name, (dtype, shape, offset) in _places(path, file, header, start).items():
            if 0 in shape:
                arrays[name] = np.empty(shape, dtype)
            elif mmap:
                arrays[name] = np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=shape)
            else:
                file.seek(offset)
                arrays[name] = np.fromfile(file, dtype=dtype, count=math.prod(shape)).reshape(shape)
                if zlib.crc32(arrays[name].data) != sums[name]:
                    raise FormatError(
                        str(path), expected=f"array {name!r} as it was written", got="other bytes (checksum)",
                        remedy="The file was damaged; write it again or take it from a backup.",
                    )  # fmt: skip
    return arrays, json.loads(about["metadata"])


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise FileError(
            str(path), expected="a file", got=error.strerror or str(error), remedy="Check the path."
        ) from error


def _solid(array: Array) -> Array:
    """The array as it will lie in the file: C order, little-endian."""
    array = np.asarray(array)
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _header_checksum(about: Mapping[str, str], layout: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> int:
    """One number over everything in the header that gives the bytes their meaning."""
    told = sorted((name, dtype.str, list(shape)) for name, (dtype, shape) in layout.items())
    return zlib.crc32(json.dumps([about["kind"], about["checksums"], about["metadata"], told]).encode())


def _about(path: Path, header: dict[str, Any], kinds: tuple[str, ...]) -> dict[str, str]:
    """Take the metadata out of ``header`` and check the kind and that nothing in the header was changed."""
    try:
        about: dict[str, str] = dict(json.loads(header.pop("__metadata__")["hashret"]))
    except (KeyError, TypeError, ValueError):
        about = {}
    got = about.get("kind")
    if got not in kinds:
        newer = str(got).rpartition("/")[0] in {kind.rpartition("/")[0] for kind in kinds}
        raise FormatError(
            str(path), expected=f"a {' or '.join(kinds)} file", got=f"kind {got!r}",
            remedy="It is of another version: update hashret." if newer else "Name the file that holds it.",
        )  # fmt: skip
    try:
        layout = {name: (np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])) for name, entry in header.items()}
        intact = int(about["header_checksum"]) == _header_checksum(about, layout)
    except (KeyError, TypeError, ValueError):
        intact = False
    if not intact:
        raise FormatError(
            str(path), expected="the header as it was written", got="a changed one (checksum)",
            remedy="The file was damaged; write it again or take it from a backup.",
        )  # fmt: skip
    return about


def _places(
    path: Path, file: BinaryIO, header: dict[str, Any], start: int
) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]:
    """Dtype, shape and offset of every array; refuses a file that is not exactly these arrays end to end."""
    places: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]] = {}
    end = 0
    try:
        for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
            dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
            places[name] = (dtype, shape, start + end)
            begin, end = end, end + math.prod(shape) * dtype.itemsize
            if entry["data_offsets"] != [begin, end]:
                raise ValueError(name)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            str(path), expected="arrays that lie end to end", got="offsets that do not fit their shapes",
            remedy="The file was damaged; write it again or take it from a backup.",
        ) from error  # fmt: skip
    size = os.fstat(file.fileno()).st_size
    if size != start + end:
        raise FormatError(
            str(path), expected=f"{start + end} bytes", got=f"{size} bytes",
            remedy="It is truncated or something was appended; write it again.",
        )  # fmt: skip
    return places


def _header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Parse the safetensors header; returns it and the offset at which the arrays begin."""
    try:
        length = int.from_bytes(file.read(8), "little")
        size = os.fstat(file.fileno()).st_size
        if size < 8 or length > size - 8:
            raise FormatError(
                str(path), expected="a safetensors file", got=f"{size} bytes that are none or only its beginning",
                remedy="Name the right file, or write it again.",
            )  # fmt: skip
        header = json.loads(file.read(length))
    except OSError as error:
        raise FileError(
            str(path), expected="a file", got=error.strerror or str(error), remedy="Check the path."
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(
            str(path), expected="a safetensors file", got="a header that is no JSON", remedy="Name the right file."
        ) from error
    if not isinstance(header, dict):
        raise FormatError(
            str(path), expected="a safetensors header", got=type(header).__name__, remedy="Name the right file."
        )
    return header, length + 8

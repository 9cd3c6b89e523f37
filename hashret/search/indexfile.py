"""The file of an index: its segments as they lie in memory, in the container of :mod:`hashret.arrayfile`.

Version 2 (``hashret.index/2``) holds, for segment number i, ``i.blocks`` and, where needed, ``i.ids``, ``i.alive`` and
the arrays of its tables as ``i.tables.NAME``; the metadata give ``bits``, ``next_id`` and for each segment the number
of codes, of removed codes and the first id. It is mapped as it is. Version 1 (``hashret.index/1``) held packed rows of
bytes and their ids; it is still read, and laid out in memory. What a version holds is never changed: a change gives a
new version and another branch here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.arrayfile import read_arrays, write_arrays
from hashret.codes import Codes
from hashret.errors import FormatError, InputError
from hashret.search.blocks import Blocks
from hashret.search.inputs import LARGEST_ID, whole_number
from hashret.search.multi_index import MultiIndex
from hashret.search.segment import EVERY, Segment
from hashret.search.segments import Segments

__all__ = ["read_segments", "write_segments"]

KINDS = ("hashret.index/2", "hashret.index/1")

Arrays = Mapping[str, NDArray[Any]]


def write_segments(path: str | os.PathLike[str], segments: Segments, *, bits: int, next_id: int) -> None:
    """Write segments as the newest version, atomically.

    Raises:
        FileError: The place cannot be written; what was there before is unchanged.
    """
    arrays: dict[str, NDArray[Any]] = {}
    about = []
    for number, part in enumerate(segments.parts):
        arrays |= {f"{number}.{name}": array for name, array in part.arrays().items()}
        about.append({"codes": len(part.blocks), "removed": part.dead, "first": part.first})
    metadata = {"bits": bits, "next_id": next_id, "segments": about}
    write_arrays(path, arrays, kind=KINDS[0], metadata=metadata)


def read_segments(path: str | os.PathLike[str], *, mmap: bool) -> tuple[Segments, int, int]:
    """Read what any version wrote.

    Returns:
        The segments, the width of their codes in bits, and the next free id.

    Raises:
        FileError: There is no such file.
        FormatError: It holds no index, is truncated or was changed, or its parts contradict each other.
    """
    arrays, about = read_arrays(path, kind=KINDS, mmap=mmap)
    try:
        bits, next_id = whole_number(about["bits"], "bits", least=1), whole_number(about["next_id"], "next_id", least=0)
        if "segments" in about:
            parts = [_segment(arrays, f"{number}.", bits, told) for number, told in enumerate(about["segments"])]
        else:
            parts = [_of_rows(arrays["packed"], np.asarray(arrays["ids"]), bits)]
        segments = Segments(tuple(part for part in parts if len(part)))
        names = segments.names() if len(segments.parts) > 1 and not mmap else np.empty(0, np.int64)
        if (names[1:] == names[:-1]).any():
            raise InputError("ids", expected="each id once", got="one in two segments", remedy="Save it anew.")
        if segments.last >= next_id:
            raise InputError("next_id", expected=f"> {segments.last}", got=str(next_id), remedy="Save it anew.")
    except (KeyError, TypeError, InputError) as error:
        raise FormatError(
            str(path), expected="codes, their ids and the next free id, which fit each other",
            got=str(error) if isinstance(error, InputError) else f"a file without {error}",
            remedy="Write it with HammingIndex.save.",
        ) from error  # fmt: skip
    return segments, bits, next_id


def _segment(arrays: Arrays, prefix: str, bits: int, told: Mapping[str, Any]) -> Segment:
    """One segment of version 2."""
    count, removed, first = (whole_number(told[name], name, least=0) for name in ("codes", "removed", "first"))
    blocks = Blocks(np.asarray(arrays[f"{prefix}blocks"]), count, bits)
    ids, alive = arrays.get(f"{prefix}ids"), EVERY
    if ids is not None:
        ids = np.asarray(ids)
        _check(ids.dtype == np.int64 and ids.shape == (count,), "ids", f"int64 ({count},)", ids)
        if not isinstance(arrays[f"{prefix}ids"], np.memmap):  # a map is not read through
            _check(_ascend(ids), "ids", "numbers that ascend from 0 or above", ids)
    if removed:
        alive = np.asarray(arrays[f"{prefix}alive"])
        _check(alive.dtype == np.uint64 and alive.shape == (-(-count // 64),), "alive", "a bit a code", alive)
        if not isinstance(arrays[f"{prefix}alive"], np.memmap):
            marks = np.unpackbits(alive.view(np.uint8), count=count, bitorder="little")
            _check(count - np.count_nonzero(marks) == removed, "alive", f"{removed} removed codes of {count}", alive)
    if ids is None and first + count - 1 > LARGEST_ID:
        raise InputError("first", expected=f"ids up to {LARGEST_ID}", got=str(first), remedy="Save it anew.")
    start = f"{prefix}tables."
    mine = {name.removeprefix(start): np.asarray(array) for name, array in arrays.items() if name.startswith(start)}
    tables = MultiIndex.of_arrays(mine, bits) if mine else None
    if tables is not None and len(tables) != count:
        raise InputError("tables", expected=f"of {count} codes", got=str(len(tables)), remedy="Save it anew.")
    return Segment(blocks, ids, first, alive, removed, tables)


def _of_rows(packed: NDArray[Any], ids: NDArray[Any], bits: int) -> Segment:
    """The one segment of version 1."""
    codes = Codes(np.asarray(packed), bits)
    _check(ids.dtype == np.int64 and ids.shape == (len(codes),), "ids", f"int64 ({len(codes)},)", ids)
    _check(_ascend(ids), "ids", "numbers that ascend from 0 or above", ids)
    return Segment.of(codes, ids)


def _ascend(ids: NDArray[np.int64]) -> bool:
    return not len(ids) or bool(ids[0] >= 0 and (ids[1:] > ids[:-1]).all())


def _check(right: bool, name: str, expected: str, array: NDArray[Any]) -> None:
    if not right:
        raise InputError(
            name, expected=expected, got=f"{array.dtype} {array.shape}", remedy="Write it with HammingIndex.save."
        )

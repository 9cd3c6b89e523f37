"""Shards: one index cut into files in a folder, each with a journal of what was changed since it was written.

``shards.json`` says how many there are and how wide their codes. Shard 3 is ``00003-00000012.index``, a file of
:class:`hashret.search.HammingIndex` with all changes up to number 12, and ``00003-00000013.change`` and the like, each
a change of its own. A change is on the disk before it is answered, so that whoever opens the shard next, after whatever
kind of death, holds the same codes. A change has a token: repeated by someone who did not hear the answer, it is
recognised and not made twice. Searching is the business of :class:`hashret.search.HammingIndex` alone.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.arrayfile import read_arrays, replace_file, write_arrays
from hashret.codes import Codes
from hashret.errors import FileError, FormatError, InputError
from hashret.search import HammingIndex
from hashret.search.indexfile import read_segments
from hashret.search.inputs import one_id_each, whole_number

__all__ = ["Shard", "Verb", "held", "read_layout", "shard_codes", "write_shards"]

Verb = Literal["add", "remove", "replace"]

_LAYOUT = "hashret.shards/1"
_CHANGE = "hashret.change/1"
_FEW = 1_000  # ids that are looked up one by one


def write_shards(
    folder: str | os.PathLike[str], codes: Codes, ids: NDArray[np.int64] | None = None, *, shards: int
) -> None:
    """Cut codes into shards of equal size.

    Args:
        folder: Where to; made if need be. It must hold no shards.
        codes: n codes; may be mapped.
        ids: int64 (n,); by default 0 ... n - 1.
        shards: How many.

    Raises:
        InputError: ``shards`` is below 1, or there are not n ids, each once.
        FileError: The place cannot be written, or holds shards.

    Example:
        >>> import tempfile
        >>> write_shards(folder := tempfile.mkdtemp(), Codes(np.zeros((5, 1), np.uint8), 8), shards=2)
        >>> len(Shard(folder, 0).index), Shard(folder, 1).index.ids.tolist()
        (3, [3, 4])
    """
    folder, count = Path(folder), whole_number(shards, "shards", least=1)
    names = np.arange(len(codes)) if ids is None else one_id_each(ids, len(codes))
    if (folder / "shards.json").exists():
        raise FileError(
            str(folder), expected="a folder without shards", got="shards.json", remedy="Name another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            str(folder), expected="a folder that can be made", got=str(error.strerror), remedy="Check the path."
        ) from error
    for number, rows in enumerate(np.array_split(np.arange(len(codes)), count)):
        index = HammingIndex(codes.bits)
        part = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
        index.add(codes[part], names[part])
        index.save(folder / f"{number:05d}-{0:08d}.index")
    layout = {"kind": _LAYOUT, "bits": codes.bits, "shards": count}
    replace_file(folder / "shards.json", json.dumps(layout).encode())  # last: without it there are no shards


def read_layout(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """Width of the codes and number of shards of a folder.

    Raises:
        FileError: There are no shards.
        FormatError: ``shards.json`` is damaged or of another version.
    """
    path = Path(folder) / "shards.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["kind"] != _LAYOUT:
            raise ValueError(told["kind"])
        return whole_number(told["bits"], "bits", least=1), whole_number(told["shards"], "shards", least=1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileError(
            str(folder), expected="a folder of shards", got="no shards.json in it",
            remedy="Write one with hashret.stores.shards.write_shards, or give bits=WIDTH&shards=NUMBER to begin one.",
        ) from error  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            str(path), expected=_LAYOUT, got=str(error), remedy="Restore the file, or write the shards anew."
        ) from error


def held(index: HammingIndex, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which ids an index holds, bool (n,)."""
    if len(ids) < _FEW:
        return np.array([number in index for number in ids.tolist()], np.bool_)
    return np.isin(ids, index.ids)


class Shard:
    """One shard, opened: its file mapped, its journal taken in.

    Args:
        folder: Of the shards.
        number: Which, from 0.

    Attributes:
        index: The codes.
        sequence: Number of the last change.
        largest: The largest id that the shard ever held; -1 if none.

    Raises:
        FileError: There is no such shard.
        FormatError: A file is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], number: int) -> None:
        """Map the newest file and repeat what came after it."""
        self._folder, self._number = Path(folder), number
        files = sorted(self._folder.glob(f"{number:05d}-*.index"))
        if not files:
            raise FileError(
                f"{folder}, shard {number}", expected="its file", got="none", remedy="Write the shards anew."
            )
        self.index = HammingIndex.load(files[-1], mmap=True)
        self.sequence = self._base = int(files[-1].stem.partition("-")[2])
        self.largest = read_segments(files[-1], mmap=True)[2] - 1
        while (path := self._path(self.sequence + 1)).exists():
            arrays, about = read_arrays(path, kind=_CHANGE)
            self._apply(about["verb"], np.asarray(arrays["ids"]), np.asarray(arrays["packed"]))
            self.sequence += 1

    def _path(self, sequence: int) -> Path:
        return self._folder / f"{self._number:05d}-{sequence:08d}.change"

    def change(
        self, sequence: int, token: str, verb: Verb, ids: NDArray[np.int64], packed: NDArray[np.uint8]
    ) -> tuple[int, int]:
        """Make a change: write it down, then do it.

        Args:
            sequence: Its number: one more than the last, or the last, if it is repeated.
            token: Who asks for it, in letters that no one else uses.
            verb: What is done.
            ids: int64 (n,).
            packed: Codes of them, uint8 (n, bytes); of none to be removed.

        Returns:
            The number of codes and the largest id ever held, afterwards.

        Raises:
            FileError: Another store has changed the shard, or the place cannot be written.
            InputError: The index refuses; nothing is written then.
        """
        if sequence == self.sequence and self._token(sequence) == token:
            return len(self.index), self.largest
        if sequence != self.sequence + 1:
            raise self._changed()
        self._check(verb, ids)
        place = self._folder / f".{token}"
        write_arrays(place, {"ids": ids, "packed": packed}, kind=_CHANGE, metadata={"verb": verb, "token": token})
        try:
            os.link(place, self._path(sequence))
        except FileExistsError as error:
            raise self._changed() from error
        finally:
            place.unlink()
        self._apply(verb, ids, packed)
        self.sequence = sequence
        return len(self.index), self.largest

    def _token(self, sequence: int) -> str:
        path = self._path(sequence)
        return str(read_arrays(path, kind=_CHANGE)[1]["token"]) if path.exists() else ""

    def _changed(self) -> FileError:
        return FileError(
            f"{self._folder}, shard {self._number}", expected="one store that changes it", got="changes by another",
            remedy="Open the store again, and change it from one place only.",
        )  # fmt: skip

    def _check(self, verb: str, ids: NDArray[np.int64]) -> None:
        """Refuse what the index would refuse, before it is written down."""
        known = held(self.index, ids)
        if known.any() if verb == "add" else not known.all():
            raise InputError(
                "ids",
                expected="new ids to add and known ones to change",
                got=f"{verb} of others",
                remedy="Correct them.",
            )

    def _apply(self, verb: str, ids: NDArray[np.int64], packed: NDArray[np.uint8]) -> None:
        if verb == "remove":
            self.index.remove(ids)
        elif verb == "replace":
            self.index.replace(ids, packed)
        else:
            self.index.add(packed, ids)
        self.largest = max(self.largest, int(ids.max(initial=-1)))

    def compact(self) -> None:
        """Write the shard as one file with all changes in it, and drop the journal.

        Raises:
            FileError: The place cannot be written; nothing is lost.
        """
        if self.sequence == self._base:
            return
        path = self._folder / f"{self._number:05d}-{self.sequence:08d}.index"
        self.index.save(path)
        old = [self._path(number) for number in range(self._base + 1, self.sequence + 1)]
        old.append(self._folder / f"{self._number:05d}-{self._base:08d}.index")
        self._base = self.sequence
        for file in old:
            file.unlink(missing_ok=True)  # who has it mapped keeps it


def shard_codes(folder: str | os.PathLike[str], number: int, whole: HammingIndex) -> None:
    """Add a shard's codes, its journal taken in, to an index.

    Raises:
        FileError: There is no such shard, or the folder cannot be written.
    """
    place = Path(folder) / f".{uuid.uuid4().hex}"
    try:
        Shard(folder, number).index.save(place)
        for part in read_segments(place, mmap=True)[0].parts:
            if len(part):
                whole.add(part.codes(), part.names())
    finally:
        place.unlink(missing_ok=True)

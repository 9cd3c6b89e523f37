"""EncodedFolder: what ``hashret encode`` writes and what indexes and stores are filled from.

Shards of a fixed number of items, so that a run can stop anywhere and go on, and several can share one folder::

    manifest.json            what is encoded, by which model, with which options; written first
    codes/00000.npy          packed bits, uint8 (n, ceil(bits / 8)), in the order of the ids
    metadata/00000.parquet   id (the item's position in its source), key, path, caption, and the source's other columns
    embeddings/00000         the embeddings under the same ids, an EmbeddingStore; only where they were asked for
    failures/00000.parquet   id, key and reason of what could not be encoded
    stats/00000.json         counts and digests of the files above, written last: the mark that a shard is done
    end.json                 how many items and shards the source has

Each file is whole or not there, and is on the disk before the mark is. Where the same things are encoded again, the
bytes are the same but for ``seconds`` in the stats. This file knows no source and no model, and computes no code.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.arrayfile import replace_file
from hashret.codes import Codes
from hashret.errors import FileError, FormatError, InputError

__all__ = ["FORMAT", "EncodedFolder", "EncodedShard", "columns_by_row"]

FORMAT = "hashret.encoded/1"
_PARTS = {"codes": ".npy", "metadata": ".parquet", "embeddings": "", "failures": ".parquet", "stats": ".json"}
_UNNAMED = re.compile(r"\.(\d{5,})\b.*\.[^.]+")
_MUST_AGREE = ("format", "model", "bits", "side", "source", "options")


@dataclass(frozen=True, eq=False)
class EncodedShard:
    """One shard as it was read.

    Attributes:
        number: Which one.
        ids: int64 (n,), ascending.
        codes: n codes.
        metadata: A pyarrow Table of n rows: key, path, caption, and the source's own columns.
    """

    number: int
    ids: NDArray[np.int64]
    codes: Codes
    metadata: Any

    def column(self, name: str) -> list[Any]:
        """The n values of a column of the metadata."""
        return list(self.metadata[name].to_pylist())

    def columns(self, kinds: Mapping[str, str]) -> list[dict[str, Any]]:
        """What the source says of each of the n items beside key, path and caption, by name; None is left out.

        Args:
            kinds: The manifest's columns. Values of the kind "json" are read, and so is ``extra``, the object of a
                table without declared columns, whose parts then stand beside the others.
        """
        told = {name: self.column(name) for name in kinds}
        for name in (name for name, kind in kinds.items() if kind == "json"):
            told[name] = [None if value is None else json.loads(value) for value in told[name]]
        return columns_by_row(told, len(self.ids))


def columns_by_row(columns: Mapping[str, Sequence[Any]], rows: int) -> list[dict[str, Any]]:
    """What columns of n values say of each row, by name; None and NaN are left out, and ``extra`` is taken apart.

    Args:
        columns: Name -> n values; ``extra`` holds JSON objects.
        rows: n.
    """
    said: list[dict[str, Any]] = [{} for _ in range(rows)]
    for name, values in columns.items():
        for row, value in zip(said, values, strict=True):
            if value is None or value != value:  # NaN says nothing
                continue
            if name == "extra" and isinstance(found := _json_or_none(value), dict):
                row |= {part: each for part, each in found.items() if each is not None}
            else:
                row[name] = value
    return said


class EncodedFolder:
    """A folder of encoded shards.

    Args:
        path: The folder.
        manifest: What it says of itself.

    Attributes:
        path: The folder.
        manifest: ``format``, ``model`` (fingerprint), ``bits``, ``side``, ``source`` (fingerprint), ``name`` (where the
            source lay), ``columns``, ``options`` and ``versions``.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Hold both; see :meth:`begin` and :meth:`open`."""
        self.path, self.manifest = path, dict(manifest)

    @classmethod
    def begin(cls, path: str | os.PathLike[str], manifest: Mapping[str, Any]) -> EncodedFolder:
        """Make the folder, or take up one that was begun for the same thing.

        Raises:
            FileError: It holds something else, was begun with another model, source or options, or cannot be written.
        """
        path = Path(path)
        place = path / "manifest.json"
        wanted = {"format": FORMAT, **manifest}
        if not place.exists():
            if path.exists() and (not path.is_dir() or any(not _own(name) for name in os.listdir(path))):
                raise FileError(
                    str(path), expected="a new or empty folder, or one that hashret encode began", got="something else",
                    remedy="Choose another --out.",
                )  # fmt: skip
            _made(path)
            replace_file(place, json.dumps(wanted, indent=1, ensure_ascii=True).encode())
        there = cls(path, _read_json(place))
        for name in _MUST_AGREE:
            if there.manifest.get(name) != json.loads(json.dumps(wanted[name])):
                raise FileError(
                    str(path), expected=f"a folder that was begun with the {name} {_brief(wanted[name])}",
                    got=_brief(there.manifest.get(name)),
                    remedy="Give the same command as before, or choose another --out.",
                )  # fmt: skip
        for part in _PARTS:
            if part != "embeddings" or there.has_embeddings:
                _made(path / part)
        return there

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> EncodedFolder:
        """Open a folder that is finished.

        Raises:
            FileError: There is none, or shards are still missing.
            FormatError: It is of another version, or damaged.
        """
        path = Path(path)
        found = cls(path, _read_json(path / "manifest.json"))
        if found.manifest.get("format") != FORMAT:
            raise FormatError(
                str(path / "manifest.json"), expected=FORMAT, got=str(found.manifest.get("format")),
                remedy="Name a folder that hashret encode wrote, with the same version of hashret.",
            )  # fmt: skip
        missing = found.missing()
        if missing is None or missing:
            told = "none is finished to its end" if missing is None else f"{len(missing)} missing, such as {missing[0]}"
            raise FileError(
                str(path), expected="all shards", got=told,
                remedy="Give the hashret encode command again: it goes on where it stopped.",
            )  # fmt: skip
        return found

    @property
    def bits(self) -> int:
        """Width of a code."""
        return int(self.manifest["bits"])

    @property
    def model(self) -> str:
        """Fingerprint of the model."""
        return str(self.manifest["model"])

    @property
    def has_embeddings(self) -> bool:
        """Whether embeddings lie beside the codes."""
        return self.manifest["options"].get("embeddings") is not None

    def place(self, part: str, number: int) -> Path:
        """The file of a part of a shard: "codes", "metadata", "embeddings", "failures" or "stats"."""
        return self.path / part / f"{number:05d}{_PARTS[part]}"

    def parts(self, part: str) -> list[Path]:
        """The files of a part, of all shards that have one, in order."""
        shards = range(int(_read_json(self.path / "end.json")["shards"]))
        return [place for number in shards if (place := self.place(part, number)).exists()]

    def stats(self, number: int) -> dict[str, Any] | None:
        """What is noted of a finished shard; None if it is not finished."""
        place = self.place("stats", number)
        return _read_json(place) if place.exists() else None

    def failures(self, number: int) -> list[dict[str, Any]]:
        """``id``, ``key`` and ``reason`` of what a finished shard could not encode."""
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        return list(pq.ParquetFile(self.place("failures", number)).read().to_pylist())

    def missing(self) -> list[int] | None:
        """Shards that are not finished; None if nobody has come to the end of the source yet."""
        if not (self.path / "end.json").exists():
            return None
        shards = int(_read_json(self.path / "end.json")["shards"])
        return [number for number in range(shards) if not self.place("stats", number).exists()]

    def clear(self, mine: Callable[[int], bool]) -> None:
        """Take away what killed runs left of shards: files that never got their name.

        Args:
            mine: Which shards, by their numbers; nobody else is writing those at the moment.
        """
        for part in _PARTS:
            for name in os.listdir(self.path / part) if (self.path / part).is_dir() else []:
                left = _UNNAMED.match(name)
                if left and mine(int(left[1])):
                    (self.path / part / name).unlink(missing_ok=True)

    def clear_beside(self) -> None:
        """The same of the files beside the shards; only where nobody else is writing in the folder."""
        for left in self.path.glob(".*.json.*"):
            left.unlink(missing_ok=True)

    def begin_shard(self, number: int) -> int:
        """Note that a shard is begun, until it is cleared; how often it was, this time included.

        Raises:
            FileError: The folder cannot be written.
        """
        place = self.path / "stats" / f".{number:05d}.json.begun"
        try:
            with place.open("ab") as file:
                file.write(b".")
            return place.stat().st_size
        except OSError as error:
            raise FileError(
                str(place), expected="a place that can be written", got=error.strerror or str(error),
                remedy="Check the path, the permissions and the free space.",
            ) from error  # fmt: skip

    def write(
        self,
        number: int,
        codes: Codes,
        metadata: Mapping[str, Sequence[Any]],
        failures: Mapping[str, Sequence[Any]],
        *,
        seconds: float,
    ) -> dict[str, Any]:
        """Write a shard, its mark last; its embeddings, if any, have to be there already.

        Args:
            number: Which one.
            codes: n codes.
            metadata: ``id``, ``key``, ``path``, ``caption`` and the manifest's ``columns``, n values each.
            failures: ``id``, ``key`` and ``reason``.
            seconds: What it took.

        Returns:
            What is noted of it.

        Raises:
            FileError: The disk is full, or cannot be written.
        """
        types = {"id": "int64", "key": "string", "path": "string", "caption": "string", **self.manifest["columns"]}
        replace_file(self.place("codes", number), _npy(codes.packed))
        replace_file(self.place("metadata", number), _parquet(metadata, types))
        replace_file(
            self.place("failures", number), _parquet(failures, {"id": "int64", "key": "string", "reason": "string"})
        )
        there = [part for part in _PARTS if part != "stats" and self.place(part, number).exists()]
        noted = {
            "items": len(codes) + len(failures["id"]),
            "codes": len(codes),
            "failures": len(failures["id"]),
            "checksums": {part: _digest(self.place(part, number)) for part in there},
            "seconds": round(seconds, 3),
        }
        replace_file(self.place("stats", number), json.dumps(noted, indent=1).encode())
        return noted

    def finish(self, items: int, shards: int) -> None:
        """Note how much there is in all, as every run does that comes to the end of the source."""
        replace_file(self.path / "end.json", json.dumps({"items": items, "shards": shards}).encode())

    def shards(self) -> Iterator[EncodedShard]:
        """All shards in order, checked against their digests, one in memory at a time.

        Raises:
            FormatError: A file is missing, damaged or was changed.
        """
        import pyarrow.parquet as pq

        for number in range(int(_read_json(self.path / "end.json")["shards"])):
            sums = (self.stats(number) or {}).get("checksums", {})
            for part, digest in sums.items():
                place = self.place(part, number)
                if not place.exists() or _digest(place) != digest:
                    raise FormatError(
                        str(place), expected="the file as it was written",
                        got="other bytes" if place.exists() else "none",
                        remedy=f"Remove {self.place('stats', number)} and give the encode command again.",
                    )  # fmt: skip
            packed = np.load(self.place("codes", number), allow_pickle=False)
            table = pq.ParquetFile(self.place("metadata", number)).read()
            metadata = table.drop_columns(["id"])
            yield EncodedShard(number, table["id"].to_numpy(), Codes(packed, self.bits), metadata)


def _own(name: str) -> bool:
    """Whether a file in a folder without a manifest may be what a killed run left there."""
    return name in _PARTS or name.startswith(".manifest.json.")


def _made(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            str(path), expected="a place that can be written", got=error.strerror or str(error),
            remedy="Check the path, the permissions and the free space.",
        ) from error  # fmt: skip


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except OSError as error:
        raise FileError(
            str(path), expected="a folder that hashret encode wrote", got=error.strerror or str(error),
            remedy="Check the path.",
        ) from error  # fmt: skip
    except (TypeError, ValueError) as error:
        raise FormatError(
            str(path), expected="a JSON object", got=str(error), remedy="It is damaged: encode again."
        ) from error


def _json_or_none(value: Any) -> Any:
    if not isinstance(value, str):
        return None
    try:
        return json.loads(value)
    except ValueError:
        return None


def _brief(value: object) -> str:
    text = json.dumps(value) if isinstance(value, dict) else str(value)
    return text if len(text) < 120 else text[:117] + "..."


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _parquet(columns: Mapping[str, Sequence[Any]], types: Mapping[str, str]) -> bytes:
    """A table of these columns, the same bytes for the same values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}
    lengths = {len(columns[name]) for name in types}
    if len(lengths) != 1:
        raise InputError("columns", expected="one length", got=str(lengths), remedy="Give a value an item.")
    arrays = [
        pa.array([_utf8(value) for value in columns[name]], kinds.get(kind, pa.string()))
        for name, kind in types.items()
    ]
    file = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(types)), file, compression="zstd")
    return file.getvalue()


def _utf8(value: Any) -> Any:
    r"""Text as a parquet file can hold it: bytes that are no UTF-8, such as those of a file name, become ``\xe9``."""
    if not isinstance(value, str):
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape" if _from_bytes(value) else "backslashreplace").decode(
            "utf-8", "backslashreplace"
        )
    return value


def _from_bytes(text: str) -> bool:
    """Whether all lone surrogates of a text stand for bytes."""
    return all("\udc80" <= letter <= "\udcff" for letter in text if "\ud800" <= letter <= "\udfff")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

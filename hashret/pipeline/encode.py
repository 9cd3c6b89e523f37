"""encode: everything a source holds -> a folder of codes, whatever is wrong with some of it, and however often killed.

Entries are decoded ahead by processes, the network runs on blocks of a fixed size, and shards are written whole, one
after the other. What an item's code is depends on the item and the model: not on its neighbours, the shards, the
processes or the number of runs it took.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, binarize
from hashret.data.entry import Entry, Side, Source
from hashret.data.source import open_source
from hashret.encoded import EncodedFolder
from hashret.errors import DataError, InputError
from hashret.pipeline.decoders import Chunk, Decoded, Decoders
from hashret.pipeline.encoding_bar import EncodingBar
from hashret.pipeline.train import Say, device_named
from hashret.retriever import Retriever
from hashret.search import EmbeddingStore

__all__ = ["Encoded", "encode"]

EMBEDDINGS = {"fp16": "float16", "int8": "int8"}
_PACKAGES = ("hashret", "torch", "transformers", "numpy", "pillow", "pyarrow")
_PICTURES, _ROWS = 16, 256  # entries a chunk
_HEAVIEST = 1 << 24  # bytes of entries that come as bytes, a chunk


@dataclass(frozen=True)
class Encoded:
    """What a run of :func:`encode` has done.

    Attributes:
        items: Entries of the source that belong to this run's shards.
        codes: Those that have a code.
        failures: Those that have none.
        before: Items that an earlier run had done already.
    """

    items: int
    codes: int
    failures: int
    before: int


@dataclass(eq=False)
class _Shard:
    """A shard on its way: what will be written of it."""

    number: int
    begun: float
    relaxed: list[NDArray[np.uint8]] = field(default_factory=list)
    embeddings: list[NDArray[Any]] = field(default_factory=list)
    kept: list[tuple[int, Entry]] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)


def encode(
    run: str | os.PathLike[str],
    source: str | os.PathLike[str] | Source,
    side: Side,
    out: str | os.PathLike[str],
    *,
    embeddings: Literal["fp16", "int8"] | None = None,
    shard_size: int = 10_000,
    num_shards: int = 1,
    shard_index: int = 0,
    workers: int | None = None,
    timeout: float = 60.0,
    max_failures: int | None = None,
    split: str | None = None,
    image_column: str | None = None,
    text_column: str | None = None,
    device: str = "auto",
    quiet: bool = False,
    say: Say = lambda line: None,
) -> Encoded:
    """Encode a source into a folder; see :mod:`hashret.encoded` for what lies in it.

    Given again with the same model, source and options it goes on where it stopped, and ends in the same bytes.

    Args:
        run: Run or model folder.
        source: What :func:`hashret.data.source.open_source` reads, or a source.
        side: ``image``, ``text``, or ``query``: an image and a text together, to be searched among images.
        out: The folder.
        embeddings: Also keep the embeddings, as float16 or as int8 with a scale each.
        shard_size: Items a shard; what is lost at most when a run is killed.
        num_shards: How many runs share the work, each into the same folder.
        shard_index: Which of them this one is, 0 ... num_shards - 1.
        workers: Processes that decode; by default one a core.
        timeout: Seconds that decoding one item may take.
        max_failures: Stop when more items than this cannot be encoded; None never does.
        split: Which split of a dataset of the hub's form.
        image_column: Where images are in a table, if its name does not tell.
        text_column: The same of texts.
        device: Where the network runs; ``auto`` is the GPU where there is one.
        quiet: Draw no progress bar.
        say: Told about progress.

    Raises:
        FileError: The source or the run is not there, the folder holds something else, or the disk is full.
        InputError: The run cannot read such a source, or an argument is out of its range.
        DataError: Not one item could be encoded, or more failed than ``max_failures``.
    """
    if not 0 <= shard_index < num_shards or shard_size < 1:
        raise InputError(
            "shards", expected="0 <= shard_index < num_shards and shard_size >= 1",
            got=f"shard_index {shard_index}, num_shards {num_shards}, shard_size {shard_size}",
            remedy="Count the runs from 0.",
        )  # fmt: skip
    retriever = Retriever.from_pretrained(run, device=device_named(device))
    if not isinstance(source, Source):
        source = open_source(source, side, split=split, image_column=image_column, text_column=text_column)
    if source.side != side:
        raise InputError("side", expected=f"{source.side!r}, as the source is", got=repr(side), remedy="Say the same.")
    manifest = _manifest(retriever, source, embeddings, shard_size)
    folder = EncodedFolder.begin(out, manifest)
    _compare_versions(folder.manifest["versions"], manifest["versions"], say)
    job = _Job(retriever, source, folder, shard_size, num_shards, shard_index, max_failures)
    crew = Decoders(retriever.processor, workers=workers or _cores(), timeout=timeout)
    done = job.run(crew, say, quiet)
    if not done.codes and done.items:
        raise job.none()
    return done


class _Job:
    """One run over a source: its shards, and what it has counted."""

    def __init__(
        self, retriever: Retriever, source: Source, folder: EncodedFolder, size: int, runs: int, index: int,
        most: int | None,
    ) -> None:  # fmt: skip
        self.retriever, self.source, self.folder, self.size = retriever, source, folder, size
        self.runs, self.index, self.most = runs, index, most
        self.kept_as: Any = EMBEDDINGS.get(str(folder.manifest["options"]["embeddings"]))
        self.codes = self.items = self.failures = self.before = self.end = 0
        self.reasons: Counter[str] = Counter()
        self.first: tuple[str, str] | None = None
        self.ready: dict[int, bool] = {}
        self.count: int | None = None

    def run(self, crew: Decoders, say: Say, quiet: bool) -> Encoded:
        """Encode every shard of this run that is not done, and note the end of the source."""
        if self.runs == 1:
            self.folder.clear()
        self.count = count = self.source.count()
        total = None if count is None else self._left(count)
        self._check_failures()
        if self.before:
            say(f"{self.before:,} items are done already, {self.failures:,} of them failures")
        if total == 0:
            self.end = count or 0
        else:
            with EncodingBar(total, say, quiet=quiet) as bar, crew:
                shard: _Shard | None = None
                for decoded in crew.results(self._chunks()):
                    number = decoded.chunk.positions[0] // self.size
                    if shard is not None and shard.number != number:
                        self._write(shard)
                        shard = None
                    shard = shard or _Shard(number, time.monotonic())
                    before = len(shard.failures)
                    self._take(shard, decoded)
                    bar.add(len(decoded.chunk.positions), len(shard.failures) - before)
                    self._check_failures()
                if shard is not None:
                    self._write(shard)
                say(bar.line())
                for reason, times in self.reasons.most_common(3):
                    say(f"failed, {times:,} of them: {reason}")
                if self.first:
                    say(f"the first to fail: {self.first[0]}")
        self.folder.finish(self.end, -(-self.end // self.size))
        return Encoded(self.items, self.codes, self.failures, self.before)

    def mine(self, number: int) -> bool:
        """Whether a shard is this run's and not done yet; what is done is counted."""
        if number % self.runs != self.index:
            return False
        if number not in self.ready:
            noted = self.folder.stats(number)
            self.ready[number] = noted is not None
            if noted is None:
                self.folder.clear(number)
            else:
                self.before += noted["items"]
                self.items += noted["items"]
                self.codes += noted["codes"]
                self.failures += noted["failures"]
        return not self.ready[number]

    def none(self) -> DataError:
        """The error where nothing could be encoded."""
        key, reason = self.first or ("", "see the failures")
        return DataError(
            self.source.name, expected=f"{self.source.side}s to encode", got=f"none: {reason}{f' ({key})' * bool(key)}",
            remedy=f"Check source and --side; all reasons are in {self.folder.path / 'failures'}.",
        )  # fmt: skip

    def _left(self, count: int) -> int:
        """How many of ``count`` items are this run's and not done."""
        shards = range(-(-count // self.size))
        return sum(min(self.size, count - number * self.size) for number in shards if self.mine(number))

    def _wanted(self, start: int, stop: int) -> bool:
        return any(self.mine(number) for number in range(start // self.size, (stop - 1) // self.size + 1))

    def _chunks(self) -> Iterator[Chunk]:
        """Entries of this run's shards in chunks, none of which crosses the border of a shard."""
        chunk, weight, end = Chunk([], []), 0, 0
        for position, entry in self.source.entries(self._wanted):
            end = position + 1
            if not self.mine(position // self.size):
                continue
            full = len(chunk.entries) >= _most(chunk) or weight >= _HEAVIEST
            if chunk.entries and (full or chunk.positions[0] // self.size != position // self.size):
                yield chunk
                chunk, weight = Chunk([], []), 0
            chunk.positions.append(position)
            chunk.entries.append(entry)
            weight += len(entry.image) if isinstance(entry.image, bytes) else 0
        if chunk.entries:
            yield chunk
        self.end = max(end, self.count or 0)

    def _take(self, shard: _Shard, decoded: Decoded) -> None:
        """Run the network on what was decoded, and put everything where it belongs."""
        chunk, reasons = decoded.chunk, dict(decoded.reasons)
        if decoded.inputs is not None:
            relaxed, embedded = self.retriever.relaxed(decoded.inputs, embed=self.kept_as is not None)
            sound: NDArray[np.bool_] = np.asarray(np.isfinite(relaxed).all(1))
            if embedded is not None:
                largest = np.abs(embedded).max(1)
                fits = largest <= (np.finfo(np.float16).max if self.kept_as == "float16" else np.finfo(np.float32).max)
                for row in np.flatnonzero(sound & ~fits):
                    reasons[decoded.good[int(row)]] = f"an embedding that {self.kept_as} cannot hold"
                sound &= fits
            for row in np.flatnonzero(~sound):
                reasons.setdefault(decoded.good[int(row)], "NaN or infinity in its code")
            shard.relaxed.append(binarize(relaxed[sound]).packed)
            if embedded is not None:
                shard.embeddings.append(embedded[sound].astype(np.float16 if self.kept_as == "float16" else np.float32))
            shard.kept += [
                (chunk.positions[place], _light(chunk.entries[place]))
                for place, good in zip(decoded.good, sound, strict=True)
                if good
            ]
        for place, reason in sorted(reasons.items()):
            key = chunk.entries[place].key
            shard.failures.append((chunk.positions[place], key, reason))
            self.reasons[reason] += 1
            self.first = self.first or (key, reason)
        self.failures += len(reasons)
        self.items += len(chunk.positions)
        self.codes += len(chunk.positions) - len(reasons)

    def _check_failures(self) -> None:
        if self.most is None or self.failures <= self.most:
            return
        told = ""
        if self.reasons and self.first:
            reason, times = self.reasons.most_common(1)[0]
            told = f"Commonest reason: {reason} ({times} times); first: {self.first[0]}: {self.first[1]}. "
        raise DataError(
            self.source.name, expected=f"at most {self.most:,} items that cannot be encoded", got=f"{self.failures:,}",
            remedy=f"{told}Finished shards list theirs in {self.folder.path / 'failures'}. Mend them, or raise "
            "--max-failures and give the command again.",
        )  # fmt: skip

    def _write(self, shard: _Shard) -> None:
        empty = np.zeros((0, -(-self.retriever.bits // 8)), np.uint8)
        codes = Codes(np.concatenate([empty, *shard.relaxed]), self.retriever.bits)
        ids = [position for position, _ in shard.kept]
        if self.kept_as and ids:
            place = self.folder.place("embeddings", shard.number)
            EmbeddingStore.write(place, iter(shard.embeddings), dtype=self.kept_as, ids=ids)
        entries = [entry for _, entry in shard.kept]
        metadata: dict[str, list[Any]] = {
            "id": ids,
            "key": [entry.key for entry in entries],
            "path": [entry.path for entry in entries],
            "caption": [entry.caption for entry in entries],
        }
        metadata |= {name: [entry.columns.get(name) for entry in entries] for name in self.source.columns}
        columns = zip(*shard.failures, strict=True) if shard.failures else ((), (), ())
        failures = dict(zip(("id", "key", "reason"), map(list, columns), strict=True))
        self.folder.write(shard.number, codes, metadata, failures, seconds=time.monotonic() - shard.begun)


def _manifest(retriever: Retriever, source: Source, embeddings: str | None, shard_size: int) -> dict[str, Any]:
    return {
        "model": retriever.fingerprint(),
        "bits": retriever.bits,
        "side": source.side,
        "source": source.fingerprint(),
        "name": source.name,
        "columns": dict(source.columns),
        "options": {"embeddings": embeddings, "shard_size": shard_size, "block": retriever.block},
        "versions": {package: version(package) for package in _PACKAGES},
    }


def _compare_versions(there: dict[str, str], here: dict[str, str], say: Say) -> None:
    """Say which packages differ from those a folder was begun with: they may round, and write, differently."""
    for package, found in here.items():
        if there.get(package) != found:
            say(f"the folder was begun with {package} {there.get(package)}, this is {found}: bytes may differ")


def _most(chunk: Chunk) -> int:
    """How many entries a chunk may have: few pictures, many rows of text or numbers."""
    picture = chunk.entries and not isinstance(chunk.entries[0].image, np.ndarray | type(None))
    return _PICTURES if picture else _ROWS


def _light(entry: Entry) -> Entry:
    """The entry without what was encoded, so that a shard can wait to be written."""
    return Entry(entry.key, path=entry.path, caption=entry.caption, columns=entry.columns)


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

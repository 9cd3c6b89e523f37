"""ShardEncoder: shards of a source, decoded, run through the network and written whole; what every runner does.

Entries are decoded ahead by processes, the network runs on blocks of a fixed size, each on one core where it runs on a
CPU, and a shard is written when its last item is through. What an item's code is depends on the item and the model: not
on its neighbours, the shards, the processes, the number of cores or of runs it took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hashret.codes import Codes, binarize
from hashret.data.entry import Entry, Side, Source
from hashret.data.source import open_source
from hashret.encoded import EncodedFolder
from hashret.errors import DataError, InputError
from hashret.models import Inputs
from hashret.pipeline.decoders import Chunk, Decoded, Decoders, cores
from hashret.pipeline.heap import keep_heap
from hashret.pipeline.lanes import Lanes
from hashret.pipeline.shelf import Shelf
from hashret.pipeline.train import Say, device_named
from hashret.retriever import Retriever
from hashret.search import EmbeddingStore

__all__ = ["EncodingJob", "ShardEncoder", "Step"]

Values = tuple[NDArray[np.float32], NDArray[np.float32] | None]  # relaxed codes, embeddings

EMBEDDINGS = {"fp16": "float16", "int8": "int8"}
_PACKAGES = ("hashret", "torch", "transformers", "numpy", "pillow", "pyarrow")
_PICTURES, _ROWS = 16, 256  # entries a chunk
_MORE = 64  # small pictures a chunk, once it is known how large they are: a message costs the same whatever it holds
_DECODED = 1 << 22  # bytes that pictures of such a chunk may come to
_HEAVIEST = 1 << 24  # bytes of entries that come as bytes, a chunk


@dataclass(frozen=True)
class EncodingJob:
    """What is encoded, by which model, into which folder.

    It can be sent to another process, which then encodes shards of the same folder. Attributes are as the arguments of
    :func:`hashret.pipeline.encode`.
    """

    run: str
    source: str | Source
    side: Side
    out: str
    embeddings: Literal["fp16", "int8"] | None
    shard_size: int
    workers: int | None
    timeout: float
    split: str | None
    image_column: str | None
    text_column: str | None
    device: str

    def begin(self, say: Say) -> ShardEncoder:
        """Load the model, open the source, and begin the folder or take it up.

        Raises:
            FileError: The source or the run is not there, or the folder holds something else.
            InputError: The run cannot read such a source.
        """
        keep_heap()
        retriever = Retriever.from_pretrained(self.run, device=device_named(self.device))
        source = self.source
        if not isinstance(source, Source):
            source = open_source(
                source, self.side, split=self.split, image_column=self.image_column, text_column=self.text_column
            )
        if source.side != self.side:
            raise InputError(
                "side", expected=f"{source.side!r}, as the source is", got=repr(self.side), remedy="Say the same."
            )
        manifest = self._manifest(retriever, source)
        folder = EncodedFolder.begin(self.out, manifest)
        _compare_versions(folder.manifest["versions"], manifest["versions"], say)
        return ShardEncoder(retriever, source, folder, workers=self.workers or cores(), timeout=self.timeout)

    def _manifest(self, retriever: Retriever, source: Source) -> dict[str, Any]:
        return {
            "model": retriever.fingerprint(),
            "bits": retriever.bits,
            "side": source.side,
            "source": source.fingerprint(),
            "name": source.name,
            "columns": dict(source.columns),
            "options": {"embeddings": self.embeddings, "shard_size": self.shard_size, "block": retriever.block},
            "versions": {package: version(package) for package in _PACKAGES},
        }


@dataclass(frozen=True)
class Step:
    """Some more items are through.

    Attributes:
        items: How many.
        failed: Key and reason of those among them that have no code.
    """

    items: int
    failed: Sequence[tuple[str, str]]


@dataclass(eq=False)
class _Shard:
    """A shard on its way: what will be written of it."""

    number: int
    begun: float
    relaxed: list[NDArray[np.uint8]] = field(default_factory=list)
    embeddings: list[NDArray[Any]] = field(default_factory=list)
    kept: list[tuple[int, Entry]] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)


class ShardEncoder:
    """A loaded model, an opened source and the folder that takes the codes.

    Args:
        retriever: The model.
        source: What is encoded.
        folder: Begun for both.
        workers: Processes that decode.
        timeout: Seconds that decoding one item may take.

    Attributes:
        end: Items of the source up to the last one seen.
    """

    def __init__(
        self, retriever: Retriever, source: Source, folder: EncodedFolder, *, workers: int, timeout: float
    ) -> None:
        """Hold them; nothing is read yet."""
        self.retriever, self.source, self.folder = retriever, source, folder
        self.size = int(folder.manifest["options"]["shard_size"])
        self.end = 0
        self._kept_as: Any = EMBEDDINGS.get(str(folder.manifest["options"]["embeddings"]))
        self._workers, self._timeout = workers, timeout
        self._wanted: Callable[[int], bool] = lambda number: False
        self._entries: Iterator[tuple[int, Entry]] = iter(())
        self._next: int | None = None  # position at which those go on; None before the first walk
        self._pictures = _PICTURES

    def shard(self, number: int) -> Step:
        """Encode one shard, unless it is done, and clear what was left of it by others who died over it.

        The walk goes on from where the last one stopped, if that is not beyond the shard.

        Raises:
            FileError: The source cannot be read any more, or the disk is full.
            DataError: The source ends before this shard.
        """
        if self.folder.stats(number) is None:
            for _ in self.encode(lambda each: each == number, first=number, last=number):
                pass
        noted = self.folder.stats(number)
        if noted is None:
            raise DataError(
                self.source.name, expected=f"items from {number * self.size:,} on", got="none",
                remedy="Has it changed, or does it lie elsewhere on this machine? Encode it into a new folder.",
            )  # fmt: skip
        self.folder.clear(lambda each: each == number)
        failed = self.folder.failures(number)
        return Step(noted["items"], [(row["key"], row["reason"]) for row in failed])

    def encode(self, wanted: Callable[[int], bool], *, first: int = 0, last: int | None = None) -> Generator[Step]:
        """Encode shards in ascending order and write each; close the iterator to end its processes.

        Args:
            wanted: Which, by their numbers.
            first: No shard before this one is wanted.
            last: None after this one is; the source is not read beyond it.

        Raises:
            FileError: The source cannot be read any more, or the disk is full.
            InputError: The model cannot read such items at all.
        """
        self._walk(wanted, first * self.size)
        shard: _Shard | None = None
        with Decoders(self.retriever.processor, workers=self._workers, timeout=self._timeout) as crew:
            for decoded, values in self._through(crew.results(self._chunks(last))):
                number = decoded.chunk.positions[0] // self.size
                if shard is not None and shard.number != number:
                    self._write(shard)
                    shard = None
                shard = shard or _Shard(number, time.monotonic())
                yield self._take(shard, decoded, values)
            if shard is not None:
                self._write(shard)

    def _walk(self, wanted: Callable[[int], bool], start: int) -> None:
        """Walk through the source from ``start`` on at the latest; sources look at what is wanted as they go."""
        self._wanted = wanted
        if self._next is None or self._next > start:
            self._entries, self._next = self.source.entries(self._any_wanted), 0

    def _any_wanted(self, start: int, stop: int) -> bool:
        first, last = start // self.size, (stop - 1) // self.size
        return self._wanted(first) if first == last else any(map(self._wanted, range(first, last + 1)))

    def _chunks(self, last: int | None) -> Iterator[Chunk]:
        """Entries of the shards that are wanted in chunks, none of which crosses the border of a shard."""
        chunk, weight = Chunk([], []), 0
        for position, entry in self._entries:
            self._next = position + 1
            self.end = max(self.end, self._next)
            if self._wanted(position // self.size):
                full = len(chunk.entries) >= self._most(chunk) or weight >= _HEAVIEST
                if chunk.entries and (full or chunk.positions[0] // self.size != position // self.size):
                    yield chunk
                    chunk, weight = Chunk([], []), 0
                chunk.positions.append(position)
                chunk.entries.append(entry)
                weight += len(entry.image) if isinstance(entry.image, bytes) else 0
            if last is not None and self._next >= (last + 1) * self.size:
                break
        if chunk.entries:
            yield chunk

    def _most(self, chunk: Chunk) -> int:
        """How many entries a chunk may have: few pictures, many rows of text or numbers."""
        picture = chunk.entries and not isinstance(chunk.entries[0].image, np.ndarray | type(None))
        return self._pictures if picture else _ROWS

    def _through(self, decoded: Iterator[Decoded]) -> Iterator[tuple[Decoded, Values | None]]:
        """Run the network on chunks, in lanes where there are cores for more than one."""
        if self.retriever.device.type != "cpu" or torch.get_num_threads() == 1:
            for one in decoded:
                yield one, self._values(one)
            return
        count = min(cores(), torch.get_num_threads())
        shelf = Shelf(count + 1)  # as many as lanes take ahead: what decoders have made lies in memory they use again

        def kept(one: Decoded) -> Decoded:
            return replace(one, inputs=None if one.inputs is None else shelf.copy(one.inputs))

        with Lanes(count, self._values) as lanes:
            yield from lanes.results(map(kept, decoded))

    def _values(self, decoded: Decoded) -> Values | None:
        if decoded.inputs is None:
            return None
        self._pictures = _pictures(decoded.inputs, self.retriever.block)
        return self.retriever.relaxed(decoded.inputs, embed=self._kept_as is not None)

    def _take(self, shard: _Shard, decoded: Decoded, values: Values | None) -> Step:
        """Put what became of a chunk where it belongs."""
        chunk, reasons = decoded.chunk, dict(decoded.reasons)
        if values is not None:
            relaxed, embedded = values
            sound: NDArray[np.bool_] = np.asarray(np.isfinite(relaxed).all(1))
            if embedded is not None:
                largest = np.abs(embedded).max(1)
                fits = largest <= (np.finfo(np.float16).max if self._kept_as == "float16" else np.finfo(np.float32).max)
                for row in np.flatnonzero(sound & ~fits):
                    reasons[decoded.good[int(row)]] = f"an embedding that {self._kept_as} cannot hold"
                sound &= fits
            for row in np.flatnonzero(~sound):
                reasons.setdefault(decoded.good[int(row)], "NaN or infinity in its code")
            shard.relaxed.append(binarize(relaxed[sound]).packed)
            if embedded is not None:
                exact = np.float16 if self._kept_as == "float16" else np.float32
                shard.embeddings.append(embedded[sound].astype(exact))
            shard.kept += [
                (chunk.positions[place], _light(chunk.entries[place]))
                for place, good in zip(decoded.good, sound, strict=True)
                if good
            ]
        failed = [(place, chunk.entries[place].key, reason) for place, reason in sorted(reasons.items())]
        shard.failures += [(chunk.positions[place], key, reason) for place, key, reason in failed]
        return Step(len(chunk.positions), [(key, reason) for _, key, reason in failed])

    def _write(self, shard: _Shard) -> None:
        empty = np.zeros((0, -(-self.retriever.bits // 8)), np.uint8)
        codes = Codes(np.concatenate([empty, *shard.relaxed]), self.retriever.bits)
        ids = [position for position, _ in shard.kept]
        if self._kept_as and ids:
            place = self.folder.place("embeddings", shard.number)
            EmbeddingStore.write(place, iter(shard.embeddings), dtype=self._kept_as, ids=ids)
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


def _compare_versions(there: dict[str, str], here: dict[str, str], say: Say) -> None:
    """Say which packages differ from those a folder was begun with: they may round, and write, differently."""
    for package, found in here.items():
        if there.get(package) != found:
            say(f"the folder was begun with {package} {there.get(package)}, this is {found}: bytes may differ")


def _pictures(inputs: Inputs, block: int) -> int:
    """How many pictures the next chunks may have, for what the last ones came to: whole blocks of the network's."""
    if inputs.image is None:
        return _PICTURES
    fit = _DECODED // max(inputs.image[0].nbytes, 1)
    return max(_PICTURES, min(fit, _MORE) // block * block)


def _light(entry: Entry) -> Entry:
    """The entry without what was encoded, so that a shard can wait to be written."""
    return Entry(entry.key, path=entry.path, caption=entry.caption, columns=entry.columns)

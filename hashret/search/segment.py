"""Segment: codes with ascending ids, laid out for the kernels; an index is a few of them.

A position ranks as its id does, so that what a kernel orders by (distance, position) is ordered by (distance, id).
Segments are values: adding, removing and building tables give a new segment, and whoever searches the old one goes on
undisturbed. Codes are appended into spare room behind the last one where there is some; removed codes are marked in a
bitset and stay until the segment is rewritten. Segments know nothing of each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.search.blocks import EVERY, Blocks
from hashret.search.multi_index import MultiIndex

__all__ = ["EVERY", "Segment", "bitset"]

_ALL = np.uint64(2**64 - 1)


def bitset(marks: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack marks bool (n,) into words uint64 (ceil(n / 64),), least bit first."""
    return np.packbits(np.pad(marks, (0, -len(marks) % 64)), bitorder="little").view(np.uint64)


@dataclass(frozen=True, eq=False)
class Segment:
    """Codes, their ids and which of them count.

    Attributes:
        blocks: n codes, those that were removed included.
        ids: int64 (n or more,), strictly ascending; or None where they are ``first``, ``first + 1`` and so on.
        first: The first id, where ``ids`` is None.
        alive: Bitset uint64 (ceil(n / 64),) of the codes that were not removed, the bits behind the last code set;
            empty while none was.
        dead: How many were removed.
        tables: Multi-index tables over the codes, or None.
    """

    blocks: Blocks
    ids: NDArray[np.int64] | None
    first: int = 0
    alive: NDArray[np.uint64] = field(default_factory=lambda: EVERY)
    dead: int = 0
    tables: MultiIndex | None = None

    @classmethod
    def of(cls, codes: Codes, ids: NDArray[np.int64], room: int = 0) -> Segment:
        """Lay out codes with ascending ids, with room for ``room`` codes in all."""
        empty = cls(Blocks.empty(codes.bits, max(room, len(codes))), None, int(ids[0]) if len(ids) else 0)
        return empty.append(codes, ids)

    def __len__(self) -> int:
        """Number of codes that count."""
        return len(self.blocks) - self.dead

    @property
    def last(self) -> int:
        """The largest id it holds or held; -1 if none."""
        count = len(self.blocks)
        if not count:
            return -1
        return self.first + count - 1 if self.ids is None else int(self.ids[count - 1])

    @property
    def room(self) -> int:
        """How many codes it can hold; a mapped one cannot take more."""
        if not self.blocks.data.flags.writeable:
            return len(self.blocks)
        return self.blocks.room if self.ids is None else min(self.blocks.room, len(self.ids))

    def append(self, codes: Codes, ids: NDArray[np.int64]) -> Segment:
        """Add codes with ascending ids, all above ``last``, into the room there is; tables are dropped."""
        count, every = len(self.blocks), self.ids
        end = count + len(ids)
        if every is None and len(ids) and (ids[0] != self.first + count or ids[-1] - ids[0] != len(ids) - 1):
            every = np.empty(self.blocks.room, np.int64)
            every[:count] = np.arange(self.first, self.first + count)
        if every is not None:
            every[count:end] = ids
        alive = self.alive
        if alive.size:
            alive = np.concatenate([alive, np.full(-(-end // 64) - len(alive), _ALL)])
        return replace(self, blocks=self.blocks.append(codes), ids=every, alive=alive, tables=None)

    def marks(self) -> NDArray[np.bool_]:
        """Which codes count, bool (n,)."""
        count = len(self.blocks)
        if not self.alive.size:
            return np.ones(count, np.bool_)
        return np.unpackbits(self.alive.view(np.uint8), count=count, bitorder="little").astype(np.bool_)

    def names(self) -> NDArray[np.int64]:
        """Ids of the codes that count, ascending."""
        every = self.name(np.arange(len(self.blocks)))
        return every[self.marks()] if self.dead else every

    def name(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ids of positions; -1 stays -1."""
        if self.ids is None and not self.first:
            return positions
        if self.ids is None:
            named: NDArray[np.int64] = positions + np.int64(self.first)
        else:
            named = self.ids[: len(self.blocks)][positions] if len(self.blocks) else positions
        return np.where(positions < 0, np.int64(-1), named)

    def find(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of ids; -1 where no code that counts has the id."""
        count = len(self.blocks)
        if not count:
            return np.full(len(ids), -1, np.int64)
        if self.ids is None:
            places = ids - self.first
            known = (ids >= self.first) & (places < count)
        else:
            places = np.minimum(np.searchsorted(self.ids[:count], ids), count - 1)
            known = self.ids[places] == ids
        if self.alive.size:
            safe = np.where(known, places, 0)
            known &= (self.alive[safe >> 6] >> (safe & 63).astype(np.uint64) & np.uint64(1)).astype(np.bool_)
        return np.where(known, places, -1)

    def without(self, positions: NDArray[np.int64]) -> Segment:
        """Mark the codes at these positions, each once and each alive, as removed."""
        alive = self.alive.copy() if self.alive.size else np.full(-(-len(self.blocks) // 64), _ALL)
        np.bitwise_and.at(alive, positions >> 6, ~(np.uint64(1) << (positions & 63).astype(np.uint64)))
        return replace(self, alive=alive, dead=self.dead + len(positions))

    def codes(self) -> Codes:
        """The codes that count, in the order of their ids."""
        return self.blocks.take(np.flatnonzero(self.marks()))

    def joined(self, other: Segment, room: int) -> Segment:
        """One segment of the codes of both that count, with room for ``room``."""
        ids = np.concatenate([self.names(), other.names()])
        codes = Codes.concatenate([self.codes(), other.codes()])
        if (ids[1:] < ids[:-1]).any():
            order = np.argsort(ids, kind="stable")  # two runs: merged, not sorted
            ids, codes = ids[order], codes[order]
        return Segment.of(codes, ids, max(room, len(ids)))

    def with_tables(self, chunks: int | None, threads: int) -> Segment:
        """Build multi-index tables over the codes."""
        words = np.ascontiguousarray(self.blocks.take(slice(None)).words())
        return replace(self, tables=MultiIndex.build(words, self.blocks.bits, chunks=chunks, threads=threads))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What has to be saved, by name; ``alive`` and ``ids`` only where there is something to say."""
        count, row = len(self.blocks), self.blocks.row
        found: dict[str, NDArray[Any]] = {"blocks": self.blocks.data[: -(-count // row)]}
        if self.ids is not None:
            found["ids"] = self.ids[:count]
        if self.dead:
            found["alive"] = self.alive
        if self.tables is not None:
            found |= {f"tables.{name}": array for name, array in self.tables.arrays().items()}
        return found

"""Segments: the parts of an index, as a log-structured merge tree keeps them.

Codes with ascending ids go into the last segment, others begin a new one, and a segment is merged into its elder once
it has grown to half of its size: adding in pieces copies each code a few times in all, whatever the pieces are, and a
search has few parts to put together. A change gives new Segments and leaves the old ones to who searches them; only the
newest may be changed, since they share spare room, and :class:`hashret.search.index.HammingIndex` sees to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.search.answers import Selection
from hashret.search.inputs import as_ids, first_ids
from hashret.search.segment import Segment

__all__ = ["Algorithm", "Segments"]

Algorithm = Literal["auto", "scan", "multi-index"]
_ALGORITHMS = get_args(Algorithm)

_SMALL = 4_096  # codes: so small an elder is merged in any case


@dataclass(frozen=True)
class Segments:
    """Segments that share no id.

    Attributes:
        parts: The segments, the oldest first.
    """

    parts: tuple[Segment, ...] = ()

    def __len__(self) -> int:
        """Number of codes."""
        return sum(len(part) for part in self.parts)

    @property
    def last(self) -> int:
        """The largest id they hold or held; -1 if none."""
        return max((part.last for part in self.parts), default=-1)

    def names(self) -> NDArray[np.int64]:
        """All ids, ascending, int64 (N,)."""
        if not self.parts:
            return np.empty(0, np.int64)
        every = np.concatenate([part.names() for part in self.parts])
        if (every[1:] < every[:-1]).any():
            every.sort(kind="stable")  # a few ascending runs
        return every

    def known(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these ids are held."""
        found = np.zeros(len(ids), np.bool_)
        for part in self.parts:
            found |= part.find(ids) >= 0
        return found

    def take(self, ids: NDArray[np.int64], bits: int) -> Codes:
        """The codes of ids, in the order given.

        Raises:
            InputError: An id is not held.
        """
        self._check_known(ids)
        found = np.zeros((len(ids), -(-bits // 8)), np.uint8)
        for part in self.parts:
            places = part.find(ids)
            found[places >= 0] = part.blocks.take(places[places >= 0]).packed
        return Codes(found, bits)

    def _check_known(self, ids: NDArray[np.int64]) -> None:
        known = self.known(ids)
        if not known.all():
            raise InputError(
                "ids", expected="ids that are in the index", got=f"{first_ids(ids[~known])} unknown",
                remedy="Leave them out; `number in index` tells. Nothing was changed.",
            )  # fmt: skip

    def added(self, codes: Codes, ids: NDArray[np.int64]) -> Segments:
        """These and codes whose ids, each given once, are none of theirs."""
        if not len(ids):
            return self
        if (ids[1:] < ids[:-1]).any():
            order = np.argsort(ids)
            codes, ids = codes[order], ids[order]
        parts = list(self.parts)
        if not parts:
            return Segments((Segment.of(codes, ids),))
        youngest = parts[-1]
        ascending = int(ids[0]) > youngest.last
        if ascending and len(youngest.blocks) + len(ids) <= youngest.room:
            parts[-1] = youngest.append(codes, ids)
        else:
            parts.append(Segment.of(codes, ids, max(2 * len(ids), _SMALL) if ascending else 0))
        while len(parts) > 1 and len(parts[-2]) <= max(2 * len(parts[-1]), _SMALL):
            last, elder = parts.pop(), parts.pop()
            parts.append(elder.joined(last, 2 * (len(elder) + len(last))))
        return Segments(tuple(parts))

    def removed(self, ids: NDArray[np.int64]) -> Segments:
        """These without the codes of some ids, each given once.

        Raises:
            InputError: An id is not held.
        """
        self._check_known(ids)
        parts = []
        for part in self.parts:
            places = part.find(ids)
            places = places[places >= 0]
            if len(places):
                part = part.without(places)
                if 2 * part.dead > len(part.blocks):
                    part = Segment.of(part.codes(), part.names())
            if len(part):
                parts.append(part)
        return Segments(tuple(parts))

    def merged(self) -> Segments:
        """All codes in one segment, without those that were removed."""
        parts = list(self.parts)
        while len(parts) > 1:
            last, elder = parts.pop(), parts.pop()
            parts.append(elder.joined(last, 0))
        if parts and parts[0].dead:
            parts = [Segment.of(parts[0].codes(), parts[0].names())]
        return Segments(tuple(parts))

    def asked(self, algorithm: str) -> Segments:
        """These, if that algorithm can search them.

        Raises:
            InputError: There is no such algorithm, or no tables for it.
        """
        if algorithm not in _ALGORITHMS:
            raise InputError(
                "algorithm", expected=" or ".join(map(repr, _ALGORITHMS)), got=repr(algorithm),
                remedy="The answers are the same; 'auto' chooses.",
            )  # fmt: skip
        if algorithm == "multi-index" and self.parts and all(part.tables is None for part in self.parts):
            raise InputError(
                "algorithm", expected="an index with tables for 'multi-index'", got="one without",
                remedy="Call build_tables() once, or search with 'auto' or 'scan'.",
            )  # fmt: skip
        return self

    def selections(self, allowed: ArrayLike | None) -> list[Selection]:
        """What is asked of each segment: all codes, or those of some ids or under a mask (N,) in the order of ids.

        Raises:
            InputError: ``allowed`` is neither ids nor a mask of N.
        """
        if allowed is None:
            return [Selection(part) for part in self.parts]
        values = np.asarray(allowed)
        if values.dtype == np.bool_:
            if values.shape != (len(self),):
                raise InputError(
                    "allowed", expected=f"a mask bool ({len(self)},), one a code in the order of index.ids",
                    got=f"bool {values.shape}", remedy="Give the ids that may answer instead.",
                )  # fmt: skip
            if len(self.parts) == 1:
                return [Selection(self.parts[0], np.flatnonzero(self.parts[0].marks())[values])]
            ids = self.names()[values]
        else:
            ids = np.unique(as_ids(values))
        found = [part.find(ids) for part in self.parts]
        return [Selection(part, places[places >= 0]) for part, places in zip(self.parts, found, strict=True)]

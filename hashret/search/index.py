"""HammingIndex: codes under 64-bit ids, searched exactly.

Threads may search while one changes the index: a search sees the codes that were there when it began
(:class:`hashret.search.segments.Segments` are values), and changes wait for each other. Every answer comes by
(distance, id), whatever the order of adding was. The index holds codes and ids only: it computes no code, keeps no
names or labels, and never answers approximately.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.relevance import Relevance
from hashret.search import answers
from hashret.search.blocks import Blocks
from hashret.search.crew import at_least_one
from hashret.search.hits import Hits, merge
from hashret.search.indexfile import read_segments, write_segments
from hashret.search.inputs import LARGEST_ID, as_codes, as_ids, first_ids, ids_after, one_id_each, whole_number
from hashret.search.segment import Segment
from hashret.search.segments import Algorithm, Segments

__all__ = ["HammingIndex"]


class HammingIndex:
    """Codes of one width under unique 64-bit ids.

    Wherever codes are taken, packed bits as a uint8 array (n, ceil(bits / 8)) are taken too, as faiss's binary indexes
    take them.

    Args:
        bits: Width of a code, 1 ... 65,535.

    Raises:
        InputError: ``bits`` is not such a whole number.

    Example:
        >>> from hashret.codes import binarize
        >>> index = HammingIndex(bits=4)
        >>> index.add(binarize([[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]])).tolist()
        [0, 1, 2]
        >>> distances, ids = index.search(binarize([[1, 1, -1, -1]]), k=2)
        >>> distances.tolist(), ids.tolist()
        ([[1, 2]], [[1, 0]])
    """

    def __init__(self, bits: int) -> None:
        """Start empty."""
        self._bits = whole_number(bits, "bits", least=1)
        Blocks.shape(self._bits, 0)  # refuses what is too wide
        self._segments = Segments()
        self._next_id = 0
        self._lock = threading.Lock()

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self._bits

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids, ascending, int64 (N,); read-only."""
        every = self._segments.names()
        every.flags.writeable = False
        return every

    @property
    def nbytes(self) -> int:
        """Bytes that codes, ids and tables take, spare room left out."""
        return sum(array.nbytes for part in self._segments.parts for array in part.arrays().values())

    def __len__(self) -> int:
        """Number of codes."""
        return len(self._segments)

    def __contains__(self, number: object) -> bool:
        """Whether a code has this id."""
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 0 <= number <= LARGEST_ID:
            return False
        return bool(self._segments.known(np.array([number], np.int64))[0])

    def __repr__(self) -> str:
        """``HammingIndex(18015 x 64 bits)``."""
        return f"HammingIndex({len(self)} x {self.bits} bits)"

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy carry: codes of their own; no spare room, no lock."""
        with self._lock:
            kept, next_id = self._segments, self._next_id
        segments = Segments(tuple(Segment.of(part.codes(), part.names()) for part in kept.parts))
        return {"bits": self._bits, "next_id": next_id, "segments": segments}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`__getstate__` gave."""
        self._bits, self._next_id, self._segments = state["bits"], state["next_id"], state["segments"]
        self._lock = threading.Lock()

    def add(self, codes: Codes | NDArray[np.uint8], ids: ArrayLike | None = None) -> NDArray[np.int64]:
        """Add codes; all of them or, when anything is wrong, none.

        The file of an index loaded with ``mmap=True`` stays as it is; new codes are held in memory.

        Args:
            codes: n codes.
            ids: Whole numbers (n,), 0 ... 2**63 - 1, in any order, none twice and none in the index; by default the
                numbers after the largest id this index ever held: a removed id never comes to mean another item.

        Returns:
            The ids of the codes, int64 (n,), in the order given.

        Raises:
            InputError: An id is negative, no whole number, given twice or taken; or there are not n of them.
            WidthError: The codes are of another width.

        Example:
            >>> index = HammingIndex(bits=8)
            >>> index.add(np.zeros((2, 1), np.uint8), ids=[7, 3]).tolist()
            [7, 3]
            >>> index.add(np.zeros((1, 1), np.uint8)).tolist(), index.ids.tolist()
            ([8], [3, 7, 8])
        """
        codes = as_codes(codes, self.bits, "codes")
        with self._lock:
            given = ids_after(self._next_id, len(codes)) if ids is None else one_id_each(ids, len(codes))
            taken = given[self._segments.known(given)] if ids is not None else given[:0]
            if len(taken):
                raise InputError(
                    "ids", expected="ids that are not in the index", got=f"{first_ids(taken)} taken",
                    remedy="Use replace(ids, codes) to change their codes, or let the index number the new ones.",
                )  # fmt: skip
            self._segments = self._segments.added(codes, given)
            self._next_id = max(self._next_id, int(given.max(initial=-1)) + 1)
        return given

    def remove(self, ids: ArrayLike) -> int:
        """Remove codes by their ids; all of them or, when one is unknown, none.

        Args:
            ids: Whole numbers (n,); one given twice counts once.

        Returns:
            How many codes were removed.

        Raises:
            InputError: An id is not in the index.

        Example:
            >>> index = HammingIndex(bits=8)
            >>> _ = index.add(np.zeros((3, 1), np.uint8))
            >>> index.remove([1]), 1 in index, len(index)
            (1, False, 2)
        """
        leaving = np.unique(as_ids(ids))
        with self._lock:
            self._segments = self._segments.removed(leaving)
        return len(leaving)

    def replace(self, ids: ArrayLike, codes: Codes | NDArray[np.uint8]) -> None:
        """Give items new codes; all of them or, when one is unknown, none.

        Args:
            ids: Whole numbers (n,), each in the index and none twice.
            codes: n codes.

        Raises:
            InputError: An id is not in the index or given twice, or there are not n of them.
            WidthError: The codes are of another width.

        Example:
            >>> index = HammingIndex(bits=8)
            >>> _ = index.add(np.zeros((3, 1), np.uint8))
            >>> index.replace([1], np.array([[255]], np.uint8))
            >>> index.search(np.array([[255]], np.uint8), k=3).ids.tolist()
            [[1, 0, 2]]
        """
        codes = as_codes(codes, self.bits, "codes")
        given = one_id_each(ids, len(codes))
        with self._lock:
            self._segments = self._segments.removed(given).added(codes, given)

    def take(self, ids: ArrayLike) -> Codes:
        """The codes of ids, in the order given.

        Raises:
            InputError: An id is not in the index.

        Example:
            >>> index = HammingIndex(bits=8)
            >>> index.take(index.add(np.array([[7], [255]], np.uint8))[::-1]).packed.tolist()
            [[255], [7]]
        """
        return self._segments.take(as_ids(ids), self.bits)

    def build_tables(self, chunks: int | None = None, *, threads: int = 1) -> None:
        """Build multi-index hashing tables (Norouzi, Punjani, Fleet: Fast Search in Hamming Space, CVPR 2012).

        Where codes lie in clusters, as learned codes do, they answer in a small part of the time of a scan. They take
        4 bytes a code and chunk, 12 up to 128 bits (see ``nbytes``). Codes added later are scanned beside the tables
        until they are merged with the old ones, which drops the tables.

        Args:
            chunks: Parts that a code is cut into, each with a table; by default chosen from the number of codes and
                bits.
            threads: Tables built at a time; each takes up to 16 bytes a code for as long.

        Raises:
            InputError: ``chunks`` leaves a chunk without bits or with more than 26; ``threads`` is below 1.
        """
        whole_number(threads, "threads", least=1)
        chunks = chunks if chunks is None else whole_number(chunks, "chunks", least=1)
        with self._lock:
            parts = self._segments.merged().parts
            self._segments = Segments(tuple(part.with_tables(chunks, threads) for part in parts))

    def compact(self) -> None:
        """Merge the parts of the index and drop what removed codes still take, and tables over parts that change."""
        with self._lock:
            self._segments = self._segments.merged()

    def search(
        self,
        codes: Codes | NDArray[np.uint8],
        k: int,
        *,
        allowed: ArrayLike | None = None,
        algorithm: Algorithm = "auto",
        threads: int | None = None,
    ) -> Hits:
        """The k nearest codes of every query.

        Args:
            codes: Q queries.
            k: Answers a query, at least 1; more than there are codes is padded.
            allowed: Only these may answer: ids, whole numbers (n,), of which those that are not in the index are passed
                over; or a mask, bool (N,), in the order of ``ids``.
            algorithm: ``"scan"`` compares all codes; ``"multi-index"`` uses the tables of :meth:`build_tables`;
                ``"auto"`` uses them if there are any, and for many queries if they pay for the first ones.
            threads: How many to use at most; None for all cores. Answers depend on neither.

        Returns:
            Hits (Q, k) by (distance, id), padded with (2147483647, -1) where fewer than k codes may answer.

        Raises:
            InputError: ``k`` or ``threads`` is no whole number of at least 1, the queries are no codes, there is no
                such algorithm, there are no tables for it, or ``allowed`` is neither ids nor a mask of N.
            WidthError: The queries are of another width.

        Example:
            >>> index = HammingIndex(bits=8)
            >>> _ = index.add(np.array([[0], [1], [3]], np.uint8))
            >>> index.search(np.array([[0]], np.uint8), k=2, allowed=[1, 2]).ids.tolist()
            [[1, 2]]
        """
        k, queries = whole_number(k, "k", least=1), as_codes(codes, self.bits, "queries")
        segments, threads = self._segments.asked(algorithm), at_least_one(threads)
        chosen = segments.selections(allowed)
        parts = [Hits.checked(*answers.nearest(part, queries, k, algorithm, threads)) for part in chosen]
        return parts[0] if len(parts) == 1 else merge([*parts, Hits.none(len(queries))], k)

    def within(
        self,
        codes: Codes | NDArray[np.uint8],
        radius: int,
        *,
        allowed: ArrayLike | None = None,
        algorithm: Algorithm = "auto",
        threads: int | None = None,
    ) -> Hits:
        """All codes within a Hamming radius of every query.

        Args:
            codes: Q queries.
            radius: Largest distance that counts, inclusive: radius 0 finds equal codes. (faiss's ``range_search`` is
                exclusive: its radius r is r - 1 here.)
            allowed: As in :meth:`search`.
            algorithm: As in :meth:`search`.
            threads: As in :meth:`search`.

        Returns:
            Hits (Q, w) by (distance, id); w is the most answers a query has, shorter rows are padded with
            (2147483647, -1).

        Raises:
            InputError: ``radius`` is not a whole number of at least 0, or as :meth:`search`.
            WidthError: The queries are of another width.

        Example:
            >>> index = HammingIndex(bits=8)
            >>> _ = index.add(np.array([[0], [1], [3]], np.uint8))
            >>> index.within(np.array([[0]], np.uint8), radius=1).ids.tolist()
            [[0, 1]]
        """
        radius = min(whole_number(radius, "radius", least=0), self.bits)
        queries = as_codes(codes, self.bits, "queries")
        segments, threads = self._segments.asked(algorithm), at_least_one(threads)
        parts = [answers.within(part, queries, radius, algorithm, threads) for part in segments.selections(allowed)]
        return answers.rows_of_all(parts, len(queries))

    def histogram(
        self, codes: Codes | NDArray[np.uint8], *, allowed: ArrayLike | None = None, threads: int | None = None
    ) -> NDArray[np.int64]:
        """How many codes of the index lie at each distance of every query.

        Args:
            codes: Q queries.
            allowed: As in :meth:`search`.
            threads: As in :meth:`search`.

        Returns:
            int64 (Q, bits + 1); column d counts distance d, each row sums to ``len(index)``.

        Raises:
            InputError: As :meth:`search`.
            WidthError: The queries are of another width.
        """
        queries, threads = as_codes(codes, self.bits, "queries"), at_least_one(threads)
        counts = np.zeros((len(queries), self.bits + 1), np.int64)
        for part in self._segments.selections(allowed):
            counts += answers.histogram(part, queries, threads)
        return counts

    def joint_histogram(
        self, codes: Codes | NDArray[np.uint8], relevance: Relevance, *, threads: int | None = None
    ) -> NDArray[np.int64]:
        """How many irrelevant and how many relevant codes lie at each distance of every query.

        All that mAP with ties needs, in one pass.

        Args:
            codes: Q queries.
            relevance: Which ids answer which query: of Q queries, and of a gallery that has all ids of the index.
            threads: As in :meth:`search`.

        Returns:
            int64 (Q, 2, bits + 1); [q, 0, d] counts irrelevant codes at distance d of query q, [q, 1, d] relevant ones.

        Raises:
            InputError: The relevance is of other queries or a smaller gallery, or as :meth:`search`.
            WidthError: The queries are of another width.

        Example:
            >>> from hashret.relevance import Targets
            >>> index = HammingIndex(bits=8)
            >>> _ = index.add(np.array([[0], [1], [3]], np.uint8))
            >>> index.joint_histogram(np.array([[0]], np.uint8), Targets([[1]], gallery=3))[0, :, :3].tolist()
            [[1, 0, 1], [0, 1, 0]]
        """
        queries, threads, segments = as_codes(codes, self.bits, "queries"), at_least_one(threads), self._segments
        largest = int(segments.names().max(initial=-1))
        answers.check_judged(relevance, len(queries), largest)
        counts = np.zeros((len(queries), 2, self.bits + 1), np.int64)
        for part in segments.selections(None):
            counts += answers.joint_histogram(part, queries, threads, relevance)
        return counts

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index, with its tables if it has any, as one safetensors file, atomically.

        A reader sees the old file or the whole new one; an index of any size can be written.

        Raises:
            FileError: The place cannot be written; what was there before is unchanged.
        """
        with self._lock:  # also while writing: new codes go into the spare room of what is written
            write_segments(path, self._segments, bits=self.bits, next_id=self._next_id)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> HammingIndex:
        """Read an index that :meth:`save` wrote, by this version or an older one.

        Args:
            path: The file.
            mmap: Map the arrays instead of reading them: opens at once, may be larger than memory, and processes share
                one copy. Header and size are checked then, the checksums of the arrays are not.

        Raises:
            FileError: There is no such file.
            FormatError: It holds no index, is truncated or was changed.

        Example:
            >>> import tempfile
            >>> index = HammingIndex(bits=8)
            >>> _ = index.add(np.zeros((3, 1), np.uint8))
            >>> index.save(path := tempfile.mkdtemp() + "/index.safetensors")
            >>> HammingIndex.load(path, mmap=True)
            HammingIndex(3 x 8 bits)
        """
        kept, bits, next_id = read_segments(path, mmap=mmap)
        index = cls(bits)
        index._segments, index._next_id = kept, next_id
        return index

"""Multi-index hashing: tables that find the nearest of N codes without looking at most of them.

A scan looks at every code. Where codes lie in clusters, as hashing makes them, a query's neighbours agree with it in
some part of their bits, or nearly so; tables over such parts lead to them (M. Norouzi, A. Punjani, D. J. Fleet: Fast
Search in Hamming Space with Multi-Index Hashing, CVPR 2012). Answers are exact, ties included. Where codes do not lie
in clusters, or k is large, the tables cost more than a scan: a search has a budget and gives up what exceeds it. This
file knows positions only; ids, files and what to do about queries that were given up are its caller's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from hashret.errors import FormatError, InputError
from hashret.search.crew import together
from hashret.search.multi_index_kernels import (
    COLUMNS,
    LIFT,
    RUNS,
    STAMP,
    TABLE,
    WIDTH,
    bucket_of,
    compared_word,
    compiled_for,
    read_only,
    searcher,
)

__all__ = ["MultiIndex"]

_WIDEST = 26  # bits of a chunk: 2**26 offsets take 256 MiB
_NARROWEST = 8
_NO_KEY = np.iinfo(np.int64).max
_NO_WORDS = np.empty(0, np.uint64)


class MultiIndex:
    """Tables over N codes of one width; a value that never changes. Made by :meth:`build` or :meth:`of_arrays`.

    Example:
        >>> words = np.array([[0b0000], [0b0111], [0b0001], [0b1111]], np.uint64) << np.uint64(4)
        >>> tables = MultiIndex.build(words, bits=4)
        >>> keys, done = tables.nearest(words[:1], k=2, budget=math.inf)
        >>> [(key >> 40, key & (1 << 40) - 1) for key in keys[0].tolist()], done.tolist()
        ([(0, 0), (1, 2)], [True])
    """

    def __init__(self, words: NDArray[np.uint64], bits: int, widths: NDArray[np.int64],
                 offsets: NDArray[np.uint32], ids: NDArray[np.uint32], copies: NDArray[np.uint64]) -> None:  # fmt: skip
        """Take arrays that fit each other."""
        self._words, self._bits, self._widths = words, bits, widths
        self._offsets, self._ids, self._copies = offsets, ids, copies
        self._count = len(ids) // len(widths)
        self._layout = _layout(bits, len(widths))
        self._prices = _prices(bits, len(widths), copies.size > 0)

    @classmethod
    def build(
        cls, words: NDArray[np.uint64], bits: int, *, chunks: int | None = None, copies: bool | None = None,
        threads: int = 1,
    ) -> MultiIndex:  # fmt: skip
        """Build tables over codes.

        Args:
            words: uint64 (N, ceil(bits / 64)), N below 2**32, as :meth:`hashret.codes.Codes.words` gives them.
            bits: Width of a code, at least 1.
            chunks: Parts that a code is cut into; by default about bits / log2(N), so that a bucket holds about one
                code, or a few, if codes are random.
            copies: Whether the tables hold a word of each code in each bucket, 8 bytes a code and chunk besides 4 for
                its position: a search then reads few codes outside the bucket. By default only for up to 128 bits.
            threads: Chunks that are sorted at a time; each takes up to 16 bytes a code for as long.

        Returns:
            The tables. They keep ``words`` unless the copies are whole codes, so do not write to it.

        Raises:
            InputError: ``words`` is no such array, or ``chunks`` leaves a chunk without bits or with more than 26.
        """
        width = -(-bits // 64)
        if words.dtype != np.uint64 or words.ndim != 2 or words.shape[1] != width or len(words) >= 1 << 32:
            raise InputError(
                "words", expected=f"uint64 (N, {width}), N < 2**32", got=f"{words.dtype} {words.shape}",
                remedy="Give Codes.words(); split larger collections.",
            )  # fmt: skip
        if chunks is None:
            chunks = _chunks(len(words), bits)
        fewest = -(-bits // _WIDEST)
        if not fewest <= chunks <= bits:
            raise InputError(
                "chunks", expected=f"{fewest} ... {bits} for {bits} bits", got=str(chunks),
                remedy=f"A chunk has 1 to {_WIDEST} bits.",
            )  # fmt: skip
        copies = width <= 2 if copies is None else copies
        words, layout, size = np.ascontiguousarray(words), _layout(bits, chunks), chunks * len(words)
        offsets = np.empty(int(layout[-1, TABLE]) + (1 << int(layout[-1, WIDTH])) + 1, np.uint32)
        ids, copied = np.empty(size, np.uint32), np.empty(size if copies else 0, np.uint64)
        fill = _filler()

        def sort(chunk: int) -> None:
            room = np.empty(len(words), np.uint64), np.empty(len(words) if copies else 0, np.uint64)
            fill(words, layout, chunk, offsets, ids, copied, *room)

        together([partial(sort, chunk) for chunk in range(chunks)], threads)
        return cls(words[:0] if copies and width == 1 else words, bits, layout[:, WIDTH].copy(), offsets, ids, copied)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]], bits: int) -> MultiIndex:
        """Tables from what :meth:`arrays` gave; nothing is copied, so that mapped arrays stay mapped.

        Args:
            arrays: By name; what they hold is taken on trust but for the ends of each table.
            bits: Width of a code.

        Raises:
            FormatError: An array is missing, or shapes and dtypes do not fit each other.
        """
        given = {name: np.atleast_1d(np.asarray(array)) for name, array in arrays.items()}
        widths, ids = given.get("widths", np.empty(0, np.int64)), given.get("ids", np.empty(0, np.uint32))
        fewest, nothing = -(-bits // _WIDEST), np.empty((0, -(-bits // 64)), np.uint64)
        chunks = len(widths) if fewest <= len(widths) <= bits else fewest
        count, layout = len(ids) // chunks, _layout(bits, chunks)
        copies, words = given.get("copies", _NO_WORDS), given.get("words", nothing)
        offsets = given.get("offsets", np.empty(0, np.uint32))
        ends = layout[:, TABLE] + (1 << layout[:, WIDTH])
        kinds = {"widths": np.int64, "offsets": np.uint32, "ids": np.uint32, "copies": np.uint64, "words": np.uint64}
        fits = (
            all(name in kinds and array.dtype == kinds[name] for name, array in given.items())
            and np.array_equal(widths, layout[:, WIDTH])
            and offsets.shape == (ends[-1] + 1,)
            and not offsets[layout[:, TABLE]].any()
            and bool((offsets[ends] == count).all())
            and ids.shape == (chunks * count,)
            and copies.shape in ((0,), ids.shape)
            and words.shape[1:] == nothing.shape[1:]
            and (len(words) == count or (len(words) == 0 and copies.size > 0 and bits <= 64))
        )
        if not fits:
            raise FormatError(
                "multi-index tables", expected=f"arrays of tables over codes of {bits} bits",
                got=", ".join(f"{name} {array.dtype} {array.shape}" for name, array in given.items()) or "nothing",
                remedy="Give what arrays() returned, and the width of the codes.",
            )  # fmt: skip
        solid = partial(np.require, requirements="CA")  # contiguous and aligned; copies only what is not
        return cls(solid(words), bits, solid(widths), solid(offsets), solid(ids), solid(copies))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What :meth:`of_arrays` needs: ``widths``, ``offsets``, ``ids`` and, where used, ``copies`` and ``words``.

        These are the tables' own: do not write to them.
        """
        arrays: dict[str, NDArray[Any]] = {"widths": self._widths, "offsets": self._offsets, "ids": self._ids}
        if self._copies.size:
            arrays["copies"] = self._copies
        if self._words.size:
            arrays["words"] = self._words
        return arrays

    @property
    def chunks(self) -> int:
        """Parts that a code is cut into, one table each."""
        return len(self._widths)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, those of ``words`` included where the tables keep them."""
        return sum(array.nbytes for array in self.arrays().values())

    def __len__(self) -> int:
        """Number of codes, whether they count or not."""
        return self._count

    def nearest(
        self, queries: NDArray[np.uint64], k: int, *, budget: float, alive: NDArray[np.uint64] | None = None,
        threads: int = 1,
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:  # fmt: skip
        """The k nearest codes of every query by (distance, position).

        Args:
            queries: uint64 (Q, W), C order.
            k: Answers a query, at least 1.
            budget: What a query may cost, in codes scanned by a scan for one query.
            alive: Bitset uint64 (ceil(N / 64) or more,) of the codes that count; None for all.
            threads: Parts of the queries that are searched at a time.

        Returns:
            Keys int64 (Q, k), ``distance << 40 | position``, ascending, padded with 2**63 - 1; and whether each query
            was done, bool (Q,). The keys of one that was given up mean nothing.

        Raises:
            InputError: ``queries`` or ``alive`` is no such array.
        """
        keys, starts, done = self._search(queries, min(k, self._count), self._bits, budget, alive, threads)
        if len(keys) == len(queries) * k:
            return keys.reshape(len(queries), k), done
        padded = np.full((len(queries), k), _NO_KEY, np.int64)
        padded[np.arange(k) < np.diff(starts)[:, None]] = keys
        return padded, done

    def within(
        self, queries: NDArray[np.uint64], radius: int, *, budget: float, alive: NDArray[np.uint64] | None = None,
        threads: int = 1,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:  # fmt: skip
        """All codes at distance ``radius`` or less of every query, by (distance, position).

        Args:
            queries: uint64 (Q, W), C order.
            radius: Largest distance that counts, inclusive.
            budget: What a query may cost, in codes scanned by a scan for one query.
            alive: Bitset uint64 (ceil(N / 64) or more,) of the codes that count; None for all.
            threads: Parts of the queries that are searched at a time.

        Returns:
            Keys int64 (total,), those of query q at ``starts[q] : starts[q + 1]``; starts int64 (Q + 1,); and whether
            each query was done, bool (Q,). One that was given up has no keys.

        Raises:
            InputError: ``queries`` or ``alive`` is no such array.
        """
        return self._search(queries, self._count + 1, radius, budget, alive, threads)

    def _search(
        self, queries: NDArray[np.uint64], k: int, radius: int, budget: float, alive: NDArray[np.uint64] | None,
        threads: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:  # fmt: skip
        if queries.dtype != np.uint64 or queries.ndim != 2 or queries.shape[1] != self._words.shape[1]:
            raise InputError(
                "queries", expected=f"uint64 (Q, {self._words.shape[1]})", got=f"{queries.dtype} {queries.shape}",
                remedy="Give Codes.words() of codes of the same width.",
            )  # fmt: skip
        if alive is None:
            alive = _NO_WORDS
        elif alive.dtype != np.uint64 or alive.ndim != 1 or 64 * len(alive) < self._count:
            raise InputError(
                "alive", expected=f"uint64 ({-(-self._count // 64)},)", got=f"{alive.dtype} {alive.shape}",
                remedy="Give a bit for each code.",
            )  # fmt: skip

        def search(part: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
            found: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]] = searcher()(
                np.ascontiguousarray(part), self._words, self._offsets, self._ids, self._copies, self._layout, alive,
                k, radius, self._prices, budget,
            )  # fmt: skip
            return found

        if threads == 1 or len(queries) < 2:
            return search(queries)
        few = np.array_split(queries, min(len(queries), 4 * threads))
        parts = together([partial(search, part) for part in few], threads)
        sizes = np.concatenate([np.zeros(1, np.int64), *(np.diff(starts) for _, starts, _ in parts)])
        keys = np.concatenate([keys for keys, _, _ in parts])
        return keys, np.cumsum(sizes), np.concatenate([done for _, _, done in parts])


def _chunks(count: int, bits: int) -> int:
    """Chunks for N codes: each about log2(N) bits wide, rather less than more."""
    return min(bits, math.ceil(bits / min(max(math.log2(max(count, 1)), _NARROWEST), _WIDEST)))


def _prices(bits: int, chunks: int, copies: bool) -> NDArray[np.float64]:
    """Costs of a bucket, of a code in it and of a code looked into, in codes scanned; measured on one CPU.

    A scan takes about 0.2 ns a word, and lays codes of up to 32 bits in words of 8, 16 or 32.
    """
    words = -(-bits // 64)
    scanned = next((lane / 64 for lane in (8, 16, 32) if bits <= lane), words)
    prices = (40, 4, 80 + 10 * words + 5 * chunks) if copies else (40, 50 + 10 * words, 0)
    return np.array(prices) / scanned


def _layout(bits: int, chunks: int) -> NDArray[np.int64]:
    """Where the bits of each chunk lie in a code, and its buckets in the offsets: int64 (chunks, COLUMNS).

    Chunks are equally wide, or one bit wider at the end. Codes are packed most significant bit first within bytes, and
    words read bytes from the lowest up, so that the pad bits of a last, broken byte lie below its bits. These are dealt
    out first, before the lowest bits of the first word; thus no chunk has more than two runs of bits.
    """
    last, rest = -(-bits // 64) - 1, bits % 8
    whole = (bits - 64 * last) // 8 * 8
    runs = [(last, whole + 8 - rest, rest), *((word, 0, 64) for word in range(last)), (last, 0, whole)]
    runs = [run for run in runs if run[2]]
    layout, table = np.zeros((chunks, COLUMNS), np.int64), 0
    for chunk, row in enumerate(layout):
        width = bits // chunks + (chunk >= chunks - bits % chunks)
        row[WIDTH], row[TABLE], table = width, table, table + (1 << width) + 1
        lifts = []
        for columns in RUNS:
            if width:
                word, shift, length = runs[0]
                taken = min(width, length)
                row[list(columns)] = word, shift, (1 << taken) - 1
                lifts.append(taken)
                width -= taken
                runs[0] = word, shift + taken, length - taken
                runs = runs if length > taken else runs[1:]
        row[LIFT] = lifts[0]
    return layout


def _fill_of(stamp: int) -> Callable[..., None]:
    """Sorting all codes by the bits of a chunk, equal ones by position.

    The first pass sorts by the upper half of the bits, the second by the lower: each writes to few places at a time.
    Between them, ``lower`` holds the lower half and the position, ``compared`` the word that is copied.
    """

    def fill(rows: Any, layout: Any, chunk: int, offsets: Any, ids: Any, copies: Any, lower: Any,
             compared: Any) -> None:  # fmt: skip
        assert stamp
        count, words = rows.shape
        flat, width, table = rows.reshape(-1), layout[chunk, WIDTH], layout[chunk, TABLE]
        half, base, word = width // 2, chunk * count, compared_word(layout, chunk, words)
        ends = np.zeros((1 << (width - half)) + 1, np.int64)
        for row in range(count):
            ends[(bucket_of(flat, row * words, layout, chunk) >> half) + 1] += 1
        ends = ends.cumsum()
        places = ends.copy()
        for row in range(count):
            bucket = bucket_of(flat, row * words, layout, chunk)
            place = places[bucket >> half]
            places[bucket >> half] += 1
            lower[place] = np.uint64(bucket & ((1 << half) - 1)) << np.uint64(32) | np.uint64(row)
            if copies.size:
                compared[place] = flat[row * words + word]
        bounds = np.empty((1 << half) + 1, np.int64)
        for upper in range(len(ends) - 1):
            bounds[:] = 0
            for place in range(ends[upper], ends[upper + 1]):
                bounds[np.int64(lower[place] >> np.uint64(32)) + 1] += 1
            bounds[0] = ends[upper]
            for bucket in range(1 << half):
                bounds[bucket + 1] += bounds[bucket]
                offsets[table + (upper << half) + bucket] = bounds[bucket]
            for place in range(ends[upper], ends[upper + 1]):
                bucket = np.int64(lower[place] >> np.uint64(32))
                entry = base + bounds[bucket]
                bounds[bucket] += 1
                ids[entry] = lower[place] & np.uint64(0xFFFFFFFF)
                if copies.size:
                    copies[entry] = compared[place]
        offsets[table + (1 << width)] = count

    return fill


@cache
def _filler() -> Any:
    """The making of one table.

    Its arguments are all codes uint64 (N, W), a layout, the chunk, and what it writes to: offsets uint32, ids uint32
    (chunks * N,), copies uint64 (chunks * N,) or none, of which only the chunk's own parts are written; and
    room to work in: uint64 (N,), and uint64 (N,) if there are copies.
    """
    return compiled_for(
        _fill_of(STAMP), read_only(types.uint64, 2), read_only(types.int64, 2), types.int64, types.uint32[::1],
        types.uint32[::1], types.uint64[::1], types.uint64[::1], types.uint64[::1],
    )  # fmt: skip

"""HammingIndex: codes under 64-bit ids, searched exactly.

Rows are kept sorted by id, so that a row's position ranks as its id does and every answer comes by (distance, id)
whatever the order of adding was. The index holds codes and ids only: it computes no code, keeps no names or labels, and
never answers approximately.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.arrayfile import read_arrays, write_arrays
from hashret.codes import Codes
from hashret.errors import FormatError, InputError
from hashret.search import scan
from hashret.search.hits import Hits
from hashret.search.inputs import LARGEST_ID, as_codes, as_ids, first_ids, whole_number

__all__ = ["HammingIndex"]

KIND = "hashret.index/1"


class HammingIndex:
    """Codes of one width under unique 64-bit ids.

    Wherever codes are taken, packed bits as a uint8 array (n, ceil(bits / 8)) are taken too.

    Args:
        bits: Width of a code, at least 1.

    Raises:
        InputError: ``bits`` is not a whole number of at least 1.

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
        self._codes = Codes(np.empty((0, -(-self._bits // 8)), np.uint8), self._bits)
        self._ids = np.empty(0, np.int64)
        self._next_id = 0

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self._bits

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids, ascending, int64 (N,); read-only."""
        view = self._ids.view()
        view.flags.writeable = False
        return view

    def __len__(self) -> int:
        """Number of codes."""
        return len(self._ids)

    def __contains__(self, number: object) -> bool:
        """Whether a code has this id."""
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 0 <= number <= LARGEST_ID:
            return False
        return bool(self._known(np.array([number], np.int64))[0])

    def __repr__(self) -> str:
        """``HammingIndex(18015 x 64 bits)``."""
        return f"HammingIndex({len(self)} x {self.bits} bits)"

    def add(self, codes: Codes | NDArray[np.uint8], ids: ArrayLike | None = None) -> NDArray[np.int64]:
        """Add codes; all of them or, when anything is wrong, none.

        An index loaded with ``mmap=True`` is copied into memory first; its file stays as it is.

        Args:
            codes: n codes.
            ids: Whole numbers (n,), 0 ... 2**63 - 1, in any order, none twice and none in the index; by default
                the numbers after the largest id this index ever held: a removed id never comes to mean another item.

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
        given = self._fresh_ids(len(codes)) if ids is None else as_ids(ids)
        if len(given) != len(codes):
            raise InputError(
                "ids", expected=f"{len(codes)}, one a code", got=str(len(given)),
                remedy="Give each code its id, or give no ids.",
            )  # fmt: skip
        ordered = np.sort(given)
        twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        if len(twice):
            raise InputError(
                "ids", expected="each id once", got=f"{first_ids(twice)} twice", remedy="Number items uniquely."
            )
        taken = given[self._known(given)]
        if len(taken):
            raise InputError(
                "ids", expected="ids that are not in the index", got=f"{first_ids(taken)} taken",
                remedy="Remove them first to replace their codes, or let the index number the new ones.",
            )  # fmt: skip
        if not len(given):
            return given
        every = np.concatenate([self._ids, given])
        packed = np.concatenate([self._codes.packed, codes.packed])
        if (every[1:] < every[:-1]).any():
            order = np.argsort(every)
            every, packed = every[order], packed[order]
        self._ids, self._codes = np.asarray(every), Codes(np.asarray(packed), self.bits)
        self._next_id = max(self._next_id, int(every[-1]) + 1)
        return given

    def remove(self, ids: ArrayLike) -> int:
        """Remove codes by their ids; all of them or, when one is unknown, none.

        An index loaded with ``mmap=True`` is copied into memory first; its file stays as it is.

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
        known = self._known(leaving)
        if not known.all():
            raise InputError(
                "ids", expected="ids that are in the index", got=f"{first_ids(leaving[~known])} unknown",
                remedy="Leave them out; `number in index` tells. Nothing was removed.",
            )  # fmt: skip
        if len(leaving):
            stay = np.ones(len(self), np.bool_)
            stay[np.searchsorted(self._ids, leaving)] = False
            self._ids, self._codes = np.asarray(self._ids[stay]), self._codes[stay]
        return len(leaving)

    def search(self, codes: Codes | NDArray[np.uint8], k: int) -> Hits:
        """The k nearest codes of every query.

        Args:
            codes: Q queries.
            k: Answers a query, at least 1.

        Returns:
            Hits (Q, k) by (distance, id), padded with (2147483647, -1) where the index holds fewer than k codes.

        Raises:
            InputError: ``k`` is not a whole number of at least 1, or the queries are no codes.
            WidthError: The queries are of another width.
        """
        k = whole_number(k, "k", least=1)
        return self._named_hits(*scan.nearest(as_codes(codes, self.bits, "queries"), self._codes, k))

    def within(self, codes: Codes | NDArray[np.uint8], radius: int) -> Hits:
        """All codes within a Hamming radius of every query.

        Args:
            codes: Q queries.
            radius: Largest distance that counts, inclusive: radius 0 finds equal codes. (faiss's ``range_search`` is
                exclusive: its radius r is r - 1 here.)

        Returns:
            Hits (Q, w) by (distance, id); w is the number of answers of the query that has most (0 where none has any),
            shorter rows are padded with (2147483647, -1).

        Raises:
            InputError: ``radius`` is not a whole number of at least 0, or the queries are no codes.
            WidthError: The queries are of another width.

        Example:
            >>> index = HammingIndex(bits=8)
            >>> _ = index.add(np.array([[0], [1], [3]], np.uint8))
            >>> index.within(np.array([[0]], np.uint8), radius=1).ids.tolist()
            [[0, 1]]
        """
        radius = whole_number(radius, "radius", least=0)
        return self._named_hits(*scan.within(as_codes(codes, self.bits, "queries"), self._codes, radius))

    def histogram(self, codes: Codes | NDArray[np.uint8]) -> NDArray[np.int64]:
        """How many codes of the index lie at each distance of every query.

        Args:
            codes: Q queries.

        Returns:
            int64 (Q, bits + 1); column d counts distance d, each row sums to ``len(index)``.

        Raises:
            InputError: The queries are no codes.
            WidthError: The queries are of another width.
        """
        return scan.histogram(as_codes(codes, self.bits, "queries"), self._codes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index as one safetensors file, atomically: a reader sees the old file or the whole new one.

        Raises:
            FileError: The place cannot be written; what was there before is unchanged.
        """
        about = {"bits": self.bits, "bitorder": "big", "next_id": self._next_id}
        write_arrays(path, {"packed": self._codes.packed, "ids": self._ids}, kind=KIND, metadata=about)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> HammingIndex:
        """Read an index that :meth:`save` wrote.

        Args:
            path: The file.
            mmap: Map codes and ids instead of reading them: opens at once, and several processes share one copy. Search
                works on the map; ``add`` and ``remove`` copy it into memory first.

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
        arrays, about = read_arrays(path, kind=KIND, mmap=mmap)
        try:
            index = cls(about["bits"])
            codes, ids = Codes(np.asarray(arrays["packed"]), index.bits), np.asarray(arrays["ids"])
            next_id = whole_number(about["next_id"], "next_id", least=0)
        except (KeyError, InputError) as error:
            raise FormatError(
                str(path), expected="codes, ids and their width", got=str(error),
                remedy="Write it with HammingIndex.save.",
            ) from error  # fmt: skip
        in_order = ids.dtype == np.int64 and ids.shape == (len(codes),)
        # The order of mapped ids is taken on trust: checking would read the whole file.
        if not in_order or (not mmap and ((ids < 0).any() or (ids[1:] <= ids[:-1]).any())):
            raise FormatError(
                str(path), expected=f"{len(codes)} ascending int64 ids", got=f"{ids.dtype} {ids.shape}",
                remedy="Write it with HammingIndex.save.",
            )  # fmt: skip
        index._codes, index._ids, index._next_id = codes, ids, next_id
        return index

    def _known(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these ids are in the index."""
        if not len(self):
            return np.zeros(len(ids), np.bool_)
        places = np.minimum(np.searchsorted(self._ids, ids), len(self) - 1)
        result: NDArray[np.bool_] = self._ids[places] == ids
        return result

    def _fresh_ids(self, count: int) -> NDArray[np.int64]:
        if self._next_id + count - 1 > LARGEST_ID:
            raise InputError(
                "ids", expected=f"numbers up to {LARGEST_ID}", got=f"{count} more after {self._next_id - 1}",
                remedy="Give the ids yourself: there are free ones below.",
            )  # fmt: skip
        return np.arange(count, dtype=np.int64) + np.int64(min(self._next_id, LARGEST_ID))

    def _named_hits(self, distances: NDArray[np.int32], positions: NDArray[np.int64]) -> Hits:
        """Hits with ids for positions; -1 stays -1."""
        ids = self._ids[positions] if len(self) else positions
        return Hits(distances, np.where(positions < 0, positions, ids))

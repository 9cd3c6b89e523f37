"""The local store: a HammingIndex and the file it lives in.

The file is mapped, so that it opens at once; changes are held in memory and written by :meth:`LocalStore.save` or when
the store is closed, since an index file is written whole.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import FileError, WidthError
from hashret.search import HammingIndex, Hits
from hashret.stores.address import Address
from hashret.stores.store import Closing

__all__ = ["LocalStore", "check_bits", "open_local"]


class LocalStore(Closing):
    """An index file; verbs as in :class:`hashret.search.HammingIndex`, which :attr:`index` is.

    Args:
        index: The index.
        path: Where it is written when the store is closed after a change.
    """

    def __init__(self, index: HammingIndex, path: str | os.PathLike[str]) -> None:
        """Hold both."""
        self.index, self.path, self.name = index, Path(path), str(path)
        self._changed = False

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self.index.bits

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids, ascending, int64 (N,)."""
        self._open()
        return self.index.ids

    def __len__(self) -> int:
        """Number of codes."""
        self._open()
        return len(self.index)

    def __contains__(self, number: object) -> bool:
        """Whether a code has this id."""
        self._open()
        return number in self.index

    def add(self, codes: Codes | NDArray[np.uint8], ids: ArrayLike | None = None) -> NDArray[np.int64]:
        """Add codes; raises as ``HammingIndex.add``."""
        self._open()
        given = self.index.add(codes, ids)
        self._changed = True
        return given

    def remove(self, ids: ArrayLike) -> int:
        """Remove codes by their ids; raises as ``HammingIndex.remove``."""
        self._open()
        count = self.index.remove(ids)
        self._changed = True
        return count

    def replace(self, ids: ArrayLike, codes: Codes | NDArray[np.uint8]) -> None:
        """Give items new codes; raises as ``HammingIndex.replace``."""
        self._open()
        self.index.replace(ids, codes)
        self._changed = True

    def take(self, ids: ArrayLike) -> Codes:
        """The codes of ids, in the order given; raises as ``HammingIndex.take``."""
        self._open()
        return self.index.take(ids)

    def search(self, codes: Codes | NDArray[np.uint8], k: int, *, allowed: ArrayLike | None = None) -> Hits:
        """The k nearest; raises as ``HammingIndex.search``."""
        self._open()
        return self.index.search(codes, k, allowed=allowed)

    def within(self, codes: Codes | NDArray[np.uint8], radius: int, *, allowed: ArrayLike | None = None) -> Hits:
        """All within a radius; raises as ``HammingIndex.within``."""
        self._open()
        return self.index.within(codes, radius, allowed=allowed)

    def histogram(self, codes: Codes | NDArray[np.uint8], *, allowed: ArrayLike | None = None) -> NDArray[np.int64]:
        """Codes by distance; raises as ``HammingIndex.histogram``."""
        self._open()
        return self.index.histogram(codes, allowed=allowed)

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the index to another file or, without a path, to its own, atomically.

        Raises:
            FileError: The place cannot be written.
        """
        self._open()
        self.index.save(self.path if path is None else path)
        self._changed = self._changed and path is not None

    def _let_go(self) -> None:
        """Write what was changed."""
        if self._changed:
            self.index.save(self.path)


def open_local(address: Address) -> LocalStore:
    """Open ``PATH``: an index file, or with ``?bits=64`` a new one where there is none.

    Raises:
        FileError: There is no such file, and no width for a new one.
        FormatError: It holds no index.
        WidthError: It holds codes of another width than ``bits``.
    """
    address.only("bits")
    path, bits = Path(address.local()), address.number("bits")
    if bits is not None and not path.exists():
        store = LocalStore(HammingIndex(bits), path)
        store.save()  # so that a place that cannot be written is known now
        return store
    if not path.exists():
        raise FileError(
            str(path), expected="an index file", got="nothing there",
            remedy="Give ?bits=WIDTH to begin one, or write it with `hashret index`.",
        )  # fmt: skip
    index = HammingIndex.load(path, mmap=True)
    check_bits(index.bits, bits, str(path))
    return LocalStore(index, path)


def check_bits(have: int, asked: int | None, name: str) -> None:
    """Refuse a store whose codes are of another width than was asked for.

    Raises:
        WidthError: They are.
    """
    if asked not in (None, have):
        raise WidthError(
            name, expected=f"codes of {asked} bits", got=f"{have} bits", remedy="Leave bits out, or open another store."
        )

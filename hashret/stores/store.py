"""Store: the verbs that every engine has, so that who searches need not know where the codes lie.

:class:`hashret.search.HammingIndex` is one already. Answers come by (distance, id) from each, padded as
:class:`hashret.search.Hits` are, and equal those of one index over the same codes; nothing answers approximately.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import InputError, StoreError
from hashret.search import Hits
from hashret.search.inputs import as_ids

__all__ = ["Closing", "OpenStore", "Store", "ids_of"]


class Store(Protocol):
    """Codes of one width under unique 64-bit ids; each verb as in :class:`hashret.search.HammingIndex`.

    Wherever codes are taken, packed bits as uint8 (n, ceil(bits / 8)) are taken too.
    """

    @property
    def bits(self) -> int:
        """Width of a code."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids, ascending, int64 (N,)."""

    def __len__(self) -> int:
        """Number of codes."""

    def __contains__(self, number: object) -> bool:
        """Whether a code has this id."""

    def add(self, codes: Codes | NDArray[np.uint8], ids: ArrayLike | None = None) -> NDArray[np.int64]:
        """Add n codes, by default under the numbers after the largest id ever held; their ids, int64 (n,)."""

    def remove(self, ids: ArrayLike) -> int:
        """Remove codes by their ids; how many."""

    def replace(self, ids: ArrayLike, codes: Codes | NDArray[np.uint8]) -> None:
        """Give items new codes."""

    def take(self, ids: ArrayLike) -> Codes:
        """The codes of ids, in the order given."""

    def search(self, codes: Codes | NDArray[np.uint8], k: int, *, allowed: ArrayLike | None = None) -> Hits:
        """The k nearest codes of every query, (Q, k)."""

    def within(self, codes: Codes | NDArray[np.uint8], radius: int, *, allowed: ArrayLike | None = None) -> Hits:
        """All codes within a Hamming radius, inclusive, of every query."""

    def histogram(self, codes: Codes | NDArray[np.uint8], *, allowed: ArrayLike | None = None) -> NDArray[np.int64]:
        """How many codes lie at each distance of every query, int64 (Q, bits + 1)."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all codes as one index file, which ``HammingIndex.load`` reads."""


class OpenStore(Store, Protocol):
    """What ``open_store`` gives: a store that is closed by ``close()`` or at the end of a ``with``."""

    def close(self) -> None:
        """Let go of the engine; closing twice does nothing, and any other verb is refused from then on."""

    def __enter__(self) -> Self:
        """The store."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""


class Closing:
    """How stores are closed: an engine gives ``_let_go`` and calls ``_open`` first in each verb.

    Attributes:
        name: How messages call the store; never with a password.
    """

    name = "store"
    _closed = False

    def close(self) -> None:
        """Let go of the engine; closing twice does nothing, and any other verb is refused from then on."""
        if not self._closed:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        """What an engine does when its store is closed."""

    def _open(self) -> None:
        """Refuse a closed store.

        Raises:
            StoreError: It is closed.
        """
        if self._closed:
            raise StoreError(
                self.name, expected="an open store", got="one that was closed", remedy="Call open_store again."
            )

    def __enter__(self) -> Self:
        """The store."""
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def ids_of(allowed: ArrayLike | None, store: Store) -> NDArray[np.int64] | None:
    """What may answer, as ascending ids each once; None where all may.

    Raises:
        InputError: Neither ids nor a mask bool (N,) in the order of the store's ids.
    """
    if allowed is None:
        return None
    values = np.asarray(allowed)
    if values.dtype != np.bool_:
        return np.unique(as_ids(values))
    every = store.ids
    if values.shape != every.shape:
        raise InputError(
            "allowed", expected=f"a mask bool {every.shape}, one a code in the order of store.ids",
            got=f"bool {values.shape}", remedy="Give the ids that may answer instead.",
        )  # fmt: skip
    chosen: NDArray[np.int64] = every[values]
    return chosen

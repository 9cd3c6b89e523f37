"""NamedStore: codes that are searched and the items they stand for, wherever both lie.

Beside an index file, and beside the folder of a Ray store, lies a catalogue of the items. ClickHouse holds them in the
table, with all other metadata, and so can search among those of which a condition is true.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.catalogue import Catalogue, Item, read_catalogue, write_catalogue
from hashret.codes import Codes
from hashret.encoded import EncodedFolder, EncodedShard, columns_by_row
from hashret.errors import InputError
from hashret.search import Hits
from hashret.stores import OpenStore, engine_of, open_store
from hashret.stores.address import Address
from hashret.stores.clickhouse import ClickHouseStore
from hashret.stores.shards import write_shards

__all__ = ["NamedStore", "fill_store", "items_of", "open_named"]

_SHOWN = ("key", "path", "caption")


class NamedStore(ABC):
    """An open store, and what a person calls its items.

    Attributes:
        store: The store; who opened it closes it.
        model: Fingerprint of the model that made the codes; "" if nobody knows.
    """

    store: OpenStore
    model: str

    @abstractmethod
    def search(self, codes: Codes, k: int, where: str | None) -> Hits:
        """The k nearest of every query, among the items of which an SQL condition is true.

        Raises:
            InputError: A condition that the engine cannot evaluate, or an engine without metadata.
        """

    @abstractmethod
    def catalogue(self) -> Catalogue:
        """All items in the order of their ids, with every column; held in memory."""

    @abstractmethod
    def items(self, ids: NDArray[np.int64]) -> list[Item]:
        """The items of ids int64 (n,)."""

    @abstractmethod
    def named(self, names: set[str]) -> NDArray[np.int64]:
        """Ids of the items whose image is a file with one of these names, in whatever folder."""


class _Catalogued(NamedStore):
    """Items in a catalogue beside the codes."""

    def __init__(self, store: OpenStore, place: str) -> None:
        self.store, self._place, self._ids = store, place, store.ids
        self._catalogue = read_catalogue(place, len(self._ids))
        self.model = self._catalogue.model

    def search(self, codes: Codes, k: int, where: str | None) -> Hits:
        if where is not None:
            raise InputError(
                "where", expected="a store that holds metadata: chdb: or clickhouse:", got=self._place,
                remedy="Index the encoded folder with --out chdb:PATH.",
            )  # fmt: skip
        return self.store.search(codes, k)

    def catalogue(self) -> Catalogue:
        return self._catalogue

    def items(self, ids: NDArray[np.int64]) -> list[Item]:
        return [self._catalogue.items[row] for row in np.searchsorted(self._ids, ids)]

    def named(self, names: set[str]) -> NDArray[np.int64]:
        rows = [row for row, item in enumerate(self._catalogue.items) if os.path.basename(item.path) in names]
        chosen: NDArray[np.int64] = self._ids[rows]
        return chosen


class _Tabled(NamedStore):
    """Items in the table of the codes."""

    def __init__(self, store: ClickHouseStore) -> None:
        self.store: ClickHouseStore = store
        self.model = store.model

    def search(self, codes: Codes, k: int, where: str | None) -> Hits:
        return self.store.search(codes, k, where=where)

    def catalogue(self) -> Catalogue:
        told = self.store.metadata(ids := self.store.ids)
        named = [told.pop(name, [""] * len(ids)) for name in _SHOWN]
        rows = columns_by_row({name: [_plain(value) for value in values] for name, values in told.items()}, len(ids))
        items = (
            Item(key or "", path or "", caption or "", row)
            for key, path, caption, row in zip(*named, rows, strict=True)
        )
        return Catalogue(tuple(items), self.model)

    def items(self, ids: NDArray[np.int64]) -> list[Item]:
        told = self.store.metadata(ids, [name for name in _SHOWN if name in self.store.columns])
        none: list[str] = [""] * len(ids)
        columns = (told.get(name, none) for name in _SHOWN)
        return [Item(key or "", path or "", caption or "") for key, path, caption in zip(*columns, strict=True)]

    def named(self, names: set[str]) -> NDArray[np.int64]:
        if "path" not in self.store.columns:
            return np.zeros(0, np.int64)
        return self.store.find(
            "arrayElement(splitByChar('/', assumeNotNull(path)), -1) IN {names:Array(String)}", {"names": sorted(names)}
        )


def _plain(value: Any) -> Any:
    """A value of a column as a catalogue holds it: as JSON does, and anything else by its text."""
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)


def open_named(address: str | os.PathLike[str]) -> NamedStore:
    """Open what :func:`hashret.pipeline.index` wrote; its ``store`` is to be closed.

    Raises:
        FileError: There is no such file, or no catalogue beside it.
        FormatError: It is damaged.
        StoreError: The engine is not installed or cannot be reached, or has no such table.
    """
    store = open_store(address)
    try:
        return _Tabled(store) if isinstance(store, ClickHouseStore) else _Catalogued(store, _place(address))
    except BaseException:
        store.close()
        raise


def _place(address: str | os.PathLike[str]) -> str:
    """The path of an engine that has no server."""
    text = os.fspath(address)
    if os.path.exists(text):
        return text
    return Address.read(text if text.startswith(f"{engine_of(text)}:") else f"file:{text}").local()


def fill_store(folder: EncodedFolder, address: str) -> int:
    """Write an encoded folder into a store: all of ClickHouse's metadata, or shards for Ray and their catalogue.

    Returns:
        How many codes were added.

    Raises:
        InputError: The address lacks ``shards``, for Ray.
        FileError: There are shards already, or the place cannot be written.
        FormatError: A file of the folder was changed, or the table holds codes of another model.
        StoreError: The engine is not installed or cannot be reached.
    """
    read = Address.read(address)
    if engine_of(address) != "ray":
        bits = "" if "bits" in read.options else f"{'&' if read.options else '?'}bits={folder.bits}"
        with open_store(address + bits) as store:
            assert isinstance(store, ClickHouseStore)
            return store.load(folder.path)
    shards = read.number("shards")
    if shards is None:
        raise InputError(
            "address", expected="the number of shards", got=read.shown, remedy=f"Write {read.shown}?shards=4, say."
        )
    parts = list(folder.shards())
    empty = Codes(np.zeros((0, -(-folder.bits // 8)), np.uint8), folder.bits)
    codes = Codes.concatenate([empty, *(part.codes for part in parts)])
    write_shards(
        read.local(), codes, np.concatenate([np.zeros(0, np.int64), *(part.ids for part in parts)]), shards=shards
    )
    kinds, side = folder.manifest["columns"], folder.manifest["side"]
    items = (item for part in parts for item in items_of(part, kinds))
    write_catalogue(read.local(), items, model=folder.model, side=side)
    return len(codes)


def items_of(shard: EncodedShard, kinds: Mapping[str, str]) -> Sequence[Item]:
    """The items of a shard, in the order of its ids; ``kinds`` are the manifest's columns."""
    named = (shard.column(name) for name in _SHOWN)
    return [Item(*row) for row in zip(*named, shard.columns(kinds), strict=True)]

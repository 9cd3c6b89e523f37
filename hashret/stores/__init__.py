"""STORES: the verbs of HammingIndex on engines that outgrow one machine, found by an address.

* ``photos.index`` or ``file:photos.index``: one index file, memory-mapped (:mod:`hashret.stores.local`).
* ``ray:///mnt/photos?address=auto``: shards held by Ray actors (:mod:`hashret.stores.ray`; ``pip install
  'hashret[ray]'``).
* ``chdb:photos.chdb`` and ``clickhouse://user@host:8123/db?table=codes``: ClickHouse, embedded and as a server, with
  metadata filters (:mod:`hashret.stores.clickhouse`; ``pip install 'hashret[clickhouse]'``).

All answer the same, by (distance, id). An engine is imported when its store is opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import quote

from hashret.errors import InputError
from hashret.stores.address import Address
from hashret.stores.store import OpenStore, Store

__all__ = ["STORES", "OpenStore", "Store", "engine_of", "open_store"]


def _file(address: Address) -> OpenStore:
    from hashret.stores.local import open_local

    return open_local(address)


def _ray(address: Address) -> OpenStore:
    from hashret.stores.ray import open_ray

    return open_ray(address)


def _chdb(address: Address) -> OpenStore:
    from hashret.stores.clickhouse_opening import open_chdb

    return open_chdb(address)


def _clickhouse(address: Address) -> OpenStore:
    from hashret.stores.clickhouse_opening import open_clickhouse

    return open_clickhouse(address)


STORES: dict[str, Callable[[Address], OpenStore]] = {
    "file": _file,
    "ray": _ray,
    "chdb": _chdb,
    "clickhouse": _clickhouse,
}


def open_store(address: str | os.PathLike[str]) -> OpenStore:
    """Open a store.

    Args:
        address: ``scheme:...`` with a scheme of STORES, or the path of an index file. ``?bits=64`` begins a new store
            where there is none; the engines' own options are listed where they are opened.

    Returns:
        The store; it has ``close()`` and works in a ``with``.

    Raises:
        InputError: There is no such engine, or it has no such option.
        StoreError: The engine is not installed or cannot be reached.
        FileError: There is nothing at the path.
        WidthError: The store holds codes of another width than ``bits``.

    Example:
        >>> import tempfile, numpy as np
        >>> with open_store(tempfile.mkdtemp() + "/photos.index?bits=8") as store:
        ...     _ = store.add(np.array([[0], [1], [3]], np.uint8))
        ...     store.search(np.array([[0]], np.uint8), k=2).ids.tolist()
        [[0, 1]]
    """
    text, engine = os.fspath(address), engine_of(address)
    if os.path.exists(text):
        return STORES[engine](Address.read("file:" + quote(text)))
    return STORES[engine](Address.read(text if text.startswith(engine + ":") else "file:" + text))


def engine_of(address: str | os.PathLike[str]) -> str:
    """The engine of an address, a name of STORES; a path is one of ``file``.

    Raises:
        InputError: There is no such engine.

    Example:
        >>> engine_of("chdb:photos.chdb"), engine_of("runs/photos.index")
        ('chdb', 'file')
    """
    text = os.fspath(address)
    scheme = text.partition(":")[0] if ":" in text else "file"
    if os.path.exists(text) or (scheme not in STORES and (len(scheme) == 1 or "/" in scheme or os.sep in scheme)):
        return "file"  # a colon within a path
    if scheme not in STORES:
        raise InputError(
            "address", expected=f"one of {', '.join(f'{name}:' for name in STORES)} or a path", got=f"{scheme}:",
            remedy="Write ./ before a path that has a colon in its name.",
        )  # fmt: skip
    return scheme

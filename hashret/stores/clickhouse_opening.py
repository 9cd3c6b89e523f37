"""How a ClickHouse store is opened: embedded or on a server, its table made where there is none."""

from __future__ import annotations

from pathlib import Path

from hashret.errors import FileError, InputError
from hashret.stores.address import Address
from hashret.stores.clickhouse import ClickHouseStore
from hashret.stores.clickhouse_engine import Engine
from hashret.stores.clickhouse_table import table_of

__all__ = ["open_chdb", "open_clickhouse"]


def open_chdb(address: Address) -> ClickHouseStore:
    """Open ``chdb:PATH?table=codes``: ClickHouse within this process, its files in a folder.

    A process holds one such folder open at a time. Options: ``table`` (default ``codes``), ``bits`` of a new table.

    Raises:
        StoreError: chdb is not installed, another folder is open, or there is no table and no ``bits`` for one.
        FileError: There is no such folder, and no ``bits``.
        WidthError: The table holds codes of another width.
    """
    address.only("table", "bits")
    path = Path(address.local())
    if not path.exists() and "bits" not in address.options:
        raise FileError(
            str(path), expected="a folder of chdb", got="nothing there", remedy="Give ?bits=WIDTH to begin one."
        )
    return _opened(Engine.embedded(address), "default", address)


def open_clickhouse(address: Address) -> ClickHouseStore:
    """Open ``clickhouse://user@host:8123/database?table=codes`` over HTTP.

    Options: ``table`` (default ``codes``), ``bits`` of a new table, ``secure=true`` for HTTPS. The password is in the
    address or, better, in ``$CLICKHOUSE_PASSWORD``.

    Raises:
        StoreError: clickhouse-connect is not installed, the server does not answer or is too old, or there is no table
            and no ``bits`` for one.
        WidthError: The table holds codes of another width.
    """
    address.only("table", "bits", "secure")
    secure = address.options.get("secure", "false")
    if not address.host or secure not in ("true", "false"):
        raise InputError(
            f"address {address.shown}", expected="clickhouse://host:port/database, secure=true or false",
            got=f"host {address.host!r}, secure={secure}", remedy="Name the server.",
        )  # fmt: skip
    database = address.path.strip("/") or "default"
    return _opened(Engine.server(address, database, secure=secure == "true"), database, address)


def _opened(engine: Engine, database: str, address: Address) -> ClickHouseStore:
    """The store over an engine, its table made where there is none."""
    try:
        table, statements = table_of(engine, database, address)
        for statement in statements:
            engine.run(statement)
        return ClickHouseStore(engine, table)
    except BaseException:
        engine.close()
        raise

"""The engine under :mod:`hashret.stores.clickhouse`: a client of clickhouse-connect, embedded or of a server.

Statements go one way whichever it is, results come as columns, and what the engine refuses becomes an error of ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import InputError, StoreError
from hashret.stores.address import Address
from hashret.stores.clickhouse_sql import Condition, Table

__all__ = ["BLOCK", "Engine"]

BLOCK = 1 << 20  # rows of an insert, each whole or not at all
_SETTINGS = {"max_query_size": 1 << 28}  # bytes of a statement: ids and codes are in its text


class Engine:
    """A client, and how messages call what it talks to.

    Args:
        client: Of clickhouse-connect; closed with this.
        name: As in messages.
    """

    def __init__(self, client: Any, name: str) -> None:
        """Hold both."""
        self._client, self.name = client, name

    @classmethod
    def embedded(cls, address: Address) -> Engine:
        """The engine of this process, on a folder.

        Raises:
            StoreError: chdb is not installed, or another folder is open.
        """
        driver = _driver("chdb")
        with _refusals(address.shown):
            client = driver.get_client(interface="chdb", path=address.local(), settings=_SETTINGS)
        return cls(client, address.shown)

    @classmethod
    def server(cls, address: Address, database: str, *, secure: bool) -> Engine:
        """A server, over HTTP.

        Raises:
            StoreError: clickhouse-connect is not installed, or the server does not let us in.
        """
        driver = _driver("clickhouse_connect")
        with _refusals(address.shown):
            client = driver.get_client(
                host=address.host, port=address.port, username=address.user or None, secure=secure,
                password=address.password or os.environ.get("CLICKHOUSE_PASSWORD", ""), database=database,
                settings=_SETTINGS, autogenerate_session_id=False,
            )  # fmt: skip
        return cls(client, address.shown)

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def run(self, statement: str) -> None:
        """Execute a statement that gives nothing."""
        with _refusals(self.name):
            self._client.command(statement)

    def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a few values of any type."""
        with _refusals(self.name):
            return [tuple(row) for row in self._client.query(statement, parameters=dict(parameters or {})).result_rows]

    def numbers(self, statement: str, given: Condition | None = None) -> list[NDArray[Any]]:
        """Columns of numbers.

        Raises:
            InputError: There is a condition, which the engine cannot evaluate.
            StoreError: The engine refuses.
        """
        with _refusals(self.name, conditional=given is not None and bool(given.text)):
            table = self._client.query_arrow(statement, parameters=dict(given.parameters) if given else None)
        return [column.to_numpy() for column in table.columns]

    def codes(self, table: Table, tail: str) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Ids int64 (n,) and packed codes uint8 (n, bytes) of some rows of a table."""
        with _refusals(self.name):
            found = self._client.query_arrow(f"SELECT id, code FROM {table.shown} {tail}", use_strings=False)
        packed = np.frombuffer(b"".join(found.column("code").to_pylist()), np.uint8).reshape(-1, table.width)
        return found.column("id").to_numpy().astype(np.int64), packed

    def insert(self, table: Table, codes: Codes, ids: NDArray[np.int64], metadata: Any) -> None:
        """Insert at most BLOCK rows; ``metadata``: a pyarrow Table of as many."""
        import pyarrow as pa  # type: ignore[import-untyped]

        packed = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(table.width), len(codes), [None, pa.py_buffer(np.ascontiguousarray(codes.packed))]
        )
        names = ["id", "code", *metadata.column_names]
        with _refusals(self.name):
            self._client.insert_arrow(
                table.name, pa.table([pa.array(ids), packed, *metadata.columns], names=names), database=table.database,
                settings={"max_insert_block_size": BLOCK, "min_insert_block_size_rows": BLOCK},
            )  # fmt: skip


def _driver(needs: str) -> Any:
    """clickhouse-connect, if it and ``needs`` are there."""
    try:
        import_module(needs)
        return import_module("clickhouse_connect")
    except ImportError as error:
        raise StoreError(
            needs, expected="ClickHouse's Python packages", got=str(error), remedy="pip install 'hashret[clickhouse]'"
        ) from error


@contextmanager
def _refusals(name: str, *, conditional: bool = False) -> Iterator[None]:
    """Turn what the engine refuses into an error of ours; where there is a condition, it is at fault."""
    errors = import_module("clickhouse_connect.driver.exceptions")
    try:
        yield
    except (errors.Error, OSError) as error:
        said = str(error).strip().split("\n")[0][:300]
        if conditional and isinstance(error, errors.DatabaseError):
            raise InputError(
                "where", expected="a condition that ClickHouse can evaluate", got=said, remedy="Correct it."
            ) from error
        remedy = "Are the address, the user and the password right, and is the engine up?"
        raise StoreError(name, expected="an engine that answers", got=said, remedy=remedy) from error

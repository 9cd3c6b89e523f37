"""ClickHouse: codes and metadata in a table, searched by SQL; embedded as chdb or on a server, by the same statements.

A code is a ``FixedString``, its distance ``bitHammingDistance``, an answer the first rows by (distance, id). Metadata
are further columns, and ``where=`` is evaluated beside the distance. Every search reads all codes that the condition
leaves; there is no index over codes. On one server the store makes its tables itself::

    CREATE TABLE codes (id Int64, code FixedString(8)) ENGINE = MergeTree ORDER BY id COMMENT 'hashret.codes/1 bits=64';
    CREATE TABLE codes_numbers (largest Int64) ENGINE = MergeTree ORDER BY largest;

On a cluster of several shards with replicas an administrator makes the tables, once; the store is then opened on the
distributed table, whose shards each find their k nearest rows before they are merged::

    CREATE TABLE codes_local ON CLUSTER main (id Int64, code FixedString(8), key String, caption String)
        ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/codes', '{replica}') ORDER BY id;
    CREATE TABLE codes ON CLUSTER main AS codes_local
        ENGINE = Distributed(main, currentDatabase(), codes_local, cityHash64(id))
        COMMENT 'hashret.codes/1 bits=64 model=FINGERPRINT';
    CREATE TABLE codes_numbers ON CLUSTER main (largest Int64)
        ENGINE = ReplicatedMergeTree('/clickhouse/tables/codes_numbers', '{replica}') ORDER BY largest;

FINGERPRINT is the ``model`` of an encoded folder's manifest.json, which ``hashret search`` compares with its run's; on
one server :meth:`ClickHouseStore.load` notes it.

Adding, loading and searching work through it; ClickHouse changes rows on the shards only, so that ``remove`` and
``replace`` refuse there and say which statement does it. Rows are added in blocks of a million, each whole or not at
all. One writer at a time: the engine does not keep ids unique by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.encoded import EncodedFolder
from hashret.errors import FormatError, InputError, StoreError
from hashret.search import HammingIndex, Hits
from hashret.search.inputs import LARGEST_ID, as_codes, as_ids, first_ids, ids_after, one_id_each, whole_number
from hashret.stores.clickhouse_columns import columns_of, sql_type
from hashret.stores.clickhouse_engine import BLOCK, Engine
from hashret.stores.clickhouse_hits import TOGETHER, batches, hits_of, stacked
from hashret.stores.clickhouse_sql import Condition, Table, Where, condition, one_of, quoted
from hashret.stores.store import Closing, ids_of

__all__ = ["ClickHouseStore"]

_NAMED = 10_000  # ids of a statement


class ClickHouseStore(Closing):
    """A table of codes; verbs as in :class:`hashret.search.HammingIndex`, and metadata.

    Args:
        engine: What holds the table; closed with the store.
        table: The table, which exists.
    """

    def __init__(self, engine: Engine, table: Table) -> None:
        """Look at the table's columns."""
        self._held, self._table, self.name = engine, table, f"{engine.name} {table.name}"
        self._columns = self._described()

    @property
    def _engine(self) -> Engine:
        """The engine of an open store."""
        self._open()
        return self._held

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self._table.bits

    @property
    def columns(self) -> dict[str, str]:
        """Metadata: column -> ClickHouse type."""
        self._open()
        return {name: kind for name, kind in self._columns.items() if name not in ("id", "code")}

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids, ascending, int64 (N,)."""
        return self._engine.numbers(f"SELECT id FROM {self._table.shown} ORDER BY id")[0].astype(np.int64)

    @property
    def model(self) -> str:
        """Fingerprint of the model whose codes were loaded; "" where nobody noted it."""
        self._open()
        return self._table.model

    def __len__(self) -> int:
        """Number of codes."""
        return int(self._engine.numbers(f"SELECT count() FROM {self._table.shown}")[0][0])

    def __contains__(self, number: object) -> bool:
        """Whether a code has this id."""
        self._open()
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 0 <= number <= LARGEST_ID:
            return False
        return bool(len(self._known(np.array([number], np.int64))))

    def add(
        self, codes: Codes | NDArray[np.uint8], ids: ArrayLike | None = None, *, metadata: Any = None
    ) -> NDArray[np.int64]:
        """Add codes, a block of a million at a time.

        Args:
            codes: n codes.
            ids: As in ``HammingIndex.add``.
            metadata: Column -> n values, or a pyarrow Table of n rows; a column that the table lacks is added to it,
                and other rows hold NULL there.

        Returns:
            The ids, int64 (n,).

        Raises:
            InputError: As ``HammingIndex.add``; or metadata that are not n rows, are called id or code, or are of a
                type that ClickHouse has no column for.
            WidthError: The codes are of another width.
            StoreError: The store is closed, or the engine refuses.
        """
        self._open()
        codes = as_codes(codes, self.bits, "codes")
        given = ids_after(self._next_id(), len(codes)) if ids is None else one_id_each(ids, len(codes))
        rows = columns_of(metadata, len(codes))
        taken = self._known(given) if ids is not None else given[:0]
        if len(taken):
            raise InputError(
                "ids", expected="ids that are not in the store", got=f"{first_ids(taken)} taken",
                remedy="Use replace(ids, codes) to change their codes, or let the store number the new ones.",
            )  # fmt: skip
        self._widen(rows)
        for start in range(0, len(codes), BLOCK):
            part = slice(start, start + BLOCK)
            self._engine.insert(self._table, codes[part], given[part], rows.slice(start, BLOCK))
        return given

    def load(self, folder: str | os.PathLike[str]) -> int:
        """Add codes and metadata of a folder that ``hashret encode`` wrote.

        Rows that the store holds already are passed over: a load that was killed goes on when it is given again.

        Returns:
            How many rows were added.

        Raises:
            FileError: The folder is not one, or not done.
            FormatError: A file of it is missing, damaged or was changed, or the table holds codes of another model.
            WidthError: Its codes have another width.
            InputError: A row's id is held with another code.
        """
        self._open()
        added, opened = 0, EncodedFolder.open(folder)
        self._note_model(opened)
        for shard in opened.shards():
            codes, names = as_codes(shard.codes, self.bits, "codes"), one_id_each(shard.ids, len(shard.ids))
            metadata = shard.metadata
            held = self._known(names)
            if len(held):
                self._check_same(codes, names, held)
                left = np.flatnonzero(~np.isin(names, held))
                codes, names, metadata = codes[left], names[left], metadata.take(left)
            if len(names):
                self.add(codes, names, metadata=metadata)
            added += len(names)
        return added

    def remove(self, ids: ArrayLike) -> int:
        """Remove rows by their ids; raises as ``HammingIndex.remove``, and StoreError on a distributed table."""
        self._open()
        leaving = np.unique(as_ids(ids))
        self._check_held(leaving)
        shown = self._changeable("DELETE FROM LOCAL_TABLE ON CLUSTER CLUSTER WHERE id IN (...)")
        if len(leaving):
            self._engine.run(f"INSERT INTO {self._table.numbers} SELECT max(id) FROM {shown}")
        for start in range(0, len(leaving), _NAMED):
            self._engine.run(f"DELETE FROM {shown} WHERE {one_of(leaving[start : start + _NAMED])}")
        return len(leaving)

    def replace(self, ids: ArrayLike, codes: Codes | NDArray[np.uint8]) -> None:
        """Give rows new codes; raises as ``HammingIndex.replace``, and StoreError on a distributed table."""
        self._open()
        codes = as_codes(codes, self.bits, "codes")
        given = one_id_each(ids, len(codes))
        self._check_held(given)
        self._changeable("ALTER TABLE LOCAL_TABLE ON CLUSTER CLUSTER UPDATE code = ... WHERE id = ...")
        for start in range(0, len(given), _NAMED):
            rows = slice(start, start + _NAMED)
            self._engine.run(self._table.replaced(given[rows], codes[rows]))

    def take(self, ids: ArrayLike) -> Codes:
        """The codes of ids, in the order given; raises as :meth:`metadata`."""
        self._open()
        wanted, places = np.unique(as_ids(ids), return_inverse=True)
        self._check_held(wanted)
        packed = np.empty((len(wanted), self._table.width), np.uint8)
        for start in range(0, len(wanted), _NAMED):
            part = wanted[start : start + _NAMED]
            names, found = self._engine.codes(self._table, f"WHERE {one_of(part)}")
            packed[start + np.searchsorted(part, names)] = found
        return Codes(packed[places], self.bits)

    def search(
        self, codes: Codes | NDArray[np.uint8], k: int, *, allowed: ArrayLike | None = None, where: Where | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Hits:  # fmt: skip
        """The k nearest rows of every query.

        Args:
            codes: Q queries.
            k: Answers a query, at least 1.
            allowed: As in ``HammingIndex.search``.
            where: Only rows of which this is true: ``{"year": [2024, 2025], "camera": None}`` (a value, one of several,
                NULL; of a column of arrays, an element), or SQL: ``"year > {least:Int64}"``. A dict is safe with
                strangers' values; SQL is executed as it is, with ``parameters`` bound by the engine.
            parameters: Values of the SQL.

        Returns:
            Hits (Q, k) by (distance, id), padded.

        Raises:
            InputError: As ``HammingIndex.search``; or a condition that the engine cannot evaluate.
            WidthError: The queries are of another width.
            StoreError: The store is closed, or the engine refuses.
        """
        k, queries = whole_number(k, "k", least=1), as_codes(codes, self.bits, "queries")
        rows = self._rows(allowed, where, parameters)
        asked = ((part, self._table.nearest(part, k, rows)) for part in batches(queries))
        return stacked([hits_of(self._engine.numbers(text, rows), len(part), k) for part, text in asked], k)

    def within(
        self, codes: Codes | NDArray[np.uint8], radius: int, *, allowed: ArrayLike | None = None,
        where: Where | None = None, parameters: Mapping[str, Any] | None = None,
    ) -> Hits:  # fmt: skip
        """All rows within a Hamming radius, inclusive, of every query; arguments and errors as in :meth:`search`."""
        radius = min(whole_number(radius, "radius", least=0), self.bits)
        queries, rows = as_codes(codes, self.bits, "queries"), self._rows(allowed, where, parameters)
        asked = ((part, self._table.within(part, radius, rows)) for part in batches(queries))
        parts = [hits_of(self._engine.numbers(text, rows), len(part)) for part, text in asked]
        return stacked(parts, max((part.k for part in parts), default=0))

    def histogram(
        self, codes: Codes | NDArray[np.uint8], *, allowed: ArrayLike | None = None, where: Where | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> NDArray[np.int64]:  # fmt: skip
        """Rows by distance, int64 (Q, bits + 1); arguments and errors as in :meth:`search`."""
        queries, rows = as_codes(codes, self.bits, "queries"), self._rows(allowed, where, parameters)
        counts = np.zeros((len(queries), self.bits + 1), np.int64)
        for number, part in enumerate(batches(queries)):
            query, distance, count = self._engine.numbers(self._table.histogram(part, rows), rows)
            counts[query.astype(np.int64) + number * TOGETHER, distance.astype(np.int64)] = count
        return counts

    def find(self, where: Where, parameters: Mapping[str, Any] | None = None) -> NDArray[np.int64]:
        """Ids of the rows of which a condition is true, ascending, int64 (n,); arguments and errors as in search."""
        rows = self._rows(None, where, parameters)
        found = self._engine.numbers(f"SELECT id FROM {self._table.shown}{rows.and_also('')} ORDER BY id", rows)
        return found[0].astype(np.int64)

    def metadata(self, ids: ArrayLike, columns: Sequence[str] | None = None) -> dict[str, list[Any]]:
        """Metadata of rows, such as those of an answer.

        Args:
            ids: n ids.
            columns: Which; by default all.

        Returns:
            Column -> n values in the order of the ids.

        Raises:
            InputError: An id or a column that the store does not hold.
            StoreError: The store is closed, or the engine refuses.
        """
        names, asked = list(self.columns) if columns is None else list(columns), as_ids(ids)
        unknown = [name for name in names if name not in self.columns]
        if unknown:
            raise InputError(
                "columns", expected=f"some of {', '.join(self.columns)}", got=unknown[0], remedy="Correct the name."
            )
        self._check_held(np.unique(asked))
        told: dict[int, tuple[Any, ...]] = {}
        shown = "".join(f", {quoted(name)}" for name in names)
        for start in range(0, len(asked), _NAMED):
            part = one_of(asked[start : start + _NAMED])
            found = self._engine.rows(f"SELECT id{shown} FROM {self._table.shown} WHERE {part}")
            told.update((int(row[0]), row[1:]) for row in found)
        return {name: [told[number][place] for number in asked.tolist()] for place, name in enumerate(names)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write codes and ids, without metadata, as one index file; they pass through memory.

        Raises:
            FileError: The place cannot be written.
        """
        index, least = HammingIndex(self.bits), 0
        while True:
            ids, packed = self._engine.codes(self._table, f"WHERE id >= {least} ORDER BY id LIMIT {BLOCK}")
            if not len(ids):
                break
            index.add(Codes(packed, self.bits), ids)
            if ids[-1] == LARGEST_ID:
                break
            least = int(ids[-1]) + 1
        index.save(path)

    def _let_go(self) -> None:
        self._held.close()

    def _rows(self, allowed: ArrayLike | None, where: Where | None, parameters: Mapping[str, Any] | None) -> Condition:
        """What may answer."""
        self._open()
        return condition(where, parameters, ids_of(allowed, self), self._columns)

    def _note_model(self, folder: EncodedFolder) -> None:
        """Refuse codes of another model than the table's; an empty table that has none takes the folder's."""
        if self.model not in ("", folder.model):
            raise FormatError(
                str(folder.path), expected=f"codes of the model {self.model}, as the table holds", got=folder.model,
                remedy="Load them into another table.",
            )  # fmt: skip
        if not self.model and folder.model.isalnum() and not len(self) and not self._distributed():
            self._table = replace(self._table, model=folder.model)
            self._engine.run(f"ALTER TABLE {self._table.shown} MODIFY COMMENT '{self._table.comment}'")

    def _described(self) -> dict[str, str]:
        """Column -> type."""
        return {row[0]: row[1] for row in self._engine.rows(f"DESCRIBE TABLE {self._table.shown}")}

    def _known(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of these ids that are held."""
        if not len(ids):
            return ids
        span = f"id BETWEEN {ids.min()} AND {ids.max()}"
        if not self._engine.numbers(f"SELECT count() FROM {self._table.shown} WHERE {span}")[0][0]:
            return ids[:0]
        parts = [ids[start : start + _NAMED] for start in range(0, len(ids), _NAMED)]
        statements = (f"SELECT id FROM {self._table.shown} WHERE {one_of(part)} ORDER BY id" for part in parts)
        return np.concatenate([self._engine.numbers(statement)[0].astype(np.int64) for statement in statements])

    def _check_held(self, ids: NDArray[np.int64]) -> None:
        unknown = ids[~np.isin(ids, self._known(ids))]
        if len(unknown):
            raise InputError(
                "ids", expected="ids that are in the store", got=f"{first_ids(unknown)} unknown",
                remedy="Leave them out; `number in store` tells. Nothing was changed.",
            )  # fmt: skip

    def _check_same(self, codes: Codes, ids: NDArray[np.int64], held: NDArray[np.int64]) -> None:
        """Refuse rows that are held with other codes."""
        order = np.argsort(ids)
        for start in range(0, len(held), _NAMED):
            part = one_of(held[start : start + _NAMED])
            names, packed = self._engine.codes(self._table, f"WHERE {part}")
            ours = codes.packed[order[np.searchsorted(ids, names, sorter=order)]]
            other = names[(ours != packed).any(axis=1)]
            if len(other):
                raise InputError(
                    "ids", expected="rows that are new, or held with the same code", got=f"{first_ids(other)} differ",
                    remedy="Remove them first, or load into another table.",
                )  # fmt: skip

    def _next_id(self) -> int:
        """The number after the largest id ever held."""
        rows = f"SELECT max(id) AS n FROM {self._table.shown} HAVING count() > 0"
        removed = f"SELECT max(largest) AS n FROM {self._table.numbers} HAVING count() > 0"
        found = self._engine.numbers(f"SELECT n FROM ({rows} UNION ALL {removed})")[0]
        return int(found.max(initial=-1)) + 1

    def _changeable(self, statement: str) -> str:
        """The table's name in a statement that changes rows.

        Raises:
            StoreError: The table is distributed.
        """
        if self._distributed():
            raise StoreError(
                self.name, expected="a table whose rows can be changed", got="a distributed one",
                remedy=f"Change the shards: {statement}.",
            )  # fmt: skip
        return self._table.shown

    def _distributed(self) -> bool:
        engine = self._engine.rows(
            "SELECT engine FROM system.tables WHERE database = {d:String} AND name = {t:String}",
            {"d": self._table.database, "t": self._table.name},
        )
        return bool(engine) and engine[0][0] == "Distributed"

    def _widen(self, rows: Any) -> None:
        """Add the columns that rows have and the table lacks."""
        for field in rows.schema:
            if field.name not in self._columns:
                added = f"ADD COLUMN IF NOT EXISTS {quoted(field.name)} {sql_type(field)}"
                self._engine.run(f"ALTER TABLE {self._table.shown} {added}")
        self._columns = self._described()

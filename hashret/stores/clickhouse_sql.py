"""The SQL of :mod:`hashret.stores.clickhouse`: text and parameters, whichever way it travels to the engine.

What a user gives is never written into a statement as it is: names are quoted, values are bound by the engine, codes
and ids are hexadecimal digits and whole numbers by the time they get here. The one exception is a condition that a
caller writes as SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import InputError

__all__ = ["Condition", "Table", "Where", "condition", "quoted"]

Where = str | Mapping[str, Any]

_WRAPPERS = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)")


def quoted(name: str) -> str:
    r"""A name as an identifier.

    Example:
        >>> print(quoted("a`b"))
        `a\`b`
    """
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


@dataclass(frozen=True)
class Condition:
    """What rows have to be.

    Attributes:
        text: SQL of 0 or 1; "" lets all pass.
        parameters: Values that the engine binds to its ``{name:Type}``.
    """

    text: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def and_also(self, text: str) -> str:
        """``WHERE`` with this and another condition, either of which may be ""."""
        parts = [f"({part})" for part in (text, self.text) if part]
        return f" WHERE {' AND '.join(parts)}" if parts else ""


def condition(
    where: Where | None, parameters: Mapping[str, Any] | None, ids: NDArray[np.int64] | None, types: Mapping[str, str]
) -> Condition:
    """What rows have to be, from what a caller said.

    Args:
        where: Column -> value, or a list of which it has to be one; None is NULL; of a column of arrays a value has to
            be an element. Or an SQL expression with ``{name:Type}`` for values.
        parameters: Values of the expression.
        ids: Only these.
        types: Column -> type, of the table.

    Raises:
        InputError: A column that the table lacks, a value that is none, or parameters without an expression.

    Example:
        >>> condition({"year": [2024, 2025]}, None, None, {"year": "Nullable(Int64)"}).text
        '(`year` IN {where_0:Array(Int64)})'
    """
    texts: list[str] = []
    bound: dict[str, Any] = {}
    if parameters is not None and not isinstance(where, str):
        raise InputError(
            "parameters", expected="an SQL text in where, which uses them", got=type(where).__name__,
            remedy="Leave them out: a dict has its values in itself.",
        )  # fmt: skip
    if isinstance(where, str):
        if not where.strip():
            raise InputError("where", expected="an SQL expression", got="an empty text", remedy="Leave it out.")
        texts.append(f"({where}\n)")  # a comment at its end must not swallow the bracket
        bound.update(parameters or {})
    elif isinstance(where, Mapping):
        for number, (column, value) in enumerate(where.items()):
            text, mine = _equal(column, value, types, f"where_{number}")
            texts.append(f"({text})")
            bound.update(mine)
    elif where is not None:
        raise InputError(
            "where", expected="column -> value(s), or an SQL text", got=type(where).__name__,
            remedy='Write where={"year": 2025} or where="year > {y:Int64}", parameters={"y": 2020}.',
        )  # fmt: skip
    if ids is not None:
        texts.append(one_of(ids))
    return Condition(" AND ".join(texts), bound)


def _equal(column: str, value: Any, types: Mapping[str, str], name: str) -> tuple[str, dict[str, Any]]:
    """SQL and parameters of one column's condition."""
    if column not in types:
        raise InputError(
            "where", expected=f"columns among {', '.join(types)}", got=repr(column), remedy="Correct the column's name."
        )
    kind, is_list = types[column], isinstance(value, (list, tuple, set, frozenset, np.ndarray))
    while wrapped := _WRAPPERS.fullmatch(kind):
        kind = wrapped[1]
    values = [item.item() if isinstance(item, np.generic) else item for item in (value if is_list else [value])]
    known = [item for item in values if item is not None]
    wrong = [item for item in known if isinstance(item, (Mapping, list, tuple, set, bytes))]
    if wrong:
        raise InputError(
            f"where[{column!r}]", expected="a text, number, truth value or date, or a list of them",
            got=type(wrong[0]).__name__, remedy="Write the condition as SQL with parameters.",
        )  # fmt: skip
    array = re.fullmatch(r"Array\((.*)\)", kind)
    if array:
        return f"hasAny({quoted(column)}, {{{name}:{kind}}})", {name: known}
    texts = [] if values else ["0"]
    bound: dict[str, Any] = {}
    if known and is_list:
        texts, bound = [f"{quoted(column)} IN {{{name}:Array({kind})}}"], {name: known}
    elif known:
        texts, bound = [f"{quoted(column)} = {{{name}:{kind}}}"], {name: known[0]}
    if len(known) < len(values):
        texts.append(f"{quoted(column)} IS NULL")
    return " OR ".join(texts), bound


def one_of(ids: Iterable[int] | NDArray[np.int64]) -> str:
    """SQL of whether ``id`` is one of these."""
    text = ",".join(str(int(number)) for number in ids)
    return f"id IN ({text})" if text else "0"


@dataclass(frozen=True)
class Table:
    """A table of codes, and the statements on it.

    Attributes:
        database: Its database.
        name: Its name.
        bits: Width of a code.
        model: Fingerprint of the model whose codes they are, hexadecimal; "" if nobody noted it.
    """

    database: str
    name: str
    bits: int
    model: str = ""

    @property
    def width(self) -> int:
        """Bytes of a code."""
        return -(-self.bits // 8)

    @property
    def shown(self) -> str:
        """Its name in a statement."""
        return f"{quoted(self.database)}.{quoted(self.name)}"

    @property
    def numbers(self) -> str:
        """In a statement, the name of the table that remembers the largest id of removed codes."""
        return f"{quoted(self.database)}.{quoted(self.name + '_numbers')}"

    @property
    def comment(self) -> str:
        """What it says of its codes."""
        return f"hashret.codes/1 bits={self.bits}" + (f" model={self.model}" if self.model else "")

    def made(self) -> list[str]:
        """Statements that make it on a single server."""
        return [
            f"CREATE TABLE IF NOT EXISTS {self.shown} (id Int64, code FixedString({self.width})) "
            f"ENGINE = MergeTree ORDER BY id COMMENT '{self.comment}'",
            f"CREATE TABLE IF NOT EXISTS {self.numbers} (largest Int64) ENGINE = MergeTree ORDER BY largest",
        ]

    def code(self, row: NDArray[np.uint8]) -> str:
        """A packed code as a literal."""
        return f"toFixedString(unhex('{row.tobytes().hex()}'), {self.width})"

    def distance(self, row: NDArray[np.uint8]) -> str:
        """The Hamming distance of a packed code and ``code``."""
        return f"bitHammingDistance(code, {self.code(row)})"

    def nearest(self, queries: Codes, k: int, rows: Condition) -> str:
        """The k nearest of each query: columns hashret_query, hashret_distance, id, in this order.

        Each query is a top-k of its own, of which the engine keeps k rows while it reads; ``LIMIT k BY`` puts them
        together. One join of codes and queries under the same ``LIMIT k BY`` would sort all pairs first.
        """
        each = [
            f"(SELECT toUInt32({number}) AS hashret_query, {self.distance(row)} AS hashret_distance, id "
            f"FROM {self.shown}{rows.and_also('')} ORDER BY hashret_distance, id LIMIT {k})"
            for number, row in enumerate(queries.packed)
        ]
        return self._together(each, f" LIMIT {k} BY hashret_query")

    def within(self, queries: Codes, radius: int, rows: Condition) -> str:
        """All rows within a radius of each query; columns and order as of :meth:`nearest`."""
        each = [
            f"(SELECT toUInt32({number}) AS hashret_query, {self.distance(row)} AS hashret_distance, id "
            f"FROM {self.shown}{rows.and_also(f'{self.distance(row)} <= {radius}')})"
            for number, row in enumerate(queries.packed)
        ]
        return self._together(each, "")

    @staticmethod
    def _together(each: Sequence[str], limit: str) -> str:
        return (
            f"SELECT hashret_query, hashret_distance, id FROM ({' UNION ALL '.join(each)}) "
            f"ORDER BY hashret_query, hashret_distance, id{limit}"
        )

    def histogram(self, queries: Codes, rows: Condition) -> str:
        """Rows by distance: columns hashret_query, hashret_distance, rows."""
        return " UNION ALL ".join(
            f"(SELECT toUInt32({number}) AS hashret_query, {self.distance(row)} AS hashret_distance, count() AS rows "
            f"FROM {self.shown}{rows.and_also('')} GROUP BY hashret_distance)"
            for number, row in enumerate(queries.packed)
        )

    def replaced(self, ids: NDArray[np.int64], codes: Codes) -> str:
        """Give rows other codes, whatever else they hold."""
        names = ",".join(str(number) for number in ids.tolist())
        texts = ",".join(f"'{row.tobytes().hex()}'" for row in codes.packed)
        return (
            f"ALTER TABLE {self.shown} UPDATE code = toFixedString(unhex(transform(id, [{names}], [{texts}], '')), "
            f"{self.width}) WHERE {one_of(ids)} SETTINGS mutations_sync = 2"
        )

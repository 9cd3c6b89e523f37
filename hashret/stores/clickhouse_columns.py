"""Metadata as columns: what a caller gives becomes a pyarrow Table, and each of its fields a type of ClickHouse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hashret.errors import InputError

__all__ = ["columns_of", "sql_type"]


def columns_of(metadata: Any, count: int) -> Any:
    """Metadata of ``count`` rows as a pyarrow Table.

    Args:
        metadata: Column -> values, a pyarrow Table, or None for no columns.
        count: Rows it must have.

    Raises:
        InputError: Other metadata, another number of rows, values of mixed types, or a column called id or code.
    """
    import pyarrow as pa  # type: ignore[import-untyped]

    try:
        table = metadata if isinstance(metadata, pa.Table) else pa.table(dict(metadata or {}))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            "metadata", expected="column -> values, or a pyarrow Table", got=str(error).split("\n")[0],
            remedy="Give each column one list of values of one type.",
        ) from error  # fmt: skip
    if table.num_columns and table.num_rows != count:
        raise InputError(
            "metadata", expected=f"{count} rows, one a code", got=str(table.num_rows), remedy="Give a value a code."
        )
    names = table.column_names
    bad = [name for name in names if name in ("id", "code") or not name or names.count(name) > 1]
    if bad:
        raise InputError(
            "metadata", expected="columns other than id and code, each named once", got=repr(bad[0]),
            remedy="Rename it.",
        )  # fmt: skip
    return table


def sql_type(field: Any) -> str:
    """The type of ClickHouse for a field of a pyarrow schema; scalars may be NULL.

    Raises:
        InputError: There is none.

    Example:
        >>> import pyarrow as pa
        >>> sql_type(pa.field("year", pa.int16())), sql_type(pa.field("labels", pa.list_(pa.string())))
        ('Nullable(Int16)', 'Array(String)')
    """
    import pyarrow as pa

    if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
        return f"Array({_scalar(field.type.value_type, field.name)})"
    return f"Nullable({_scalar(field.type, field.name)})"


def _scalar(kind: Any, name: str) -> str:
    import pyarrow as pa

    named: Mapping[str, str] = {
        "bool": "Bool", "int8": "Int8", "int16": "Int16", "int32": "Int32", "int64": "Int64", "uint8": "UInt8",
        "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64", "float": "Float32", "double": "Float64",
        "string": "String", "large_string": "String", "binary": "String", "large_binary": "String",
        "date32[day]": "Date32", "null": "String",
    }  # fmt: skip
    if str(kind) in named:
        return named[str(kind)]
    if pa.types.is_timestamp(kind):
        digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[kind.unit]
        return f"DateTime64({digits}, '{kind.tz or 'UTC'}')"
    if pa.types.is_dictionary(kind):
        return _scalar(kind.value_type, name)
    raise InputError(
        f"metadata column {name}", expected="texts, numbers, truth values, dates, or lists of them", got=str(kind),
        remedy="Leave the column out, or write it as text.",
    )  # fmt: skip

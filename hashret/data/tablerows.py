"""Rows of the tables people keep their items in, one at a time: .jsonl, .json, .csv, .parquet and lines of text.

The readers of the ``datasets`` library stop at the first byte or line that is wrong, and a table of ten million rows
has one. Here a row that cannot be read is a row with a reason, and the next one is read. What a row means is not known
here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hashret.data.entry import Wanted, every

__all__ = ["TABLES", "TableRow", "column_types", "read_table"]

LONGEST_LINE = 1 << 26
_BATCH = 256


@dataclass(frozen=True)
class TableRow:
    """One row.

    Attributes:
        number: Counted from 1; of text files the number of the line.
        cells: Its values by column; text that is no UTF-8 has lone surrogates for the bytes that are wrong.
        reason: Why it could not be read; "" if it could.
    """

    number: int
    cells: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


def read_table(path: Path, wanted: Wanted = every, unread: Sequence[str] = ()) -> Iterator[TableRow]:
    """Walk through the rows of a table.

    Args:
        path: The table.
        wanted: Takes row numbers counted from 0; a .parquet leaves row groups out of which none is wanted.
        unread: Columns of {bytes, path} of which a .parquet reads the path alone.

    Raises:
        OSError: The file cannot be opened.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, wanted, unread)
    return TABLES[path.suffix.lower()](path, wanted)


def column_types(path: Path) -> dict[str, str]:
    """The columns a table declares, with their Arrow type where that is a plain one, "json" where it is not.

    Lines of JSON declare none: what is beyond the known ones is kept as one column of JSON.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        for row in _read_csv(path, every):
            return dict.fromkeys(row.cells, "string")
        return {}
    if suffix != ".parquet":
        return {}
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    def plain(kind: Any) -> str:
        if pa.types.is_boolean(kind):
            return "bool"
        if pa.types.is_integer(kind):
            return "int64"
        if pa.types.is_floating(kind):
            return "double"
        return "string" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else "json"

    return {each.name: plain(each.type) for each in pq.read_schema(path)}


def _read_lines(path: Path, wanted: Wanted) -> Iterator[TableRow]:
    for number, line in _lines(path):
        if line is None:
            yield TableRow(number, reason=_TOO_LONG)
        else:
            yield TableRow(number, {"text": line.decode("utf-8", "surrogateescape")})


def _read_jsonl(path: Path, wanted: Wanted) -> Iterator[TableRow]:
    number = 0
    for _, line in _lines(path):
        if line is not None and not line.strip():
            continue
        number += 1
        if line is None:
            yield TableRow(number, reason=_TOO_LONG)
        else:
            yield _json_row(number, line.decode("utf-8", "surrogateescape"))


def _read_json(path: Path, wanted: Wanted) -> Iterator[TableRow]:
    """An array of objects, which is read whole; or, as some tools write it, an object a line."""
    with path.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith(b"["):
        yield from _read_jsonl(path, wanted)
        return
    try:
        rows = json.loads(path.read_bytes().decode("utf-8-sig", "surrogateescape"))
    except ValueError as error:
        yield TableRow(1, reason=f"no JSON array ({error})")
        return
    for number, cells in enumerate(rows, 1):
        yield TableRow(number, cells) if isinstance(cells, dict) else TableRow(number, reason="no JSON object")


def _json_row(number: int, text: str) -> TableRow:
    try:
        cells = json.loads(text)
    except (ValueError, RecursionError) as error:
        return TableRow(number, reason=f"no JSON ({str(error).split(': line')[0]})")
    return TableRow(number, cells) if isinstance(cells, dict) else TableRow(number, reason="no JSON object")


def _read_csv(path: Path, wanted: Wanted) -> Iterator[TableRow]:
    limit = csv.field_size_limit(LONGEST_LINE)
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = csv.reader(file)
            try:
                names = next(rows, [])
            except csv.Error as error:
                yield TableRow(1, reason=f"no line of CSV ({error})")
                return
            number = 0
            while True:
                number += 1
                try:
                    values = next(rows, None)
                except csv.Error as error:
                    yield TableRow(number, reason=f"no line of CSV ({error})")
                    continue
                if values is None:
                    return
                if len(values) != len(names):
                    if values:
                        yield TableRow(number, reason=f"{len(values)} values in {len(names)} columns")
                    else:
                        number -= 1  # an empty line
                    continue
                yield TableRow(number, dict(zip(names, values, strict=True)))
    finally:
        csv.field_size_limit(limit)


def _read_parquet(path: Path, wanted: Wanted, unread: Sequence[str] = ()) -> Iterator[TableRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            names = [_read_as(pa, each, unread) for each in file.schema_arrow]
            for group in range(file.metadata.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if not wanted(number, number + size):
                    number += size
                    continue
                for batch in file.iter_batches(_BATCH, row_groups=[group], columns=names):
                    columns = [_cells(column) for column in batch.columns]
                    for values in zip(*columns, strict=True):
                        number += 1
                        yield TableRow(number, dict(zip(batch.schema.names, values, strict=True)))
    except (pa.ArrowException, OSError) as error:
        told = str(error).split("\n")[0]
        yield TableRow(number + 1, reason=f"a damaged .parquet, not read from here on ({told})")


def _read_as(pa: Any, field: Any, unread: Sequence[str]) -> str:
    """What is read of a column: all of it, or of an image that nobody asks for, its path."""
    pictures = pa.types.is_struct(field.type) and field.type.get_field_index("path") >= 0
    return f"{field.name}.path" if field.name in unread and pictures else str(field.name)


def _cells(column: Any) -> list[Any]:
    """The values of a column; text that is no UTF-8 with surrogates, which the check of texts finds."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        found = []
        for value in column:
            try:
                found.append(value.as_py())
            except UnicodeDecodeError:
                kept = value.as_buffer().to_pybytes() if hasattr(value, "as_buffer") else b"\xff"
                found.append(kept.decode("utf-8", "surrogateescape"))
        return found


_TOO_LONG = f"a line of more than {LONGEST_LINE} bytes"


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Number, counted from 1, and bytes of each line without its end; None for one that is too long to be held."""
    with path.open("rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield number, None
                continue
            yield number, line.removesuffix(b"\n").removesuffix(b"\r")


TABLES: dict[str, Callable[[Path, Wanted], Iterator[TableRow]]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_lines,
}

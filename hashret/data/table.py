"""Table: items in rows of .jsonl, .json, .csv, .parquet or .txt files, with images beside or inside them."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hashret.data.entry import Entry, Scalar, Side, Source, Wanted, digest_of_files, every
from hashret.data.tablerows import TableRow, column_types, read_table
from hashret.errors import FormatError

__all__ = ["Table", "extra_columns", "image_cell", "kept_value", "text_cells"]

IMAGES = ("file_name", "image", "image_path", "path", "jpg", "png", "webp")
TEXTS = ("text", "texts", "caption", "captions", "txt")
RESERVED = ("id", "key", "path", "caption")
_OPEN_ENDED = (".jsonl", ".json")  # tables that declare no columns


class Table(Source):
    """Rows of tables as entries.

    The image of a row is in ``file_name`` (relative to the table), ``image``, ``image_path`` or ``path``; a path, bytes
    of a file, Hugging Face's {bytes, path}, or a list of numbers. Its texts are in ``text``, ``texts``, ``caption`` or
    ``captions``. Keys: the column ``key`` or the file name, else the number of the row from 1; ``#i`` behind it for
    the texts of an image and for several texts of a row. Rows that name one file are one image; text i of an image is
    counted over all its rows.

    Args:
        name: What the source is called.
        side: What is wanted of the rows.
        files: The tables, all read by the same columns.
        root: The folder that keys are relative to.
        image_column: Where the image is, if not in one of these.
        text_column: The same of the text.

    Raises:
        FormatError: No row of any table has what is wanted.
    """

    def __init__(
        self,
        name: str,
        side: Side,
        files: Sequence[Path],
        root: Path,
        *,
        image_column: str | None = None,
        text_column: str | None = None,
    ) -> None:
        """Look for the first row that can be used."""
        self.name, self.side, self._files, self._root = name, side, tuple(files), root
        self._images = (image_column,) if image_column else IMAGES
        self._texts = (text_column,) if text_column else TEXTS
        types: dict[str, str] = {}
        for path in files:
            types |= column_types(path)
        self._extra = extra_columns(types, (*self._images, *self._texts))
        self._open_ended = any(path.suffix.lower() in _OPEN_ENDED for path in files)
        self.columns = dict(self._extra.values()) | ({"extra": "string"} if self._open_ended else {})
        self._whole_rows = side == "image" and "file_name" not in types and not self._by_path(types)
        self._check()

    def fingerprint(self) -> str:
        """Names, sizes and ends of the tables, and which columns are read."""
        return digest_of_files(self._files, self.side, self._images, self._texts)

    def entries(self, wanted: Wanted = every) -> Iterator[tuple[int, Entry]]:
        """See :meth:`Source.entries`."""
        position = 0
        counted: dict[str, int] = {}  # texts of each image so far
        for path in self._files:
            start = position

            def rows_wanted(first: int, last: int, start: int = start) -> bool:
                return not self._whole_rows or wanted(start + first, start + last)

            for row in read_table(path, rows_wanted, self._images if self.side == "text" else ()):
                if self._whole_rows:
                    position = start + row.number - 1
                for entry in self._entries_of(path, row, counted):
                    yield position, entry
                    position += 1

    def count(self) -> int | None:
        """Number of entries; of a .parquet that holds the images themselves, as its end says."""
        if not self._whole_rows or any(path.suffix.lower() != ".parquet" for path in self._files):
            return sum(1 for _ in self.entries())
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        return sum(int(pq.read_metadata(path).num_rows) for path in self._files)

    def _by_path(self, types: Mapping[str, str]) -> bool:
        """Whether images are named by strings."""
        first = next((types[name] for name in self._images if name in types), "string")
        return first == "string"

    def _check(self) -> None:
        first = None
        for entry in self:
            if not entry.reason:
                return
            first = first or entry
        where = f"{self._files[0]}, row 1" if first is not None else str(self._files[0])
        wanted = {"image": f"a {self._images[0]}", "text": f"a {self._texts[0]}"}
        expected = wanted.get(self.side, f"a {self._images[0]} and a {self._texts[0]}")
        if first is not None:
            raise FormatError(
                where, expected=expected, got=first.reason.removeprefix(f"no {self._images[0]}") or "none",
                remedy="No row has what is needed: mend the table, or name the columns with --image-column and "
                "--text-column.",
            )  # fmt: skip

    def _entries_of(self, path: Path, row: TableRow, counted: dict[str, int]) -> Iterator[Entry]:
        number = str(row.number) if len(self._files) == 1 else f"{path.name}:{row.number}"
        if row.reason:
            yield Entry(number, reason=row.reason)
            return
        cells = row.cells
        image, shown = image_cell(cells, self._images)
        name = ""
        if self.side == "text" and any(isinstance(cells.get(each), dict) for each in self._images):
            image, shown = None, image if isinstance(image, str) else shown  # it lies in the table, not in a file
        if isinstance(image, str) and image:
            name = posixpath.normpath(posixpath.join(path.parent.relative_to(self._root).as_posix(), image))
            image = shown = os.path.join(self._root, name)
        key = cells.get("key")
        key = key if isinstance(key, str) and key else name or shown or number
        texts = text_cells(cells, self._texts)
        columns = self._columns_of(cells)
        if self.side == "image":
            if name and name in counted:
                return
            counted[name] = 0
            caption = texts[0] if texts and isinstance(texts[0], str) else ""
            reason = "" if image is not None else f"no {self._images[0]}"
            yield Entry(key, image, None, shown, caption, columns, reason)
            return
        first = counted.get(name, 0) if name else 0
        if name:
            counted[name] = first + len(texts)
        for place, text in enumerate(texts, first):
            several = bool(name) or len(texts) > 1
            reason = "" if not isinstance(text, BadCell) else str(text)
            if self.side == "query" and image is None:
                reason = f"no {self._images[0]}"
            called = f"{key}#{place}" if several else key
            if reason:
                yield Entry(called, columns=columns, reason=reason)
                continue
            both = self.side == "query"
            said = text if isinstance(text, str) else ""
            yield Entry(called, image if both else None, text, shown if both else "", said, columns)

    def _columns_of(self, cells: Mapping[str, Any]) -> dict[str, Scalar]:
        found: dict[str, Scalar] = {
            kept: kept_value(cells.get(name), kind) for name, (kept, kind) in self._extra.items()
        }
        if self._open_ended:
            known = {*self._images, *self._texts, "key"}
            rest = {name: value for name, value in cells.items() if name not in known}
            found["extra"] = kept_value(rest, "json") if rest else None
        return found


class BadCell(str):
    """Why a cell is no text; stands where the text would."""


def image_cell(cells: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, str]:
    """The image of a row, a path, bytes or a vector, and the path it says it had; None where there is none."""
    for name in names:
        value = cells.get(name)
        if isinstance(value, dict):
            inside, path = value.get("bytes"), value.get("path")
            if inside is not None:
                return inside, path or ""
            value = path
        if isinstance(value, str) and not value:
            continue
        if isinstance(value, list):
            return _vector(value), ""
        if isinstance(value, str | bytes):
            return value, ""
    return None, ""


def text_cells(cells: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """The texts of a row: strings, or one vector; what is neither is a BadCell."""
    found: list[Any] = []
    for name in names:
        value = cells.get(name)
        if isinstance(value, list) and value and isinstance(value[0], int | float) and not isinstance(value[0], bool):
            found.append(_vector(value))
            continue
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                found.append(each if isinstance(each, str) else BadCell(f"a {type(each).__name__}, not a text"))
    return found


def extra_columns(types: Mapping[str, str], known: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Column -> what it is kept as and its kind, of those that are neither image nor text nor key."""
    return {
        name: (f"source_{name}" if name in RESERVED else name, kind)
        for name, kind in types.items()
        if name not in known and name != "key"
    }


def kept_value(value: Any, kind: str) -> Scalar:
    """A cell as its column keeps it; what does not fit a plain column, and everything in others, as JSON."""
    if value is None:
        return None
    if kind == "json" or (kind == "string" and not isinstance(value, str)):
        return json.dumps(value, ensure_ascii=True, default=str)
    kinds = {"int64": int, "double": (int, float), "bool": bool, "string": str}
    return value if isinstance(value, kinds[kind]) else None  # type: ignore[arg-type]


def _vector(values: list[Any]) -> Any:
    try:
        return np.asarray(values, np.float32)
    except (TypeError, ValueError):
        return np.full(1, np.nan, np.float32)  # a gap among the numbers, which is found as one

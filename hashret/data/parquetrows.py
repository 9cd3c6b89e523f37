"""Rows in a .parquet: one column of lists, one of numbers, or all columns of numbers side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.data.rowfile import RowFile, as_floats, damaged, pick_name
from hashret.errors import DataFileError

__all__ = ["ParquetRows", "open_parquet"]


@dataclass(frozen=True, eq=False)
class ParquetRows(RowFile):
    """Rows of a .parquet; a row group is decoded at a time.

    Attributes:
        columns: Names of the columns they are read from.
        lists: Whether that is one column of lists.
    """

    path: Path
    rows: int
    width: int
    flat: bool
    columns: tuple[str, ...]
    lists: bool

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        """All rows in order; see :class:`RowFile`.

        Raises:
            DataFileError: The file is damaged, a value is missing, or a list is longer or shorter than the first.
        """
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        first = 0
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(self.block_rows(rows, 4), columns=list(self.columns)):
                    yield self._matrix(batch, first)
                    first += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise damaged(self.path, str(error).split("\n")[0]) from error

    def _matrix(self, batch: Any, first: int) -> NDArray[Any]:
        """The numbers of a batch that begins with row ``first``."""
        for column in batch.columns:
            if column.null_count:
                row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
                raise self._refused("a value in every row", f"none in row {first + row}")
        if not self.lists:
            return as_floats(np.stack([column.to_numpy(zero_copy_only=False) for column in batch.columns], axis=1))
        column = batch.columns[0]
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        if (lengths != self.width).any():
            row = int(np.flatnonzero(lengths != self.width)[0])
            raise self._refused(f"{self.width} numbers in every row", f"{lengths[row]} in row {first + row}")
        values = column.flatten()
        if values.null_count:
            place = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
            raise self._refused("a number in every place", f"none in row {first + place // self.width}")
        return as_floats(values.to_numpy(zero_copy_only=False).reshape(len(lengths), self.width))

    def _refused(self, expected: str, got: str) -> DataFileError:
        return DataFileError(
            str(self.path), expected=expected, got=got, remedy="Write that row again, or leave it out."
        )


def open_parquet(path: Path, name: str) -> RowFile:
    """Open the rows of a .parquet: of its only column of lists, or else of all its columns of numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        lists, numbers = [], []
        for field in schema:
            kind = field.type
            listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
            if listed and _is_number(pa, kind.value_type):
                lists.append(field.name)
            elif _is_number(pa, kind):
                numbers.append(field.name)
        if name in numbers or (not name and not lists and len(numbers) == 1):
            return ParquetRows(path, rows, 1, True, (name or numbers[0],), False)
        if not name and not lists and numbers:
            return ParquetRows(path, rows, len(numbers), False, tuple(numbers), False)
        chosen = pick_name(path, name, lists)
        width = 0
        for batch in file.iter_batches(1, columns=[chosen]):
            width = len(batch.columns[0][0].values or ()) if batch.columns[0].is_valid()[0].as_py() else 0
            break
    return ParquetRows(path, rows, width, False, (chosen,), True)


def _is_number(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))

"""Folders that ``hashret encode`` wrote, block by block: codes beside their rows of metadata.

A folder holds ``codes/00000.npy`` (uint8 (n, ceil(bits / 8))), ``metadata/00000.parquet`` (a row a code) and
``stats/00000.json``, written last; a shard without the last is not done and is not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import FileError, FormatError

__all__ = ["encoded_blocks"]

_ID_COLUMNS = ("id", "ids")

Block = tuple[NDArray[np.uint8], NDArray[np.int64], Any]


def encoded_blocks(folder: str | os.PathLike[str], rows: int = 1 << 20) -> Iterator[Block]:
    """Read a folder.

    Args:
        folder: As above.
        rows: Rows of a block at most.

    Yields:
        Packed codes uint8 (n, bytes), ids int64 (n,) and the other columns as a pyarrow Table of n rows. Ids come from
        the column ``id``; without one, rows are numbered through the shards.

    Raises:
        FileError: There are no codes, or a shard lacks its metadata or its done-marker.
        FormatError: A file is damaged, or codes and metadata are not equally many.
    """
    folder = Path(folder)
    shards = sorted((folder / "codes").glob("*.npy"))
    if not shards:
        raise FileError(
            str(folder), expected="codes/*.npy as hashret encode writes them", got="none",
            remedy="Name the folder that was given to --out.",
        )  # fmt: skip
    _check_done(folder, shards)
    first = 0
    for shard in shards:
        table = folder / "metadata" / f"{shard.stem}.parquet"
        for packed, columns in _rows(shard, table, rows):
            named = [name for name in _ID_COLUMNS if name in columns.column_names]
            ids = np.arange(first, first + len(packed))
            if named:
                ids = columns.column(named[0]).to_numpy()
                columns = columns.drop_columns([named[0]])
            yield packed, ids, columns
            first += len(packed)


def _check_done(folder: Path, shards: list[Path]) -> None:
    for shard in shards:
        for missing in (folder / "metadata" / f"{shard.stem}.parquet", folder / "stats" / f"{shard.stem}.json"):
            if not missing.exists():
                raise FileError(
                    str(missing), expected="the files of a shard that is done", got="nothing there",
                    remedy="Run the same hashret encode again: it goes on where it stopped.",
                )  # fmt: skip


def _rows(shard: Path, table: Path, rows: int) -> Iterator[tuple[NDArray[np.uint8], Any]]:
    """Blocks of one shard."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        codes: NDArray[Any] = np.load(shard, mmap_mode="r", allow_pickle=False)
        with pq.ParquetFile(table) as file:
            count = file.metadata.num_rows
            if codes.dtype != np.uint8 or codes.ndim != 2 or len(codes) != count:
                raise FormatError(
                    str(shard), expected=f"uint8 ({count}, bytes), a code a row of metadata",
                    got=f"{codes.dtype} {codes.shape}", remedy="Encode this shard again.",
                )  # fmt: skip
            at = 0
            for batch in file.iter_batches(rows):
                yield np.ascontiguousarray(codes[at : at + batch.num_rows]), pa.Table.from_batches([batch])
                at += batch.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            str(shard), expected="a shard of codes and metadata", got=str(error).split("\n")[0],
            remedy="Encode this shard again.",
        ) from error  # fmt: skip

"""The metadata file of a Hugging Face imagefolder: ``metadata.jsonl``, ``metadata.csv`` or ``metadata.parquet``.

One row an image: ``file_name`` (relative to the metadata file), ``text`` or ``texts`` (a list), and, if there are any,
``labels`` (a list of strings or integers). The file lies at the top, or one in each split folder.

Tables are read by the readers of the ``datasets`` library, not by its imagefolder builder, which is unfit (datasets
5.2): an image named ``test_b.jpg`` makes it take "test" for a split and lose the other images and all texts; a metadata
file above split folders is ignored; labels that are strings in one row and integers in another are an ArrowInvalid; and
``load_dataset`` sends a request over the network. Each reading has a cache of its own that is deleted: an edited file
is never answered from an old cache, and nothing is written into the folder. One trait of the reader remains: a column
in which every text is a date arrives as dates; it is refused, since what was written cannot be told.
"""

from __future__ import annotations

import csv
import datetime
import os
import posixpath
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashret.errors import FileError, FormatError

__all__ = ["SPLITS", "TABLES", "Row", "cells_of", "find_metadata", "has_metadata", "merge", "read_rows", "read_table"]

TABLES = (".jsonl", ".csv", ".parquet")
METADATA = tuple(f"metadata{suffix}" for suffix in TABLES)
SPLITS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of a metadata file: file name ("" if it names none), texts, labels."""

    file_name: str
    texts: tuple[str, ...]
    labels: tuple[str | int, ...] = ()


def has_metadata(root: str | os.PathLike[str]) -> bool:
    """Whether a folder is an imagefolder with metadata."""
    return any(_tables(Path(root)))


def find_metadata(root: str | os.PathLike[str]) -> list[Path]:
    """Find the metadata files of an imagefolder: at its top and in its split folders, one a folder.

    Raises:
        FileError: There is none, or a folder has two.
    """
    root = Path(root)
    there = _tables(root)
    found = [path for paths in there for path in paths]
    if not found or max(map(len, there)) > 1:
        got = "no such folder" if not root.is_dir() else "no metadata file" if not found else "more than one"
        raise FileError(
            str(root), expected=f"a folder with images and one of {', '.join(METADATA)}", got=got,
            remedy='Write one line an image: {"file_name": "images/a.jpg", "texts": ["what it shows"], "labels": []}.',
        )  # fmt: skip
    return found


def merge(root: Path, rows: Sequence[tuple[Path, Row]]) -> list[Row]:
    """Join the rows of one image, in order of first appearance; file names become relative to ``root``.

    Args:
        root: The folder.
        rows: Rows, each with the metadata file it is from.

    Raises:
        FormatError: A row names no file.
    """
    joined: dict[str, Row] = {}
    for number, (path, row) in enumerate(rows, 1):
        if not row.file_name:
            raise FormatError(
                f"{path}, row {number}", expected="a file_name", got="none",
                remedy="Name the image of each row, relative to the metadata file.",
            )  # fmt: skip
        name = posixpath.normpath(posixpath.join(path.parent.relative_to(root).as_posix(), row.file_name))
        old = joined.get(name, Row(name, ()))
        labels = tuple(dict.fromkeys((*old.labels, *row.labels)))
        joined[name] = Row(name, (*old.texts, *row.texts), labels)
    return list(joined.values())


def _tables(root: Path) -> list[list[Path]]:
    """The metadata files of the top folder and of each split folder."""
    try:
        names = os.listdir(root)
    except OSError:  # no folder, or one that cannot be listed: whoever walks it says so
        names = []
    folders = [root, *sorted(root / name for name in names if name.lower() in SPLITS and (root / name).is_dir())]
    return [[folder / name for name in METADATA if (folder / name).is_file()] for folder in folders]


def read_rows(path: Path) -> list[Row]:
    """Read a .jsonl, .csv or .parquet table of texts; empty texts are kept.

    Raises:
        FileError: There is no such file.
        FormatError: It cannot be read, has no row, or a cell is of another type; names the row, counted from 1.
    """
    rows = read_table(path, ("file_name", "text", "texts", "labels"))
    return [_row(path, number, row) for number, row in enumerate(rows, 1)]


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Read some columns of a .jsonl, .csv or .parquet table, as they stand there; those it lacks are left out.

    Raises:
        FileError: There is no such file.
        FormatError: It cannot be read, or has no row.
    """
    if not path.is_file():
        raise FileError(str(path), expected="a file", got="none", remedy="Check the path.")
    try:
        return _read_table(path, columns)
    except Exception as error:  # each reader raises what its parser raises
        reason = str(error.__cause__ or error).split("\n")[0]
        raise FormatError(
            str(path), expected=f"a {path.suffix} table", got=reason, remedy="Mend that row; rows here count from 0."
        ) from error


def _read_table(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    import datasets

    with tempfile.TemporaryDirectory() as cache, _quiet():
        if path.suffix == ".parquet":
            table = datasets.Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True)
        elif path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                named = next(csv.reader(file))
            features = datasets.Features({name: datasets.Value("string") for name in named})  # "007" is a text
            table = datasets.Dataset.from_csv(
                str(path), cache_dir=cache, keep_in_memory=True, features=features, keep_default_na=False
            )
        else:
            table = datasets.Dataset.from_json(str(path), cache_dir=cache, keep_in_memory=True)
        wanted = [name for name in columns if name in table.column_names]
        rows: list[dict[str, Any]] = table.select_columns(wanted).to_list()
        return rows


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's progress bars and log for a while."""
    import datasets

    bars, verbosity = not datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if bars:
            datasets.enable_progress_bars()


def cells_of(path: Path, number: int, row: dict[str, Any], column: str, kinds: tuple[type, ...] = (str,)) -> list[Any]:
    """What a row holds in a column, which may be a list, one value or nothing.

    Args:
        path: Of the table, for errors.
        number: Of the row, from 1.
        row: Column -> cell.
        column: Its name.
        kinds: What a value may be.

    Raises:
        FormatError: A value is of another kind.
    """
    value = row.get(column)
    values = value if isinstance(value, list) else [value]
    values = [each for each in values if each is not None]
    for each in values:
        if not isinstance(each, kinds) or isinstance(each, bool):
            remedy = "Write it in quotes."
            if isinstance(each, (datetime.date, datetime.time)):
                remedy = "A column of dates alone is read as dates: add a word to one of them."
            raise FormatError(
                f"{path}, {column!r} of row {number}", expected="a string" + " or an integer" * (int in kinds),
                got=f"{type(each).__name__} {str(each)[:40]}", remedy=remedy,
            )  # fmt: skip
    return values


def _row(path: Path, number: int, cells: dict[str, Any]) -> Row:
    names = cells_of(path, number, cells, "file_name")
    texts = [*cells_of(path, number, cells, "text"), *cells_of(path, number, cells, "texts")]
    labels = [label for label in cells_of(path, number, cells, "labels", (str, int)) if label != ""]
    return Row(names[0] if names else "", tuple(texts), tuple(labels))

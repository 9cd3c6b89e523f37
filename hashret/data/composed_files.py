"""composed_files: annotation files read with every key checked, pictures found by name, and what a survey collects.

The composed sets (FashionIQ, Shoes, CIRR) come as JSON lists of objects beside folders of pictures. A file that is cut
short, is a web page or a Git LFS pointer, or lacks a key is refused here with the place to get it from; nothing is
guessed and nothing is decoded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hashret.data.card import Card
from hashret.data.survey import Count, Survey
from hashret.errors import DataError
from hashret.examples import ImageSource

__all__ = ["Inventory", "check_count", "find_pictures", "read_json", "read_lines", "read_rows", "read_strings"]

PICTURES = (".png", ".jpg", ".jpeg")
_KINDS = {str: "a string", int: "a whole number", list: "a list of strings", dict: "an object"}
Found = TypeVar("Found")


def read_json(card: Card, path: Path, what: str) -> Any:
    """Read a JSON file.

    Args:
        card: Of the dataset, for errors.
        path: The file.
        what: What it holds, for errors.

    Raises:
        DataFileError: It is not there, cannot be read or is no JSON.
    """
    content = _read(card, path, what)
    try:
        return json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise card.damaged(path, what, f"no JSON ({error})") from error


def read_rows(card: Card, path: Path, what: str, fields: Mapping[str, type]) -> list[dict[str, Any]]:
    """Read a JSON list of objects, each with these keys.

    Args:
        card: Of the dataset, for errors.
        path: The file.
        what: What it holds, for errors.
        fields: Key -> ``str``, ``int``, ``list`` (of strings) or ``dict``; other keys are left as they are.

    Raises:
        DataFileError: As :func:`read_json`, or it is no such list; names the first wrong entry and its key.
    """
    rows = read_json(card, path, what)
    if not isinstance(rows, list) or not rows:
        raise card.damaged(path, f"{what}, a list", f"{type(rows).__name__} {str(rows)[:40]!r}")
    for number, row in enumerate(rows):
        for key, kind in fields.items():
            value = row.get(key) if isinstance(row, dict) else None
            if not _is(value, kind):
                got = "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
                raise card.damaged(path, f"{_KINDS[kind]} as key {key!r} of entry {number}", got)
    return rows


def read_strings(card: Card, path: Path, what: str) -> list[str]:
    """Read a JSON list of distinct strings.

    Raises:
        DataFileError: As :func:`read_json`, or it is no such list.
    """
    names = read_json(card, path, what)
    if not _is(names, list) or not names:
        raise card.damaged(path, f"{what}, a list of strings", f"{type(names).__name__} {str(names)[:40]!r}")
    return _distinct(card, path, names)


def read_lines(card: Card, path: Path, what: str) -> list[str]:
    """Read a text file of distinct names, one a line; empty lines do not count.

    Raises:
        DataFileError: It is not there, is no text, is empty, or names something twice.
    """
    try:
        lines = _read(card, path, what).decode().splitlines()
    except UnicodeDecodeError as error:
        raise card.damaged(path, what, "no text") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise card.damaged(path, what, "an empty file")
    return _distinct(card, path, names)


def check_count(card: Card, what: str, found: int, official: int, partial: bool) -> None:
    """Refuse another number than the official one, unless a part of the set is what is wanted.

    Raises:
        DataError: It is another.
    """
    if found != official and not partial:
        raise DataError(
            f"{card.title}, {what}", expected=f"{official:,}", got=f"{found:,}",
            remedy="The files are incomplete or of another version; data.partial=true takes them as they are.",
        )  # fmt: skip


def find_pictures(folders: Iterable[Path]) -> dict[str, Path]:
    """Find the pictures in some folders and all folders within; of two with one name the first found counts.

    Linked folders are walked too, each once; hidden folders and files are not looked at.

    Returns:
        File name -> path, in the same order on every machine.
    """
    found: dict[str, Path] = {}
    for top in folders:
        seen = set[str]()
        for folder, within, names in os.walk(top, followlinks=True):
            place = os.path.realpath(folder)
            within[:] = sorted(name for name in within if not name.startswith(".") and place not in seen)
            if place in seen:  # a link back to where the walk has been
                continue
            seen.add(place)
            for name in sorted(names):
                if name.lower().endswith(PICTURES) and not name.startswith("."):
                    found.setdefault(name, Path(folder, name))
    return found


class Inventory:
    """What a survey has found so far.

    Args:
        root: The folder that is surveyed.
    """

    def __init__(self, root: Path) -> None:
        """Start with nothing."""
        self.root = root
        self.present: list[str] = []
        self.missing: list[str] = []
        self.damaged: list[str] = []
        self.counts: list[Count] = []

    def read(self, path: Path, what: str, read: Callable[[Path], Found], *, needed: bool = True) -> Found | None:
        """Read a file and note whether it is there and whole.

        Args:
            path: The file.
            what: What it is for.
            read: Reads it; may raise a DataError.
            needed: Whether the set is incomplete without it.

        Returns:
            What was read; None where that failed.
        """
        name = path.relative_to(self.root).as_posix()
        if not path.is_file():
            if needed:
                self.missing.append(f"{name}: {what}")
            return None
        try:
            found = read(path)
        except DataError as error:
            self.damaged.append(str(error))
            return None
        self.present.append(name)
        return found

    def count(self, what: str, found: int, official: int | None) -> None:
        """Note a number."""
        self.counts.append(Count(what, found, official))

    def survey(self, images: Mapping[str, ImageSource], splits: Mapping[str, Sequence[str]]) -> Survey:
        """All of it as a survey."""
        return Survey(tuple(self.present), tuple(self.missing), tuple(self.damaged), tuple(self.counts), images, splits)


def _read(card: Card, path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise card.missing(path, what) from error
    except OSError as error:
        raise card.damaged(path, what, error.strerror or str(error)) from error


def _distinct(card: Card, path: Path, names: list[str]) -> list[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise card.damaged(path, "every image once", f"{name} twice")
        seen.add(name)
    return names


def _is(value: object, kind: type) -> bool:
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return not isinstance(value, list) or all(isinstance(each, str) for each in value)

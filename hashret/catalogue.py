"""Catalogue: what a person calls the items of an index file, as JSON lines beside it. It ranks nothing."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hashret.arrayfile import replace_file
from hashret.errors import FileError, FormatError

__all__ = ["Catalogue", "Item", "catalogue_path", "read_catalogue", "write_catalogue"]


@dataclass(frozen=True, slots=True)
class Item:
    """One row.

    Attributes:
        key: File name, caption id or row number; unique within its source.
        path: Where its image lies, as given, or "".
        text: Its text, or "".
        columns: What else its source says of it, by name: anything JSON holds, such as a list of ``labels``.
    """

    key: str
    path: str = ""
    text: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """What there is to say, as JSON holds it; empty parts are left out."""
        return {name: value for name, value in asdict(self).items() if value}


def catalogue_path(path: str | os.PathLike[str]) -> Path:
    """The catalogue that belongs to an index file.

    Example:
        >>> catalogue_path("photos.index").name
        'photos.index.items.jsonl'
    """
    return Path(f"{os.fspath(path)}.items.jsonl")


@dataclass(frozen=True)
class Catalogue:
    """The items of an index file, and the model that made their codes.

    Attributes:
        items: In the order of their ids.
        model: Fingerprint of the model; codes of two models cannot be compared even where their widths agree.
        side: What was encoded, "image", "text" or "query"; "" where an older version did not note it.
    """

    items: tuple[Item, ...]
    model: str
    side: str = ""


def write_catalogue(path: str | os.PathLike[str], items: Iterable[Item], *, model: str, side: str = "") -> None:
    """Write the catalogue of the index file ``path``: the model and the side, then one JSON object an item; atomically.

    Items are written as they come, in the order of the index's ids, and not held.

    Raises:
        FileError: The place cannot be written.
    """
    rows = (item.plain() for item in items)
    head = {"model": model, "side": side}
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in itertools.chain([head], rows))
    replace_file(catalogue_path(path), (line.encode("utf-8", "surrogateescape") for line in lines))


def read_catalogue(path: str | os.PathLike[str], rows: int) -> Catalogue:
    """Read the catalogue of the index file ``path``, which holds ``rows`` codes.

    Raises:
        FileError: There is no catalogue beside it.
        FormatError: It has another number of rows, or a line that is no item.
    """
    place = catalogue_path(path)
    try:
        lines = place.read_bytes().decode("utf-8", "surrogateescape").split("\n")  # splitlines() also splits texts
        head, *found = [json.loads(line) for line in lines if line]
        catalogue = Catalogue(tuple(Item(**row) for row in found), head["model"], head.get("side", ""))
    except OSError as error:
        raise FileError(
            str(place),
            expected="the catalogue that hashret index wrote beside the index",
            got=error.strerror or str(error),
            remedy="Move the two files together, or index again.",
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            str(place), expected="a model and one item a line as JSON", got=str(error), remedy="Encode and index again."
        ) from error
    if len(catalogue.items) != rows:
        raise FormatError(
            str(place),
            expected=f"{rows} items for {rows} codes",
            got=str(len(catalogue.items)),
            remedy="Encode and index again.",
        )
    return catalogue

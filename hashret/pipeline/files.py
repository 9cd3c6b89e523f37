"""One's own data: a source of images or texts -> codes file -> index file -> answers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hashret.arrayfile import replace_file
from hashret.catalogue import Item, read_catalogue, write_catalogue
from hashret.codes import Codes
from hashret.data.source import open_source
from hashret.errors import DataError, FormatError, InputError
from hashret.examples import Example
from hashret.pipeline.train import Say, device_named
from hashret.retriever import Retriever
from hashret.search import HammingIndex, Hits

__all__ = ["Found", "encode", "index", "search"]

ENCODE_CHUNK = 512


def encode(
    run: str | os.PathLike[str],
    source: str | os.PathLike[str],
    side: Literal["image", "text"],
    out: str | os.PathLike[str],
    *,
    say: Say,
) -> tuple[int, list[dict[str, str]]]:
    """Encode a folder or file of images or texts into a codes file and its catalogue.

    Args:
        run: Run or model folder.
        source: What :func:`hashret.data.source.open_source` reads.
        side: ``image`` or ``text``.
        out: The codes file; ``out.items.jsonl`` holds the rows' names, ``out.rejected.jsonl`` what could not be
            encoded.
        say: Told about progress.

    Returns:
        Number of codes, and the rejected items with their reasons.

    Raises:
        FileError: The source or the run is not there.
        DataError: Not one item could be encoded.
    """
    retriever = Retriever.from_pretrained(run, device=device_named("auto"))
    parts: list[Codes] = []
    items: list[Item] = []
    rejected: list[dict[str, str]] = []
    chunk: list[Example] = []

    def flush() -> None:
        good = _encode_chunk(retriever, chunk, parts, rejected)
        items.extend(_item(example) for example in good)
        say(f"{len(items)} encoded, {len(rejected)} rejected")
        chunk.clear()

    for example in open_source(source, side):
        chunk.append(example)
        if len(chunk) == ENCODE_CHUNK:
            flush()
    if chunk:
        flush()
    _write_rejected(Path(f"{os.fspath(out)}.rejected.jsonl"), rejected)
    if not parts:
        reason = rejected[0]["reason"] if rejected else "the source is empty"
        raise DataError(
            str(source), expected=f"{side}s to encode", got=f"none: {reason}", remedy="Check source and --side."
        )
    Codes.concatenate(parts).save(out)
    write_catalogue(out, items, model=retriever.fingerprint())
    return len(items), rejected


def _encode_chunk(
    retriever: Retriever, chunk: Sequence[Example], parts: list[Codes], rejected: list[dict[str, str]]
) -> list[Example]:
    """Encode a chunk; if an item of it is bad, each by itself. Returns those that were encoded."""
    try:
        parts.append(retriever.encode(chunk, batch_size=64))
        return list(chunk)
    except InputError:
        good = []
        for example in chunk:
            try:
                parts.append(retriever.encode([example]))
                good.append(example)
            except InputError as error:
                rejected.append({"key": example.key, "reason": str(error)})
        return good


def _write_rejected(path: Path, rejected: Sequence[dict[str, str]]) -> None:
    """List what was rejected; with nothing rejected an older list is taken away."""
    if rejected:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rejected)
        replace_file(path, lines.encode("utf-8", "surrogateescape"))
    else:
        path.unlink(missing_ok=True)


def _item(example: Example) -> Item:
    path = os.fspath(example.image) if isinstance(example.image, (str, os.PathLike)) else ""
    return Item(example.key, path, example.text if isinstance(example.text, str) else "")


def index(codes: str | os.PathLike[str], out: str | os.PathLike[str], *, tables: bool = False) -> int:
    """Build an index file, with its catalogue and, if asked, multi-index tables; returns its number of codes."""
    loaded = Codes.load(codes)
    catalogue = read_catalogue(codes, len(loaded))
    built = HammingIndex(loaded.bits)
    built.add(loaded)
    if tables:
        built.build_tables()
    built.save(out)
    write_catalogue(out, catalogue.items, model=catalogue.model)
    return len(built)


@dataclass(frozen=True)
class Found:
    """One answer: its distance and the item."""

    distance: int
    item: Item


def search(
    index_path: str | os.PathLike[str],
    run: str | os.PathLike[str],
    queries: Sequence[Example],
    k: int,
    *,
    without_reference: bool = False,
    say: Say = lambda line: None,
) -> list[list[Found]]:
    """Search an index file with raw queries.

    Args:
        index_path: What :func:`index` wrote.
        run: Run or model folder the codes were made with.
        queries: Examples that hold an image, a text, or both: a composed query.
        k: Answers a query.
        without_reference: Whether a query's own image is left out of its answers, as CIRR and Shoes do; it is found in
            the catalogue by its path. FashionIQ leaves it in.
        say: Told where an image to leave out is not in the index.

    Returns:
        For each query its answers by (distance, id); fewer than k where the index holds fewer.

    Raises:
        FormatError: The index holds codes of another model.
        InputError: A composed query, and a method that knows none.
    """
    opened = HammingIndex.load(index_path, mmap=True)
    catalogue = read_catalogue(index_path, len(opened))
    retriever = Retriever.from_pretrained(run)
    if catalogue.model != retriever.fingerprint():
        raise FormatError(
            str(index_path),
            expected=f"codes of the model in {run}",
            got="codes of another model",
            remedy="Search with the run they were encoded with, or encode and index again with this one.",
        )
    own = [_rows_of(query, catalogue.items, say) if without_reference else set[int]() for query in queries]
    most = k + max(map(len, own), default=0)
    hits: Hits = opened.search(Codes.concatenate([retriever.encode([query]) for query in queries]), most)
    found = []
    for left_out, distances, ids in zip(own, hits.distances, hits.ids, strict=True):
        answers = [(d, item) for d, item in zip(distances, ids, strict=True) if item >= 0 and int(item) not in left_out]
        found.append([Found(int(distance), catalogue.items[item]) for distance, item in answers[:k]])
    return found


def _rows_of(query: Example, items: Sequence[Item], say: Say) -> set[int]:
    """The rows of an index that are the image of a query."""
    if not isinstance(query.image, (str, os.PathLike)):
        return set()
    real = os.path.realpath(query.image)
    names = {os.path.basename(query.image), os.path.basename(real)}
    rows = {
        row for row, item in enumerate(items)
        if os.path.basename(item.path) in names and os.path.realpath(item.path) == real
    }  # fmt: skip
    if not rows:
        say(f"{query.image} is not in the index under this path: nothing to leave out")
    return rows

"""One's own data: an encoded folder -> index file -> answers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hashret.catalogue import Item, read_catalogue, write_catalogue
from hashret.codes import Codes
from hashret.encoded import EncodedFolder
from hashret.errors import FormatError
from hashret.examples import Example
from hashret.pipeline.train import Say
from hashret.retriever import Retriever
from hashret.search import EmbeddingStore, HammingIndex, Hits

__all__ = ["Found", "index", "search"]


def index(codes: str | os.PathLike[str], out: str | os.PathLike[str], *, tables: bool = False) -> int:
    """Build an index file of an encoded folder, a shard at a time, with its catalogue.

    Ids are the items' positions in their source; what else it says of them goes into the catalogue. Where the folder
    holds embeddings, they are joined into one :class:`EmbeddingStore` beside the index, ``OUT.embeddings``, under the
    same ids.

    Args:
        codes: What ``hashret encode`` wrote.
        out: The index file.
        tables: Also build multi-index tables.

    Returns:
        Number of codes.

    Raises:
        FileError: The folder is not there or not finished, or the place cannot be written.
        FormatError: A file of it was changed.
    """
    folder = EncodedFolder.open(codes)
    built, kinds = HammingIndex(folder.bits), folder.manifest["columns"]

    def items() -> Iterator[Item]:
        for shard in folder.shards():
            built.add(shard.codes, shard.ids)
            named = (shard.column(name) for name in ("key", "path", "caption"))
            for key, path, text, columns in zip(*named, shard.columns(kinds), strict=True):
                yield Item(key, path, text, columns)

    write_catalogue(out, items(), model=folder.model, side=folder.manifest["side"])
    if tables:
        built.build_tables()
    built.save(out)
    if folder.has_embeddings and len(built):
        EmbeddingStore.join(f"{os.fspath(out)}.embeddings", folder.parts("embeddings"))
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
    rows, found = np.searchsorted(opened.ids, hits.ids), []
    for left_out, distances, ids, places in zip(own, hits.distances, hits.ids, rows, strict=True):
        answers = [
            Found(int(distance), catalogue.items[row])
            for distance, item, row in zip(distances, ids, places, strict=True)
            if item >= 0 and int(row) not in left_out
        ]
        found.append(answers[:k])
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

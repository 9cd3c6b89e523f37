"""One's own data: an encoded folder -> index file or store -> answers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hashret.catalogue import Item, write_catalogue
from hashret.codes import Codes
from hashret.encoded import EncodedFolder
from hashret.errors import FormatError, InputError
from hashret.examples import Example
from hashret.pipeline.named_store import NamedStore, fill_store, items_of, open_named
from hashret.pipeline.train import Say
from hashret.retriever import Retriever
from hashret.search import EmbeddingStore, HammingIndex
from hashret.stores import engine_of

__all__ = ["Found", "index", "search"]


def index(codes: str | os.PathLike[str], out: str | os.PathLike[str], *, tables: bool = False) -> int:
    """Build an index file of an encoded folder, a shard at a time, with its catalogue; or fill a store.

    Ids are the items' positions in their source; what else it says of them goes into the catalogue. Where the folder
    holds embeddings, they are joined into one :class:`EmbeddingStore` beside the index, ``OUT.embeddings``, under the
    same ids.

    Args:
        codes: What ``hashret encode`` wrote.
        out: The index file, or the address of a store as :func:`hashret.open_store` takes it: ``chdb:PATH``,
            ``clickhouse://...``, ``ray:///FOLDER?shards=4``. ClickHouse's tables take all metadata, and none of the
            embeddings.
        tables: Also build multi-index tables, of an index file.

    Returns:
        Number of codes; of those that are new in ClickHouse's table.

    Raises:
        InputError: Tables for a store.
        StoreError: The engine is not installed or cannot be reached.
        FileError: The folder is not there or not finished, or the place cannot be written.
        FormatError: A file of it was changed.
    """
    folder = EncodedFolder.open(codes)
    if engine_of(out) != "file":
        if tables:
            raise InputError("tables", expected="an index file", got=os.fspath(out), remedy="Leave --tables out.")
        return fill_store(folder, os.fspath(out))
    built, kinds = HammingIndex(folder.bits), folder.manifest["columns"]

    def items() -> Iterator[Item]:
        for shard in folder.shards():
            built.add(shard.codes, shard.ids)
            yield from items_of(shard, kinds)

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
    index: str | os.PathLike[str],
    run: str | os.PathLike[str],
    queries: Sequence[Example],
    k: int,
    *,
    without_reference: bool = False,
    where: str | None = None,
    say: Say = lambda line: None,
) -> list[list[Found]]:
    """Search an index file or a store with raw queries.

    Args:
        index: What :func:`index` wrote: a path, or the address of a store.
        run: Run or model folder the codes were made with.
        queries: Examples that hold an image, a text, or both: a composed query.
        k: Answers a query.
        without_reference: Whether a query's own image is left out of its answers, as CIRR and Shoes do; it is found in
            the index by its path. FashionIQ leaves it in.
        where: Only items of which this SQL is true, such as ``"year > 2020"``; of a ClickHouse store alone.
        say: Told where an image to leave out is not in the index.

    Returns:
        For each query its answers by (distance, id); fewer than k where the index holds fewer.

    Raises:
        FormatError: The index holds codes of another model.
        InputError: A composed query, and a method that knows none; a condition that cannot be evaluated.
        StoreError: The engine is not installed or cannot be reached.
    """
    named = open_named(index)
    with named.store:
        retriever = Retriever.from_pretrained(run)
        if named.model != retriever.fingerprint():
            raise FormatError(
                os.fspath(index), expected=f"codes of the model in {run}",
                got="codes of another model" if named.model else "codes of an unknown model",
                remedy="Search with the run they were encoded with, or encode and index again with this one.",
            )  # fmt: skip
        own = [_own_ids(query, named, say) if without_reference else set[int]() for query in queries]
        most = k + max(map(len, own), default=0)
        hits = named.search(Codes.concatenate([retriever.encode([query]) for query in queries]), most, where)
        ids = np.unique(hits.ids[hits.ids >= 0])
        items = dict(zip(ids.tolist(), named.items(ids), strict=True))
    answers = []
    for left_out, distances, found in zip(own, hits.distances.tolist(), hits.ids.tolist(), strict=True):
        near = zip(distances, found, strict=True)
        answers.append(
            [Found(distance, items[each]) for distance, each in near if each >= 0 and each not in left_out][:k]
        )
    return answers


def _own_ids(query: Example, named: NamedStore, say: Say) -> set[int]:
    """The ids in a store that are the image of a query."""
    if not isinstance(query.image, (str, os.PathLike)):
        return set()
    real = os.path.realpath(query.image)
    ids = named.named({os.path.basename(query.image), os.path.basename(real)})
    own = {
        number
        for number, item in zip(ids.tolist(), named.items(ids), strict=True)
        if os.path.realpath(item.path) == real
    }
    if not own:
        say(f"{query.image} is not in the index under this path: nothing to leave out")
    return own

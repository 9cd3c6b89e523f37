"""Gallery: one index or store with what belongs to its codes: names, columns, embeddings, pictures.

A request names items by number alone; which file a number stands for is said by the catalogue, and with a folder of
images no file outside of it is ever opened.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.catalogue import Catalogue, Item, read_catalogue
from hashret.codes import Codes
from hashret.errors import InputError
from hashret.search import EmbeddingStore, HammingIndex, Hits, Scored, rerank
from hashret.serve.filters import Column, columns_of
from hashret.serve.problems import MissingItemError
from hashret.stores import OpenStore, engine_of, open_store
from hashret.stores.local import LocalStore

__all__ = ["Gallery", "Side", "find_picture"]

Side = Literal["image", "text"]
_SUFFIXES = ("", ".jpg", ".jpeg", ".png", ".webp")
_SAMPLES = 12


@dataclass(frozen=True, eq=False)
class Gallery:
    """What answers are taken from.

    Attributes:
        side: What its items are.
        store: Their codes; a mapped index, or an engine that is asked by one thread at a time.
        catalogue: Their names, in the order of ``ids``.
        ids: int64 (N,), ascending.
        columns: What can be filtered by.
        embeddings: For a second look, under the same ids; None where there are none.
        images: The folder pictures are taken from; None takes them from where the catalogue says.
    """

    side: Side
    store: HammingIndex | OpenStore
    catalogue: Catalogue
    ids: NDArray[np.int64]
    columns: Sequence[Column]
    embeddings: EmbeddingStore | None
    images: Path | None
    _line: threading.Lock = field(default_factory=threading.Lock, init=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> Gallery:
        """Open what ``hashret index`` wrote: the codes, their catalogue, and their embeddings if there are any.

        Args:
            path: The index file, which is mapped and not read, or the address of a store; an engine has no embeddings.
            images: The folder its pictures lie in, by key or by path.

        Raises:
            FileError: A file is missing.
            FormatError: A file is damaged, or is of another index.
            StoreError: The engine of a store is not installed or cannot be reached, or has no such table.
        """
        root = None if images is None else Path(images).resolve()
        if engine_of(path) == "file":
            local = open_store(path)
            assert isinstance(local, LocalStore)
            index, stored = local.index, Path(f"{local.path}.embeddings")
            catalogue = read_catalogue(local.path, len(index))
            embeddings = EmbeddingStore.open(stored) if stored.exists() else None
            return cls(_side_of(catalogue), index, catalogue, index.ids, columns_of(catalogue.items), embeddings, root)
        from hashret.pipeline.named_store import open_named  # loads torch

        named = open_named(path)
        try:
            catalogue, ids = named.catalogue(), named.store.ids
            return cls(_side_of(catalogue), named.store, catalogue, ids, columns_of(catalogue.items), None, root)
        except BaseException:
            named.store.close()
            raise

    def close(self) -> None:
        """Let go of a store's engine."""
        if not isinstance(self.store, HammingIndex):
            with self._line:
                self.store.close()

    def __len__(self) -> int:
        """Number of items."""
        return len(self.ids)

    def item(self, number: int) -> Item:
        """The item of an id.

        Raises:
            MissingItemError: There is none.
        """
        row = int(np.searchsorted(self.ids, number))
        if row >= len(self.ids) or self.ids[row] != number:
            raise MissingItemError(
                "item", expected=f"an id of the {len(self):,} {self.side}s", got=str(number),
                remedy="Take ids from the answers of a search.",
            )  # fmt: skip
        return self.catalogue.items[row]

    def picture(self, number: int) -> Path | None:
        """Where the picture of an item lies; None where there is none."""
        return find_picture(self.item(number), self.images) if self.side == "image" else None

    def warm_up(self) -> None:
        """Search once: kernels are compiled, and the index is read, when they are first needed."""
        if not len(self):
            return
        hits = self.search(self.codes([int(self.ids[0])]), 1, None, None)
        if self.embeddings is not None:
            self.look_again(hits, self.embedding(int(self.ids[0])), 1)

    def samples(self) -> list[int]:
        """A few ids, evenly spaced."""
        rows = np.linspace(0, len(self) - 1, min(_SAMPLES, len(self)), dtype=np.int64)
        return [int(number) for number in self.ids[rows]]

    def codes(self, numbers: Sequence[int]) -> Codes:
        """The codes of items, in the order given."""
        with nullcontext() if isinstance(self.store, HammingIndex) else self._line:
            return self.store.take(np.asarray(numbers, np.int64))

    def search(self, code: Codes, k: int, mask: NDArray[np.bool_] | None, left_out: int | None) -> Hits:
        """The k nearest items of one code, of those under a mask bool (N,), without one of them."""
        most = k + (left_out is not None)
        if isinstance(self.store, HammingIndex):
            hits = self.store.search(code, most, allowed=mask, threads=1)
        else:
            with self._line:
                hits = self.store.search(code, most, allowed=None if mask is None else self.ids[mask])
        kept = hits.ids[0] != (-2 if left_out is None else left_out)
        return Hits(hits.distances[:, kept][:, :k], hits.ids[:, kept][:, :k])

    def look_again(self, hits: Hits, query: NDArray[np.float32], k: int) -> Scored:
        """The k best of a shortlist by the embeddings.

        Args:
            hits: The shortlist of one query.
            query: Its embedding, float32 (1, D).
            k: How many.

        Raises:
            InputError: There are no embeddings.
        """
        return rerank(hits, query, self._stored(), k, threads=1)

    def embedding(self, number: int) -> NDArray[np.float32]:
        """The embedding of an item, float32 (1, D).

        Raises:
            InputError: There are none.
        """
        return self._stored().take([number])

    def _stored(self) -> EmbeddingStore:
        if self.embeddings is None:
            raise InputError(
                "second look", expected=f"embeddings beside the codes of the {self.side}s", got="none",
                remedy="Encode with --embeddings fp16 and index again, or search without a second look.",
            )  # fmt: skip
        return self.embeddings


def _side_of(catalogue: Catalogue) -> Side:
    """What the items are; of an index that does not say, texts are told by having no path."""
    if catalogue.side:
        return "text" if catalogue.side == "text" else "image"
    texts = any(item.text for item in catalogue.items) and not any(item.path for item in catalogue.items)
    return "text" if texts else "image"


def find_picture(item: Item, root: Path | None) -> Path | None:
    """The file of an item's picture; None where there is none, or where it would lie outside ``root``.

    Args:
        item: Its key may lack the suffix of its file, as keys of webdataset tars do.
        root: The folder of all pictures, resolved; None takes the path of the item as it is.
    """
    if root is None:
        return Path(item.path) if item.path and os.path.isfile(item.path) else None
    for name in (item.key, item.path):
        for suffix in _SUFFIXES if name else ():
            place = Path(os.path.realpath(root / (name + suffix)))
            if place.is_relative_to(root) and place.is_file():
                return place
    return None

"""Hits: ranked answers, always by (distance, id), and the law by which shards merge.

The order and the padding are those of faiss and scikit-learn: ``distances, ids = hits``. Nothing here computes a
distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.markup import Html, escaped, framed, table

if TYPE_CHECKING:
    import pandas

    from hashret.search.shown import Showable, Shown

__all__ = ["PAD_DISTANCE", "PAD_ID", "Hits", "merge"]

PAD_DISTANCE = np.int32(2147483647)
PAD_ID = np.int64(-1)
_SHOWN_QUERIES, _SHOWN_ANSWERS = 10, 10  # of what a notebook shows


@dataclass(frozen=True, eq=False)
class Hits:
    """The k nearest items of each of Q queries.

    Attributes:
        distances: int32 (Q, k), ascending; 2147483647 pads.
        ids: int64 (Q, k); ascending among equal distances; -1 pads.

    Raises:
        InputError: Shapes or dtypes differ from these, a padding pair is half set, or a row is out of order.

    Example:
        >>> import numpy as np
        >>> hits = Hits(np.array([[0, 3]], np.int32), np.array([[9, 2]]))
        >>> distances, ids = hits
        >>> ids.tolist()
        [[9, 2]]
    """

    distances: NDArray[np.int32]
    ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check shapes, dtypes and the order of every row."""
        distances, ids = np.asarray(self.distances), np.asarray(self.ids)
        if distances.dtype != np.int32 or ids.dtype != np.int64 or distances.ndim != 2 or distances.shape != ids.shape:
            raise InputError(
                "hits", expected="int32 (Q, k) distances and int64 (Q, k) ids",
                got=f"{distances.dtype} {distances.shape} and {ids.dtype} {ids.shape}", remedy="Convert them first.",
            )  # fmt: skip
        object.__setattr__(self, "distances", distances)
        object.__setattr__(self, "ids", ids)
        real = ids >= 0
        if not (np.where(real, distances != PAD_DISTANCE, (ids == PAD_ID) & (distances == PAD_DISTANCE))).all():
            raise InputError(
                "hits", expected=f"ids >= 0, or padding ({PAD_DISTANCE}, {PAD_ID})", got="one half of a padding pair",
                remedy="Pad the distance and the id together, and number items from 0.",
            )  # fmt: skip
        near, far = distances[:, :-1], distances[:, 1:]
        padded = ids[:, 1:] == PAD_ID
        ordered = (near < far) | ((near == far) & ((ids[:, :-1] < ids[:, 1:]) | padded))
        if not ordered.all():
            row = int(np.argwhere(~ordered)[0, 0])
            raise InputError(
                "hits", expected="rows ordered by (distance, id)", got=f"row {row} out of order",
                remedy="Sort them first.",
            )  # fmt: skip

    @classmethod
    def checked(cls, distances: NDArray[np.int32], ids: NDArray[np.int64]) -> Hits:
        """Hits of arrays that are known to be in order, such as an engine's own: they are not looked through again."""
        hits = object.__new__(cls)
        object.__setattr__(hits, "distances", distances)
        object.__setattr__(hits, "ids", ids)
        return hits

    @classmethod
    def none(cls, queries: int) -> Hits:
        """No answers: (Q, 0)."""
        return cls.checked(np.empty((queries, 0), np.int32), np.empty((queries, 0), np.int64))

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Unpack as ``distances, ids``."""
        return iter((self.distances, self.ids))

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.ids)

    @property
    def k(self) -> int:
        """Answers a query, padding included."""
        return int(self.ids.shape[1])

    def __eq__(self, other: object) -> bool:
        """Same distances and ids."""
        return (
            isinstance(other, Hits)
            and np.array_equal(self.distances, other.distances)
            and np.array_equal(self.ids, other.ids)
        )

    __hash__ = None  # type: ignore[assignment]

    def _repr_html_(self) -> str:
        """The first answers of the first queries, ids over distances; what a notebook shows."""
        ids, far = self.ids[:_SHOWN_QUERIES, :_SHOWN_ANSWERS], self.distances[:_SHOWN_QUERIES, :_SHOWN_ANSWERS]
        body: list[list[str]] = []
        for query, row in enumerate(zip(ids.tolist(), far.tolist(), strict=True)):
            cells = (
                Html(f'{escaped(str(id_))}<div class="note">{distance}</div>') if id_ >= 0 else ""
                for id_, distance in zip(*row, strict=True)
            )
            body.append([str(query), *cells])
        told = f"{self.k:,} answers to each of {len(self):,} queries: ids, and below them distances"
        return framed(table(["query", *map(str, range(1, ids.shape[1] + 1))], body, told))

    def show(
        self, items: Sequence[Showable], queries: Sequence[Showable] | None = None,
        right: NDArray[np.bool_] | None = None,
    ) -> Shown:  # fmt: skip
        """The hits beside what their ids stand for, as a notebook shows them: pictures, texts, distances.

        Args:
            items: What was searched, by id: texts (str), images (``pathlib.Path``, PIL images, uint8 pixels), Examples
                or the items of a catalogue.
            queries: What was asked, one a row; None where only answers are to be seen.
            right: Which answers are right, bool (Q, k), as ``relevance.judge`` gives it; None where nobody knows.

        Raises:
            InputError: An id beyond the items, or another number of queries or marks than of rows.

        Example:
            >>> hits = Hits(np.array([[0, 3]], np.int32), np.array([[1, 0]]))
            >>> "a cat" in hits.show(["a dog", "a cat"])._repr_html_()
            True
        """
        from hashret.search.shown import Shown

        return Shown(self.distances, self.ids, items, queries, right)

    def to_pandas(self) -> pandas.DataFrame:
        """A frame of a row an answer: query, place (from 1), id and distance; padding is left out.

        Example:
            >>> hits = Hits(np.array([[0, 2147483647]], np.int32), np.array([[9, -1]]))
            >>> hits.to_pandas().values.tolist()
            [[0, 1, 9, 0]]
        """
        import pandas

        rows, columns = np.nonzero(self.ids != PAD_ID)
        found = {"query": rows, "place": columns + 1, "id": self.ids[rows, columns]}
        return pandas.DataFrame({**found, "distance": self.distances[rows, columns]})


def merge(parts: Sequence[Hits], k: int) -> Hits:
    """Merge the hits of disjoint shards: ``merge(search(shards), k) == search(whole, k)``.

    Args:
        parts: Hits of the same queries on shards that share no id.
        k: Answers to keep.

    Returns:
        The k best of all parts by (distance, id), padded where there are fewer.

    Raises:
        InputError: No parts, different numbers of queries, or k below 1.

    Example:
        >>> import numpy as np
        >>> near = Hits(np.array([[1]], np.int32), np.array([[5]]))
        >>> far = Hits(np.array([[1, 4]], np.int32), np.array([[3, 8]]))
        >>> merge([near, far], k=2).ids.tolist()
        [[3, 5]]
    """
    if not parts or len({len(part) for part in parts}) != 1 or k < 1:
        raise InputError(
            "parts", expected="hits of the same queries and k >= 1", got=f"{[len(p) for p in parts]} queries, k={k}",
            remedy="Search every shard with the same queries.",
        )  # fmt: skip
    distances = np.concatenate([part.distances for part in parts], axis=1)
    ids = np.concatenate([part.ids for part in parts], axis=1)
    if distances.shape[1] < k:
        missing = ((0, 0), (0, k - distances.shape[1]))
        distances = np.pad(distances, missing, constant_values=PAD_DISTANCE)
        ids = np.pad(ids, missing, constant_values=PAD_ID)
    order = np.lexsort((ids, distances))[:, :k]
    return Hits.checked(np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1))

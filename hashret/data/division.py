"""division: which items of a labelled set are asked, trained on and searched, as the hashing papers divide them.

A hashing protocol draws queries from all usable items and trains on a part of what is left; all that is left is the
database. Its numbers, order and seed are published, so that the lists here are the lists there wherever the items come
in the same order. Epochs are chosen on validation queries from within the database, which no paper's code does (most
choose on the test queries); they are not trained on, and test queries find them in the database as everybody's do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.data.card import Protocol
from hashret.errors import DataError

__all__ = ["Division", "HashingProtocol", "divide"]

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class HashingProtocol(Protocol):
    """A protocol of hashing papers: queries from all items, the rest is the database, a part of it is trained on.

    Attributes:
        items: Usable items, officially.
        queries: Test queries.
        train: Training items; None trains on the whole database.
        validation: Validation queries, from within the database and not trained on.
        order: How they are drawn. "first": the first items are queries, the next are trained on. "last": the last items
            are queries, the first are trained on. "permuted": a permutation by NumPy's legacy generator
            (``RandomState(seed)``), of which the first are queries and the next are trained on. "permuted, training
            first": the same, the first are trained on, the next are queries, the next are of validation. "class by
            class": for test, validation and training in turn, an equal number of each class is drawn without
            replacement, rarest class first (CRCGS on NUS-WIDE).
        seed: Of the order, and of the validation queries where the paper has none.
    """

    items: int = 0
    queries: int = 0
    train: int | None = None
    validation: int = 0
    order: Literal["first", "last", "permuted", "permuted, training first", "class by class"] = "permuted"
    seed: int = 0

    def __post_init__(self) -> None:
        """Fill in the sizes that a card shows."""
        database = self.items - self.queries
        train = database - self.validation if self.train is None else self.train
        sizes = {"items": self.items, "queries": self.queries, "training": train, "database": database}
        object.__setattr__(self, "sizes", {**sizes, "validation queries": self.validation})


@dataclass(frozen=True, eq=False)
class Division:
    """Row numbers into the usable items, int64; the database holds the training and validation items too."""

    queries: Rows
    train: Rows
    validation: Rows
    database: Rows


def divide(
    protocol: HashingProtocol,
    labels: NDArray[np.uint8],
    *,
    partial: bool = False,
    lists: Mapping[str, Rows] | None = None,
    name: str = "dataset",
) -> Division:
    """Divide the usable items of a set.

    Args:
        protocol: Which division.
        labels: Multi-hot uint8 (N, C) of the usable items.
        partial: Take a set of another size, with all numbers in proportion; otherwise it must be of the official size.
        lists: The authors' own index lists "queries", "train" and "validation", which then count instead; of the
            protocol's sizes too, unless ``partial``.
        name: Of the dataset, for errors.

    Returns:
        Disjoint queries, training and validation rows; ascending but for those that a permutation orders.

    Raises:
        DataError: Another number of items than the protocol's, too few for a division, or lists that overlap, point
            beyond the items or are of other sizes.

    Example:
        >>> three = HashingProtocol("x", "", "", items=6, queries=2, train=3, validation=1, order="first")
        >>> parts = divide(three, np.ones((6, 1), np.uint8))
        >>> parts.queries.tolist(), parts.train.tolist(), parts.validation.tolist(), parts.database.tolist()
        ([0, 1], [2, 3, 4], [5], [2, 3, 4, 5])
    """
    count = len(labels)
    if count != protocol.items and not partial:
        raise DataError(
            f"{name}, protocol {protocol.name}", expected=f"{protocol.items:,} usable items", got=f"{count:,}",
            remedy="Files are missing or of another version; data.partial=true takes a part of the set in proportion.",
        )  # fmt: skip
    if lists is not None:
        return _from_lists(protocol, lists, count, partial, name)
    queries, train, validation = _sizes(protocol, count, name)
    if protocol.order == "class by class":
        return _class_by_class(protocol, labels, (queries, validation, train), name)
    if protocol.order in ("first", "last"):
        order = np.arange(count)
        if protocol.order == "last":
            order = np.roll(order, queries)
    else:
        order = np.random.RandomState(protocol.seed).permutation(count).astype(np.int64)
    if protocol.order == "permuted, training first":
        trained, asked, rest = np.split(order, [train, train + queries])
        chosen = rest[:validation]
    else:
        asked, trained, rest = np.split(order, [queries, queries + train])
        pick = np.random.default_rng(protocol.seed).permutation(len(rest))[:validation]
        chosen = rest[np.sort(pick)]
    return Division(asked, trained, chosen, np.setdiff1d(order, asked))


def _sizes(protocol: HashingProtocol, count: int, name: str) -> tuple[int, int, int]:
    """Queries, training items and validation queries of ``count`` items; a proportion is at least 2, of 0 it is 0."""
    sizes = [protocol.sizes["queries"], protocol.sizes["training"], protocol.validation]
    if count != protocol.items:
        sizes = [max(2, round(size * count / protocol.items)) if size else 0 for size in sizes]
        left = count - sizes[0] - sizes[2]
        sizes[1] = left if protocol.train is None else min(sizes[1], left)
    if sum(sizes) > count or sizes[0] < 1 or sizes[1] < 2 or sizes[2] < 0:
        raise DataError(
            f"{name}, protocol {protocol.name}",
            expected=f"{sizes[0]:,} queries, {max(2, sizes[1]):,} or more training items and {sizes[2]:,} validation "
            "queries", got=f"{count:,} usable items",
            remedy="Check that images, labels and texts belong to the same items.",
        )  # fmt: skip
    return sizes[0], sizes[1], sizes[2]


def _class_by_class(
    protocol: HashingProtocol, labels: NDArray[np.uint8], sizes: tuple[int, int, int], name: str
) -> Division:
    """Test, validation and training rows, an equal number of each class, rarest first, none twice."""
    chance, free = np.random.RandomState(protocol.seed), np.ones(len(labels), np.bool_)
    classes, parts = labels.shape[1], []
    for size in sizes:
        each, drawn = max(1, size // classes) if size else 0, list[Rows]()
        for label in np.argsort(labels[free].sum(0), kind="stable"):
            pool = np.flatnonzero(free & (labels[:, label] == 1))
            if len(pool) < each:
                raise DataError(
                    f"{name}, protocol {protocol.name}", expected=f"{each} more items of class {label}",
                    got=str(len(pool)), remedy="Use the whole set.",
                )  # fmt: skip
            drawn.append(chance.choice(pool, each, replace=False))
            free[drawn[-1]] = False
        parts.append(np.concatenate(drawn).astype(np.int64))
    asked, chosen, trained = parts
    return Division(asked, trained, chosen, np.setdiff1d(np.arange(len(labels)), asked))


def _from_lists(protocol: HashingProtocol, lists: Mapping[str, Rows], count: int, partial: bool, name: str) -> Division:
    """The authors' rows; disjoint, within the items, and as many as the protocol says."""
    parts = {part: np.asarray(lists[part]).ravel() for part in ("queries", "train", "validation")}
    official = dict(zip(parts, (protocol.queries, protocol.sizes["training"], protocol.validation), strict=True))
    together = np.concatenate([rows for rows in parts.values() if rows.size] or [np.zeros(0, np.int64)])
    faults = [f"no row in {part}" for part, rows in parts.items() if not rows.size and official[part]]
    if together.dtype.kind not in "iu":
        faults.append(f"{together.dtype}, no integers")
    elif together.size and not 0 <= together.min() <= together.max() < count:
        outside = together[(together < 0) | (together >= count)]
        faults.append(f"{len(outside):,} beyond them, such as {outside[0]}")
    elif len(np.unique(together)) != len(together):
        rows, times = np.unique(together, return_counts=True)
        faults.append(f"{int((times > 1).sum()):,} rows twice, such as {rows[times > 1][0]}")
    if faults:
        raise DataError(
            f"{name}, index lists", expected=f"disjoint rows 0 ... {count - 1:,}", got="; ".join(faults),
            remedy="Use the three lists that were made together.",
        )  # fmt: skip
    others = [f"{len(rows):,} {part}" for part, rows in parts.items() if len(rows) != official[part]]
    if others and not partial:
        expected = ", ".join(f"{size:,} {part}" for part, size in official.items())
        raise DataError(
            f"{name}, index lists of protocol {protocol.name}", expected=expected, got=", ".join(others),
            remedy="Use the authors' lists; data.partial=true takes lists of other sizes.",
        )  # fmt: skip
    asked, trained, chosen = (parts[part].astype(np.int64) for part in ("queries", "train", "validation"))
    return Division(asked, trained, chosen, np.setdiff1d(np.arange(count), asked))

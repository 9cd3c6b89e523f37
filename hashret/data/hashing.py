"""Labelled items and a hashing protocol become a dataset: what MIRFLICKR-25K, NUS-WIDE and MS-COCO share.

Queries are images, or one fixed text each; they are asked of the other side of the database; right is what shares a
label. Validation queries are asked of the training items alone, so that choosing an epoch costs the same however large
the database is. No file is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hashret.data.alignment import check_alignment
from hashret.data.captioned import Captioned, label_tasks, pairs, size_notes
from hashret.data.card import Card
from hashret.data.division import HashingProtocol, divide
from hashret.errors import DataError
from hashret.examples import RetrievalDataset

__all__ = ["hashing_dataset"]


def hashing_dataset(
    card: Card,
    protocol: HashingProtocol,
    items: Sequence[Captioned],
    classes: Sequence[str],
    *,
    partial: bool = False,
    lists: Mapping[str, NDArray[np.int64]] | None = None,
    caption: int = 0,
    notes: Sequence[str] = (),
) -> RetrievalDataset:
    """Divide the usable items of a labelled set by a protocol.

    Args:
        card: The dataset's.
        protocol: One of its protocols.
        items: The usable items in their official order, all with labels.
        classes: Names of the labels, in column order.
        partial: See :func:`~hashret.data.division.divide`.
        lists: See there.
        caption: Number of the text that stands for an item in queries and galleries; the last where it has fewer.
        notes: What else a reader must know.

    Raises:
        DataError: Another number of items than the protocol's, items without labels in a query, or labels that belong
            to other items than the texts or the features of the images do.
    """
    if not items:
        raise DataError(
            card.title, expected="usable items", got="none", remedy="Check that images, texts and labels are there."
        )
    labels = np.stack([item.labels for item in items if item.labels is not None])
    check_alignment(card.title, labels, [item.caption(caption).text for item in items])
    vectors = [item.image.image for item in items]
    if all(isinstance(vector, np.ndarray) and vector.ndim == 1 for vector in vectors):
        check_alignment(card.title, labels, vectors, "image features")
    division = divide(protocol, labels, partial=partial, lists=lists, name=card.title)
    queries, train, validation, database = (
        [items[row] for row in rows]
        for rows in (division.queries, division.train, division.validation, division.database)
    )
    training = pairs(train)
    chosen, reported = label_tasks(validation, train, caption), label_tasks(queries, database, caption)
    short = "" if len(items) == protocol.items else f", partial: {len(items):,} of {protocol.items:,} items"
    drawn = "by the index lists in its folder" if lists is not None else _drawn(protocol)
    about = [
        *size_notes(training, chosen, reported),
        f"protocol {protocol.name}: {protocol.what} ({protocol.source}); {drawn}",
        f"validation: {len(validation):,} queries from within the database, asked of the training items"
        if validation
        else "no validation",
        *notes,
    ]
    if any(len(item.captions) > 1 for item in items):
        about.append(f"text {caption} of each item is its text in every query and gallery")
    name = f"{card.title} ({protocol.name}{short})"
    return RetrievalDataset(name, training, chosen, reported, tuple(classes), tuple(about))


def _drawn(protocol: HashingProtocol) -> str:
    ways = {"first": "the first items are the queries", "last": "the last items are the queries"}
    return ways.get(protocol.order, f"drawn {protocol.order} with seed {protocol.seed}")

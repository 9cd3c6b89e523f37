"""Captioned images become pairs, tasks and a dataset: the part that Flickr8k, Flickr30k and a user's own folder share.

Two protocols. "captions": an image and its own captions answer each other (Karpathy's splits, recall). "labels": items
that share a label answer each other, and queries are asked of a database of other items (hashing, mAP). No file is
read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.examples import Example, ImageSource, Pair, Task
from hashret.relevance import SameInstance, SharedLabels

__all__ = ["Captioned", "caption_tasks", "captioned", "hold_out", "label_tasks", "pairs", "size_notes"]


@dataclass(frozen=True, eq=False)
class Captioned:
    """One image and its captions.

    Attributes:
        image: The image; its key is its file name.
        captions: At least one text; the key of text i is ``file#i``.
        instance: Number of the image in its dataset.
        labels: Multi-hot uint8 (C,), all zero for an item without a label; None where the dataset has no labels.
    """

    image: Example
    captions: tuple[Example, ...]
    instance: int
    labels: NDArray[np.uint8] | None = None

    def caption(self, number: int) -> Example:
        """The caption of that number, or the last where there are fewer."""
        return self.captions[min(number, len(self.captions) - 1)]


def captioned(
    file_name: str,
    image: ImageSource,
    texts: Sequence[str],
    instance: int,
    labels: Iterable[str] = (),
    classes: Sequence[str] = (),
) -> Captioned:
    """Make a :class:`Captioned` from what an annotation file says.

    Example:
        >>> item = captioned("a.jpg", "images/a.jpg", ["A dog."], 0, ["dog"], ["cat", "dog"])
        >>> item.captions[0].key, item.labels.tolist()
        ('a.jpg#0', [0, 1])
    """
    captions = tuple(Example(text=text, key=f"{file_name}#{number}") for number, text in enumerate(texts))
    row = None
    if classes:
        present = set(labels)
        row = np.array([name in present for name in classes], np.uint8)
    return Captioned(Example(image=image, key=file_name), captions, instance, row)


def pairs(items: Sequence[Captioned], captions: Literal["all", "first"] = "all") -> list[Pair]:
    """Pair every image with all its captions, or with its first."""
    count = None if captions == "all" else 1
    return [Pair(item.image, text, item.labels, item.instance) for item in items for text in item.captions[:count]]


def caption_tasks(items: Sequence[Captioned]) -> tuple[Task, ...]:
    """Ask images of all captions of the same items, and captions of their images: "i2t" and "t2i"; none of no items."""
    if not items:
        return ()
    images, texts = [item.image for item in items], [text for item in items for text in item.captions]
    of_image = [item.instance for item in items]
    of_text = [item.instance for item in items for _ in item.captions]
    return (
        Task("i2t", images, texts, SameInstance(of_image, of_text)),
        Task("t2i", texts, images, SameInstance(of_text, of_image)),
    )


def label_tasks(queries: Sequence[Captioned], database: Sequence[Captioned], caption: int) -> tuple[Task, ...]:
    """Ask images, or one fixed caption each, of the other side of a labelled database; none of no queries.

    The side of the database that is not asked goes along as the tasks' partners.
    """
    if not queries:
        return ()
    asked, held = np.array([item.labels for item in queries]), np.array([item.labels for item in database])
    relevance = SharedLabels(asked, held)
    images, texts = [item.image for item in database], [item.caption(caption) for item in database]
    return (
        Task("i2t", [q.image for q in queries], texts, relevance, partners=images),
        Task("t2i", [q.caption(caption) for q in queries], images, relevance, partners=texts),
    )


def hold_out(items: Sequence[Captioned], sizes: Sequence[int], seed: int) -> list[list[Captioned]]:
    """Split parts off at random (NumPy's default generator, one permutation); every part keeps the order of ``items``.

    Args:
        items: What to split.
        sizes: Number of items of each part, together at most ``len(items)``.
        seed: At least 0.

    Returns:
        The rest, then one part a size.

    Raises:
        InputError: The seed is negative.
    """
    if seed < 0:
        raise InputError("seed", expected="an integer >= 0", got=str(seed), remedy="Choose another seed.")
    assert sum(sizes) <= len(items)
    order = np.random.default_rng(seed).permutation(len(items))
    *parts, rest = np.split(order, np.cumsum(sizes))
    return [[items[place] for place in np.sort(part)] for part in (rest, *parts)]


def size_notes(train: Sequence[Pair], validation: Sequence[Task], test: Sequence[Task]) -> tuple[str, ...]:
    """Say how large the parts are, and how many items of a labelled dataset have no label.

    Example:
        >>> items = [captioned(name, name, ["x", "y"], 0) for name in ("a", "b")]
        >>> size_notes(pairs(items), (), caption_tasks(items))
        ('train: 4 pairs of 2 images', 'test: i2t 2 queries of 4, t2i 4 queries of 2')
    """
    notes = [f"train: {len(train)} pairs of {len({id(pair.query) for pair in train})} images"]
    for split, tasks in (("validation", validation), ("test", test)):
        asked = ", ".join(f"{task.name} {len(task.queries)} queries of {len(task.gallery)}" for task in tasks)
        notes += [f"{split}: {asked}"] if tasks else []
    for split, tasks in (("validation", validation), ("test", test)):
        relevance = tasks[0].relevance if tasks else None
        if isinstance(relevance, SharedLabels):
            queries, gallery = ((~rows.any(1)).sum() for rows in (relevance.query_labels, relevance.gallery_labels))
            if queries or gallery:
                notes.append(f"{split}: {queries} queries and {gallery} gallery items have no label: right for nothing")
    return tuple(notes)

"""quarantine: find what cannot be decoded before an hour of training meets it, and leave it out by name.

Sets taken from the web hold missing, truncated and empty files, and captions of nothing but spaces. Each distinct image
is decoded once; the bad ones are taken out of pairs, queries and galleries, and the ground truth is narrowed with them.
Nothing is repaired or replaced, and what was left out is returned, since a smaller gallery makes a better figure.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DataError, ImageError
from hashret.examples import Example, ImageSource, RetrievalDataset, Task, TextSource
from hashret.images import open_image
from hashret.regions import RegionFiles, read_regions

__all__ = ["Rejected", "check", "check_text", "check_vector", "quarantine"]

UNANSWERABLE = "all its right answers were rejected"
BROKEN_SUBSET = "one of its candidates was rejected"


@dataclass(frozen=True)
class Rejected:
    """One item that was left out.

    Attributes:
        where: "train", "validation/i2t/queries", "test/t2i/gallery" and the like.
        key: The key of its example.
        reason: A few words, the same for the same cause.
    """

    where: str
    key: str
    reason: str


def check(example: Example) -> str | None:
    """Say in a few words why an example is of no use, or None if it is good.

    Bad is an image that :func:`hashret.images.open_image` refuses, regions that :func:`hashret.regions.read_regions`
    refuses, a text without a visible character or that is no valid Unicode, and features that hold NaN or infinity.

    Example:
        >>> check(Example(text="a dog")), check(Example(text=" ", key="a.jpg#3"))
        (None, 'an empty text')
    """
    return _check_image(example.image) or check_text(example.text)


def quarantine(dataset: RetrievalDataset, *, most: float = 1.0) -> tuple[RetrievalDataset, list[Rejected]]:
    """Leave out what :func:`check` finds fault with.

    A pair goes when either side is bad, and so does an item of a database of pairs, whichever side is asked. A query
    also goes when all its right answers did, or when one of the candidates it is judged among did: it could no longer
    be answered as it was meant.

    Args:
        dataset: Each distinct image of it is decoded once, in threads.
        most: Share of the distinct images that may be bad, and of the texts, 0 ... 1. They are counted apart: with five
            captions an image, half of the images are but a twelfth of all items.

    Returns:
        The dataset without them (the same object if nothing is bad), and what was left out, each item once a place.

    Raises:
        DataError: A larger share than ``most`` is bad; fewer than 2 training pairs are left, or a task without a query
            or a gallery item.
    """
    train, validation, test = list(dataset.train), _hold(dataset.validation), _hold(dataset.test)
    pairs = (example for pair in train for example in (pair.query, pair.target))
    sides = (side for task in validation + test for side in (task.queries, task.gallery, task.partners or ()))
    tasks = (example for side in sides for example in side)
    gate = _Gate([*pairs, *tasks])
    gate.check_share(dataset.name, most)
    kept = [pair for pair in train if gate.passes("train", pair.query) and gate.passes("train", pair.target)]
    validation = [_narrow(task, f"validation/{task.name}", gate) for task in validation]
    test = [_narrow(task, f"test/{task.name}", gate) for task in test]
    rejected = list(gate.rejected.values())
    if not rejected:
        return dataset, []
    if len(kept) < 2 or not all(task.queries and task.gallery for task in validation + test):
        raise gate.too_little(dataset.name, f"{len(kept)} training pairs")
    places = Counter(item.where for item in rejected)
    lost = f"quarantine: {len(train) - len(kept)} training pairs left out; items left out: "
    note = lost + ", ".join(f"{where} {count}" for where, count in places.items())
    rest = replace(dataset, train=kept, validation=tuple(validation), test=tuple(test), notes=(*dataset.notes, note))
    return rest, rejected


class _Gate:
    """Knows which images and texts are bad, and writes down who did not pass."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self.rejected: dict[tuple[str, Hashable], Rejected] = {}
        with_image: dict[Hashable, Example] = {}
        with_text: dict[Hashable, Example] = {}
        for example in examples:
            if example.image is not None:
                with_image.setdefault(_identity(example.image), example)
            if example.text is not None:
                with_text[id(example)] = example
        self._first = {"images": with_image, "texts": with_text}
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(_check_image, (example.image for example in with_image.values()))
            self._images: dict[Hashable, str | None] = dict(zip(with_image, decoded, strict=True))
        self._texts = {identity: check_text(example.text) for identity, example in with_text.items()}

    def passes(self, where: str, example: Example) -> bool:
        reason = None if example.image is None else self._images[_identity(example.image)]
        if reason is not None:
            self._write(where, _identity(example.image), example, reason)
        elif example.text is not None and (reason := self._texts[id(example)]) is not None:
            self.reject(where, example, reason)
        return reason is None

    def check_share(self, name: str, most: float) -> None:
        """Raise where more than this share of the distinct images, or of the texts, is bad."""
        for kind, found in (("images", self._images), ("texts", self._texts)):
            bad = {identity: reason for identity, reason in found.items() if reason is not None}
            if not found or len(bad) / len(found) <= most:
                continue
            reason, times = Counter(bad.values()).most_common(1)[0]
            first = next(self._first[kind][identity].key for identity, each in bad.items() if each == reason)
            raise DataError(
                f"dataset {name}", expected=f"at most {most:.2%} of its {kind} to be unusable",
                got=f"{len(bad)} of {len(found)} ({len(bad) / len(found):.2%})",
                remedy=f"Commonest reason: {reason} ({times} times, first {first!r}). Mend these, check where they "
                "lie, or raise training.max_rejected.",
            )  # fmt: skip

    def reject(self, where: str, example: Example, reason: str) -> None:
        self._write(where, id(example), example, reason)

    def _write(self, where: str, identity: Hashable, example: Example, reason: str) -> None:
        self.rejected.setdefault((where, identity), Rejected(where, example.key, reason))

    def too_little(self, name: str, left: str) -> DataError:
        """The error for a dataset of which too little is left."""
        causes = {
            identity: item
            for (_, identity), item in self.rejected.items()
            if item.reason not in (UNANSWERABLE, BROKEN_SUBSET)
        }
        reason, times = Counter(item.reason for item in causes.values()).most_common(1)[0]
        first = next(item.key for item in causes.values() if item.reason == reason)
        return DataError(
            f"dataset {name}", expected="at least 2 training pairs, and queries and a gallery in every task",
            got=f"{left} and too few items after {len(causes)} were rejected",
            remedy=f"Commonest reason: {reason} ({times} times, first {first!r}). Mend these, or check where they lie.",
        )  # fmt: skip


def _hold(tasks: Iterable[Task]) -> list[Task]:
    """Tasks whose examples are held in lists: an example made anew at each access has no identity to remember."""
    return [
        replace(
            task, queries=list(task.queries), gallery=list(task.gallery),
            partners=None if task.partners is None else list(task.partners),
        ) for task in tasks
    ]  # fmt: skip


def _narrow(task: Task, where: str, gate: _Gate) -> Task:
    rows = np.flatnonzero([gate.passes(f"{where}/queries", example) for example in task.queries])
    whole = [gate.passes(f"{where}/gallery", example) for example in task.gallery]
    if task.partners is not None:
        whole = [
            gate.passes(f"{where}/gallery", partner) and good
            for partner, good in zip(task.partners, whole, strict=True)
        ]
    ids = np.flatnonzero(whole)
    if len(rows) == len(task.queries) and len(ids) == len(task.gallery):
        return task
    candidates, excluded = task.candidates, task.excluded
    if len(ids) < len(task.gallery):
        number = np.full(len(task.gallery) + 1, -1)  # the last place is where the id -1 of padding looks
        number[ids] = np.arange(len(ids))
        left = task.relevance.restrict(np.arange(len(task.queries)), ids)
        unanswerable = (task.relevance.totals() > 0) & (left.totals() == 0)
        broken: NDArray[np.bool_] = np.zeros(len(task.queries), np.bool_)
        if candidates is not None:
            broken = np.any((candidates >= 0) & (number[candidates] < 0), axis=1)
            candidates = number[candidates]
        excluded = None if excluded is None else number[excluded]
        for row in rows[(unanswerable | broken)[rows]]:
            reason = UNANSWERABLE if unanswerable[row] else BROKEN_SUBSET
            gate.reject(f"{where}/queries", task.queries[int(row)], reason)
        rows = rows[~(unanswerable | broken)[rows]]
    return Task(
        task.name,
        [task.queries[int(row)] for row in rows],
        [task.gallery[int(place)] for place in ids],
        task.relevance.restrict(rows, ids),
        None if candidates is None else candidates[rows],
        None if excluded is None else excluded[rows],
        None if task.partners is None else [task.partners[int(place)] for place in ids],
    )


def _identity(image: ImageSource | None) -> Hashable:
    if isinstance(image, RegionFiles):
        return image
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else id(image)


def _check_image(image: ImageSource | None) -> str | None:
    if image is None:
        return None
    if isinstance(image, np.ndarray) and (image.ndim == 1 or image.dtype.kind == "f"):
        return check_vector(image)
    try:
        read_regions(image) if isinstance(image, RegionFiles) else open_image(image)
    except ImageError as error:
        return error.got
    return None


def check_text(text: TextSource | None) -> str | None:
    """What is wrong with a text or its features, in a few words; None if nothing, or if there is none."""
    if text is None:
        return None
    if isinstance(text, np.ndarray):
        return check_vector(text)
    if not any(letter.isprintable() and not letter.isspace() for letter in text):
        return "an empty text"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "no valid Unicode"
    return None


def check_vector(vector: NDArray[Any]) -> str | None:
    """What is wrong with features, in a few words; None if nothing."""
    if vector.dtype.kind not in "fiu":
        return f"a vector of {vector.dtype}, not of numbers"
    return None if np.isfinite(vector).all() else "NaN or infinity in its features"

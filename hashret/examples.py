"""The raw things: what is searched, what is trained on, what is asked.

An image here is a path, a PIL image, a pixel array, features or where its regions lie; nothing is decoded and nothing
becomes a tensor. Splits are different values of a RetrievalDataset, so that a method cannot meet a test item by
mistake. This file imports relevance (its neighbour in the first plan of the house) because a Task without its ground
truth is no task.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashret.errors import DataError, InputError
from hashret.regions import RegionFiles
from hashret.relevance import Relevance

__all__ = ["Example", "ImageSource", "Pair", "RetrievalDataset", "Task", "TextSource", "joined"]

ImageSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | RegionFiles
TextSource = str | NDArray[Any]


@dataclass(frozen=True, eq=False)
class Example:
    """One raw item: an image, a text, or both (a composed query: reference image + modifying text).

    Attributes:
        image: A path, the bytes of an image file, a PIL image, uint8 pixels (H, W, 3), a float feature vector (D,),
            float token features (T, E), such as regions, or where the files of its regions lie; None if there is none.
        text: A sentence, a float feature vector (D,) or float token features (T, E); None if there is none.
        key: What a person calls it: a file name, a caption id; shown in results.

    Raises:
        InputError: Neither image nor text.
    """

    image: ImageSource | None = None
    text: TextSource | None = None
    key: str = ""

    def __post_init__(self) -> None:
        """Refuse an empty example and name the nameless by their path or text."""
        if self.image is None and self.text is None:
            raise InputError(
                "example", expected="an image, a text or both", got="neither", remedy="Leave empty items out."
            )
        if not self.key:
            place = self.image.features if isinstance(self.image, RegionFiles) else self.image
            name = Path(place).name if isinstance(place, (str, os.PathLike)) else ""
            object.__setattr__(self, "key", name or (self.text if isinstance(self.text, str) else ""))


def joined(examples: Sequence[Example], partners: Sequence[Example]) -> list[Example]:
    """Items of which both sides are there: each example with the other side of its item.

    Args:
        examples: Each an image or a text.
        partners: As many; of an image its text, of a text its image.

    Returns:
        Examples of image and text, under the keys of ``examples``.

    Raises:
        InputError: Different numbers, or an item without an image or a text, or with two of one.

    Example:
        >>> item, = joined([Example(text="a dog", key="a.jpg#0")], [Example(image="a.jpg")])
        >>> item.image, item.text, item.key
        ('a.jpg', 'a dog', 'a.jpg#0')
    """
    if len(examples) != len(partners):
        raise InputError(
            "partners", expected=f"{len(examples)}, one an item", got=str(len(partners)),
            remedy="Give the other side of each item.",
        )  # fmt: skip
    items = []
    for number, (one, other) in enumerate(zip(examples, partners, strict=True)):
        image, text = (one, other) if one.image is not None else (other, one)
        if image.text is not None or text.image is not None:
            raise InputError(
                f"item {number} ({one.key})", expected="an image and a text, one beside the other",
                got=f"{_parts(one)} beside {_parts(other)}", remedy="Only items that are pairs have two sides.",
            )  # fmt: skip
        items.append(Example(image=image.image, text=text.text, key=one.key))
    return items


def _parts(example: Example) -> str:
    return " and ".join(name for name in ("image", "text") if getattr(example, name) is not None)


@dataclass(frozen=True, eq=False)
class Pair:
    """One training example: two examples that belong together.

    Attributes:
        query: Usually the image, or the composed query.
        target: Usually the text, or the image a composed query asks for.
        labels: Multi-hot uint8 (C,), or None where a dataset has no labels.
        instance: Equal instance = the same thing pictured; the captions of one image share theirs.
        group: Equal group = easily taken for each other, which a stage may put in one batch; -1 for none.
    """

    query: Example
    target: Example
    labels: NDArray[np.uint8] | None = None
    instance: int = -1
    group: int = -1


@dataclass(frozen=True, eq=False)
class Task:
    """One evaluation: queries, the gallery they are asked of, and the right answers.

    Attributes:
        name: "i2t", "t2i", "composed/dress", ...
        queries: Q examples.
        gallery: N examples; their position is their id.
        relevance: Which gallery ids answer which query.
        candidates: int64 (Q, c), the only ids a query may be answered with (CIRR's subsets), or None for all; -1 fills
            up.
        excluded: int64 (Q, e), ids a query may not be answered with (its own reference image), or None; -1 fills up.
        partners: The other side of each gallery item, N examples, where the database is of pairs of an image and a
            text; None where its items have one side only.

    Raises:
        DataError: The relevance is for other numbers of queries or gallery items, the ids for other queries, or there
            are other numbers of partners.
    """

    name: str
    queries: Sequence[Example]
    gallery: Sequence[Example]
    relevance: Relevance
    candidates: NDArray[np.int64] | None = None
    excluded: NDArray[np.int64] | None = None
    partners: Sequence[Example] | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit."""
        have, judged = (len(self.queries), len(self.gallery)), (self.relevance.queries, self.relevance.gallery)
        if have != judged:
            raise DataError(
                f"task {self.name}", expected=f"relevance for {have[0]} queries and {have[1]} gallery items",
                got=f"{judged[0]} and {judged[1]}", remedy="Make the relevance from the same lists.",
            )  # fmt: skip
        for name, ids in (("candidates", self.candidates), ("excluded", self.excluded)):
            if ids is not None and (ids.ndim != 2 or len(ids) != have[0]):
                raise DataError(
                    f"{name} of task {self.name}", expected=f"a row of ids for each of {have[0]} queries",
                    got=str(ids.shape), remedy="Give one row a query; -1 fills rows up.",
                )  # fmt: skip
        if self.partners is not None and len(self.partners) != have[1]:
            raise DataError(
                f"partners of task {self.name}", expected=f"one for each of {have[1]} gallery items",
                got=str(len(self.partners)), remedy="Give the other side of each item, in the order of the gallery.",
            )  # fmt: skip

    def pairs(self) -> list[Example]:
        """The gallery's items with both of their sides; see :func:`joined`.

        Raises:
            DataError: They have one side only.
        """
        if self.partners is None:
            raise DataError(
                f"database of task {self.name}", expected="items that are pairs of an image and a text",
                got="items of one side", remedy="Rank it by database=encoded, or take a labelled protocol.",
            )  # fmt: skip
        return joined(self.gallery, self.partners)

    def allowed(self) -> NDArray[np.int64] | None:
        """The only ids each query may be answered with, int64 (Q, c), ascending, -1 behind them; None for all.

        Example:
            >>> from hashret.relevance import Targets
            >>> queries, gallery = [Example(text="red")], [Example(image=f"{n}.jpg") for n in range(4)]
            >>> Task("composed", queries, gallery, Targets([[3]], 4), excluded=np.array([[1]])).allowed().tolist()
            [[0, 2, 3]]
        """
        if self.excluded is None:
            return self.candidates
        everything = np.arange(len(self.gallery))
        rows = [everything] * len(self.queries) if self.candidates is None else list(self.candidates)
        left = [
            np.setdiff1d(ids, np.append(out, -1), assume_unique=False)
            for ids, out in zip(rows, self.excluded, strict=True)
        ]
        filled = np.full((len(left), max(map(len, left), default=0)), -1, np.int64)
        for row, ids in zip(filled, left, strict=True):
            row[: len(ids)] = ids
        return filled


@dataclass(frozen=True, eq=False)
class RetrievalDataset:
    """Training pairs, validation tasks and test tasks; three values that share no query.

    Attributes:
        name: The dataset and its protocol, as printed with every result.
        train: Training pairs.
        validation: Tasks on which epochs and options are chosen.
        test: Tasks that are reported.
        classes: Names of the labels, in column order; empty where there are none.
        notes: What a reader of a result must know, a sentence each (sizes, seeds, whose labels).

    Raises:
        DataError: No training pair, or a label row whose width is not the number of classes.
    """

    name: str
    train: Sequence[Pair]
    validation: Sequence[Task] = ()
    test: Sequence[Task] = ()
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check sizes and label widths."""
        if len(self.train) < 2:
            raise DataError(
                f"dataset {self.name}", expected="at least 2 training pairs", got=str(len(self.train)),
                remedy="Contrast needs something to differ from: add pairs, or check the path and the split.",
            )  # fmt: skip
        for row, pair in enumerate(self.train):
            if pair.labels is not None and pair.labels.shape != (len(self.classes),):
                raise DataError(
                    f"labels of training pair {row} ({pair.query.key})", expected=f"({len(self.classes)},)",
                    got=str(pair.labels.shape), remedy="Use one list of classes for the whole dataset.",
                )  # fmt: skip

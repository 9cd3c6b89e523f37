"""What the hashers of the tables read: the vectors that a recipe's frozen encoders give, of the same splits.

A hasher must not be handed less than the methods beside it, nor more: images and texts are the pooled features of the
encoders before anything is learned, where the image encoder is trained by the methods 16 x 16 thumbnails as for the
CCA floor, and the training rows are the training pairs. Nothing is fitted here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hashret.errors import DataError, InputError
from hashret.examples import Example, Pair, RetrievalDataset, Task
from hashret.floors import read_vectors
from hashret.pipeline.train import build, device_named, freeze, load_data
from hashret.recipe import Recipe
from hashret.relevance import SharedLabels
from hashret.retriever import Retriever

__all__ = ["Asked", "Inputs", "Rows", "read_inputs"]

Matrix = NDArray[Any]
Side = Literal["image", "text"]
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Rows:
    """Pairs to be fitted on, a row a pair.

    Attributes:
        images: float32 (N, Dx).
        texts: float32 (N, Dy).
        labels: Multi-hot uint8 (N, C); None where items have none.
    """

    images: Matrix
    texts: Matrix
    labels: Matrix | None

    def labelled(self) -> Rows:
        """Those that have a label: the others are like nothing, and no supervised hasher learns from them.

        Raises:
            InputError: There are no labels.
        """
        if self.labels is None:
            raise InputError(
                "labels", expected="labels on every training pair", got="none",
                remedy="Use a labelled protocol, or hashers that need none (cca_sign, cca_itq).",
            )  # fmt: skip
        chosen = self.labels.any(1)
        return Rows(self.images[chosen], self.texts[chosen], self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Asked:
    """A task as vectors.

    Attributes:
        task: Whose they are.
        side: Of its queries.
        queries: float32 (Q, D).
        held: The items of the database by side, float32 (N, D); both sides where they are pairs.
    """

    task: Task
    side: Side
    queries: Matrix
    held: Mapping[Side, Matrix]

    def rows(self) -> Rows:
        """The database as pairs to be fitted on, with its labels.

        Raises:
            DataError: Its items have one side only, or no labels.
        """
        relevance = self.task.relevance
        if len(self.held) < 2 or not isinstance(relevance, SharedLabels):
            raise DataError(
                f"database of task {self.task.name}", expected="labelled pairs of an image and a text",
                got="others", remedy="Leave learned out of --database, or take a labelled protocol.",
            )  # fmt: skip
        return Rows(self.held["image"], self.held["text"], relevance.gallery_labels)


@dataclass(frozen=True, eq=False)
class Inputs:
    """A dataset as vectors.

    Attributes:
        dataset: After the quarantine.
        rejected: What that left out, for a run folder.
        pairs: All training pairs.
        items: One pair an instance, its first.
        validation: Tasks on which settings are chosen.
        test: Tasks that are reported.
    """

    dataset: RetrievalDataset
    rejected: Sequence[Mapping[str, str]]
    pairs: Rows
    items: Rows
    validation: Sequence[Asked]
    test: Sequence[Asked]

    def check_learned(self) -> None:
        """Refuse a database that was not trained on, for there learned codes would need labels nobody trains with.

        Validation items may stand in it: they were held out of what papers train on.

        Raises:
            DataError: A test database holds other items, or is not of labelled pairs.
        """
        known = {example.key for pair in self.dataset.train for example in (pair.query, pair.target)}
        known |= {example.key for asked in self.validation for example in asked.task.queries}
        for asked in (*self.validation, *self.test):
            asked.rows()
            others = [example.key for example in asked.task.gallery if example.key not in known]
            if others:
                raise DataError(
                    f"learned codes of the database of {asked.task.name}",
                    expected="training items, or items of validation held out of them",
                    got=f"{len(others):,} others of {len(asked.task.gallery):,}, such as {others[0]}",
                    remedy="Leave learned out of --database.",
                )  # fmt: skip


def read_inputs(recipe: Recipe, root: str | None, say: Say) -> Inputs:
    """Read what a method of a recipe would read.

    Args:
        recipe: Its data section and its encoders count; the method is built and not trained.
        root: Root of the dataset; None for one that is drawn.
        say: Told in a line what happens.

    Raises:
        DataError: The dataset cannot be used, has no validation or test tasks, or pairs of others than image and text.
        InputError: Texts would be read by an encoder that methods train, whose untrained features are nobody's.
    """
    dataset, rejected = load_data(recipe, root, say)
    _check(dataset)
    torch.manual_seed(0)
    method, processor = build(recipe, dataset)
    if not recipe.frozen["text"] and any(True for _ in method.text.parameters()):
        raise InputError(
            "--hashers", expected="texts read by a frozen encoder, a bag of words or vectors",
            got=f"{recipe.text.name}, which methods train", remedy="Set text.frozen=true, or name other --inputs.",
        )  # fmt: skip
    device = device_named(recipe.training.device)
    retriever = Retriever(method, processor, device=device)
    dataset = freeze(recipe, dataset, retriever.method, processor, device, say)
    frozen = recipe.frozen["image"] or recipe.image.name == "vector"

    def vectors(examples: Sequence[Example]) -> Matrix:
        return read_vectors(retriever, examples, frozen=frozen)

    def asked(task: Task) -> Asked:
        held = {_side(task.gallery): vectors(task.gallery)}
        if task.partners is not None:
            held[_side(task.partners)] = vectors(task.partners)
        return Asked(task, _side(task.queries), vectors(task.queries), held)

    return Inputs(
        dataset, [asdict(item) for item in rejected], *_training(dataset.train, vectors),
        [asked(task) for task in dataset.validation], [asked(task) for task in dataset.test],
    )  # fmt: skip


def _training(pairs: Sequence[Pair], vectors: Callable[[Sequence[Example]], Matrix]) -> tuple[Rows, Rows]:
    """All pairs, and the first of each instance."""
    images, texts = [pair.query for pair in pairs], [pair.target for pair in pairs]
    if images[0].image is None:
        images, texts = texts, images
    labels = [pair.labels for pair in pairs if pair.labels is not None]
    marks = np.stack(labels) if len(labels) == len(pairs) and labels[0].size else None
    every = Rows(vectors(images), vectors(texts), marks)
    instances = [pair.instance if pair.instance >= 0 else -2 - row for row, pair in enumerate(pairs)]
    first = np.sort(np.unique(instances, return_index=True)[1])
    return every, Rows(every.images[first], every.texts[first], None if marks is None else marks[first])


def _check(dataset: RetrievalDataset) -> None:
    """Refuse a dataset that hashers of two modalities cannot be chosen, fitted or measured on."""
    for tasks, what in ((dataset.validation, "validation"), (dataset.test, "test")):
        if not tasks:
            raise DataError(
                f"dataset {dataset.name}", expected=f"{what} tasks", got="none",
                remedy="Settings are chosen on validation items: hold some out.",
            )  # fmt: skip
    pair = dataset.train[0]
    sides = [pair.query, pair.target, *(task.queries[0] for task in (*dataset.validation, *dataset.test))]
    both = [side.key for side in sides if side.image is not None and side.text is not None]
    if both or (pair.query.image is None) == (pair.target.image is None):
        raise DataError(
            f"dataset {dataset.name}", expected="pairs of an image and a text, and queries of one of them",
            got=f"inputs of both, such as {both[0]}" if both else "pairs of one modality",
            remedy="Hashers of two modalities take nothing else.",
        )  # fmt: skip


def _side(examples: Sequence[Example]) -> Side:
    return "image" if examples[0].image is not None else "text"

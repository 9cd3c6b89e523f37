"""Training pairs as batches: which pairs an epoch sees, in which order, decoded by whom.

The order is a function of (seed, stage, epoch) alone. Of an instance with several captions one is drawn an epoch, so
that an image is never its own negative in a batch for having two captions there. Of several processes each decodes its
share of a batch and gets what the others have made. Nothing here knows a method or a loss.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from hashret.examples import Example, Pair
from hashret.methods.method import Batch, Side, Stage
from hashret.models.features import Inputs
from hashret.regions import RegionFiles
from hashret.training.processes import ALONE, Processes

__all__ = ["Copies", "PairTable", "distinct", "instance_numbers", "random_state"]


def random_state(*position: int) -> int:
    """A 63-bit seed for a position such as (seed, stage, epoch, step)."""
    return int(np.random.SeedSequence(position).generate_state(1, np.uint64)[0] >> 1)


def instance_numbers(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """Which instance each pair is of, numbered from 0; a pair that names none is one of its own."""
    named = [pair.instance if pair.instance >= 0 else -2 - row for row, pair in enumerate(pairs)]
    _, numbers = np.unique(np.asarray(named, np.int64), return_inverse=True)
    return np.asarray(numbers, np.int64)


class Copies(Protocol):
    """What a table asks of augmented copies; see :class:`hashret.training.views.Views`."""

    def keys(self) -> list[str]:
        """A name for each copy, in the order of their places."""

    def drawn(self, *position: int) -> NDArray[np.int64]:
        """The place of the copy of each pair in an epoch."""

    def inputs(self, places: NDArray[np.int64]) -> Inputs:
        """The copies at these places."""


class PairTable:
    """The training pairs with their distinct examples.

    Args:
        pairs: Training pairs, at least 2.
        processor: Turns examples into inputs; must survive a trip to a worker process.
        views: Augmented copies of the queries' images, for methods that read them; likewise.

    Attributes:
        items: Number of distinct instances.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        processor: Callable[[Sequence[Example]], Inputs],
        views: Copies | None = None,
    ) -> None:
        """Number instances and distinct examples."""
        self.pairs, self.processor, self.views = pairs, processor, views
        self.instance = instance_numbers(pairs)
        self.items = int(self.instance.max()) + 1
        images: dict[object, int] = {}
        shown = [images.setdefault(_identity(pair.query.image), len(images)) for pair in pairs]
        alone = [(pair.group, -1 if pair.group >= 0 else image) for pair, image in zip(pairs, shown, strict=True)]
        grouped = np.unique(np.asarray(alone, np.int64), axis=0, return_inverse=True)[1].reshape(-1)
        self.beside = {"image": np.asarray(shown, np.int64), "group": grouped}  # what each pair may stand beside
        self.labels = None
        if all(pair.labels is not None for pair in pairs):
            self.labels = np.stack([pair.labels for pair in pairs if pair.labels is not None]).astype(np.float32)
        self.examples: dict[str, list[Example]] = {}
        self.numbers: dict[str, NDArray[np.int64]] = {}
        for side in ("query", "target"):
            self.examples[side], self.numbers[side] = distinct([getattr(pair, side) for pair in pairs])
        self.fixed: dict[str, torch.Tensor | None] = {"query": None, "target": None, "view": None}

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides there are: queries, targets and, where there are copies, views."""
        return ("query", "target") if self.views is None else ("query", "target", "view")

    def keys(self, side: Side) -> list[str]:
        """A name for each of the side's distinct examples, in the order of their places."""
        if side == "view":
            return [] if self.views is None else self.views.keys()
        return [example.key for example in self.examples[side]]

    def inputs(self, side: Side, places: NDArray[np.int64]) -> Inputs:
        """The distinct examples of a side at these places, as encoders read them."""
        if side == "view":
            assert self.views is not None
            return self.views.inputs(places)
        return self.processor([self.examples[side][place] for place in places])

    def epoch(self, batch_size: int, *position: int, together: str = "any") -> list[NDArray[np.int64]]:
        """The rows of each batch of one epoch: one pair an instance, shuffled; a last batch of one pair is left out.

        With ``together="image"`` the pairs of one query image follow each other, and the images are shuffled; with
        ``"group"`` those of one group, and the groups are shuffled.
        """
        generator = np.random.default_rng(np.random.SeedSequence(position))
        order = generator.permutation(len(self.pairs))
        _, first = np.unique(self.instance[order], return_index=True)
        rows = order[np.sort(first)]
        if together != "any":
            beside = self.beside[together]
            place = generator.permutation(int(beside.max()) + 1)
            rows = rows[np.argsort(place[beside[rows]], kind="stable")]
        batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        return [rows for rows in batches if len(rows) > 1]

    def steps(self, batch_size: int) -> int:
        """Steps of an epoch."""
        whole, rest = divmod(self.items, batch_size)
        return whole + (rest > 1)

    def batches(
        self,
        stage: Stage,
        rows: Sequence[NDArray[np.int64]],
        steps: int,
        workers: int,
        position: tuple[int, ...] = (),
        processes: Processes = ALONE,
    ) -> Iterator[Batch]:
        """Batches of the given rows in order, decoded by ``workers`` processes (0: this one).

        ``position`` is that of the epoch; it chooses the copy that is each pair's view. ``processes`` train together.
        """
        dataset = _Batches(self, stage, rows, steps, position, processes)
        loader = DataLoader(dataset, batch_size=None, shuffle=False, num_workers=workers if stage.reads else 0)
        for batch in loader:
            yield _joined(batch, processes) if processes.several and stage.reads else batch


class _Batches(Dataset[Batch]):
    """Batch number -> Batch, for DataLoader; of several processes with the raw inputs of this one's share."""

    def __init__(
        self,
        table: PairTable,
        stage: Stage,
        rows: Sequence[NDArray[np.int64]],
        steps: int,
        position: tuple[int, ...],
        processes: Processes,
    ) -> None:
        self.table, self.stage, self.rows, self.steps, self.processes = table, stage, rows, steps, processes
        self.places: dict[Side, NDArray[np.int64]] = {side: table.numbers[side] for side in ("query", "target")}
        if table.views is not None and "view" in (*stage.reads, *stage.keeps):
            self.places["view"] = table.views.drawn(*position)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Batch:
        table, rows = self.table, self.rows[number]
        read = rows[self.processes.share(len(rows)).numpy()]
        inputs: dict[Side, Inputs | None] = {}
        fixed: dict[Side, torch.Tensor | None] = {}
        for side, numbers in self.places.items():
            places = numbers[rows]
            inputs[side] = table.inputs(side, numbers[read]) if side in self.stage.reads else None
            known = table.fixed[side]
            fixed[side] = None if known is None else known[torch.from_numpy(places)]
        labels = None if table.labels is None else torch.from_numpy(table.labels[rows])
        instance = torch.from_numpy(table.instance[rows])
        return Batch(
            query=inputs["query"],
            target=inputs["target"],
            labels=labels,
            instance=instance,
            query_fixed=fixed["query"],
            target_fixed=fixed["target"],
            items=table.items,
            steps=self.steps,
            view=inputs.get("view"),
            view_fixed=fixed.get("view"),
        )


def _joined(batch: Batch, processes: Processes) -> Batch:
    """The batch with the raw inputs of all rows, of which each process has made its share."""
    own = {"query": batch.query, "target": batch.target, "view": batch.view}
    made = processes.collected({side: inputs for side, inputs in own.items() if inputs is not None})
    whole = {side: Inputs.stack([part[side] for part in made]).rows(slice(len(batch))) for side in made[0]}
    return replace(batch, query=whole.get("query"), target=whole.get("target"), view=whole.get("view"))


def distinct(examples: Sequence[Example]) -> tuple[list[Example], NDArray[np.int64]]:
    """The distinct examples and, for each given one, which of them it is.

    Two examples are the same when they hold the same paths, text or object; pixels are not compared.
    """
    seen: dict[tuple[object, object], int] = {}
    kept: list[Example] = []
    numbers = np.empty(len(examples), np.int64)
    for row, example in enumerate(examples):
        key = (_identity(example.image), _identity(example.text))
        if key not in seen:
            seen[key] = len(kept)
            kept.append(example)
        numbers[row] = seen[key]
    return kept, numbers


def _identity(part: object) -> object:
    if isinstance(part, (str, os.PathLike)):
        return os.fspath(part)
    return part if part is None or isinstance(part, RegionFiles) else id(part)

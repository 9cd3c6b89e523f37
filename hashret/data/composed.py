"""composed: triplets of a reference image, a modifying text and a target image become training pairs and tasks.

FashionIQ, Shoes and CIRR share this. A query is an image and a text in one example, its answer another image. Nothing
is read here, and whether a reference may answer its own query is never decided here: the sets differ in it, and a
figure depends on it.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DataError, InputError
from hashret.examples import Example, Pair, Task
from hashret.relevance import Targets

__all__ = [
    "Triplet",
    "check_known",
    "composed_task",
    "hold_out",
    "subset_task",
    "triplet_notes",
    "triplet_pairs",
    "without",
]


@dataclass(frozen=True)
class Triplet:
    """One composed query and its answer, by names of images.

    Attributes:
        reference: The image that is shown.
        target: The image that is asked for; None where that is not public.
        texts: What is said of the target, at least one; a task asks with the first, an epoch of training draws one.
        key: ``reference#number``; the number tells the triplets of a file apart.
        group: Names of the images that it is asked among (CIRR), the reference with them; empty without groups.
        others: More images that answer it as well.
    """

    reference: str
    target: str | None
    texts: tuple[str, ...]
    key: str
    group: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """All images that answer it."""
        return self.others if self.target is None else (self.target, *self.others)


def triplet_pairs(triplets: Sequence[Triplet], paths: Mapping[str, Path]) -> list[Pair]:
    """Make a training pair for each text and each target of each triplet.

    The instance of a pair is the number of its triplet, since an epoch draws one pair an instance: every triplet is
    seen once an epoch, with one of its texts and targets. Two triplets that share a target, or whose reference is
    another's target, are therefore different instances, and a method that takes the other targets of a batch for wrong
    answers takes these for wrong too, as the published codes do.

    Args:
        triplets: With public targets.
        paths: Name of an image -> its path.

    Example:
        >>> paths = {name: Path(f"{name}.png") for name in "abc"}
        >>> triplets = [Triplet("a", "b", ("red", "in red"), "a#0"), Triplet("a", "c", ("big",), "a#1")]
        >>> pairs = triplet_pairs(triplets, paths)
        >>> [(pair.query.key, pair.query.text, pair.target.key, pair.instance) for pair in pairs]
        [('a#0', 'red', 'b', 0), ('a#0', 'in red', 'b', 0), ('a#1', 'big', 'c', 1)]
    """
    made: list[Pair] = []
    for number, triplet in enumerate(triplets):
        assert triplet.targets
        for name in triplet.targets:
            target = Example(image=paths[name], key=name)
            for text in triplet.texts:
                query = Example(image=paths[triplet.reference], text=text, key=triplet.key)
                made.append(Pair(query, target, None, number))
    return made


def composed_task(
    name: str,
    triplets: Sequence[Triplet],
    gallery: Sequence[str],
    paths: Mapping[str, Path],
    *,
    without_reference: bool,
) -> Task:
    """Ask triplets of a gallery of images; right are their targets.

    Args:
        name: Of the task.
        triplets: Each asked with its first text; one without a target has no right answer.
        gallery: Names of the images that are searched, references and targets among them.
        paths: Name of an image -> its path.
        without_reference: Whether a query may not be answered with its own reference.
    """
    place = {image: number for number, image in enumerate(gallery)}
    queries = [Example(image=paths[t.reference], text=t.texts[0], key=t.key) for t in triplets]
    right = Targets([[place[name] for name in t.targets] for t in triplets], len(gallery))
    excluded = np.array([[place[t.reference]] for t in triplets], np.int64) if without_reference else None
    return Task(name, queries, [Example(image=paths[image], key=image) for image in gallery], right, excluded=excluded)


def subset_task(name: str, whole: Task, triplets: Sequence[Triplet]) -> Task:
    """Ask the queries of a task among the images of their group alone, the reference left out.

    Args:
        name: Of the new task.
        whole: Made of ``triplets`` by :func:`composed_task`; the new task has its queries and its gallery.
        triplets: With groups that lie in the gallery.

    Example:
        >>> paths = {name: Path(f"{name}.png") for name in "abcd"}
        >>> triplets = [Triplet("a", "c", ("red",), "a#7", group=("c", "a", "d"))]
        >>> whole = composed_task("composed", triplets, "abcd", paths, without_reference=True)
        >>> whole.excluded.tolist(), subset_task("composed/subset", whole, triplets).candidates.tolist()
        ([[0]], [[2, 3]])
    """
    place = {image.key: number for number, image in enumerate(whole.gallery)}
    groups = [[place[image] for image in t.group if image != t.reference] for t in triplets]
    candidates = np.full((len(groups), max(map(len, groups), default=0)), -1, np.int64)
    for row, ids in zip(candidates, groups, strict=True):
        row[: len(ids)] = ids
    return Task(name, whole.queries, whole.gallery, whole.relevance, candidates=candidates)


def hold_out(units: Sequence[str], count: int, seed: int, name: str) -> NDArray[np.bool_]:
    """Choose triplets to hold out, whole units of them.

    Args:
        units: What each triplet must not be parted from: its reference image, or its group.
        count: How many at least; the last unit may bring some more. 0 for none.
        seed: At least 0; orders the units (one NumPy permutation of their sorted names).
        name: Of the dataset, for errors.

    Returns:
        Bool, one a triplet: whether it is held out.

    Raises:
        InputError: The seed is negative.
        DataError: ``count`` is negative, or leaves fewer than 2 triplets.

    Example:
        >>> hold_out(["a", "b", "a", "c", "d"], 1, seed=0, name="toy").tolist()
        [False, False, False, True, False]
    """
    if seed < 0:
        raise InputError("seed", expected="an integer >= 0", got=str(seed), remedy="Choose another seed.")
    if isinstance(count, bool) or not 0 <= count <= max(0, len(units) - 2):
        raise DataError(
            f"{name}, validation", expected=f"0 ... {max(0, len(units) - 2)} of the {len(units)} training triplets",
            got=str(count), remedy="Hold out another number.",
        )  # fmt: skip
    if count == 0:
        return np.zeros(len(units), np.bool_)
    _, unit, sizes = np.unique(np.asarray(units), return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    return np.isin(unit, order[before < count])


def check_known(name: str, triplets: Iterable[Triplet], known: Container[str], where: str) -> None:
    """Refuse triplets that name an image their split does not list.

    Raises:
        DataError: There are some; names the first three and how many.
    """
    unknown = [
        f"{role} {image} of {t.key}"
        for t in triplets
        for role, image in (("reference", t.reference), *(("target", name) for name in t.targets))
        if image not in known
    ]
    if unknown:
        raise DataError(
            name, expected=f"references and targets that {where} lists",
            got=f"{len(unknown):,} others: {', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}",
            remedy="Captions and split lists are of different versions: take both from one place.",
        )  # fmt: skip


def triplet_notes(pairs: Sequence[Pair], validation: Sequence[Task], test: Sequence[Task]) -> list[str]:
    """Say how large the parts are."""
    triplets, references = {pair.instance for pair in pairs}, {str(pair.query.image) for pair in pairs}
    notes = [f"train: {len(pairs):,} pairs of {len(triplets):,} triplets, {len(references):,} reference images"]
    for split, tasks in (("validation", validation), ("test", test)):
        asked = ", ".join(f"{task.name} {len(task.queries):,} queries of {_searched(task):,}" for task in tasks)
        notes += [f"{split}: {asked}"] if tasks else []
    return notes


def without(triplets: Iterable[Triplet], references: Collection[str]) -> list[Triplet]:
    """The triplets with other reference images."""
    return [triplet for triplet in triplets if triplet.reference not in references]


def _searched(task: Task) -> int:
    return len(task.gallery) if task.candidates is None else task.candidates.shape[1]

"""folds: recall of captions within equal parts of the test images, as papers print MS-COCO 1K beside 5K.

The n-th fold holds the n-th so many images of the test split, in its order, and their captions; a figure is the mean
of the folds. What was measured is kept in the run folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from campaign import Content, Outcome, say
from numpy.typing import NDArray

from hashret.arrayfile import replace_file
from hashret.errors import DataError, InputError
from hashret.evaluation import evaluate_folds, means_over
from hashret.examples import Example, Task
from hashret.floors import random_codes, untrained_retriever
from hashret.pipeline import load_data
from hashret.pipeline.evaluate import By, untrained_name
from hashret.pipeline.train import device_named, freeze
from hashret.relevance import SameInstance
from hashret.retriever import Retriever

__all__ = ["fold_numbers", "measured"]


def fold_numbers(task: Task, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The fold of each query and of each gallery item.

    Args:
        task: Captions asked of images, or the other way round.
        size: Images a fold.

    Raises:
        DataError: Other relevance than by instance, or images that do not fill their folds.
        InputError: A size below 1.

    Example:
        >>> from hashret.examples import Example
        >>> images, texts = [Example(image=f"{n}.jpg") for n in "ab"], [Example(text=t) for t in ("x", "y", "z")]
        >>> task = Task("t2i", texts, images, SameInstance([7, 3, 7], [7, 3]))
        >>> [fold.tolist() for fold in fold_numbers(task, 1)]
        [[0, 1, 0], [0, 1]]
    """
    if size < 1:
        raise InputError("fold", expected="at least 1 image", got=str(size), remedy="1,000 is the custom.")
    relevance, images = task.relevance, task.gallery if task.gallery[0].image is not None else task.queries
    if not isinstance(relevance, SameInstance) or len(images) % size:
        raise DataError(
            f"folds of task {task.name}", expected=f"captions of a multiple of {size:,} images",
            got=f"{len(images):,} images" if isinstance(relevance, SameInstance) else "another ground truth",
            remedy="Use another size (--fold), or the whole dataset.",
        )  # fmt: skip
    sides = relevance.query_instances, relevance.gallery_instances
    pictured = sides[1] if images is task.gallery else sides[0]
    place = {instance: number for number, instance in enumerate(pictured.tolist())}
    ours, theirs = (np.array([place[instance] // size for instance in side.tolist()], np.int64) for side in sides)
    return ours, theirs


def measured(outcome: Outcome, size: int, places: Sequence[int]) -> Outcome:
    """The outcome with figures of folds in place of those of the whole; measured unless the run folder holds them.

    Args:
        outcome: A trained run.
        size: Images a fold.
        places: The K of hit@K.
    """
    entry, path = outcome.entry, outcome.entry.folder / f"folds-{size}.json"
    metrics = [f"hit@{k}" for k in places]
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["metrics"] == metrics and kept["ties"] == entry.recipe.evaluation.ties:
            return replace(outcome, content=kept["content"])
    say(f"{entry.method}, {entry.bits} bits, seed {entry.seed}: folds of {size:,} images")
    content = _measure(outcome, size, metrics)
    told = {"metrics": metrics, "ties": entry.recipe.evaluation.ties, "content": content}
    replace_file(path, json.dumps(told, indent=1).encode())
    return replace(outcome, content=content)


def _measure(outcome: Outcome, size: int, metrics: Sequence[str]) -> dict[By, Content]:
    """The run and the floors that need no fitting, in the form of the whole's results."""
    entry, recipe = outcome.entry, outcome.entry.recipe
    device, ties = device_named(recipe.training.device), recipe.evaluation.ties
    retriever = Retriever.from_pretrained(entry.folder, device=device)
    dataset, _ = load_data(recipe, entry.root, lambda line: None)
    dataset = freeze(recipe, dataset, retriever.method, retriever.processor, device, lambda line: None)
    own, fresh = type(retriever.method).__name__, untrained_retriever(retriever, recipe.evaluation.seed)
    chance, unlearned = random_codes(retriever.bits, recipe.evaluation.seed), untrained_name(recipe, retriever)
    rows: dict[By, dict[str, Callable[[Sequence[Example]], Any]]] = {
        "codes": {own: retriever.encode, unlearned: fresh.encode, "random codes": chance},
        "embedding": {own: retriever.embed, unlearned: fresh.embed},
    }
    content: dict[By, Content] = {}
    for by in outcome.content:
        scores: dict[str, dict[str, Any]] = {row: {} for row in rows[by]}
        sizes = {}
        for task in dataset.test:
            ours, theirs = fold_numbers(task, size)
            sizes[task.name] = {"queries": len(ours), "gallery": int(np.bincount(theirs).max())}
            for row, represent in rows[by].items():
                sides = represent(task.queries), represent(task.gallery)
                found = evaluate_folds(sides, task.relevance, ours, theirs, metrics, ties, "zero")
                missed = sum(part.unanswered for part in found.values())
                rules = {"ties": ties, "queries": len(ours), "unanswered": missed, "policy": "zero"}
                scores[row][task.name] = {"means": means_over(found), **rules}
        content[by] = {**outcome.content[by], "sizes": sizes, "scores": scores}
    return content

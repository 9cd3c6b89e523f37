"""A run and its floors, measured on the test split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hashret.errors import DataError, InputError
from hashret.evaluation import Scores, evaluate
from hashret.examples import Pair, Task
from hashret.floors import Encode, cca_codes, random_codes, untrained
from hashret.pipeline.train import Say, device_named, freeze, load_data, read_recipe
from hashret.recipe import Recipe
from hashret.retriever import Retriever
from hashret.run import Run

__all__ = ["Results", "evaluate_run"]


@dataclass(frozen=True)
class Results:
    """Scores of a run and of its floors on the test split.

    Attributes:
        dataset: Name and protocol.
        notes: What a reader must know of the split.
        bits: Width of the codes.
        scores: Row ("CRCGS", "random codes", ...) -> task -> Scores; the run first.
        sizes: Task -> (queries, gallery items).
    """

    dataset: str
    notes: tuple[str, ...]
    bits: int
    scores: Mapping[str, Mapping[str, Scores]]
    sizes: Mapping[str, tuple[int, int]]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the per-query values, for JSON."""
        rows = {row: {task: score.to_dict() for task, score in tasks.items()} for row, tasks in self.scores.items()}
        return {
            "dataset": self.dataset,
            "notes": list(self.notes),
            "bits": self.bits,
            "database": "encoded",
            "sizes": {task: {"queries": q, "gallery": n} for task, (q, n) in self.sizes.items()},
            "scores": rows,
        }


def evaluate_run(
    folder: str | os.PathLike[str], *, data: str | os.PathLike[str] | None = None, say: Say = lambda line: None
) -> Results:
    """Measure a run and its floors on the test split of its dataset, and write results.json.

    Args:
        folder: The run.
        data: Root of the dataset, if it has moved since training.
        say: Told in a line what happens; the notes of the dataset are in the results.

    Raises:
        FileError: No run, or no trained model in it.
        DataError: The dataset has no test split.
    """
    run = Run.open(folder)
    content, root = run.recipe()
    recipe = read_recipe(content)
    device = device_named(recipe.training.device)
    retriever = Retriever.from_pretrained(run.folder, device=device)
    dataset, _ = load_data(recipe, root if data is None else os.fspath(data), lambda note: None)
    if not dataset.test:
        raise DataError(
            f"dataset {dataset.name}",
            expected="test tasks",
            got="none",
            remedy="Set data.test to a split that is there.",
        )
    dataset = freeze(recipe, dataset, retriever.method, retriever.processor, device, say)
    results = Results(
        dataset.name,
        dataset.notes,
        retriever.bits,
        {
            row: _score(encode, dataset.test, recipe)
            for row, encode in _rows(recipe, retriever, dataset.train, say).items()
        },
        {task.name: (len(task.queries), len(task.gallery)) for task in dataset.test},
    )
    run.write_json(run.results, results.to_dict())
    return results


def _rows(recipe: Recipe, retriever: Retriever, pairs: Sequence[Pair], say: Say) -> dict[str, Encode]:
    """What is measured: the run first, then its floors; CCA only where it has enough directions, which is said."""
    seed, frozen = recipe.evaluation.seed, recipe.frozen["image"] or recipe.image.name == "vector"
    rows: dict[str, Encode] = {type(retriever.method).__name__: retriever.encode}
    name = "sign(CCA)" if frozen else "sign(CCA) of 16 x 16 thumbnails"
    try:
        rows[name] = cca_codes(retriever, pairs, retriever.bits, seed, frozen=frozen)
    except InputError as error:
        say(f"{name} left out: {error}")
    rows["untrained network"] = untrained(retriever, seed)
    rows["random codes"] = random_codes(retriever.bits, seed)
    return rows


def _score(encode: Encode, tasks: Sequence[Task], recipe: Recipe) -> dict[str, Scores]:
    settings = recipe.evaluation
    return {
        task.name: evaluate(
            (encode(task.queries), encode(task.gallery)),
            task.relevance,
            metrics=list(settings.metrics),
            ties=settings.ties,
        )
        for task in tasks
    }

"""A run and its floors, measured on the test split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hashret.errors import DataError, InputError
from hashret.evaluation import PRESETS, Scores, evaluate, parse_metrics
from hashret.evaluation.presets import Preset
from hashret.evaluation.scorefile import ScoreFile, TaskFacts, digest_of
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

    def to_dict(self, intervals: bool = False) -> dict[str, Any]:
        """Everything but the per-query values, for JSON; with ``intervals`` also the 95 % interval of every metric."""
        rows = {
            row: {task: score.to_dict(intervals) for task, score in tasks.items()} for row, tasks in self.scores.items()
        }
        return {
            "dataset": self.dataset,
            "notes": list(self.notes),
            "bits": self.bits,
            "database": "encoded",
            "sizes": {task: {"queries": q, "gallery": n} for task, (q, n) in self.sizes.items()},
            "scores": rows,
        }


def evaluate_run(
    folder: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    metrics: Sequence[str] | None = None,
    ties: str | None = None,
    unanswered: str = "omit",
    preset: str | None = None,
    say: Say = lambda line: None,
) -> Results:
    """Measure a run and its floors on the test split of its dataset; write results.json and per_query.safetensors.

    Args:
        folder: The run.
        data: Root of the dataset, if it has moved since training.
        metrics: What to measure; None for what the recipe says.
        ties: Tie policy; None for what the recipe says.
        unanswered: What becomes of queries without a right answer: "omit" or "zero".
        preset: A key of PRESETS, which says all of these instead.
        say: Told in a line what happens; the notes of the dataset are in the results.

    Raises:
        FileError: No run, or no trained model in it.
        DataError: The dataset has no test split.
        InputError: Unknown metrics, ties, unanswered or preset, or a preset that means another metric for each task.
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
    if preset is not None:
        wanted = _preset(preset, dataset.test)
        metrics, ties, unanswered = wanted.metrics, wanted.ties, wanted.unanswered
    asked = recipe.evaluation.metrics if metrics is None else tuple(metrics)
    parse_metrics(asked)  # before anything is encoded
    policy = recipe.evaluation.ties if ties is None else ties
    facts = {task.name: _facts(task) for task in dataset.test}
    dataset = freeze(recipe, dataset, retriever.method, retriever.processor, device, say)
    scores = {
        row: _score(encode, dataset.test, asked, policy, unanswered)
        for row, encode in _rows(recipe, retriever, dataset.train, say).items()
    }
    sizes = {task.name: (len(task.queries), len(task.gallery)) for task in dataset.test}
    results = Results(dataset.name, dataset.notes, retriever.bits, scores, sizes)
    ScoreFile(dataset.name, facts, scores).save(run.per_query)
    run.write_json(run.results, results.to_dict())
    return results


def _preset(name: str, tasks: Sequence[Task]) -> Preset:
    """What a preset asks of all tasks alike."""
    if name not in PRESETS:
        raise InputError("preset", expected="one of " + ", ".join(PRESETS), got=repr(name), remedy="Name one of these.")
    sizes = {len(task.queries) for task in tasks}
    if len(sizes) > 1:
        raise InputError(
            f"preset {name}", expected="tasks of equally many queries, on which its metric depends",
            got=", ".join(f"{task.name}: {len(task.queries)}" for task in tasks),
            remedy="Measure each task with hashret.evaluation.evaluate_preset.",
        )  # fmt: skip
    return PRESETS[name](sizes.pop())


def _facts(task: Task) -> TaskFacts:
    """What another run must share with this one to be compared with it."""
    names = tuple(example.key for example in task.queries)
    gallery = [example.key for example in task.gallery]
    allowed = [] if task.candidates is None else [str(ids) for ids in task.candidates.tolist()]
    return TaskFacts(names, task.relevance.totals(), len(gallery), digest_of([*gallery, *allowed]))


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


def _score(
    encode: Encode, tasks: Sequence[Task], metrics: Sequence[str], ties: str, unanswered: str
) -> dict[str, Scores]:
    return {
        task.name: evaluate(
            (encode(task.queries), encode(task.gallery)), task.relevance, metrics=metrics, ties=ties,
            unanswered=unanswered, candidates=task.candidates,
        )
        for task in tasks
    }  # fmt: skip

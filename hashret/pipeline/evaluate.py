"""A run and its floors, measured on the test split."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from hashret.errors import InputError
from hashret.evaluation import PRESETS, Scores, evaluate, parse_metrics
from hashret.evaluation.presets import Preset
from hashret.evaluation.scorefile import ScoreFile, TaskFacts, digest_of
from hashret.examples import Pair, Task
from hashret.floors import cca_codes, no_cca, random_codes, untrained_retriever
from hashret.models import Side
from hashret.pipeline.train import Say
from hashret.pipeline.trained_run import TrainedRun
from hashret.recipe import Recipe
from hashret.retriever import Retriever

__all__ = ["By", "Database", "Results", "evaluate_run", "facts_of", "untrained_name"]

By = Literal["codes", "embedding"]
Database = Literal["encoded", "fused", "learned"]
"""Whose codes stand in the database, which decides a figure more than most methods do.

"encoded": each item's, by the encoder of the side that is searched. "fused": by the encoders of both sides of the item,
without labels, where database items are pairs. "learned": what was learned for an item in training, from both sides and
its labels, where the database is what was trained on.
"""
Represent = Callable[..., Any]  # of examples, or of examples and the other side of each


@dataclass(frozen=True)
class Results:
    """Scores of a run and of its floors on the test split.

    Attributes:
        dataset: Name and protocol.
        notes: What a reader must know of the split.
        bits: Width of the run's codes.
        scores: Row ("CRCGS", "random codes", ...) -> task -> Scores; the run first.
        sizes: Task -> (queries, gallery items).
        dimension: Width of the embeddings where these were ranked, by cosine; None where the codes were.
        database: Whose codes were searched.
        shortlist: What a second look was given of stage 1; None where all was ranked by one stage.
        milliseconds: Row -> task -> median time of one query alone, where that was measured.
    """

    dataset: str
    notes: tuple[str, ...]
    bits: int
    scores: Mapping[str, Mapping[str, Scores]]
    sizes: Mapping[str, tuple[int, int]]
    dimension: int | None = None
    database: Database = "encoded"
    shortlist: int | None = None
    milliseconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def ranked(self) -> str:
        """What was ranked: "64 bits", "embeddings of 512 dimensions, cosine" or a shortlist by one of them."""
        told = f"{self.bits} bits" if self.dimension is None else f"embeddings of {self.dimension} dimensions, cosine"
        return told if self.shortlist is None else f"shortlists of {self.shortlist} by {told}"

    def to_dict(self, intervals: bool = False) -> dict[str, Any]:
        """Everything but the per-query values, for JSON; with ``intervals`` also the 95 % interval of every metric."""
        rows = {
            row: {task: score.to_dict(intervals) for task, score in tasks.items()} for row, tasks in self.scores.items()
        }
        width = {"bits": self.bits} if self.dimension is None else {"dimension": self.dimension, "similarity": "cosine"}
        looked = {} if self.shortlist is None else {"shortlist": self.shortlist}
        return {
            "dataset": self.dataset,
            "notes": list(self.notes),
            **width,
            **looked,
            "database": self.database,
            "sizes": {task: {"queries": q, "gallery": n} for task, (q, n) in self.sizes.items()},
            "scores": rows,
            **({"milliseconds": {row: dict(tasks) for row, tasks in self.milliseconds.items()}} if looked else {}),
        }


def evaluate_run(
    folder: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    metrics: Sequence[str] | None = None,
    ties: str | None = None,
    unanswered: str = "omit",
    preset: str | None = None,
    by: By = "codes",
    database: Database = "encoded",
    floors: bool = True,
    say: Say = lambda line: None,
) -> Results:
    """Measure a run and its floors on the test split of its dataset, and write what was found into the run.

    Of codes into results.json and per_query.safetensors, of embeddings into results-embedding.json and
    per_query-embedding.safetensors, of a fused database into results-fused.json and per_query-fused.safetensors.

    Args:
        folder: The run.
        data: Root of the dataset, if it has moved since training.
        metrics: What to measure; None for what the recipe says.
        ties: Tie policy; None for what the recipe says.
        unanswered: What becomes of queries without a right answer: "omit" or "zero".
        preset: A key of PRESETS, which says all of these instead.
        by: What is ranked: "codes" by Hamming distance, or "embedding", the features the codes were made of, by cosine.
            Random codes and CCA are floors of codes alone.
        database: Whose codes are searched; see :data:`Database`. The floors follow, CCA by the sum of its projections.
        floors: Whether the floors are measured; they are the same for other seeds of a recipe.
        say: Told in a line what happens; the notes of the dataset are in the results.

    Raises:
        FileError: No run, or no trained model in it.
        DataError: The dataset has no test split, one the method cannot be asked of, or for "fused" one whose database
            is not of pairs.
        InputError: Unknown metrics, ties, unanswered, preset, ``by`` or ``database``; a preset that means another
            metric for each task; a metric of Hamming radii by "embedding"; embeddings of another database than
            "encoded"; a "learned" one, which no method of METHODS has.
    """
    _check_choices(by, database)
    trained = TrainedRun.open(folder, data)
    run, recipe, retriever, dataset = trained.run, trained.recipe, trained.retriever, trained.dataset
    if database == "fused":
        for task in dataset.test:
            task.pairs()
    if preset is not None:
        wanted = _preset(preset, dataset.test)
        metrics, ties, unanswered = wanted.metrics, wanted.ties, wanted.unanswered
    asked = recipe.evaluation.metrics if metrics is None else tuple(metrics)
    _check_metrics(asked, by)
    policy = recipe.evaluation.ties if ties is None else ties
    facts = {task.name: facts_of(task, database) for task in dataset.test}
    dataset = trained.frozen(say)
    own = retriever.encode if by == "codes" else retriever.embed
    rows: dict[str, Represent] = {type(retriever.method).__name__: own}
    if floors and by == "codes":
        rows |= _code_floors(recipe, retriever, dataset.train, dataset.test, say)
    elif floors:
        fresh = untrained_retriever(retriever, recipe.evaluation.seed)
        rows[untrained_name(recipe, retriever)] = fresh.embed
    scores = {
        row: _score(represent, dataset.test, asked, policy, unanswered, database) for row, represent in rows.items()
    }
    sizes = {task.name: (len(task.queries), len(task.gallery)) for task in dataset.test}
    dimension = retriever.method.dimension if by == "embedding" else None
    results = Results(dataset.name, dataset.notes, retriever.bits, scores, sizes, dimension, database)
    whole, per_query = run.measured(by, database)
    ScoreFile(dataset.name, facts, scores).save(per_query)
    run.write_json(whole, results.to_dict())
    return results


def _check_choices(by: By, database: Database) -> None:
    """Refuse what is unknown, and what no method has, before anything is opened."""
    if by not in get_args(By):
        raise InputError("by", expected='"codes" or "embedding"', got=repr(by), remedy="Choose one of these.")
    if database not in get_args(Database):
        names = ", ".join(map(repr, get_args(Database)))
        raise InputError("database", expected=f"one of {names}", got=repr(database), remedy="Choose one of these.")
    if database == "learned":
        raise InputError(
            "database", expected='"encoded" or "fused" of a trained network', got='"learned"',
            remedy="Networks here keep no codes of their training items (benchmarks/hashing_map.py has hashers that "
            "do); fused codes are the nearest to them.",
        )  # fmt: skip
    if database != "encoded" and by != "codes":
        raise InputError(
            "database", expected='"encoded" by embedding', got=repr(database), remedy="Only codes are fused."
        )


def _check_metrics(names: Sequence[str], by: By) -> None:
    """Refuse metrics that do not exist or cannot be measured, before anything is encoded."""
    near = [str(metric) for metric in parse_metrics(names) if metric.family.reads == "radius"]
    if near and by == "embedding":
        raise InputError(
            "metrics", expected="metrics of ranks: embeddings have no Hamming radius", got=", ".join(near),
            remedy="Name others (--metrics; metrics= in Python), or measure the codes.",
        )  # fmt: skip


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


def facts_of(task: Task, database: Database) -> TaskFacts:
    """What another run must share with this one to be compared with it."""
    names = tuple(example.key for example in task.queries)
    gallery = [example.key for example in task.gallery]
    barred = (task.candidates, task.excluded)
    allowed = [str(ids) for part in barred if part is not None for ids in part.tolist()]
    other = [] if database == "encoded" else [database, *(example.key for example in task.partners or ())]
    return TaskFacts(names, task.relevance.totals(), len(gallery), digest_of([*gallery, *allowed, *other]))


def _code_floors(
    recipe: Recipe, retriever: Retriever, pairs: Sequence[Pair], tasks: Sequence[Task], say: Say
) -> dict[str, Represent]:
    """What codes are measured beside; CCA only where it has two sides, which is said."""
    seed, frozen = recipe.evaluation.seed, recipe.frozen["image"] or recipe.image.name in ("tokens", "vector")
    rows: dict[str, Represent] = {}
    name = "sign(CCA)" if frozen else "sign(CCA) of 16 x 16 thumbnails"
    reason = no_cca(pairs, tasks)
    if not reason and _is_trained(recipe, retriever, "text"):
        reason = "its texts would be read by an encoder that was trained here"
    if not reason:
        try:
            rows[name] = cca_codes(retriever, pairs, retriever.bits, seed, frozen=frozen)
        except InputError as error:  # not enough directions for so many bits
            reason = str(error)
    if reason:
        say(f"{name} left out: {reason}")
    rows[untrained_name(recipe, retriever)] = untrained_retriever(retriever, seed).encode
    rows["random codes"] = random_codes(retriever.bits, seed)
    return rows


def untrained_name(recipe: Recipe, retriever: Retriever) -> str:
    """What the untrained network is called: a pretrained encoder that was trained on keeps what it learned there."""
    sides: tuple[Side, Side] = ("image", "text")
    kept = [side for side in sides if getattr(retriever.method, side).pretrained]
    if any(_is_trained(recipe, retriever, side) for side in kept):
        return "fresh heads on the trained encoder"
    return "untrained network"


def _is_trained(recipe: Recipe, retriever: Retriever, side: Side) -> bool:
    """Whether a side's encoder has weights that this run changed."""
    encoder = getattr(retriever.method, side)
    return not recipe.frozen[side] and any(True for _ in encoder.parameters())


def _score(
    represent: Represent,
    tasks: Sequence[Task],
    metrics: Sequence[str],
    ties: str,
    unanswered: str,
    database: Database,
) -> dict[str, Scores]:
    found = {}
    for task in tasks:
        asked = represent(task.queries)
        held = represent(task.gallery, task.partners) if database == "fused" else represent(task.gallery)
        found[task.name] = evaluate(
            (asked, held), task.relevance, metrics=metrics, ties=ties, unanswered=unanswered, candidates=task.allowed()
        )
    return found

"""Findings: what a report shows of a run beyond what the run keeps, which takes its codes and therefore its data.

The test split is encoded once, and everything is read off those codes: precision and recall, distances, the health of
the bits, means by class, and the queries that went best and worst. Nothing is drawn and nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.evaluation import evaluate, precision_recall, precision_recall_by_rank
from hashret.evaluation.classes import by_class
from hashret.evaluation.health import Health, code_health, pair_distances
from hashret.examples import Example, Task
from hashret.pipeline.train import Say
from hashret.pipeline.trained_run import TrainedRun
from hashret.relevance import SharedLabels

__all__ = ["AnswerFound", "ByClass", "Curves", "Findings", "QueryFound", "TaskFindings", "examine"]

METRIC = "map"
SHOWN, ANSWERS = 2, 6  # queries of each group, answers of each query
GROUPS = ("best", "middle", "worst")

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class AnswerFound:
    """One answer: the item, its Hamming distance, whether it is right, and the names of its labels."""

    item: Example
    distance: int
    right: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class QueryFound:
    """A query, its average precision, the names of its labels, and its nearest answers by (distance, id).

    ``group`` says whether it is among the best, middle or worst queries.
    """

    group: str
    query: Example
    value: float
    labels: tuple[str, ...]
    answers: tuple[AnswerFound, ...]


@dataclass(frozen=True, eq=False)
class ByClass:
    """Mean average precision of the queries of each class, float64 (C,), NaN without one, and their numbers."""

    names: tuple[str, ...]
    means: NDArray[np.float64]
    queries: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Curves:
    """Recall and precision over the first 1 ... N places, and within each Hamming radius 0 ... bits."""

    by_rank: Curve
    by_radius: Curve


@dataclass(frozen=True, eq=False)
class TaskFindings:
    """What was found of one task.

    Attributes:
        curves: None where each query has a database of its own, for which the curves are not defined.
        relevant: Pairs of a query and a right answer at each distance, int64 (bits + 1,).
        irrelevant: The other pairs.
        classes: None where the data has no labels.
        queries: The best, middle and worst ones.
    """

    curves: Curves | None
    relevant: NDArray[np.int64]
    irrelevant: NDArray[np.int64]
    classes: ByClass | None
    queries: tuple[QueryFound, ...]


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found of a run.

    Attributes:
        ties: The tie policy of the curves over ranks and of average precision.
        tasks: By name.
        health: Of the codes of each kind of item, "images", "texts" or "images with texts": those of the first
            database of that kind, or of the first queries where it stands in none.
    """

    ties: str
    tasks: Mapping[str, TaskFindings]
    health: Mapping[str, Health]


def examine(
    folder: str | os.PathLike[str], *, data: str | os.PathLike[str] | None = None, say: Say = lambda line: None
) -> Findings:
    """Encode the test split of a run and find out what its codes are like.

    Args:
        folder: The run; nothing is written into it.
        data: Root of the dataset, if it has moved since training.
        say: Told in a line what happens.

    Raises:
        FileError: No run, no trained model in it, or no data.
        DataError: The dataset has no test split, or one the method cannot be asked of.
    """
    trained = TrainedRun.open(folder, data)
    retriever, dataset, read = trained.retriever, trained.dataset, trained.frozen(say)
    tasks, ties = {}, trained.recipe.evaluation.ties
    searched: dict[str, Codes] = {}
    asked: dict[str, Codes] = {}
    for task, inputs in zip(dataset.test, read.test, strict=True):
        queries, gallery = retriever.encode(inputs.queries), retriever.encode(inputs.gallery)
        tasks[task.name] = _task(task, (queries, gallery), dataset.classes, ties)
        searched.setdefault(_kind(task.gallery), gallery)
        asked.setdefault(_kind(task.queries), queries)
    return Findings(ties, tasks, {kind: code_health(codes) for kind, codes in (asked | searched).items()})


def _kind(examples: Sequence[Example]) -> str:
    image, text = examples[0].image is not None, examples[0].text is not None
    return "images with texts" if image and text else "images" if image else "texts"


def _task(task: Task, codes: tuple[Codes, Codes], classes: tuple[str, ...], ties: str) -> TaskFindings:
    """All of one task."""
    allowed = task.allowed()
    values = evaluate(codes, task.relevance, [METRIC], ties, candidates=allowed).per_query[METRIC]
    curves = None
    if allowed is None:
        ranked = precision_recall_by_rank(codes, task.relevance, len(task.gallery), ties)
        curves = Curves(ranked, precision_recall(codes, task.relevance))
    relevant, irrelevant = pair_distances(codes, task.relevance)
    labels = task.relevance if isinstance(task.relevance, SharedLabels) and classes else None
    found = None if labels is None else ByClass(classes, *by_class(values, labels.query_labels))
    queries = [
        _query(task, codes, group, row, float(values[row]), classes if labels else (), allowed)
        for group, rows in _chosen(values).items()
        for row in rows
    ]
    return TaskFindings(curves, relevant, irrelevant, found, tuple(queries))


def _chosen(values: NDArray[np.float64]) -> dict[str, list[int]]:
    """Rows of the best, middle and worst queries that count; each row once, equal ones in their order."""
    order = np.argsort(-values, kind="stable")
    order = order[~np.isnan(values[order])]
    few = min(SHOWN, len(order) // len(GROUPS)) or min(1, len(order))
    middle = max(0, (len(order) - few) // 2)
    parts = order[:few], order[middle : middle + few], order[len(order) - few :]
    seen: set[int] = set()
    chosen: dict[str, list[int]] = {}
    for group, part in zip(GROUPS, parts, strict=True):
        chosen[group] = [row for row in part.tolist() if row not in seen]
        seen.update(chosen[group])
    return chosen


def _query(
    task: Task, codes: tuple[Codes, Codes], group: str, row: int, value: float, classes: tuple[str, ...],
    allowed: NDArray[np.int64] | None,
) -> QueryFound:  # fmt: skip
    """One query with its nearest answers among those allowed."""
    distances = np.bitwise_count(codes[1].packed ^ codes[0].packed[row]).sum(1, dtype=np.int64)
    ids = np.arange(len(distances)) if allowed is None else allowed[row][allowed[row] >= 0]
    nearest = ids[np.lexsort((ids, distances[ids]))[:ANSWERS]]
    right = task.relevance.judge([row], nearest[None])[0]
    ours: NDArray[np.uint8] | None = None
    theirs: NDArray[np.uint8] | None = None
    if classes and isinstance(task.relevance, SharedLabels):
        ours, theirs = task.relevance.query_labels[row], task.relevance.gallery_labels
    answers = tuple(
        AnswerFound(task.gallery[id_], int(distances[id_]), bool(mark), _named(theirs, id_, classes))
        for id_, mark in zip(nearest.tolist(), right, strict=True)
    )
    names = () if ours is None else tuple(classes[place] for place in np.flatnonzero(ours))
    return QueryFound(group, task.queries[row], value, names, answers)


def _named(labels: NDArray[np.uint8] | None, row: int, classes: tuple[str, ...]) -> tuple[str, ...]:
    return () if labels is None else tuple(classes[place] for place in np.flatnonzero(labels[row]))

"""ScoreFile: the values per query of an evaluation, kept so that two evaluations can be compared query by query.

A mean in a table cannot be tested against another; this file holds what it was the mean of, the names of the queries,
and how many right answers each had, so that only what answers the same question is compared. It is an array file
(:mod:`hashret.arrayfile`), so any safetensors reader opens it::

    scores/ROW/TASK    float64 (metrics, Q), NaN where a query is left out; the metrics are named in the metadata
    answers/TASK       int64 (Q,), the right answers of each query

It knows nothing of runs or models: a row is a name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.arrayfile import read_arrays, write_arrays
from hashret.errors import FormatError, InputError
from hashret.evaluation.scores import RESAMPLES, Scores
from hashret.evaluation.significance import PairedTest, paired_test

__all__ = ["ScoreFile", "TaskFacts", "compare", "digest_of"]

KIND = "hashret.scores/1"


@dataclass(frozen=True, eq=False)
class TaskFacts:
    """What makes a task the same task.

    Attributes:
        queries: Names of the Q queries, in order; several may share one, and those without one have "".
        answers: Right answers of each, int64 (Q,).
        gallery: Number of gallery items.
        gallery_digest: What :func:`digest_of` gives for their names, and for what else narrows the gallery down.
    """

    queries: tuple[str, ...]
    answers: NDArray[np.int64]
    gallery: int
    gallery_digest: str


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """Scores of several rows on several tasks.

    Attributes:
        dataset: Name and protocol.
        tasks: By name.
        scores: Row -> task -> Scores.

    Example:
        >>> import tempfile
        >>> facts = TaskFacts(("a dog", "a cat"), np.array([1, 2]), 9, digest_of(["photo"] * 9))
        >>> scores = Scores({"map": np.array([0.5, 1.0])}, "expected", 2, 0, "omit")
        >>> path = tempfile.mkdtemp() + "/scores.safetensors"
        >>> ScoreFile("photos", {"t2i": facts}, {"CRCGS": {"t2i": scores}}).save(path)
        >>> ScoreFile.load(path).scores["CRCGS"]["t2i"]["map"]
        0.75
    """

    dataset: str
    tasks: Mapping[str, TaskFacts]
    scores: Mapping[str, Mapping[str, Scores]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, atomically.

        Raises:
            FileError: The place cannot be written.
        """
        arrays: dict[str, NDArray[Any]] = {f"answers/{task}": facts.answers for task, facts in self.tasks.items()}
        rows: list[dict[str, Any]] = []
        for row, tasks in self.scores.items():
            for task, scores in tasks.items():
                key = f"scores/{row}/{task}"
                arrays[key] = np.array(list(scores.per_query.values())).reshape(len(scores.per_query), scores.queries)
                rows.append(
                    {
                        "array": key, "row": row, "task": task, "metrics": list(scores.per_query), "ties": scores.ties,
                        "unanswered": scores.unanswered, "policy": scores.policy,
                    }
                )  # fmt: skip
        tasks_told = {
            task: {"queries": list(facts.queries), "gallery": facts.gallery, "gallery_digest": facts.gallery_digest}
            for task, facts in self.tasks.items()
        }
        metadata = {"dataset": self.dataset, "scores": rows, "tasks": tasks_told}
        write_arrays(path, arrays, kind=KIND, metadata=metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ScoreFile:
        """Read what :meth:`save` wrote.

        Raises:
            FileError: There is no such file.
            FormatError: It holds no scores, is truncated or was changed.
        """
        arrays, metadata = read_arrays(path, kind=KIND)
        try:
            tasks = {
                task: TaskFacts(
                    tuple(told["queries"]), arrays[f"answers/{task}"], told["gallery"], told["gallery_digest"]
                )
                for task, told in metadata["tasks"].items()
            }
            scores: dict[str, dict[str, Scores]] = {}
            for told in metadata["scores"]:
                values = dict(zip(told["metrics"], arrays[told["array"]], strict=True))
                found = Scores(
                    values, told["ties"], len(tasks[told["task"]].queries), told["unanswered"], told["policy"]
                )
                scores.setdefault(told["row"], {})[told["task"]] = found
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                str(path), expected="scores as they were written", got=f"parts that do not fit ({error})",
                remedy="Evaluate again.",
            ) from error  # fmt: skip
        return cls(metadata["dataset"], tasks, scores)

    def row(self, name: str | None) -> tuple[str, Mapping[str, Scores]]:
        """A row by its name, or the first.

        Raises:
            InputError: No such row.
        """
        if name is not None and name not in self.scores:
            raise InputError(
                "row", expected="one of " + ", ".join(self.scores), got=repr(name), remedy="Name a row of the table."
            )
        chosen = next(iter(self.scores)) if name is None else name
        return chosen, self.scores[chosen]


def digest_of(names: Sequence[str]) -> str:
    """A fingerprint of names in their order, hexadecimal.

    Example:
        >>> digest_of(["a", "b"]) == digest_of(["ab"])
        False
    """
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()[:32]


def compare(
    first: ScoreFile,
    second: ScoreFile,
    metric: str | None = None,
    rows: tuple[str | None, str | None] = (None, None),
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, PairedTest]:
    """Compare two evaluations query by query, on every task.

    Args:
        first: One evaluation.
        second: Another, of the same dataset by the same protocol.
        metric: One that both measured; None for the first that ``first`` measured.
        rows: Row of each; None for its first.
        level: Share of the draws inside the intervals.
        resamples: See :func:`hashret.evaluation.significance.paired_test`.
        seed: Of the draws.

    Returns:
        Task -> PairedTest.

    Raises:
        InputError: Different datasets, tasks, queries, galleries or right answers; different rules; an unknown row or
            metric.
    """
    _check_equal("dataset", first.dataset, second.dataset)
    _check_equal("tasks", ", ".join(sorted(first.tasks)), ", ".join(sorted(second.tasks)))
    for task, facts in first.tasks.items():
        _check_task(task, facts, second.tasks[task])
    ours, theirs = first.row(rows[0])[1], second.row(rows[1])[1]
    name = next(iter(next(iter(ours.values())).per_query)) if metric is None else metric
    return {task: paired_test(ours[task], theirs[task], name, level, resamples, seed) for task in first.tasks}


def _check_task(task: str, one: TaskFacts, other: TaskFacts) -> None:
    """Refuse to compare answers to different questions, and name the first difference."""
    _check_equal(f"queries of {task}", str(len(one.queries)), str(len(other.queries)))
    for row, names in enumerate(zip(one.queries, other.queries, strict=True)):
        _check_equal(f"query {row} of {task}", *(repr(name) for name in names))
    _check_equal(f"gallery of {task}", f"{one.gallery} items", f"{other.gallery} items")
    _check_equal(
        f"gallery of {task}", f"names with digest {one.gallery_digest}", f"names with digest {other.gallery_digest}"
    )
    differ = np.flatnonzero(one.answers != other.answers)
    if len(differ):
        row = int(differ[0])
        _check_equal(
            f"right answers of query {row} of {task}", str(int(one.answers[row])), str(int(other.answers[row]))
        )


def _check_equal(what: str, one: str, other: str) -> None:
    if one != other:
        raise InputError(
            what, expected=f"{one} in both", got=f"{other} in the second",
            remedy="Only runs on one dataset, split alike and measured alike, can be compared query by query.",
        )  # fmt: skip

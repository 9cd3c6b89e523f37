"""A run measured on the test split by two-stage search: stage 1 alone, both stages, the fine score of everything."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

from hashret.errors import InputError
from hashret.evaluation import Scores, evaluate
from hashret.evaluation.scorefile import ScoreFile
from hashret.examples import Task
from hashret.pipeline.evaluate import Results, facts_of
from hashret.pipeline.train import Say
from hashret.pipeline.trained_run import TrainedRun
from hashret.pipeline.two_stage import (
    FirstStage,
    Queries,
    TwoStage,
    TwoStageGallery,
    check_everything,
    choose_weight,
    ended,
    milliseconds,
    ways_of,
)
from hashret.retriever import Retriever
from hashret.search.stored_rows import StoredAs

__all__ = ["evaluate_second_look"]

METRICS = ("hit@1", "hit@5", "hit@10")


def evaluate_second_look(
    folder: str | os.PathLike[str],
    shortlist: int = 100,
    *,
    data: str | os.PathLike[str] | None = None,
    by: FirstStage = "embedding",
    weight: float | None = None,
    metrics: Sequence[str] = METRICS,
    dtype: StoredAs = "float16",
    timed: int = 50,
    say: Say = lambda line: None,
) -> Results:
    """Measure a run by two-stage search, and write what was found into its results-second-look-BY.json.

    A query without a right answer is a miss, and so is one whose right answers are not in the shortlist.

    Args:
        folder: The run.
        shortlist: Candidates of stage 1 that stage 2 looks at.
        data: Root of the dataset, if it has moved since training.
        by: What ranks the whole gallery in stage 1.
        weight: Of stage 1's score beside the fine one; None chooses it on the validation tasks.
        metrics: What to measure; none may look further than the shortlist.
        dtype: What tokens of the gallery are kept as.
        timed: Queries that are timed, one after the other.
        say: Told in a line what happens.

    Raises:
        FileError: No run, or no trained model in it.
        DataError: The dataset has no test split, or one the method cannot be asked of.
        InputError: A shortlist or a weight below what there is, no validation task to choose a weight on, or a task
            that allows each query some answers only.
    """
    _check(shortlist, weight)
    trained = TrainedRun.open(folder, data)
    run, retriever, dataset = trained.run, trained.retriever, trained.dataset
    for task in (*dataset.test, *(dataset.validation if weight is None else ())):
        check_everything(task)
    dataset = trained.frozen(say)
    how, told = _chosen(retriever, dataset.validation, TwoStage(shortlist, by, weight or 0.0), weight, metrics)
    name, scores, times = type(retriever.method).__name__, dict[str, dict[str, Scores]](), dict[str, dict[str, float]]()
    for task in dataset.test:
        with tempfile.TemporaryDirectory(dir=run.folder) as place:
            gallery = TwoStageGallery.write(retriever, task.gallery, place, dtype)
            queries = Queries.of(retriever, task.queries)
            for way, search in ways_of(gallery, how).items():
                row = f"{name}, {way}"
                found = evaluate(ended(search(queries)), task.relevance, metrics, unanswered="zero")
                scores.setdefault(row, {})[task.name] = found
                times.setdefault(row, {})[task.name] = milliseconds(search, queries, timed)
    fine = f"tokens, {dtype}" if retriever.method.looks_closer else "embeddings"
    sizes = {task.name: (len(task.queries), len(task.gallery)) for task in dataset.test}
    results = Results(
        dataset.name, (*dataset.notes, f"fine score: {fine}", told), retriever.bits, scores, sizes,
        retriever.method.dimension if by == "embedding" else None, shortlist=shortlist, milliseconds=times,
    )  # fmt: skip
    whole, per_query = run.measured(f"second-look-{by}")
    facts = {task.name: facts_of(task, "encoded") for task in dataset.test}
    ScoreFile(dataset.name, facts, scores).save(per_query)
    run.write_json(whole, results.to_dict())
    return results


def _check(shortlist: int, weight: float | None) -> None:
    if shortlist < 1 or (weight is not None and not weight >= 0):
        raise InputError(
            "second look", expected="a shortlist of 1 or more and a weight of 0 or more", got=f"{shortlist}, {weight}",
            remedy="Give 100 candidates and no weight, which is then chosen on the validation split.",
        )  # fmt: skip


def _chosen(
    retriever: Retriever, tasks: Sequence[Task], how: TwoStage, weight: float | None, metrics: Sequence[str]
) -> tuple[TwoStage, str]:
    """The weight that is used, and where it comes from."""
    about = "weight of stage 1 beside the fine score"
    if weight is not None:
        return how, f"{about}: {weight:g}, given"
    how, tried = choose_weight(retriever, tasks, how, metrics)
    return how, f"{about}: {how.weight:g}, the best of {len(tried)} on the validation split"

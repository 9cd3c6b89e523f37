"""Score files: what is written is read again, and only answers to the same question are compared."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from hashret.arrayfile import write_arrays
from hashret.errors import FileError, FormatError, InputError
from hashret.evaluation.scorefile import ScoreFile, TaskFacts, compare, digest_of
from hashret.evaluation.scores import Scores


def scores_of(seed, queries=12, metrics=("map", "hit@1"), ties="expected"):
    rng = np.random.default_rng(seed)
    values = {metric: np.where(np.arange(queries) == 3, np.nan, rng.random(queries)) for metric in metrics}
    return Scores(values, ties, queries, 1, "omit")


def file_of(seed=0, rows=("CRCGS", "random codes")):
    answers = np.arange(12)
    facts = {
        "i2t": TaskFacts(tuple(f"photo {n}.jpg" for n in range(12)), answers, 3, digest_of("abc")),
        "composed/dress": TaskFacts(("",) * 12, answers, 0, digest_of([])),
    }
    scores = {
        row: {task: scores_of(seed + 10 * place + 100 * len(task)) for task in facts} for place, row in enumerate(rows)
    }
    return ScoreFile("pictures (labels)", facts, scores)


def test_what_is_written_is_read_again(tmp_path):
    written = file_of()
    written.save(tmp_path / "s")
    read = ScoreFile.load(tmp_path / "s")
    assert read.dataset == written.dataset
    assert list(read.scores) == ["CRCGS", "random codes"]
    for row, tasks in written.scores.items():
        for task, scores in tasks.items():
            again = read.scores[row][task]
            assert (again.ties, again.queries, again.unanswered, again.policy) == ("expected", 12, 1, "omit")
            assert list(again.per_query) == ["map", "hit@1"]
            for metric, values in scores.per_query.items():
                np.testing.assert_array_equal(again.per_query[metric], values)
    for task, facts in written.tasks.items():
        assert read.tasks[task].queries == facts.queries
        assert read.tasks[task].answers.tolist() == facts.answers.tolist()


def test_other_readers_open_it(tmp_path):
    file_of().save(tmp_path / "s.safetensors")
    arrays = load_file(tmp_path / "s.safetensors")
    assert arrays["scores/random codes/composed/dress"].shape == (2, 12)
    assert arrays["answers/i2t"].tolist() == list(range(12))


def test_what_is_no_score_file_is_refused(tmp_path):
    with pytest.raises(FileError):
        ScoreFile.load(tmp_path / "nothing")
    write_arrays(tmp_path / "other", {"x": np.zeros(3)}, kind="hashret.codes/1")
    with pytest.raises(FormatError, match="hashret.scores/1"):
        ScoreFile.load(tmp_path / "other")
    metadata = {"dataset": "x", "tasks": {}, "scores": [{"row": "a", "task": "b", "array": "c", "metrics": ["map"]}]}
    write_arrays(tmp_path / "torn", {"x": np.zeros(3)}, kind="hashret.scores/1", metadata=metadata)
    with pytest.raises(FormatError, match="parts that do not fit"):
        ScoreFile.load(tmp_path / "torn")


def test_tasks_are_compared_one_by_one():
    first, second = file_of(0), file_of(1)
    tests = compare(first, second)
    assert list(tests) == ["i2t", "composed/dress"]
    assert tests["i2t"].metric == "map"
    assert tests["i2t"].queries == 11
    assert tests["i2t"].difference == pytest.approx(
        first.scores["CRCGS"]["i2t"]["map"] - second.scores["CRCGS"]["i2t"]["map"]
    )
    within = compare(first, first, "hit@1", rows=("CRCGS", "random codes"))
    assert within["i2t"].second == first.scores["random codes"]["i2t"]["hit@1"]
    assert compare(first, second, seed=3, resamples=10)["i2t"].resamples == 10


def test_what_was_not_asked_the_same_is_refused():
    first = file_of()
    facts = first.tasks["i2t"]

    def other(**changes):
        return replace(first, tasks={**first.tasks, "i2t": replace(facts, **changes)})

    names = [*facts.queries[:5], "another.jpg", *facts.queries[6:]]
    for second, said in (
        (replace(first, dataset="pictures (captions)"), r"dataset: expected pictures \(labels\) in both, got"),
        (replace(first, tasks={"i2t": facts}), "tasks: expected composed/dress, i2t in both"),
        (other(queries=facts.queries[:-1]), "queries of i2t: expected 12 in both, got 11"),
        (other(queries=tuple(names)), r"query 5 of i2t: expected 'photo 5\.jpg' in both, got 'another\.jpg'"),
        (other(gallery=4), "gallery of i2t: expected 3 items in both, got 4"),
        (other(gallery_digest=digest_of("abd")), "names with digest"),
        (other(answers=facts.answers + (facts.answers == 7)), "right answers of query 7 of i2t: expected 7 in both"),
    ):
        with pytest.raises(InputError, match=said):
            compare(first, second)
    tied = replace(first, scores={"CRCGS": {task: scores_of(1, ties="best") for task in first.tasks}})
    with pytest.raises(InputError, match="one ties for both"):
        compare(first, tied)
    with pytest.raises(InputError, match="row: expected one of CRCGS, random codes, got 'DCMH'"):
        compare(first, first, rows=("CRCGS", "DCMH"))
    with pytest.raises(InputError, match="metric: expected one of map, hit@1"):
        compare(first, first, "recall@5")

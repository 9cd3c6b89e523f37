"""Findings of a task whose queries may not be answered with their own reference; the rest is shown on trained runs."""

import numpy as np

from hashret.codes import binarize
from hashret.evaluation import evaluate
from hashret.examples import Example, Task
from hashret.pipeline.findings import _task
from hashret.relevance import Targets


def test_what_is_excluded_is_never_among_the_answers():
    chance = np.random.default_rng(0)
    gallery = [Example(text=f"item {n}") for n in range(20)]
    queries = [Example(text=f"query {n}") for n in range(9)]
    targets, references = chance.permutation(20)[:9], (chance.permutation(20)[:9])
    references = np.where(references == targets, (references + 1) % 20, references)
    codes = binarize(chance.standard_normal((20, 12)))
    asked = codes[references]  # each nearest to its own reference
    relevance = Targets([[target] for target in targets.tolist()], 20)
    task = Task("composed", queries, gallery, relevance, excluded=references[:, None])
    found = _task(task, (asked, codes), (), "expected")
    assert found.curves is None
    assert found.classes is None
    values = evaluate((asked, codes), relevance, candidates=task.allowed()).per_query["map"]
    assert [query.group for query in found.queries] == ["best"] * 2 + ["middle"] * 2 + ["worst"] * 2
    order = np.sort(values)[::-1]
    np.testing.assert_allclose([query.value for query in found.queries], order[[0, 1, 3, 4, 7, 8]])
    for query in found.queries:
        row = int(query.query.key.split()[1])
        distances = (codes.unpack() != asked.unpack()[row]).sum(1)
        ranked = [n for n in np.lexsort((np.arange(20), distances)) if n != references[row]][:6]
        assert [answer.item.key for answer in query.answers] == [f"item {n}" for n in ranked]
        assert [answer.right for answer in query.answers] == [n == targets[row] for n in ranked]
        assert [answer.distance for answer in query.answers] == distances[ranked].tolist()

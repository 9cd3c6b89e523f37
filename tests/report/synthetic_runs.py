"""Runs for a report made of plain values: nothing is trained, and every text may be hostile."""

import numpy as np
from PIL import Image

from hashret.codes import binarize
from hashret.evaluation.classes import by_class
from hashret.evaluation.health import code_health, pair_distances
from hashret.evaluation.scorefile import ScoreFile, TaskFacts, digest_of
from hashret.evaluation.scores import Scores
from hashret.examples import Example
from hashret.pipeline.findings import AnswerFound, ByClass, Curves, Findings, QueryFound, TaskFindings
from hashret.relevance import SharedLabels
from hashret.report.kept import Kept
from hashret.report.parts import Examined

HOSTILE = "<script>alert('x')</script> & \"$x_1$\" ![a](http://evil.example/b.png)"
QUERIES = 40


def kept(name, *, bits=8, seed=0, method="crcgs", values=None, dataset="tiny", tasks=("i2t",), words="plain"):
    """A run whose scores are ``values`` (float (Q,)) on every task, higher by nothing on any; None for not measured."""
    recipe = {
        "data": {"name": "folder", "protocol": "labels"},
        "method": {"name": method, "bits": bits, "note": words},
        "training": {"seed": seed},
        "evaluation": {"seed": 0, "ties": "expected"},
    }
    scores = None
    if values is not None:
        values = np.asarray(values, np.float64)
        facts = TaskFacts(("q",) * len(values), np.ones(len(values), np.int64), 9, digest_of([dataset]))
        own = {
            task: Scores({"map": values}, "expected", len(values), int(np.isnan(values).sum()), "omit")
            for task in tasks
        }
        floor = {task: Scores({"map": values / 2}, "expected", len(values), 0, "omit") for task in tasks}
        scores = ScoreFile(dataset, {task: facts for task in tasks}, {"CRCGS": own, "random codes": floor})
    log = [
        {"event": "epoch", "stage": words, "epoch": e, "losses": {words: 1 / e}, "validation": e / 10, "seconds": 30.0}
        for e in (1, 2, 3)
    ]
    environment = {"python": "3.11.7", "threads": 1, "packages": {"torch": "2.4"}}
    return Kept(name, recipe, environment, log, 2, {"notes": [words], "database": "encoded"}, scores)


def findings(words="plain", *, bits=8, tasks=("i2t",)):
    """What codes of two classes are like, with a picture and a text among the answers."""
    chance = np.random.default_rng(0)
    labels = np.eye(2, dtype=np.uint8)[chance.integers(0, 2, QUERIES)]
    signal = labels @ chance.standard_normal((2, bits))
    queries, gallery = (binarize(signal + chance.standard_normal(signal.shape)) for _ in range(2))
    relevance = SharedLabels(labels, labels)
    from hashret.evaluation import precision_recall, precision_recall_by_rank

    pair = (queries, gallery)
    curves = Curves(precision_recall_by_rank(pair, relevance, QUERIES), precision_recall(pair, relevance))
    values = chance.random(QUERIES)
    picture = Image.fromarray(chance.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    answers = (
        AnswerFound(Example(text=words), 1, True, (words,)),
        AnswerFound(Example(image=picture, key=words), 2, False, ()),
    )
    rows = tuple(
        QueryFound(group, Example(text=words), 0.5, (words,), answers) for group in ("best", "middle", "worst")
    )
    classes = ByClass((words, "second"), *by_class(values, labels))
    task = TaskFindings(curves, *pair_distances(pair, relevance), classes, rows)
    health = {"texts": code_health(gallery), "images": code_health(queries)}
    return Findings("expected", {name: task for name in tasks}, health)


def examined(name, words="plain", **options):
    """A run that keeps its scores and was examined."""
    values = np.random.default_rng(options.get("seed", 0)).random(QUERIES)
    run = kept(name, values=values, words=words, **options)
    return Examined(run, findings(words, bits=run.bits, tasks=tuple(run.own)))

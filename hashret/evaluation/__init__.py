"""Retrieval metrics with a stated tie rule: what "mAP" can mean, worked through on one ranking.

A query has the code 11110000. Twenty-four items are ranked by their Hamming distance to it; nine are right answers:

    >>> import numpy as np
    >>> from hashret import Codes, SameInstance, evaluate
    >>> items = bytes.fromhex("e8a0f1b5f37879ecbdfaf872f0ed9896b659f1e40466e270")
    >>> right = [int(mark) for mark in "000010000111101011000010"]
    >>> query, gallery = Codes(np.array([[0b11110000]], np.uint8), 8), Codes(np.frombuffer(items, np.uint8)[:, None], 8)
    >>> relevance = SameInstance([1], right)

Eight bits have nine distances, so most items tie with others. The ranking is no more than this: at each distance, how
many items there are, and how many of them are right:

    >>> distances = np.bitwise_count(gallery.packed[:, 0] ^ query.packed[0, 0])
    >>> np.bincount(distances).tolist(), np.bincount(distances, weights=right).astype(int).tolist()
    ([1, 4, 8, 5, 5, 1], [1, 1, 4, 2, 1, 0])

**Four metrics are called mAP, and each has four values**, because nothing says in which order equals stand. A row is a
tie policy, and K is 5:

    >>> names = ["map", "map@5", "map@5:hits", "map@5:relevant"]
    >>> for ties in ("worst", "expected", "by-id", "best"):
    ...     values = evaluate((query, gallery), relevance, names, ties=ties).means().values()
    ...     print(f"{ties:10}", *(f"{value:.3f}" for value in values))
    worst      0.465 0.280 0.700 0.496
    expected   0.547 0.328 0.821 0.611
    by-id      0.514 0.333 0.833 0.579
    best       0.652 0.400 1.000 0.739

One set of codes, one ground truth, and the number is anything from 0.28 to 1.00. Down a column only the order of equals
changes, which no search has promised: ``map`` moves by 0.19. Along a row only the definition changes:

- ``map``, over the whole ranking, is what cross-modal hashing papers print as mAP@all.
- ``map@5`` stops at place 5 and divides by 5, the most right answers that fit there: what lies deeper earns nothing.
- ``map@5:hits`` stops there too, and divides by what it found: with ties broken well it calls this ranking perfect,
  though seven of nine right answers were not found. CRCGS and UCCH print it.
- ``map@5:relevant`` averages over the first five *right answers*, wherever they rank. DCHMT, MITH and TwDH print it.

So a table that says "mAP@5000" has not said what it holds; :mod:`hashret.evaluation.metrics` names every metric once.

**by-id is an accident.** It is what a stable sort gives, and it depends on the order in which items were stored. Stored
with the right answers last, the same items score as "worst"; "expected", the average over all orders of equals, stays:

    >>> order = np.argsort(right, kind="stable")
    >>> for ties in ("by-id", "expected"):
    ...     moved = evaluate((query, gallery[order]), SameInstance([1], np.array(right)[order]), ["map"], ties=ties)
    ...     print(f"{ties:10} {moved['map']:.3f}")
    by-id      0.465
    expected   0.547

**A mean over queries is an estimate.** Scores keep the value of every query, for an interval, and for a test of one
system against another on the same queries (:mod:`hashret.evaluation.significance`). Let every second item be a query
that wants its own kind, and compare all eight bits with the first four alone:

    >>> marks = np.array(right)
    >>> kinds = SameInstance(marks[::2], marks)
    >>> eight = evaluate((gallery[::2], gallery), kinds)
    >>> first_four = Codes(gallery.packed & 0b11110000, 8)
    >>> four = evaluate((first_four[::2], first_four), kinds)
    >>> low, high = eight.interval("map")
    >>> print(f"{eight['map']:.3f} [{low:.3f}, {high:.3f}] against {four['map']:.3f}")
    0.654 [0.608, 0.703] against 0.587
    >>> test = paired_test(eight, four, "map")
    >>> print(f"{test.difference:+.3f} [{test.low:+.3f}, {test.high:+.3f}], p = {test.p:.2f}")
    +0.067 [+0.022, +0.113], p = 0.02

On these twelve queries the last four bits help; the interval of the difference is what to print beside it.

Rankings come from and go to other programs as TREC runs (:mod:`hashret.evaluation.runfile`), whose page says where
trec_eval, ir_measures, ranx and torchmetrics give other numbers, and why.
"""

from hashret.evaluation.curve import precision_recall, precision_recall_by_rank
from hashret.evaluation.evaluate import UNANSWERED, evaluate
from hashret.evaluation.metrics import METRICS, aggregate, parse_metrics
from hashret.evaluation.presets import PRESETS, evaluate_preset
from hashret.evaluation.runfile import read_qrels, read_run, score_run, write_qrels, write_run
from hashret.evaluation.scores import Scores
from hashret.evaluation.significance import PairedTest, paired_test
from hashret.evaluation.summaries import evaluate_folds, means_over, rsum
from hashret.evaluation.ties import TIES

__all__ = [
    "METRICS",
    "PRESETS",
    "PairedTest",
    "TIES",
    "UNANSWERED",
    "Scores",
    "aggregate",
    "evaluate",
    "evaluate_folds",
    "evaluate_preset",
    "means_over",
    "paired_test",
    "parse_metrics",
    "precision_recall",
    "precision_recall_by_rank",
    "read_qrels",
    "read_run",
    "rsum",
    "score_run",
    "write_qrels",
    "write_run",
]

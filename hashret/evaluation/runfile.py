r"""TREC runs and qrels: rankings and right answers as the text files that other evaluators read and write.

A run has a line an answer, ``query Q0 document rank score tag``; qrels have a line a judgement, ``query 0 document
grade``. trec_eval, pytrec_eval, ir_measures and ranx read both, so a ranking of hashret's can be checked by any of
them, and anyone's ranking can be scored here. As in trec_eval the score ranks, higher first, and the rank column is
ignored; a grade above 0 is a right answer, a document without a judgement is a wrong one.

Where the numbers of others differ from these, on the same two files:

- **Equal scores.** trec_eval (and pytrec_eval and ir_measures, which run it) ranks them by document name, descending.
  ``ties="by-id"`` does so here, and then agrees on every ranking; the default, "expected", is the average over all
  orders. ranx leaves the order of equal scores to its sort. A run written by :func:`write_run` has the score
  ``-distance``, so all of them see Hamming's ties.
- **Nearly equal scores.** trec_eval keeps scores as 32-bit floats, and ties those that differ by less.
- **Cuts.** ``map@K`` divides by min(K, right answers). trec_eval's ``map_cut_K`` and ranx's ``map@K`` divide by all
  right answers, torchmetrics' ``RetrievalMAP(top_k=K)`` by those it finds within the cut (``map@K:hits``).
- **A query that is judged and not ranked** is a miss, and is counted: a system cannot improve by leaving out what is
  hard. So do ir_measures and ``trec_eval -c``; trec_eval without ``-c`` averages over the ranked queries only, and ranx
  refuses. A query that is ranked and not judged is left out and counted, as everywhere.
- **A query without right answers** is left out of the means and counted; ``unanswered="zero"`` makes it a miss, as all
  of the others do.
- **Equal documents.** A document twice for one query is refused, as by trec_eval; dictionaries keep one of the two.
- **NaN and infinite scores** are refused. trec_eval ranks them.
- **Scores of 0 and below** are scores like all others. torchmetrics takes an item without a positive one for wrong.

Nothing here guesses: a line that is no such line is an error with its number.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashret.arrayfile import replace_file
from hashret.errors import FileError, FormatError, InputError, NonFiniteError
from hashret.evaluation.evaluate import evaluate
from hashret.evaluation.metrics import parse_metrics
from hashret.evaluation.scores import Scores
from hashret.relevance import GradedTargets, Relevance, Targets
from hashret.search.hits import PAD_DISTANCE, PAD_ID, Hits

__all__ = ["RunScores", "read_qrels", "read_run", "score_run", "write_qrels", "write_run"]

Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]
Path_ = str | os.PathLike[str]

_BLOCK_PAIRS = 1 << 22  # judged at once


@dataclass(frozen=True, eq=False)
class RunScores:
    """What :func:`score_run` found.

    Attributes:
        scores: Of the judged queries.
        names: Names of these queries, in the order of the values.
        unranked: Queries with right answers that the run does not rank; each is a miss: 0, or an infinite rank.
        unjudged: Ranked queries without a judgement, which are left out.
    """

    scores: Scores
    names: tuple[str, ...]
    unranked: int
    unjudged: int


def write_run(
    path: Path_, hits: Hits, query_names: Sequence[str], item_names: Sequence[str], tag: str = "hashret"
) -> None:
    """Write hits as a TREC run.

    The score is ``-distance``. Lines stand by (distance, id), but who reads a run re-sorts it by score: trec_eval ranks
    equal scores by document name, descending, so the order among equal distances does not survive.

    Args:
        path: Where to; an existing file is replaced only once the new one is whole.
        hits: Answers (Q, k); padding is left out, and with it a query that found nothing.
        query_names: Q names without white space.
        item_names: Name of each id, 0 ... N - 1.
        tag: Name of the system.

    Raises:
        InputError: Names that are empty, equal or hold white space; another number of them than queries; an id without
            a name.
        FileError: The place cannot be written.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/a.run"
        >>> hits = Hits(np.array([[0, 3]], np.int32), np.array([[1, 0]]))
        >>> write_run(path, hits, ["dogs"], ["cat.jpg", "dog.jpg"])
        >>> print(Path(path).read_text(), end="")
        dogs Q0 dog.jpg 1 0 hashret
        dogs Q0 cat.jpg 2 -3 hashret
    """
    _check_names(query_names, "query names", len(hits))
    _check_names(item_names, "item names", len(item_names))
    _check_names([tag], "tag", 1)
    if hits.ids.size and hits.ids.max() >= len(item_names):
        raise InputError(
            "item names", expected=f"a name for id {hits.ids.max()}", got=f"{len(item_names)} names",
            remedy="Name every item of the gallery.",
        )  # fmt: skip

    def lines() -> Iterator[bytes]:
        for query, far, ids in zip(query_names, hits.distances.tolist(), hits.ids.tolist(), strict=True):
            answers = [(distance, item) for distance, item in zip(far, ids, strict=True) if item >= 0]
            yield "".join(
                f"{query} Q0 {item_names[item]} {rank} {-distance} {tag}\n"
                for rank, (distance, item) in enumerate(answers, start=1)
            ).encode()

    replace_file(path, lines())


def write_qrels(path: Path_, relevance: Relevance, query_names: Sequence[str], item_names: Sequence[str]) -> None:
    """Write right answers as TREC qrels: grade 1, or the gain where answers are graded.

    A query without a right answer has no line, so that who reads the file does not know of it.

    Args:
        path: Where to; an existing file is replaced only once the new one is whole.
        relevance: The right answers.
        query_names: Q names without white space.
        item_names: Name of each gallery item.

    Raises:
        InputError: Names that are empty, equal or hold white space; another number of them than queries or items; a
            gain that is no whole number.
        FileError: The place cannot be written.
    """
    _check_names(query_names, "query names", relevance.queries)
    _check_names(item_names, "item names", relevance.gallery)
    height = max(1, _BLOCK_PAIRS // max(relevance.gallery, 1))

    def lines() -> Iterator[bytes]:
        for start in range(0, relevance.queries, height):
            rows = np.arange(start, min(start + height, relevance.queries))
            for row, gains in zip(rows.tolist(), relevance.gains(rows), strict=True):
                items = np.flatnonzero(gains)
                grades = gains[items].astype(np.int64)
                if (grades != gains[items]).any():
                    raise InputError(
                        f"gains of query {query_names[row]}", expected="whole numbers", got=str(gains[items].tolist()),
                        remedy="Qrels hold whole grades: scale or round the gains.",
                    )  # fmt: skip
                yield "".join(
                    f"{query_names[row]} 0 {item_names[item]} {grade}\n"
                    for item, grade in zip(items.tolist(), grades.tolist(), strict=True)
                ).encode()

    replace_file(path, lines())


def read_run(path: Path_) -> dict[str, dict[str, float]]:
    """Read a TREC run.

    Args:
        path: The file.

    Returns:
        Query -> document -> score, in the order of the file: what ranx and pytrec_eval take.

    Raises:
        FileError: There is no such file.
        FormatError: A line has other than six fields or a score that is no finite number, a query names a document
            twice, or there is no line at all.
    """
    run: dict[str, dict[str, float]] = {}
    names: dict[str, str] = {}  # each name is kept once
    for number, (query, _, document, _, text, _) in _fields(path, "query Q0 document rank score tag"):
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise _bad_line(path, number, "a finite score", repr(text), "Find what made it; leave no answer unscored.")
        row = run.setdefault(query, {})
        _check_new(document, row, path, number)
        row[names.setdefault(document, document)] = score
    return run


def read_qrels(path: Path_) -> dict[str, dict[str, int]]:
    """Read TREC qrels.

    Args:
        path: The file.

    Returns:
        Query -> document -> grade, in the order of the file; above 0 is a right answer.

    Raises:
        FileError: There is no such file.
        FormatError: A line has other than four fields or a grade that is no whole number, a query names a document
            twice, or there is no line at all.
    """
    qrels: dict[str, dict[str, int]] = {}
    names: dict[str, str] = {}
    for number, (query, _, document, text) in _fields(path, "query 0 document grade"):
        try:
            grade = int(text)
        except ValueError:
            raise _bad_line(path, number, "a whole grade", repr(text), "0 is wrong, 1 and more are right.") from None
        row = qrels.setdefault(query, {})
        _check_new(document, row, path, number)
        row[names.setdefault(document, document)] = grade
    return qrels


def score_run(
    run: Run, qrels: Qrels, metrics: Sequence[str] = ("map",), ties: str = "expected", unanswered: str = "omit"
) -> RunScores:
    """Measure a ranking by anyone.

    A list that ends is whole: a right answer that it does not hold was not found.

    Args:
        run: Query -> document -> score; higher is better, equal scores tie.
        qrels: Query -> document -> grade; above 0 is a right answer, and its gain.
        metrics: As :func:`hashret.evaluation.evaluate.evaluate` takes them.
        ties: "expected", "best", "worst", or "by-id": equal scores by document name, descending, as in trec_eval.
        unanswered: What becomes of judged queries without a right answer: "omit" or "zero".

    Returns:
        RunScores.

    Raises:
        InputError: Unknown metrics, ties or unanswered; a metric that asks for distances; no judged query, or none with
            a right answer where those are left out.
        NonFiniteError: A score that is NaN or infinite.

    Example:
        >>> run = {"q1": {"a": 0.9, "b": 0.5, "c": 0.5}}
        >>> found = score_run(run, {"q1": {"c": 1}, "q2": {"a": 1}}, ["map", "hit@2"])
        >>> found.scores.per_query["hit@2"].tolist(), found.unranked
        ([0.5, 0.0], 1)
    """
    _refuse_radius(metrics)
    names = tuple(qrels)
    ranked = [dict(run.get(name, {})) for name in names]
    answers = [{document: grade for document, grade in qrels[name].items() if grade > 0} for name in names]
    width = 1 + max((len(scores) for scores in ranked), default=0)  # a column of padding ends every list
    far = np.full((len(names), width), PAD_DISTANCE, np.int32)
    ids = np.full((len(names), width), PAD_ID, np.int64)
    targets: list[dict[int, int]] = []
    gallery = 0
    for row, (name, scores, right) in enumerate(zip(names, ranked, answers, strict=True)):
        # Documents have numbers of their own within each query, by descending name.
        order = sorted(scores.keys() | right.keys(), key=lambda document: document.encode(), reverse=True)
        numbers = {document: number for number, document in enumerate(order)}
        values = np.array([scores[document] for document in order if document in scores], np.float64)
        mine = np.array([numbers[document] for document in order if document in scores], np.int64)
        _check_finite(values, name)
        place = np.argsort(-values, kind="stable")
        ids[row, : len(mine)] = mine[place]
        far[row, : len(mine)] = np.unique(-values, return_inverse=True)[1][place]
        targets.append({numbers[document]: grade for document, grade in right.items()})
        gallery = max(gallery, len(order))
    graded = any(grade > 1 for right in targets for grade in right.values())
    relevance = GradedTargets(targets, gallery) if graded else Targets(targets, gallery)
    scores_found = evaluate(Hits.checked(far, ids), relevance, metrics, ties=ties, unanswered=unanswered)
    unranked = sum(bool(right) and name not in run for name, right in zip(names, answers, strict=True))
    return RunScores(scores_found, names, unranked, sum(name not in qrels for name in run))


def _refuse_radius(metrics: Sequence[str]) -> None:
    """Scores are no Hamming distances."""
    within = [str(metric) for metric in parse_metrics(metrics) if metric.family.reads == "radius"]
    if within:
        raise InputError(
            "metrics", expected="metrics of ranks", got=", ".join(within),
            remedy="A run file holds scores, no Hamming distances: measure codes instead.",
        )  # fmt: skip


def _fields(path: Path_, form: str) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of every line that is not blank; all have as many fields as the form."""
    count, any_line = len(form.split()), False
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                fields = line.split()
                if not fields:
                    continue
                if len(fields) != count:
                    got = f"{len(fields)} fields in {line.strip()[:80]!r}"
                    raise _bad_line(path, number, f"{count} fields ({form})", got, "Write it in TREC's form.")
                any_line = True
                yield number, fields
    except OSError as error:
        raise FileError(
            str(path), expected="a file", got=error.strerror or str(error), remedy="Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise FormatError(
            str(path), expected="UTF-8 text", got=str(error), remedy="Name a TREC text file, or convert it."
        ) from error
    if not any_line:
        raise FormatError(str(path), expected=f"lines ({form})", got="none", remedy="Name the file that holds them.")


def _check_new(document: str, row: Mapping[str, float], path: Path_, number: int) -> None:
    if document in row:
        raise _bad_line(path, number, "each document once a query", f"{document} twice", "Keep one of its lines.")


def _bad_line(path: Path_, number: int, expected: str, got: str, remedy: str) -> FormatError:
    return FormatError(f"{os.fspath(path)} line {number}", expected=expected, got=got, remedy=remedy)


def _check_finite(values: NDArray[np.float64], query: str) -> None:
    if not np.isfinite(values).all():
        raise NonFiniteError(
            f"scores of query {query}", expected="finite numbers", got=str(values[~np.isfinite(values)][0]),
            remedy="Find what made it; leave no answer unscored.",
        )  # fmt: skip


def _check_names(names: Sequence[str], what: str, count: int) -> None:
    """Refuse names that a line could not hold, or that two share."""
    if len(names) != count:
        raise InputError(what, expected=f"{count} names", got=str(len(names)), remedy="Name each once.")
    bad = [name for name in names if not name or name.split() != [name]]
    if bad:
        raise InputError(
            what, expected="names without white space", got=f"{bad[0]!r} ({len(bad)} such)",
            remedy="A field of a TREC file ends at white space: replace it, or give numbers as names.",
        )  # fmt: skip
    if len(set(names)) != len(names):
        raise InputError(
            what, expected="each name once", got=f"{len(names) - len(set(names))} repeated",
            remedy="Two things of one name cannot be told apart in the file.",
        )  # fmt: skip

"""Sections of what runs were measured to be: the runs, their values with intervals, tests of them, a metric by bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hashret.errors import InputError
from hashret.evaluation.scorefile import compare
from hashret.evaluation.scores import Scores, lower_is_better
from hashret.evaluation.significance import PairedTest
from hashret.report.charts import bits_figure, interval_figure
from hashret.report.kept import Kept
from hashret.report.parts import Examined, Missing, Part, Picture, Section, Subheading, questions
from hashret.report.sheet import Cell, Sheet
from hashret.report.table import results_sheet

__all__ = ["bits_section", "comparison_section", "holm", "results_section", "runs_section"]

_INTERVALS = (
    "Brackets hold 95 % percentile bootstrap intervals over queries: the queries that count are drawn again with "
    "replacement, 10,000 times (seed 0). They say how far a value depends on which queries were asked, and nothing of "
    "another training seed."
)
_TESTS = (
    "p is that of the two-sided paired randomisation test over queries (10,000 exchanges, seed 0); the next column is "
    "corrected for all tests of this table by Holm's method. The interval is the paired bootstrap of the difference. "
    "Neither knows of training seeds."
)


def runs_section(runs: Sequence[Examined]) -> Section:
    """What was run, and by which protocol it was measured."""
    header = ("run", "method", "bits", "training seed", "data")
    body = []
    for run in runs:
        kept = run.kept
        data = kept.scores.dataset if kept.scores else str(kept.recipe["data"]["name"])
        body.append(_cells(kept.name, kept.method, str(kept.bits), str(kept.seed), data))
    parts: list[Part] = [Sheet(header, tuple(body))]
    for name, members in questions(runs):
        kept = members[0].kept
        if not kept.own:
            continue
        parts += [Subheading(f"Protocol: {name}"), Sheet(("rule", "value"), tuple(_protocol(kept)))]
    return Section("Runs", parts)


def _protocol(kept: Kept) -> list[tuple[Cell, ...]]:
    """The rules of a measurement, a row a rule."""
    assert kept.scores is not None
    lines = []
    for task, scores in kept.own.items():
        fate = "left out" if scores.policy == "omit" else "counted as misses"
        size = f"{scores.queries:,} queries, {kept.scores.tasks[task].gallery:,} items in the database"
        lines.append(_cells(task, f"{size}; {scores.unanswered:,} queries without a right answer, {fate}"))
    lines.append(_cells("ties", _told_ties(next(iter(kept.own.values())).ties)))
    results = kept.results or {}
    if "database" in results:
        lines.append(_cells("database codes", str(results["database"])))
    return lines + [_cells(f"note {place}", note) for place, note in enumerate(results.get("notes", ()), 1)]


def _told_ties(policy: str) -> str:
    told = {
        "expected": "the exact average over all orders of equal distances",
        "by-id": "equal distances in the order of ids",
        "best": "right answers first among equal distances",
        "worst": "right answers last among equal distances",
    }
    return f"{policy}: {told[policy]}"


def results_section(runs: Sequence[Examined]) -> Section:
    """Values of every metric with their intervals, floors beside them, and means over seeds."""
    parts: list[Part] = []
    groups = questions(runs)
    for number, (name, members) in enumerate(groups, 1):
        measured = [run.kept for run in members if run.kept.own]
        if len(groups) > 1:
            parts.append(Subheading(name))
        parts += [
            Missing(f"{run.kept.name} was not measured: run hashret evaluate on it first.")
            for run in members
            if not run.kept.own
        ]
        if measured:
            parts += _values(measured, number)
    return Section("Results", parts)


def _values(measured: Sequence[Kept], number: int) -> list[Part]:
    """The picture of the first metric, a table a metric, and one over seeds."""
    floors = _floors(measured)
    rows = {kept.name: kept.own for kept in measured} | floors
    tasks, metric = list(measured[0].own), first_metric(measured)
    values = {
        task: {name: (own[task][metric], *own[task].interval(metric)) for name, own in rows.items()} for task in tasks
    }
    told = "; ".join(
        f"{task}: " + ", ".join(f"{name} {value[0]:.4f}" for name, value in found.items())
        for task, found in values.items()
    )
    parts: list[Part] = [
        _INTERVALS,
        Picture(
            f"results-{number}", interval_figure(values, metric, floors), f"{metric} with intervals. {told}.",
            f"{metric} of every run and floor; bars are 95 % bootstrap intervals over queries.",
        ),
    ]  # fmt: skip
    shared = [
        m for m in measured[0].own[tasks[0]].per_query if all(m in k.own[t].per_query for k in measured for t in tasks)
    ]
    for each in shared:
        parts.append(
            results_sheet(
                tasks,
                {name: {task: own[task][each] for task in tasks} for name, own in rows.items()},
                title=f"{each}, ties: {measured[0].own[tasks[0]].ties}",
                intervals={name: {task: own[task].interval(each) for task in tasks} for name, own in rows.items()},
                lowest=tasks if lower_is_better(each) else (),
                corner="run",
            )
        )
    seeds = _seeds(measured, tasks, metric)
    return [*parts, seeds] if seeds else parts


def first_metric(measured: Sequence[Kept]) -> str:
    """What runs are compared by: "map" where all have it, else the first metric of the first run that all have.

    Raises:
        InputError: They share no metric.
    """
    have = [set(scores.per_query) for kept in measured for scores in kept.own.values()]
    first = list(next(iter(measured[0].own.values())).per_query)
    shared = [metric for metric in ("map", *first) if all(metric in metrics for metrics in have)]
    if not shared:
        raise InputError(
            "runs", expected="a metric that all were measured by", got="none",
            remedy="Evaluate them again with the same --metrics.",
        )  # fmt: skip
    return shared[0]


def _floors(measured: Sequence[Kept]) -> dict[str, Mapping[str, Scores]]:
    """The other rows of the runs, once for each width of codes, which their names tell where there are several."""
    several = len({kept.bits for kept in measured}) > 1
    found: dict[str, Mapping[str, Scores]] = {}
    metrics = set(next(iter(measured[0].own.values())).per_query)
    for kept in measured:
        assert kept.scores is not None
        for row, tasks in list(kept.scores.scores.items())[1:]:
            if all(metrics <= set(scores.per_query) for scores in tasks.values()):
                found.setdefault(f"{row}, {kept.bits} bits" if several else row, tasks)
    return found


def _seeds(measured: Sequence[Kept], tasks: Sequence[str], metric: str) -> Sheet | None:
    """Means and standard deviations over training seeds, of systems that were trained more than once."""
    systems: dict[str, list[Kept]] = {}
    for kept in measured:
        systems.setdefault(kept.system, []).append(kept)
    body = []
    for members in systems.values():
        if len(members) > 1:
            cells = [_spread([kept.own[task][metric] for kept in members]) for task in tasks]
            seeds = ", ".join(str(kept.seed) for kept in members)
            body.append(_cells(f"{members[0].method}, {members[0].bits} bits", seeds, *cells))
    if not body:
        return None
    title = f"{metric} over training seeds: mean ± standard deviation of the runs"
    return Sheet(("system", "seeds", *tasks), tuple(body), title)


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


def comparison_section(runs: Sequence[Examined]) -> Section | None:
    """Paired tests of every run against the first that was asked the same; None where no two were."""
    parts: list[Part] = []
    groups = questions(runs)
    for name, members in groups:
        measured = [run.kept for run in members if run.kept.own]
        if len(measured) > 1:
            parts += [Subheading(name)] if len(groups) > 1 else []
            parts.append(_tests(measured, first_metric(measured)))
    if not parts:
        return None
    if len(groups) > 1:
        parts.append(Missing("Runs under different headings were asked different queries and are not tested together."))
    return Section("Paired tests", [_TESTS, *parts])


def _tests(measured: Sequence[Kept], metric: str) -> Sheet:
    """A row a run and task: the run against the first."""
    first, *others = measured
    assert first.scores is not None
    found: list[tuple[str, str, PairedTest]] = []
    for other in others:
        assert other.scores is not None
        found += [(other.name, task, test) for task, test in compare(other.scores, first.scores, metric).items()]
    corrected = holm([test.p for _, _, test in found])
    body = [
        _cells(
            name, task, f"{test.first:.4f}", f"{test.difference:+.4f}", f"[{test.low:+.4f}, {test.high:+.4f}]",
            f"{test.p:.4f}", f"{p:.4f}", f"{test.wins:,}", f"{test.losses:,}", f"{test.draws:,}",
        )
        for (name, task, test), p in zip(found, corrected, strict=True)
    ]  # fmt: skip
    header = ("run", "task", metric, "difference", "95 % interval", "p", "p, Holm", "better on", "worse on", "equal on")
    return Sheet(header, tuple(body), f"{metric} of each run less that of {first.name}")


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (S. Holm, 1979): the i-th smallest of n times n - i + 1, never falling.

    Example:
        >>> holm([0.04, 0.01, 0.03])
        [0.06, 0.03, 0.06]
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, highest = [math.nan] * len(values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, values[index] * (len(values) - place)))
        corrected[index] = highest
    return corrected


def bits_section(runs: Sequence[Examined]) -> Section | None:
    """The metric against the width of the codes; None where no method has codes of several widths."""
    parts: list[Part] = []
    for number, (name, members) in enumerate(questions(runs), 1):
        measured = [run.kept for run in members if run.kept.own]
        families: dict[str, list[Kept]] = {}
        for kept in measured:
            families.setdefault(kept.family, []).append(kept)
        several = [found for found in families.values() if len({kept.bits for kept in found}) > 1]
        if not several:
            continue
        metric = first_metric(measured)
        points = {
            task: {
                _family_name(found, several): [(kept.bits, kept.own[task][metric]) for kept in found]
                for found in several
            }
            for task in measured[0].own
        }
        told = "; ".join(
            f"{task}, {method}: " + ", ".join(f"{value:.4f} at {bits}" for bits, value in sorted(found))
            for task, row in points.items()
            for method, found in row.items()
        )
        caption = f"{metric} against the width of the codes, {name}. Small points are runs, lines join their means."
        parts.append(Picture(f"bits-{number}", bits_figure(points, metric), f"{metric} by bits. {told}.", caption))
    return Section("Width of the codes", parts) if parts else None


def _family_name(found: Sequence[Kept], others: Sequence[Sequence[Kept]]) -> str:
    """The method, or where two families share it the first run."""
    alike = sum(each[0].method == found[0].method for each in others) > 1
    return found[0].name if alike else found[0].method


def _cells(*texts: str) -> tuple[Cell, ...]:
    return tuple(Cell(text) for text in texts)

"""Sections of what the codes of runs are like: precision and recall, classes, health of the bits, single queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashret.evaluation.health import separation
from hashret.report.charts import Curve, classes_figure, recall_figure
from hashret.report.health_chart import distances_figure, health_figure
from hashret.report.parts import (
    Examined,
    Folded,
    Missing,
    Part,
    Picture,
    Queries,
    Section,
    Subheading,
    first_of_systems,
    questions,
)
from hashret.report.sheet import Cell, Sheet

if TYPE_CHECKING:
    from hashret.pipeline.findings import ByClass, Curves, Findings

__all__ = ["classes_section", "health_section", "queries_section", "recall_section"]

MOST_CLASSES = 60  # a picture of more is not read
LEAST_RECALL = 0.001  # at smaller radii next to no query finds anything, and its precision is chance


def recall_section(runs: Sequence[Examined]) -> Section:
    """Precision against recall over ranks and over Hamming radii."""
    return Section("Precision and recall", _by_question(runs, _recall))


def classes_section(runs: Sequence[Examined]) -> Section:
    """Mean average precision class by class."""
    return Section("Average precision by class", _by_question(runs, _classes))


def _by_question(
    runs: Sequence[Examined], draw: Callable[[Sequence[tuple[str, Findings]], int, str], list[Part]]
) -> list[Part]:
    """The parts of each group of runs that were asked the same; runs that were not examined say why."""
    groups = questions(runs)
    parts: list[Part] = []
    for number, (name, members) in enumerate(groups, 1):
        parts += [Subheading(name)] if len(groups) > 1 else []
        shown = first_of_systems(members)
        parts += _missing(shown)
        have = [(run.kept.name, run.findings) for run in shown if run.findings is not None]
        if have:
            parts += draw(have, number, _repeated(members, shown))
    return parts


def _missing(runs: Sequence[Examined]) -> list[Part]:
    return [Missing(f"{run.kept.name}: {run.missing}") for run in runs if run.findings is None]


def _repeated(members: Sequence[Examined], shown: Sequence[Examined]) -> str:
    """What is said where only one run of several seeds is drawn."""
    return " Of runs that differ in the training seed alone the first is shown." if len(shown) < len(members) else ""


def _recall(have: Sequence[tuple[str, Findings]], number: int, repeated: str) -> list[Part]:
    parts: list[Part] = []
    ranked = f"Over the first 1, 2, ... places; means over the queries with a right answer; ties: {have[0][1].ties}."
    near = (
        "Within Hamming radius 0, 1, 2, ..., which needs no order of ties; recall over the queries with a right "
        "answer, precision over those of them that find anything within the radius; drawn from a recall of "
        f"{LEAST_RECALL} on."
    )
    ways: tuple[tuple[str, Callable[[Curves], Curve], str], ...] = (
        ("rank", lambda curves: curves.by_rank, ranked),
        ("radius", lambda curves: _found_curve(curves.by_radius), near),
    )
    for way, read, told in ways:
        drawn = {
            task: {name: read(found.tasks[task].curves) for name, found in have if found.tasks[task].curves}  # type: ignore[arg-type]
            for task in have[0][1].tasks
        }
        drawn = {task: row for task, row in drawn.items() if row}
        if not drawn:
            return [Missing("Each query has a database of its own here, for which these curves are not defined.")]
        alt = "; ".join(f"{task}, {name}: {_told_curve(c)}" for task, row in drawn.items() for name, c in row.items())
        name = f"precision-recall-{way}-{number}"
        parts.append(Picture(name, recall_figure(drawn), f"Precision by recall. {alt}.", told + repeated))
    return parts


def _found_curve(curve: Curve) -> Curve:
    """A curve over radii without those at which next to nothing is found."""
    recall, precision = curve
    return recall, np.where(recall > LEAST_RECALL, precision, np.nan)


def _told_curve(curve: Curve) -> str:
    """Precision where recall passes a tenth and a half."""
    recall, precision = curve
    told = []
    for level in (0.1, 0.5):
        reached = np.flatnonzero((recall >= level) & ~np.isnan(precision))
        if len(reached):
            told.append(f"precision {precision[reached[0]]:.2f} at recall {recall[reached[0]]:.2f}")
    return ", ".join(told) or "never reaches a recall of 0.1"


def _classes(have: Sequence[tuple[str, Findings]], number: int, repeated: str) -> list[Part]:
    values: dict[str, dict[str, ByClass]] = {}
    for name, found in have:
        for task, part in found.tasks.items():
            if part.classes is not None:
                values.setdefault(task, {})[name] = part.classes
    if not values:
        return [Missing("The data of these runs has no labels, so there are no classes.")]
    first = next(iter(next(iter(values.values())).values()))
    means = np.array([each.means for row in values.values() for each in row.values()])
    asked = np.flatnonzero(~np.isnan(means).all(0))
    order = asked[np.argsort(-np.nanmean(means[:, asked], axis=0), kind="stable")]
    drawn = np.sort(np.argsort(-first.queries[order], kind="stable")[:MOST_CLASSES])
    shown = order[drawn]
    figure = classes_figure(
        {task: {name: each.means[shown] for name, each in row.items()} for task, row in values.items()},
        [first.names[place] for place in shown],
    )
    best, worst = first.names[order[0]], first.names[order[-1]]
    alt = f"Mean average precision of {len(shown)} classes: the highest is {best}, the lowest {worst}; a table follows."
    caption = (
        "Mean of the average precision of the queries that carry a label; an answer that shares any label of its query "
        "is right. Classes are ordered by the mean of what is drawn."
    )
    if len(shown) < len(order):
        caption += f" The {len(shown)} classes of {len(order)} with the most queries are drawn."
    picture = Picture(f"classes-{number}", figure, alt, caption + repeated)
    return [picture, Folded("The same as a table", _classes_sheet(values, order))]


def _classes_sheet(values: dict[str, dict[str, ByClass]], order: NDArray[np.int64]) -> Sheet:
    """A row a class, a column a task and run, and the number of queries a task."""
    header, columns = ["class"], []
    for task, row in values.items():
        header.append(f"{task}: queries")
        columns.append([f"{count:,}" for count in next(iter(row.values())).queries[order].tolist()])
        for name, each in row.items():
            header.append(f"{task}: {name}")
            columns.append(["-" if np.isnan(value) else f"{value:.4f}" for value in each.means[order].tolist()])
    names = [next(iter(next(iter(values.values())).values())).names[place] for place in order]
    body = tuple(tuple(map(Cell, cells)) for cells in zip(names, *columns, strict=True))
    return Sheet(tuple(header), body)


def health_section(runs: Sequence[Examined]) -> Section:
    """How the codes use their bits, and how far right answers lie from wrong ones."""
    have = [(run, run.findings) for run in runs if run.findings is not None]
    parts = _missing(first_of_systems(runs))
    if not have:
        return Section("Health of the codes", parts)
    bits, pairs = [], []
    for run, found in have:
        for kind, health in found.health.items():
            linked, lopsided = health.correlations(), np.abs(health.balance - 0.5).max() + 0.5
            bits.append(
                (
                    run.kept.name, kind, f"{health.codes:,}", f"{health.distinct:,}", str(len(health.balance)),
                    f"{health.entropy.mean():.3f}", str(health.constant), f"{lopsided:.0%}",
                    f"{linked.mean():.3f}" if len(linked) else "-", f"{linked.max():.3f}" if len(linked) else "-",
                )
            )  # fmt: skip
        for task, part in found.tasks.items():
            near, far = _mean_distance(part.relevant), _mean_distance(part.irrelevant)
            pairs.append((run.kept.name, task, near, far, f"{separation(part.relevant, part.irrelevant):.4f}"))
    header = (
        "run", "codes of", "codes", "distinct", "bits", "mean entropy", "constant bits", "most lopsided",
        "mean |correlation|", "largest",
    )  # fmt: skip
    parts.append(Sheet(header, _body(bits), "Use of the bits"))
    parts.append(
        "Entropy is what a bit tells, 1 where half of the codes have it set. The most lopsided bit has one value in so "
        "many codes. Correlations are between the bits of one kind of item, constant bits left out."
    )
    apart = ("run", "task", "mean distance, relevant", "mean distance, irrelevant", "separation")
    parts.append(Sheet(apart, _body(pairs), "Distances of pairs"))
    parts.append("Separation is the chance that a relevant pair lies nearer than an irrelevant one, ties counted half.")
    for run in first_of_systems([run for run, _ in have]):
        assert run.findings is not None
        parts += [Subheading(run.kept.name), *_health_pictures(run.kept.name, run.findings)]
    return Section("Health of the codes", parts)


def _health_pictures(name: str, found: Findings) -> list[Part]:
    spread = "; ".join(
        f"{kind}: bits are set in {health.balance.min():.0%} to {health.balance.max():.0%} of the codes"
        for kind, health in found.health.items()
    )
    apart = "; ".join(
        f"{task}: relevant pairs lie {_mean_distance(part.relevant)} apart, irrelevant ones "
        f"{_mean_distance(part.irrelevant)}, in the mean"
        for task, part in found.tasks.items()
    )
    pairs = {task: (part.relevant, part.irrelevant) for task, part in found.tasks.items()}
    return [
        Picture(
            f"bits-of-{name}", health_figure(found.health), f"Balance and correlation of bits. {spread}.",
            "Left: the share of codes that have each bit set, from even (the line) outwards. Right: correlation "
            "between bits; grey is a bit that never changes.",
        ),
        Picture(
            f"distances-of-{name}", distances_figure(pairs), f"Distances of pairs. {apart}.",
            "Hamming distances of relevant and irrelevant pairs of a query and an item, as shares of each kind.",
        ),
    ]  # fmt: skip


def _mean_distance(counts: NDArray[np.int64]) -> str:
    total = int(counts.sum())
    return f"{(counts * np.arange(len(counts))).sum() / total:.1f}" if total else "-"


def _body(rows: Sequence[Sequence[str]]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(tuple(map(Cell, row)) for row in rows)


def queries_section(runs: Sequence[Examined]) -> Section:
    """The best, middle and worst queries of each system and task, with their nearest answers."""
    shown = first_of_systems(runs)
    parts = _missing(shown)
    if any(run.findings is not None for run in shown):
        parts.append(
            "Queries are ordered by average precision; answers are the nearest by Hamming distance, equal distances in "
            f"the order of ids.{_repeated(runs, shown)}"
        )
    for run in shown:
        for task, part in (run.findings.tasks if run.findings is not None else {}).items():
            if part.queries:
                caption = f"{run.kept.name}, {task}: best, middle and worst queries by average precision"
                parts += [
                    Subheading(f"{run.kept.name}, {task}"),
                    Queries(f"queries-of-{run.kept.name}-{task}", part.queries, caption),
                ]
    return Section("Queries", parts)

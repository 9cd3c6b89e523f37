"""fieldtable: results of a campaign laid out as the field prints them, published rows beneath a rule.

A table holds results of one dataset, protocol and metric, the floors they must be seen beside and published rows of
exactly these three, each marked with its source and what is doubtful of it. Nothing is measured here.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from campaign import Content, Entry, Outcome
from published import PublishedRow
from rich.console import Console

from hashret.data import dataset_named
from hashret.pipeline.evaluate import By
from hashret.report import Cell, Sheet

__all__ = ["Column", "Line", "departure", "field_sheet", "lines_of", "method_names", "print_sheet", "unusable"]

Column = tuple[str, int]  # a task, and the bits or the K of its figure


def departure(entry: Entry, content: Content) -> str:
    """In what a measured dataset is not its protocol's; "" if nothing is.

    Args:
        entry: A run.
        content: What was measured of it, with the dataset's name, such as ``MIRFLICKR-25K (mith, partial: 900 of 20,015
            items)``, and the sizes of its tasks.
    """
    data, dataset = entry.recipe.data, dataset_named(entry.recipe.data.name)
    reported = data.options.get("test")
    usual = [entry.protocol, reported if isinstance(reported, str) else ""]
    told = [part for part in content["dataset"].rpartition(" (")[2].removesuffix(")").split(", ") if part not in usual]
    told = told if " (" in content["dataset"] else []
    lost = sum(item["where"].startswith("test/") for item in _rejected(entry))
    told += [f"{lost:,} items of the test split could not be used"] if lost else []
    default = inspect.signature(dataset.load).parameters.get("test")
    if default is not None and isinstance(reported, str) and reported != default.default:
        told.append(f"reported on {reported}")
    official = next((protocol.sizes for protocol in dataset.CARD.protocols if protocol.name == entry.protocol), {})
    for task, size in content["sizes"].items():
        pairs = ((size["queries"], official.get("queries")), (size["gallery"], official.get("database")))
        if task in ("i2t", "t2i") and any(expected not in (None, have) for have, expected in pairs):
            told.append(f"{task} of other sizes than the protocol's")
    return ", ".join(told)


def unusable(entry: Entry) -> list[str]:
    """A line on items of the dataset that could not be read and were left out, of any split; none where all could."""
    lost = len(_rejected(entry))
    return [f"{lost:,} items of the dataset could not be used and are left out (rejected.jsonl)"] if lost else []


def _rejected(entry: Entry) -> list[dict[str, str]]:
    lines = (entry.folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def method_names(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """What each method of a campaign is called: its class, or its recipe where two recipes are of one class."""
    classes = {outcome.entry.method: next(iter(outcome.content["codes"]["scores"])) for outcome in outcomes}
    kinds = list(classes.values())
    return {method: kind if kinds.count(kind) == 1 else method for method, kind in classes.items()}


@dataclass(frozen=True)
class Line:
    """A row of results.

    Attributes:
        name: As it is printed.
        values: By column, a value a seed; a column may be missing.
    """

    name: str
    values: Mapping[Column, Sequence[float]]


Place = Callable[[Entry, By, str, str], tuple[str, Column] | None]


def lines_of(outcomes: Sequence[Outcome], place: Place, scale: float = 1) -> list[Line]:
    """A line a method with a value a seed, then the floors as the first seed has them.

    Args:
        outcomes: Of a campaign.
        place: Told the run, what was ranked, the task and the metric: what the line's name ends in and the column of
            the value, or None to leave it out.
        scale: What values are multiplied by.

    Returns:
        Lines; where a floor of several methods is not the same in all columns they share, its lines name the method.
    """
    methods: dict[str, dict[Column, list[float]]] = {}
    floors: dict[str, dict[str, dict[Column, list[float]]]] = {}
    names = method_names(outcomes)
    for outcome in outcomes:
        shown = names[outcome.entry.method]
        for by, content in outcome.content.items():
            own = next(iter(content["scores"]))
            for row, task, metric, mean in _means(content):
                at = place(outcome.entry, by, task, metric)
                if at is None or (row != own and outcome.entry.seed):
                    continue
                name, column = f"{shown if row == own else row}{at[0]}", at[1]
                held = methods if row == own else floors.setdefault(name, {})
                held = held.setdefault(name if row == own else shown, {})
                held.setdefault(column, []).append(scale * mean)
    lines = [Line(name, values) for name, values in methods.items()]
    for floor, by_method in floors.items():
        together: dict[Column, Sequence[float]] = {}
        for values in by_method.values():
            together |= values
        if all(together[at] == value for values in by_method.values() for at, value in values.items()):
            lines.append(Line(floor, together))
        else:
            lines += [Line(f"{floor} of {method}", values) for method, values in by_method.items()]
    return lines


def _means(content: Content) -> Iterator[tuple[str, str, str, float]]:
    """Row, task, metric and mean of everything that was measured."""
    for row, scores in content["scores"].items():
        for task, score in scores.items():
            for metric, mean in score["means"].items():
                yield row, task, metric, mean


def field_sheet(
    title: str,
    columns: Mapping[Column, str],
    lines: Sequence[Line],
    rows: Sequence[PublishedRow],
    caption: Sequence[str],
    digits: int,
) -> Sheet:
    """Results and, beneath a rule, what was published, with sources and doubts as footnotes.

    Args:
        title: The metric and the rules it was measured by.
        columns: What is printed, and its heading.
        lines: Methods and floors; the best mean of a column is bold.
        rows: Published rows of the same dataset, protocol and metric; one without a figure in any column is left out.
        caption: What else a reader must know.
        digits: Behind the point, of results; published figures keep theirs.
    """
    means = {line.name: {at: float(np.mean(values)) for at, values in line.values.items()} for line in lines}
    best = {at: max((mean[at] for mean in means.values() if at in mean), default=None) for at in columns}
    body = []
    for line in lines:
        cells = (
            Cell(_shown(line.values.get(at, ()), digits), len(lines) > 1 and means[line.name].get(at, -1) == best[at])
            for at in columns
        )
        body.append((Cell(line.name), *cells))
    rows = [row for row in rows if any(at in row.figures for at in columns)]
    marks, notes = _footnotes(rows)
    if rows:
        body.append((Cell("--- published ---"), *(Cell("---") for _ in columns)))
    for row, mark in zip(rows, marks, strict=True):
        name = f"{row.method}{f', {row.bits} bits' if row.bits else ''} [{mark}]"
        body.append((Cell(name), *(Cell(str(row.figures.get(at, "-"))) for at in columns)))
    return Sheet(("method", *columns.values()), tuple(body), title, (*caption, *notes))


def _shown(values: Sequence[float], digits: int) -> str:
    """Mean and, of several seeds, their standard deviation."""
    if not values:
        return "-"
    spread = f" +- {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _footnotes(rows: Sequence[PublishedRow]) -> tuple[list[str], list[str]]:
    """A mark a row, and what the marks mean: numbers for sources, letters for doubts."""
    sources = list(dict.fromkeys(row.source for row in rows))
    doubts = list(dict.fromkeys(doubt for row in rows for doubt in row.doubts))
    letters = {doubt: chr(ord("a") + number) for number, doubt in enumerate(doubts)}
    marks = ["".join([str(sources.index(row.source) + 1), *(letters[doubt] for doubt in row.doubts)]) for row in rows]
    told = [
        f"[{number}] {source.citation}; read: {source.read}; inputs: {source.inputs}; database: {source.database}"
        + (f"; doubt: {source.doubt}" if source.doubt else "")
        for number, source in enumerate(sources, 1)
    ]
    return marks, [*told, *(f"[{letter}] doubt: {doubt}" for doubt, letter in letters.items())]


def print_sheet(sheet: Sheet, form: str) -> None:
    """Print a table on stdout: "table", "markdown" or "latex"."""
    if form != "table":
        print(sheet.markdown() if form == "markdown" else sheet.latex())
        return
    cells = [sheet.header, *([cell.text for cell in row] for row in sheet.body)]
    needed = 2 + sum(max(len(row[place]) for row in cells) + 3 for place in range(len(sheet.header)))
    Console(width=max(120, needed), highlight=False).print(sheet.terminal(), "")

"""How commands speak: lines of progress on stderr, results on stdout, as tables or in a form for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hashret.evaluation import Scores
    from hashret.evaluation.runfile import RunScores
    from hashret.evaluation.significance import PairedTest
    from hashret.pipeline import Results
    from hashret.report import Sheet

__all__ = ["FORMATS", "asked", "print_results", "print_run_scores", "print_tests", "say"]

FORMATS = ("table", "markdown", "csv", "latex")


def say(line: str) -> None:
    """A line about what happens, on stderr, so that results alone can be piped."""
    click.echo(click.style("· ", dim=True) + line, err=True)


def print_results(results: Results, form: str = "table", intervals: bool = False) -> None:
    """Print a table a metric (a row a method, a column a task, the tie policy named), then sizes and notes.

    Args:
        results: What ``evaluate_run`` found.
        form: One of FORMATS; "csv" is one list of all values, with the rules they were made by beside each.
        intervals: Also print 95 % bootstrap intervals over queries.
    """
    from hashret.evaluation.scores import lower_is_better
    from hashret.report import results_sheet

    tasks = list(results.sizes)
    first = next(iter(results.scores.values()))
    sizes = [
        f"{task}: {asked(first[task])}, {gallery:,} in the database" for task, (_, gallery) in results.sizes.items()
    ]
    if form == "csv":
        rows = {(row, task): scores for row, told in results.scores.items() for task, scores in told.items()}
        galleries = {task: gallery for task, (_, gallery) in results.sizes.items()}
        widths = (results.bits, None) if results.dimension is None else (None, results.dimension)
        _print_csv(rows, results.dataset, intervals, galleries, widths, {})
        return
    told = "; 95 % bootstrap intervals over queries" if intervals else ""
    for metric in first[tasks[0]].per_query:
        values = {row: {task: scores[task][metric] for task in tasks} for row, scores in results.scores.items()}
        ends = (
            {row: {task: scores[task].interval(metric) for task in tasks} for row, scores in results.scores.items()}
            if intervals
            else None
        )
        sheet = results_sheet(
            tasks,
            values,
            title=f"{metric}, {results.ranked}, ties: {first[tasks[0]].ties}, database: {results.database}{told}",
            caption=[results.dataset, *sizes] if form == "latex" else [],
            intervals=ends,
            lowest=tasks if lower_is_better(metric) else (),
            corner="" if form == "table" else "method",
        )
        _print_sheet(sheet, form)
    if results.milliseconds:
        _print_sheet(_times_sheet(results, form), form)
    if form != "latex":
        _print_lines([results.dataset, *sizes], form)
        _print_lines(results.notes, form, dim=True)


def _times_sheet(results: Results, form: str) -> Sheet:
    """Milliseconds a query, a row a way of searching."""
    from hashret.report import results_sheet

    tasks = list(results.sizes)
    return results_sheet(
        tasks, results.milliseconds, title="milliseconds a query, one at a time, encoded beforehand", lowest=tasks,
        corner="" if form == "table" else "method",
    )  # fmt: skip


def print_run_scores(found: Mapping[str, RunScores], form: str = "table", intervals: bool = False) -> None:
    """Print rankings by anyone: a row a run file, a column a metric, then what was left out.

    Args:
        found: Name of the run file -> what ``score_run`` found, all by the same qrels.
        form: One of FORMATS.
        intervals: Also print 95 % bootstrap intervals over queries.
    """
    from hashret.evaluation.scores import lower_is_better
    from hashret.report import results_sheet

    first = next(iter(found.values())).scores
    if form == "csv":
        counts = {name: (run.unranked, run.unjudged) for name, run in found.items()}
        _print_csv({(name, ""): run.scores for name, run in found.items()}, "", intervals, {}, (None, None), counts)
        return
    notes = [f"{asked(first)}; ties: {first.ties}"]
    for name, run in found.items():
        if run.unranked:
            notes.append(f"{name}: judged queries that are not ranked, counted as misses: {run.unranked:,}")
        if run.unjudged:
            notes.append(f"{name}: ranked queries that are not judged, left out: {run.unjudged:,}")
    metrics = list(first.per_query)
    sheet = results_sheet(
        metrics,
        {name: run.scores.means() for name, run in found.items()},
        title="95 % bootstrap intervals over queries" if intervals else "",
        caption=notes,
        intervals={name: {m: run.scores.interval(m) for m in metrics} for name, run in found.items()}
        if intervals
        else None,
        lowest=[metric for metric in metrics if lower_is_better(metric)],
        corner="run",
    )
    _print_sheet(sheet, form)


def print_tests(tests: Mapping[str, PairedTest], names: tuple[str, str], notes: Sequence[str], form: str) -> None:
    """Print comparisons of two systems.

    Args:
        tests: Task -> PairedTest, all on one metric.
        names: Of the two systems.
        notes: What a reader must know: what A and B are, the tie policy, the dataset.
        form: One of FORMATS.
    """
    from dataclasses import asdict

    from hashret.report import Cell, Sheet, to_csv

    first = next(iter(tests.values()))
    if form == "csv":
        records = [[task, *names, *asdict(test).values()] for task, test in tests.items()]
        click.echo(to_csv(["task", "first_name", "second_name", *asdict(first)], records), nl=False)
        return
    header = ("", "A", "B", "A - B", f"{first.level:.0%} interval", "p", "queries", "A better", "B better", "equal")
    body = [
        (
            task or first.metric, f"{test.first:.4f}", f"{test.second:.4f}", f"{test.difference:+.4f}",
            f"[{test.low:+.4f}, {test.high:+.4f}]", f"{test.p:.4f}", f"{test.queries:,}", f"{test.wins:,}",
            f"{test.losses:,}", f"{test.draws:,}",
        )
        for task, test in tests.items()
    ]  # fmt: skip
    told = (
        f"p: two-sided paired randomisation test, {first.resamples:,} exchanges; interval: percentile bootstrap over "
        "queries; neither knows of training seeds"
    )
    cells = tuple(tuple(Cell(text) for text in row) for row in body)
    title = f"{first.metric}, {names[0]} (A) against {names[1]} (B)"
    _print_sheet(Sheet(header, cells, title, (*notes, told)), form)


def _print_csv(
    rows: Mapping[tuple[str, str], Scores],
    dataset: str,
    intervals: bool,
    galleries: Mapping[str, int],
    widths: tuple[int | None, int | None],
    counts: Mapping[str, tuple[int, int]],
) -> None:
    """One record a row, task and metric, each with its rules: a spreadsheet keeps no caption.

    Of ``widths``, bits and dimension, the one that was ranked is a number.
    """
    from hashret.report import to_csv

    header = ["dataset", "bits", "dimension", "row", "task", "metric", "value", "low", "high"]
    header += ["ties", "queries", "unanswered", "policy", "gallery", "unranked", "unjudged"]
    records = []
    for (row, task), scores in rows.items():
        for metric, value in scores.means().items():
            low, high = scores.interval(metric) if intervals else (None, None)
            rules = [scores.ties, scores.queries, scores.unanswered, scores.policy, galleries.get(task)]
            told = counts.get(row, (None, None))
            records.append([dataset, *widths, row, task, metric, value, low, high, *rules, *told])
    click.echo(to_csv(header, records), nl=False)


def _print_sheet(sheet: Sheet, form: str) -> None:
    if form == "table":
        from rich.console import Console
        from rich.measure import Measurement

        console, drawn = Console(), sheet.terminal()
        needed = Measurement.get(console, console.options.update(max_width=1000), drawn).maximum
        if needed > console.width:  # rich would cut numbers off; a terminal breaks the line instead
            console = Console(width=needed)
        console.print(drawn)
    else:
        click.echo(sheet.markdown() if form == "markdown" else sheet.latex())


def _print_lines(lines: Sequence[str], form: str, dim: bool = False) -> None:
    """Lines below tables; in Markdown each is a paragraph."""
    from rich.console import Console

    if form == "table":
        console = Console()
        for line in lines:
            console.print(line, style="dim" if dim else None, markup=False, highlight=False, soft_wrap=True)
    else:
        for line in lines:
            click.echo(f"{line}\n")


def asked(scores: Scores) -> str:
    """``1,000 queries (15 without a right answer left out)``."""
    fate = "left out" if scores.policy == "omit" else "counted as misses"
    return f"{scores.queries:,} queries ({scores.unanswered:,} without a right answer {fate})"

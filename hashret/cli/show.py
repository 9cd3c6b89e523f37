"""How commands speak: lines of progress on stderr, results on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hashret.pipeline import Results

__all__ = ["print_results", "say"]


def say(line: str) -> None:
    """A line about what happens, on stderr, so that results alone can be piped."""
    click.echo(click.style("· ", dim=True) + line, err=True)


def print_results(results: Results) -> None:
    """Print a table a metric (a row a method, a column a task, the tie policy named), then sizes and notes."""
    from rich.console import Console

    from hashret.report import results_table

    console = Console()
    tasks = list(results.sizes)
    first = next(iter(results.scores.values()))
    for metric in first[tasks[0]].means():
        rows = {row: {task: scores[task][metric] for task in tasks} for row, scores in results.scores.items()}
        title = f"{metric}, {results.bits} bits, ties: {first[tasks[0]].ties}, database: encoded"
        console.print(results_table(title, tasks, rows))
    console.print(results.dataset, highlight=False)
    for task, (queries, gallery) in results.sizes.items():
        left = f"{first[task].unanswered:,} without a right answer left out"
        console.print(f"{task}: {queries:,} queries ({left}), {gallery:,} in the database", highlight=False)
    for note in results.notes:
        console.print(note, style="dim", highlight=False, soft_wrap=True)

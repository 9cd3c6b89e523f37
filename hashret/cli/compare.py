"""``hashret compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hashret.cli.show import FORMATS, asked, print_tests

if TYPE_CHECKING:
    from hashret.evaluation.significance import PairedTest

__all__ = ["compare"]


@click.command(
    epilog="Examples: hashret compare runs/64 runs/32 --metric map; hashret compare mine.run theirs.run --qrels q.txt"
)
@click.argument("first", metavar="A", type=click.Path(exists=True))
@click.argument("second", metavar="B", type=click.Path(exists=True))
@click.option("--metric", help="What to compare [default: the first that A measured; map for run files].")
@click.option(
    "--row",
    "rows",
    multiple=True,
    help="Row of the run folders, such as 'random codes'; given twice, A's and B's [default: the run itself].",
)
@click.option("--qrels", type=click.Path(exists=True, dir_okay=False), help="Right answers, where A and B are files.")
@click.option(
    "--ties",
    type=click.Choice(["expected", "by-id", "best", "worst"]),
    help="What orders equal scores of run files [default: expected]; run folders were measured already.",
)
@click.option("--resamples", type=click.IntRange(1), default=10_000, show_default=True, help="Random exchanges.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the exchanges.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def compare(
    first: str,
    second: str,
    metric: str | None,
    rows: tuple[str, ...],
    qrels: str | None,
    ties: str | None,
    resamples: int,
    seed: int,
    form: str,
    as_json: bool,
) -> None:
    """Test whether A is better than B, query by query.

    A and B are run folders that ``hashret evaluate`` measured on one dataset, or, with --qrels, two rankings in TREC's
    form. Printed are the difference of the means, its 95 % bootstrap interval, the p-value of a two-sided paired
    randomisation test, and on how many queries either is better. Runs that were not asked the same are refused.
    """
    import json
    from pathlib import Path

    files = [Path(path).is_file() for path in (first, second)]
    if any(files) != all(files):
        raise click.UsageError("A and B are two run folders, or two run files.")
    if all(files):
        if qrels is None or rows:
            raise click.UsageError("Run files need --qrels, and have no --row.")
        tests, names, notes = _files(first, second, qrels, metric or "map", ties or "expected", (resamples, seed))
    else:
        if qrels is not None or ties is not None:
            raise click.UsageError("--qrels and --ties are for run files; run folders were measured already.")
        if len(rows) > 2:
            raise click.UsageError("Give --row once for both, or twice: A's and B's.")
        chosen = (rows[0], rows[-1]) if rows else (None, None)
        tests, names, notes = _folders(first, second, metric, chosen, (resamples, seed))
    if as_json:
        content = {"first": names[0], "second": names[1], "tests": {task: t.to_dict() for task, t in tests.items()}}
        click.echo(json.dumps(content, indent=1))
    else:
        print_tests(tests, names, notes, form)


Compared = tuple[dict[str, "PairedTest"], tuple[str, str], list[str]]


def _folders(
    first: str, second: str, metric: str | None, rows: tuple[str | None, str | None], drawing: tuple[int, int]
) -> Compared:
    """Two run folders: tests a task, names of both, and what was compared."""
    from hashret.errors import FileError
    from hashret.evaluation.scorefile import ScoreFile, compare
    from hashret.run import Run

    opened = []
    for folder in (first, second):
        run = Run.open(folder)
        if not run.per_query.exists():
            raise FileError(
                str(run.per_query), expected="values of every query", got="none",
                remedy=f"Measure the run first: hashret evaluate {folder}.",
            )  # fmt: skip
        opened.append(ScoreFile.load(run.per_query))
    tests = compare(opened[0], opened[1], metric, rows, resamples=drawing[0], seed=drawing[1])
    names = [f"{path}, {file.row(row)[0]}" for path, file, row in zip((first, second), opened, rows, strict=True)]
    scores = opened[0].row(rows[0])[1]
    notes = [f"{opened[0].dataset}; ties: {next(iter(scores.values())).ties}"]
    return tests, (names[0], names[1]), [*notes, *(f"{task}: {asked(one)}" for task, one in scores.items())]


def _files(first: str, second: str, qrels: str, metric: str, ties: str, drawing: tuple[int, int]) -> Compared:
    """Two run files: one test, names of both, and what was compared."""
    from hashret.evaluation.runfile import read_qrels, read_run, score_run
    from hashret.evaluation.significance import paired_test

    judged = read_qrels(qrels)
    found = [score_run(read_run(path), judged, [metric], ties) for path in (first, second)]
    test = paired_test(found[0].scores, found[1].scores, metric, resamples=drawing[0], seed=drawing[1])
    notes = [f"{qrels}: {asked(found[0].scores)}; ties: {ties}"]
    for path, one in zip((first, second), found, strict=True):
        if one.unranked:
            notes.append(f"{path}: judged queries that are not ranked, counted as misses: {one.unranked:,}")
    return {"": test}, (first, second), notes

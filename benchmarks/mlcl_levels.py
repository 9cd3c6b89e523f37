"""MLCL asked both ways: the levels of a query weighed as their losses were, or each by the other's weight.

    python benchmarks/mlcl_levels.py runs/recall/shapes_edits/mlcl-128-seed*
    python benchmarks/mlcl_levels.py RUN RUN --data ROOT

The released code weighs fusion and concatenation of a query the other way round than in training (``levels: swapped``).
No loss reads that option, so one trained network can be asked both ways, and the runs here are: for each its test or
validation queries (``--split``), by cosine of the embeddings, a query without a right answer being a miss. Codes are
left out, since their layer has learned on embeddings of one of the two. Runs differ in nothing but their seed; with
several the table gives mean and standard deviation, and for how many runs ``straight`` was ahead.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from campaign import say
from fieldtable import print_sheet

from hashret.errors import HashretError, InputError
from hashret.evaluation import evaluate
from hashret.examples import Task
from hashret.methods.mlcl import MLCL
from hashret.pipeline import load_data, read_recipe
from hashret.pipeline.train import device_named, freeze
from hashret.report import Cell, Sheet
from hashret.retriever import Retriever
from hashret.run import Run

WAYS = ("straight", "swapped")

Values = dict[tuple[str, str], float]  # of a task and a metric


def asked(retriever: Retriever, tasks: Sequence[Task], metrics: Sequence[str]) -> dict[str, Values]:
    """What each way gives: way -> (task, metric) -> value."""
    method = retriever.method
    assert isinstance(method, MLCL)
    found: dict[str, Values] = {}
    kept = method.o
    for way in WAYS:
        method.o = replace(kept, levels=way)
        values = found[way] = {}
        for task in tasks:
            sides = (retriever.embed(task.queries), retriever.embed(task.gallery))
            score = evaluate(sides, task.relevance, metrics, unanswered="zero", candidates=task.allowed())
            values |= {(task.name, metric): score[metric] for metric in metrics}
    method.o = kept
    return found


def measured(folder: Path, data: str | None, metrics: Sequence[str], split: str = "test") -> dict[str, Values]:
    """The tasks of a run's split, asked both ways.

    Raises:
        InputError: A run of another method.
    """
    content, root = Run.open(folder).recipe()
    recipe = read_recipe(content)
    if recipe.method.name != "mlcl":
        raise InputError(
            str(folder), expected="a run of MLCL", got=recipe.method.name, remedy="Other methods have no levels."
        )
    device = device_named(recipe.training.device)
    retriever = Retriever.from_pretrained(folder, device=device)
    dataset, _ = load_data(recipe, data or root, lambda line: None)
    parts = {"test": dataset.test, "validation": dataset.validation}
    measured_on = replace(dataset, train=dataset.train[:2], validation=[], test=parts[split])  # a dataset has pairs
    dataset = freeze(recipe, measured_on, retriever.method, retriever.processor, device, say)
    return asked(retriever, dataset.test, metrics)


def table(found: Sequence[Mapping[str, Values]], split: str) -> Sheet:
    """A row for each way, in percent, and one for how often the first was ahead."""
    columns = list(found[0][WAYS[0]])
    rows = []
    for way in WAYS:
        cells = []
        for at in columns:
            values = [100 * run[way][at] for run in found]
            spread = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(Cell(f"{statistics.mean(values):.2f}{spread}"))
        rows.append((Cell(way), *cells))
    ahead = [sum(run["straight"][at] > run["swapped"][at] for run in found) for at in columns]
    rows.append((Cell("straight ahead in"), *(Cell(f"{count} of {len(found)}") for count in ahead)))
    heads = tuple(f"{task} {metric}" for task, metric in columns)
    title = f"MLCL's levels in the query, percent, by cosine, {split} split; each network asked both ways"
    return Sheet(("levels", *heads), tuple(rows), title)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", help="root of the dataset, if it has moved")
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    parser.add_argument("--metrics", nargs="+", default=["hit@1", "hit@5", "hit@10"])
    args = parser.parse_args()
    try:
        found = []
        for folder in args.runs:
            found.append(measured(folder, args.data, args.metrics, args.split))
            say(f"{folder}: measured")
    except HashretError as error:
        sys.exit(f"Error: {error}")
    print_sheet(table(found, args.split), "table")


if __name__ == "__main__":
    main()

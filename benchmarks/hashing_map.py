"""The hashing table of a dataset: mAP of methods by width, beside floors and published rows of the same protocol.

    python benchmarks/hashing_map.py flickr8k ROOT --methods crcgs --bits 16 32 64 128 --seeds 3
    python benchmarks/hashing_map.py mirflickr25k ROOT --methods crcgs --protocol mith --format markdown
    python benchmarks/hashing_map.py wikipedia ROOT --methods crcgs --seeds 5 --out runs/wikipedia
    python benchmarks/hashing_map.py shapes --methods crcgs --bits 16 --set data.train=200 stages.student.epochs=1

DATASET ends the names of the recipes: configs/METHOD-DATASET.yaml. Each method is trained at each width with each seed
(0, 1, ...) into a run folder of its own and measured on the test split: ``map``, what the dataset's card says that rows
of the protocol report, and every metric that something was published in under it. Random codes, the untrained network
and the sign of CCA are measured with the first seed of each width.

A metric is a table: rows are methods (mean and standard deviation over seeds), floors and, beneath a rule, published
rows of the same dataset, protocol and metric with their sources; columns are image to text and text to image by width.
On a part of a dataset, or another split of it, nothing published is printed. Tables go to stdout, what happens to
stderr, and all of it to OUT/hashing_map.json.

Killed at any moment and started again with the same arguments, it goes on and ends in the same tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import published
from campaign import Demand, Entry, Outcome, add_arguments, entries, run_all, write_json
from fieldtable import Column, departure, field_sheet, lines_of, print_sheet, unusable

from hashret.data import dataset_named
from hashret.errors import HashretError
from hashret.report import Sheet


def metrics_of(entry: Entry) -> tuple[str, ...]:
    """What an entry is measured by: mAP, what its protocol's rows report, and what anything was published in."""
    name, protocols = entry.recipe.data.name, dataset_named(entry.recipe.data.name).CARD.protocols
    official = [metric for protocol in protocols if protocol.name == entry.protocol for metric in protocol.metrics]
    known = [metric for metric in published.metrics_of(name, entry.protocol) if metric != published.RECALLS]
    return tuple(dict.fromkeys(["map", *official, *known]))


def demand_of(entry: Entry) -> Demand:
    """Codes; embeddings too where real-valued rows are published."""
    rows = [row for metric in metrics_of(entry) for row in published_rows(entry, metric)]
    real = any(at == 0 for row in rows for _, at in row.figures)
    return Demand(metrics_of(entry), ("codes", "embedding") if real else ("codes",))


def published_rows(entry: Entry, metric: str) -> tuple[published.PublishedRow, ...]:
    """What was published of the entry's dataset and protocol in a metric."""
    return published.rows_for(entry.recipe.data.name, entry.protocol, metric)


def tables(outcomes: Sequence[Outcome]) -> list[Sheet]:
    """A table a metric."""
    entry, content = outcomes[0].entry, outcomes[0].content["codes"]
    score, departs = next(iter(content["scores"].values())), departure(entry, content)
    tasks, widths = list(content["sizes"]), sorted({outcome.entry.bits for outcome in outcomes})
    widest, seeds = widths[-1], len({outcome.entry.seed for outcome in outcomes})
    caption = [content["dataset"], f"{seeds} seeds: mean +- standard deviation" if seeds > 1 else "1 seed"]
    for task, size in content["sizes"].items():
        asked = f"{task}: {size['queries']:,} queries, {score[task]['unanswered']:,} of them without a right answer"
        caption.append(f"{asked} and left out, {size['gallery']:,} in the database")
    if "embedding" in outcomes[0].content:
        caption.append(f"cosine: the embeddings of the networks of {widest} bits, unhashed")
        widths = [*widths, 0]
    caption += [*unusable(entry), *content["notes"]]
    if departs:
        caption.append(f"{departs}: nothing published is comparable, and none is printed")
    columns = {(task, bits): f"{task} {bits or 'cosine'}" for task in tasks for bits in widths}
    sheets = []
    for metric in metrics_of(entry):

        def place(run: Entry, by: str, task: str, name: str, metric: str = metric) -> tuple[str, Column] | None:
            if name != metric or (by == "embedding" and run.bits != widest):
                return None
            return "", (task, run.bits if by == "codes" else 0)

        title = f"{metric} by bits, ties: {score[tasks[0]]['ties']}, database: {content['database']}"
        rows = () if departs else published_rows(entry, metric)
        sheets.append(field_sheet(title, columns, lines_of(outcomes, place), rows, caption, digits=4))
    return sheets


def main() -> None:
    """Train, measure, print the tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    asked = parser.parse_args()
    out = Path(asked.out or f"runs/hashing_map/{asked.dataset}")
    try:
        outcomes = run_all(entries(asked, out, asked.protocol), demand_of)
    except HashretError as error:
        sys.exit(f"Error: {error}")
    for sheet in tables(outcomes):
        print_sheet(sheet, asked.format)
    entry = outcomes[0].entry
    rows = [] if departure(entry, outcomes[0].content["codes"]) else metrics_of(entry)
    told = [(metric, row) for metric in rows for row in published_rows(entry, metric)]
    write_json(out / "hashing_map.json", outcomes, told)


if __name__ == "__main__":
    main()

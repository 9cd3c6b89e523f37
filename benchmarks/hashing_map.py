"""The hashing table of a dataset: mAP of methods by width, beside floors and published rows of the same protocol.

    python benchmarks/hashing_map.py flickr8k ROOT --methods crcgs --bits 16 32 64 128 --seeds 3
    python benchmarks/hashing_map.py mirflickr25k ROOT --methods crcgs --protocol mith --format markdown
    python benchmarks/hashing_map.py wikipedia ROOT --methods crcgs --hashers scm seph --database encoded fused learned
    python benchmarks/hashing_map.py shapes --methods crcgs --bits 16 --set data.train=200 stages.embedding.epochs=1

DATASET ends the names of the recipes: configs/METHOD-DATASET.yaml. Each method is trained at each width with each seed
(0, 1, ...) into a run folder of its own and measured on the test split: ``map``, what the dataset's card says that rows
of the protocol report, and every metric that something was published in under it. Random codes, the untrained network
and the sign of CCA are measured with the first seed of each width. Hashers of the library are rows too: they read what
the frozen encoders of a recipe read, of the same splits, and get the setting that was best on the validation tasks
(benchmarks/shallow_hasher.py lists what is tried).

A metric and a kind of database is a table. Whose codes are searched decides more than most methods do: ``encoded``, by
the encoder of the side that is searched; ``fused``, by both sides of an item, without labels; ``learned``, from both
sides and the labels of an item that was trained on, which SCM and SePH have and shallow papers rank. Rows are methods
(mean and standard deviation over seeds), hashers, floors and, beneath a rule, published rows of the same dataset,
protocol, metric and kind of database with their sources; columns are image to text and text to image by width. On a
part of a dataset, or another split of it, nothing published is printed. Tables go to stdout, what happens to stderr,
and all of it to OUT/hashing_map.json.

Killed at any moment and started again with the same arguments, it goes on and ends in the same tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import published
from campaign import Demand, Entry, Outcome, add_arguments, check_same_data, entries, run_all, write_json
from fieldtable import Column, Line, departure, field_sheet, lines_of, method_names, print_sheet, unusable
from shallow import LeftOut, hasher_entries, run_hashers

from hashret.data import dataset_named
from hashret.errors import HashretError, InputError
from hashret.hashers import HASHERS
from hashret.pipeline.evaluate import Database
from hashret.report import Sheet

STANDS_UNDER: Mapping[Database, tuple[str, ...]] = {
    "encoded": ("encoded", "embeddings", "not stated"), "fused": ("fused",), "learned": ("learned",),
}  # fmt: skip
"""Beneath which table a published row stands; where its paper does not say, it is the commoner one, and a footnote."""


def metrics_of(entry: Entry) -> tuple[str, ...]:
    """What an entry is measured by: mAP, what its protocol's rows report, and what anything was published in."""
    name, protocols = entry.recipe.data.name, dataset_named(entry.recipe.data.name).CARD.protocols
    official = [metric for protocol in protocols if protocol.name == entry.protocol for metric in protocol.metrics]
    known = [metric for metric in published.metrics_of(name, entry.protocol) if metric != published.RECALLS]
    return tuple(dict.fromkeys(["map", *official, *known]))


def demand_of(entry: Entry, database: Database = "encoded") -> Demand:
    """Codes; embeddings too where real-valued rows are published, which stand in the table of encoded codes."""
    rows = [row for metric in metrics_of(entry) for row in published_rows(entry, metric, database)]
    real = any(at == 0 for row in rows for _, at in row.figures)
    return Demand(metrics_of(entry), ("codes", "embedding") if real else ("codes",), database=database)


def published_rows(entry: Entry, metric: str, database: Database) -> tuple[published.PublishedRow, ...]:
    """What was published of the entry's dataset and protocol in a metric, of such a database."""
    rows = published.rows_for(entry.recipe.data.name, entry.protocol, metric)
    return tuple(row for row in rows if row.source.database in STANDS_UNDER[database])


def run_everything(
    asked: argparse.Namespace, out: Path
) -> tuple[dict[Database, list[Outcome]], dict[Database, LeftOut]]:
    """For each kind of database what was measured, methods before hashers, and why a row has no figure at a width."""
    runs, hashers = entries(asked, out, asked.protocol), hasher_entries(asked, out) if asked.hashers else []
    if not runs and not hashers:
        raise InputError("--methods", expected="methods or --hashers", got="none", remedy="Name some.")
    shallow, left = run_hashers(hashers, demand_of, asked.database)
    found = dict[Database, list[Outcome]]()
    for database in asked.database:
        if database == "learned":
            left[database] |= {(run.method, run.bits): "it keeps no codes of training items" for run in runs}
        measured = run_all(runs, partial(demand_of, database=database)) if database != "learned" else []
        found[database] = [*measured, *shallow[database]]
        if not found[database]:
            reasons = "; ".join(f"{name}: {reason}" for (name, _), reason in left[database].items())
            raise InputError(
                f"--database {database}", expected="a method or hasher with a figure", got=reasons,
                remedy="Leave it out, or name others.",
            )  # fmt: skip
        check_same_data(found[database])
    return found, left


def caption_of(outcomes: Sequence[Outcome], left: LeftOut, departs: str) -> list[str]:
    """What a reader must know of a table: sizes, seeds, settings, what is missing and why."""
    content = outcomes[0].content["codes"]
    score, seeds = next(iter(content["scores"].values())), len({outcome.entry.seed for outcome in outcomes})
    caption = [content["dataset"], f"{seeds} seeds: mean +- standard deviation" if seeds > 1 else "1 seed"]
    for task, size in content["sizes"].items():
        asked = f"{task}: {size['queries']:,} queries, {score[task]['unanswered']:,} of them without a right answer"
        caption.append(f"{asked} and left out, {size['gallery']:,} in the database")
    names = row_names(outcomes, left)
    for outcome in outcomes:
        fitting = outcome.content["codes"].get("fitting")
        if fitting:
            setting = ", ".join(f"{name} {value}" for name, value in fitting["setting"].items())
            chosen = f"the best of {fitting['tried']['settings']} on validation at {fitting['tried']['bits']} bits"
            caption.append(f"{names[outcome.entry.method]}, fitted on {fitting['fitted_on']}: {setting}, {chosen}")
    for method in dict.fromkeys(method for method, _ in left):
        reasons = {reason: [bits for (name, bits), said in left.items() if (name, said) == (method, reason)]
                   for (name, _), reason in left.items() if name == method}  # fmt: skip
        for reason, widths in reasons.items():
            caption.append(f"{names[method]} has no figure at {', '.join(map(str, widths))} bits: {reason}")
    caption += [*unusable(outcomes[0].entry), *content["notes"]]
    if departs:
        caption.append(f"{departs}: nothing published is comparable, and none is printed")
    return list(dict.fromkeys(caption))


def row_names(outcomes: Sequence[Outcome], left: LeftOut) -> dict[str, str]:
    """What each method and hasher is called, measured or not."""
    missing = {method: HASHERS[method].__name__ if method in HASHERS else method for method, _ in left}
    return {**missing, **method_names(outcomes)}


def tables(outcomes: Sequence[Outcome], left: LeftOut, database: Database) -> list[Sheet]:
    """A table a metric, of one kind of database."""
    entry, content = outcomes[0].entry, outcomes[0].content["codes"]
    score, departs = next(iter(content["scores"].values())), departure(entry, content)
    widths = sorted({outcome.entry.bits for outcome in outcomes} | {bits for _, bits in left})
    widest, tasks, names = widths[-1], list(content["sizes"]), row_names(outcomes, left)
    caption = caption_of(outcomes, left, departs)
    if any("embedding" in outcome.content for outcome in outcomes):
        caption.insert(2, f"cosine: the embeddings of the networks of {widest} bits, unhashed")
        widths = [*widths, 0]
    columns = {(task, bits): f"{task} {bits or 'cosine'}" for task in tasks for bits in widths}
    sheets = []
    for metric in metrics_of(entry):

        def place(run: Entry, by: str, task: str, name: str, metric: str = metric) -> tuple[str, Column] | None:
            if name != metric or (by == "embedding" and run.bits != widest):
                return None
            return "", (task, run.bits if by == "codes" else 0)

        title = f"{metric} by bits, ties: {score[tasks[0]]['ties']}, database: {database}"
        rows = () if departs else published_rows(entry, metric, database)
        lines = lines_of(outcomes, place)
        known = {line.name for line in lines}
        empty = [Line(name, {}) for name in dict.fromkeys(names[method] for method, _ in left) if name not in known]
        own = len({outcome.entry.method for outcome in outcomes})
        lines = [*lines[:own], *empty, *lines[own:]]
        sheets.append(field_sheet(title, columns, lines, rows, caption, digits=4))
    return sheets


def main() -> None:
    """Train, measure, print the tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, methods=False)
    parser.add_argument("--hashers", nargs="+", default=[], help="of two modalities: cca_sign cca_itq scm seph")
    parser.add_argument("--inputs", help="method whose recipe the hashers read by [default: the first, or crcgs]")
    parser.add_argument("--database", nargs="+", choices=get_args(Database), default=["encoded"])
    asked = parser.parse_args()
    asked.inputs, asked.database = asked.inputs or [*asked.methods, "crcgs"][0], list(dict.fromkeys(asked.database))
    out = Path(asked.out or f"runs/hashing_map/{asked.dataset}")
    try:
        found, left = run_everything(asked, out)
    except HashretError as error:
        sys.exit(f"Error: {error}")
    told = []
    for database, outcomes in found.items():
        for sheet in tables(outcomes, left[database], database):
            print_sheet(sheet, asked.format)
        entry = outcomes[0].entry
        metrics = [] if departure(entry, outcomes[0].content["codes"]) else metrics_of(entry)
        told += [(metric, row) for metric in metrics for row in published_rows(entry, metric, database)]
    write_json(out / "hashing_map.json", [one for outcomes in found.values() for one in outcomes], told)


if __name__ == "__main__":
    main()

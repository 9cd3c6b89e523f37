"""The recall table of a dataset of captions or composed queries: by embeddings and by codes, beside published rows.

    python benchmarks/recall.py flickr8k ROOT --methods crcgs --bits 64 512 --seeds 3
    python benchmarks/recall.py coco ROOT --methods crcgs --bits 64 128 --format markdown
    python benchmarks/recall.py fashioniq ROOT --methods mine --configs my-recipes --protocol val
    python benchmarks/recall.py shapes --methods crcgs --bits 32 --set data.train=200 stages.embedding.epochs=1
    python benchmarks/recall.py shapes_edits --methods contrastive --bits 128 --seeds 3
    python benchmarks/recall.py products ROOT --methods contrastive --bits 128 --seeds 3

DATASET ends the names of the recipes: configs/METHOD-DATASET.yaml; the protocol is the recipe's if it reports recalls,
else the dataset's first that does. Each method is trained at each width with each seed (0, 1, ...) into a run folder of
its own and measured on the test split in percent: R@K is the share of queries with a right answer among the first K
(``hit@K``), by codes of each width and by cosine of the embeddings of the widest. A query without a right answer is a
miss. Beside methods stand the untrained network, random codes and the sign of CCA, of the first seed.

With ``--second-look N`` two more tables say what a second look over N candidates adds, by codes and by embeddings, and
how long a query takes by each way (:mod:`looks`).

- Edits of drawn scenes, and triplets of one's own, such as :mod:`composed_products` makes: R@1, 5 and 10.
- Captions: R@1, 5 and 10 of image to text and text to image, and their sum. MS-COCO has a second table, 1K: the mean of
  five folds of 1,000 of its 5,000 images, in their order.
- FashionIQ: R@10 and R@50 of each category, their means, and the mean of those.
- Shoes: R@1, 10 and 50 and their mean.
- CIRR: R@1, 5, 10 and 50, in the group R@1, 2 and 3, and the mean of R@5 and the group's R@1.

Published rows stand beneath a rule, only those of the same dataset, protocol and edition, with their sources. Killed at
any moment and started again with the same arguments, it goes on and ends in the same tables. Tables go to stdout, what
happens to stderr, and all of it to OUT/recall.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import folds
import looks
import published
from campaign import Content, Demand, Entry, Outcome, add_arguments, entries, run_all, write_json
from fieldtable import Column, Line, departure, field_sheet, lines_of, method_names, print_sheet, unusable

from hashret.data import dataset_named
from hashret.errors import HashretError, InputError
from hashret.report import Sheet

PLACES = {"fashioniq": (10, 50), "shoes": (1, 10, 50), "cirr": (1, 5, 10, 50)}
CAPTIONS, GROUP = (1, 5, 10), (1, 2, 3)

Value = TypeVar("Value", float, Decimal)


def recall_protocol(entry: Entry, asked: str | None) -> str:
    """The protocol that is measured: the one asked for, the recipe's, or the dataset's first that reports recalls."""
    card = dataset_named(entry.recipe.data.name).CARD
    if asked:
        return card.protocol(asked).name if card.protocols else asked
    for protocol in sorted(card.protocols, key=lambda protocol: protocol.name != entry.protocol):
        if all(metric.startswith("hit@") for metric in protocol.metrics):
            return protocol.name
    raise InputError(
        "dataset", expected="one with captions or composed queries", got=card.title,
        remedy="Use benchmarks/hashing_map.py, or name a protocol.",
    )  # fmt: skip


def places_of(entry: Entry, task: str) -> tuple[int, ...]:
    """The K that papers report on a task."""
    return GROUP if task.endswith("/subset") else PLACES.get(entry.recipe.data.name, CAPTIONS)


def demand_of(entry: Entry) -> Demand:
    """Every K of any task, by codes and by embeddings; a query without an answer counts as a miss."""
    places = {*places_of(entry, ""), *(GROUP if entry.recipe.data.name == "cirr" else ())}
    return Demand(tuple(f"hit@{k}" for k in sorted(places)), ("codes", "embedding"), "zero")


def edition(entry: Entry, content: Content) -> str:
    """Which edition or part of a dataset was measured, as published tables name it."""
    before, _, within = str(content["dataset"]).removesuffix(")").partition(" (")
    images = content["sizes"].get("i2t", {}).get("queries", 0)
    names = {"flickr": before, "coco": f"{images / 1000:g}K", "cirr": within.partition(", ")[0]}
    return names.get(entry.recipe.data.name, "")


def summed(values: Mapping[Column, Value]) -> dict[Column, Value]:
    """The values, and what papers make of them: rsum, means over categories, the average of the whole."""
    full = dict(values)

    def add(at: Column, parts: Sequence[Column], divisor: int) -> None:
        if parts and at not in full and all(part in full for part in parts):
            full[at] = sum((full[part] for part in parts[1:]), full[parts[0]]) / divisor

    add(("rsum", 0), [(task, k) for task in ("i2t", "t2i") for k in CAPTIONS], 1)
    tasks = dict.fromkeys(task for task, _ in values)
    categories = [task for task in tasks if task.startswith("composed/") and task != "composed/subset"]
    for k in PLACES["fashioniq"]:
        add(("mean", k), [(task, k) for task in categories], len(categories))
    add(("average", 0), [("mean", k) for k in PLACES["fashioniq"]], 2)
    add(("average", 0), [("composed", 5), ("composed/subset", 1)], 2)
    if "composed/subset" not in tasks:
        add(("average", 0), [("composed", k) for k in PLACES["shoes"]], 3)
    return full


def with_sums(line: Line) -> Line:
    """A line with what papers make of its values, seed by seed."""
    seeds = range(max(map(len, line.values.values())))
    each = [summed({at: values[seed] for at, values in line.values.items()}) for seed in seeds]
    return Line(line.name, {at: [values[at] for values in each] for at in each[0]})


def published_rows(entry: Entry, content: Content, variant: str | None = None) -> list[published.PublishedRow]:
    """Rows of the same dataset, protocol and edition, with their sums; none where the run departs from them."""
    if departure(entry, content):
        return []
    variant = edition(entry, content) if variant is None else variant
    rows = published.rows_for(entry.recipe.data.name, entry.protocol, published.RECALLS, variant)
    made = []
    for row in rows:
        values: dict[str, dict[int, Decimal]] = {}
        for (task, k), value in summed(row.figures).items():
            values.setdefault(task, {})[k] = value.quantize(Decimal("0.01")) if task == "average" else value
        made.append(replace(row, values=values))
    return made


def fold_size(outcome: Outcome) -> int:
    """1,000 images for MS-COCO's 5,000, none for anything else."""
    asked = outcome.content["codes"]["sizes"].get("i2t", {}).get("queries")
    return 1000 if outcome.entry.recipe.data.name == "coco" and asked == 5000 else 0


def headings(lines: Sequence[Line]) -> dict[Column, str]:
    """What is printed, in the order of the tasks, sums last."""
    found = dict.fromkeys(at for line in lines for at in line.values)
    return {(task, k): f"{task} R@{k}" if k else task for task, k in found}


def table(outcomes: Sequence[Outcome], about: Sequence[str], rows: Sequence[published.PublishedRow]) -> Sheet:
    """Methods by cosine, then by codes, then floors."""
    entry, content = outcomes[0].entry, outcomes[0].content["codes"]
    widest = max(outcome.entry.bits for outcome in outcomes)

    def place(run: Entry, by: str, task: str, metric: str) -> tuple[str, Column] | None:
        if not metric.startswith("hit@"):
            return None  # a run may have been measured by more
        k = int(metric.removeprefix("hit@"))
        if k not in places_of(run, task) or (by == "embedding" and run.bits != widest):
            return None
        return (", cosine" if by == "embedding" else f", {run.bits} bits"), (task, k)

    lines = [with_sums(line) for line in lines_of(outcomes, place, scale=100)]
    own = set(method_names(outcomes).values())
    lines.sort(key=lambda line: (line.name.partition(", ")[0] not in own, not line.name.endswith(", cosine")))
    seeds = len({outcome.entry.seed for outcome in outcomes})
    score = next(iter(content["scores"].values()))
    caption = [content["dataset"], f"{seeds} seeds: mean +- standard deviation" if seeds > 1 else "1 seed", *about]
    for task, size in content["sizes"].items():
        asked = f"{task}: {size['queries']:,} queries, {score[task]['unanswered']:,} of them without a right answer"
        caption.append(f"{asked} and missed, {size['gallery']:,} in the gallery")
    caption += [f"cosine: the embeddings of the networks of {widest} bits, unhashed", *unusable(entry)]
    caption += content["notes"]
    title = f"R@K in percent (hit@K), ties: {next(iter(score.values()))['ties']}"
    digits = 1 if "i2t" in content["sizes"] else 2
    return field_sheet(title, headings(lines), lines, rows, caption, digits)


def about_rows(entry: Entry, content: Content, rows: Sequence[published.PublishedRow]) -> list[str]:
    """Why nothing published is printed, or what the sums of published rows are."""
    if rows:
        return ["sums and averages of published rows are of their printed figures"]
    departs, measured = departure(entry, content), edition(entry, content)
    if departs:
        return [f"{departs}: nothing published is comparable, and none is printed"]
    name, recalls = entry.recipe.data.name, published.RECALLS
    others = [variant for variant in published.variants_of(name, entry.protocol, recalls) if variant != measured]
    listed = f"python benchmarks/published.py {name} {entry.protocol} {recalls}"
    return [
        f"what is published is of {other}, not of {measured}, and not printed: {listed} {other}" for other in others
    ]


def check_answers(entry: Entry) -> None:
    """Refuse to train for a split whose answers nobody has."""
    if (entry.recipe.data.name, entry.recipe.data.options.get("test")) == ("cirr", "test1"):
        raise InputError(
            "data.test", expected="val", got="test1, whose answers only its server knows",
            remedy="hashret.data.cirr_submission writes what the server takes.",
        )  # fmt: skip


def check_fold(entry: Entry, size: int) -> None:
    """Refuse folds that the test split does not divide into, before anything is trained."""
    data = entry.recipe.data
    for task in dataset_named(data.name).load(entry.root, **data.options).test:
        folds.fold_numbers(task, size)


def main() -> None:
    """Train, measure, print the tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--second-look", dest="shortlist", type=int, metavar="N", help="candidates of two-stage search")
    parser.add_argument("--fold", type=int, help="images a fold of a second table [default: 1,000 for MS-COCO]")
    asked = parser.parse_args()
    out = Path(asked.out or f"runs/recall/{asked.dataset}")
    try:
        first = entries(argparse.Namespace(**{**vars(asked), "methods": asked.methods[:1]}), out)[0]
        runs = entries(asked, out, recall_protocol(first, asked.protocol))
        check_answers(runs[0])
        if asked.fold is not None:
            check_fold(runs[0], asked.fold)
        outcomes = run_all(runs, demand_of)
        entry, content = outcomes[0].entry, outcomes[0].content["codes"]
        size = fold_size(outcomes[0]) if asked.fold is None else asked.fold
        found = looks.looked(outcomes, asked.shortlist, CAPTIONS) if asked.shortlist else {}
        parts = [folds.measured(outcome, size, CAPTIONS) for outcome in outcomes] if size else []
    except HashretError as error:
        sys.exit(f"Error: {error}")
    rows = published_rows(entry, content)
    print_sheet(table(outcomes, about_rows(entry, content, rows), rows), asked.format)
    if parts:
        more = published_rows(entry, content, "1K") if entry.recipe.data.name == "coco" and size == 1000 else []
        print_sheet(table(parts, [f"mean of folds of {size:,} images"], more), asked.format)
        rows = [*rows, *more]
    for sheet in looks.look_sheets(found, asked.shortlist, CAPTIONS) if found else ():
        print_sheet(sheet, asked.format)
    kept = {"folds": {str(part.entry.folder): part.content for part in parts}} if parts else {}
    kept |= {"second_look": {", ".join(map(str, at)): told for at, told in found.items()}} if found else {}
    write_json(out / "recall.json", outcomes, [(published.RECALLS, row) for row in rows], kept)


if __name__ == "__main__":
    main()

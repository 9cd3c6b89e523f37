"""How much two-stage search saves as a gallery grows: time of a query by each way, at several sizes of the gallery.

    python benchmarks/two_stage_growth.py runs/tgdt-flickr8k --data ROOT --shortlist 50 --sizes 1000 10000 100000

Takes the gallery of each test task of a trained run, and repeats it until it has so many items: codes, embeddings and
tokens are what they are, so that each way does the work it would do for as many different items. Queries are encoded
beforehand and asked one at a time, each way in turn; the times are medians. The ratio is that of the fine score of
everything to both stages. Tokens lie in a file in a temporary folder (--folder says where; 100,000 images of 49 tokens
of 256 numbers are 2.5 GB as float16), which the system keeps in memory as far as there is room.

The table goes to stdout, what happens to stderr, and all of it to RUN/two-stage-growth.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from campaign import machine, say
from fieldtable import print_sheet

from hashret.arrayfile import replace_file
from hashret.errors import HashretError, InputError
from hashret.examples import Task
from hashret.pipeline import load_data, read_recipe
from hashret.pipeline.train import device_named, freeze
from hashret.pipeline.two_stage import Queries, TwoStage, TwoStageGallery, milliseconds
from hashret.report import Cell, Sheet
from hashret.retriever import Retriever
from hashret.run import Run
from hashret.search import EmbeddingStore, HammingIndex, TokenStore, exhaustive
from hashret.search.stored_rows import StoredAs


def grown(retriever: Retriever, task: Task, size: int, folder: Path, dtype: StoredAs) -> TwoStageGallery:
    """The task's gallery, repeated until it has ``size`` items."""
    count = len(task.gallery)
    whole, rest = divmod(size, count)
    codes, embeddings, tokens = (
        retriever.encode(task.gallery),
        retriever.embed(task.gallery),
        retriever.tokens(task.gallery),
    )
    parts = [slice(0, count)] * whole + [slice(0, rest)] * bool(rest)
    index = HammingIndex(retriever.bits)
    for part in parts:
        index.add(codes[part])
    return TwoStageGallery(
        index,
        EmbeddingStore.write(folder / "embeddings", (embeddings[part] for part in parts), dtype="float32"),
        TokenStore.write(folder / "tokens", (tokens[part] for part in parts), dtype=dtype),
    )


def timed(gallery: TwoStageGallery, queries: Queries, shortlist: int, count: int) -> dict[str, float]:
    """Milliseconds a query by each way."""
    store, text = gallery.tokens, queries.texts
    assert store is not None
    found = {}
    for by in ("codes", "embedding"):
        how = TwoStage(shortlist, by)
        found[f"first stage by {by}"] = milliseconds(lambda asked: gallery.first(asked, how), queries, count)  # noqa: B023
        found[f"two stages by {by}"] = milliseconds(lambda asked: gallery.search(asked, how), queries, count)  # noqa: B023

    def everything(asked: Queries) -> Any:
        assert asked.tokens is not None
        return exhaustive(asked.tokens, store, 10, summed="queries" if text else "gallery")

    large = len(gallery) >= 50_000
    found["exhaustive"] = milliseconds(everything, queries, min(count, 5) if large else count)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--data", help="root of the dataset, if it has moved since training")
    parser.add_argument("--shortlist", type=int, default=50)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--dtype", choices=["float16", "int8", "float32"], default="float16")
    parser.add_argument("--queries", type=int, default=50, help="that are timed")
    parser.add_argument("--folder", help="where the tokens lie meanwhile [default: the system's temporary folder]")
    parser.add_argument("--format", choices=["table", "markdown", "latex"], default="table")
    asked = parser.parse_args()
    body, kept = [], []
    try:
        run = Run.open(asked.run)
        content, root = run.recipe()
        recipe = read_recipe(content)
        device = device_named(recipe.training.device)
        retriever = Retriever.from_pretrained(run.folder, device=device)
        if not retriever.method.looks_closer:
            raise InputError(
                "run", expected="one of a method that compares tokens", got=type(retriever.method).__name__,
                remedy="Other methods are looked at by embeddings, of which rerank reads one row an item.",
            )  # fmt: skip
        dataset, _ = load_data(recipe, asked.data or root, lambda note: None)
        dataset = freeze(recipe, dataset, retriever.method, retriever.processor, device, say)
        for task in dataset.test:
            queries = Queries.of(retriever, task.queries[: asked.queries + 1])
            for size in asked.sizes:
                say(f"{task.name}: a gallery of {size:,}")
                with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                    gallery = grown(retriever, task, size, Path(folder), asked.dtype)
                    times = timed(gallery, queries, asked.shortlist, asked.queries)
                kept.append({"task": task.name, "gallery": size, "milliseconds": times})
                ratios = [times["exhaustive"] / times[f"two stages by {by}"] for by in ("codes", "embedding")]
                cells = [*(f"{value:.3f}" for value in times.values()), *(f"{ratio:.0f}" for ratio in ratios)]
                body.append(tuple(Cell(cell) for cell in (task.name, f"{size:,}", *cells)))
    except HashretError as error:
        sys.exit(f"Error: {error}")
    ways = ("1st: codes", "both: codes", "1st: cosine", "both: cosine", "exhaustive", "x codes", "x cosine")
    header = ("task", "gallery", *ways)
    title = f"milliseconds a query, shortlists of {asked.shortlist}; x: exhaustive / both stages"
    notes = (dataset.name, f"{retriever.bits} bits, tokens {asked.dtype}, {machine()['threads']} threads")
    print_sheet(Sheet(header, tuple(body), title, notes), asked.format)
    told = {"shortlist": asked.shortlist, "dtype": asked.dtype, "machine": machine(), "rows": kept}
    replace_file(run.folder / "two-stage-growth.json", json.dumps(told, indent=1).encode())


if __name__ == "__main__":
    main()

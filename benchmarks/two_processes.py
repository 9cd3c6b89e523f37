"""Do several processes train as one does? The largest differences in losses, scores, weights and codes.

    python benchmarks/two_processes.py
    python benchmarks/two_processes.py --methods crcgs icone --processes 3 --out two_processes.json
    python benchmarks/two_processes.py --recipe configs/crcgs-shapes.yaml --set stages.embedding.epochs=2

Every method, small and on drawn scenes, or a recipe of your own, is trained by one process and by several that torchrun
starts. Losses are an epoch's means as logged (six digits), scores those of validation, weights of the saved model in
float32, codes those of the test split's queries and galleries. Sums of another order round differently, and Adam
divides by a gradient's size: a single weight whose gradient is hardly more than rounding may move apart by the learning
rate in a step. So the root mean square of what weights differ by, over that of the weights, stands beside the largest.
Encoders without dropout are taken, which several processes draw otherwise; dropout behind them is as always.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.arrayfile import read_arrays, replace_file
from hashret.methods import METHODS
from hashret.pipeline import load_data, read_recipe, train
from hashret.recipe import Recipe
from hashret.report import Cell, Sheet
from hashret.retriever import Retriever

SIZES = {
    "bits": 64, "dimension": 32, "width": 64, "base_width": 64, "generative_dimension": 32, "hash_width": 64,
    "projection_width": 64, "hidden_width": 64, "feedforward": 64, "region_width": 32, "heads": 2, "region_layers": 1,
    "base_layers": 1, "global_layers": 1, "copies": 2,
}  # fmt: skip
BATCH = 16
LIMITS = {"losses": 1e-3, "validation": 0.02, "weights (rms)": 1e-3}
COLUMNS = (*LIMITS, "weights (largest)")

Row = dict[str, Any]


def recipe_of(name: str, pairs: int) -> dict[str, Any]:
    """A small recipe for a method whose image encoder learns, and its text encoder where it has no dropout."""
    kind = METHODS[name]
    sizes = {key: size for key, size in SIZES.items() if key in kind.options.__dataclass_fields__}
    more = {"support_weight": 0.5, "pair_weight": 0.5} if name == "crcgs" else {}
    protocol = "edits" if kind.needs_composed else "labels"
    text = {"name": "transformer", "frozen": True, "dimension": 32} if kind.reads_tokens else {"name": "bag_of_words"}
    return {
        "data": {"name": "shapes", "protocol": protocol, "train": pairs, "validation": 30, "test": 20, "database": 80},
        "image": {"name": "cnn", "width": 8, "dimension": 32},
        "text": text,
        "method": {"name": name, **sizes, **more},
        "stages": {stage.name: {"epochs": 1, "batch_size": BATCH} for stage in kind.stages},
        "training": {"device": "cpu"},
    }


def asked_for(asked: argparse.Namespace) -> dict[str, Recipe]:
    """The recipes by name."""
    if asked.recipe:
        return {Path(asked.recipe).stem: read_recipe(asked.recipe, asked.overrides)}
    return {name: read_recipe(recipe_of(name, asked.pairs), asked.overrides) for name in asked.methods}


def run(processes: int, folder: Path) -> None:
    """Train everything by so many processes, each recipe into a folder of its own."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), __file__, *sys.argv[1:], "--into", str(folder)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "HASHRET_CACHE": str(folder / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{processes} processes: {done.stderr[-2000:]}")


def codes_of(recipe: Recipe, data: str | None, folder: Path) -> NDArray[np.uint8]:
    """Packed codes of what the test tasks ask and search, one below the other."""
    retriever = Retriever.from_pretrained(folder)
    tasks = load_data(recipe, data, lambda line: None)[0].test
    return np.concatenate([retriever.encode(side).packed for task in tasks for side in (task.queries, task.gallery)])


def flat(weights: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """All weights and buffers of a model one after the other."""
    return np.concatenate([weights[name].ravel().astype(np.float64) for name in sorted(weights)])


def compared(recipe: Recipe, data: str | None, one: Path, several: Path) -> Row:
    """The largest differences between two runs of a recipe."""
    logs = [[json.loads(line) for line in (run / "log.jsonl").open(encoding="utf-8")] for run in (one, several)]
    epochs = list(zip(*logs, strict=True))
    weights, others = (
        read_arrays(run / "model" / "model.safetensors", kind="hashret.weights/1")[0] for run in (one, several)
    )
    apart = flat(weights) - flat(others)
    codes, changed = (codes_of(recipe, data, run) for run in (one, several))
    scores = [(a["validation"], b["validation"]) for a, b in epochs if a["validation"] is not None]
    return {
        "epochs": len(epochs),
        "losses": max(abs(a["losses"][term] - b["losses"][term]) for a, b in epochs for term in a["losses"]),
        "validation": max((abs(a - b) for a, b in scores), default=0.0),
        "weights (rms)": float(np.sqrt(np.square(apart).mean() / np.square(flat(weights)).mean())),
        "weights (largest)": float(np.abs(apart).max()),
        "codes": int(np.bitwise_count(codes ^ changed).sum()),
        "of_bits": len(codes) * recipe.method.options["bits"],
    }


def printed(rows: dict[str, Row], processes: int) -> str:
    """The table."""
    body = [
        (name, str(row["epochs"]), *(f"{row[key]:.1e}" for key in COLUMNS), f"{row['codes']} of {row['of_bits']:,}")
        for name, row in rows.items()
    ]
    title = f"{processes} processes against one: the largest difference"
    header = ("method", "epochs", *COLUMNS, "bits of codes")
    return Sheet(header, tuple(tuple(map(Cell, line)) for line in body), title).markdown()


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--recipe", help="a recipe instead of the methods")
    parser.add_argument("--data", help="root of its dataset")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=41, help="drawn training pairs")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    """Train by one process and by several, compare, print and keep."""
    asked = parsed()
    recipes = asked_for(asked)
    if asked.into:
        for name, recipe in recipes.items():
            train(recipe, asked.into / name, data=asked.data, quiet=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        one, several = Path(folder, "one"), Path(folder, "several")
        run(1, one)
        run(asked.processes, several)
        rows = {name: compared(recipe, asked.data, one / name, several / name) for name, recipe in recipes.items()}
    print(printed(rows, asked.processes))
    if asked.out:
        replace_file(asked.out, json.dumps({"processes": asked.processes, "rows": rows}, indent=1).encode())
    if beyond := [name for name, row in rows.items() if any(row[key] > limit for key, limit in LIMITS.items())]:
        sys.exit(f"more than rounding: {', '.join(beyond)}")


if __name__ == "__main__":
    main()

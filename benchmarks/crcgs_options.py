"""Which of CRCGS's options measures better: the default against each one changed, on the validation split.

    python benchmarks/crcgs_options.py configs/crcgs-flickr8k.yaml --data ROOT --seeds 0 1 2 --out options.json

Each row is a whole training run with one change; its score is the tie-aware mAP of the codes on the validation tasks,
which no row is trained on. The test split is not touched. Rows are printed as they finish and written as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from hashret.evaluation import evaluate
from hashret.pipeline import load_data, read_recipe, train
from hashret.pipeline.train import freeze
from hashret.recipe import Recipe
from hashret.report import to_markdown

CHANGES: dict[str, tuple[str, ...]] = {
    "default": (),
    "likelihood_scale 1/2 (release)": ("method.likelihood_scale=0.5",),
    "noise by items (CRD)": ("method.noise=items",),
    "self in the support set (release)": ("method.support_includes_self=true",),
    "no quantisation term (release)": ("method.quantization_weight=0",),
    "three tanh layers (release)": ("method.tower_layers=3", "method.activation=tanh"),
    "generators by L1": ("method.generator_loss=l1",),
    "generators by MSE": ("method.generator_loss=mse",),
    "no contrast": ("method.contrastive_weight=0",),
    "no distillation": ("method.distillation_weight=0",),
    "no adversaries": ("method.adversarial_weight=0",),
    "no support set": ("method.support_weight=0",),
    "all of the release": ("method.preset=published-mirflickr25k",),
}


def score(recipe: Recipe, data: str) -> dict[str, float]:
    """Train one recipe and measure its codes on the validation tasks."""
    with tempfile.TemporaryDirectory() as folder:
        retriever = train(recipe, folder, data=data, quiet=True)
    dataset, _ = load_data(recipe, data, lambda line: None)
    dataset = freeze(recipe, dataset, retriever.method, retriever.processor, "cpu", lambda line: None)
    return {
        task.name: evaluate((retriever.encode(task.queries), retriever.encode(task.gallery)), task.relevance)["map"]
        for task in dataset.validation
    }


def _shown(values: list[float]) -> str:
    """Mean and, of several seeds, their standard deviation."""
    spread = f" +- {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def main() -> None:
    """Train every row and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--data", required=True, help="root of the dataset")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--out", default="crcgs_options.json")
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {}
    for row in arguments.rows:
        runs = [
            score(
                read_recipe(arguments.recipe, [*CHANGES[row], *arguments.overrides, f"training.seed={seed}"]),
                arguments.data,
            )
            for seed in arguments.seeds
        ]
        results[row] = runs
        print(row, " ".join(f"{task} {_shown([run[task] for run in runs])}" for task in runs[0]), flush=True)
        Path(arguments.out).write_text(json.dumps(results, indent=1), encoding="utf-8")
    tasks = list(next(iter(results.values()))[0])
    rows = {row: {task: float(np.mean([run[task] for run in runs])) for task in tasks} for row, runs in results.items()}
    print(f"\nmAP on the validation tasks, ties expected, mean of {len(arguments.seeds)} seeds\n")
    print(to_markdown(tasks, rows))


if __name__ == "__main__":
    main()

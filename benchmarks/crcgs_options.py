"""The ablation of CRCGS: the recipe against each of its parts left out or added, on the validation split.

    python benchmarks/crcgs_options.py configs/crcgs-flickr8k.yaml --data ROOT --seeds 0 1 2 --out options.json
    python benchmarks/crcgs_options.py configs/crcgs_published-flickr8k.yaml --data ROOT --rows default "no contrast"

The rows are those of the recipe's variant, improved or published. Each is a whole training run with one change; its
score is the tie-aware mAP of the codes on the validation tasks, which no row is trained on. The test split is not
touched. Runs are kept in the JSON as they finish, and one that is there is not trained again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from hashret.arrayfile import replace_file
from hashret.evaluation import evaluate
from hashret.pipeline import load_data, read_recipe, train
from hashret.pipeline.train import freeze
from hashret.recipe import Recipe
from hashret.report import Cell, Sheet

GENERATORS = ("stages.image_to_text.epochs=10", "stages.text_to_image.epochs=10")
NO_CONTRAST = ("method.contrastive_weight=0", "method.intra_weight=0")
NO_BASE = ("method.classification_weight=0",)

CHANGES: dict[str, dict[str, tuple[str, ...]]] = {
    "crcgs": {
        "default": (),
        "no converted features (base only)": NO_CONTRAST,
        "no base features (contrast only)": NO_BASE,
        "contrast within a modality instead": ("method.contrastive_weight=0", "method.intra_weight=1"),
        "with contrast within a modality": ("method.intra_weight=1",),
        "no invariance": ("method.invariance_weight=0",),
        "cross-entropy of labels": ("method.classification=bce",),
        "with a pairwise likelihood": ("method.pair_weight=1",),
        "with generative features, weight 0.1": ("method.generative_weight=0.1", *GENERATORS),
        "with generative features, weight 1": ("method.generative_weight=1", *GENERATORS),
        "with a support set, weight 0.1": ("method.support_weight=0.1",),
        "with a support set, weight 1": ("method.support_weight=1",),
        "no standardised features": ("method.standardize=none",),
        "no dropped features": ("method.image_dropout=0", "method.base_dropout=0"),
    },
    "crcgs_published": {
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
    },
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


def digest(recipe: Recipe) -> str:
    """What tells a recipe from others."""
    return hashlib.blake2b(json.dumps(recipe.to_dict()).encode(), digest_size=6).hexdigest()


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
    parser.add_argument("--rows", nargs="+", help="of the variant's rows, these alone")
    parser.add_argument("--out", default="crcgs_options.json")
    asked = parser.parse_args()
    changes = CHANGES[read_recipe(asked.recipe, asked.overrides).method.name]
    unknown = [row for row in asked.rows or [] if row not in changes]
    if unknown:
        parser.error(f"--rows: expected some of {', '.join(changes)}, got {', '.join(unknown)}")
    out = Path(asked.out)
    kept: dict[str, dict[str, float]] = json.loads(out.read_text("utf-8")) if out.exists() else {}
    rows: dict[str, list[dict[str, float]]] = {}
    for row in asked.rows or changes:
        for seed in asked.seeds:
            recipe = read_recipe(asked.recipe, [*changes[row], *asked.overrides, f"training.seed={seed}"])
            name = f"{row}, seed {seed}, {digest(recipe)}"
            if name not in kept:
                kept[name] = score(recipe, asked.data)
                replace_file(out, json.dumps(kept, indent=1).encode())
            rows.setdefault(row, []).append(kept[name])
        told = " ".join(f"{task} {_shown([run[task] for run in rows[row]])}" for task in rows[row][0])
        print(f"· {row}: {told}", file=sys.stderr, flush=True)
    tasks = list(next(iter(rows.values()))[0])
    body = []
    for row, runs in rows.items():
        means = [_shown([run[task] for run in runs]) for task in tasks]
        both = _shown([float(np.mean(list(run.values()))) for run in runs])
        body.append(tuple(Cell(text) for text in (row, *means, both)))
    title = f"mAP of codes on the validation tasks, ties expected, {len(asked.seeds)} seeds"
    print(Sheet((f"{Path(asked.recipe).stem}", *tasks, "mean"), tuple(body), title, ()).markdown())


if __name__ == "__main__":
    main()

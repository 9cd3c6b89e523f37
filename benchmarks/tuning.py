"""Settings of every method tried on the validation tasks: as many for each, so that no row of a table is tuned harder.

    python benchmarks/tuning.py flickr8k ROOT --methods crcgs dcmh dscmr contrastive
    python benchmarks/tuning.py wikipedia ROOT --methods dcmh --out runs/tuning

What is tried stands in benchmarks/tuning.yaml; each setting is a change of configs/METHOD-DATASET.yaml as it was before
the best of them was written into it by hand. A score is the best validation score of the last stage that has one, which
is what training itself goes by: mean mAP of the codes over the validation tasks, one seed. The test split is not
touched.

Settings that were measured before are kept in OUT/tuning.json and not trained again, unless the recipe or the setting
has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml
from campaign import CONFIGS, say

from hashret.arrayfile import replace_file
from hashret.errors import HashretError, InputError
from hashret.pipeline import read_recipe, train
from hashret.recipe import Recipe
from hashret.report import Cell, Sheet

from fieldtable import print_sheet  # isort: skip

SETTINGS = Path(__file__).with_suffix(".yaml")


def settings_of(dataset: str, methods: list[str]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Method -> where it started, and what is tried from there, as many for each.

    Raises:
        InputError: A dataset or method without settings, or methods with different numbers of them.
    """
    known = yaml.safe_load(SETTINGS.read_text(encoding="utf-8")).get(dataset, {})
    missing = [method for method in methods if method not in known]
    if missing:
        raise InputError(
            "settings", expected=f"some of {', '.join(known) or 'no method'} for {dataset}", got=", ".join(missing),
            remedy=f"Write them into {SETTINGS.name}.",
        )  # fmt: skip
    chosen = {method: (known[method]["start"], known[method]["tried"]) for method in methods}
    if len({len(tried) for _, tried in chosen.values()}) > 1:
        told = ", ".join(f"{method}: {len(tried)}" for method, (_, tried) in chosen.items())
        raise InputError("settings", expected="as many for each method", got=told, remedy=f"Even out {SETTINGS.name}.")
    return chosen


def score(recipe: Recipe, folder: Path, root: str | None) -> dict[str, Any]:
    """Train one setting; its best validation score, the epoch of it and the seconds of all epochs."""
    train(recipe, folder, data=root, resume=True, quiet=True)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    judged = [row for row in rows if row["validation"] is not None]
    last = [row for row in judged if row["stage"] == judged[-1]["stage"]]
    best = max(last, key=lambda row: row["validation"])
    seconds = sum(row["seconds"] for row in rows)
    return {"validation": best["validation"], "epoch": best["epoch"], "epochs": last[-1]["epoch"], "seconds": seconds}


def main() -> None:
    """Train every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("root", nargs="?", default="-", help="root of the dataset; - or nothing for one that is drawn")
    parser.add_argument("--methods", nargs="+", required=True)
    parser.add_argument("--set", dest="overrides", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", default="runs/tuning")
    parser.add_argument("--format", choices=["table", "markdown", "latex"], default="table")
    asked = parser.parse_args()
    root, path = None if asked.root == "-" else asked.root, Path(asked.out) / asked.dataset / "tuning.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    body = []
    try:
        for method, (start, settings) in settings_of(asked.dataset, asked.methods).items():
            rows = []
            for setting in settings:
                source = CONFIGS / f"{method}-{asked.dataset}.yaml"
                recipe = read_recipe(source, [*asked.overrides, *start, *setting])
                name = hashlib.blake2b(json.dumps(recipe.to_dict()).encode(), digest_size=8).hexdigest()
                if name not in kept:
                    folder = path.parent / name
                    kept[name] = {"method": method, "setting": setting, **score(recipe, folder, root)}
                    path.parent.mkdir(parents=True, exist_ok=True)
                    replace_file(path, json.dumps(kept, indent=1).encode())
                    shutil.rmtree(folder)
                found = kept[name]
                say(f"{method} {' '.join(setting) or 'as it started'}: {found['validation']:.4f}")
                rows.append((setting, found))
            best = max(found["validation"] for _, found in rows)
            for setting, found in rows:
                cells = f"{found['validation']:.4f}", f"{found['epoch']}/{found['epochs']}", f"{found['seconds']:.0f}"
                marked = [Cell(cell, found["validation"] == best) for cell in cells]
                body.append((Cell(method), Cell(" ".join(setting) or "as it started"), *marked))
    except HashretError as error:
        sys.exit(f"Error: {error}")
    header = ("method", "setting", "validation", "epoch", "seconds")
    title = f"{asked.dataset}: mean mAP of codes on the validation tasks, one seed; the best of each method is bold"
    print_sheet(Sheet(header, tuple(body), title, ()), asked.format)


if __name__ == "__main__":
    main()

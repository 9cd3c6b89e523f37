"""Every recipe of the repository is loaded, built, trained two steps and measured, on a tiny tree of its dataset."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from hashret.methods import METHODS
from hashret.pipeline import evaluate_run, read_recipe, train

ROOT = Path(__file__).parents[1]
RECIPES = sorted([*ROOT.joinpath("configs").rglob("*.yaml"), *ROOT.joinpath("hashret").rglob("*.yaml")])
CLASSES = ["cat", "dog", "snow"]


def make_flickr(root: Path) -> dict[str, Any]:
    """Eight training and four validation photos with five captions and labels each."""
    (root / "images").mkdir()
    chance, images = np.random.default_rng(0), []
    for number in range(12):
        picture = chance.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(picture).save(root / "images" / f"{number}.jpg")
        names = [CLASSES[number % 3], CLASSES[(number + 1) % 3]][: 1 + number % 2]
        sentences = [{"raw": f"a {names[0]} seen {way}"} for way in ("today", "again", "near", "far", "here")]
        split = "train" if number < 8 else "val"
        images.append({"filename": f"{number}.jpg", "split": split, "sentences": sentences, "labels": names})
    content = {"images": images, "classes": CLASSES}
    (root / "dataset_flickr8k.json").write_text(json.dumps(content), encoding="utf-8")
    return {"validation": 3}


def make_shapes(root: Path) -> dict[str, Any]:
    return {"train": 8, "validation": 6, "test": 8, "database": 26}


TREES: dict[str, Callable[[Path], dict[str, Any]]] = {"flickr": make_flickr, "shapes": make_shapes}


def test_there_are_recipes():
    assert {path.name for path in RECIPES} >= {"demo.yaml", "crcgs-flickr8k.yaml"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_trains_two_steps(path, tmp_path, checkpoints, monkeypatch):
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    root = tmp_path / "data"
    root.mkdir()
    sets = [f"data.{key}={value}" for key, value in TREES[raw["data"]["name"]](root).items()]
    if raw["image"]["name"] == "transformers":
        sets.append(f"image.checkpoint={checkpoints('mobilenet')}")
    sets += [f"stages.{stage.name}.epochs=2" for stage in METHODS[raw["method"]["name"]].stages]
    recipe = read_recipe(path, sets)
    out = tmp_path / "run"
    retriever = train(recipe, out, data=root, quiet=True)
    assert retriever.bits == raw["method"]["bits"]
    results = evaluate_run(out)
    assert set(results.sizes) == {"i2t", "t2i"}
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["bits"] == retriever.bits


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_says_how_to_run_it(path):
    first = path.read_text(encoding="utf-8").split("data:")[0]
    assert first.startswith("#")
    assert "hashret " in first

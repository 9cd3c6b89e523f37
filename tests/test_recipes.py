"""Every recipe of the repository is loaded, built, trained two steps and measured, on a tiny tree of its dataset."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import LAYOUTS

from hashret.data import DATASETS
from hashret.examples import RetrievalDataset
from hashret.methods import METHODS
from hashret.pipeline import evaluate_run, read_recipe, train
from hashret.regions import read_regions

ROOT = Path(__file__).parents[1]
RECIPES = sorted([*ROOT.joinpath("configs").rglob("*.yaml"), *ROOT.joinpath("hashret").rglob("*.yaml")])
SMALL = {"architecture": "shufflenet_v2_x0_5", "weights": "null", "size": "64"}  # of torchvision, with random weights
CHECKPOINTS = {"image": "mobilenet", "text": "bert"}
WIDTHS = {
    "width", "dimension", "generative_dimension", "region_width", "feedforward", "hash_width", "projection_width",
    "hidden_width",
}  # fmt: skip


def make_tree(raw: dict[str, Any], root: Path) -> dict[str, Any]:
    """A tree of the recipe's dataset that serves its protocol, and the options that it needs."""
    root.mkdir()
    name, protocol = raw["data"]["name"], raw["data"].get("protocol")
    layouts = {key: form for key, form in LAYOUTS[name].items() if (key == "regions") == ("regions" in raw["data"])}
    served = (form for form in layouts.values() if not form.protocols or protocol in (None, *form.protocols))
    held = {"validation": 2} if isinstance(raw["data"].get("validation"), int) else {}
    return raw["data"] | held | next(served).make(root)


def fitted(raw: dict[str, Any], data: RetrievalDataset, checkpoints: Callable[[str], Path]) -> list[str]:
    """What makes the recipe's encoders fit the tree, small enough to be quick and without a download."""
    sets = []
    for side in ("image", "text"):
        encoder = raw[side]["name"]
        if encoder == "transformers":
            kind = "clip" if "clip" in raw[side]["checkpoint"] else CHECKPOINTS[side]
            sets.append(f"{side}.checkpoint={checkpoints(kind)}")
            sets += [f"{side}.layers=1"] if "layers" in raw[side] else []
        elif encoder == "trained":
            sets.append(f"{side}.run={checkpoints('run')}")
        elif encoder == "torchvision":
            sets += [f"{side}.{key}={value}" for key, value in SMALL.items()]
        elif encoder == "vector":
            pair = data.train[0]
            vectors = [getattr(example, side) for example in (pair.query, pair.target)]
            sets += [f"{side}.dimension={len(vector)}" for vector in vectors if vector is not None]
        elif encoder == "tokens":
            sets.append(f"{side}.dimension={read_regions(data.train[0].query.image).shape[1]}")
    return sets


def shrunk(raw: dict[str, Any], checkpoints: Callable[[str], Path]) -> list[str]:
    """Widths of the method's own layers, which are slow: those that the recipe leaves to their defaults, and what
    stands in the encoders' own space, which is as wide as they are."""
    own = {field.name for field in fields(METHODS[read_recipe(raw).method.name].options)}
    sets = [f"method.{width}=64" for width in sorted(WIDTHS & own - set(raw["method"]))]
    if raw["method"].get("head") == "none":
        about = json.loads((checkpoints("clip") / "config.json").read_text(encoding="utf-8"))
        sets.append(f"method.dimension={about['projection_dim']}")
    return sets


def test_there_are_recipes():
    assert {path.name for path in RECIPES} >= {"demo.yaml", "crcgs-flickr8k.yaml", "crcgs_published-flickr8k.yaml"}


@pytest.mark.parametrize("path", sorted(ROOT.joinpath("configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_file_is_named_after_its_method(path):
    """By which the benchmarks find it: METHOD-DATASET.yaml; a variant is a method of its own."""
    assert path.stem.partition("-")[0] == read_recipe(path).method.name


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_trains_two_steps(path, tmp_path, checkpoints, monkeypatch):
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    root = tmp_path / "data"
    options = make_tree(raw, root)
    data = DATASETS[options.pop("name")].load(root, **options)
    sets = [f"data.{key}={value}" for key, value in options.items()] + fitted(raw, data, checkpoints)
    kind = METHODS[read_recipe(path).method.name]
    sets += [f"stages.{stage.name}.epochs=2" for stage in kind.stages]
    sets += shrunk(raw, checkpoints)
    sets += ["method.copies=2"] if "copies" in raw["method"] else []
    recipe = read_recipe(path, sets)
    out = tmp_path / "run"
    retriever = train(recipe, out, data=root, quiet=True)
    assert retriever.bits == raw["method"]["bits"]
    results = evaluate_run(out)
    assert set(results.sizes) == {task.name for task in data.test}
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["bits"] == retriever.bits


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_says_how_to_run_it(path):
    first = path.read_text(encoding="utf-8").split("data:")[0]
    assert first.startswith("#")
    assert "hashret " in first

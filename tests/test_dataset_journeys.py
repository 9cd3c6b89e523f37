"""Every dataset in every layout goes the whole way: check, load, training of a few steps, evaluation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trees import LAYOUTS

from hashret.data import DATASETS, check
from hashret.examples import Example, RetrievalDataset
from hashret.methods import METHODS
from hashret.pipeline import evaluate_run, read_recipe, train
from hashret.regions import RegionFiles, read_regions

FORMS = [
    (name, layout, protocol)
    for name, layouts in LAYOUTS.items()
    for layout, form in layouts.items()
    for protocol in form.protocols or [None]
]


def encoders(data: RetrievalDataset) -> dict[str, Any]:
    """Sections of a recipe that read what the examples hold."""
    pair = data.train[0]
    image = pair.target.image if pair.query.image is None else pair.query.image
    text = pair.query.text if pair.target.text is None else pair.target.text
    read: dict[str, Any] = {"image": {"name": "cnn", "size": 32, "width": 4, "dimension": 8}}
    if isinstance(image, np.ndarray) and image.ndim == 1:
        read["image"] = {"name": "vector", "dimension": len(image)}
    elif isinstance(image, RegionFiles):
        read["image"] = {"name": "tokens", "dimension": read_regions(image).shape[1]}
    read["text"] = {"name": "bag_of_words", "size": 50}
    if isinstance(text, np.ndarray):
        read["text"] = {"name": "vector", "dimension": len(text)}
    return read


def method(data: RetrievalDataset) -> dict[str, Any]:
    """CRCGS where images and labelled texts are paired, the contrastive method elsewhere."""
    plain = all(pair.query.text is None and pair.labels is not None for pair in data.train)
    if plain:
        return {"name": "crcgs", "bits": 16, "width": 16, "dimension": 8, "generative_dimension": 8}
    return {"name": "contrastive", "bits": 16, "width": 16, "dimension": 8}


def held(example: Example) -> tuple[bool, bool]:
    return example.image is not None, example.text is not None


@pytest.mark.parametrize(("name", "layout", "protocol"), FORMS, ids=["-".join(filter(None, form)) for form in FORMS])
def test_from_files_to_figures(name, layout, protocol, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    root.mkdir()
    options = LAYOUTS[name][layout].make(root) | ({} if protocol is None else {"protocol": protocol})
    assert [line for line in check(name, root).problems() if not line.startswith("count: ")] == []
    data = DATASETS[name].load(root, **options)
    chosen = method(data)
    stages = {stage.name: {"epochs": 1, "batch_size": 4} for stage in METHODS[chosen["name"]].stages}
    recipe = read_recipe(
        {
            "data": {"name": name, **options},
            **encoders(data),
            "method": chosen,
            "stages": stages,
            "training": {"metric": "hit@3"},
            "evaluation": {"metrics": ["map", "hit@1"]},
        }
    )
    retriever = train(recipe, tmp_path / "run", data=root, quiet=True)
    assert retriever.bits == 16
    results = evaluate_run(tmp_path / "run")
    assert set(results.sizes) == {task.name for task in data.test}
    written = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert written["dataset"] == data.name
    assert written["notes"][: len(data.notes)] == list(data.notes)
    for task in data.test:
        sides = {held(query) for query in task.queries}, {held(item) for item in task.gallery}
        assert all(len(side) == 1 for side in sides)

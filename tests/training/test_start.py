"""A run whose last stage is trained on what another run has learned."""

import json
from pathlib import Path

import numpy as np
import pytest

from hashret.arrayfile import read_arrays
from hashret.errors import TrainingError
from hashret.methods import METHODS as KINDS
from hashret.pipeline import read_recipe, train
from hashret.training import loop

RECIPE = {
    "data": {"name": "shapes", "train": 40, "validation": 12, "test": 8, "database": 26},
    "image": {"name": "cnn", "width": 4, "dimension": 8},
    "text": {"name": "bag_of_words", "size": 30},
    "training": {"device": "cpu"},
}
SHORT = {"epochs": 3, "batch_size": 8}
METHODS = {
    "crcgs": {"method": {"name": "crcgs", "bits": 16, "width": 16, "base_width": 16, "dimension": 12}},
    "dscmr": {"method": {"name": "dscmr", "bits": 16, "width": 16, "dimension": 12, "hash_width": 8}},
    "contrastive": {"method": {"name": "contrastive", "bits": 16, "width": 16, "dimension": 12}},
}


def recipe(name, *overrides):
    return read_recipe(RECIPE | METHODS[name] | {"stages": {"embedding": SHORT, "codes": SHORT}}, overrides)


def rows(folder):
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def weights(folder):
    return read_arrays(folder / "model" / "model.safetensors", kind="hashret.weights/1")[0]


@pytest.fixture(scope="module", params=METHODS)
def whole(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "whole"
    train(recipe(request.param), folder, quiet=True)
    return request.param, folder


def test_the_same_recipe_ends_in_the_weights_of_the_whole_run(whole, tmp_path):
    name, folder = whole
    train(recipe(name), tmp_path / "run", start=folder, quiet=True)
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == (folder / "model/model.safetensors").read_bytes()
    assert rows(tmp_path / "run") == rows(folder)
    assert json.loads((tmp_path / "run/start.json").read_text()) == {"run": str(folder), "stages": ["embedding"]}


def test_another_width_has_the_same_embedding(whole, tmp_path):
    name, folder = whole
    retriever = train(recipe(name, "method.bits=24", "stages.codes.epochs=2"), tmp_path, start=folder, quiet=True)
    before, after = weights(folder), weights(tmp_path)
    same = {key for key in before if before[key].shape == after[key].shape and np.array_equal(before[key], after[key])}
    assert {key for key in before if key not in same and "hash" not in key and "code" not in key} == set()
    assert retriever.method.bits == 24
    log = rows(tmp_path)
    assert log[:3] == rows(folder)[:3]
    assert [row["stage"] for row in log[3:]] == ["codes", "codes"]


OTHERS = {"crcgs": "method.neighbour_scale=9", "dscmr": "method.hash_dropout=0.1", "contrastive": "method.hash_width=8"}


def test_another_hash_layer_has_the_same_embedding(whole, tmp_path):
    name, folder = whole
    train(recipe(name, OTHERS[name]), tmp_path, start=folder, quiet=True)
    before, after = weights(folder), weights(tmp_path)
    same = {key for key in before if before[key].shape == after[key].shape and np.array_equal(before[key], after[key])}
    changed = set(before) - same
    assert changed
    assert {key for key in changed if "hash" not in key and "code" not in key} == set()


@pytest.mark.parametrize("name", KINDS)
def test_what_a_hash_layer_is_made_by_is_among_the_options(name):
    kind = KINDS[name]
    assert kind.code_options <= set(kind.options.__dataclass_fields__)


def test_a_killed_one_goes_on_without_being_told_again(whole, tmp_path, monkeypatch):
    name, folder = whole
    saved = loop.save_checkpoint

    def cut_off(path, method, optimizers, progress):
        saved(path, method, optimizers, progress)
        if progress.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(name), tmp_path / "run", start=folder, quiet=True)
    monkeypatch.undo()
    train(recipe(name), tmp_path / "run", resume=True, quiet=True)
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == (folder / "model/model.safetensors").read_bytes()
    assert rows(tmp_path / "run") == rows(folder)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("stages.embedding.lr=0.01", r"stages\.embedding\.lr 0\.01 \(was .*Train this one from the start"),
        ("method.dimension=8", r"method\.dimension 8 \(was 12\)"),
        ("training.seed=1", r"training\.seed 1 \(was 0\)"),
    ],
)
def test_what_the_embedding_was_trained_by_may_not_differ(whole, tmp_path, changed, said):
    name, folder = whole
    with pytest.raises(TrainingError, match=said):
        train(recipe(name, changed), tmp_path / "run", start=folder, quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_that_has_not_come_so_far_is_refused(whole, tmp_path, monkeypatch):
    name, _ = whole

    def killed(path, method, metadata, **rest):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            train(recipe(name), tmp_path / "half", quiet=True)
    with pytest.raises(TrainingError, match="stage embedding is trained and validated, got none of its weights"):
        train(recipe(name), tmp_path / "run", start=tmp_path / "half", quiet=True)


def test_a_method_of_one_stage_has_nothing_to_take_up(tmp_path):
    dcmh = RECIPE | {"method": {"name": "dcmh", "bits": 16, "width": 16}, "stages": {"codes": SHORT}}
    train(read_recipe(dcmh), tmp_path / "whole", quiet=True)
    with pytest.raises(TrainingError, match="a method that trains its last stage on others, got dcmh"):
        train(read_recipe(dcmh), tmp_path / "run", start=tmp_path / "whole", quiet=True)


def test_only_some_epochs_are_validated_and_the_last_is(tmp_path: Path):
    train(recipe("dscmr", "stages.embedding.epochs=5", "stages.embedding.validate_every=2"), tmp_path, quiet=True)
    validated = [row["validation"] is not None for row in rows(tmp_path) if row["stage"] == "embedding"]
    assert validated == [False, True, False, True, True]

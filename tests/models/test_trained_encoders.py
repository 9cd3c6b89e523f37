"""Encoders out of a trained run: their features are those of the run, and a new run stands without it."""

import json
import shutil

import numpy as np
import pytest
import torch
from saved_model import saved_model

from hashret.errors import FileError, FormatError
from hashret.examples import Example
from hashret.models import build_image_encoder, build_text_encoder
from hashret.pipeline import read_recipe, train
from hashret.retriever import Retriever

RECIPE = {
    "data": {"name": "shapes", "train": 24, "validation": 8, "test": 8, "database": 12},
    "image": {"name": "cnn", "size": 32, "width": 4, "dimension": 8},
    "text": {"name": "transformer", "dimension": 8, "layers": 1, "heads": 2},
    "method": {"name": "contrastive", "bits": 8, "width": 16, "dimension": 8},
    "stages": {"embedding": {"epochs": 1, "batch_size": 8}, "codes": {"epochs": 1, "batch_size": 8}},
    "training": {"device": "cpu"},
}


def test_features_are_those_of_the_run(pictures, tmp_path):
    folder = saved_model(tmp_path / "run" / "model").parent
    retriever = Retriever.from_pretrained(folder)
    image, text = (
        build_image_encoder("trained", {"run": str(folder)}),
        build_text_encoder("trained", {"run": str(folder)}),
    )
    with torch.no_grad():
        pixels = retriever.processor([Example(image=picture) for picture in pictures]).image
        assert torch.equal(image.eval()(pixels).pooled, retriever.method.image.eval()(pixels).pooled)
        ids, mask = text.transform(["a red dog", "green grass"])
        assert torch.equal(text.eval()(ids, mask).pooled, retriever.method.text.eval()(ids, mask).pooled)


def test_a_run_on_another_needs_it_no_more(tmp_path):
    train(read_recipe(RECIPE), tmp_path / "first", quiet=True)
    trained = {"name": "trained", "run": str(tmp_path / "first"), "frozen": True}
    second = read_recipe(RECIPE | {"image": trained, "text": trained})
    retriever = train(second, tmp_path / "second", quiet=True)
    before = Retriever.from_pretrained(tmp_path / "first")
    for side in ("image", "text"):
        old, new = getattr(before.method, side).state_dict(), getattr(retriever.method, side).state_dict()
        assert all(torch.equal(old[name], new[name]) for name in old)
    shutil.rmtree(tmp_path / "first")
    texts = ["a red ring", "a blue star on the left"]
    again = Retriever.from_pretrained(tmp_path / "second")
    assert np.array_equal(again.encode_texts(texts).packed, retriever.encode_texts(texts).packed)


@pytest.mark.parametrize("build", [build_image_encoder, build_text_encoder])
def test_what_is_no_run_is_named(build, tmp_path):
    with pytest.raises(FileError, match="expected a run folder with a trained model"):
        build("trained", {"run": str(tmp_path / "nowhere")})
    folder = saved_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": "other/1"}))
    with pytest.raises(FormatError, match="expected hashret.model/1, got other/1"):
        build("trained", {"run": str(folder)})
    side = "image" if build is build_image_encoder else "text"
    other = config[side] | {"dimension": 24}
    (folder / "config.json").write_text(json.dumps(config | {side: other}))
    with pytest.raises(FormatError, match=f"expected the weights of its {side} encoder, got size mismatch"):
        build("trained", {"run": str(folder)})

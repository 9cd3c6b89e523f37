"""Views: one copy of its own reference for each pair and epoch, from pixels or from features that were kept."""

import numpy as np
import pytest
import torch
from PIL import Image

from hashret.errors import DataError
from hashret.examples import Example, Pair, RetrievalDataset
from hashret.methods import METHODS, Stage, Turn
from hashret.models import Processor, VectorEncoder, build_image_encoder
from hashret.models.augmentation import Augmentation
from hashret.pipeline import load_data, read_recipe, train
from hashret.pipeline.train import build
from hashret.pipeline.views import views_of
from hashret.training import PairTable, Views

PICTURES = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (40, 40, 3), dtype=np.uint8)) for n in range(9)]
STAGE = Stage("joint", (Turn("levels"),), reads=("query", "target", "view"))


def pairs():
    """Three references, two texts each."""
    return [
        Pair(
            Example(image=PICTURES[n // 2], text=f"make it {n}", key=f"q{n}"),
            Example(image=PICTURES[3 + n], key=f"t{n}"), None, n,
        )
        for n in range(6)
    ]  # fmt: skip


def made(copies=4, seed=0):
    image, text = build_image_encoder("cnn", {"size": 32, "width": 4, "dimension": 8}), VectorEncoder(dimension=3)
    processor = Processor.of(image, text)
    return Views.of(pairs(), processor, Augmentation(), copies=copies, seed=seed), image, processor


def test_a_pair_has_a_copy_of_its_own_reference():
    views, _, _ = made()
    assert views.references == 3
    assert views.reference.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(views.keys()) == len(set(views.keys())) == 12
    places = views.drawn(7, 0, 0)
    assert (places % 3).tolist() == views.reference.tolist()
    assert np.array_equal(places, views.drawn(7, 0, 0))
    epochs = np.stack([views.drawn(7, 0, epoch) for epoch in range(40)])
    assert set((epochs // 3).flatten().tolist()) == {0, 1, 2, 3}


def test_places_come_in_their_order():
    views, _, _ = made()
    places = np.array([11, 0, 4, 11, 7])
    whole = views.inputs(places).image
    alone = torch.cat([views.inputs(places[i : i + 1]).image for i in range(5)])
    assert torch.equal(whole, alone)
    assert not torch.equal(whole[0], whole[1])


def test_features_of_copies_are_those_of_their_pixels():
    views, image, _ = made()
    image.eval()
    with torch.no_grad():
        features = [image(views.inputs(np.arange(3) + 3 * copy).image).pooled.numpy() for copy in range(4)]
        kept = views.with_features(features)
        places = np.array([5, 0, 10, 3])
        assert torch.allclose(kept.inputs(places).image, image(views.inputs(places).image).pooled, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_hold_the_views_of_their_pairs(workers):
    views, _, processor = made()
    plain = PairTable(pairs(), lambda examples: processor([Example(image=e.image) for e in examples]), views)
    if workers:
        plain.processor = Processor(processor.image_preprocess, None)
        images = [Pair(Example(image=p.query.image, key=p.query.key), p.target, None, p.instance) for p in pairs()]
        plain = PairTable(images, plain.processor, views)
    rows = [np.array([4, 0, 3]), np.array([1, 2])]
    position = (0, 3, 1)
    for given, chosen in zip(plain.batches(STAGE, rows, 2, workers, position), rows, strict=True):
        assert torch.equal(given.view.image, views.inputs(views.drawn(*position)[chosen]).image)
        assert given.view_fixed is None
    unread = Stage("text", (Turn("text"),))
    assert next(iter(plain.batches(unread, rows, 2, 0, position))).view is None


RECIPE = {
    "data": {"name": "shapes", "protocol": "edits", "train": 24, "validation": 12, "test": 8, "database": 26},
    "image": {"name": "cnn", "width": 4, "dimension": 8},
    "text": {"name": "bag_of_words", "size": 30},
    "method": {
        "name": "mlcl", "bits": 16, "dimension": 12, "width": 16, "projection_width": 16, "hidden_width": 16,
        "hash_width": 16, "copies": 3,
    },
    "stages": {"combiner": {"epochs": 2, "batch_size": 8}, "codes": {"epochs": 1}},
    "training": {"device": "cpu"},
}  # fmt: skip


def loaded(recipe):

    return load_data(recipe, None, lambda line: None)[0]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_encoder_runs_once_over_each_copy(frozen, monkeypatch, tmp_path):
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))
    recipe = read_recipe(RECIPE, [f"image.frozen={frozen}"])
    data = loaded(recipe)
    torch.manual_seed(0)
    method, processor = build(recipe, data)
    views = views_of(recipe, data, method, processor, "cpu")
    assert len(views.examples) == 3
    assert views.references == len({id(pair.query.image) for pair in data.train})
    first = views.inputs(np.arange(4)).image
    assert first.shape == ((4, 8) if frozen else (4, 3, 64, 64))
    if frozen:
        pixels = Views.of(data.train, processor, method.augmentation, copies=3, seed=recipe.training.seed)
        with torch.no_grad():
            expected = method.image.eval()(pixels.inputs(np.arange(4)).image).pooled
        assert torch.allclose(first, expected, atol=1e-5)


@pytest.mark.parametrize("override", ["method.self_weight=0", "stages.combiner.epochs=0"])
def test_no_copies_where_none_are_read(override):
    recipe = read_recipe(RECIPE, [override])
    data = loaded(recipe)
    assert views_of(recipe, data, *build(recipe, data), "cpu") is None


def test_features_have_no_copies():
    chance = np.random.default_rng(0)

    def vector():
        return chance.normal(size=8).astype(np.float32)

    examples = [Pair(Example(image=vector(), text=f"red {n}", key=f"q{n}"), Example(image=vector())) for n in range(4)]
    recipe = read_recipe(RECIPE)
    method, processor = build(recipe, loaded(recipe))
    data = RetrievalDataset("features", examples, (), (), ())
    with pytest.raises(DataError, match=r"augmented copies.*as of q0.*self_weight=0"):
        views_of(recipe, data, method, processor, "cpu")


def test_a_resumed_run_ends_in_the_weights_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))
    sets = ["stages.combiner.epochs=3", "stages.joint.epochs=2", "stages.joint.batch_size=8"]
    recipe = read_recipe(RECIPE, sets)
    whole = train(recipe, tmp_path / "whole", quiet=True)
    from hashret.training import loop

    save, counted = loop.save_checkpoint, []

    def ends(path, *arguments):
        save(path, *arguments)
        counted.append(path)
        if len(counted) == 5:
            raise OSError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", ends)
        with pytest.raises(OSError, match="killed here"):
            train(recipe, tmp_path / "broken", quiet=True)
    resumed = train(recipe, tmp_path / "broken", quiet=True, resume=True)
    weights = whole.method.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in resumed.method.state_dict().items())
    assert type(whole.method) is METHODS["mlcl"]

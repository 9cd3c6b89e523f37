"""Every way to combine encoders, sides and devices trains, saves and measures; on thirty small pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hashret.errors import DataError, RecipeError
from hashret.evaluation.scorefile import ScoreFile
from hashret.examples import Example, Pair, RetrievalDataset
from hashret.models import build_image_encoder
from hashret.pipeline import evaluate_run, read_recipe, train
from hashret.pipeline.train import build
from hashret.retriever import Retriever
from hashret.run import Run

METHOD = {"name": "crcgs", "bits": 8, "width": 16, "dimension": 12, "generative_dimension": 8}
PUBLISHED = {**METHOD, "variant": "published", "hash_width": 8}
STAGES = {False: ("image_to_text", "text_to_image", "embedding", "codes"),
          True: ("image_to_text", "text_to_image", "student", "binary")}  # fmt: skip
CNN = {"name": "cnn", "size": 32, "width": 4, "dimension": 8}
BAG = {"name": "bag_of_words", "size": 30}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "pictures"
    root.mkdir()
    chance, rows = np.random.default_rng(0), []
    for number in range(20):
        picture = Image.fromarray(chance.integers(0, 256, (34, 34, 3), dtype=np.uint8))
        picture.save(root / f"{number}.png")
        name = ("cat", "dog")[number % 2]
        rows.append({"file_name": f"{number}.png", "texts": [f"a red {name}", f"the {name} runs"], "labels": [name]})
    rows[4]["labels"] = []
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return root


def recipe(image, text, *sets, published=False):
    raw = {"data": {"name": "folder", "validation": 0.3, "test": 0.2}, "image": image, "text": text}
    raw["method"] = PUBLISHED if published else METHOD
    raw["stages"] = {stage: {"epochs": 1, "batch_size": 6} for stage in STAGES[published]}
    return read_recipe(raw, sets)


BERT, LEARNING_BERT, CLIP = (
    {"name": "transformers", "checkpoint": checkpoint, **frozen}
    for checkpoint, frozen in (("bert", {"frozen": True}), ("bert", {"frozen": False}), ("clip", {}))
)


@pytest.mark.parametrize(
    ("image", "text", "sets"),
    [
        (CNN, BAG, ()),
        (CNN, {"name": "transformer", "dimension": 16, "layers": 1, "heads": 2}, ()),
        (CNN, BERT, ()),
        (CNN, LEARNING_BERT, ("stages.embedding.encoder_lr=1e-5",)),
        ({"name": "transformers", "checkpoint": "mobilenet"}, BAG, ()),
        ({"name": "transformers", "checkpoint": "vit", "frozen": False}, BAG, ()),
        (CLIP, CLIP, ()),
        ({"name": "torchvision", "architecture": "resnet18", "size": 32}, BAG, ()),
        (CNN, BAG, ("training.precision=bf16", "method.generative_weight=0.5")),
        (CNN, BAG, ("training.workers=1",)),
        (CNN, BAG, ("method.bits=13", "stages.text_to_image.epochs=0")),
    ],
    ids=[
        "cnn-bag", "cnn-transformer", "frozen-bert", "trained-bert", "frozen-mobilenet", "trained-vit", "clip",
        "torchvision", "bf16", "workers", "13-bits",
    ],
)  # fmt: skip
def test_trains_saves_and_measures(image, text, sets, folder, checkpoints, tmp_path):
    goes_the_whole_way(image, text, sets, folder, checkpoints, tmp_path)


@pytest.mark.parametrize(
    ("image", "text", "sets"),
    [
        (CNN, {"name": "transformer", "dimension": 16, "layers": 1, "heads": 2}, ()),
        (CNN, LEARNING_BERT, ("stages.student.encoder_lr=1e-5",)),
        (CLIP, CLIP, ()),
        (CNN, BAG, ("training.precision=bf16",)),
        (CNN, BAG, ("method.preset=published-mirflickr25k", "stages.binary.patience=1")),
        (CNN, BAG, ("method.bits=13", "stages.text_to_image.epochs=0")),
    ],
    ids=["cnn-transformer", "trained-bert", "clip", "bf16", "preset", "13-bits"],
)
def test_the_published_variant_goes_the_same_way(image, text, sets, folder, checkpoints, tmp_path):
    goes_the_whole_way(image, text, sets, folder, checkpoints, tmp_path, published=True)
    (student,) = (row for row in Run.open(tmp_path / "run").read_log() if row["stage"] == "student")
    assert set(student["losses"]) >= {"classification", "pair", "contrastive", "support_set", "distillation"}


def goes_the_whole_way(image, text, sets, folder, checkpoints, tmp_path, published=False):
    """Trained, saved, loaded and measured."""
    image, text = dict(image), dict(text)
    for side in (image, text):
        if "checkpoint" in side:
            side["checkpoint"] = str(checkpoints(side["checkpoint"]))
    made = train(recipe(image, text, *sets, published=published), tmp_path / "run", data=folder, quiet=True)
    loaded = Retriever.from_pretrained(tmp_path / "run")
    paths = sorted(folder.glob("*.png"))[:5]
    assert loaded.encode_images(paths) == made.encode_images(paths)
    assert loaded.encode_texts(["a red cat", "the dog runs"]) == made.encode_texts(["a red cat", "the dog runs"])
    said: list[str] = []
    results = evaluate_run(tmp_path / "run", say=said.append)
    learned = any("checkpoint" in side and side.get("frozen") is False for side in (image, text))
    fresh = "fresh heads on the trained encoder" if learned else "untrained network"
    assert set(results.scores) >= {"PublishedCRCGS" if published else "CRCGS", fresh, "random codes"}
    kept = ScoreFile.load(tmp_path / "run" / "per_query.safetensors")
    assert {row: set(tasks) for row, tasks in kept.scores.items()} == dict.fromkeys(results.scores, {"i2t", "t2i"})
    assert ("sign(CCA)" in " ".join(results.scores)) or any("left out" in line for line in said)


def test_frozen_features_give_the_codes_that_pixels_give(folder, checkpoints, tmp_path):
    """Training and evaluation read cached features, a user's images are decoded: both give the same codes."""
    image = {"name": "transformers", "checkpoint": str(checkpoints("mobilenet"))}
    run = tmp_path / "run"
    train(recipe(image, BAG), run, data=folder, quiet=True)
    retriever = Retriever.from_pretrained(run)
    paths = sorted(folder.glob("*.png"))
    from hashret.models import FeatureCache

    examples = [Example(image=path) for path in paths]
    features = FeatureCache().features(retriever.method.image, retriever.processor, examples, "image")
    assert np.array_equal(retriever.embed_images(list(features)), retriever.embed_images(paths))


@pytest.mark.parametrize("norms", ["learn", "still"])
def test_norms_that_stand_still_keep_what_the_checkpoint_taught_them(norms, folder, checkpoints, tmp_path):
    image = {"name": "transformers", "checkpoint": str(checkpoints("mobilenet")), "frozen": False, "norms": norms}
    given = build_image_encoder("transformers", {"checkpoint": image["checkpoint"]}).state_dict()
    train(recipe(image, BAG), tmp_path / "run", data=folder, quiet=True)
    learned = Retriever.from_pretrained(tmp_path / "run").method.image.state_dict()
    moved = {name for name, value in given.items() if not torch.equal(learned[name], value)}
    assert any(name.endswith("convolution.weight") for name in moved)
    assert any("normalization" in name for name in moved) == (norms == "learn")


def test_unlabelled_items_are_counted(folder, tmp_path):
    """Twelve of twenty items have no label; at most ten are held out of training."""
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]
    for row in rows[:12]:
        row["labels"] = []
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said: list[str] = []
    train(recipe(CNN, BAG), tmp_path / "run", data=folder, quiet=True, say=said.append)
    assert any("training pairs have no label: they are similar to themselves alone" in line for line in said)


def test_more_rejected_items_than_the_recipe_allows_stop_the_run(folder, tmp_path):
    """Two of twenty pictures are torn: a tenth. Nothing is written, trained or measured where that is too much."""
    for number in (3, 17):
        (folder / f"{number}.png").write_bytes((folder / f"{number}.png").read_bytes()[:300])
    with pytest.raises(DataError, match=r"at most 5.00% of its images.*got 2 of 20 \(10.00%\).*training.max_rejected"):
        train(recipe(CNN, BAG), tmp_path / "run", data=folder, quiet=True)
    assert not (tmp_path / "run").exists()
    train(recipe(CNN, BAG, "training.max_rejected=0.1"), tmp_path / "run", data=folder, quiet=True)
    rejected = [json.loads(line) for line in (tmp_path / "run" / "rejected.jsonl").read_text("utf-8").splitlines()]
    assert {row["key"] for row in rejected if row["reason"] == "a truncated image"} == {"3.png", "17.png"}
    assert evaluate_run(tmp_path / "run").scores
    (folder / "5.png").unlink()
    with pytest.raises(DataError, match=r"got 3 of 20 \(15.00%\)"):
        evaluate_run(tmp_path / "run")


def test_out_of_range_settings_are_named_before_anything_runs():
    with pytest.raises(RecipeError) as caught:
        recipe(
            CNN, BAG, "stages.codes.batch_size=1", "stages.text_to_image.lr=0", "method.bits=0",
            "stages.codes.epochs=-1", "training.max_rejected=1.5",
        )  # fmt: skip
    for key in (
        "stages.codes.batch_size",
        "stages.text_to_image.lr",
        "method.bits",
        "stages.codes.epochs",
        "training.max_rejected",
    ):
        assert key in str(caught.value)


def test_a_text_encoder_needs_texts():
    vectors = [
        Pair(
            Example(image=np.ones(4, np.float32) * i), Example(text=np.ones(3, np.float32) * i), np.ones(1, np.uint8), i
        )
        for i in range(4)
    ]
    dataset = RetrievalDataset("vectors", vectors, classes=("a",))
    with pytest.raises(DataError, match=r"Set text\.name to vector"):
        build(recipe({"name": "vector", "dimension": 4}, BAG), dataset)
    method, processor = build(recipe({"name": "vector", "dimension": 4}, {"name": "vector", "dimension": 3}), dataset)
    assert method.relaxed(processor([pair.target for pair in vectors])).shape == (4, 8)

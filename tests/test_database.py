"""Whose codes stand in the database: each choice gives the codes that it says, and keeps its results apart."""

import json

import numpy as np
import pytest
import torch
import trees.wikipedia
from click.testing import CliRunner

from hashret.cli import main
from hashret.codes import binarize
from hashret.data import DATASETS
from hashret.data.shapes import load as load_shapes
from hashret.errors import DataError, InputError
from hashret.evaluation import evaluate
from hashret.evaluation.scorefile import ScoreFile
from hashret.examples import Example, Pair, RetrievalDataset, Task, joined
from hashret.floors import cca_codes, fused_codes, random_codes
from hashret.hashers import CCASign
from hashret.methods import METHODS
from hashret.models import Processor, Vocabulary, build_image_encoder, build_text_encoder
from hashret.models.features import Inputs
from hashret.models.vector import VectorEncoder
from hashret.pipeline import evaluate_run, read_recipe, train
from hashret.pipeline.train import freeze
from hashret.relevance import SharedLabels
from hashret.retriever import Retriever

SENTENCES = ["a red star", "two blue rings on grass", "the dog", "a star and a ring", "grass"]
STAGES = ("embedding", "codes")
WIKIPEDIA = {
    "data": {"name": "wikipedia", "partial": True, "validation": 8},
    "image": {"name": "vector", "dimension": 128, "nonnegative": True},
    "text": {"name": "vector", "dimension": 10, "nonnegative": True},
    "method": {"name": "contrastive", "bits": 9, "width": 16, "dimension": 12, "hash_width": 8},
    "stages": {name: {"epochs": 1} for name in STAGES},
}


def task(texts: int = 2, **named: object) -> Task:
    gallery = [Example(text=f"text {number}") for number in range(texts)]
    marks = np.eye(2)
    return Task("i2t", [Example(image="q.jpg")], gallery, SharedLabels(marks[:1], marks[:texts]), **named)


def test_items_have_as_many_partners_or_none() -> None:
    pictures = [Example(image="a.jpg"), Example(image="b.jpg")]
    items = task(partners=pictures).pairs()
    assert [(item.image, item.text, item.key) for item in items] == [
        ("a.jpg", "text 0", "text 0"), ("b.jpg", "text 1", "text 1"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="partners of task i2t: expected one for each of 2 gallery items, got 1"):
        task(partners=pictures[:1])
    with pytest.raises(DataError, match="database of task i2t: expected items that are pairs"):
        task().pairs()


def test_only_an_image_and_a_text_are_joined() -> None:
    image, text = Example(image="a.jpg"), Example(text="a")
    assert joined([image], [text])[0].key == "a.jpg"
    for one, other in ((image, image), (text, text), (Example(image="a.jpg", text="b"), text)):
        with pytest.raises(InputError, match="one beside the other"):
            joined([one], [other])
    with pytest.raises(InputError, match="partners: expected 2, one an item, got 1"):
        joined([image, image], [text])


def retriever() -> Retriever:
    torch.manual_seed(0)
    vocabulary = Vocabulary.fit(SENTENCES, size=20)
    pictures = build_image_encoder("cnn", {"size": 32, "width": 8, "dimension": 16})
    words = build_text_encoder("transformer", {"dimension": 16, "heads": 2}, vocabulary)
    kind = METHODS["contrastive"]
    options = kind.options(bits=33, width=48, dimension=24, hash_width=16)
    method = kind(pictures, words, classes=3, words=len(vocabulary), options=options)
    return Retriever(method, Processor.of(pictures, words, vocabulary))


def test_fused_codes_are_the_signs_of_the_sum_of_both_sides(pictures) -> None:
    made = retriever()
    images, texts = pictures * 5, SENTENCES * 5
    relaxed = []
    for part in ([Example(image=image) for image in images], [Example(text=text) for text in texts]):
        rows = []
        for example in part:
            inputs = made.processor([example])
            with torch.inference_mode():
                rows.append(made.method.relaxed(Inputs.stack([inputs] * 16))[0].numpy())
        relaxed.append(np.stack(rows))
    total = relaxed[0] + relaxed[1]
    clear = np.abs(total) > 1e-6
    codes = made.encode_pairs(images, texts)
    assert clear.mean() > 0.99
    assert (((codes.unpack() > 0) == (total > 0)) | ~clear).all()
    assert codes not in (made.encode_images(images), made.encode_texts(texts))
    for batch_size in (1, 7, 16):
        assert made.encode_pairs(images, texts, batch_size=batch_size) == codes
    pairs = [Example(image=image) for image in images], [Example(text=text) for text in texts]
    assert made.encode(pairs[1], pairs[0]) == codes, "whichever side is searched"
    with pytest.raises(InputError, match="partners: expected 5"):
        made.encode_pairs(pictures, SENTENCES[:4])


def test_floors_fuse_both_sides_too() -> None:
    chance = np.random.default_rng(0)
    hidden = chance.normal(size=(200, 6)).astype(np.float32)
    images, texts = (hidden @ chance.normal(size=(6, width)).astype(np.float32) for width in (9, 7))
    kind = METHODS["contrastive"]
    method = kind(
        VectorEncoder(dimension=9), VectorEncoder(dimension=7), classes=1, words=7,
        options=kind.options(bits=6, width=8, dimension=8),
    )  # fmt: skip
    made = Retriever(method, Processor.of(method.image, method.text, None))
    pairs = [Pair(Example(image=i), Example(text=t)) for i, t in zip(images, texts, strict=True)]
    encode = cca_codes(made, pairs, 6, 0, frozen=True)
    sides = [p.query for p in pairs], [p.target for p in pairs]
    hasher = CCASign(bits=6, seed=0).fit(images, texts)
    total = (images - hasher.image_mean_) @ hasher.image_weights_ + (texts - hasher.text_mean_) @ hasher.text_weights_
    assert encode(*sides) == encode(sides[1], sides[0]) == fused_codes(hasher, images, texts) == binarize(total)
    assert encode(sides[0]) == hasher.transform(images, side="image")
    assert len(random_codes(6, 0)(*sides)) == 200


@pytest.mark.parametrize("name", ["wikipedia", "shapes"])
def test_labelled_tasks_name_the_other_side_of_each_item(name, tmp_path) -> None:
    if name == "wikipedia":
        trees.wikipedia.make(tmp_path)
        data = DATASETS[name].load(tmp_path, partial=True, validation=8)
    else:
        data = load_shapes(train=20, validation=9, test=4, database=10)
        captioned = load_shapes(protocol="captions", train=20, validation=9, test=4)
        assert all(one.partners is None for one in captioned.test)
    for i2t, t2i in (data.validation, data.test):
        assert list(map(id, i2t.partners)) == list(map(id, t2i.gallery))
        assert list(map(id, t2i.partners)) == list(map(id, i2t.gallery))


def test_frozen_features_stand_for_partners_too(checkpoints, pictures, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path))
    raw = {
        "data": {"name": "folder"}, "method": {"name": "contrastive", "bits": 8},
        "image": {"name": "transformers", "checkpoint": str(checkpoints("mobilenet")), "frozen": True},
        "text": {"name": "bag_of_words", "size": 20},
    }  # fmt: skip
    recipe = read_recipe(raw)
    vocabulary = Vocabulary.fit(SENTENCES, size=20)
    image = build_image_encoder("transformers", recipe.image.options).requires_grad_(False)
    text = build_text_encoder("bag_of_words", {}, vocabulary)
    method = METHODS["contrastive"](
        image, text, classes=2, words=len(vocabulary), options=METHODS["contrastive"].options(bits=8)
    )
    images, texts = [Example(image=p) for p in pictures[:2]], [Example(text=t) for t in SENTENCES[:2]]
    marks = np.eye(2)
    tasks = [Task("i2t", images, texts, SharedLabels(marks, marks), partners=images)]
    data = RetrievalDataset("tiny", [Pair(*both) for both in zip(images, texts, strict=True)], tasks, tasks)
    frozen = freeze(recipe, data, method, Processor.of(image, text, vocabulary), "cpu", lambda line: None)
    for one in (*frozen.validation, *frozen.test):
        assert [partner.image.shape for partner in one.partners] == [(image.dimension,)] * 2
        assert all(
            np.array_equal(partner.image, query.image) for partner, query in zip(one.partners, one.queries, strict=True)
        )
        assert [item.text for item in one.gallery] == SENTENCES[:2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("wikipedia")
    trees.wikipedia.make(root)
    train(read_recipe(WIKIPEDIA), root / "run", data=root, quiet=True)
    return root / "run"


def test_a_fused_database_is_measured_beside_an_encoded_one(run) -> None:
    encoded = evaluate_run(run)
    before = (run / "results.json").read_bytes()
    fused = evaluate_run(run, database="fused")
    assert (run / "results.json").read_bytes() == before
    kept = json.loads((run / "results-fused.json").read_text())
    assert (kept["database"], json.loads(before)["database"]) == ("fused", "encoded")
    assert list(fused.scores) == list(encoded.scores)
    made = Retriever.from_pretrained(run)
    data = DATASETS["wikipedia"].load(run.parent, partial=True, validation=8)
    cca = cca_codes(made, data.train, 9, 0, frozen=True)
    for one in data.test:
        sides = [example.image for example in one.pairs()], [example.text for example in one.pairs()]
        for row, asked, held in (
            ("Contrastive", made.encode(one.queries), made.encode_pairs(*sides)),
            ("sign(CCA)", cca(one.queries), cca(one.gallery, one.partners)),
        ):
            assert fused.scores[row][one.name]["map"] == evaluate((asked, held), one.relevance)["map"]
    i2t = data.test[0]
    assert cca(i2t.gallery, i2t.partners) != cca(i2t.gallery), "else the floor would show nothing"
    tasks = [ScoreFile.load(run / name).tasks for name in ("per_query.safetensors", "per_query-fused.safetensors")]
    assert tasks[0]["t2i"].gallery_digest != tasks[1]["t2i"].gallery_digest, (
        "results of two kinds are not compared by mistake"
    )


def test_what_cannot_be_searched_is_refused(run, tmp_path) -> None:
    for named, said in (
        ({"database": "learned"}, "Networks here keep no codes"),
        ({"database": "any"}, "'encoded', 'fused', 'learned'"),
        ({"database": "fused", "by": "embedding"}, "Only codes are fused"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            evaluate_run(run, **named)
    sets = ("data.protocol=captions", "data.train=12", "data.validation=6", "data.test=4", *(
        f"stages.{name}.epochs=1" for name in STAGES
    ))  # fmt: skip
    small = {**WIKIPEDIA, "data": {"name": "shapes"}, "image": {"name": "cnn", "size": 32, "width": 4, "dimension": 8}}
    small["text"] = {"name": "bag_of_words", "size": 30}
    train(read_recipe(small, sets), tmp_path / "captions", quiet=True)
    with pytest.raises(DataError, match="database of task i2t: expected items that are pairs"):
        evaluate_run(tmp_path / "captions", database="fused")


def test_the_command_says_whose_codes_they_are(run) -> None:
    done = CliRunner().invoke(main, ["evaluate", str(run), "--database", "fused", "--format", "markdown"])
    assert done.exit_code == 0, done.output
    assert "ties: expected, database: fused" in done.stdout
    assert CliRunner().invoke(main, ["evaluate", str(run), "--database", "learned"]).exit_code == 1
    assert CliRunner().invoke(main, ["evaluate", str(run), "--database", "all"]).exit_code == 2

"""Datasets of every shape go the whole way: without labels, with composed queries, with narrowed galleries."""

import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest

from hashret.data import DATASETS
from hashret.errors import DataError, InputError
from hashret.evaluation import evaluate
from hashret.evaluation.scorefile import ScoreFile
from hashret.examples import Example, Pair, RetrievalDataset, Task
from hashret.methods import METHODS
from hashret.pipeline import evaluate_run, read_recipe, train
from hashret.relevance import SameInstance, Targets
from hashret.retriever import Retriever
from hashret.run import Run

CRCGS = {"name": "crcgs", "bits": 8, "width": 16, "dimension": 12, "generative_dimension": 8}
CONTRASTIVE = {"name": "contrastive", "bits": 8, "width": 16, "dimension": 12, "hash_width": 8}
FLOORS = ["untrained network", "random codes"]
CHANCE = np.random.default_rng(0)
PICTURES = [CHANCE.integers(0, 256, (34, 34, 3), dtype=np.uint8) for _ in range(24)]
WORDS = ("red", "green", "blue", "striped", "plain", "longer", "shorter", "darker")


def photo(number):
    return Example(image=PICTURES[number], key=f"{number}.png")


def sentence(number):
    return Example(text=f"a {WORDS[number % 8]} thing, number {number}", key=f"text {number}")


def captions(labels=None):
    """Pictures and sentences; ``labels`` gives the row of a training pair."""

    def tasks(first, last):
        pictures, texts = [photo(n) for n in range(first, last)], [sentence(n) for n in range(first, last)]
        same = SameInstance(np.arange(first, last), np.arange(first, last))
        return Task("i2t", pictures, texts, same), Task("t2i", texts, pictures, same)

    pairs = [Pair(photo(n), sentence(n), None if labels is None else labels(n), n) for n in range(12)]
    return RetrievalDataset("captions", pairs, tasks(12, 18), tasks(18, 24), () if labels is None else ("a", "b"))


def composed_task(name, numbers, **narrowed):
    """Each picture with a word asks for the next picture; the gallery holds all."""
    numbers = list(numbers)
    queries = [Example(image=PICTURES[n], text=f"make it {WORDS[n % 8]}", key=f"{n} {name}") for n in numbers]
    targets = [[(place + 1) % len(numbers)] for place in range(len(numbers))]
    return Task(name, queries, [photo(n) for n in numbers], Targets(targets, len(numbers)), **narrowed)


def composed():
    """As FashionIQ, with categories that are tasks, and as CIRR, with references left out and subsets."""
    pairs = [
        Pair(Example(image=PICTURES[n], text=f"make it {WORDS[n % 8]}"), photo((n + 1) % 12), None, n)
        for n in range(12)
    ]
    own = np.arange(6)[:, None]
    subsets = np.stack([(np.arange(6) + step) % 6 for step in (1, 2, 3)], axis=1)
    return RetrievalDataset(
        "composed",
        pairs,
        (composed_task("composed/dress", range(12, 18), excluded=own),),
        (
            composed_task("composed/dress", range(18, 24), excluded=own),
            composed_task("composed/shirt", range(12, 24)),
            composed_task("composed/subset", range(18, 24), candidates=subsets),
        ),
    )


@pytest.fixture
def made(monkeypatch, tmp_path):
    """A recipe of a dataset that is made here."""
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))

    def recipe(dataset, method, *sets, image=None, text=None):
        def load(root=None) -> RetrievalDataset:
            return dataset

        monkeypatch.setitem(DATASETS, "made", SimpleNamespace(load=load))
        raw = {
            "data": {"name": "made"},
            "image": image or {"name": "cnn", "size": 32, "width": 4, "dimension": 8},
            "text": text or {"name": "bag_of_words", "size": 30},
            "method": method,
            "stages": {stage: {"epochs": 1, "batch_size": 6} for stage in METHODS[method["name"]].settings},
            "evaluation": {"metrics": ["map", "hit@1"]},
        }
        return read_recipe(raw, sets)

    return recipe


def test_pairs_without_labels(made, tmp_path):
    said = []
    train(made(captions(), CONTRASTIVE), tmp_path / "run", quiet=True, say=said.append)
    results = evaluate_run(tmp_path / "run", say=said.append)
    assert list(results.scores) == ["Contrastive", "sign(CCA) of 16 x 16 thumbnails", *FLOORS]
    assert results.sizes == {"i2t": (6, 6), "t2i": (6, 6)}
    assert [line for line in said if "label" in line and "run folder" not in line] == []
    losses = [row["losses"] for row in Run.open(tmp_path / "run").read_log()]
    assert [set(terms) for terms in losses] == [{"contrast"}, {"neighbours", "quantization", "balance"}]


def test_labels_are_used_where_every_pair_has_them(made, tmp_path):
    labels = np.eye(2, dtype=np.uint8)
    for name, rows in (("all", lambda n: labels[n % 2]), ("some", lambda n: labels[n % 2] if n else None)):
        said = []
        train(made(captions(rows), CONTRASTIVE), tmp_path / name, quiet=True, say=said.append)
        terms = Run.open(tmp_path / name).read_log()[0]["losses"]
        assert ("labels" in terms) == (name == "all")
        assert any("1 of 12 training pairs have no row of labels: no label is used" in line for line in said) == (
            name == "some"
        )


def test_composed_queries_and_narrowed_galleries(made, tmp_path):
    dataset, said = composed(), []
    trained = train(made(dataset, CONTRASTIVE), tmp_path / "run", quiet=True, say=said.append)
    assert set(WORDS) <= set(trained.processor.text_transform.vocabulary.words), "the texts are the queries'"
    results = evaluate_run(tmp_path / "run", say=said.append)
    assert list(results.scores) == ["Contrastive", *FLOORS]
    assert any(
        "left out: it pairs images with texts, and training pairs are image and text -> image" in s for s in said
    )
    assert list(results.sizes.items()) == [
        ("composed/dress", (6, 6)), ("composed/shirt", (12, 12)), ("composed/subset", (6, 6)),
    ]  # fmt: skip
    retriever = Retriever.from_pretrained(tmp_path / "run")
    for task in dataset.test:
        pictures, texts = ([getattr(query, side) for query in task.queries] for side in ("image", "text"))
        codes = retriever.encode_queries(pictures, texts), retriever.encode_images([e.image for e in task.gallery])
        expected = evaluate(codes, task.relevance, ["map", "hit@1"], candidates=task.allowed())
        assert results.scores["Contrastive"][task.name].means() == expected.means()
    wide = evaluate(codes, dataset.test[2].relevance, ["map"])["map"]
    assert results.scores["Contrastive"]["composed/subset"]["map"] > wide, "three candidates are easier than six"
    kept = ScoreFile.load(tmp_path / "run" / "per_query.safetensors")
    assert set(kept.scores["Contrastive"]) == set(results.sizes)


def test_frozen_encoders_read_both_sides_of_a_composed_query_once(made, tmp_path, checkpoints):
    checkpoint = {"name": "transformers", "checkpoint": str(checkpoints("clip")), "frozen": True}
    said = []
    recipe = made(composed(), {**CONTRASTIVE, "head": "residual"}, image=checkpoint, text=checkpoint)
    train(recipe, tmp_path / "run", quiet=True, say=said.append)
    assert "features of 24 frozen image inputs" in said
    assert "features of 8 frozen text inputs" in said
    results = evaluate_run(tmp_path / "run")
    assert list(results.scores) == ["Contrastive", *FLOORS]
    raw = Retriever.from_pretrained(tmp_path / "run")
    task = composed().test[1]
    codes = raw.encode(task.queries), raw.encode(task.gallery)
    assert results.scores["Contrastive"]["composed/shirt"]["map"] == evaluate(codes, task.relevance)["map"]


def test_texts_may_stand_on_the_query_side(made, tmp_path):
    turned = captions()
    pairs = [Pair(pair.target, pair.query, None, pair.instance) for pair in turned.train]
    dataset = RetrievalDataset("turned", pairs, turned.validation, turned.test)
    train(made(dataset, CONTRASTIVE), tmp_path / "run", quiet=True)
    results = evaluate_run(tmp_path / "run")
    assert "sign(CCA) of 16 x 16 thumbnails" in results.scores


def test_vectors_without_texts_or_labels(made, tmp_path):
    """Images of images: no text encoder is asked for anything."""
    vectors = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32)
    items = [Example(image=vector, key=str(number)) for number, vector in enumerate(vectors)]
    pairs = [Pair(items[n], items[(n + 1) % 12]) for n in range(12)]
    task = Task("near", items[12:18], items[18:], SameInstance(np.arange(6), np.arange(6)))
    image, text = {"name": "vector", "dimension": 5}, {"name": "vector", "dimension": 3}
    recipe = made(RetrievalDataset("vectors", pairs, (task,), (task,)), CONTRASTIVE, image=image, text=text)
    said = []
    train(recipe, tmp_path / "run", quiet=True)
    assert list(evaluate_run(tmp_path / "run", say=said.append).scores) == ["Contrastive", *FLOORS]
    assert said == ["sign(CCA) left out: it pairs images with texts, and training pairs are image -> image"]


def test_embeddings_are_measured_beside_codes(made, tmp_path):
    dataset, run = composed(), tmp_path / "run"
    train(made(dataset, CONTRASTIVE), run, quiet=True)
    evaluate_run(run)
    before = {path.name: path.read_bytes() for path in (run / "results.json", run / "per_query.safetensors")}
    results = evaluate_run(run, by="embedding")
    assert {name: (run / name).read_bytes() for name in before} == before
    assert list(results.scores) == ["Contrastive", "untrained network"]
    assert (results.bits, results.dimension) == (8, 12)
    assert results.ranked == "embeddings of 12 dimensions, cosine"
    retriever = Retriever.from_pretrained(run)
    for task in dataset.test:
        vectors = retriever.embed(task.queries), retriever.embed(task.gallery)
        expected = evaluate(vectors, task.relevance, ["map", "hit@1"], candidates=task.allowed())
        assert results.scores["Contrastive"][task.name].means() == expected.means()
    written = json.loads((run / "results-embedding.json").read_text("utf-8"))
    assert written["dimension"] == 12
    assert "bits" not in written
    assert (
        written["scores"]["Contrastive"]["composed/dress"]["means"]
        == results.scores["Contrastive"]["composed/dress"].means()
    )
    kept = ScoreFile.load(run / "per_query-embedding.safetensors")
    assert set(kept.scores) == {"Contrastive", "untrained network"}
    codes = json.loads(before["results.json"])
    assert codes["bits"] == 8
    assert "dimension" not in codes
    after = (run / "results-embedding.json").read_bytes()
    evaluate_run(run)
    assert (run / "results-embedding.json").read_bytes() == after
    assert "results-embedding.json" in (run / "README.txt").read_text("utf-8")


def test_what_embeddings_cannot_be_asked_is_refused(made, tmp_path):
    train(made(captions(), CONTRASTIVE), tmp_path / "run", quiet=True)
    with pytest.raises(InputError, match="metrics of ranks: embeddings have no Hamming radius, got radius-precision@2"):
        evaluate_run(tmp_path / "run", by="embedding", metrics=["map", "radius-precision@2"])
    with pytest.raises(InputError, match='by: expected "codes" or "embedding"'):
        evaluate_run(tmp_path / "run", by="vectors")
    assert evaluate_run(tmp_path / "run", metrics=["radius-precision@2"]).dimension is None


def test_a_method_that_cannot_says_so_before_anything_is_encoded(made, tmp_path, monkeypatch):
    from hashret.models import FeatureCache, Processor

    def never(*arguments, **named):
        raise AssertionError("something was encoded")

    monkeypatch.setattr(Processor, "__call__", never)
    monkeypatch.setattr(FeatureCache, "features", never)
    labels = np.ones(2, np.uint8)
    labelled = [Pair(pair.query, pair.target, labels, pair.instance) for pair in composed().train]
    for dataset, message in (
        (captions(), r"method crcgs on captions: expected labels on every training pair, got none on 12 of 12.*"
                     r"without labels \(contrastive"),
        (captions(lambda n: labels if n else None), "got none on 1 of 12"),
        (RetrievalDataset("labelled", labelled, composed().validation, (), ("a", "b")),
         r"expected training pairs of image -> text, and no composed queries, got image and text -> image, and image "
         r"and text in queries of task composed/dress.*takes any pairs \(contrastive"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            train(made(dataset, CRCGS), tmp_path / "run", quiet=True)
        assert not (tmp_path / "run").exists()


def test_a_task_of_composed_queries_is_refused_where_pairs_are_plain(made, tmp_path):
    plain = captions(lambda n: np.ones(2, np.uint8))
    asked = RetrievalDataset(
        "asked", plain.train, plain.validation, (composed_task("composed", range(18, 24)),), ("a", "b")
    )
    with pytest.raises(DataError, match="got image -> text, and image and text in queries of task composed of asked"):
        train(made(asked, CRCGS), tmp_path / "run", quiet=True)


def test_a_run_is_not_asked_what_its_method_cannot_be_asked(made, tmp_path):
    plain = captions(lambda n: np.ones(2, np.uint8))
    train(made(plain, CRCGS), tmp_path / "run", quiet=True)
    made(RetrievalDataset("asked", plain.train, (), (composed_task("composed", range(18, 24)),), ("a", "b")), CRCGS)
    with pytest.raises(DataError, match="image and text in queries of task composed"):
        evaluate_run(tmp_path / "run")


def test_heads_that_do_not_fit_leave_no_folder_behind(made, tmp_path):
    with pytest.raises(InputError, match=r"method.dimension: expected 8, the encoder's width.*got 12"):
        train(made(captions(), {**CONTRASTIVE, "head": "residual"}), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_mixed_kinds_are_named(made, tmp_path):
    pairs = list(composed().train)
    pairs[7] = Pair(photo(7), pairs[7].target)
    mixed = RetrievalDataset("mixed", pairs, composed().validation)
    with pytest.raises(DataError, match=r"training queries of mixed.*image and text in the first, image in number 7"):
        train(made(mixed, CONTRASTIVE), tmp_path / "run", quiet=True)


def test_no_validation_split_is_said_before_training(made, tmp_path):
    dataset = captions()
    none = RetrievalDataset("none", dataset.train, (), dataset.test)
    with pytest.raises(DataError, match="a validation split to choose epochs of embedding, codes on, got none"):
        train(made(none, CONTRASTIVE), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    untouched = made(none, CONTRASTIVE, "stages.embedding.epochs=0", "stages.codes.epochs=0")
    train(untouched, tmp_path / "run", quiet=True)
    assert "untrained network" in evaluate_run(tmp_path / "run").scores


@pytest.mark.parametrize("interrupted", [2, 5], ids=["embedding", "codes"])
def test_an_interrupted_run_of_composed_queries_ends_in_the_same_weights(made, tmp_path, monkeypatch, interrupted):
    training = importlib.import_module("hashret.pipeline.train")  # the package has a function of that name
    epochs = ("stages.embedding.epochs=3", "stages.codes.epochs=3", "training.checkpoint_steps=1")
    recipe = made(composed(), CONTRASTIVE, *epochs, "training.device=cpu")
    train(recipe, tmp_path / "whole", quiet=True)
    score, calls = training.validation_score, []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == interrupted:
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(training, "validation_score", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", quiet=True)
    monkeypatch.setattr(training, "validation_score", score)
    train(recipe, tmp_path / "run", quiet=True, resume=True)
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "run")]
    assert weights[0] == weights[1]


def test_the_drawn_edits_train(made, tmp_path):
    """The composed protocol of shapes, whose triplets have labels: the supervised term meets composed queries."""
    raw = made(composed(), CONTRASTIVE).to_dict()
    raw["data"] = {"name": "shapes", "protocol": "edits", "train": 24, "validation": 16, "test": 4, "database": 40}
    train(read_recipe(raw), tmp_path / "run", quiet=True)
    results = evaluate_run(tmp_path / "run")
    assert results.sizes == {"composed": (4, 40)}
    assert "labels" in Run.open(tmp_path / "run").read_log()[0]["losses"]


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if kind.needs_composed])
def test_captions_are_refused_by_methods_for_composed_queries(name, made, tmp_path):
    method = {"name": name, "bits": 8, "width": 16, "dimension": 12, "hash_width": 8}
    message = rf"method {name} on captions: expected training pairs of image and text -> image, got image -> text"
    with pytest.raises(DataError, match=message):
        train(made(captions(), method), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if kind.needs_composed])
def test_methods_for_composed_queries_go_the_whole_way(name, made, tmp_path):
    small = {"width": 16, "dimension": 12, "hash_width": 8}
    combined = {"projection_width": 16, "hidden_width": 16} if name in ("mlcl", "combiner") else {}
    method, dataset = {"name": name, "bits": 8, **small, **combined}, composed()
    trained = train(made(dataset, method), tmp_path / "run", quiet=True)
    results = evaluate_run(tmp_path / "run")
    assert set(results.sizes) == {"composed/dress", "composed/shirt", "composed/subset"}
    loaded = Retriever.from_pretrained(tmp_path / "run")
    queries = dataset.test[0].queries
    pictures, texts = ([getattr(query, side) for query in queries] for side in ("image", "text"))
    assert loaded.encode_queries(pictures, texts) == trained.encode_queries(pictures, texts)

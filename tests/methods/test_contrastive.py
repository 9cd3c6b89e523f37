"""The contrastive method learns pairs of any kind by heart, in both stages, and pushes nothing away that is right."""

import math

import numpy as np
import pytest
import torch

from hashret.errors import InputError
from hashret.evaluation import evaluate
from hashret.examples import Example, Pair
from hashret.methods import METHODS, Batch, Stage
from hashret.models import Inputs, Processor, VectorEncoder, Vocabulary, build_image_encoder, build_text_encoder
from hashret.relevance import SameInstance, SharedLabels
from hashret.retriever import Retriever
from hashret.training import PairTable

PAIRS, PIXELS, WORDS = 16, 10, 12
KIND = METHODS["contrastive"]
EMBEDDING, CODES = KIND.stages


def build(classes=0, pixels=PIXELS, words=WORDS, **options):
    torch.manual_seed(0)
    sizes = {"bits": 32, "dimension": 24, "width": 48, "hash_width": 48, **options}
    image, text = VectorEncoder(dimension=pixels), VectorEncoder(dimension=words)
    return KIND(image, text, classes=classes, words=words, options=KIND.options(**sizes))


def vectors(count, width, seed):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def plain_pairs():
    """Independent noise: nothing but learning by heart makes a pair of it."""
    pairs = [
        Pair(Example(image=image), Example(text=text), None, number)
        for number, (image, text) in enumerate(zip(vectors(PAIRS, PIXELS, 1), vectors(PAIRS, WORDS, 2), strict=True))
    ]
    return pairs, [pair.target for pair in pairs]


def composed_pairs():
    """Four references, four texts and a target for each combination: neither half of a query says which."""
    references, texts, images = vectors(4, PIXELS, 3), vectors(4, WORDS, 4), vectors(PAIRS, PIXELS, 5)
    targets = [Example(image=image) for image in images]
    pairs = [Pair(Example(image=references[n // 4], text=texts[n % 4]), targets[n], None, n) for n in range(PAIRS)]
    return pairs, targets


def picture_pairs():
    """Images of images: nothing has a text."""
    ours, theirs = vectors(PAIRS, PIXELS, 6), vectors(PAIRS, PIXELS, 7)
    targets = [Example(image=image) for image in theirs]
    pairs = [Pair(Example(image=image), target) for image, target in zip(ours, targets, strict=True)]
    return pairs, targets


def learn(method, pairs, steps=200):
    """All pairs in every step, stage after stage."""
    table = PairTable(pairs, Processor.of(method.image, method.text))
    (rows,) = table.epoch(len(pairs), 0)
    for stage in method.stages:
        (given,) = table.batches(Stage(stage.name, stage.turns), [rows], 1, 0)
        method.eval()
        with torch.no_grad():
            given.query_fixed, given.target_fixed = method.embed(given.query), method.embed(given.target)
        method.prepare(stage)
        own = [p for group in method.parameters_of(stage, stage.turns[0]).values() for p in group]
        optimizer = torch.optim.Adam(own, 3e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.stack(list(method.losses(given, stage, stage.turns[0]).values())).sum().backward()
            optimizer.step()
    return Retriever(method, table.processor)


@pytest.mark.parametrize(
    ("make", "options"),
    [(plain_pairs, {}), (plain_pairs, {"head": "linear", "hash_head": "linear"}), (composed_pairs, {}),
     (picture_pairs, {})],
    ids=["pairs", "linear", "composed", "pictures"],
)  # fmt: skip
def test_sixteen_pairs_are_learned_by_heart(make, options):
    pairs, gallery = make()
    queries, numbers = [pair.query for pair in pairs], np.arange(PAIRS)
    method = build(dropout=0.0, **options)

    def hits(represent):
        ranking = represent(queries), represent(gallery)
        return evaluate(ranking, SameInstance(numbers, numbers), ["hit@1"])["hit@1"]

    fresh = Retriever(method, Processor.of(method.image, method.text))
    assert max(hits(fresh.embed), hits(fresh.encode)) < 0.5
    retriever = learn(method, pairs)
    assert hits(retriever.embed) == 1
    assert hits(retriever.encode) == 1


def test_labels_gather_what_shares_one():
    """Noise that is labelled: with the supervised term items of a label come first, without it they do not."""
    pairs, gallery = plain_pairs()
    labels = np.eye(4, dtype=np.uint8)[np.arange(PAIRS) % 4]
    pairs = [Pair(p.query, p.target, row, p.instance) for p, row in zip(pairs, labels, strict=True)]
    scores = {}
    for weight in (0.0, 1.0):
        retriever = learn(build(4, dropout=0.0, label_weight=weight), pairs)
        for represent in (retriever.embed, retriever.encode):
            ranking = represent([pair.query for pair in pairs]), represent(gallery)
            scores[weight, represent.__name__] = evaluate(ranking, SharedLabels(labels, labels))["map"]
    assert scores[1.0, "embed"] > 0.99
    assert scores[1.0, "encode"] > 0.99
    assert max(scores[0.0, "embed"], scores[0.0, "encode"]) < 0.7


def batch(query, target, labels=None, instance=None):
    rows = len(query)
    return Batch(query, target, labels, torch.arange(rows) if instance is None else torch.tensor(instance))


def value(scalar):
    return float(scalar.detach())


def images(rows, seed=0):
    return torch.from_numpy(vectors(rows, PIXELS, seed))


def texts(rows, seed=0):
    return torch.from_numpy(vectors(rows, WORDS, 100 + seed))


def test_a_composed_embedding_is_the_direction_of_the_sum():
    method = build().eval()
    image, text = images(5), texts(5)
    both = method.embed(Inputs(image=image, text=text))
    total = method.embed(Inputs(image=image)) + method.embed(Inputs(text=text))
    assert torch.allclose(both, total / total.norm(dim=1, keepdim=True), atol=1e-6)
    for inputs in (Inputs(image=image), Inputs(text=text), Inputs(image=image, text=text)):
        assert torch.allclose(method.embed(inputs).norm(dim=1), torch.ones(5))
        assert method.relaxed(inputs).shape == (5, 32)
    assert method.score(Inputs(image=image, text=text), Inputs(image=image)).shape == (5,)


@pytest.mark.parametrize(
    ("query", "target", "instance"),
    [
        (Inputs(image=images(2)), Inputs(text=texts(1).repeat(2, 1)), None),
        (Inputs(image=images(1).repeat(2, 1)), Inputs(text=texts(2)), None),
        (Inputs(image=images(2)), Inputs(text=texts(2)), [7, 7]),
        (Inputs(image=images(1).repeat(2, 1), text=texts(1).repeat(2, 1)), Inputs(image=images(2)), None),
    ],
    ids=["one caption of two images", "two captions of one image", "one instance", "one composed query"],
)
def test_what_is_right_is_no_negative(query, target, instance):
    method = build(dropout=0.0, hash_contrast_weight=1.0)
    for stage in (EMBEDDING, CODES):
        method.prepare(stage)
        given = batch(query, target, instance=instance)
        given.query_fixed, given.target_fixed = (method.embed(inputs).detach() for inputs in (query, target))
        assert value(method.losses(given, stage, stage.turns[0])["contrast"]) == pytest.approx(0, abs=1e-6)


def test_a_reference_with_another_text_is_a_negative():
    method = build(dropout=0.0, hash_contrast_weight=1.0)
    query = Inputs(image=images(1).repeat(2, 1), text=texts(2))
    for stage in (EMBEDDING, CODES):
        method.prepare(stage)
        given = batch(query, Inputs(image=images(2, seed=9)))
        given.query_fixed, given.target_fixed = (method.embed(part).detach() for part in (query, given.target))
        assert value(method.losses(given, stage, stage.turns[0])["contrast"]) > 0.01


def test_labels_count_where_there_are_some_and_they_weigh_something():
    labels = torch.tensor([[1.0, 0], [1, 1], [0, 1], [0, 0]])
    query, target = Inputs(image=images(4)), Inputs(text=texts(4))

    def terms(stage, given, **options):
        method = build(2, dropout=0.0, **options)
        method.prepare(stage)
        given.query_fixed, given.target_fixed = (method.embed(part).detach() for part in (query, target))
        return method.losses(given, stage, stage.turns[0])

    for stage in (EMBEDDING, CODES):
        with_labels, without = batch(query, target, labels), batch(query, target)
        assert "labels" not in terms(stage, without, label_weight=1.0)
        assert "labels" not in terms(stage, with_labels, label_weight=0.0)
        once, twice = (value(terms(stage, with_labels, label_weight=weight)["labels"]) for weight in (1.0, 2.0))
        assert twice == pytest.approx(2 * once)
        alone = value(terms(stage, batch(query, target, torch.zeros(4, 2)), label_weight=1.0)["labels"])
        assert alone != pytest.approx(once), "items without a label are right for themselves alone"


def test_residual_heads_begin_at_the_encoders_own_space():
    method = build(pixels=24, words=24, head="residual")
    vector = torch.from_numpy(vectors(6, 24, 0))
    method.eval()
    expected = vector / vector.norm(dim=1, keepdim=True)
    for inputs in (Inputs(image=vector), Inputs(text=vector)):
        assert torch.allclose(method.embed(inputs), expected, atol=1e-6)
    method.prepare(EMBEDDING)
    given = batch(Inputs(image=vector), Inputs(text=vector.roll(1, 0)))
    own = method.parameters_of(EMBEDDING, EMBEDDING.turns[0])["heads"]
    optimizer = torch.optim.Adam(own, 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        method.losses(given, EMBEDDING, EMBEDDING.turns[0])["contrast"].backward()
        optimizer.step()
    method.eval()
    assert not torch.allclose(method.embed(Inputs(image=vector)), expected, atol=1e-2)
    for widths in ({"pixels": 10, "words": 24}, {"pixels": 24, "words": 10}):
        with pytest.raises(InputError, match=r"method.dimension: expected 10, the encoder's width.*got 24"):
            build(head="residual", **widths)


def test_the_temperature_begins_as_asked_and_stays_in_bounds():
    method = build(temperature=0.07, dropout=0.0, hash_contrast_weight=1.0)
    assert value(method.log_scale.exp()) == value(method.hash.log_scale.exp()) == pytest.approx(1 / 0.07)
    given = batch(Inputs(image=images(4)), Inputs(text=texts(4)))
    given.query_fixed, given.target_fixed = (method.embed(part).detach() for part in (given.query, given.target))
    for stage, scale in ((EMBEDDING, method.log_scale), (CODES, method.hash.log_scale)):
        method.prepare(stage)
        with torch.no_grad():
            scale.fill_(9.0)
        method.losses(given, stage, stage.turns[0])["contrast"].backward()
        assert value(scale) == pytest.approx(math.log(100))
        assert scale.grad is not None
        assert float(scale.grad) != 0, "at its bound it can still come down"


def test_the_length_of_features_does_not_matter():
    """Vectors a thousand times as long, or as short, embed alike: histograms that add up to 1, or raw activations."""
    for head in ("mlp", "residual"):
        method = build(pixels=24, words=24, head=head).eval()
        vector = torch.from_numpy(vectors(6, 24, 0))
        for factor in (1e-3, 1e3):
            assert torch.allclose(
                method.embed(Inputs(image=vector * factor)), method.embed(Inputs(image=vector)), atol=1e-5
            )


def test_encoders_that_are_not_frozen_learn_with_the_heads():
    torch.manual_seed(0)
    vocabulary = Vocabulary(("dog", "red"))
    image = build_image_encoder("cnn", {"size": 32, "width": 4, "dimension": 8})
    text = build_text_encoder("transformer", {"dimension": 16, "layers": 1, "heads": 2}, vocabulary)
    text.requires_grad_(False)
    method = KIND(image, text, classes=0, words=2, options=KIND.options(bits=8, dimension=8, width=8, hash_width=8))
    learned = {stage.name: method.parameters_of(stage, stage.turns[0])["encoders"] for stage in KIND.stages}
    assert {id(p) for p in learned["embedding"]} == {id(p) for p in image.parameters()}
    assert learned["codes"] == []
    method.prepare(EMBEDDING)
    ids = torch.tensor([[2, 3], [3, 0], [2, 0]])
    query = Inputs(image=torch.rand(3, 3, 32, 32), text=ids, text_mask=ids > 0)
    terms = method.losses(batch(query, Inputs(image=torch.rand(3, 3, 32, 32))), EMBEDDING, EMBEDDING.turns[0])
    terms["contrast"].backward()
    assert all(p.grad is not None for p in learned["embedding"])
    assert all(p.grad is None for p in text.parameters())

"""The floors are what they claim: chance, an untrained network of the same shape, and CCA on the same pairs."""

import numpy as np
import pytest
import torch

from hashret.evaluation import evaluate
from hashret.examples import Example, Pair, Task
from hashret.floors import cca_codes, no_cca, random_codes, untrained, untrained_retriever
from hashret.methods import METHODS
from hashret.models import Processor, Vocabulary, build_image_encoder, build_text_encoder
from hashret.models.vector import VectorEncoder
from hashret.relevance import SameInstance, SharedLabels
from hashret.retriever import Retriever


def retriever(*, pretrained: bool = False) -> Retriever:
    torch.manual_seed(5)
    vocabulary = Vocabulary.fit(["red blue green", "cat dog bird fish"], size=10)
    image = build_image_encoder("cnn", {"size": 32, "width": 4, "dimension": 8})
    image.pretrained = pretrained
    text = build_text_encoder("bag_of_words", {}, vocabulary)
    kind = METHODS["crcgs"]
    options = kind.options(bits=24, width=16, dimension=12, generative_dimension=8)
    method = kind(image, text, classes=2, words=len(vocabulary), options=options)
    return Retriever(method, Processor.of(image, text, vocabulary))


def test_random_codes_score_the_share_of_right_answers():
    chance = np.random.default_rng(0)
    labels = chance.random((600, 6)) < 0.15
    items = [Example(text=str(i)) for i in range(600)]
    encode = random_codes(32, seed=0)
    relevance = SharedLabels(labels, labels)
    share = relevance.totals()[relevance.totals() > 0].mean() / 600
    assert evaluate((encode(items), encode(items)), relevance)["map"] == pytest.approx(share, abs=0.02)


def test_untrained_has_fresh_weights_but_keeps_a_pretrained_encoder(pictures):
    items = [Example(image=picture) for picture in pictures]
    made = retriever()
    fresh, again, other = untrained(made, 0)(items), untrained(made, 0)(items), untrained(made, 1)(items)
    assert fresh == again
    assert fresh != other
    assert fresh != made.encode(items)
    known = retriever(pretrained=True)
    before = {name: value.clone() for name, value in known.method.image.state_dict().items()}
    inner = untrained(known, 0).__self__
    assert all(torch.equal(value, before[name]) for name, value in inner.method.image.state_dict().items())
    assert not torch.equal(inner.method.hash.weight, known.method.hash.weight)
    embedded = untrained_retriever(known, 0).embed(items)
    assert np.array_equal(embedded, inner.embed(items))
    assert not np.array_equal(embedded, known.embed(items))


def test_cca_finds_what_two_views_share():
    chance = np.random.default_rng(0)
    hidden = chance.normal(size=(400, 12)).astype(np.float32)
    images = hidden @ chance.normal(size=(12, 20)).astype(np.float32)
    texts = hidden @ chance.normal(size=(12, 16)).astype(np.float32)
    kind = METHODS["crcgs"]
    method = kind(
        VectorEncoder(dimension=20), VectorEncoder(dimension=16), classes=1, words=16,
        options=kind.options(bits=12, width=8, dimension=8, generative_dimension=8),
    )  # fmt: skip
    made = Retriever(method, Processor.of(method.image, method.text, None))
    pairs = [Pair(Example(image=i), Example(text=t)) for i, t in zip(images, texts, strict=True)]
    encode = cca_codes(made, pairs, 12, 0, frozen=True)
    found = (encode([p.query for p in pairs]), encode([p.target for p in pairs]))
    numbers = np.arange(400)
    assert evaluate(found, SameInstance(numbers, numbers))["map"] > 0.5
    turned = cca_codes(made, [Pair(p.target, p.query) for p in pairs], 12, 0, frozen=True)
    assert turned([p.query for p in pairs]) == found[0], "a pair may be asked from either side"
    assert turned([p.target for p in pairs]) == found[1]


def test_cca_is_for_images_and_texts():
    image, text, both = Example(image="a.jpg"), Example(text="a"), Example(image="a.jpg", text="longer")

    def task(query, item):
        return Task("t", [query], [item], SameInstance([0], [0]))

    plain = [task(image, text), task(text, image), task(image, image), task(text, text)]
    for pair in (Pair(image, text), Pair(text, image)):
        assert no_cca([pair], plain) == ""
        assert "no inputs of image and text, as task t has" in no_cca([pair], [*plain, task(both, image)])
        assert "as task t has" in no_cca([pair], [task(text, both)])
    for pair, said in (
        (Pair(both, image), "image and text -> image"), (Pair(image, image), "image -> image"),
        (Pair(text, text), "text -> text"), (Pair(image, both), "image -> image and text"),
    ):  # fmt: skip
        assert no_cca([pair], plain).endswith(f"training pairs are {said}")

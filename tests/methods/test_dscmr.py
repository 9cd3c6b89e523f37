"""DSCMR's terms are the paper's, and the hash layer that it gets here learns on what the towers give."""

import math

import pytest
import torch
from labelled_views import KINDS, WIDTH, found

from hashret.errors import DataError, InputError
from hashret.methods import METHODS, Batch
from hashret.models import Inputs, VectorEncoder

ITEMS, PIXELS, WORDS, CLASSES = 6, 7, 5, 3
KIND = METHODS["dscmr"]
EMBEDDING, CODES = KIND.stages


def build(pixels=PIXELS, words=WORDS, classes=CLASSES, **options):
    torch.manual_seed(0)
    sizes = {"bits": 16, "width": 24, "dimension": 10, "hash_width": 24, "hash_dropout": 0.0, "standardize": "none"}
    encoders = VectorEncoder(dimension=pixels), VectorEncoder(dimension=words)
    return KIND(*encoders, classes=classes, words=words, options=KIND.options(**{**sizes, **options}))


def batch():
    generator = torch.Generator().manual_seed(1)
    labels = (torch.rand(ITEMS, CLASSES, generator=generator) < 0.4).float()
    labels[0] = 0
    images, texts = (torch.randn(ITEMS, width, generator=generator) for width in (PIXELS, WORDS))
    return Batch(Inputs(image=images), Inputs(text=texts), labels, torch.arange(ITEMS))


def cosine(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)


def likelihoods(x, y, labels, scale):
    """J2 in loops."""
    total = 0.0
    for p, q in ((x, x), (y, y), (x, y)):
        for i in range(ITEMS):
            for j in range(ITEMS):
                gamma = scale * cosine(p[i], q[j])
                similar = i == j or any(a and b for a, b in zip(labels[i], labels[j], strict=True))
                total += (math.log(1 + math.exp(gamma)) - similar * gamma) / ITEMS**2
    return total


def row_norms(x, y):
    return [math.dist(p, q) for p, q in zip(x, y, strict=True)]


def views(method, given):
    with torch.no_grad():
        u, v = method.embed(given.query), method.embed(given.target)
        return u.tolist(), v.tolist(), method.classifier(u).tolist(), method.classifier(v).tolist()


def terms_of(method, given, stage=EMBEDDING):
    return {name: float(term.detach()) for name, term in method.losses(given, stage, stage.turns[0]).items()}


def test_the_objective_is_the_papers():
    method, given = build(), batch()
    u, v, said_u, said_v = views(method, given)
    labels = given.labels.tolist()
    norms = [math.hypot(*row_norms(x, y)) / ITEMS for x, y in ((said_u, labels), (said_v, labels), (u, v))]
    expected = {
        "classification": norms[0] + norms[1],
        "pair": 1e-3 * likelihoods(u, v, labels, 0.5),
        "invariance": 1e-1 * norms[2],
    }
    assert terms_of(method, given) == pytest.approx(expected, rel=1e-5)


def test_the_norm_of_rows_and_the_scale_are_options():
    method, given = build(norm="rows", likelihood_scale=6.0, pair_weight=1.0, invariance_weight=2.0), batch()
    u, v, said_u, said_v = views(method, given)
    labels = given.labels.tolist()
    means = [sum(row_norms(x, y)) / ITEMS for x, y in ((said_u, labels), (said_v, labels), (u, v))]
    expected = {
        "classification": means[0] + means[1],
        "pair": likelihoods(u, v, labels, 6.0),
        "invariance": 2 * means[2],
    }
    assert terms_of(method, given) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_is_an_option():
    method, given = build(classification="bce"), batch()
    total = 0.0
    for said in views(method, given)[2:]:
        for row, wanted in zip(said, given.labels.tolist(), strict=True):
            for logit, right in zip(row, wanted, strict=True):
                total += math.log(1 + math.exp(-logit if right else logit)) / (ITEMS * CLASSES)
    assert terms_of(method, given)["classification"] == pytest.approx(total, rel=1e-5)


def test_the_last_layer_and_the_classifier_are_shared():
    method = build(PIXELS, PIXELS)
    method.text_tower.load_state_dict(method.image_tower.state_dict())
    x = batch().query.image
    assert torch.equal(method.embed(Inputs(image=x)), method.embed(Inputs(text=x)))


def test_the_hash_layer_learns_structure_similarity_and_little_to_lose():
    method, given = build(hash_likelihood_scale=3.0, structure_weight=0.5, hash_pair_weight=2.0), batch()
    u, v = (torch.tensor(side) for side in views(method, given)[:2])
    given.query_fixed, given.target_fixed = u, v
    with torch.no_grad():
        of_u, of_v, codes = (method.hash(x).tolist() for x in (u, v, (u + v) / 2))
    centre = ((u + v) / 2).tolist()
    square = sum(
        ((cosine(centre[i], centre[j]) - cosine(codes[i], codes[j])) / 2) ** 2
        for i in range(ITEMS)
        for j in range(ITEMS)
    )
    lost = sum((bit - math.copysign(1, bit)) ** 2 for row in codes for bit in row)
    expected = {
        "structure": 0.5 * square / ITEMS,
        "pair": 2 * likelihoods(of_u, of_v, given.labels.tolist(), 3.0),
        "quantization": 0.1 * lost / ITEMS,
    }
    assert terms_of(method, given, CODES) == pytest.approx(expected, rel=1e-4)


def test_refusals():
    with pytest.raises(DataError, match="expected a dataset with labels"):
        build(classes=0)
    with pytest.raises(InputError, match="no composed queries"):
        build().embed(Inputs(image=batch().query.image, text=batch().target.text))


@pytest.mark.parametrize("options", [{}, {"norm": "rows"}, {"classification": "bce"}], ids=["paper", "rows", "bce"])
def test_new_items_of_a_label_are_found(options, tmp_path):
    method = build(WIDTH, WIDTH, KINDS, standardize="both", hash_dropout=0.3, **options)
    before, after = found(method, 15, tmp_path)
    assert before < 0.5
    assert after > 0.8

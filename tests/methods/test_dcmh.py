"""DCMH's turns lower the paper's objective, against outputs of all items that are remembered as they were given."""

import math

import pytest
import torch
from labelled_views import WIDTH, found

from hashret.errors import DataError, InputError
from hashret.methods import METHODS, Batch
from hashret.models import Inputs, VectorEncoder

ITEMS, PIXELS, WORDS, BITS, CLASSES = 9, 6, 5, 4, 3
KIND = METHODS["dcmh"]
(STAGE,) = KIND.stages
IMAGE, TEXT = STAGE.turns


def build(pixels=PIXELS, words=WORDS, **options):
    torch.manual_seed(0)
    sizes = {"bits": BITS, "width": 8, "gamma": 0.7, "eta": 0.3, "standardize": "none", **options}
    encoders = VectorEncoder(dimension=pixels), VectorEncoder(dimension=words)
    return KIND(*encoders, classes=CLASSES, words=words, options=KIND.options(**sizes))


def whole():
    """All items; the first has no label."""
    generator = torch.Generator().manual_seed(1)
    labels = (torch.rand(ITEMS, CLASSES, generator=generator) < 0.4).float()
    labels[0] = 0
    images, texts = (torch.randn(ITEMS, width, generator=generator) for width in (PIXELS, WORDS))
    return images, texts, labels


def batch(rows):
    images, texts, labels = whole()
    return Batch(Inputs(image=images[rows]), Inputs(text=texts[rows]), labels[rows], torch.tensor(rows), items=ITEMS)


def outputs(method):
    """F and G of all items, as lists."""
    images, texts, _ = whole()
    with torch.no_grad():
        return method.embed(Inputs(image=images)).tolist(), method.embed(Inputs(text=texts)).tolist()


def parts_of_j(f, g, b, gamma, eta):
    """The paper's J in loops: the likelihood, what F owes and what G owes."""
    labels = whole()[2].tolist()
    likelihood = 0.0
    for i in range(ITEMS):
        for j in range(ITEMS):
            theta = sum(x * y for x, y in zip(f[i], g[j], strict=True)) / 2
            similar = i == j or any(x and y for x, y in zip(labels[i], labels[j], strict=True))
            likelihood -= similar * theta - math.log(1 + math.exp(theta))
    owed = []
    for side in (f, g):
        distance = sum((x - y) ** 2 for p, q in zip(side, b, strict=True) for x, y in zip(p, q, strict=True))
        owed.append(gamma * distance + eta * sum(sum(bit) ** 2 for bit in zip(*side, strict=True)))
    return likelihood, *owed


def codes_of(f, g):
    return [[1 if x + y > 0 else -1 for x, y in zip(p, q, strict=True)] for p, q in zip(f, g, strict=True)]


def test_one_batch_of_all_items_has_the_objective_of_the_paper():
    method = build()
    f, g = outputs(method)
    likelihood, owed_f, owed_g = parts_of_j(f, g, codes_of(f, g), 0.7, 0.3)
    given = batch(list(range(ITEMS)))
    image, text = (
        {name: float(term.detach()) * ITEMS**2 for name, term in method.losses(given, STAGE, turn).items()}
        for turn in (IMAGE, TEXT)
    )
    assert image["image_likelihood"] == pytest.approx(likelihood, rel=1e-5)
    assert sum(image.values()) == pytest.approx(likelihood + owed_f, rel=1e-5)
    assert sum(text.values()) == pytest.approx(likelihood + owed_g, rel=1e-5)


@pytest.mark.parametrize("turn", STAGE.turns, ids=lambda turn: turn.name)
def test_a_batch_has_the_gradient_of_the_whole_objective_in_its_rows(turn):
    method = build()
    method.losses(batch(list(range(ITEMS))), STAGE, turn)  # all items have been seen
    sides = {name: method.memory[name].clone().requires_grad_(True) for name in ("image", "text")}
    codes = method.memory["codes"].float()
    theta = sides["image"] @ sides["text"].T / 2
    labels = whole()[2]
    similar = ((labels @ labels.T > 0) | torch.eye(ITEMS, dtype=torch.bool)).float()
    j = -(similar * theta - torch.log(1 + theta.exp())).sum()
    for output in sides.values():
        j = j + 0.7 * (codes - output).square().sum() + 0.3 * output.sum(0).square().sum()
    j.backward()
    rows = [4, 1, 7]
    given = batch(rows)
    total = torch.stack(list(method.losses(given, STAGE, turn).values())).sum()
    (gradient,) = torch.autograd.grad(total, given.scratch[turn.name])
    assert torch.allclose(gradient * len(rows) * ITEMS, sides[turn.name].grad[rows], atol=1e-4)


def test_the_memory_holds_the_last_outputs_of_what_was_seen():
    method = build()
    f, g = (torch.tensor(side) for side in outputs(method))
    first, second = [0, 3, 5], [5, 6]
    method.losses(batch(first), STAGE, IMAGE)
    assert method.memory["seen"].nonzero().flatten().tolist() == first
    assert torch.allclose(method.memory["image"][first], f[first])
    assert torch.allclose(method.memory["text"][first], g[first])
    assert not method.memory["image"][[1, 2, 4, 6, 7, 8]].any()
    with torch.no_grad():
        method.text_head[-1].bias += 1.0
    terms = method.losses(batch(second), STAGE, TEXT)
    assert torch.allclose(method.memory["text"][second], g[second] + 1.0)
    assert torch.allclose(method.memory["text"][[0, 3]], g[[0, 3]]), "as they were given"
    against = f[[0, 3, 5, 6]]
    theta = (g[second] + 1.0) @ against.T / 2
    labels = whole()[2]
    similar = (labels[second] @ labels[[0, 3, 5, 6]].T > 0).float()
    similar[0, 2] = similar[1, 3] = 1
    expected = (torch.log(1 + theta.exp()) - similar * theta).mean()
    assert torch.allclose(terms["text_likelihood"], expected), "what was never seen takes no part"


def test_codes_are_agreed_on_when_an_epoch_begins():
    method = build()
    method.begin_epoch(STAGE)  # the first, when nothing is remembered
    rows = list(range(ITEMS))
    method.losses(batch(rows), STAGE, IMAGE)
    before = method.memory["codes"].clone()
    assert before.tolist() == codes_of(*outputs(method))
    with torch.no_grad():
        method.image_head[-1].bias += 2.0
    method.losses(batch(rows), STAGE, IMAGE)
    assert torch.equal(method.memory["codes"], before)
    method.begin_epoch(STAGE)
    assert method.memory["codes"].tolist() == codes_of(*outputs(method)) != before.tolist()


def test_relaxed_codes_have_the_signs_of_the_outputs():
    method = build().eval()
    for inputs in (Inputs(image=whole()[0] * 1000), Inputs(text=whole()[1])):
        real, relaxed = method.embed(inputs), method.relaxed(inputs)
        assert real.shape == relaxed.shape == (ITEMS, BITS)
        assert torch.equal(real > 0, relaxed > 0)
        assert relaxed.abs().max() < 1
    assert method.dimension == BITS


def test_refusals():
    with pytest.raises(DataError, match="expected a dataset with labels"):
        KIND(VectorEncoder(dimension=4), VectorEncoder(dimension=4), classes=0, words=4, options=KIND.options())
    with pytest.raises(InputError, match="no composed queries"):
        build().embed(Inputs(image=whole()[0], text=whole()[1]))


def test_layers_of_the_heads():
    assert len([p for p in build(layers=0).image_head.parameters() if p.ndim == 2]) == 1
    assert len([p for p in build(layers=2).text_head.parameters() if p.ndim == 2]) == 3


def test_new_items_of_a_label_are_found(tmp_path):
    method = build(WIDTH, WIDTH, bits=16, width=32, standardize="both", gamma=1.0, eta=1.0)
    before, after = found(method, 15, tmp_path)
    assert before < 0.5
    assert after > 0.8
    assert method.memory == {}

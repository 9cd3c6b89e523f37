"""Methods for composed queries learn triplets by heart where their papers say that they can, and the halves cannot."""

import math

import pytest
import torch
from composed_triplets import PIXELS, TRIPLETS, WORDS, build, hits, learn, vectors

from hashret.errors import InputError
from hashret.methods import Batch
from hashret.models import Inputs
from hashret.models.fusion import Combiner, GatedResidual
from hashret.search import HammingIndex

EPOCHS = {"embedding": 150, "joint": 150, "codes": 150}


@pytest.mark.parametrize("name", ["mlcl", "tirg", "combiner", "sum"])
def test_sixteen_triplets_are_learned_by_heart(name, tmp_path):
    torch.manual_seed(0)
    retriever = learn(build(name), tmp_path, EPOCHS)
    assert hits(retriever) == {"embedding": 1, "codes": 1}


@pytest.mark.parametrize("name", ["image_only", "text_only"])
def test_half_a_query_finds_one_of_four(name, tmp_path):
    """Each half is shared by four queries, which then have one answer."""
    torch.manual_seed(0)
    found = hits(learn(build(name), tmp_path, EPOCHS))
    assert found["embedding"] <= 0.25
    assert found["codes"] <= 0.25 + 1e-9


def test_codes_of_composed_queries_are_searched_among_codes_of_images(tmp_path):
    torch.manual_seed(0)
    retriever = learn(build("combiner"), tmp_path, EPOCHS)
    images = vectors(TRIPLETS, PIXELS, 5)
    index = HammingIndex(retriever.bits)
    index.add(retriever.encode_images(images))
    references, texts = vectors(4, PIXELS, 3), vectors(4, WORDS, 4)
    asked = retriever.encode_queries([references[n // 4] for n in range(TRIPLETS)], [texts[n % 4] for n in range(16)])
    assert index.search(asked, 1).ids[:, 0].tolist() == list(range(TRIPLETS))
    with pytest.raises(InputError, match="one an image"):
        retriever.encode_queries(references, texts[:3])


def image_text(rows, seed=0):
    return Inputs(
        image=torch.from_numpy(vectors(rows, PIXELS, seed)), text=torch.from_numpy(vectors(rows, WORDS, seed + 50))
    )


def test_who_asks_with_what():
    query = image_text(5)
    other_text = Inputs(image=query.image, text=query.text.flip(0))
    other_image = Inputs(image=query.image.flip(0), text=query.text)
    for name, moved in (("image_only", (False, True)), ("text_only", (True, False)), ("sum", (True, True))):
        method = build(name).eval()
        own = method.embed(query)
        for inputs, expected in zip((other_text, other_image), moved, strict=True):
            assert (not torch.allclose(own, method.embed(inputs), atol=1e-6)) == expected
    method = build("sum").eval()
    total = method.embed(Inputs(image=query.image)) + method.embed(Inputs(text=query.text))
    assert torch.allclose(method.embed(query), total / total.norm(dim=1, keepdim=True), atol=1e-6)


def test_image_only_refuses_texts_alone():
    with pytest.raises(InputError, match="texts alone"):
        build("image_only").embed(Inputs(text=image_text(3).text))


def loss(method, query, target, instance=None):
    stage = method.stages[0]
    method.prepare(stage)
    number = torch.arange(len(query)) if instance is None else torch.tensor(instance)
    return float(method.losses(Batch(query, target, None, number), stage, stage.turns[0])["contrast"].detach())


def test_the_contrast_is_that_of_the_loops():
    method, query, target = build("sum"), image_text(4), Inputs(image=torch.from_numpy(vectors(4, PIXELS, 9)))
    x, y = method.eval().embed(query).tolist(), method.embed(target).tolist()
    total = 0.0
    for i in range(4):
        odds = [math.exp(sum(a * b for a, b in zip(x[i], y[j], strict=True)) / 0.07) for j in range(4)]
        total -= math.log(odds[i] / sum(odds)) / 4
    assert loss(method, query, target) == pytest.approx(total, rel=1e-5)


def test_the_own_reference_is_one_more_wrong_answer():
    method, query, target = (
        build("sum", against_reference=True, hash_contrast_weight=2.0).eval(),
        image_text(4),
        Inputs(image=torch.from_numpy(vectors(4, PIXELS, 9))),
    )
    stage = method.stages[-1]

    def expected(x, y, wrong, scale):
        logits = [
            [scale * sum(a * b for a, b in zip(p, q, strict=True)) for q in [*y, w]]
            for p, w in zip(x, wrong, strict=True)
        ]
        return sum(math.log(sum(map(math.exp, row))) - row[i] for i, row in enumerate(logits)) / 4

    method.requires_grad_(False)
    x, y, wrong = (method.embed(inputs) for inputs in (query, target, Inputs(image=query.image)))
    assert loss(method, query, target) == pytest.approx(
        expected(x.tolist(), y.tolist(), wrong.tolist(), 1 / 0.07), rel=1e-4
    )
    kept = {"query_fixed": method.fixed(query, stage, "query"), "target_fixed": method.fixed(target, stage, "target")}
    terms = method.losses(Batch(query, target, None, torch.arange(4), **kept), stage, stage.turns[0])
    codes = [torch.nn.functional.normalize(method.hash(part).sign(), dim=1).tolist() for part in (x, y, wrong)]
    scale = float(method.hash.log_scale.detach().exp())
    assert float(terms["reference"].detach()) == pytest.approx(2 * expected(*codes, scale), rel=1e-4)


def test_image_only_cannot_be_told_from_its_reference():
    with pytest.raises(InputError, match="against_reference"):
        build("image_only", against_reference=True)


@pytest.mark.parametrize("case", ["target", "query", "instance"])
def test_duplicates_are_left_out_or_negatives(case):
    query, target = image_text(2), Inputs(image=torch.from_numpy(vectors(2, PIXELS, 9)))
    if case == "query":
        query = query.rows([0, 0])
    if case == "target":
        target = target.rows([0, 0])
    instance = [4, 4] if case == "instance" else None
    assert loss(build("sum"), query, target, instance) == pytest.approx(0, abs=1e-6)
    assert loss(build("sum", duplicates="negatives"), query, target, instance) > 1e-3
    if case == "target":
        assert loss(build("sum", duplicates="negatives"), query, target) == pytest.approx(math.log(2), rel=1e-4)


def test_a_reference_with_another_text_is_a_negative():
    first = image_text(2)
    query = Inputs(image=first.image[:1].repeat(2, 1), text=first.text)
    assert loss(build("sum"), query, Inputs(image=torch.from_numpy(vectors(2, PIXELS, 9)))) > 1e-3


def relu(rows):
    return [max(0.0, value) for value in rows]


def linear(layer, x):
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b
            for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)]  # fmt: skip


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_the_combiner_is_its_formula():
    torch.manual_seed(0)
    part = Combiner(3, projection_width=4, hidden_width=5).double().eval()
    r, t = torch.randn(2, 2, 3, dtype=torch.float64)
    expected = []
    for image, text in zip(r.tolist(), t.tolist(), strict=True):
        z = relu(linear(part.text_projection, text)) + relu(linear(part.image_projection, image))
        h = relu(linear(part.combination, z))
        share = sigmoid(linear(part.mixture[3], relu(linear(part.mixture[0], z)))[0])
        expected.append([o + share * b + (1 - share) * a
                         for o, a, b in zip(linear(part.output, h), image, text, strict=True)])  # fmt: skip
    assert torch.allclose(part(r, t), torch.tensor(expected, dtype=torch.float64))


def test_tirg_is_its_formula():
    torch.manual_seed(0)
    part = GatedResidual(3, gate_weight=0.5, residual_weight=2.0).double()
    r, t = torch.randn(2, 4, 3, dtype=torch.float64)
    part(r, t)  # moves the running statistics
    part.eval()
    norm = part.gate[0]
    expected = []
    for image, text in zip(r.tolist(), t.tolist(), strict=True):

        def normed(norm, x):
            stats = zip(x, norm.running_mean.tolist(), norm.running_var.tolist(), norm.weight.tolist(),
                        norm.bias.tolist(), strict=True)  # fmt: skip
            return relu([(v - m) / math.sqrt(s + norm.eps) * w + b for v, m, s, w, b in stats])

        gate = linear(part.gate[2], normed(norm, image + text))
        change = linear(part.residual[4], relu(linear(part.residual[2], normed(part.residual[0], image + text))))
        expected.append([0.5 * sigmoid(g) * a + 2.0 * c for g, a, c in zip(gate, image, change, strict=True)])
    assert torch.allclose(part(r, t), torch.tensor(expected, dtype=torch.float64))

"""A hash layer's codes stand around each other as the embeddings do: its terms against loops over signs."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from hashret.losses import info_nce
from hashret.methods.hash_codes import HashCodes, HashOptions

PAIRS, DIMENSION = 6, 12
NOBODY = torch.eye(PAIRS)


def embeddings(seed):
    return normalize(torch.randn(PAIRS, DIMENSION, generator=torch.Generator().manual_seed(seed)), dim=1)


def build(**options):
    torch.manual_seed(0)
    return HashCodes(DIMENSION, HashOptions(**{"bits": 8, "hash_width": 10} | options))


def signs(layer, embedding):
    return [[math.copysign(1, value) for value in row] for row in layer(embedding).tolist()]


def around(queries, items, scale, beside=None):
    """For each query how its scaled cosines are shared out among all items and, where there is one, its own other."""
    shares = []
    for i, x in enumerate(queries):
        others = [*items] if beside is None else [*items, beside[i]]
        odds = [
            math.exp(scale * sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y))
            for y in others
        ]
        shares.append([odd / sum(odds) for odd in odds])
    return shares


def divergence(wanted, have):
    rows = zip(wanted, have, strict=True)
    return sum(p * math.log(p / q) for row in rows for p, q in zip(*row, strict=True)) / len(wanted)


@pytest.mark.parametrize("referred", [False, True], ids=["alone", "with references"])
def test_neighbours_are_those_of_the_loops(referred):
    layer = build(neighbour_weight=0.5, neighbour_scale=7.0)
    x, y, z = (embeddings(seed) for seed in range(3))
    terms = layer.terms(x, y, NOBODY, z if referred else None)
    scale = float(layer.log_scale.detach().exp())
    wrong, wrong_code = (z.tolist(), signs(layer, z)) if referred else (None, None)
    p, q = signs(layer, x), signs(layer, y)
    there = divergence(around(x.tolist(), y.tolist(), 7.0, wrong), around(p, q, scale, wrong_code))
    back = divergence(around(y.tolist(), x.tolist(), 7.0), around(q, p, scale))
    assert float(terms["neighbours"].detach()) == pytest.approx(0.5 * (there + back), rel=1e-4)
    assert set(terms) == {"neighbours", "quantization", "balance"}


def test_the_contrast_is_that_of_signs_and_heeds_who_is_the_same():
    layer = build(neighbour_weight=0.0, hash_contrast_weight=3.0)
    x, y, z = (embeddings(seed) for seed in range(3))
    same = torch.eye(PAIRS)
    same[0, 1] = same[1, 0] = 1
    terms = layer.terms(x, y, same)
    expected = info_nce(torch.tensor(signs(layer, x)), torch.tensor(signs(layer, y)), same, scale=1 / 0.07)
    assert float(terms["contrast"].detach()) == pytest.approx(3 * float(expected), rel=1e-4)
    assert set(terms) == {"contrast", "quantization", "balance"}
    assert set(layer.terms(x, y, same, z)) == {"contrast", "reference", "quantization", "balance"}


def test_what_is_learned_is_the_embedding_and_not_the_pairs():
    """Pairs that the embedding sets apart stay apart: codes find what the embedding finds, not their own pair."""
    x, y = embeddings(0), embeddings(0).roll(1, 0)
    layer = build(bits=32)
    optimizer = torch.optim.Adam(layer.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        torch.stack(list(layer.terms(x, y, NOBODY).values())).sum().backward()
        optimizer.step()
    p, q = torch.tensor(signs(layer, x)), torch.tensor(signs(layer, y))
    assert (p @ q.T).argmax(1).tolist() == (x @ y.T).argmax(1).tolist() == [1, 2, 3, 4, 5, 0]


def test_the_scale_of_codes_is_kept_below_what_is_asked():
    layer = build(largest_code_scale=5.0)
    layer.terms(embeddings(0), embeddings(1), NOBODY)["neighbours"].backward()
    assert float(layer.log_scale.detach().exp()) == pytest.approx(5)
    assert float(layer.log_scale.grad) != 0, "at its bound it can still come down"


@pytest.mark.parametrize("head", ["mlp", "linear"])
def test_every_weight_learns_though_a_sign_has_no_slope(head):
    layer = build(hash_head=head, quantization_weight=0.0, balance_weight=0.0)
    layer.terms(embeddings(0), embeddings(1), NOBODY)["neighbours"].backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


def test_in_training_alone_queries_are_set_further_from_their_targets():
    layer, plain = build(query_stretch=2.0), build()
    x, y = embeddings(0), embeddings(1)
    torch.manual_seed(5)
    terms = layer.terms(x, y, NOBODY)
    torch.manual_seed(5)
    shares = torch.rand(PAIRS, 1).flatten().tolist()
    further = []
    for share, query, target in zip(shares, x.tolist(), y.tolist(), strict=True):
        beyond = [a + 2 * share * (a - b) for a, b in zip(query, target, strict=True)]
        further.append([value / math.hypot(*beyond) for value in beyond])
    expected = plain.terms(torch.tensor(further), y, NOBODY)
    assert {name: float(term.detach()) for name, term in terms.items()} == pytest.approx(
        {name: float(term.detach()) for name, term in expected.items()}, rel=1e-5
    )
    near, unmoved = layer.eval().terms(x, y, NOBODY), plain.terms(x, y, NOBODY)
    assert torch.equal(near["neighbours"], unmoved["neighbours"])
    assert not torch.allclose(terms["neighbours"], unmoved["neighbours"])

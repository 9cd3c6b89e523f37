"""Every loss of LOSSES: equal to its naive oracle, finite, with finite gradients, blind to the order of the batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from hashret.losses import LOSSES, similarity

BATCH, WIDTH = 7, 5


@dataclass(frozen=True)
class Case:
    """Arguments of a loss for a batch, what stays fixed, and the loss written as loops."""

    arguments: Callable[[torch.Generator], dict[str, Tensor]]
    oracle: Callable[..., float]
    options: tuple[dict[str, Any], ...] = ({},)
    square: tuple[str, ...] = ()
    still: tuple[str, ...] = ()


def cosine(x: list[float], y: list[float]) -> float:
    """Cosine of two lists."""
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    return dot / math.sqrt(sum(a * a for a in x)) / math.sqrt(sum(b * b for b in y))


def features(generator: torch.Generator) -> Tensor:
    return torch.randn(BATCH, WIDTH, generator=generator, dtype=torch.float64)


def labels(generator: torch.Generator) -> Tensor:
    made = (torch.rand(BATCH, 4, generator=generator) < 0.35).double()
    made[0] = 0  # an item without labels
    made[1] = torch.tensor([1.0, 0, 0, 1])
    made[2] = torch.tensor([1.0, 0, 1, 1])
    return made


def similar_loops(y: list[list[float]]) -> list[list[float]]:
    n = len(y)
    return [
        [float(i == j or any(a and b for a, b in zip(y[i], y[j], strict=True))) for j in range(n)] for i in range(n)
    ]


def likelihood_oracle(x: Any, y: Any, similar: Any, *, scale: float) -> float:
    total = 0.0
    for i in range(BATCH):
        for j in range(BATCH):
            theta = scale * cosine(x[i], y[j])
            total += math.log(1 + math.exp(theta)) - similar[i][j] * theta
    return total / BATCH**2


def product_oracle(x: Any, y: Any, similar: Any) -> float:
    total = 0.0
    for i in range(BATCH):
        for j in range(BATCH):
            theta = sum(a * b for a, b in zip(x[i], y[j], strict=True)) / 2
            total += math.log(1 + math.exp(theta)) - similar[i][j] * theta
    return total / BATCH**2


def contrastive_oracle(teacher: Any, student: Any, *, temperature: float, noise: float) -> float:
    total = 0.0
    for i in range(BATCH):
        for j in range(BATCH):
            e = math.exp(cosine(teacher[i], student[j]) / temperature)
            h = e / (e + noise)
            total -= math.log(h if i == j else 1 - h)
    return total / BATCH


def support_oracle(a: Any, b: Any, labels: Any, *, temperature: float, include_self: bool) -> float:
    means = []
    for x, z in ((a, b), (b, a)):
        cosines = []
        for i in range(BATCH):
            weights = [
                sum(p * q for p, q in zip(labels[i], labels[j], strict=True))
                * math.exp(cosine(x[i], z[j]) / temperature)
                for j in range(BATCH)
            ]
            if not include_self:
                weights[i] = 0.0
            if sum(weights) == 0:
                continue
            mean = [sum(w * z[j][d] for j, w in enumerate(weights)) / sum(weights) for d in range(WIDTH)]
            cosines.append(cosine(x[i], mean))
        means.append(sum(cosines) / len(cosines))
    return -math.log(max(sum(means) / 2, 1e-6))


def same(generator: torch.Generator) -> Tensor:
    """Zeros and ones, symmetric; a pair with none of its kind, and two of one kind."""
    drawn = (torch.rand(BATCH, BATCH, generator=generator) < 0.3).double()
    made = torch.maximum(drawn, drawn.T)
    made[0] = made[:, 0] = 0
    made[1, 2] = made[2, 1] = 1
    return made


def info_nce_oracle(queries: Any, targets: Any, same: Any, *, scale: float) -> float:
    total = 0.0
    for x, y in ((queries, targets), (targets, queries)):
        for i in range(BATCH):
            right = math.exp(scale * cosine(x[i], y[i]))
            others = [math.exp(scale * cosine(x[i], y[j])) for j in range(BATCH) if j != i and not same[i][j]]
            total -= math.log(right / (right + sum(others)))
    return total / (2 * BATCH)


def info_nce_of_scores_oracle(scores: Any, same: Any) -> float:
    total = 0.0
    for rows in (scores, [list(column) for column in zip(*scores, strict=True)]):
        for i in range(BATCH):
            seen = [math.exp(rows[i][j]) for j in range(BATCH) if j == i or not same[i][j]]
            total -= math.log(math.exp(rows[i][i]) / sum(seen))
    return total / (2 * BATCH)


def one_way_oracle(queries: Any, targets: Any, same: Any, wrong: Any, *, scale: float) -> float:
    total = 0.0
    for i in range(BATCH):
        right = math.exp(scale * cosine(queries[i], targets[i]))
        others = [math.exp(scale * cosine(queries[i], targets[j])) for j in range(BATCH) if j != i and not same[i][j]]
        total -= math.log(right / (right + sum(others) + math.exp(scale * cosine(queries[i], wrong[i]))))
    return total / BATCH


def supervised_oracle(queries: Any, targets: Any, positive: Any, *, scale: float) -> float:
    total = 0.0
    for x, y in ((queries, targets), (targets, queries)):
        for i in range(BATCH):
            odds = [math.exp(scale * cosine(x[i], y[j])) for j in range(BATCH)]
            right = [j for j in range(BATCH) if j == i or positive[i][j]]
            total -= sum(math.log(odds[j] / sum(odds)) for j in right) / len(right)
    return total / (2 * BATCH)


def instance_oracle(features: Any, classifier: Any, number: Any, *, scale: float, normalized: bool) -> float:
    total = 0.0
    for f, own in zip(features, number, strict=True):
        lengths = [1.0 if normalized else math.hypot(*w) for w in classifier]
        odds = [math.exp(scale * cosine(f, w) * length) for w, length in zip(classifier, lengths, strict=True)]
        total -= math.log(odds[own] / sum(odds))
    return total / BATCH


def triplet_oracle(scores: Any, same: Any, *, margin: float, negatives: str) -> float:
    total = 0.0
    for rows in (scores, [list(column) for column in zip(*scores, strict=True)]):
        for i in range(BATCH):
            hinges = [
                max(0.0, margin + rows[i][j] - rows[i][i]) for j in range(BATCH) if j != i and not same[i][j]
            ]  # fmt: skip
            total += (max(hinges, default=0.0)) if negatives == "hardest" else sum(hinges)
    return total


def consistency_oracle(queries: Any, targets: Any, *, margin: float) -> float:
    total = 0.0
    for j in range(BATCH):
        gaps = [abs(cosine(queries[i], queries[j]) - cosine(targets[i], targets[j])) for i in range(BATCH)]
        total += max(0.0, max(gaps) - margin)
    return total


def reconstruction_oracle(generated: Any, target: Any, *, kind: str) -> float:
    cells = [(g, t) for row, wanted in zip(generated, target, strict=True) for g, t in zip(row, wanted, strict=True)]
    if kind == "mse":
        return sum((g - t) ** 2 for g, t in cells) / len(cells)
    if kind == "l1":
        return sum(abs(g - t) for g, t in cells) / len(cells)
    present = [abs(g - t) for g, t in cells if t != 0]
    absent = [abs(g - t) for g, t in cells if t == 0]
    return (sum(present) / len(present) + sum(absent) / len(absent)) / 2


def structure_oracle(features: Any, relaxed: Any) -> float:
    total = 0.0
    for i in range(BATCH):
        for j in range(BATCH):
            total += (cosine(features[i], features[j]) / 2 - cosine(relaxed[i], relaxed[j]) / 2) ** 2
    return total / BATCH


def neighbours_oracle(features: Any, relaxed: Any, *, scale: float) -> float:
    total = 0.0
    for i in range(BATCH):
        p, q = ([math.exp(scale * cosine(rows[i], rows[j])) for j in range(BATCH)] for rows in (features, relaxed))
        total += sum(a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q, strict=True))
    return total / BATCH


def neighbours_of_scores_oracle(wanted: Any, have: Any) -> float:
    total = 0.0
    for rows in zip(wanted, have, strict=True):
        p, q = ([math.exp(value) for value in row] for row in rows)
        total += sum(a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q, strict=True))
    return total / BATCH


CASES = {
    "adversarial": Case(
        lambda g: {"verdict": torch.randn(BATCH, 2, generator=g, dtype=torch.float64)},
        lambda verdict, *, real: (
            -sum(row[int(real)] - math.log(math.exp(row[0]) + math.exp(row[1])) for row in verdict) / BATCH
        ),
        ({"real": True}, {"real": False}),
    ),
    "balance": Case(
        lambda g: {"relaxed": torch.tanh(features(g))},
        lambda relaxed: sum((sum(bit) / BATCH) ** 2 for bit in zip(*relaxed, strict=True)) / WIDTH,
    ),
    "batch_classification": Case(
        lambda g: {"queries": features(g), "targets": features(g), "same": same(g), "wrong": features(g)},
        one_way_oracle,
        ({"scale": 1 / 0.07}, {"scale": 0.5}),
        square=("same",),
    ),
    "consistency": Case(
        lambda g: {"queries": features(g), "targets": features(g)},
        consistency_oracle,
        ({"margin": 0.3}, {"margin": 0.0}),
    ),
    "distillation": Case(
        lambda g: {"student": features(g), "teacher": features(g)},
        lambda student, teacher: (
            sum((s - t) ** 2 for x, y in zip(student, teacher, strict=True) for s, t in zip(x, y, strict=True))
            / (BATCH * WIDTH)
        ),
    ),
    "frobenius": Case(
        lambda g: {"x": features(g), "y": features(g)},
        lambda x, y: math.sqrt(sum(math.dist(p, q) ** 2 for p, q in zip(x, y, strict=True))) / BATCH,
    ),
    "info_nce": Case(
        lambda g: {"queries": features(g), "targets": features(g), "same": same(g)},
        info_nce_oracle,
        ({"scale": 1 / 0.07}, {"scale": 0.5}),
        square=("same",),
    ),
    "info_nce_of_scores": Case(
        lambda g: {"scores": torch.randn(BATCH, BATCH, generator=g, dtype=torch.float64), "same": same(g)},
        info_nce_of_scores_oracle,
        square=("scores", "same"),
    ),
    "instance": Case(
        lambda g: {
            "features": features(g),
            "classifier": features(g),
            "number": torch.randint(BATCH, (BATCH,), generator=g),
        },
        instance_oracle,
        ({"scale": 16.0, "normalized": True}, {"scale": 1.0, "normalized": False}),
        still=("classifier",),
    ),
    "invariance": Case(
        lambda g: {"x": features(g), "y": features(g)},
        lambda x, y: sum(math.dist(p, q) for p, q in zip(x, y, strict=True)) / BATCH,
    ),
    "neighbours": Case(
        lambda g: {"features": features(g), "relaxed": torch.tanh(features(g))},
        neighbours_oracle,
        ({"scale": 5.0}, {"scale": 0.5}),
    ),
    "neighbours_of_scores": Case(
        lambda g: {"have": features(g), "wanted": features(g)},
        neighbours_of_scores_oracle,
    ),
    "noise_contrastive": Case(
        lambda g: {"teacher": features(g), "student": features(g)},
        contrastive_oracle,
        ({"temperature": 0.2, "noise": 0.63}, {"temperature": 0.5, "noise": 0.008}),
    ),
    "pair_likelihood": Case(
        lambda g: {"x": features(g), "y": features(g), "similar": similarity(labels(g)).double()},
        likelihood_oracle,
        ({"scale": 0.5}, {"scale": 4.0}),
        square=("similar",),
    ),
    "product_likelihood": Case(
        lambda g: {"x": features(g), "y": features(g), "similar": similarity(labels(g)).double()},
        product_oracle,
        square=("similar",),
    ),
    "quantization": Case(
        lambda g: {"relaxed": torch.tanh(features(g))},
        lambda relaxed: sum((h - math.copysign(1, h)) ** 2 for row in relaxed for h in row) / BATCH,
    ),
    "reconstruction": Case(
        lambda g: {"generated": features(g).abs(), "target": (features(g) > 0.6).double()},
        reconstruction_oracle,
        ({"kind": "l1"}, {"kind": "balanced_l1"}, {"kind": "mse"}),
    ),
    "structure": Case(lambda g: {"features": features(g), "relaxed": torch.tanh(features(g))}, structure_oracle),
    "supervised_contrast": Case(
        lambda g: {"queries": features(g), "targets": features(g), "positive": similarity(labels(g)).double()},
        supervised_oracle,
        ({"scale": 10.0}, {"scale": 0.5}),
        square=("positive",),
    ),
    "support_set": Case(
        lambda g: {"a": features(g).abs(), "b": features(g).abs(), "labels": labels(g)},
        support_oracle,
        ({"temperature": 0.06, "include_self": True}, {"temperature": 0.5, "include_self": False}),
    ),
    "triplet": Case(
        lambda g: {"scores": torch.randn(BATCH, BATCH, generator=g, dtype=torch.float64), "same": same(g)},
        triplet_oracle,
        ({"margin": 0.2, "negatives": "hardest"}, {"margin": 1.0, "negatives": "all"}),
        square=("scores", "same"),
    ),
}


def test_every_loss_has_a_case():
    assert set(CASES) == set(LOSSES)


def cases():
    return [(name, options) for name in LOSSES for options in CASES[name].options]


def arguments(name: str, seed: int) -> dict[str, Tensor]:
    return CASES[name].arguments(torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("name", "options"), cases())
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_the_loops(name, options, seed):
    given = arguments(name, seed)
    expected = CASES[name].oracle(**{key: value.tolist() for key, value in given.items()}, **options)
    assert float(LOSSES[name](**given, **options)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "options"), cases())
def test_gradients_are_the_numeric_ones(name, options):
    given = arguments(name, 3)
    moving = next(iter(given))
    given[moving].requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](**{**given, moving: x}, **options), given[moving])


@pytest.mark.parametrize(("name", "options"), cases())
def test_order_of_the_batch_does_not_matter(name, options):
    given = arguments(name, 4)
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(0))
    case = CASES[name]
    moved = {
        key: value if key in case.still else value[order][:, order] if key in case.square else value[order]
        for key, value in given.items()
    }
    assert float(LOSSES[name](**moved, **options)) == pytest.approx(float(LOSSES[name](**given, **options)), rel=1e-6)


@pytest.mark.parametrize(("name", "options"), cases())
def test_finite_at_the_edges(name, options):
    """Equal items, zero vectors and no labels give numbers and gradients, never NaN."""
    given = {key: torch.zeros_like(value) for key, value in arguments(name, 5).items()}
    moving = next(iter(given))
    given[moving].requires_grad_(True)
    value = LOSSES[name](**given, **options)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(given[moving].grad).all()

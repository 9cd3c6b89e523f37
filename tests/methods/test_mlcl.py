"""MLCL equals its formula written as loops; its switches do what they are named for; stages train what they say."""

import math
from types import SimpleNamespace

import pytest
import torch
from composed_triplets import PIXELS, WORDS, build, hits, learn, vectors

from hashret.errors import TrainingError
from hashret.methods import METHODS, Batch
from hashret.models import Inputs, VectorEncoder

KIND = METHODS["mlcl"]
STAGES = {stage.name: stage for stage in KIND.stages}
ROWS = 5


def drawn(width, seed, rows=ROWS):
    return torch.from_numpy(vectors(rows, width, seed))


def batch(method, stage, rows=ROWS):
    query = Inputs(image=drawn(PIXELS, 0, rows), text=drawn(WORDS, 1, rows))
    target, view = Inputs(image=drawn(PIXELS, 2, rows)), Inputs(image=drawn(PIXELS, 3, rows))
    given = Batch(query, target, None, torch.arange(rows), view=view)
    for side, inputs in (("query", query), ("target", target), ("view", view)):
        if side in stage.keeps:
            setattr(given, f"{side}_fixed", method.eval().fixed(inputs, stage, side).detach())
    method.prepare(stage)
    return given


def terms(method, name):
    given = batch(method, STAGES[name])
    found = method.losses(given, STAGES[name], STAGES[name].turns[0])
    return {key: float(value.detach()) for key, value in found.items()}


def linear(layer, x):
    weights, biases = layer.weight.tolist(), layer.bias.tolist()
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weights, biases, strict=True)]


def relu(x):
    return [max(0.0, value) for value in x]


def unit(x):
    length = math.sqrt(sum(value * value for value in x))
    return [value / length for value in x]


def levels_by_loops(method, r, t):
    """z, f_s, f_c, f_h of one query, METHODS 4.1 word by word."""
    part = method.fusion
    z = relu(linear(part.text_projection, t)) + relu(linear(part.image_projection, r))
    h = relu(linear(part.combination, z))
    share = 1 / (1 + math.exp(-linear(part.mixture[3], relu(linear(part.mixture[0], z)))[0]))
    hybrid = [o + share * b + (1 - share) * a for o, a, b in zip(linear(part.output, h), r, t, strict=True)]
    return SimpleNamespace(
        z=unit(z), s=unit([a + b for a, b in zip(r, t, strict=True)]), c=unit(linear(method.concatenation[1], h)),
        h=unit(hybrid),
    )  # fmt: skip


def cross_entropy(queries, targets, scale):
    total = 0.0
    for i, x in enumerate(queries):
        odds = [math.exp(scale * sum(a * b for a, b in zip(x, y, strict=True))) for y in targets]
        total -= math.log(odds[i] / sum(odds))
    return total / len(queries)


def features(method, given):
    r, t, y, copies = (
        method.image_features(given.query), method.text_features(given.query), method.image_features(given.target),
        method.image_features(given.view),
    )  # fmt: skip
    return [part.tolist() for part in (r, t, y, copies)]


@pytest.mark.parametrize("name", ["joint", "combiner"])
def test_the_objective_is_that_of_the_loops(name):
    torch.manual_seed(0)
    method = build("mlcl", width=20, balance_start=0.4, sum_weight=0.7, self_weight=1.5, temperature=0.2,
                   self_temperature=0.5)  # fmt: skip
    r, t, y, copies = features(method.eval(), batch(method, STAGES["joint"]))
    rows = [levels_by_loops(method, a, b) for a, b in zip(r, t, strict=True)]
    others = [levels_by_loops(method, a, b) for a, b in zip(copies, t, strict=True)]
    y = [unit(row) for row in y]
    high = 2 / (1 + math.exp(-0.4))
    expected = {
        "fusion": high * cross_entropy([row.h for row in rows], y, 5),
        "concatenation": (2 - high) * cross_entropy([row.c for row in rows], y, 5),
        "sum": 0.7 * cross_entropy([row.s for row in rows], y, 5),
        "self_concatenation": 1.5 * cross_entropy([row.z for row in rows], [row.z for row in others], 2),
        "self_fusion": 1.5 * cross_entropy([row.h for row in rows], [row.h for row in others], 2),
    }
    assert terms(method, name) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("levels", ["straight", "swapped"])
def test_a_query_weighs_its_levels_straight_or_swapped(levels):
    torch.manual_seed(0)
    method = build("mlcl", levels=levels, balance_start=1.0).eval()
    given = batch(method, STAGES["joint"])
    method.eval()
    r, t, _, _ = features(method, given)
    high, middle = 2 / (1 + math.exp(-1)), 2 - 2 / (1 + math.exp(-1))
    if levels == "swapped":
        high, middle = middle, high
    expected = []
    for a, b in zip(r, t, strict=True):
        found = levels_by_loops(method, a, b)
        total = [high * x + middle * y + z for x, y, z in zip(found.h, found.c, found.s, strict=True)]
        expected.append(unit(total))
    assert torch.allclose(method.embed(given.query), torch.tensor(expected), atol=1e-5)


def test_training_does_not_know_the_switch():
    values = []
    for levels in ("straight", "swapped"):
        torch.manual_seed(0)
        values.append(terms(build("mlcl", levels=levels), "joint"))
    assert values[0] == values[1]


def step(method, name="joint"):
    stage = STAGES[name]
    given = batch(method, stage)
    own = [p for group in method.parameters_of(stage, stage.turns[0]).values() for p in group]
    optimizer = torch.optim.AdamW(own, 1e-4, betas=(0.9, 0.999), weight_decay=0)
    torch.stack(list(method.losses(given, stage, stage.turns[0]).values())).sum().backward()
    optimizer.step()
    return {id(p) for p in own}


def test_the_balance_moves_at_its_own_pace_or_not_at_all():
    for pace in (1.0, 50.0):
        method = build("mlcl", balance_pace=pace)
        assert float(method.level_weights()[0].detach()) == pytest.approx(2 / 3)
        before = pace * float(method.balance.detach())
        step(method)
        assert abs(pace * float(method.balance.detach()) - before) == pytest.approx(pace * 1e-4, rel=1e-2)
    method = build("mlcl", balance="fixed", balance_start=0.0)
    assert [float(weight.detach()) for weight in method.level_weights()] == [1, 1]
    assert id(method.balance) not in step(method)
    assert float(method.balance.detach()) == 0


def test_without_self_supervision_no_copy_is_asked_for():
    method = build("mlcl", self_weight=0.0)
    assert method.augmentation is None
    for name in ("joint", "combiner"):
        given = batch(method, STAGES[name])
        given.view = given.view_fixed = None
        found = method.losses(given, STAGES[name], STAGES[name].turns[0])
        assert set(found) == {"fusion", "concatenation", "sum"}
    assert id(method.self_log_scale) not in step(method)


def test_equal_targets_are_excused_at_every_level_or_at_none():
    for name in ("joint", "combiner"):
        values = {}
        for duplicates in ("left_out", "negatives"):
            torch.manual_seed(0)
            method = build("mlcl", duplicates=duplicates)
            given = batch(method, STAGES[name], rows=2)
            given.target = given.target.rows([0, 0])
            if given.target_fixed is not None:
                given.target_fixed = given.target_fixed[[0, 0]]
            found = method.losses(given, STAGES[name], STAGES[name].turns[0])
            values[duplicates] = {key: float(value.detach()) for key, value in found.items()}
        assert max(values["left_out"].values()) == pytest.approx(0, abs=1e-6)
        assert min(values["negatives"].values()) > 1e-3
        assert values["negatives"]["sum"] == pytest.approx(math.log(2), rel=1e-4)


@pytest.mark.parametrize("name", ["text", "image"])
def test_tuning_is_the_contrast_of_the_sum_at_a_fixed_scale(name):
    torch.manual_seed(0)
    method = build("mlcl", tuning_scale=7.0)
    r, t, y, _ = features(method.eval(), batch(method, STAGES["joint"]))
    total = [unit([a + b for a, b in zip(x, z, strict=True)]) for x, z in zip(r, t, strict=True)]
    expected = cross_entropy(total, [unit(row) for row in y], 7.0)
    assert terms(method, name) == pytest.approx({"contrast": expected}, rel=1e-4)
    head = method.text_head if name == "text" else method.image_head
    assert step(method, name) == {id(p) for p in head.parameters()}


def test_the_combiner_stage_learns_on_kept_features(tmp_path):
    """Through the loop: queries, targets and every copy are encoded once, and the result finds all triplets."""
    torch.manual_seed(0)
    method = build("mlcl", copies=3)
    calls = []
    own = method.image.encode if hasattr(method.image, "encode") else None
    fixed = method.fixed
    method.fixed = lambda inputs, stage, side: calls.append((stage.name, side)) or fixed(inputs, stage, side)
    retriever = learn(method, tmp_path, {"combiner": 150, "codes": 150})
    assert own is not None
    assert hits(retriever) == {"embedding": 1, "codes": 1}
    assert sorted(calls) == sorted(
        [("combiner", "query"), ("combiner", "target"), ("combiner", "view"), ("codes", "query"), ("codes", "target")]
    )


def test_a_stage_with_nothing_to_train_is_refused(tmp_path):
    kind, width = KIND, 12
    options = kind.options(bits=8, head="none", dimension=width, projection_width=8, hidden_width=8, self_weight=0.0)
    method = kind(
        VectorEncoder(dimension=width), VectorEncoder(dimension=width), classes=0, words=width, options=options
    )
    with pytest.raises(TrainingError, match=r"stages.text: expected something to train.*Set its epochs to 0"):
        learn(method, tmp_path, {"text": 1})


def test_the_own_reference_is_one_more_wrong_answer_at_every_level():
    def of(wrong):
        torch.manual_seed(0)
        return terms(build("mlcl", against_reference=wrong), "combiner")

    without, with_it = of(False), of(True)
    levels = {"fusion", "concatenation", "sum"}
    assert all(with_it[name] > without[name] + 1e-4 for name in levels)
    assert {name: with_it[name] for name in without.keys() - levels} == {
        name: without[name] for name in without.keys() - levels
    }

"""Accumulation: a step averages the gradients of its batches, and everything that counts steps counts these."""

import math

import pytest
import torch
from learning_encoders import build, pairs, read, run
from torch.optim.optimizer import register_optimizer_step_pre_hook

from hashret.arrayfile import read_arrays
from hashret.methods import METHODS
from hashret.training import Fit, PairTable, loop
from hashret.training.pairs import random_state


@pytest.fixture
def steps():
    """For each optimiser step that is taken its gradients, learning rate and parameters' number."""
    taken = []

    def record(optimizer, args, kwargs):
        own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in own]
        taken.append((grads, optimizer.param_groups[0]["lr"], sum(p.numel() for p in own)))

    handle = register_optimizer_step_pre_hook(record)
    yield taken
    handle.remove()


def gradient(method, table, rows):
    """Of one batch alone, at the weights as they are."""
    stage = method.stages[0]
    method.prepare(stage)
    own = [p for group in method.parameters_of(stage, stage.turns[0]).values() for p in group]
    (given,) = table.batches(stage, [rows], 3, 0)
    total = torch.stack(list(method.losses(given, stage, stage.turns[0]).values())).sum()
    return torch.autograd.grad(total, own, allow_unused=True)


def test_a_step_has_the_mean_gradient_of_its_batches_and_the_last_of_those_left(tmp_path, steps):
    """With a learning rate that moves nothing all gradients are of the same weights."""
    run(build("contrastive", dropout=False), tmp_path, count=11, accumulate=2, lr=1e-30)
    method, table = build("contrastive", dropout=False), PairTable(pairs(11), read)
    first, second, third = (gradient(method, table, rows) for rows in table.epoch(4, 0, 0, 0))
    expected = [[(a + b) / 2 for a, b in zip(first, second, strict=True)], third]
    for (found, _, _), mean in zip(steps[:2], expected, strict=True):
        assert any(g.abs().max() > 1e-6 for g in found)
        assert all(torch.allclose(a, b, rtol=1e-7, atol=1e-9) for a, b in zip(found, mean, strict=True))


def test_every_turn_steps_as_often_as_it_repeats(tmp_path, steps):
    """Five batches are three steps: in each the adversary three times, then the student once."""
    method = build("crcgs_published")
    student = method.stages[2]
    sizes = {
        t.name: sum(p.numel() for g in method.parameters_of(student, t).values() for p in g) for t in student.turns
    }
    run(method, tmp_path, count=20, accumulate=2)
    taken = [name for _, _, size in steps for name, own in sizes.items() if own == size]
    assert taken == ["adversary", "adversary", "adversary", "student"] * 3


def test_rates_follow_steps(tmp_path, steps):
    """Two epochs of five batches, two a step: six steps."""
    run(build("contrastive"), tmp_path, count=20, accumulate=2, epochs=2, schedule="cosine", warmup=3)
    expected = [1e-3 * min(1, (n + 1) / 3) * (1 + math.cos(math.pi * n / 6)) / 2 for n in range(6)]
    assert [rate for _, rate, _ in steps[:6]] == pytest.approx(expected)


def test_a_clipped_step_clips_the_mean(tmp_path, steps):
    run(build("contrastive", dropout=False), tmp_path, count=8, accumulate=2, lr=1e-30, clip=1e-2)
    norm = torch.stack([g.norm() for g in steps[0][0]]).norm()
    assert float(norm) == pytest.approx(1e-2, rel=1e-4)


def test_logged_losses_are_means_over_batches(tmp_path):
    import json

    logs = []
    for accumulate in (1, 2):
        folder = tmp_path / str(accumulate)
        run(build("dscmr", dropout=False), folder, count=11, accumulate=accumulate, lr=1e-30)
        logs.append(json.loads((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[0])["losses"])
    assert logs[0] == pytest.approx(logs[1], abs=1e-6)


PLACES = {
    "contrastive": (0, 1, 2),
    "crcgs": (2, 0, 1),
    "crcgs_published": (2, 1, 1),
    "dcmh": (0, 1, 2),
    "dscmr": (0, 1, 1),
}


@pytest.mark.parametrize("name", METHODS)
def test_broken_off_within_an_epoch_and_resumed_gives_equal_weights(name, tmp_path, monkeypatch):
    """Five batches, two a step: the checkpoint after any step, the last and shorter one included, is enough."""
    settings = {"count": 20, "accumulate": 2, "chunk": 3, "epochs": 2, "schedule": "cosine", "clip": 1.0}
    save, at = loop.save_checkpoint, PLACES.get(name, (0, 1, 2))

    def ends(path, model, optimizers, progress):
        save(path, model, optimizers, progress)
        if (progress.stage, progress.epoch, progress.step) == at:
            raise OSError("killed here")

    def how(folder):
        return Fit(folder, device="cpu", quiet=True, checkpoint_steps=1)

    broken = tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", ends)
        with pytest.raises(OSError, match="killed here"):
            run(build(name), broken, how=how(broken), **settings)
    torch.manual_seed(random_state(7))  # whatever was drawn before
    found = run(build(name), broken, how=how(broken), resume=True, **settings)
    whole = run(build(name), tmp_path / "whole", how=how(tmp_path / "whole"), **settings)
    assert all(torch.equal(found[key], whole[key]) for key in whole)
    progress = read_arrays(broken / "last.safetensors", kind="hashret.checkpoint/1")[1]["progress"]
    assert progress["stage"] == len(METHODS[name].stages)

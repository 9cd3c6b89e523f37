"""Gradient caching gives the gradients of encoding with gradient, a chunk at a time and all at once."""

import pytest
import torch
from learning_encoders import ITEMS, batch, build, pairs, read_single, run, stages_that_learn
from torch import nn

from hashret.errors import TrainingError
from hashret.methods import METHODS, StageSettings
from hashret.models import Features
from hashret.training import Fit, PairTable, fit
from hashret.training.encoders import encoders_as_trained
from hashret.training.gradient_cache import chunked, refuse_batch_statistics

every_stage = pytest.mark.parametrize(
    ("name", "stage"), stages_that_learn(), ids=lambda part: part if isinstance(part, str) else part.name
)


def in_parts(encode, chunk):
    """The oracle: chunks encoded one after the other, each with its graph."""

    def run(x, mask):
        parts = [
            encode(x[i : i + chunk], None if mask is None else mask[i : i + chunk]) for i in range(0, len(x), chunk)
        ]
        tokens = [part.tokens for part in parts if part.tokens is not None]
        masks = [part.mask for part in parts if part.mask is not None]
        return Features(
            torch.cat([part.pooled for part in parts]), torch.cat(tokens) if tokens else None,
            torch.cat(masks) if masks else None,
        )  # fmt: skip

    return run


def gradients(method, stage, *, seed=5):
    """Of each turn's own parameters, one turn after the other on one batch."""
    given = batch(method, stage)
    if name_of(method) == "crcgs":
        method.get_buffer("taught").fill_(True)
    method.memory = {}
    method.prepare(stage)
    torch.manual_seed(seed)
    found = []
    for turn in stage.turns:
        own = [p for group in method.parameters_of(stage, turn).values() for p in group]
        for parameter in own:
            parameter.grad = None
        torch.stack(list(method.losses(given, stage, turn).values())).sum().backward(inputs=own)
        found += [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in own]
    return found


def name_of(method):
    return next(name for name, kind in METHODS.items() if type(method) is kind)


def close(found, expected, name=""):
    exact = {"rtol": 1e-5, "atol": 1e-7} if name == "dcmh" else {"rtol": 1e-7, "atol": 1e-9}  # it computes in float32
    return all(torch.allclose(a, b, **exact) for a, b in zip(found, expected, strict=True))


def with_cache(name, stage, chunk, *, dropout):
    method = build(name, dropout=dropout)
    method.prepare(stage)
    with encoders_as_trained(method, chunk=chunk, compiling=False):
        return gradients(method, stage)


def without_cache(name, stage, chunk, *, dropout):
    method = build(name, dropout=dropout)
    if chunk:
        for encoder in (method.image, method.text):
            encoder.encode = in_parts(encoder.encode, chunk)
    return gradients(method, stage)


@every_stage
@pytest.mark.parametrize("chunk", [1, 3, ITEMS])
def test_without_dropout_the_gradients_are_those_of_the_whole_batch(name, stage, chunk):
    whole = without_cache(name, stage, 0, dropout=False)
    assert any(gradient.abs().max() > 1e-6 for gradient in whole)
    assert close(with_cache(name, stage, chunk, dropout=False), whole, name)


@every_stage
def test_with_dropout_the_gradients_are_those_of_chunks(name, stage):
    """Both passes of a chunk draw the same; else the gradient would be of no loss."""
    assert close(with_cache(name, stage, 3, dropout=True), without_cache(name, stage, 3, dropout=True), name)


def test_dropout_is_on_there():
    stage = METHODS["contrastive"].stages[0]
    assert not close(with_cache("contrastive", stage, 3, dropout=True), with_cache("contrastive", stage, 3, dropout=0))


class Logged(torch.autograd.Function):
    log: list[str] = []

    @staticmethod
    def forward(ctx, x):
        Logged.log.append(f"encode {len(x)}")
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        Logged.log.append(f"back {len(x)}")
        return 2 * x * gradient


def test_one_chunk_is_held_at_a_time():
    """Each chunk is encoded again and sends its gradient back before another one is."""
    Logged.log = []
    weight = torch.ones(4, requires_grad=True)
    encode = chunked(lambda x, mask: Features(Logged.apply(x * weight)), 2)
    encode(torch.rand(5, 4), None).pooled.logsumexp(0).sum().backward()
    assert Logged.log[:3] == ["encode 2", "encode 2", "encode 1"]
    assert Logged.log[3:] == ["encode 1", "back 1", "encode 2", "back 2", "encode 2", "back 2"]


def test_the_backward_pass_leaves_the_random_state_alone():
    drop = nn.Dropout(0.5)
    weight = torch.ones(4, requires_grad=True)
    features = chunked(lambda x, mask: Features(drop(x * weight)), 2)(torch.rand(5, 4), None).pooled
    before = torch.get_rng_state()
    features.sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


def test_tokens_are_kept_where_a_method_reads_them():
    encoder = build("contrastive", dropout=False).text
    ids = torch.randint(2, 9, (5, 4))
    whole = encoder.encode(ids, ids > 0)
    parts = chunked(encoder.encode, 2, tokens=True)(ids, ids > 0)
    assert torch.allclose(parts.pooled, whole.pooled)
    assert torch.allclose(parts.tokens, whole.tokens)
    assert torch.equal(parts.mask, whole.mask)
    assert chunked(encoder.encode, 2)(ids, ids > 0).tokens is None


def test_only_encoders_that_learn_and_only_with_gradient():
    method = build("contrastive")
    for stage, replaced in zip(method.stages, (True, False), strict=True):
        method.prepare(stage)
        with encoders_as_trained(method, chunk=2, compiling=False):
            assert ("encode" in vars(method.text)) is ("encode" in vars(method.image)) is replaced
        assert "encode" not in vars(method.text)
    method.image.requires_grad_(False)
    method.prepare(method.stages[0])
    sizes = []
    method.text.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    method.text.layers.register_forward_pre_hook(lambda module, args: sizes.append(-len(args[0])))
    ids = torch.ones(5, 3, dtype=torch.int64)
    method.text.requires_grad_(True)
    with encoders_as_trained(method, chunk=2, compiling=False):
        with torch.no_grad():
            method.text(ids, ids > 0)
        assert sizes == [5, -5], "validation sees no chunks"
        method.text(ids, ids > 0)
    assert sizes[2:] == [5, -2, -2, -1]


def test_batch_normalisation_that_learns_is_refused(tmp_path):
    method = build("contrastive", norms_learn=True, double=False)
    settings = {stage.name: StageSettings(epochs=1, batch_size=4, chunk=2) for stage in method.stages}
    with pytest.raises(TrainingError, match=r"stages\.embedding\.chunk: .*SmallCNN, in which layers\.1 is a BatchNorm"):
        fit(method, PairTable(pairs(), read_single), settings, Fit(tmp_path, device="cpu", quiet=True),
            lambda method, stage: 0.0, resume=False)  # fmt: skip
    assert list(tmp_path.iterdir()) == []
    refuse_batch_statistics(method, method.stages[1], key="chunk", remedy="")  # the hash layer alone learns there
    refuse_batch_statistics(
        build("contrastive"), method.stages[0], key="chunk", remedy=""
    )  # these use running statistics


@pytest.mark.parametrize("name", METHODS)
def test_two_steps_of_every_stage_end_in_the_same_weights(name, tmp_path):
    fresh = build(name, dropout=False).state_dict()
    whole = run(build(name, dropout=False), tmp_path / "whole")
    parts = run(build(name, dropout=False), tmp_path / "parts", chunk=3)
    assert all(torch.allclose(parts[key].double(), whole[key].double(), atol=1e-6) for key in whole)
    stood = torch.allclose(fresh["text.words.weight"], whole["text.words.weight"], atol=1e-4)
    assert stood != METHODS[name].reads_texts

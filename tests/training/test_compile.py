"""Compiled encoders learn the same, under the same names, and are themselves again when codes are made."""

import functools

import pytest
import torch
import torch._inductor.config
from learning_encoders import build, run

from hashret.errors import InputError, TrainingError
from hashret.models import Features
from hashret.training import Fit
from hashret.training.encoders import compiled, encoders_as_trained

IDS = torch.tensor([[2, 3, 4], [5, 6, 0], [7, 0, 0], [8, 9, 0], [3, 0, 0]])


def through(monkeypatch, backend):
    """Trace as always, and hand the traced graphs to another backend than the C++ compiler."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    torch._dynamo.reset()


def test_weights_are_those_without_and_keep_their_names(tmp_path, monkeypatch):
    traced = []

    def backend(graph, inputs):
        traced.append(graph)
        return graph.forward

    through(monkeypatch, backend)
    plain = run(build("contrastive", dropout=False), tmp_path / "plain")
    assert not traced
    how = Fit(tmp_path / "compiled", device="cpu", quiet=True, compile=True)
    method = build("contrastive", dropout=False)
    weights = run(method, tmp_path / "compiled", how=how)
    assert traced
    assert list(weights) == list(plain)
    assert all(torch.allclose(weights[key], plain[key], atol=1e-6) for key in plain)
    assert "encode" not in vars(method.text)


def test_codes_do_not_come_from_compiled_networks(monkeypatch):
    through(monkeypatch, "inductor")  # it would need a minute, and is not called
    method = build("contrastive")
    method.prepare(method.stages[0])
    with encoders_as_trained(method, chunk=0, compiling=True), torch.no_grad():
        assert method.text(IDS, IDS > 0).pooled.shape == (5, 8)


@pytest.mark.slow
def test_both_passes_of_a_chunk_are_compiled_alike(monkeypatch):
    """Dropout included, for whole and shorter chunks; the oracle encodes chunks with their graphs."""
    through(monkeypatch, "aot_eager")  # it draws through the random state, as the compiler's own code does
    found = []
    for cached in (True, False):
        method = build("contrastive")
        method.prepare(method.stages[0])
        torch.manual_seed(3)
        with encoders_as_trained(method, chunk=2 if cached else 0, compiling=True):
            rows = [slice(None)] if cached else [slice(0, 2), slice(2, 4), slice(4, 5)]
            pooled = torch.cat([method.text(IDS[some], IDS[some] > 0).pooled for some in rows])
            pooled.logsumexp(0).sum().backward()
        found.append([p.grad for p in method.text.parameters()])
    assert all(torch.allclose(a, b) for a, b in zip(*found, strict=True))


def test_what_cannot_be_compiled_is_named(monkeypatch):
    def backend(graph, inputs):
        raise RuntimeError("no such compiler")

    through(monkeypatch, backend)
    with pytest.raises(TrainingError, match=r"training\.compile: .*no such compiler.*Install a C\+\+ compiler"):
        compiled(lambda x, mask: Features(x * 2))(torch.ones(3, 2), None)


def test_an_encoders_own_errors_stay_its_own(monkeypatch):
    through(monkeypatch, "eager")
    text = build("contrastive").text
    with pytest.raises(InputError, match="word numbers"):
        compiled(text.encode)(torch.ones(2, 3, 4), None)


@pytest.mark.slow
def test_without_a_compiler_nothing_is_trained(tmp_path, monkeypatch):
    torch._dynamo.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    how = Fit(tmp_path, device="cpu", quiet=True, compile=True)
    without = torch._inductor.config.patch({"cpp.cxx": (str(tmp_path / "none"),)})  # CXX is read once, when imported
    with without, pytest.raises(TrainingError, match=r"training\.compile: .*Install a C\+\+ compiler"):
        run(build("contrastive", double=False), tmp_path, how=how)


@pytest.mark.slow
def test_the_compiler_itself_trains_the_same(tmp_path):
    torch._dynamo.reset()
    plain = run(build("contrastive", dropout=False), tmp_path / "plain", chunk=3)
    how = Fit(tmp_path / "compiled", device="cpu", quiet=True, compile=True)
    weights = run(build("contrastive", dropout=False), tmp_path / "compiled", how=how, chunk=3)
    assert all(torch.allclose(weights[key], plain[key], atol=1e-5) for key in plain)

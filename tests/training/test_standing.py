"""What encoders that stand still for a whole stage give is kept; the weights are those of encoding every time."""

import pytest
import torch
from learning_encoders import build, run

from hashret.methods import METHODS, Method


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("options", [{}, {"copies": 2}], ids=["plain", "copies"])
def test_keeping_features_changes_no_weight(name, options, tmp_path, monkeypatch):
    options = options if name == "icone" else {}
    kept = run(build(name, **options), tmp_path / "kept", encoder_lr=0, epochs=2)
    monkeypatch.setattr(METHODS[name], "as_run", Method.as_run)
    again = run(build(name, **options), tmp_path / "again", encoder_lr=0, epochs=2)
    first = build(name, **options).state_dict()
    encoders = [key for key in again if key.startswith(("image.", "text."))]
    assert encoders
    assert all(torch.equal(again[key], first[key]) for key in encoders)
    for key, weight in again.items():
        assert torch.allclose(kept[key], weight, rtol=1e-6, atol=1e-8), key


def test_icone_encodes_no_more_often_for_more_epochs(tmp_path):
    calls = []
    for epochs in (1, 3):
        method, seen = build("icone", copies=2), []
        own = method.image.encode

        def counted(x, mask, own=own, seen=seen):
            seen.append(len(x))
            return own(x, mask)

        method.image.encode = counted
        run(method, tmp_path / str(epochs), encoder_lr=0, epochs=epochs)
        calls.append(len(seen))
    assert calls[0] == calls[1] > 0

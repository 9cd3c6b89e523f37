"""Mixed precision through accelerate, with several batches a step and in chunks."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from learning_encoders import build, run

from hashret.arrayfile import read_arrays
from hashret.errors import TrainingError
from hashret.methods import METHODS
from hashret.training import Fit, loop


def bf16(folder, **how):
    return Fit(folder, device="cpu", precision="bf16", quiet=True, **how)


@pytest.mark.parametrize("name", METHODS)
def test_bf16_computes_in_bf16_and_learns_in_float32(name, tmp_path):
    method = build(name, double=False)
    layer, weight = method.text.layers.layers[0].linear1, "text.words.weight"
    if not METHODS[name].reads_texts:
        layer, weight = method.image.layers[0], "image.layers.0.weight"
    fresh, seen = method.state_dict()[weight].clone(), set()
    layer.register_forward_hook(lambda module, args, output: seen.add((output.dtype, torch.is_grad_enabled())))
    weights = run(method, tmp_path, how=bf16(tmp_path), accumulate=2, chunk=3)
    assert (torch.bfloat16, True) in seen
    assert (torch.float32, True) not in seen
    assert (torch.bfloat16, False) not in seen, "what a stage keeps is computed in float32"
    assert all(w.dtype == torch.float32 for w in weights.values() if w.is_floating_point())
    assert all(torch.isfinite(w).all() for w in weights.values() if w.is_floating_point())
    assert not torch.equal(weights[weight], fresh)


def test_bf16_ends_near_float32_and_chunks_near_the_whole(tmp_path):
    """Steps of Adam are as long as the rate, whatever the gradient's size: most weights agree, not each."""
    moves = {}
    for name, precision, chunk in (("exact", "no", 0), ("whole", "bf16", 0), ("parts", "bf16", 3)):
        method = build("contrastive", double=False, dropout=False)
        fresh = torch.cat([p.detach().flatten() for p in method.text_head.parameters()])
        how = Fit(tmp_path / name, device="cpu", precision=precision, quiet=True)
        run(method, tmp_path / name, how=how, accumulate=2, chunk=chunk)
        moves[name] = torch.cat([p.detach().flatten() for p in method.text_head.parameters()]) - fresh
    for one, other in (("exact", "whole"), ("whole", "parts")):
        assert torch.nn.functional.cosine_similarity(moves[one], moves[other], dim=0) > 0.95
    assert not torch.equal(moves["exact"], moves["whole"])


def test_fp16_without_a_gpu_is_named(tmp_path):
    how = Fit(tmp_path, device="cpu", precision="fp16", quiet=True)
    with pytest.raises(TrainingError, match=r"training\.precision: .*device cpu.*fp16.*Set it to bf16 or no"):
        run(build("contrastive", double=False), tmp_path, how=how)


class Scaled(Accelerator):
    """An accelerator on a CPU that scales losses and unscales gradients as with fp16, and computes in bf16."""

    def __init__(self):
        super().__init__(cpu=True, mixed_precision="bf16")
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)

    @property
    def mixed_precision(self):
        return "fp16"


def test_a_scaled_loss_changes_no_step(tmp_path, monkeypatch):
    """Scales are powers of two, and grow between turns; gradients of all batches of a step have one scale."""
    settings = {"count": 12, "accumulate": 2, "chunk": 3, "clip": 0.05}
    plain = run(build("crcgs_published", double=False), tmp_path / "plain", how=bf16(tmp_path / "plain"), **settings)
    AcceleratorState._reset_state(reset_partial_state=True)
    made = Scaled()
    monkeypatch.setattr(loop, "_accelerator", lambda how: made)
    scaled = run(build("crcgs_published", double=False), tmp_path / "scaled", how=bf16(tmp_path / "scaled"), **settings)
    assert made.scaler.get_scale() > 2.0**10
    assert all(torch.equal(scaled[key], plain[key]) for key in plain)


def test_the_scale_is_in_checkpoints(tmp_path, monkeypatch):
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr(loop, "_accelerator", lambda how: Scaled())
    save = loop.save_checkpoint

    def ends(path, model, optimizers, progress):
        save(path, model, optimizers, progress)
        if progress.step == 3:
            raise OSError("killed here")

    monkeypatch.setattr(loop, "save_checkpoint", ends)
    method, how = build("contrastive", double=False), bf16(tmp_path, checkpoint_steps=1)
    with pytest.raises(OSError, match="killed here"):
        run(method, tmp_path, count=20, how=how)
    progress = read_arrays(tmp_path / "last.safetensors", kind="hashret.checkpoint/1")[1]["progress"]
    assert progress["scaler"]["scale"] == 2.0**11
    AcceleratorState._reset_state(reset_partial_state=True)
    made = Scaled()
    monkeypatch.setattr(loop, "_accelerator", lambda how: made)
    monkeypatch.setattr(loop, "save_checkpoint", lambda *args: None)
    made.scaler.load_state_dict, given = (lambda state: given.append(state)), []
    run(method, tmp_path, count=20, how=how, resume=True)
    assert given == [progress["scaler"]]

"""Edits of one image, or of one group, stand in one batch of the training loop, where a stage asks for it."""

import numpy as np
import pytest
import torch

from hashret.examples import Example, Pair
from hashret.methods import METHODS
from hashret.methods.method import StageSettings
from hashret.models import Processor, VectorEncoder
from hashret.training import Fit, PairTable, fit


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("together", ["any", "image", "group"])
def test_the_loop_makes_batches_as_the_stage_says(tmp_path, monkeypatch, together, grouped):
    torch.manual_seed(0)
    drawn = np.random.default_rng(0)
    references = list(drawn.normal(size=(12, 4)).astype(np.float32))
    pairs = [
        Pair(
            Example(image=references[row % 12], text=drawn.normal(size=5).astype(np.float32), key=f"q{row}"),
            Example(image=drawn.normal(size=4).astype(np.float32), key=f"t{row}"), None, row,
            row % 4 if grouped else -1,
        ) for row in range(48)
    ]  # fmt: skip
    kind = METHODS["sum"]
    image, text = VectorEncoder(dimension=4), VectorEncoder(dimension=5)
    options = kind.options(bits=8, dimension=8, width=8, hash_width=8)
    method = kind(image, text, classes=0, words=5, options=options)
    seen: list[list[int]] = []
    made = PairTable.batches

    def batches(self, stage, rows, *others):
        seen.extend(each.tolist() for each in rows)
        return made(self, stage, rows, *others)

    monkeypatch.setattr(PairTable, "batches", batches)
    table = PairTable(pairs, Processor.of(image, text))
    stages = {
        "embedding": StageSettings(epochs=2, batch_size=12, together=together),
        "codes": StageSettings(epochs=0),
    }
    how = Fit(tmp_path, device="cpu", quiet=True)
    fit(method, table, stages, how, lambda method, stage: 0.5, resume=False)
    assert len(seen) == 8
    assert sorted(seen[0] + seen[1] + seen[2] + seen[3]) == list(range(48))
    images = [len({row % 12 for row in rows}) for rows in seen]
    groups = [len({row % 4 for row in rows}) for rows in seen]
    if together == "any":
        assert min(images) > 3
        assert min(groups) > 1
    elif together == "image" or not grouped:
        assert images == [3] * 8
        assert max(groups) > 1
    else:
        assert images == [3] * 8
        assert groups == [1] * 8

"""Sixteen pairs that only learning by heart makes pairs, and a stage trained on them in every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hashret.evaluation import evaluate
from hashret.examples import Example, Pair
from hashret.methods import Method, Stage
from hashret.models import Processor
from hashret.relevance import SameInstance
from hashret.retriever import Retriever
from hashret.training import PairTable

PAIRS = 16


def noise_pairs(image_width: int, text_width: int, *, tokens: bool = False) -> list[Pair]:
    """Independent noise on both sides: vectors, or 2 to 6 tokens an item."""
    drawn = np.random.default_rng(5)

    def item(width: int) -> np.ndarray:
        shape = (int(drawn.integers(2, 7)), width) if tokens else (width,)
        return drawn.normal(size=shape).astype(np.float32)

    return [
        Pair(Example(image=item(image_width), key=f"i{n}"), Example(text=item(text_width), key=f"t{n}"), None, n)
        for n in range(PAIRS)
    ]


def train_stage(method: Method, pairs: Sequence[Pair], stage: Stage, steps: int, lr: float = 3e-3) -> None:
    """All pairs in every step."""
    table = PairTable(pairs, Processor.of(method.image, method.text))
    (rows,) = table.epoch(len(pairs), 0)
    (given,) = table.batches(Stage(stage.name, stage.turns), [rows], 1, 0)
    given.items = table.items
    method.eval()
    with torch.no_grad():
        if stage.keeps:
            given.query_fixed = method.fixed(given.query, stage, "query")
            given.target_fixed = method.fixed(given.target, stage, "target")
    method.prepare(stage)
    own = [p for group in method.parameters_of(stage, stage.turns[0]).values() for p in group]
    optimizer = torch.optim.Adam(own, lr)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.stack(list(method.losses(given, stage, stage.turns[0]).values())).sum().backward()
        optimizer.step()
    method.eval()


def hit_rates(method: Method, pairs: Sequence[Pair]) -> dict[str, float]:
    """R@1 of images asked of texts, by embeddings and by codes."""
    retriever = Retriever(method, Processor.of(method.image, method.text))
    images, texts, numbers = [p.query for p in pairs], [p.target for p in pairs], np.arange(len(pairs))
    judged = SameInstance(numbers, numbers)
    return {
        name: evaluate((run(images), run(texts)), judged, ["hit@1"])["hit@1"]
        for name, run in (("embedding", retriever.embed), ("codes", retriever.encode))
    }

"""A tiny labelled set of two views, and what a method that is trained on it through the loop finds of new items."""

import numpy as np

from hashret.evaluation import evaluate
from hashret.examples import Example, Pair
from hashret.methods import Method, StageSettings
from hashret.models import Processor
from hashret.relevance import SharedLabels
from hashret.retriever import Retriever
from hashret.training import Fit, PairTable, fit

WIDTH, KINDS = 12, 3


def labelled(seed: int, count: int) -> list[Pair]:
    """Pairs of three kinds, each a direction under noise in either view; the views differ a thousandfold in size."""
    centres = np.random.default_rng(0).normal(size=(2, KINDS, WIDTH))
    generator = np.random.default_rng(seed)
    kinds = np.arange(count) % KINDS
    noise = generator.normal(size=(2, count, WIDTH))
    images, texts = (centres[:, kinds] + noise).astype(np.float32)
    labels = np.eye(KINDS, dtype=np.uint8)[kinds]
    views = zip(images, texts / 1000, labels, strict=True)
    return [Pair(Example(image=x), Example(text=y), row, number) for number, (x, y, row) in enumerate(views)]


def found(method: Method, epochs: int, folder) -> tuple[float, float]:
    """mAP of the codes of new items against those of the training items, before and after training."""
    known, new = labelled(1, 60), labelled(2, 30)
    retriever = Retriever(method, Processor.of(method.image, method.text))
    relevance = SharedLabels(*(np.stack([pair.labels for pair in pairs]) for pairs in (new, known)))

    def score() -> float:
        there = evaluate(
            (retriever.encode([p.query for p in new]), retriever.encode([p.target for p in known])), relevance, ["map"]
        )
        back = evaluate(
            (retriever.encode([p.target for p in new]), retriever.encode([p.query for p in known])), relevance, ["map"]
        )
        return min(there["map"], back["map"])

    before = score()
    settings = {
        stage.name: StageSettings(epochs=epochs, batch_size=16, lr=3e-3, schedule="cosine") for stage in method.stages
    }
    how = Fit(folder, device="cpu", quiet=True)
    fit(method, PairTable(known, retriever.processor), settings, how, lambda method, stage: score(), resume=False)
    return before, score()

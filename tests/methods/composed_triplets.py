"""Sixteen composed queries that only learning by heart answers, and a method trained on them stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hashret.evaluation import evaluate
from hashret.examples import Example, Pair
from hashret.methods import METHODS, Method, StageSettings
from hashret.models import Processor, VectorEncoder
from hashret.relevance import SameInstance
from hashret.retriever import Retriever
from hashret.training import Fit, PairTable, Views, fit

TRIPLETS, PIXELS, WORDS = 16, 10, 12


def vectors(count: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def triplets() -> list[Pair]:
    """Four references, four texts and a target of noise for each combination: neither half of a query says which."""
    references, texts, images = vectors(4, PIXELS, 3), vectors(4, WORDS, 4), vectors(TRIPLETS, PIXELS, 5)
    return [
        Pair(Example(image=references[n // 4], text=texts[n % 4], key=f"q{n}"), Example(image=images[n], key=f"t{n}"),
             None, n)
        for n in range(TRIPLETS)
    ]  # fmt: skip


def noisy_views(pairs: Sequence[Pair], processor: Callable[[Sequence[Example]], object], copies: int) -> Views:
    """Copies of the references of vectors: a little noise on each."""
    numbers = np.arange(len(pairs)) // 4
    references = [pairs[4 * number].query.image for number in range(4)]
    noise = [vectors(4, PIXELS, 100 + copy) for copy in range(copies)]
    examples = [
        [Example(image=np.asarray(image) + 0.1 * some, key=f"r{row}") for row, (image, some) in
         enumerate(zip(references, rows, strict=True))]
        for rows in noise
    ]  # fmt: skip
    return Views(examples, [processor] * copies, numbers)


def build(name: str, *, width: int = 64, **options: object) -> Method:
    kind = METHODS[name]
    sizes = {"bits": 32, "dimension": 32, "width": 64, "hash_width": 64, "dropout": 0.0, **options}
    if "projection_width" in {field for field in kind.options.__dataclass_fields__}:
        sizes = {"projection_width": width, "hidden_width": width, "combiner_dropout": 0.0} | sizes
    image, text = VectorEncoder(dimension=PIXELS), VectorEncoder(dimension=WORDS)
    return kind(image, text, classes=0, words=WORDS, options=kind.options(**sizes))


def learn(method: Method, folder: Path, epochs: dict[str, int], lr: float = 3e-3) -> Retriever:
    """All triplets in every step, through the loop; validation is of no interest and keeps the last epoch."""
    pairs, processor = triplets(), Processor.of(method.image, method.text)
    views = noisy_views(pairs, processor, method.copies) if method.augmentation else None
    settings = {
        stage.name: StageSettings(epochs=epochs.get(stage.name, 0), batch_size=TRIPLETS, lr=lr, betas=(0.9, 0.999))
        for stage in method.stages
    }
    scores = iter(range(10**6))
    fit(method, PairTable(pairs, processor, views), settings, Fit(folder, device="cpu", quiet=True),
        lambda method, stage: float(next(scores)), resume=False)  # fmt: skip
    return Retriever(method, processor)


def hits(retriever: Retriever) -> dict[str, float]:
    """R@1 of the queries by embeddings and by codes, both by what a library user calls."""
    pairs = triplets()
    images, texts = [pair.query.image for pair in pairs], [pair.query.text for pair in pairs]
    gallery, numbers = [pair.target.image for pair in pairs], np.arange(TRIPLETS)
    judged = SameInstance(numbers, numbers)
    rankings = {
        "embedding": (retriever.embed_queries(images, texts), retriever.embed_images(gallery)),
        "codes": (retriever.encode_queries(images, texts), retriever.encode_images(gallery)),
    }
    return {name: evaluate(sides, judged, ["hit@1"])["hit@1"] for name, sides in rankings.items()}

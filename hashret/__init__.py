"""hashret: images, texts and image+text queries as binary codes, ranked by exact Hamming distance.

The public names are loaded when they are first used, so that ``import hashret`` loads no torch::

    from hashret import Retriever, HammingIndex, evaluate, SharedLabels

    retriever = Retriever.from_pretrained("runs/flickr8k")
    index = HammingIndex(retriever.bits)
    index.add(retriever.encode_images(paths))
    distances, ids = index.search(retriever.encode_texts(["a dog runs through the snow"]), k=10)
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Codes": "hashret.codes",
    "EmbeddingStore": "hashret.search",
    "Example": "hashret.examples",
    "HammingIndex": "hashret.search",
    "HashretError": "hashret.errors",
    "Hits": "hashret.search",
    "Pair": "hashret.examples",
    "Relevance": "hashret.relevance",
    "RetrievalDataset": "hashret.examples",
    "Retriever": "hashret.retriever",
    "SameInstance": "hashret.relevance",
    "Scored": "hashret.search",
    "Scores": "hashret.evaluation",
    "SharedLabels": "hashret.relevance",
    "Targets": "hashret.relevance",
    "Task": "hashret.examples",
    "TokenStore": "hashret.search",
    "Tokens": "hashret.search",
    "binarize": "hashret.codes",
    "evaluate": "hashret.evaluation",
    "exhaustive": "hashret.search",
    "late_scores": "hashret.search",
    "merge": "hashret.search",
    "nearest": "hashret.search",
    "open_store": "hashret.stores",
    "read_recipe": "hashret.pipeline",
    "rerank": "hashret.search",
    "rerank_tokens": "hashret.search",
    "train": "hashret.pipeline",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hashret' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*globals(), *_HOMES])

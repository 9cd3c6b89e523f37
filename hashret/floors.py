"""Floors: what any result must be seen beside: random codes, the untrained network, sign of CCA at the same length.

Each gives codes for examples, as a trained retriever does. None of them learns from labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hashret.codes import Codes, binarize
from hashret.examples import Example, Pair
from hashret.hashers import CCASign
from hashret.images import open_image
from hashret.models import Inputs
from hashret.retriever import Retriever, build_method
from hashret.training.pairs import distinct

__all__ = ["Encode", "cca_codes", "random_codes", "untrained"]

Encode = Callable[[Sequence[Example]], Codes]
THUMBNAIL = 16


def random_codes(bits: int, seed: int) -> Encode:
    """Codes of independent fair coins: what a ranking by chance scores."""
    generator = np.random.default_rng(seed)
    return lambda examples: binarize(generator.random((len(examples), bits)) - 0.5)


def untrained(retriever: Retriever, seed: int) -> Encode:
    """The same architecture with fresh weights; a pretrained encoder keeps its own, which no training here gave it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method = build_method(retriever.config())
    for name in ("image", "text"):
        trained = getattr(retriever.method, name)
        if trained.pretrained:
            getattr(method, name).load_state_dict(trained.state_dict())
    return Retriever(method, retriever.processor, device=str(retriever.device)).encode


def cca_codes(retriever: Retriever, pairs: Sequence[Pair], bits: int, seed: int, *, frozen: bool) -> Encode:
    """Sign of CCA over what the method's towers read, fitted on the same training pairs, a row a pair.

    Args:
        retriever: Gives the pooled features of its encoders.
        pairs: Training pairs: query an image, target a text.
        bits: Width of a code.
        seed: Of the rotation.
        frozen: Whether the image encoder is; otherwise the images are 16 x 16 thumbnails, since a trained encoder's
            features would not be a baseline's.
    """

    def pooled(examples: Sequence[Example]) -> NDArray[np.float32]:
        parts, numbers = distinct(examples)  # an image stands in a pair with each of its captions
        if examples[0].image is not None and not frozen:
            return np.stack([_thumbnail(example) for example in parts])[numbers]
        return _pooled(retriever, parts)[numbers]

    hasher = CCASign(bits=bits, seed=seed)
    hasher.fit(pooled([pair.query for pair in pairs]), pooled([pair.target for pair in pairs]))

    def encode(examples: Sequence[Example]) -> Codes:
        return hasher.transform(pooled(examples), side="image" if examples[0].image is not None else "text")

    return encode


def _pooled(retriever: Retriever, examples: Sequence[Example]) -> NDArray[np.float32]:
    """The encoders' pooled features, before the method's own towers, float32 (N, D)."""
    method, parts = retriever.method, []

    def encode(inputs: Inputs) -> torch.Tensor:
        encoder, x = (method.image, inputs.image) if inputs.image is not None else (method.text, inputs.text)
        pooled: torch.Tensor = encoder(x, inputs.text_mask).pooled
        return pooled

    with torch.inference_mode():
        for start in range(0, len(examples), 256):
            parts.append(encode(retriever.processor(examples[start : start + 256]).to(retriever.device)).cpu().numpy())
    return np.concatenate(parts)


def _thumbnail(example: Example) -> NDArray[np.float32]:
    assert example.image is not None
    small = open_image(example.image).resize((THUMBNAIL, THUMBNAIL))
    return np.asarray(small, np.float32).ravel() / np.float32(255)

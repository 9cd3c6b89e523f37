"""Floors: what any result must be seen beside: random codes, the untrained network, sign of CCA at the same length.

Each gives codes for examples, as a trained retriever does; the untrained network also embeddings. None of them learns
from labels. CCA knows images and texts, no inputs that are both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hashret.codes import Codes, binarize
from hashret.examples import Example, Pair, Task
from hashret.hashers import CCASign
from hashret.images import open_image
from hashret.models import Inputs
from hashret.retriever import Retriever, build_method
from hashret.training.pairs import distinct

__all__ = ["Encode", "cca_codes", "no_cca", "random_codes", "untrained", "untrained_retriever"]

Encode = Callable[[Sequence[Example]], Codes]
THUMBNAIL = 16


def random_codes(bits: int, seed: int) -> Encode:
    """Codes of independent fair coins: what a ranking by chance scores."""
    generator = np.random.default_rng(seed)
    return lambda examples: binarize(generator.random((len(examples), bits)) - 0.5)


def untrained(retriever: Retriever, seed: int) -> Encode:
    """Codes of the same architecture with fresh weights; see :func:`untrained_retriever`."""
    return untrained_retriever(retriever, seed).encode


def untrained_retriever(retriever: Retriever, seed: int) -> Retriever:
    """The same architecture with fresh weights; a pretrained encoder keeps the weights that it has now.

    A frozen one has those it came with, which no training here gave it. One that was trained on has not: what is
    measured then is fresh heads on the trained encoder, and must be called so.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method = build_method(retriever.config())
    for name in ("image", "text"):
        trained = getattr(retriever.method, name)
        if trained.pretrained:
            getattr(method, name).load_state_dict(trained.state_dict())
    return Retriever(method, retriever.processor, device=str(retriever.device))


def no_cca(pairs: Sequence[Pair], tasks: Sequence[Task]) -> str:
    """Why :func:`cca_codes` cannot be fitted to pairs or asked of tasks, or an empty text: it can.

    Args:
        pairs: Training pairs, each side holding the same parts throughout.
        tasks: What is measured.

    Example:
        >>> no_cca([Pair(Example(image="a.jpg", text="in red"), Example(image="b.jpg"))], [])
        'it pairs images with texts, and training pairs are image and text -> image'
    """
    query, target = (_parts(side) for side in (pairs[0].query, pairs[0].target))
    if {query, target} != {"image", "text"}:
        return f"it pairs images with texts, and training pairs are {query} -> {target}"
    for task in tasks:
        if "image and text" in (_parts(task.queries[0]), _parts(task.gallery[0])):
            return f"it knows no inputs of image and text, as task {task.name} has"
    return ""


def _parts(example: Example) -> str:
    return " and ".join(name for name in ("image", "text") if getattr(example, name) is not None)


def cca_codes(retriever: Retriever, pairs: Sequence[Pair], bits: int, seed: int, *, frozen: bool) -> Encode:
    """Sign of CCA over what the method's towers read, fitted on the same training pairs, a row a pair.

    Args:
        retriever: Gives the pooled features of its encoders.
        pairs: Training pairs of an image and a text, either of which is the query.
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
    images, texts = [pair.query for pair in pairs], [pair.target for pair in pairs]
    if images[0].image is None:
        images, texts = texts, images
    hasher.fit(pooled(images), pooled(texts))

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

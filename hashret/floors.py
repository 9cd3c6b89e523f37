"""Floors: what any result must be seen beside: random codes, the untrained network, sign of CCA at the same length.

Each gives codes for examples, as a trained retriever does, and fused codes of items of which both sides are there; the
untrained network also embeddings. None of them learns from labels. CCA knows images and texts, no composed inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hashret.codes import Codes, binarize
from hashret.examples import Example, Pair, Task
from hashret.images import open_image
from hashret.models import Inputs
from hashret.regions import RegionFiles
from hashret.retriever import Retriever, build_method
from hashret.training.pairs import distinct

if TYPE_CHECKING:
    from hashret.hashers.hasher import LinearPairHasher

__all__ = [
    "Encode",
    "cca_codes",
    "fused_codes",
    "no_cca",
    "random_codes",
    "read_vectors",
    "untrained",
    "untrained_retriever",
]

THUMBNAIL = 16


class Encode(Protocol):
    """Gives codes, as :meth:`hashret.retriever.Retriever.encode` does."""

    def __call__(self, examples: Sequence[Example], partners: Sequence[Example] | None = None) -> Codes:
        """Codes of examples; with the other side of each, fused codes of their items."""


def random_codes(bits: int, seed: int) -> Encode:
    """Codes of independent fair coins: what a ranking by chance scores."""
    generator = np.random.default_rng(seed)

    def encode(examples: Sequence[Example], partners: Sequence[Example] | None = None) -> Codes:
        return binarize(generator.random((len(examples), bits)) - 0.5)

    return encode


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
        frozen: See :func:`read_vectors`.
    """
    from hashret.hashers import CCASign  # scikit-learn loads slowly, and most commands measure nothing

    images, texts = [pair.query for pair in pairs], [pair.target for pair in pairs]
    if images[0].image is None:
        images, texts = texts, images
    vectors = [read_vectors(retriever, side, frozen=frozen) for side in (images, texts)]
    hasher = CCASign(bits=bits, seed=seed).fit(*vectors)

    def encode(examples: Sequence[Example], partners: Sequence[Example] | None = None) -> Codes:
        ours = read_vectors(retriever, examples, frozen=frozen)
        pictured = examples[0].image is not None
        if partners is None:
            return hasher.transform(ours, side="image" if pictured else "text")
        theirs = read_vectors(retriever, partners, frozen=frozen)
        return fused_codes(hasher, *((ours, theirs) if pictured else (theirs, ours)))

    return encode


def fused_codes(hasher: LinearPairHasher, images: NDArray[np.float32], texts: NDArray[np.float32]) -> Codes:
    """Codes of items of which both sides are there: signs of the sum of a linear hasher's two projections.

    Args:
        hasher: A fitted one.
        images: Float (N, Dx).
        texts: Float (N, Dy); row i is of the item of row i of ``images``.
    """
    sides = ((images, hasher.image_mean_, hasher.image_weights_), (texts, hasher.text_mean_, hasher.text_weights_))
    return binarize(sum((np.asarray(x, np.float64) - mean) @ weights for x, mean, weights in sides))


def read_vectors(retriever: Retriever, examples: Sequence[Example], *, frozen: bool) -> NDArray[np.float32]:
    """What a method's own layers read of images or of texts: the encoders' pooled features, float32 (N, D).

    Args:
        retriever: Has the encoders.
        examples: All images, or all texts.
        frozen: Whether the image encoder is; otherwise images are 16 x 16 thumbnails, since a trained encoder's
            features would not be a baseline's.
    """
    parts, numbers = distinct(examples)  # an image stands in a pair with each of its captions
    if examples[0].image is not None and not frozen:
        return np.stack([_thumbnail(example) for example in parts])[numbers]
    return _pooled(retriever, parts)[numbers]


def _pooled(retriever: Retriever, examples: Sequence[Example]) -> NDArray[np.float32]:
    """The encoders' pooled features, before the method's own towers, float32 (N, D)."""
    method, parts = retriever.method, []

    def encode(inputs: Inputs) -> torch.Tensor:
        return method.pooled(inputs)

    with torch.inference_mode():
        for start in range(0, len(examples), 256):
            parts.append(encode(retriever.processor(examples[start : start + 256]).to(retriever.device)).cpu().numpy())
    return np.concatenate(parts)


def _thumbnail(example: Example) -> NDArray[np.float32]:
    assert example.image is not None
    assert not isinstance(example.image, RegionFiles)  # no encoder that is trained reads them
    small = open_image(example.image).resize((THUMBNAIL, THUMBNAIL))
    return np.asarray(small, np.float32).ravel() / np.float32(255)

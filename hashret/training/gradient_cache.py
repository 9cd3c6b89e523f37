"""Gradient caching: a batch as large as the contrast needs, encoded a few items at a time.

Gao, Zhang, Han, Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021. A
loss L of a batch sees an encoder f only through its features, so that with u_i = dL / df(x_i)

    dL / dtheta = sum over chunks c of  sum_{i in c} u_i df(x_i) / dtheta .

The chunks are encoded one after the other and what a backward pass would need is thrown away; L and all u_i follow from
the features of the whole batch; then each chunk is encoded once more, with the random state it had (dropout), and sends
its u_i back. Activations of one chunk are held at a time, for a second forward pass in time. The gradient is that of
chunks encoded without a cache; without dropout, that of the whole batch encoded at once.

It stands in the place of :meth:`Encoder.encode`. A method sees its raw inputs, bags and masks as always, calls its
encoders as always and need not know. Nothing here knows a loss, a turn or an optimiser. Networks in which an item's
features depend on its neighbours (batch normalisation in training) are refused: no chunk knows the batch's statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from hashret.errors import TrainingError
from hashret.methods.method import Method, Stage
from hashret.models.features import Encoder, Features

__all__ = ["Encode", "chunked", "learning", "refuse_batch_statistics"]

Encode = Callable[[Tensor, Tensor | None], Features]
"""Like :meth:`Encoder.encode`: what an encoder reads, (B, ...), and the mask beside token ids."""


def chunked(encode: Encode, chunk: int, *, tokens: bool = False) -> Encode:
    """Encode with gradient at most ``chunk`` items at a time, and again in the backward pass.

    Args:
        encode: Of an encoder; what it makes of an item depends on this item and chance alone.
        chunk: Items at a time, >= 1. A batch of no more is encoded as it is.
        tokens: Whether tokens and their mask are kept. They are far larger than pooled features; without, both are
            None.

    Returns:
        The same features with the same gradient; where ``encode`` draws random numbers, those of chunks.

    Example:
        >>> from hashret.models import SmallTransformer
        >>> encoder = SmallTransformer(9, dimension=4, layers=1, heads=1, length=3)
        >>> ids = torch.ones(5, 3, dtype=torch.int64)
        >>> chunked(encoder.encode, 2)(ids, ids > 0).pooled.shape
        torch.Size([5, 4])
    """

    def kept(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        features = encode(x, mask)
        return (features.pooled, features.tokens, features.mask) if tokens else (features.pooled, None, None)

    def run(x: Tensor, mask: Tensor | None) -> Features:
        if len(x) <= chunk:
            return encode(x, mask)
        some = [slice(start, start + chunk) for start in range(0, len(x), chunk)]
        masks = [None if mask is None else mask[rows] for rows in some]
        parts = [checkpoint(kept, x[rows], part, use_reentrant=False) for rows, part in zip(some, masks, strict=True)]
        pooled, *others = zip(*parts, strict=True)
        return Features(torch.cat(pooled), *(_joined(column) for column in others))

    return run


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None


def learning(method: Method) -> list[Encoder]:
    """The encoders with parameters of their own that learn in the stage the method is prepared for."""
    encoders = dict.fromkeys((method.image, method.text))
    return [encoder for encoder in encoders if any(parameter.requires_grad for parameter in encoder.parameters())]


def refuse_batch_statistics(method: Method, stage: Stage, *, key: str, remedy: str) -> None:
    """Refuse a stage that trains an encoder with batch normalisation; prepares the method for the stage.

    A batch normalisation whose weights do not learn uses its running statistics, and is no obstacle.

    Args:
        method: To be trained.
        stage: One of its stages.
        key: The setting that does not go with it, such as ``chunk``: a batch of chunks would be normalised chunk by
            chunk, and running statistics moved twice.
        remedy: How to do without it.

    Raises:
        TrainingError: There is such an encoder.
    """
    method.prepare(stage)
    for encoder in learning(method):
        for name, part in encoder.named_modules():
            if isinstance(part, _BatchNorm) and part.training:
                raise TrainingError(
                    key,
                    expected="encoders that look at each item by itself",
                    got=f"{type(encoder).__name__}, in which {name} is a {type(part).__name__} that learns",
                    remedy=f"{remedy}, freeze this encoder, or take one without batch normalisation (CLIP, ViT).",
                )

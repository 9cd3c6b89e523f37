"""The instance loss: every image with its captions is a class of its own, told by one classifier that both sides share.

Zheng et al., "Dual-Path Convolutional Image-Text Embeddings with Instance Loss", TOMM 2020: L = -log softmax(W^T f)[c],
of images and of texts with the same W, so that the modalities meet in it. Here features, and if asked the rows of W,
have length 1, so that the scale means the same whatever the encoders give. The classifier is the caller's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["instance"]


def instance(
    features: Tensor, classifier: Tensor, number: Tensor, *, scale: Tensor | float, normalized: bool = True
) -> Tensor:
    """Tell each item's instance among all of the training set: -1/B sum_i log softmax_k(scale * <f_i, w_k>)[c_i].

    Args:
        features: f, (B, D), of images or of texts; brought to length 1.
        classifier: W, (instances, D), one row each.
        number: c, which instance each item is of: whole numbers (B,), 0 ... instances - 1.
        scale: > 0.
        normalized: Whether the rows of W are brought to length 1 too, so that all instances are alike.

    Returns:
        A scalar, >= 0.
    """
    with torch.autocast(features.device.type, enabled=False):
        f, w = (part if part.dtype == torch.float64 else part.float() for part in (features, classifier))
        logits = scale * functional.linear(
            functional.normalize(f, dim=1), functional.normalize(w, dim=1) if normalized else w
        )
    return functional.cross_entropy(logits, number.long())

"""Support-set regularisation: an item should be expressible by the other modality of items that share its labels.

Inspired by support-set bottlenecks (Patrick et al., ICLR 2021); the form is CRCGS's, where labels define the set and
shared labels count with multiplicity.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["support_set"]


def support_set(a: Tensor, b: Tensor, labels: Tensor, *, temperature: float, include_self: bool) -> Tensor:
    """Negative log of the mean cosine between items and their reconstructions from the other modality's support sets.

    sup_i = sum_j c_ij e^{cos(a_i, b_j)/tau} b_j / sum_j c_ij e^{cos(a_i, b_j)/tau} with c_ij = y_i . y_j, and the same
    with a and b exchanged; L = -log 1/2 [mean_i cos(a_i, sup_i) + mean_i cos(b_i, sup'_i)] (METHODS 1.3 (5)). One log
    of the batch mean; gradients flow through attention and values.

    Args:
        a: Features (B, D) of one modality.
        b: Features (B, D) of the same items in the other.
        labels: Multi-hot (B, C).
        temperature: tau > 0.
        include_self: Whether an item stands in its own set, as in CRCGS's released code, where it is the likeliest
            answer and makes the task near-trivial; without it the set is of others, as in Patrick et al.

    Returns:
        A scalar. Items whose set is empty (no labels, or no other item shares one) take no part; where no item has a
        set the loss is 0. The mean cosine is held at 1e-6 or more, where its log would not be a number.
    """
    counts = labels.float() @ labels.float().T
    if not include_self:
        counts = counts * (1 - torch.eye(len(counts), device=counts.device))
    supported = counts.sum(1) > 0
    if not supported.any():
        return (a.sum() + b.sum()) * 0.0
    cosine = functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T
    weight = counts.log()  # log 0 = -inf leaves the item out of the softmax
    of_a = functional.cosine_similarity(a, _attend(cosine, weight, b, supported, temperature), dim=1)
    of_b = functional.cosine_similarity(b, _attend(cosine.T, weight, a, supported, temperature), dim=1)
    mean = (of_a[supported].mean() + of_b[supported].mean()) / 2
    return -mean.clamp(min=1e-6).log()


def _attend(cosine: Tensor, weight: Tensor, values: Tensor, supported: Tensor, temperature: float) -> Tensor:
    """Average ``values`` by softmax(cosine / temperature + weight) in the supported rows; zeros elsewhere."""
    logits = torch.where(supported[:, None], cosine / temperature + weight, torch.zeros_like(cosine))
    return logits.softmax(1) @ values * supported[:, None]

"""Pairwise likelihood: similar pairs get a large inner product, dissimilar ones a small one.

The negative log-likelihood that DCMH (Jiang and Li, CVPR 2017), DSCMR (Zhen et al., CVPR 2019) and CRCGS share: on
cosines in the latter two, on inner products in DCMH.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["pair_likelihood", "product_likelihood", "similarity"]


def similarity(labels: Tensor) -> Tensor:
    """Which items of a batch are similar: those that share a label, and every item with itself.

    The diagonal is 1 also for an item without labels: its image and its text belong together all the same.

    Args:
        labels: Multi-hot (B, C).

    Returns:
        float32 (B, B) of zeros and ones.

    Example:
        >>> similarity(torch.tensor([[1, 0], [1, 1], [0, 0]])).tolist()
        [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    shared = labels.float() @ labels.float().T > 0
    return (shared | torch.eye(len(labels), dtype=torch.bool, device=labels.device)).float()


def pair_likelihood(x: Tensor, y: Tensor, similar: Tensor, *, scale: float = 0.5) -> Tensor:
    """Negative log-likelihood of the similarities given the cosines: mean over i, j of log(1 + e^theta) - s * theta.

    theta_ij = scale * cos(x_i, y_j), and P(s_ij = 1) = sigmoid(theta_ij) (METHODS: CRCGS's l(theta, s)). The published
    scale 1/2 confines P to [.38, .62], so that pairs are barely told apart; a larger one separates them.

    Args:
        x: Features (B, D).
        y: Features (B, D) of the same items in the same or the other modality.
        similar: Zeros and ones (B, B).
        scale: What the cosine is multiplied by, > 0.

    Returns:
        A scalar, >= 0.
    """
    theta = scale * functional.normalize(x, dim=1) @ functional.normalize(y, dim=1).T
    return (functional.softplus(theta) - similar * theta).mean()


def product_likelihood(x: Tensor, y: Tensor, similar: Tensor) -> Tensor:
    """Negative log-likelihood of the similarities given inner products: mean over i, j of log(1 + e^theta) - s * theta.

    theta_ij = 1/2 x_i . y_j, and P(s_ij = 1) = sigmoid(theta_ij) (DCMH, eq. 1). For codes of L bits theta is L/2 less
    their Hamming distance, so that the width of a code is the scale. DCMH's is the sum over the pairs.

    Args:
        x: Real codes (B, bits).
        y: Real codes (N, bits) of any items.
        similar: Zeros and ones (B, N).

    Returns:
        A scalar, >= 0, in float32 also under autocast.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = (side if side.dtype == torch.float64 else side.float() for side in (x, y))
        theta = x @ y.T / 2
        return (functional.softplus(theta) - similar * theta).mean()

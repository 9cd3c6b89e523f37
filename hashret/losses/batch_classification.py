"""Contrast in one direction: each query has to find its own target among those of the batch, and no target its query.

What composed retrieval trains by (Vo et al., CVPR 2019, "batch-based classification loss"; CLIP4Cir; MLCL): queries of
an image and a text ask for images, and no image asks back. The symmetric form is :func:`~hashret.losses.info_nce`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hashret.losses.info_nce import scaled_cosines

__all__ = ["batch_classification"]


def batch_classification(
    queries: Tensor, targets: Tensor, same: Tensor, *, scale: Tensor | float, wrong: Tensor | None = None
) -> Tensor:
    """Tell the target of each query from those of others, and from a wrong answer of its own where there is one.

    With s_ij = scale * cos(x_i, y_j), N_i = {j: j = i, or i and j are not the same} and w_i = scale * cos(x_i, z_i):
    L = -1/B sum_i log e^{s_ii} / (sum_{j in N_i} e^{s_ij} [+ e^{w_i}]) (Vo et al., eq. 5; w is this library's).

    Args:
        queries: x, features (B, D).
        targets: y, features (B, D) of the same pairs.
        same: (B, B), nonzero where target j is no wrong answer to query i; the diagonal is not read. Zeros take all
            others of the batch for wrong, as published codes do.
        scale: 1 / temperature, > 0; a learnable one is a tensor.
        wrong: z, features (B, D): row i is one more wrong answer to query i and to no other.

    Returns:
        A scalar, in [0, log(B + 1) + 2 * scale].

    Example:
        >>> x = torch.eye(2)
        >>> round(float(batch_classification(x, x, torch.zeros(2, 2), scale=1.0)), 4)
        0.3133
    """
    logits = scaled_cosines(queries, targets, scale)
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill((same != 0) & ~own, -torch.inf)
    if wrong is not None:
        logits = torch.cat([logits, scaled_cosines(queries, wrong, scale).diagonal()[:, None]], dim=1)
    return functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))

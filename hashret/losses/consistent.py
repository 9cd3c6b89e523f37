"""Consistency of the two modalities: what two images are to each other, their texts are too.

The intra-modal part of the Consistent Multimodal Contrastive loss of TGDT (Liu et al., TIP 2023), whose inter-modal
part is :func:`~hashret.losses.triplet` on global and on local scores.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["consistency"]


def consistency(queries: Tensor, targets: Tensor, *, margin: float) -> Tensor:
    """Draw the cosines within one modality to those within the other, where they differ most.

    L = sum_j [ max_i |cos(u_i, u_j) - cos(t_i, t_j)| - margin ]_+.

    Args:
        queries: u, (B, D), usually of images.
        targets: t, (B, D') of the same pairs.
        margin: What a difference may be, >= 0 (0.3 in the paper's code).

    Returns:
        A scalar, >= 0: the sum over the batch.
    """
    u, t = (functional.normalize(side, dim=1) for side in (queries, targets))
    difference = (u @ u.T - t @ t.T).abs()
    return (difference.amax(0) - margin).clamp(min=0).sum()

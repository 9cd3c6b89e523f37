"""The local score of an image and a text: each word finds the region it goes best with.

Max over regions, sum over words (MrSw; TERAN, TOMM 2021, and TGDT, TIP 2023; the same as ColBERT's late interaction).
Here for whole batches with gradients; :mod:`hashret.search` ranks by it without torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["aligned", "pairwise_aligned"]


def aligned(regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor) -> Tensor:
    """Scores of every image with every text: S_ij = sum_{w in text j} max_{r in image i} <v_r, l_w>.

    Masked regions are not looked at and masked words count for nothing. (The papers' code sets their products to 0
    before the maximum, by which the filling of a batch can win over regions that all disagree with a word.)

    Args:
        regions: (B, R, D).
        words: (N, W, D).
        region_mask: bool (B, R), at least one True a row.
        word_mask: bool (N, W).

    Returns:
        (B, N).

    Example:
        >>> regions, words = torch.eye(2)[None], torch.tensor([[[2.0, 1.0], [0.0, 3.0]]])
        >>> aligned(regions, words, torch.tensor([[True, True]]), torch.tensor([[True, True]]))
        tensor([[5.]])
    """
    products = torch.einsum("brd,nwd->bnwr", regions, words)
    best = products.masked_fill(~region_mask[:, None, None, :], -torch.inf).amax(3)
    return best.masked_fill(~word_mask[None], 0).sum(2)


def pairwise_aligned(regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor) -> Tensor:
    """Scores (B,) of each image with the text in the same row; see :func:`aligned`, whose diagonal they are."""
    products = torch.einsum("brd,bwd->bwr", regions, words)
    best = products.masked_fill(~region_mask[:, None, :], -torch.inf).amax(2)
    return best.masked_fill(~word_mask, 0).sum(1)

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
    # One product of matrices, regions down and words across, and the maximum down the columns: nothing is transposed,
    # words that are none cost nothing, and backwards only the winners are written to.
    text, _ = torch.nonzero(word_mask, as_tuple=True)
    products = (regions.flatten(0, 1) @ words[word_mask].T).view(*region_mask.shape, len(text))
    best = products.masked_fill(~region_mask[:, :, None], -torch.inf).max(1).values
    owned = text[:, None] == torch.arange(len(words), device=text.device)
    with torch.autocast(best.device.type, enabled=False):  # sums of scores, whose digits rank
        best = best if best.dtype == torch.float64 else best.float()
        return best @ owned.to(best.dtype)


def pairwise_aligned(regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor) -> Tensor:
    """Scores (B,) of each image with the text in the same row; see :func:`aligned`, whose diagonal they are."""
    products = torch.einsum("brd,bwd->bwr", regions, words)
    best = products.masked_fill(~region_mask[:, None, :], -torch.inf).amax(2)
    return best.masked_fill(~word_mask, 0).sum(1)

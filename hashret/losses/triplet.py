"""The triplet loss of image-text matching: a pair's score exceeds those of its negatives by a margin.

Hinge over the hardest negative of the batch (Faghri et al., VSE++, BMVC 2018), or over all. It takes the scores, so
that cosines of global embeddings and sums over aligned words are compared alike (TGDT, TIP 2023). Whoever is nobody's
negative, such as another caption of the same image, is an argument.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Negatives", "triplet"]

Negatives = Literal["hardest", "all"]


def triplet(scores: Tensor, same: Tensor, *, margin: float, negatives: Negatives = "hardest") -> Tensor:
    """Push each pair's score above those of its negatives, in both directions.

    With N_i = {j != i that are not the same as i} and [x]_+ = max(x, 0), for the hardest:
    L = sum_i [margin + max_{j in N_i} S_ij - S_ii]_+ + sum_j [margin + max_{i in N_j} S_ij - S_jj]_+; for all, the sum
    over N_i stands in the place of the maximum, outside of the hinge.

    Args:
        scores: S, (B, B), queries by targets; the pairs are on the diagonal.
        same: (B, B), nonzero where two pairs must not be each other's negatives; symmetric, the diagonal is not read.
        margin: >= 0.
        negatives: Which count.

    Returns:
        A scalar, >= 0: the sum over the batch, 0 for items without a negative.
    """
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    barred = (same != 0) | own
    wrong = scores.masked_fill(barred, -torch.inf)
    right = scores.diagonal()
    if negatives == "hardest":
        worse = [wrong.amax(1) - right, wrong.amax(0) - right]
    else:
        worse = [wrong - right[:, None], wrong - right[None, :]]
    return torch.stack([(margin + part).clamp(min=0).sum() for part in worse]).sum()

"""Who is whose neighbour: codes keep the order in which the features of a batch stand around each other.

Of two similarities only which is larger matters to a ranking, and most of all among the largest. So each item's
similarities become a distribution over the batch, whose mass lies on its neighbours, and the codes' has to be the same:
probabilistic knowledge transfer (Passalis and Tefas, ECCV 2018) from features to their codes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["neighbours", "neighbours_of_scores"]


def neighbours(features: Tensor, relaxed: Tensor, *, scale: float) -> Tensor:
    """Mean divergence between the neighbourhoods of features and of their codes.

    With p_i = softmax_j(scale * cos(c_i, c_j)) and q_i = softmax_j(scale * cos(h_i, h_j)), i itself among the j:
    L = 1/B sum_i KL(p_i || q_i).

    Args:
        features: c (B, D).
        relaxed: h (B, bits), the codes of the same items.
        scale: > 0; the larger, the more the nearest alone count.

    Returns:
        A scalar, in [0, 2 * scale], 0 where the cosines are equal; in float32 also under autocast.

    Example:
        >>> float(neighbours(torch.eye(3), torch.eye(3), scale=5.0))
        0.0
    """
    return neighbours_of_scores(*(_cosines(rows, scale) for rows in (features, relaxed)))


def neighbours_of_scores(wanted: Tensor, have: Tensor) -> Tensor:
    """The same divergence of scores between two sets, such as queries and the items that they ask for.

    With p_i = softmax_j(wanted_ij) and q_i = softmax_j(have_ij): L = 1/B sum_i KL(p_i || q_i).

    Args:
        wanted: Scores (B, N) of what is to be kept, already divided by their temperature.
        have: Scores (B, N) of the codes, divided by theirs.

    Returns:
        A scalar, >= 0, 0 where each row differs by a constant only.

    Example:
        >>> float(neighbours_of_scores(torch.eye(2), torch.eye(2) + 1))
        0.0
    """
    return functional.kl_div(have.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean")


def _cosines(rows: Tensor, scale: float) -> Tensor:
    """Scaled cosines of all rows with all, (B, B), in float32 also under autocast."""
    with torch.autocast(rows.device.type, enabled=False):
        unit = functional.normalize(rows if rows.dtype == torch.float64 else rows.float(), dim=1)
        return scale * unit @ unit.T

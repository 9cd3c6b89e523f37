"""Contrast within a batch by softmax: each query has to find its own target among all of the batch, and back.

InfoNCE (van den Oord et al., 2018) in the symmetric form of CLIP (Radford et al., ICML 2021), and its supervised kin
(Khosla et al., NeurIPS 2020), in which whatever shares a label is a right answer. Who is nobody's negative is an
argument: a caption that two images share must not be pushed away from either. Nothing here holds a temperature or
gathers other processes' batches.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["equal_rows", "info_nce", "info_nce_of_scores", "scaled_cosines", "supervised_contrast"]


def equal_rows(rows: Tensor) -> Tensor:
    """Which rows of a tensor are equal in every value.

    Args:
        rows: (B,) or (B, ...), B >= 1, of any dtype.

    Returns:
        bool (B, B); the diagonal is True.

    Example:
        >>> equal_rows(torch.tensor([[1, 2], [3, 4], [1, 2]])).int().tolist()
        [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    """
    _, number = torch.unique(rows.reshape(len(rows), -1), dim=0, return_inverse=True)
    return torch.eq(number[:, None], number[None, :])


def info_nce(queries: Tensor, targets: Tensor, same: Tensor, *, scale: Tensor | float) -> Tensor:
    """Tell the target of each query from those of others, and the query of each target likewise.

    With s_ij = scale * cos(x_i, y_j) and N_i = {j: j = i, or i and j are not the same}:
    L = -1/2B sum_i [ log e^{s_ii} / sum_{j in N_i} e^{s_ij} + log e^{s_ii} / sum_{j in N_i} e^{s_ji} ].

    Args:
        queries: x, features (B, D).
        targets: y, features (B, D) of the same pairs.
        same: (B, B), nonzero where two pairs must not be each other's negatives; symmetric, the diagonal is not read.
        scale: 1 / temperature, > 0; a learnable one is a tensor.

    Returns:
        A scalar, in [0, log B + 2 * scale].
    """
    return info_nce_of_scores(scaled_cosines(queries, targets, scale), same)


def info_nce_of_scores(scores: Tensor, same: Tensor) -> Tensor:
    """:func:`info_nce` of scores that are no cosines, such as those of a late interaction.

    Args:
        scores: s_ij of query i and target j, (B, B), already divided by the temperature.
        same: As there.

    Returns:
        A scalar, >= 0.

    Example:
        >>> round(info_nce_of_scores(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.eye(2)).item(), 4)
        0.1269
    """
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    logits = scores.masked_fill((same != 0) & ~own, -torch.inf)
    matching = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, matching) + functional.cross_entropy(logits.T, matching)) / 2


def supervised_contrast(queries: Tensor, targets: Tensor, positive: Tensor, *, scale: Tensor | float) -> Tensor:
    """Draw every query to all targets it is right with, and every target to all such queries.

    With s_ij = scale * cos(x_i, y_j) and P_i = {i} and all j that are positive for i:
    L = -1/2B sum_i 1/|P_i| sum_{p in P_i} [ log e^{s_ip} / sum_j e^{s_ij} + log e^{s_pi} / sum_j e^{s_ji} ], the sum
    over positives outside of the log (Khosla et al., eq. 2), across modalities.

    Args:
        queries: x, features (B, D).
        targets: y, features (B, D) of the same pairs.
        positive: (B, B), nonzero where query and target are right for each other, such as
            :func:`~hashret.losses.similarity` of multi-hot labels; symmetric. The diagonal counts as positive.
        scale: 1 / temperature, > 0.

    Returns:
        A scalar, >= 0; it cannot fall below the mean of log |P_i|.
    """
    logits = scaled_cosines(queries, targets, scale)
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    share = ((positive != 0) | own).to(logits.dtype)
    share = share / share.sum(1, keepdim=True)
    return -((share * logits.log_softmax(1)).sum() + (share * logits.T.log_softmax(1)).sum()) / (2 * len(logits))


def scaled_cosines(queries: Tensor, targets: Tensor, scale: Tensor | float) -> Tensor:
    """Cosines of queries (B, D) and targets (B, D), times a scale: (B, B).

    In float32 also under autocast: at scale 100 half a per cent of a cosine is half a nat.
    """
    with torch.autocast(queries.device.type, enabled=False):
        x, y = (side if side.dtype == torch.float64 else side.float() for side in (queries, targets))
        return scale * (functional.normalize(x, dim=1) @ functional.normalize(y, dim=1).T)

"""Contrast between a teacher's features and a student's: noise-contrastive estimation over a batch.

The critic is that of contrastive representation distillation (Tian et al., ICLR 2020), as CRCGS uses it between
auxiliary generative features and the student's converted ones, within a modality and across.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["noise_contrastive"]


def noise_contrastive(teacher: Tensor, student: Tensor, *, temperature: float, noise: float) -> Tensor:
    """Tell the matching pairs of a batch from all others.

    With h_ij = e^{cos(x_i, z_j)/tau} / (e^{cos(x_i, z_j)/tau} + k):
    L = -1/B [ sum_i log h_ii + sum_{i != j} log(1 - h_ij) ] (METHODS 1.3 (4); CRD eq. 19).

    Args:
        teacher: x, features (B, D).
        student: z, features (B, D) of the same items.
        temperature: tau > 0.
        noise: k > 0, the expected odds of noise: (B - 1) / N, with N the number of training items in CRD's definition.
            CRCGS's released code divides by the number of batches instead, which makes k some 80 times larger.

    Returns:
        A scalar, >= 0. B is the size of this batch, so that the last, smaller one is weighed rightly.
    """
    cosine = functional.normalize(teacher, dim=1) @ functional.normalize(student, dim=1).T
    odds = cosine / temperature - math.log(noise)  # h = sigmoid(odds)
    matching = torch.eye(len(odds), dtype=torch.bool, device=odds.device)
    return -functional.logsigmoid(torch.where(matching, odds, -odds)).sum() / len(odds)

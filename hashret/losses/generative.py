"""Objectives around generators: rebuild the other modality, pass for real, and match a teacher's embedding."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Reconstruction", "adversarial", "distillation", "reconstruction"]

Reconstruction = Literal["l1", "balanced_l1", "mse"]


def reconstruction(generated: Tensor, target: Tensor, *, kind: Reconstruction = "l1") -> Tensor:
    """Distance of generated features from the real ones of the other modality.

    Args:
        generated: (B, D).
        target: (B, D).
        kind: ``l1``: mean |g - x| (CRCGS). Its best answer is the conditional median, which for a sparse bag of words
            is "no word at all". ``balanced_l1``: the absolute errors where the target is zero and where it is not
            weigh one half each, so that the rare words count. ``mse``: mean (g - x)^2, whose best answer is the
            conditional mean.

    Returns:
        A scalar, >= 0.
    """
    if kind == "mse":
        return functional.mse_loss(generated, target)
    error = (generated - target).abs()
    if kind == "l1":
        return error.mean()
    present = target != 0
    halves = [error[part].mean() for part in (present, ~present) if part.any()]
    return torch.stack(halves).mean()


def adversarial(verdict: Tensor, *, real: bool) -> Tensor:
    """Cross-entropy of a discriminator's verdict (Goodfellow et al., NeurIPS 2014).

    Args:
        verdict: Logits (B, 2); column 1 says "real".
        real: What the verdict should be.

    Returns:
        A scalar, >= 0.
    """
    wanted = torch.full((len(verdict),), int(real), dtype=torch.int64, device=verdict.device)
    return functional.cross_entropy(verdict, wanted)


def distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference between a student's features and a teacher's embeddings, both (B, D) (CRCGS's L_t)."""
    return functional.mse_loss(student, teacher)

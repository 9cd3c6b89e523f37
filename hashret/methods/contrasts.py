"""What contrasts of several methods share: who is nobody's wrong answer, and the temperature."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hashret.losses import equal_rows
from hashret.models.features import Inputs

__all__ = ["LARGEST_SCALE", "alike", "clamped_scale", "not_negatives"]

LARGEST_SCALE = 100.0


def not_negatives(query: Tensor, target: Tensor, number: Tensor) -> Tensor:
    """Which pairs are nobody's negative: those of one instance, and those of an equal embedding on either side.

    Args:
        query: Embeddings (B, D).
        target: Of the same pairs.
        number: Their instances, (B,).

    Returns:
        bool (B, B).
    """
    return together(query) | together(target) | equal_rows(number)


def alike(inputs: Inputs) -> Tensor:
    """Which items are equal as the encoders see them: no network can tell them apart, bool (B, B)."""
    parts = (inputs.image, inputs.text, inputs.text_mask)
    return torch.stack([equal_rows(part) for part in parts if part is not None]).all(0)


def clamped_scale(log_scale: nn.Parameter, largest: float = LARGEST_SCALE) -> Tensor:
    """1 / temperature of a learnable logarithm of it, which is held at 100 at most (CLIP)."""
    with torch.no_grad():
        log_scale.clamp_(max=math.log(largest))
    return log_scale.exp()


def together(embeddings: Tensor) -> Tensor:
    """Which embeddings are equal but for rounding (a distance below 1e-4), bool (B, B)."""
    products = embeddings.double() @ embeddings.double().T
    squares = products.diagonal()
    return squares[:, None] + squares[None, :] - 2 * products < 1e-8

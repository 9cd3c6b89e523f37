"""Modality invariance: the two views of one item lie close together (DSCMR, Zhen et al., CVPR 2019; CRCGS's L_inv)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["invariance"]


def invariance(x: Tensor, y: Tensor) -> Tensor:
    """Mean Euclidean distance between the two views of each item: mean_i ||x_i - y_i||_2.

    Args:
        x: Features (B, D) of one modality.
        y: Features (B, D) of the same items in the other.

    Returns:
        A scalar, >= 0; its gradient is zero, not NaN, where both views coincide.
    """
    squared = (x - y).square().sum(1)
    positive = squared > 0
    return (squared.where(positive, squared.new_ones(())).sqrt() * positive).mean()

"""The Frobenius norm of a difference over the size of the batch: DSCMR's distance of predictions from labels."""

from __future__ import annotations

from torch import Tensor

__all__ = ["frobenius"]


def frobenius(x: Tensor, y: Tensor) -> Tensor:
    """Frobenius distance a row: ||X - Y||_F / B (DSCMR, Zhen et al., CVPR 2019, J1 and J3).

    The norm of B rows grows with the square root of B only, so that a larger batch gives a smaller value;
    :func:`~hashret.losses.invariance` is the mean of the rows' own norms, which does not depend on B.

    Args:
        x: (B, D).
        y: (B, D).

    Returns:
        A scalar, >= 0; its gradient is zero, not NaN, where both are equal.

    Example:
        >>> import torch
        >>> float(frobenius(torch.zeros(4, 1), torch.ones(4, 1)))
        0.5
    """
    squared = (x - y).square().sum()
    positive = squared > 0
    return squared.where(positive, squared.new_ones(())).sqrt() * positive / len(x)

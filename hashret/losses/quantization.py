"""What a hash layer owes its codes: little lost to the sign, bits that differ, the structure of what it was given."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["balance", "quantization", "straight_through", "structure"]


def quantization(relaxed: Tensor) -> Tensor:
    """Mean squared distance of relaxed codes from their signs: mean_i ||h_i - sign(h_i)||^2 (CRCGS stage C, term 3).

    Args:
        relaxed: (B, bits) in (-1, 1).

    Returns:
        A scalar, in [0, bits]; the sign is a constant to the gradient.
    """
    return (relaxed - relaxed.detach().sign()).square().sum(1).mean()


def structure(features: Tensor, relaxed: Tensor) -> Tensor:
    """Difference between the cosines of features and of their codes.

    mean_i sum_j (cos(c_i, c_j)/2 - cos(h_i, h_j)/2)^2 (CRCGS stage C, term 1).

    Args:
        features: c (B, D).
        relaxed: h (B, bits), the codes of the same items.

    Returns:
        A scalar, in [0, B].
    """
    wanted = functional.normalize(features, dim=1) @ functional.normalize(features, dim=1).T
    have = functional.normalize(relaxed, dim=1) @ functional.normalize(relaxed, dim=1).T
    return ((wanted - have) / 2).square().sum(1).mean()


def balance(relaxed: Tensor) -> Tensor:
    """Mean square of each bit's mean over the batch: 0 where every bit is set for half of the items.

    A bit that is the same for all tells nothing (Weiss et al., NeurIPS 2008).

    Args:
        relaxed: (B, bits) in (-1, 1).

    Returns:
        A scalar, in [0, 1].
    """
    return relaxed.mean(0).square().mean()


def straight_through(relaxed: Tensor) -> Tensor:
    """The signs of relaxed codes, with the gradient of the relaxed ones (Bengio, Leonard and Courville, 2013).

    What a loss sees is then what a search compares, and nothing is lost to the sign that it did not see.

    Args:
        relaxed: (B, bits) in (-1, 1).

    Returns:
        (B, bits) of -1 and 1; 0 where a relaxed bit is exactly 0.

    Example:
        >>> import torch
        >>> straight_through(torch.tensor([[0.2, -0.7]])).tolist()
        [[1.0, -1.0]]
    """
    return relaxed + (relaxed.sign() - relaxed).detach()

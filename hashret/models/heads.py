"""Small fully connected parts that many methods share. Anything one method alone has stands in that method's file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from hashret.errors import InputError

__all__ = ["HashLayer", "mlp"]


def mlp(
    sizes: Sequence[int],
    activation: Literal["tanh", "relu"],
    *,
    last: bool,
    dropout: float = 0.0,
    standardize: bool = False,
) -> nn.Sequential:
    """Make a stack of linear layers with an activation between them.

    Args:
        sizes: Widths from input to output, at least two.
        activation: Between the layers.
        last: Whether the activation also follows the last layer.
        dropout: Share of the input dropped in training, in [0, 1); 0 leaves the layer out.
        standardize: Whether each value of the input is first brought to mean 0 and variance 1: by the batch's in
            training, by their running means afterwards (batch normalisation without weights; Ioffe and Szegedy, 2015).
            Vectors come as they are: counts, topics and activations differ a thousandfold.

    Returns:
        From float (B, sizes[0]) to float (B, sizes[-1]).

    Raises:
        InputError: Fewer than two sizes, or one below 1.

    Example:
        >>> mlp([4, 8, 2], "relu", last=False)
        Sequential(
          (0): Linear(in_features=4, out_features=8, bias=True)
          (1): ReLU()
          (2): Linear(in_features=8, out_features=2, bias=True)
        )
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise InputError(
            "sizes", expected="two widths or more, all >= 1", got=str(list(sizes)), remedy="Give in and out."
        )
    make: type[nn.Module] = {"tanh": nn.Tanh, "relu": nn.ReLU}[activation]
    layers: list[nn.Module] = [nn.BatchNorm1d(sizes[0], affine=False)] if standardize else []
    layers += [nn.Dropout(dropout)] if dropout else []
    for width, after in pairwise(sizes):
        layers += [nn.Linear(width, after), make()]
    return nn.Sequential(*(layers if last else layers[:-1]))


class HashLayer(nn.Module):
    """From features to relaxed codes: dropout and linear layers ``dimension, hidden, hidden, bits``, tanh after each.

    Args:
        dimension: Width of the features.
        bits: Width of a code.
        hidden: Width of the two layers between.
        dropout: Share of the features dropped in training.

    Example:
        >>> import torch
        >>> HashLayer(8, bits=32, hidden=16)(torch.randn(2, 8)).shape
        torch.Size([2, 32])
    """

    def __init__(self, dimension: int, bits: int, hidden: int = 512, dropout: float = 0.3) -> None:
        """Make the layers."""
        super().__init__()
        self.layers = mlp([dimension, hidden, hidden, bits], "tanh", last=True, dropout=dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, dimension) to relaxed codes (B, bits) in (-1, 1); their signs are the code."""
        codes: Tensor = self.layers(features)
        return codes

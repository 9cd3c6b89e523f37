"""Small fully connected parts that many methods share. Anything one method alone has stands in that method's file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashret.errors import InputError

__all__ = ["HashLayer", "HeadKind", "ProjectionHead", "StandardTokens", "mlp"]

HeadKind = Literal["mlp", "linear", "residual", "none"]
"""What stands between an encoder and the shared space; "residual" and "none" are for encoders that share one already
(CLIP, SigLIP)."""


def mlp(
    sizes: Sequence[int],
    activation: Literal["tanh", "relu"],
    *,
    last: bool,
    dropout: float = 0.0,
    hidden_dropout: float = 0.0,
    standardize: bool = False,
) -> nn.Sequential:
    """Make a stack of linear layers with an activation between them.

    Args:
        sizes: Widths from input to output, at least two.
        activation: Between the layers.
        last: Whether the activation also follows the last layer.
        dropout: Share of the input dropped in training, in [0, 1); 0 leaves the layer out.
        hidden_dropout: Share of what stands between the layers dropped in training; likewise.
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
    for place, (width, after) in enumerate(pairwise(sizes)):
        layers += [nn.Dropout(hidden_dropout)] if hidden_dropout and place else []
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


class ProjectionHead(nn.Module):
    """From an encoder's features to the shared space, not yet of length 1.

    Features enter at one length, since histograms that add up to 1 and raw activations differ a thousandfold.

    Args:
        width_in: Of the features.
        dimension: Of the shared space.
        kind: ``mlp``; ``linear``; ``residual``: the features plus an ``mlp`` of them that is 0 when training begins; or
            ``none``, the features themselves. The last two need ``width_in == dimension``.
        width: Hidden width.
        layers: Hidden layers.
        dropout: Share of the features dropped in training.
        hidden_dropout: Share of each hidden layer dropped in training.
        standardize: Whether each feature is brought to mean 0 and variance 1 instead of the vector to one length.

    Raises:
        InputError: Other widths than a residual head needs.

    Example:
        >>> import torch
        >>> ProjectionHead(8, 4, "mlp", width=16)(torch.randn(2, 8)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        width_in: int,
        dimension: int,
        kind: HeadKind = "mlp",
        *,
        width: int = 1024,
        layers: int = 1,
        dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        standardize: bool = False,
    ) -> None:
        """Make the layers."""
        super().__init__()
        self.kind, self.standardize = kind, standardize
        if kind in ("residual", "none") and width_in != dimension:
            raise InputError(
                "method.dimension", expected=f"{width_in}, the encoder's width, with head: {kind}",
                got=str(dimension),
                remedy=f"Set it to {width_in} where both encoders are that wide, or head to mlp or linear.",
            )  # fmt: skip
        if kind == "none":
            return
        hidden = () if kind == "linear" else (width,) * layers
        self.layers = mlp(
            (width_in, *hidden, dimension), "relu", last=False, dropout=dropout, hidden_dropout=hidden_dropout,
            standardize=standardize,
        )  # fmt: skip
        if kind == "residual":  # a correction that is 0 when training begins
            nn.init.zeros_(self.layers[-1].get_parameter("weight"))
            nn.init.zeros_(self.layers[-1].get_parameter("bias"))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, width_in) to (B, dimension)."""
        even = functional.normalize(features, dim=1) * math.sqrt(features.shape[1])  # a mean square of 1
        if self.kind == "none":
            return even
        moved: Tensor = self.layers(features if self.standardize else even)
        return even + moved if self.kind == "residual" else moved


class StandardTokens(nn.Module):
    """Each value of a token brought to mean 0 and variance 1 over all tokens that are some, as ``standardize`` does.

    Activations of a network that ends in a ReLU share a large mean; tokens that keep it are all alike at first.

    Args:
        dimension: Width of the tokens.

    Example:
        >>> import torch
        >>> tokens, mask = torch.rand(2, 3, 4) + 9, torch.tensor([[True, True, True], [True, False, False]])
        >>> StandardTokens(4)(tokens, mask)[mask].mean().abs().item() < 1e-4
        True
    """

    def __init__(self, dimension: int) -> None:
        """Make the layer, which learns nothing but running means and variances."""
        super().__init__()
        self.layer = nn.BatchNorm1d(dimension, affine=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map tokens (B, T, dimension) with mask bool (B, T); filling becomes 0."""
        even = torch.zeros_like(tokens)
        even[mask] = self.layer(tokens[mask]).to(even.dtype)
        return even

"""Generators from one modality's features to the other's, and the discriminators that judge what they generate."""

from __future__ import annotations

from torch import Tensor, nn

from hashret.models.heads import mlp

__all__ = ["Generator", "discriminator"]


class Generator(nn.Module):
    """Features of one modality -> embedding -> features of the other, with ReLU after every layer as in CRCGS.

    Args:
        source: Width of the features it reads.
        target: Width of the features it generates.
        widths: Hidden widths of encoder and decoder.
        dimension: Of the embedding.
        dropout: On its input.
        nonnegative: Whether what it generates is never negative, so that a last ReLU cannot cut it off.
    """

    def __init__(
        self, source: int, target: int, widths: tuple[int, int], dimension: int, dropout: float, nonnegative: bool
    ) -> None:
        """Build encoder and decoder."""
        super().__init__()
        self.encoder = mlp((source, widths[0], dimension), "relu", last=True, dropout=dropout)
        self.decoder = mlp((dimension, widths[1], target), "relu", last=nonnegative)

    def forward(self, features: Tensor) -> Tensor:
        """(B, source) -> (B, target)."""
        generated: Tensor = self.decoder(self.encoder(features))
        return generated


def discriminator(width: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """A network from features (B, width) to a verdict (B, 2) whose column 1 says "real"; ReLU between its layers."""
    return mlp((width, *hidden, 2), "relu", last=False)

"""A hash layer on a finished embedding, trained by contrast: the codes of methods whose papers have none.

Each relaxed code has to find that of its own pair in the batch (the symmetric InfoNCE with a learnable temperature),
little is lost to the sign, and every bit is set for half of the items. It knows no stage. What contrasts share stands
here too: who is nobody's negative, and the temperature.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from hashret.losses import balance, equal_rows, info_nce, quantization
from hashret.models.features import Inputs
from hashret.models.heads import HashLayer, mlp

__all__ = ["LARGEST_SCALE", "CodeContrast", "alike", "clamped_scale", "not_negatives"]

LARGEST_SCALE = 100.0


class CodeContrast(nn.Module):
    """The layer and its terms.

    Args:
        dimension: Width of the embedding.
        bits: Width of a code.
        kind: ``mlp`` or ``linear``, each with tanh at its end.
        width: Hidden width of an ``mlp``.
        dropout: Share of the embedding dropped in training.
        temperature: Where it begins; it never falls below 1/100.
        quantization_weight: Of the mean squared distance of a relaxed bit from its sign.
        balance_weight: Of the mean square of a bit's mean over the batch.
    """

    def __init__(
        self,
        dimension: int,
        bits: int,
        *,
        kind: Literal["mlp", "linear"] = "mlp",
        width: int = 512,
        dropout: float = 0.0,
        temperature: float = 0.07,
        quantization_weight: float = 0.1,
        balance_weight: float = 0.1,
    ) -> None:
        """Build the layer."""
        super().__init__()
        self.dimension, self.bits = dimension, bits
        self.quantization_weight, self.balance_weight = quantization_weight, balance_weight
        if kind == "mlp":
            self.layer: nn.Module = HashLayer(dimension, bits, hidden=width, dropout=dropout)
        else:
            self.layer = mlp((dimension, bits), "tanh", last=True, dropout=dropout)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, embedding: Tensor) -> Tensor:
        """Relaxed codes (B, bits) of embeddings (B, dimension) of length 1; the layer is given values of variance 1."""
        codes: Tensor = self.layer(embedding * math.sqrt(self.dimension))
        return codes

    def terms(self, x: Tensor, y: Tensor, same: Tensor) -> dict[str, Tensor]:
        """Contrast, quantization and balance of the relaxed codes of B pairs.

        Args:
            x: Of queries, (B, bits).
            y: Of their targets.
            same: (B, B), nonzero where two pairs must not be each other's negatives.
        """
        codes = torch.cat([x, y])
        return {
            "contrast": info_nce(x, y, same, scale=clamped_scale(self.log_scale)),
            "quantization": self.quantization_weight * quantization(codes) / self.bits,
            "balance": self.balance_weight * balance(codes),
        }


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

"""Parts that fuse the features of a reference image and of the text that modifies it into one query.

Both come in and go out as vectors of one width, in the space of the images that are searched. Nothing here encodes,
normalises or compares.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Combiner", "GatedResidual"]


class Combiner(nn.Module):
    """CLIP4Cir's combiner (Baldrati et al., CVPRW 2022): a residual on a learnable mixture of text and image.

    With r and t the features of image and text:
    z = [Drop(ReLU(W_t t)); Drop(ReLU(W_r r))], h = Drop(ReLU(W_c z)), lambda = sigmoid(W_2 Drop(ReLU(W_1 z))),
    f = W_o h + lambda t + (1 - lambda) r.

    The steps are methods, since MLCL reads what lies between them.

    Args:
        dimension: Width of r, t and f.
        projection_width: Of W_t t and W_r r; z is twice as wide.
        hidden_width: Of h.
        dropout: Share of each hidden value dropped in training.

    Example:
        >>> Combiner(4, projection_width=8, hidden_width=6)(torch.randn(2, 4), torch.randn(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self, dimension: int, *, projection_width: int = 2560, hidden_width: int = 5120, dropout: float = 0.5
    ) -> None:
        """Make the layers."""
        super().__init__()
        self.image_projection = nn.Linear(dimension, projection_width)
        self.text_projection = nn.Linear(dimension, projection_width)
        self.combination = nn.Linear(2 * projection_width, hidden_width)
        self.output = nn.Linear(hidden_width, dimension)
        self.mixture = nn.Sequential(
            nn.Linear(2 * projection_width, hidden_width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_width, 1)
        )
        self.drop = nn.Dropout(dropout)

    def projected_text(self, text: Tensor) -> Tensor:
        """Drop(ReLU(W_t t)), (B, projection_width)."""
        projected: Tensor = self.drop(functional.relu(self.text_projection(text)))
        return projected

    def concatenated(self, image: Tensor, projected_text: Tensor) -> Tensor:
        """z, (B, 2 * projection_width), of image features and a text that is projected already."""
        projected: Tensor = self.drop(functional.relu(self.image_projection(image)))
        return torch.cat([projected_text, projected], dim=1)

    def combined(self, concatenated: Tensor) -> Tensor:
        """h, (B, hidden_width), of z."""
        hidden: Tensor = self.drop(functional.relu(self.combination(concatenated)))
        return hidden

    def fused(self, image: Tensor, text: Tensor, concatenated: Tensor, combined: Tensor) -> Tensor:
        """f, (B, dimension), of r, t, z and h."""
        share = self.mixture(concatenated).sigmoid()
        result: Tensor = self.output(combined) + share * text + (1 - share) * image
        return result

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Fuse image features (B, dimension) and text features (B, dimension); not of length 1."""
        concatenated = self.concatenated(image, self.projected_text(text))
        return self.fused(image, text, concatenated, self.combined(concatenated))


class GatedResidual(nn.Module):
    """TIRG (Vo et al., CVPR 2019): the text gates the image's features and adds what must change.

    f = w_g * sigmoid(G [r; t]) * r + w_r * R [r; t], with G a linear layer and R two, each behind batch normalisation
    and ReLU; w_g and w_r are learned (eq. 1 to 3).

    Args:
        dimension: Width of r, t and f.
        gate_weight: Where w_g begins.
        residual_weight: Where w_r begins.

    Example:
        >>> GatedResidual(4)(torch.randn(2, 4), torch.randn(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, dimension: int, *, gate_weight: float = 1.0, residual_weight: float = 10.0) -> None:
        """Make the layers."""
        super().__init__()
        both = 2 * dimension
        self.gate = nn.Sequential(nn.BatchNorm1d(both), nn.ReLU(), nn.Linear(both, dimension))
        self.residual = nn.Sequential(
            nn.BatchNorm1d(both), nn.ReLU(), nn.Linear(both, both), nn.ReLU(), nn.Linear(both, dimension)
        )
        self.weights = nn.Parameter(torch.tensor([gate_weight, residual_weight]))

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Fuse image features (B, dimension) and text features (B, dimension); not of length 1."""
        both = torch.cat([image, text], dim=1)
        kept: Tensor = self.weights[0] * self.gate(both).sigmoid() * image
        changed: Tensor = self.weights[1] * self.residual(both)
        return kept + changed

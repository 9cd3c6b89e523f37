"""TIRG: text and image compose by a gate and a residual.

Vo, Jiang, Sun, Murphy, Li, Fei-Fei, Hays, "Composing Text and Image for Image Retrieval - An Empirical Odyssey", CVPR
2019. The text gates which of the image's features stay, and a residual adds what changes:
:class:`~hashret.models.fusion.GatedResidual`, with the weights the released code begins at. Beyond the paper: the
encoders are any, features enter through heads at one length, the contrast's temperature is that of all composed methods
(the paper normalises to a learnable length that begins at 4), and codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from hashret.methods.composed import Composed, ComposedOptions
from hashret.models.features import Encoder
from hashret.models.fusion import GatedResidual

__all__ = ["TIRG", "TIRGOptions"]


@dataclass(frozen=True)
class TIRGOptions(ComposedOptions):
    """Those of all composed methods, and two.

    Attributes:
        gate_weight: Where the learnable weight of the gated image begins.
        residual_weight: Where that of the residual begins.
    """

    gate_weight: float = 1.0
    residual_weight: float = 10.0


class TIRG(Composed):
    """Gate and residual on top of heads; ``options`` is a :class:`TIRGOptions`."""

    options: ClassVar[type] = TIRGOptions

    o: TIRGOptions

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: TIRGOptions,
        words_nonnegative: bool = True,
    ) -> None:
        """Build heads, composition and hash layer."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        self.fusion = GatedResidual(
            options.dimension, gate_weight=options.gate_weight, residual_weight=options.residual_weight
        )

    def compose(self, image: Tensor, text: Tensor) -> Tensor:
        """w_g sigmoid(G [r; t]) r + w_r R [r; t]."""
        fused: Tensor = self.fusion(image, text)
        return fused

    def composition(self) -> list[nn.Parameter]:
        """Gate, residual and their weights."""
        return list(self.fusion.parameters())

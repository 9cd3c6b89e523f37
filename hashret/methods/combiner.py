"""CLIP4Cir's combiner: a residual on a learnable mixture of image and text.

Baldrati, Bertini, Uricchio, Del Bimbo, "Effective Conditioned and Composed Image Retrieval Combining CLIP-based
Features", CVPR 2022: :class:`~hashret.models.fusion.Combiner` on CLIP's features, trained by the batch-based
classification loss at a scale of 100. Beyond the paper: the encoders are any, with heads where they share no space;
the temperature is learned as in all composed methods; equal targets in a batch are not pushed away; codes. MLCL is
built on this combiner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from hashret.methods.composed import Composed, ComposedOptions
from hashret.models import fusion
from hashret.models.features import Encoder

__all__ = ["Combiner", "CombinerOptions"]


@dataclass(frozen=True)
class CombinerOptions(ComposedOptions):
    """Those of all composed methods, and the combiner's.

    Attributes:
        projection_width: Of the projections of image and text.
        hidden_width: Of the layer on both.
        combiner_dropout: Share of each hidden value of the combiner dropped in training.
    """

    projection_width: Annotated[int, Field(ge=1)] = 2560
    hidden_width: Annotated[int, Field(ge=1)] = 5120
    combiner_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5


class Combiner(Composed):
    """CLIP4Cir's combiner on top of heads; ``options`` is a :class:`CombinerOptions`."""

    options: ClassVar[type] = CombinerOptions

    o: CombinerOptions

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: CombinerOptions,
        words_nonnegative: bool = True,
    ) -> None:
        """Build heads, combiner and hash layer."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        o = options
        self.fusion = fusion.Combiner(
            o.dimension, projection_width=o.projection_width, hidden_width=o.hidden_width, dropout=o.combiner_dropout
        )

    def compose(self, image: Tensor, text: Tensor) -> Tensor:
        """W_o h + lambda t + (1 - lambda) r."""
        fused: Tensor = self.fusion(image, text)
        return fused

    def composition(self) -> list[nn.Parameter]:
        """The combiner."""
        return list(self.fusion.parameters())

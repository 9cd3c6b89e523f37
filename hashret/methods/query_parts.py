"""image_only, text_only, sum: what one half of a composed query finds, and both without a composition to learn.

The floor under every composed method (Vo et al., CVPR 2019, have the same three): a set on which one half does as well
as both asks nothing of the other, and a composition that learns must beat the sum. Heads are trained as in all composed
methods.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hashret.errors import InputError
from hashret.methods.composed import Composed
from hashret.models.features import Inputs

__all__ = ["ImageOnly", "Sum", "TextOnly"]


class ImageOnly(Composed):
    """The reference alone asks; texts are not even encoded. ``options`` is a ComposedOptions."""

    reads_texts: ClassVar[bool] = False

    def compose(self, image: Tensor, text: Tensor) -> Tensor:
        """The image's features."""
        return image

    def text_features(self, inputs: Inputs) -> Tensor:
        """Nothing is known of texts.

        Raises:
            InputError: Texts without images.
        """
        if inputs.image is None:
            raise InputError(
                "inputs", expected="images, which image_only asks with", got="texts alone",
                remedy="Use text_only, sum or another method for composed queries.",
            )  # fmt: skip
        return inputs.image.new_zeros((len(inputs), self.dimension))


class TextOnly(Composed):
    """The text alone asks, through its own head, for what the image head makes of targets."""

    def compose(self, image: Tensor, text: Tensor) -> Tensor:
        """The text's features."""
        return text


class Sum(Composed):
    """The direction of the sum of both, which are of one length."""

    def compose(self, image: Tensor, text: Tensor) -> Tensor:
        """R + t."""
        return image + text

"""DCMH: deep cross-modal hashing (Jiang and Li, CVPR 2017), two networks that take turns and codes they agree on.

One network gives real codes F of images, the other G of texts; the binary codes B of the training items belong to both
modalities. With S_ij = 1 where items i and j share a label and Theta_ij = 1/2 F_i . G_j, over all n training items,

    J = -sum_ij (S_ij Theta_ij - log(1 + e^Theta_ij)) + gamma (||B - F||^2 + ||B - G||^2) + eta (||F 1||^2 + ||G 1||^2)

is lowered in turns: in F by the image network, in G by the text network, batch by batch, each against the outputs of
all items that the other network gave last; in B, which is sign(F + G), when an epoch begins. Items that have not been
in a batch yet have no outputs and are left out, so that nothing is learned from random ones; the paper lets a whole
epoch of one network follow one of the other, here they take turns within a step.

A turn's loss has the gradient of J in the outputs of its batch, divided by (items of the batch) * n: the likelihood is
a mean over pairs, and the rate of learning does not depend on the size of the data. Gamma and eta keep their meaning,
in which the quantisation of an item stands against n pairs of it: 1, as published, is a light weight. Eta is 1 in the
paper too, but weighs more: the sum over remembered outputs answers an epoch late, and Adam overshoots. On Wikipedia's
validation tasks (64 bits, one seed, 60 epochs at 1e-3) eta 0, 0.01 and 0.1 gave a mean mAP of .400, .399 and .247, and
1 gave .22 in nearly twice as many; so 0.01 is the default. Momentum was 0.9; with 0.5, the default, 0.01 gave .415.

The published networks are CNN-F, trained along, for images, and one hidden layer of 8,192 (``width``) for bags of
words; here any encoders stand before the heads. They were trained by SGD in batches of 128 for 500 epochs, its rate
falling from 10^-1.5 to 10^-6; this library has Adam, so there is no preset of that. New items are encoded by the
network of their modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hashret.losses import product_likelihood
from hashret.methods.method import (
    Batch,
    Method,
    Stage,
    StageSettings,
    Standardized,
    Turn,
    given,
    one_modality,
    trainable,
)
from hashret.models.features import Encoder, Inputs
from hashret.models.heads import mlp

__all__ = ["DCMH", "DCMHOptions"]


@dataclass(frozen=True)
class DCMHOptions:
    """Sizes and weights of DCMH; gamma and eta are the paper's.

    Attributes:
        bits: Width of a code.
        width: Hidden width of either network behind its encoder.
        layers: Hidden layers; 0 leaves a linear map.
        dropout: Share of an encoder's features dropped, in training (0 in the paper).
        standardize: Of which modality each feature is brought to mean 0 and variance 1 first (of none in the paper).
        gamma: Weight of quantisation.
        eta: Weight of balance; 1 in the paper.
    """

    bits: Annotated[int, Field(ge=1)] = 64
    width: Annotated[int, Field(ge=1)] = 2048
    layers: Annotated[int, Field(ge=0)] = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    standardize: Standardized = "images"
    gamma: Annotated[float, Field(ge=0)] = 1.0
    eta: Annotated[float, Field(ge=0)] = 0.01

    @property
    def dimension(self) -> int:
        """Width of an embedding: the real code."""
        return self.bits


class DCMH(Method):
    """DCMH over any image and text encoder; ``options`` is a :class:`DCMHOptions`.

    Its memory is, of all training items: ``image`` and ``text``, the outputs F and G that each gave last; ``codes``, B;
    ``labels``; and ``seen``, which items have been in a batch.

    Raises:
        DataError: No classes: similarity comes from labels.
    """

    stages: ClassVar[tuple[Stage, ...]] = (Stage("codes", (Turn("image"), Turn("text")), measure="codes"),)
    settings: ClassVar[Mapping[str, StageSettings]] = {
        "codes": StageSettings(epochs=40, batch_size=250, lr=1e-3, schedule="cosine"),
    }
    options: ClassVar[type] = DCMHOptions
    needs_labels: ClassVar[bool] = True

    o: DCMHOptions

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: DCMHOptions,
        words_nonnegative: bool = True,
    ) -> None:
        """Build both networks."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        self._encoders = {"image": trainable(image), "text": trainable(text)}
        self.image_head, self.text_head = (
            _head(encoder.dimension, options, options.standardize in (modality, "both"))
            for encoder, modality in ((image, "images"), (text, "texts"))
        )

    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """The network of one modality."""
        head = self.image_head if turn.name == "image" else self.text_head
        return {"heads": list(head.parameters()), "encoders": self._encoders[turn.name]}

    def begin_epoch(self, stage: Stage) -> None:
        """Let the codes of all items seen so far be the sign of both outputs: B = sign(F + G)."""
        if self.memory:
            self.memory["codes"] = _signs(self.memory["image"] + self.memory["text"])

    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """The turn's part of J over (items of the batch) * n."""
        if "image" not in batch.scratch:
            self._encode(batch)
        memory, x = self.memory, batch.scratch[turn.name]
        seen = memory["seen"]
        pairs = len(batch) * int(seen.sum())
        others = memory["text" if turn.name == "image" else "image"]
        rest = seen.clone()
        rest[batch.instance] = False
        total = x.sum(0) + memory[turn.name][rest].sum(0)
        codes = memory["codes"][batch.instance].to(x.dtype)
        return {
            f"{turn.name}_likelihood": product_likelihood(x, others[seen], self._similar(batch)[:, seen]),
            f"{turn.name}_quantization": self.o.gamma * (codes - x).square().sum() / pairs,
            f"{turn.name}_balance": self.o.eta * total.square().sum() / pairs,
        }

    def embed(self, inputs: Inputs) -> Tensor:
        """The real code, F of images or G of texts, (B, bits)."""
        head = self.image_head if one_modality(inputs, "DCMH") == "image" else self.text_head
        output: Tensor = head(self.pooled(inputs))
        return output

    def relaxed(self, inputs: Inputs) -> Tensor:
        """The real code x as x / (1 + |x|), (B, bits): in (-1, 1), and of the same signs, which are the code."""
        return functional.softsign(self.embed(inputs))

    def _encode(self, batch: Batch) -> None:
        """Both outputs of the batch, once a step and with gradient, and the memory of its items renewed."""
        outputs = {"image": self.embed(given(batch.query)).float(), "text": self.embed(given(batch.target)).float()}
        labels, items = given(batch.labels), batch.instance
        if not self.memory:
            outline = {"image": self.bits, "text": self.bits, "labels": labels.shape[1]}
            self.memory = {name: labels.new_zeros((batch.items, width)) for name, width in outline.items()}
            self.memory["codes"] = labels.new_zeros((batch.items, self.bits), dtype=torch.int8)
            self.memory["seen"] = labels.new_zeros(batch.items, dtype=torch.bool)
        memory = self.memory
        for name, output in outputs.items():
            memory[name][items] = output.detach()
        memory["labels"][items] = labels
        new = items[~memory["seen"][items]]  # no epoch has given them a code yet
        memory["codes"][new] = _signs(memory["image"][new] + memory["text"][new])
        memory["seen"][items] = True
        batch.scratch.update(outputs)

    def _similar(self, batch: Batch) -> Tensor:
        """S of the batch and all items (B, n): 1 where a label is shared, and between an item and itself."""
        shared = given(batch.labels) @ self.memory["labels"].T > 0
        shared[torch.arange(len(batch), device=shared.device), batch.instance] = True
        return shared.float()


def _head(width: int, o: DCMHOptions, standardize: bool) -> nn.Module:
    """From an encoder's features (B, width) to real codes (B, bits)."""
    sizes = (width, *(o.width,) * o.layers, o.bits)
    return mlp(sizes, "relu", last=False, dropout=o.dropout, standardize=standardize)


def _signs(real: Tensor) -> Tensor:
    """Int8 in {-1, +1}; 0 is -1, as where codes are made of real values."""
    return (real > 0).to(torch.int8) * 2 - 1

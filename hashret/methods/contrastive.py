"""contrastive: small heads over any image and text encoder, trained by contrast alone, and a hash layer on top.

The baseline most people start from, for pairs of any kind: images and texts, labelled or not, and composed queries,
whose embedding is the direction of the sum of image and text. Two stages: heads (with the encoders, if these are not
frozen) learn by the symmetric InfoNCE of CLIP with a learnable temperature; a hash layer then learns the same contrast
on relaxed codes. What is right is nobody's negative: pairs of one instance, equal targets, equal queries. Where all
pairs have labels, a supervised contrast stands beside it. It is no paper's method and claims no paper's figures.

Measured on Wikipedia's features at 64 bits, one seed, mean mAP of the codes over both validation tasks:

* ``label_weight`` 0, 1, 10: .311, .398, .460. Where answers share labels, a large weight pays; where captions are to
  find their own image it was not measured, so the default stays at 1.
* ``hash_head`` mlp, linear: .398, .352.
* ``dropout`` 0.1, 0.3: .398, .287; a text there has 10 values, of which few can be spared.

Features enter a head at one length, since histograms that add up to 1 and raw activations differ a thousandfold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hashret.errors import InputError
from hashret.losses import balance, equal_rows, info_nce, quantization, similarity, supervised_contrast
from hashret.methods.method import Batch, Method, Side, Stage, StageSettings, Standardized, Turn, given, trainable
from hashret.models.features import Encoder, Inputs
from hashret.models.heads import HashLayer, mlp

__all__ = ["Contrastive", "ContrastiveOptions"]

LARGEST_SCALE = 100.0
HeadKind = Literal["mlp", "linear", "residual"]


@dataclass(frozen=True)
class ContrastiveOptions:
    """Sizes and weights of the contrastive method.

    Attributes:
        bits: Width of a code.
        dimension: Of the shared space.
        head: What stands between an encoder and the shared space: ``mlp`` (``layers`` hidden layers of ``width``),
            ``linear``, or ``residual``: the encoder's own vector plus an ``mlp`` of it that is 0 when training begins,
            for encoders that share a space already (CLIP, SigLIP); ``dimension`` must then be theirs.
        width: Hidden width of a head.
        layers: Hidden layers of a head.
        dropout: Share of an encoder's features dropped before its head, in training.
        standardize: Of which modality each feature is brought to mean 0 and variance 1 before its head; vectors of the
            others enter at one length.
        temperature: Where the learnable temperature of either stage begins; it never falls below 1/100.
        label_weight: Of the supervised term, in which sharing a label is right; it counts in both stages, where the
            dataset has labels.
        label_temperature: Of that term; it is not learned.
        hash_head: What makes relaxed codes of an embedding: ``mlp``, or ``linear``, each with tanh at its end.
        hash_width: Hidden width of an ``mlp``.
        hash_dropout: Share of the embedding dropped before it, in training.
        quantization_weight: Of the mean squared distance of a relaxed bit from its sign.
        balance_weight: Of the mean square of a bit's mean over the batch.
    """

    bits: Annotated[int, Field(ge=1)] = 64
    dimension: Annotated[int, Field(ge=1)] = 512
    head: HeadKind = "mlp"
    width: Annotated[int, Field(ge=1)] = 1024
    layers: Annotated[int, Field(ge=1)] = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    standardize: Standardized = "none"
    temperature: Annotated[float, Field(ge=1 / LARGEST_SCALE)] = 0.07
    label_weight: Annotated[float, Field(ge=0)] = 1.0
    label_temperature: Annotated[float, Field(gt=0)] = 0.1
    hash_head: Literal["mlp", "linear"] = "mlp"
    hash_width: Annotated[int, Field(ge=1)] = 512
    hash_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    quantization_weight: Annotated[float, Field(ge=0)] = 0.1
    balance_weight: Annotated[float, Field(ge=0)] = 0.1


class Contrastive(Method):
    """Heads and a hash layer over any image and text encoder; ``options`` is a :class:`ContrastiveOptions`.

    Raises:
        InputError: ``residual`` heads over encoders that are not ``dimension`` wide.
    """

    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("embedding", (Turn("heads"),), measure="embedding"),
        Stage("codes", (Turn("hash"),), reads=(), keeps=("query", "target"), measure="codes"),
    )
    settings: ClassVar[Mapping[str, StageSettings]] = {
        "embedding": StageSettings(epochs=20, batch_size=256, lr=1e-3, betas=(0.9, 0.999), schedule="cosine"),
        "codes": StageSettings(epochs=20, batch_size=256, lr=1e-3, betas=(0.9, 0.999), schedule="cosine"),
    }
    options: ClassVar[type] = ContrastiveOptions
    takes_composed: ClassVar[bool] = True

    o: ContrastiveOptions

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: ContrastiveOptions,
        words_nonnegative: bool = True,
    ) -> None:
        """Build heads and hash layer."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        o = options
        self._encoders = trainable(image) + trainable(text)
        self.image_head, self.text_head = (
            _Head(encoder.dimension, o, o.standardize in (modality, "both"))
            for encoder, modality in ((image, "images"), (text, "texts"))
        )
        if o.hash_head == "mlp":
            self.hash: nn.Module = HashLayer(o.dimension, o.bits, hidden=o.hash_width, dropout=o.hash_dropout)
        else:
            self.hash = mlp((o.dimension, o.bits), "tanh", last=True, dropout=o.hash_dropout)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(o.temperature)))
        self.hash_log_scale = nn.Parameter(torch.tensor(-math.log(o.temperature)))

    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """Heads and encoders, or the hash layer; each with its own temperature."""
        if stage.name == "codes":
            return {"heads": [*self.hash.parameters(), self.hash_log_scale], "encoders": []}
        heads = [*self.image_head.parameters(), *self.text_head.parameters()]
        return {"heads": [*heads, self.log_scale], "encoders": self._encoders}

    def fixed(self, inputs: Inputs, stage: Stage, side: Side) -> Tensor:
        """The embedding, on which the hash layer learns."""
        return self.embed(inputs)

    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """The contrast of embeddings; or of relaxed codes, with what the codes owe."""
        if stage.name == "codes":
            return self._codes(batch)
        query, target = given(batch.query), given(batch.target)
        same = _alike(query) | _alike(target)
        return self._contrast(self.embed(query), self.embed(target), same, batch, self.log_scale)

    def embed(self, inputs: Inputs) -> Tensor:
        """The shared space, (B, dimension), of length 1: of image or text, or the direction of the sum of both."""
        parts = []
        if inputs.image is not None:
            parts.append(functional.normalize(self.image_head(self.image(inputs.image).pooled), dim=1))
        if inputs.text is not None:
            parts.append(functional.normalize(self.text_head(self.text(inputs.text, inputs.text_mask).pooled), dim=1))
        return functional.normalize(torch.stack(parts).sum(0), dim=1)

    def relaxed(self, inputs: Inputs) -> Tensor:
        """The hash layer's output (B, bits)."""
        return self._hash(self.embed(inputs))

    def _hash(self, embedding: Tensor) -> Tensor:
        """Relaxed codes; the layer is given values of variance 1, not vectors of length 1."""
        codes: Tensor = self.hash(embedding * math.sqrt(self.dimension))
        return codes

    def _codes(self, batch: Batch) -> dict[str, Tensor]:
        """The contrast of relaxed codes; little lost to the sign, and every bit set for half."""
        o, query, target = self.o, given(batch.query_fixed), given(batch.target_fixed)
        x, y = self._hash(query), self._hash(target)
        terms = self._contrast(x, y, _together(query) | _together(target), batch, self.hash_log_scale)
        codes = torch.cat([x, y])
        terms["quantization"] = o.quantization_weight * quantization(codes) / self.bits
        terms["balance"] = o.balance_weight * balance(codes)
        return terms

    def _contrast(self, x: Tensor, y: Tensor, same: Tensor, batch: Batch, log_scale: Tensor) -> dict[str, Tensor]:
        """Find one's own target, and with labels whatever shares one."""
        with torch.no_grad():
            log_scale.clamp_(max=math.log(LARGEST_SCALE))
        same = same | equal_rows(batch.instance)
        terms = {"contrast": info_nce(x, y, same, scale=log_scale.exp())}
        if self.o.label_weight and batch.labels is not None:
            right = similarity(batch.labels).bool() | same
            supervised = supervised_contrast(x, y, right, scale=1 / self.o.label_temperature)
            terms["labels"] = self.o.label_weight * supervised
        return terms


class _Head(nn.Module):
    """From an encoder's features (B, width) to the shared space (B, dimension), not yet of length 1."""

    def __init__(self, width: int, o: ContrastiveOptions, standardize: bool) -> None:
        super().__init__()
        self.residual = o.head == "residual"
        self.standardize = standardize
        if self.residual and width != o.dimension:
            raise InputError(
                "method.dimension", expected=f"{width}, the encoder's width, with head: residual",
                got=str(o.dimension),
                remedy=f"Set it to {width} where both encoders are that wide, or head to mlp or linear.",
            )  # fmt: skip
        hidden = () if o.head == "linear" else (o.width,) * o.layers
        self.layers = mlp((width, *hidden, o.dimension), "relu", last=False, dropout=o.dropout, standardize=standardize)
        if self.residual:  # a correction that is 0 when training begins
            nn.init.zeros_(self.layers[-1].get_parameter("weight"))
            nn.init.zeros_(self.layers[-1].get_parameter("bias"))

    def forward(self, features: Tensor) -> Tensor:
        even = functional.normalize(features, dim=1) * math.sqrt(features.shape[1])  # a mean square of 1
        moved: Tensor = self.layers(features if self.standardize else even)
        return even + moved if self.residual else moved


def _alike(inputs: Inputs) -> Tensor:
    """Which items are equal as the encoders see them: no network can tell them apart, bool (B, B)."""
    parts = (inputs.image, inputs.text, inputs.text_mask)
    return torch.stack([equal_rows(part) for part in parts if part is not None]).all(0)


def _together(embeddings: Tensor) -> Tensor:
    """Which embeddings are equal but for rounding (a distance below 1e-4), bool (B, B)."""
    products = embeddings.double() @ embeddings.double().T
    squares = products.diagonal()
    return squares[:, None] + squares[None, :] - 2 * products < 1e-8

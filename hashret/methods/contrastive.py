"""contrastive: small heads over any image and text encoder, trained by contrast alone, and a hash layer on top.

The baseline most people start from, for pairs of any kind: images and texts, labelled or not, and composed queries,
whose embedding is the direction of the sum of image and text. Two stages: heads (with the encoders, if these are not
frozen) learn by the symmetric InfoNCE of CLIP with a learnable temperature; a hash layer then learns codes of what they
have learned (:mod:`hashret.methods.hash_codes`). What is right is nobody's negative: pairs of one instance, equal
targets, equal queries. Where all pairs have labels, a supervised contrast stands beside it. It is no paper's method and
claims no paper's figures.

Measured on Wikipedia's features at 64 bits, one seed, mean mAP of the codes (which learned by contrast then) over both
validation tasks:

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
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hashret.losses import equal_rows, info_nce, similarity, supervised_contrast
from hashret.methods.contrasts import LARGEST_SCALE, alike, clamped_scale, not_negatives
from hashret.methods.hash_codes import CODE_OPTIONS, HashCodes, HashOptions
from hashret.methods.method import Batch, Method, Side, Stage, StageSettings, Standardized, Turn, given, trainable
from hashret.models.features import Encoder, Inputs
from hashret.models.heads import HeadKind, ProjectionHead

__all__ = ["Contrastive", "ContrastiveOptions"]


@dataclass(frozen=True)
class ContrastiveOptions(HashOptions):
    """Those of a hash layer, and the sizes and weights of the contrastive method.

    Attributes:
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
    """

    dimension: Annotated[int, Field(ge=1)] = 512
    head: HeadKind = "mlp"
    width: Annotated[int, Field(ge=1)] = 1024
    layers: Annotated[int, Field(ge=1)] = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    standardize: Standardized = "none"
    temperature: Annotated[float, Field(ge=1 / LARGEST_SCALE)] = 0.07
    label_weight: Annotated[float, Field(ge=0)] = 1.0
    label_temperature: Annotated[float, Field(gt=0)] = 0.1


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
    code_options: ClassVar[frozenset[str]] = CODE_OPTIONS
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
            ProjectionHead(
                encoder.dimension,
                o.dimension,
                o.head,
                width=o.width,
                layers=o.layers,
                dropout=o.dropout,
                standardize=o.standardize in (modality, "both"),
            )
            for encoder, modality in ((image, "images"), (text, "texts"))
        )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(o.temperature)))
        self.hash = HashCodes(o.dimension, o, temperature=o.temperature)

    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """Heads and encoders, or the hash layer; each with its own temperature."""
        if stage.name == "codes":
            return {"heads": list(self.hash.parameters()), "encoders": []}
        heads = [*self.image_head.parameters(), *self.text_head.parameters()]
        return {"heads": [*heads, self.log_scale], "encoders": self._encoders}

    def fixed(self, inputs: Inputs, stage: Stage, side: Side) -> Tensor:
        """The embedding, on which the hash layer learns."""
        return self.embed(inputs)

    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """The contrast of embeddings; or what the codes of finished ones are held to."""
        if stage.name == "codes":
            return self._codes(batch)
        query, target = given(batch.query), given(batch.target)
        same = alike(query) | alike(target)
        x, y = self.embed(query), self.embed(target)
        same = same | equal_rows(batch.instance)
        terms = {"contrast": info_nce(x, y, same, scale=clamped_scale(self.log_scale))}
        if self._labelled(batch):
            terms |= self._labels(x, y, same, batch)
        return terms

    def embed(self, inputs: Inputs) -> Tensor:
        """The shared space, (B, dimension), of length 1: of image or text, or the direction of the sum of both."""
        parts = []
        if inputs.image is not None:
            parts.append(
                functional.normalize(self.image_head(self.image(inputs.image, inputs.image_mask).pooled), dim=1)
            )
        if inputs.text is not None:
            parts.append(functional.normalize(self.text_head(self.text(inputs.text, inputs.text_mask).pooled), dim=1))
        return functional.normalize(torch.stack(parts).sum(0), dim=1)

    def relaxed(self, inputs: Inputs) -> Tensor:
        """The hash layer's output (B, bits)."""
        codes: Tensor = self.hash(self.embed(inputs))
        return codes

    def _codes(self, batch: Batch) -> dict[str, Tensor]:
        """The hash layer's terms; equal embeddings are nobody's negative."""
        query, target = given(batch.query_fixed), given(batch.target_fixed)
        same = not_negatives(query, target, batch.instance)
        terms = self.hash.terms(query, target, same)
        if self._labelled(batch):
            terms |= self._labels(self.hash(query), self.hash(target), same, batch)
        return terms

    def _labelled(self, batch: Batch) -> bool:
        """Whether labels count here."""
        return bool(self.o.label_weight) and batch.labels is not None

    def _labels(self, x: Tensor, y: Tensor, same: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Find whatever shares a label."""
        right = similarity(given(batch.labels)).bool() | same
        supervised = supervised_contrast(x, y, right, scale=1 / self.o.label_temperature)
        return {"labels": self.o.label_weight * supervised}

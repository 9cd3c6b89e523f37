"""IConE: a dual tower that learns in two stages, first instances, then instances and contrast together.

Zeng, Ma, Wu, Liu, Liu, "Multi-Modal Image-Text Matching with Instance and Contrastive losses", Electronics 2024, 13(2),
300: towers of a pretrained pair (CLIP) are fine-tuned with an instance loss, for what tells items of one modality
apart, and a contrastive loss between the modalities. There is no code of it. What is known:

* stage 1, ``instance``: each image with its captions is a class of one classifier that both towers share (the loss of
  Zheng et al., TOMM 2020, :func:`~hashret.losses.instance`);
* stage 2, ``contrastive``: symmetric InfoNCE with a learnable temperature, plus the weighted instance loss, end to end.

What the abstract does not say is an option here, its default argued where it stands. Captions of one image are never
each other's negatives. Two stages are this library's: ``heads``, left out unless a recipe gives it epochs, is stage 2
while the encoders stand still, for encoders that never met, since what new heads send back into them is noise; and
``codes``, a hash layer on the finished embedding.

Wherever encoders stand still for a whole stage (``heads``; ``instance`` and ``contrastive`` with ``encoder_lr: 0``)
each image and text is encoded once for all its epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hashret.errors import TrainingError
from hashret.losses import equal_rows, info_nce, instance
from hashret.methods.contrasts import LARGEST_SCALE, clamped_scale, not_negatives
from hashret.methods.hash_codes import CODE_OPTIONS, HashCodes, HashOptions
from hashret.methods.method import (
    Batch,
    Method,
    Side,
    Stage,
    StageSettings,
    Standardized,
    Turn,
    given,
    one_modality,
    trainable,
)
from hashret.models.augmentation import Augmentation, AugmentationKind
from hashret.models.features import Encoder, Inputs
from hashret.models.heads import HeadKind, ProjectionHead

__all__ = ["IConE", "IConEOptions"]

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Modality = Literal["image", "text"]


@dataclass(frozen=True)
class IConEOptions(HashOptions):
    """Those of a hash layer, and the sizes and weights of IConE.

    Attributes:
        dimension: Of the shared space.
        head: What stands between a tower and the shared space; see :data:`~hashret.models.heads.HeadKind`. ``none``
            takes CLIP's and SigLIP's own projections, as the paper seems to; two encoders that never met need ``mlp``.
        width: Hidden width of a head.
        layers: Hidden layers of a head.
        image_dropout: Share of an image's features dropped before the head, in training.
        text_dropout: The same of a text's.
        hidden_dropout: Share of a head's hidden layers dropped, in training.
        standardize: Of which modality each feature is brought to mean 0 and variance 1 before its head.
        temperature: Where the learnable temperature of the contrast begins (CLIP's 0.07).
        largest_scale: What 1 / temperature is kept below (CLIP's 100). A few thousand pairs are soon told apart at any
            temperature, which then falls for no gain elsewhere; 30 keeps it above 0.033.
        instance_scale: What the cosine of a feature and its class is multiplied by. With cosines the classifier of n
            instances cannot become sure at scale 1; 16 lets the right class reach a probability of 0.99 among 30,000.
        instance_dropout: Share of the shared space dropped before the classifier, in training (0.75 and 0.5 in the
            instance loss's own paper, whose features are 2,048 wide and whose classifier is not normalised).
        instance_weight: Of the instance loss in stage 2; 0 leaves it out there.
        image_weight: Of the instance loss of images, in both stages.
        text_weight: The same of texts.
        normalized: Whether the classifier's rows have length 1.
        copies: How many augmented copies of each training image there are; an epoch draws one. Where an image encoder
            is frozen each copy is encoded once. A few thousand images are learned by heart sooner than they are
            understood; 0, the default, is for sets that are large enough.
        beside: Whether a copy learns beside its image, each half, or in its place, which is half the work of an image
            encoder that learns. The stage ``heads`` sees the images themselves.
        augmentations: What a copy may differ in; see :class:`~hashret.models.augmentation.Augmentation`. Captions tell
            colours, so that these are left alone.
        smallest_crop: Share of the image that a cropped copy keeps at least; a caption speaks of the whole.
    """

    dimension: Annotated[int, Field(ge=1)] = 512
    head: HeadKind = "mlp"
    width: Annotated[int, Field(ge=1)] = 1024
    layers: Annotated[int, Field(ge=1)] = 1
    image_dropout: Share = 0.1
    text_dropout: Share = 0.1
    hidden_dropout: Share = 0.0
    standardize: Standardized = "none"
    temperature: Annotated[float, Field(ge=1 / LARGEST_SCALE)] = 0.07
    largest_scale: Annotated[float, Field(gt=0)] = LARGEST_SCALE
    instance_scale: Annotated[float, Field(gt=0)] = 16.0
    instance_dropout: Share = 0.0
    instance_weight: Weight = 1.0
    image_weight: Weight = 1.0
    text_weight: Weight = 1.0
    normalized: bool = True
    copies: Annotated[int, Field(ge=0)] = 0
    beside: bool = True
    augmentations: tuple[AugmentationKind, ...] = ("crop", "mirror")
    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 0.5


class IConE(Method):
    """Two towers, a shared space, a classifier of the training instances; ``options`` is an :class:`IConEOptions`.

    Args:
        instances: Distinct instances of the training set; 0 builds what retrieval needs, without the classifier.
    """

    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("instance", (Turn("towers"),), reads=("query", "target", "view"), measure="embedding"),
        Stage("heads", (Turn("towers"),), reads=(), keeps=("query", "target"), measure="embedding"),
        Stage("contrastive", (Turn("towers"),), reads=("query", "target", "view"), measure="embedding"),
        Stage("codes", (Turn("hash"),), reads=(), keeps=("query", "target"), measure="codes"),
    )
    settings: ClassVar[Mapping[str, StageSettings]] = {
        "instance": StageSettings(
            epochs=10, batch_size=128, lr=1e-3, encoder_lr=1e-5, betas=(0.9, 0.999), schedule="cosine", warmup=100
        ),
        "heads": StageSettings(epochs=0, batch_size=128, lr=1e-3, betas=(0.9, 0.999), schedule="cosine", warmup=100),
        "contrastive": StageSettings(
            epochs=30, batch_size=128, lr=1e-3, encoder_lr=1e-5, betas=(0.9, 0.999), schedule="cosine", warmup=100
        ),
        "codes": StageSettings(epochs=20, batch_size=256, lr=1e-3, betas=(0.9, 0.999), schedule="cosine"),
    }
    options: ClassVar[type] = IConEOptions
    code_options: ClassVar[frozenset[str]] = CODE_OPTIONS
    counts_instances: ClassVar[bool] = True
    training_only: ClassVar[tuple[str, ...]] = ("classifier",)

    o: IConEOptions

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: IConEOptions,
        words_nonnegative: bool = True,
        instances: int = 0,
    ) -> None:
        """Build heads, classifier and hash layer."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        o = options
        self._encoders = trainable(image) + trainable(text)
        self.image_head, self.text_head = (
            ProjectionHead(
                encoder.dimension, o.dimension, o.head, width=o.width, layers=o.layers, dropout=dropout,
                hidden_dropout=o.hidden_dropout, standardize=o.standardize in (modality, "both"),
            )
            for encoder, dropout, modality in ((image, o.image_dropout, "images"), (text, o.text_dropout, "texts"))
        )  # fmt: skip
        self.log_scale = nn.Parameter(torch.tensor(-math.log(o.temperature)))
        self.hash = HashCodes(o.dimension, o)
        self.drop = nn.Dropout(o.instance_dropout)
        self.classifier = nn.Linear(o.dimension, instances, bias=False) if instances else None
        if o.copies:
            self.augmentation, self.copies = Augmentation(tuple(o.augmentations), o.smallest_crop), o.copies

    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """Heads, classifier, temperature and encoders; or the hash layer."""
        if stage.name == "codes":
            return {"heads": list(self.hash.parameters()), "encoders": []}
        heads = [*self.image_head.parameters(), *self.text_head.parameters()]
        if self.classifier is not None and (stage.name == "instance" or self.o.instance_weight):
            heads += list(self.classifier.parameters())
        heads += [self.log_scale] if stage.name != "instance" else []
        return {"heads": heads, "encoders": [] if stage.name == "heads" else self._encoders}

    def as_run(self, stage: Stage, *, standing: bool) -> Stage:
        """Without images where copies stand for them; encoders that stand still are asked once an item."""
        if self.o.copies and not self.o.beside and "view" in stage.reads:
            stage = replace(stage, reads=("target", "view"))
        return replace(stage, reads=(), keeps=(*stage.reads, *stage.keeps)) if standing else stage

    def fixed(self, inputs: Inputs, stage: Stage, side: Side) -> Tensor:
        """The embedding, on which the hash layer learns; or an encoder's features, on which the heads do."""
        return self.embed(inputs) if stage.name == "codes" else self.pooled(inputs)

    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """Instances; contrast and instances; or the hash layer's terms."""
        same = equal_rows(batch.instance)
        if stage.name == "codes":
            query, target = given(batch.query_fixed), given(batch.target_fixed)
            same = not_negatives(query, target, batch.instance)
            return self.hash.terms(query, target, same)
        sides = ((batch.query, batch.query_fixed), (batch.view, batch.view_fixed))
        views = [self._learning("image", *side) for side in sides if any(part is not None for part in side)]
        g = self._learning("text", batch.target, batch.target_fixed)
        if stage.name == "instance":
            return self._instances(views, g, batch, 1.0)
        scale = clamped_scale(self.log_scale, self.o.largest_scale)
        terms = {"contrast": torch.stack([info_nce(f, g, same, scale=scale) for f in views]).mean()}
        return terms | (self._instances(views, g, batch, self.o.instance_weight) if self.o.instance_weight else {})

    def embed(self, inputs: Inputs) -> Tensor:
        """The shared space, f of images or g of texts: (B, dimension), of length 1."""
        return self._projected(one_modality(inputs, "IConE"), self.pooled(inputs))

    def relaxed(self, inputs: Inputs) -> Tensor:
        """The hash layer's output (B, bits)."""
        codes: Tensor = self.hash(self.embed(inputs))
        return codes

    def _learning(self, modality: Modality, inputs: Inputs | None, features: Tensor | None) -> Tensor:
        """The shared space of one side of a batch, from its inputs or from what was kept of them."""
        return self._projected(modality, self.pooled(given(inputs)) if features is None else features)

    def _projected(self, modality: Modality, features: Tensor) -> Tensor:
        head = self.image_head if modality == "image" else self.text_head
        return functional.normalize(head(features), dim=1)

    def _instances(self, views: Sequence[Tensor], g: Tensor, batch: Batch, weight: float) -> dict[str, Tensor]:
        """The instance losses of images, which are the images themselves, copies of them or both, and of texts."""
        o = self.o
        if self.classifier is None or self.classifier.out_features < batch.items:
            have = 0 if self.classifier is None else self.classifier.out_features
            raise TrainingError(
                "IConE", expected=f"a classifier of the {batch.items} training instances", got=f"one of {have}",
                remedy="Build it with instances= the number of distinct instances.",
            )  # fmt: skip

        def term(features: Tensor) -> Tensor:
            assert self.classifier is not None
            return instance(
                self.drop(features), self.classifier.weight, batch.instance, scale=o.instance_scale,
                normalized=o.normalized,
            )  # fmt: skip

        images = torch.stack([term(features) for features in views]).mean()
        return {"image_instance": weight * o.image_weight * images, "text_instance": weight * o.text_weight * term(g)}

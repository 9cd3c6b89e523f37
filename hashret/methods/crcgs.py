"""CRCGS, improved: codes of both modalities learn end to end, by contrast with whatever shares a label.

The idea is that of Zhang, Yang, Li, Xu, "Image-Text Retrieval via Contrastive Learning with Auxiliary Generative
Features and Support-set Regularization", SIGIR 2022: contrast within a modality and across, features of generators of
the other modality beside it, and support sets. What the paper publishes is :mod:`hashret.methods.crcgs_published`
(``variant: published``); there the contrast reaches the codes by way of conversion heads and a hash layer that is
trained apart, and adds nothing that can be measured. Here the terms act on what the search compares:

* towers, the shared space and a linear hash layer learn together; the terms see the relaxed codes;
* the contrast is supervised (Khosla et al., NeurIPS 2020): any two items of a batch that share a label are right for
  each other, image with text, image with image and text with text; it shapes the shared space too;
* inputs are standardised and towers are wide: a database of training items is searched well where its items are known
  well. Images are dropped out in part, so that new ones are understood.

The pairwise likelihood and the classifier of the base network, the auxiliary generative features and the support sets
are here as terms of their own weight, 0 by default; ``benchmarks/crcgs_options.py`` trains each part left out or added.
The adversaries moved nothing in the published variant and are left to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hashret.errors import TrainingError
from hashret.losses import (
    pair_likelihood,
    quantization,
    reconstruction,
    similarity,
    supervised_contrast,
    support_set,
)
from hashret.losses.generative import Reconstruction
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
from hashret.models.features import Encoder, Inputs
from hashret.models.generator import Generator
from hashret.models.heads import mlp

__all__ = ["CRCGS", "CRCGSOptions"]

Weight = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(gt=0)]
Width = Annotated[int, Field(ge=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class CRCGSOptions:
    """Sizes and weights of CRCGS.

    Attributes:
        bits: Width of a code.
        width: Hidden width of the towers.
        tower_layers: Hidden layers of a tower.
        dimension: Of the shared space (v, t).
        standardize: Of which modality each feature is brought to mean 0 and variance 1 first.
        image_dropout: Share of the image features dropped before the tower, in training.
        text_dropout: The same of text features.
        contrastive_temperature: tau of the supervised contrast.
        contrastive_weight: Of the contrast between codes of images and texts.
        intra_weight: Of the contrast among codes of images and among codes of texts, half of it each.
        embedding_weight: Of both contrasts in the shared space, relative to those of codes.
        pair_weight: Of the pairwise likelihood of codes, within both modalities and across.
        likelihood_scale: What the cosine is multiplied by in it.
        classification_weight: Of the label classifier on the shared space (cross-entropy of each label).
        support_weight: Of the support-set term on codes.
        support_temperature: tau_s of it.
        generative_weight: Of the contrast between the shared space, converted, and the generators' features; it needs
            epochs in the two generator stages.
        generative_dimension: Of the generators' features (g) and the converted ones (a, b).
        generator_dropout: Dropout on the features that enter the generators.
        generator_loss: What a generator minimises; see :func:`~hashret.losses.reconstruction`.
        quantization_weight: Of the mean squared distance of a relaxed bit from its sign.
    """

    bits: Annotated[int, Field(ge=1)] = 64
    width: Width = 1024
    tower_layers: Width = 1
    dimension: Width = 512
    standardize: Standardized = "images"
    image_dropout: Dropout = 0.2
    text_dropout: Dropout = 0.0
    contrastive_temperature: Temperature = 0.2
    contrastive_weight: Weight = 1.0
    intra_weight: Weight = 1.0
    embedding_weight: Weight = 0.5
    pair_weight: Weight = 0.0
    likelihood_scale: Temperature = 6.0
    classification_weight: Weight = 0.0
    support_weight: Weight = 0.0
    support_temperature: Temperature = 0.1
    generative_weight: Weight = 0.0
    generative_dimension: Width = 512
    generator_dropout: Dropout = 0.3
    generator_loss: Reconstruction = "balanced_l1"
    quantization_weight: Weight = 0.0


class CRCGS(Method):
    """Improved CRCGS over any image and text encoder; ``options`` is a :class:`CRCGSOptions`.

    Raises:
        DataError: No classes: what is right for what comes from labels.
    """

    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("image_to_text", (Turn("generator"),)),
        Stage("text_to_image", (Turn("generator"),), reads=("target",), keeps=("query",)),
        Stage("codes", (Turn("student"),), keeps=("query", "target"), measure="codes"),
    )
    settings: ClassVar[Mapping[str, StageSettings]] = {
        "image_to_text": StageSettings(epochs=0, batch_size=250, lr=1e-3, schedule="cosine", clip=5.0),
        "text_to_image": StageSettings(epochs=0, batch_size=250, lr=1e-3, schedule="cosine", clip=5.0),
        "codes": StageSettings(
            epochs=30, batch_size=250, lr=1e-3, betas=(0.9, 0.999), schedule="cosine", warmup=50, clip=5.0
        ),
    }
    options: ClassVar[type] = CRCGSOptions
    needs_labels: ClassVar[bool] = True
    generates_texts: ClassVar[bool] = True

    o: CRCGSOptions

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: CRCGSOptions,
        words_nonnegative: bool = True,
    ) -> None:
        """Build generators, towers, shared space and hash layer."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        o, pictures, g = options, image.dimension, options.generative_dimension
        scratch = {
            "image_to_text": trainable(image) if not image.pretrained else [],
            "text_to_image": trainable(text) if not text.pretrained else [],
        }
        self._encoders = scratch | {"codes": trainable(image) + trainable(text)}
        hidden = (o.width,) * o.tower_layers
        self.image_to_text = Generator(pictures, words, (o.width, o.width), g, o.generator_dropout, words_nonnegative)
        self.text_to_image = Generator(
            text.dimension, pictures, (o.width, o.width), g, o.generator_dropout, image.nonnegative
        )
        self.register_buffer("taught", torch.zeros(2, dtype=torch.bool))  # which generators have learned
        self.image_tower, self.text_tower = (
            mlp((width, *hidden), "relu", last=True, dropout=dropout, standardize=o.standardize in (modality, "both"))
            for width, dropout, modality in (
                (pictures, o.image_dropout, "images"),
                (text.dimension, o.text_dropout, "texts"),
            )
        )
        self.shared = nn.Linear(o.width, o.dimension)
        self.hash = nn.Linear(o.dimension, o.bits)
        self.classifier = nn.Linear(o.dimension, classes)
        self.image_conversion = mlp((o.dimension, g), "relu", last=True)
        self.text_conversion = mlp((o.dimension, g), "relu", last=True)

    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """A generator; or towers, shared space, hash layer and the heads of terms that have a weight."""
        codes: list[nn.Module] = [self.image_tower, self.text_tower, self.shared, self.hash]
        codes += [self.classifier] if self.o.classification_weight else []
        codes += [self.image_conversion, self.text_conversion] if self.o.generative_weight else []
        networks: dict[str, list[nn.Module]] = {
            "image_to_text": [self.image_to_text],
            "text_to_image": [self.text_to_image],
            "codes": codes,
        }
        heads = [parameter for network in networks[stage.name] for parameter in network.parameters()]
        return {"heads": heads, "encoders": self._encoders[stage.name]}

    def fixed(self, inputs: Inputs, stage: Stage, side: Side) -> Tensor:
        """Image features to generate; the auxiliary generative features g, of no width where nothing asks for them."""
        pooled = self.pooled(inputs)
        if stage.name == "text_to_image":
            return pooled
        if not self.o.generative_weight:
            return pooled.new_empty((len(pooled), 0))
        teacher = self.image_to_text if side == "query" else self.text_to_image
        features: Tensor = teacher.encoder(pooled)
        return features

    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """The terms of a generator, or of the codes."""
        return self._codes(batch) if stage.name == "codes" else self._generator(batch, stage)

    def embed(self, inputs: Inputs) -> Tensor:
        """The shared space: v of images or t of texts, (B, dimension)."""
        tower = self.image_tower if one_modality(inputs, "CRCGS") == "image" else self.text_tower
        features: Tensor = self.shared(tower(self.pooled(inputs)))
        return features

    def relaxed(self, inputs: Inputs) -> Tensor:
        """Relaxed codes (B, bits)."""
        return self._hashed(self.embed(inputs))

    def _hashed(self, features: Tensor) -> Tensor:
        codes: Tensor = self.hash(features).tanh()
        return codes

    def _generator(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Rebuild the other modality."""
        texts = given(batch.target)
        if stage.name == "image_to_text":
            target = given(texts.bag if texts.bag is not None else texts.text)
            generated = self.image_to_text(self.pooled(given(batch.query)))
        else:
            target = given(batch.query_fixed)
            generated = self.text_to_image(self.pooled(texts))
        self.get_buffer("taught")[int(stage.name == "text_to_image")] = True
        return {"reconstruction": reconstruction(generated, target, kind=self.o.generator_loss)}

    def _codes(self, batch: Batch) -> dict[str, Tensor]:
        """The objective; a term of weight 0 is left out."""
        o, labels = self.o, given(batch.labels)
        v, t = self.embed(given(batch.query)), self.embed(given(batch.target))
        x, y = self._hashed(v), self._hashed(t)
        similar = similarity(labels)
        across, within = self._contrast(x, y, similar)
        terms = {"contrast": o.contrastive_weight * across, "intra": o.intra_weight * within}
        if o.embedding_weight:
            across, within = self._contrast(v, t, similar)
            both = o.contrastive_weight * across + o.intra_weight * within
            terms["embedding"] = o.embedding_weight * both
        if o.pair_weight:
            views = ((x, x), (x, y), (y, y))
            pairs = [pair_likelihood(p, q, similar, scale=o.likelihood_scale) for p, q in views]
            terms["pair"] = o.pair_weight * torch.stack(pairs).sum()
        if o.classification_weight:
            verdicts = [functional.binary_cross_entropy_with_logits(self.classifier(z), labels) for z in (v, t)]
            terms["classification"] = o.classification_weight * torch.stack(verdicts).sum()
        if o.support_weight:
            support = support_set(x, y, labels, temperature=o.support_temperature, include_self=False)
            terms["support_set"] = o.support_weight * support
        if o.generative_weight:
            terms["generative"] = o.generative_weight * self._generative(v, t, batch, similar)
        if o.quantization_weight:
            terms["quantization"] = o.quantization_weight * quantization(torch.cat([x, y])) / self.bits
        return terms

    def _contrast(self, x: Tensor, y: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        """Supervised contrast across the modalities, and within: mean of the two."""
        scale = 1 / self.o.contrastive_temperature
        within = supervised_contrast(x, x, similar, scale=scale) + supervised_contrast(y, y, similar, scale=scale)
        return supervised_contrast(x, y, similar, scale=scale), within / 2

    def _generative(self, v: Tensor, t: Tensor, batch: Batch, similar: Tensor) -> Tensor:
        """Contrast with the generators' features: two views within a modality, two across (METHODS 1.3 (4))."""
        if not bool(self.get_buffer("taught").all()):
            raise TrainingError(
                "generative_weight", expected="generators that have learned", got="untrained ones",
                remedy="Give stages.image_to_text and stages.text_to_image epochs, or set the weight to 0.",
            )  # fmt: skip
        g_image, g_text = given(batch.query_fixed), given(batch.target_fixed)
        a, b = self.image_conversion(v), self.text_conversion(t)
        scale = 1 / self.o.contrastive_temperature
        views = ((g_image, a), (g_text, b), (g_image, b), (g_text, a))
        return torch.stack([supervised_contrast(g, z, similar, scale=scale) for g, z in views]).mean()

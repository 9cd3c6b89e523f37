"""CRCGS, improved: two halves of one shared space, and codes that keep who is whose neighbour in it.

The idea is that of Zhang, Yang, Li, Xu, "Image-Text Retrieval via Contrastive Learning with Auxiliary Generative
Features and Support-set Regularization", SIGIR 2022: a base network whose features v, t tell labels, converted features
a, b that learn by contrast within a modality and across, features of generators of the other modality beside it,
support sets, and a hash layer on frozen features. What the paper publishes is :mod:`hashret.methods.crcgs_published`
(``variant: published``); there only v and t are retrieved, and contrast reaches them by way of a shared tower, where it
adds nothing that can be measured. Here:

* both are retrieved: an item is its base features beside its converted ones, each of length 1, and each half has
  towers of its own. What learns to tell labels is to place the training items, which are the database, exactly; what
  learns by contrast is to understand new images;
* the contrast is supervised (Khosla et al., NeurIPS 2020): any image and text of a batch that share a label are right
  for each other;
* the base features are drawn to their labels, and the two views of an item to each other, by the mean distance of an
  item, as DSCMR's release does (Zhen et al., CVPR 2019); cross-entropy is an option;
* the hash layer is linear and sees the codes themselves, by a gradient that goes straight through the sign. It keeps
  for each item how the others stand around it (:func:`~hashret.losses.neighbours`), in place of the paper's difference
  of cosines; on a small training set, whose items are the database, a contrast of codes by labels helps it
  (``hash_contrast_weight``);
* inputs are standardised, towers are wide, images are dropped out in part.

The contrast within a modality, the pairwise likelihood of the base network, the auxiliary generative features and the
support sets are here as terms of their own weight, 0 by default: ``benchmarks/crcgs_options.py`` trains each part left
out or added, and none of these raises mAP beyond the deviation over seeds. The adversaries moved nothing in the
published variant and are left to it.
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

from hashret.errors import InputError, TrainingError
from hashret.losses import (
    invariance,
    neighbours,
    pair_likelihood,
    reconstruction,
    similarity,
    straight_through,
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
        dimension: Of the base features (v, t), and as much of the converted ones (a, b); an embedding is both.
        standardize: Of which modality each feature is brought to mean 0 and variance 1 first.
        base_width: Hidden width of the base towers.
        base_dropout: Share of the features of either modality dropped before them, in training.
        width: Hidden width of the towers of the converted features.
        image_dropout: Share of the image features dropped before these, in training.
        text_dropout: The same of text features.
        tower_layers: Hidden layers of every tower.
        base_share: Of the squared length of an embedding that is the base features'.
        classification: What draws base features to labels: ``rows``, the mean distance of a classifier's output from
            the labels, or ``bce``, the cross-entropy of each label.
        classification_weight: Of it.
        invariance_weight: Of the mean distance of the base features of an item's two views.
        pair_weight: Of the pairwise likelihood of base features, within both modalities and across.
        likelihood_scale: What the cosine is multiplied by in it.
        contrastive_temperature: tau of the supervised contrast.
        contrastive_weight: Of the contrast between images and texts.
        intra_weight: Of the contrast among images and among texts, half of it each.
        support_weight: Of the support-set term on the converted features.
        support_temperature: tau_s of it.
        generative_weight: Of the contrast between the converted features, through a layer of their own, and the
            generators' features; it needs epochs in the two generator stages.
        generative_dimension: Of the generators' features (g) and of what the converted ones become there.
        generator_dropout: Dropout on the features that enter the generators.
        generator_loss: What a generator minimises; see :func:`~hashret.losses.reconstruction`.
        neighbour_scale: What cosines are multiplied by where neighbourhoods are compared: the larger, the more the
            nearest alone count.
        hash_contrast_weight: Of the supervised contrast between the codes of images and those of texts, beside the
            neighbourhoods; its temperature is ``contrastive_temperature``.
    """

    bits: Annotated[int, Field(ge=1)] = 64
    dimension: Width = 512
    standardize: Standardized = "images"
    base_width: Width = 2048
    base_dropout: Dropout = 0.2
    width: Width = 1024
    image_dropout: Dropout = 0.4
    text_dropout: Dropout = 0.0
    tower_layers: Width = 1
    base_share: Annotated[float, Field(gt=0, lt=1)] = 0.6
    classification: Literal["rows", "bce"] = "rows"
    classification_weight: Weight = 1.0
    invariance_weight: Weight = 0.1
    pair_weight: Weight = 0.0
    likelihood_scale: Temperature = 6.0
    contrastive_temperature: Temperature = 0.2
    contrastive_weight: Weight = 1.0
    intra_weight: Weight = 0.0
    support_weight: Weight = 0.0
    support_temperature: Temperature = 0.1
    generative_weight: Weight = 0.0
    generative_dimension: Width = 512
    generator_dropout: Dropout = 0.3
    generator_loss: Reconstruction = "balanced_l1"
    neighbour_scale: Temperature = 5.0
    hash_contrast_weight: Weight = 0.0

    @property
    def has_base(self) -> bool:
        """Whether anything teaches base features; without it there are none."""
        return bool(self.classification_weight or self.pair_weight)

    @property
    def has_contrast(self) -> bool:
        """Whether anything teaches converted features; without it there are none."""
        return bool(self.contrastive_weight or self.intra_weight or self.support_weight or self.generative_weight)


class Towers(nn.Module):
    """One half of the shared space: a tower for each modality, and the layer that both end in.

    Args:
        images: Width of image features.
        texts: Of text features.
        hidden: Widths of a tower's layers.
        dimension: Of what comes out.
        dropout: Of image features and of text features.
        standardize: Whose features are brought to mean 0 and variance 1.
    """

    def __init__(
        self,
        images: int,
        texts: int,
        hidden: tuple[int, ...],
        dimension: int,
        dropout: tuple[float, float],
        standardize: Standardized,
    ) -> None:
        """Build them."""
        super().__init__()
        self.image, self.text = (
            mlp((width, *hidden), "relu", last=True, dropout=share, standardize=standardize in (modality, "both"))
            for width, share, modality in zip((images, texts), dropout, ("images", "texts"), strict=True)
        )
        self.shared = nn.Linear(hidden[-1], dimension)

    def forward(self, pooled: Tensor, modality: str) -> Tensor:
        """Features of a modality (B, its width) to (B, dimension)."""
        features: Tensor = self.shared((self.image if modality == "image" else self.text)(pooled))
        return features


class CRCGS(Method):
    """Improved CRCGS over any image and text encoder; ``options`` is a :class:`CRCGSOptions`.

    Raises:
        DataError: No classes: what is right for what comes from labels.
        InputError: Neither base features nor converted ones have anything to learn by.
    """

    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("image_to_text", (Turn("generator"),)),
        Stage("text_to_image", (Turn("generator"),), reads=("target",), keeps=("query",)),
        Stage("embedding", (Turn("student"),), keeps=("query", "target"), measure="embedding"),
        Stage("codes", (Turn("hash"),), reads=(), keeps=("query", "target"), measure="codes"),
    )
    settings: ClassVar[Mapping[str, StageSettings]] = {
        "image_to_text": StageSettings(epochs=0, batch_size=250, lr=1e-3, schedule="cosine", clip=5.0),
        "text_to_image": StageSettings(epochs=0, batch_size=250, lr=1e-3, schedule="cosine", clip=5.0),
        "embedding": StageSettings(
            epochs=30, batch_size=250, lr=1e-3, betas=(0.9, 0.999), schedule="cosine", warmup=50, clip=5.0
        ),
        "codes": StageSettings(epochs=20, batch_size=250, lr=3e-3, schedule="cosine"),
    }
    options: ClassVar[type] = CRCGSOptions
    code_options: ClassVar[frozenset[str]] = frozenset({"bits", "neighbour_scale", "hash_contrast_weight"})
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
        """Build generators, the halves of the shared space that are taught, and the hash layer."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        o, pictures, g = options, image.dimension, options.generative_dimension
        if not o.has_base and not o.has_contrast:
            raise InputError(
                "method", got="0 for all",
                expected="a weight above 0 for classification, pair, contrastive, intra, support or generative",
                remedy="Leave one half of the shared space something to learn by.",
            )  # fmt: skip
        scratch = {
            "image_to_text": trainable(image) if not image.pretrained else [],
            "text_to_image": trainable(text) if not text.pretrained else [],
        }
        self._encoders = scratch | {"embedding": trainable(image) + trainable(text), "codes": []}
        self.image_to_text = Generator(pictures, words, (o.width, o.width), g, o.generator_dropout, words_nonnegative)
        self.text_to_image = Generator(
            text.dimension, pictures, (o.width, o.width), g, o.generator_dropout, image.nonnegative
        )
        self.register_buffer("taught", torch.zeros(2, dtype=torch.bool))  # which generators have learned
        self.base = self.converted = None
        if o.has_base:
            self.base = Towers(
                pictures, text.dimension, (o.base_width,) * o.tower_layers, o.dimension,
                (o.base_dropout, o.base_dropout), o.standardize,
            )  # fmt: skip
        if o.has_contrast:
            self.converted = Towers(
                pictures, text.dimension, (o.width,) * o.tower_layers, o.dimension,
                (o.image_dropout, o.text_dropout), o.standardize,
            )  # fmt: skip
        self.dimension = o.dimension * (o.has_base + o.has_contrast)
        self.hash = nn.Linear(self.dimension, o.bits)
        self.classifier = nn.Linear(o.dimension, classes)
        self.image_conversion = mlp((o.dimension, g), "relu", last=True)
        self.text_conversion = mlp((o.dimension, g), "relu", last=True)

    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """A generator; or both halves of the shared space and the heads of terms that have a weight; or the hash."""
        space: list[nn.Module] = [half for half in (self.base, self.converted) if half is not None]
        space += [self.classifier] if self.o.classification_weight else []
        space += [self.image_conversion, self.text_conversion] if self.o.generative_weight else []
        networks: dict[str, list[nn.Module]] = {
            "image_to_text": [self.image_to_text],
            "text_to_image": [self.text_to_image],
            "embedding": space,
            "codes": [self.hash],
        }
        heads = [parameter for network in networks[stage.name] for parameter in network.parameters()]
        return {"heads": heads, "encoders": self._encoders[stage.name]}

    def fixed(self, inputs: Inputs, stage: Stage, side: Side) -> Tensor:
        """Image features to generate; the generators' features g, of no width where nobody asks; or embeddings."""
        if stage.name == "codes":
            return self.embed(inputs)
        pooled = self.pooled(inputs)
        if stage.name == "text_to_image":
            return pooled
        if not self.o.generative_weight:
            return pooled.new_empty((len(pooled), 0))
        teacher = self.image_to_text if side == "query" else self.text_to_image
        features: Tensor = teacher.encoder(pooled)
        return features

    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """The terms of a generator, of the shared space, or of the codes."""
        if stage.name == "codes":
            return self._codes(batch)
        return self._space(batch) if stage.name == "embedding" else self._generator(batch, stage)

    def embed(self, inputs: Inputs) -> Tensor:
        """Base features v or t beside converted ones a or b, (B, dimension), of length 1."""
        base, converted = self._halves(inputs)
        if base is None or converted is None:
            return functional.normalize(given(base if converted is None else converted), dim=1)
        parts = ((base, self.o.base_share), (converted, 1 - self.o.base_share))
        return torch.cat([math.sqrt(share) * functional.normalize(half, dim=1) for half, share in parts], dim=1)

    def relaxed(self, inputs: Inputs) -> Tensor:
        """Relaxed codes (B, bits)."""
        return self._hashed(self.embed(inputs))

    def _halves(self, inputs: Inputs) -> tuple[Tensor | None, Tensor | None]:
        """Base and converted features of one modality, (B, options.dimension) each."""
        modality, pooled = one_modality(inputs, "CRCGS"), self.pooled(inputs)
        base, converted = (None if half is None else half(pooled, modality) for half in (self.base, self.converted))
        return base, converted

    def _hashed(self, embedding: Tensor) -> Tensor:
        """Relaxed codes of embeddings of length 1, whose values are brought to variance 1."""
        codes: Tensor = self.hash(embedding * math.sqrt(self.dimension)).tanh()
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

    def _space(self, batch: Batch) -> dict[str, Tensor]:
        """The objective of the shared space; a term of weight 0 is left out."""
        (v, a), (t, b) = self._halves(given(batch.query)), self._halves(given(batch.target))
        labels = given(batch.labels)
        similar = similarity(labels)
        terms = {} if v is None or t is None else self._base_terms(v, t, labels, similar)
        return terms if a is None or b is None else terms | self._converted_terms(a, b, batch, similar)

    def _base_terms(self, v: Tensor, t: Tensor, labels: Tensor, similar: Tensor) -> dict[str, Tensor]:
        """What the base features learn by."""
        o, terms = self.o, {}
        if o.classification_weight:
            away = invariance if o.classification == "rows" else functional.binary_cross_entropy_with_logits
            verdicts = [away(self.classifier(z), labels) for z in (v, t)]
            terms["classification"] = o.classification_weight * torch.stack(verdicts).sum()
        if o.invariance_weight:
            terms["invariance"] = o.invariance_weight * invariance(v, t)
        if o.pair_weight:
            views = ((v, v), (v, t), (t, t))
            pairs = [pair_likelihood(p, q, similar, scale=o.likelihood_scale) for p, q in views]
            terms["pair"] = o.pair_weight * torch.stack(pairs).sum()
        return terms

    def _converted_terms(self, a: Tensor, b: Tensor, batch: Batch, similar: Tensor) -> dict[str, Tensor]:
        """What the converted features learn by."""
        o, terms = self.o, {}
        scale = 1 / o.contrastive_temperature
        if o.contrastive_weight:
            terms["contrast"] = o.contrastive_weight * supervised_contrast(a, b, similar, scale=scale)
        if o.intra_weight:
            within = [supervised_contrast(z, z, similar, scale=scale) for z in (a, b)]
            terms["intra"] = o.intra_weight * torch.stack(within).mean()
        if o.support_weight:
            support = support_set(a, b, given(batch.labels), temperature=o.support_temperature, include_self=False)
            terms["support_set"] = o.support_weight * support
        if o.generative_weight:
            terms["generative"] = o.generative_weight * self._generative(a, b, batch, similar)
        return terms

    def _codes(self, batch: Batch) -> dict[str, Tensor]:
        """The codes of both views of every item keep who is whose neighbour among all of them."""
        embeddings = torch.cat([given(batch.query_fixed), given(batch.target_fixed)])
        codes = straight_through(self._hashed(embeddings))
        terms = {"neighbours": neighbours(embeddings, codes, scale=self.o.neighbour_scale)}
        if self.o.hash_contrast_weight:
            (of_images, of_texts), scale = codes.chunk(2), 1 / self.o.contrastive_temperature
            contrast = supervised_contrast(of_images, of_texts, similarity(given(batch.labels)), scale=scale)
            terms["contrast"] = self.o.hash_contrast_weight * contrast
        return terms

    def _generative(self, a: Tensor, b: Tensor, batch: Batch, similar: Tensor) -> Tensor:
        """Contrast with the generators' features: two views within a modality, two across (METHODS 1.3 (4))."""
        if not bool(self.get_buffer("taught").all()):
            raise TrainingError(
                "generative_weight", expected="generators that have learned", got="untrained ones",
                remedy="Give stages.image_to_text and stages.text_to_image epochs, or set the weight to 0.",
            )  # fmt: skip
        g_image, g_text = given(batch.query_fixed), given(batch.target_fixed)
        a, b = self.image_conversion(a), self.text_conversion(b)
        scale = 1 / self.o.contrastive_temperature
        views = ((g_image, a), (g_text, b), (g_image, b), (g_text, a))
        return torch.stack([supervised_contrast(g, z, similar, scale=scale) for g, z in views]).mean()

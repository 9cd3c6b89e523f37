"""DSCMR: deep supervised cross-modal retrieval (Zhen, Hu, Wang, Peng, CVPR 2019), and a hash layer for codes.

Two towers whose last layer is shared map images to U and texts to V in one space, and one linear classifier P reads
both. With Y the labels, S_ij = 1 where items share one and Gamma(x, y) = 1/2 cos(x, y), over a batch of n,

    J1 = 1/n ||P U - Y||_F + 1/n ||P V - Y||_F                                    labels can be read off the space
    J2 = 1/n^2 sum_ij [log(1 + e^Gamma_ij) - S_ij Gamma_ij]  for U-U, V-V and U-V   similar items lie close together
    J3 = 1/n ||U - V||_F                                                          so do both views of one item
    J = J1 + lambda J2 + eta J3,   lambda = 1e-3, eta = 1e-1.

The formulas and these two weights are from memory, as is that the authors' release takes the mean norm of a row in
place of ||.||_F / n (``norm: rows``).

The paper has no codes: it ranks by cosine. To stand in a table of codes it gets a second stage here, a hash layer on
the frozen features U and V, which learns what CRCGS's binary layer learns: to keep the structure of the items' centres
(U + V) / 2, the similarities, and little to lose by the sign. The likelihood has a scale of its own there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hashret.losses import frobenius, invariance, pair_likelihood, quantization, similarity, structure
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
from hashret.models.heads import HashLayer, mlp

__all__ = ["DSCMR", "DSCMROptions"]


@dataclass(frozen=True)
class DSCMROptions:
    """Sizes and weights of DSCMR.

    Attributes:
        bits: Width of a code.
        width: Width of a tower's own layers.
        layers: A tower's own layers, ReLU after each; 1 in the paper, and the shared one.
        dimension: Of the shared space (U, V).
        dropout: Share of an encoder's features dropped, in training.
        standardize: Of which modality each feature is brought to mean 0 and variance 1 first (of none in the paper).
        classification: ``norm``, the paper's J1, or ``bce``, binary cross-entropy of the classifier's logits.
        norm: Of J1 and J3: ``frobenius``, the paper's, or ``rows``, the mean norm of a row.
        pair_weight: lambda.
        invariance_weight: eta.
        likelihood_scale: What the cosine is multiplied by in J2; 1/2 in the paper.
        hash_width: Hidden width of the hash layer.
        hash_dropout: Share of the features dropped before it, in training.
        hash_likelihood_scale: What the cosine of codes is multiplied by in the hash stage's likelihood.
        structure_weight: Of the structure term of the hash stage.
        hash_pair_weight: Of its likelihood.
        quantization_weight: Of the squared distance of the centres' codes from their signs.
    """

    bits: Annotated[int, Field(ge=1)] = 64
    width: Annotated[int, Field(ge=1)] = 2048
    layers: Annotated[int, Field(ge=1)] = 1
    dimension: Annotated[int, Field(ge=1)] = 1024
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    standardize: Standardized = "images"
    classification: Literal["norm", "bce"] = "norm"
    norm: Literal["frobenius", "rows"] = "frobenius"
    pair_weight: Annotated[float, Field(ge=0)] = 1e-3
    invariance_weight: Annotated[float, Field(ge=0)] = 1e-1
    likelihood_scale: Annotated[float, Field(gt=0)] = 0.5
    hash_width: Annotated[int, Field(ge=1)] = 512
    hash_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    hash_likelihood_scale: Annotated[float, Field(gt=0)] = 4.0
    structure_weight: Annotated[float, Field(ge=0)] = 1.0
    hash_pair_weight: Annotated[float, Field(ge=0)] = 1.0
    quantization_weight: Annotated[float, Field(ge=0)] = 0.1


class DSCMR(Method):
    """DSCMR over any image and text encoder; ``options`` is a :class:`DSCMROptions`.

    Raises:
        DataError: No classes: classifier and similarities come from labels.
    """

    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("embedding", (Turn("towers"),), measure="embedding"),
        Stage("codes", (Turn("hash"),), reads=(), keeps=("query", "target"), measure="codes"),
    )
    settings: ClassVar[Mapping[str, StageSettings]] = {
        "embedding": StageSettings(epochs=40, batch_size=250, lr=1e-3, schedule="cosine"),
        "codes": StageSettings(epochs=30, batch_size=250, lr=1e-3, schedule="cosine"),
    }
    options: ClassVar[type] = DSCMROptions
    code_options: ClassVar[frozenset[str]] = frozenset(
        ("bits", "hash_width", "hash_dropout", "hash_likelihood_scale", "structure_weight", "hash_pair_weight")
        + ("quantization_weight",)
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {  # of the first stage, from memory
            "options": {"standardize": "none"},
            "stages": {"embedding": {"epochs": 500, "batch_size": 100, "lr": 1e-4, "schedule": "constant"}},
        },
    }
    needs_labels: ClassVar[bool] = True

    o: DSCMROptions

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: DSCMROptions,
        words_nonnegative: bool = True,
    ) -> None:
        """Build towers, classifier and hash layer."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        o = options
        self._encoders = trainable(image) + trainable(text)
        self.image_tower, self.text_tower = (
            mlp((encoder.dimension, *(o.width,) * o.layers), "relu", last=True, dropout=o.dropout,
                standardize=o.standardize in (modality, "both"))
            for encoder, modality in ((image, "images"), (text, "texts"))
        )  # fmt: skip
        self.shared = nn.Linear(o.width, o.dimension)
        self.classifier = nn.Linear(o.dimension, classes)
        self.hash = HashLayer(o.dimension, o.bits, hidden=o.hash_width, dropout=o.hash_dropout)

    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """Towers, classifier and encoders; or the hash layer."""
        if stage.name == "codes":
            return {"heads": list(self.hash.parameters()), "encoders": []}
        networks = (self.image_tower, self.text_tower, self.shared, self.classifier)
        heads = [parameter for network in networks for parameter in network.parameters()]
        return {"heads": heads, "encoders": self._encoders}

    def fixed(self, inputs: Inputs, stage: Stage, side: Side) -> Tensor:
        """The embedding, on which the hash layer learns."""
        return self.embed(inputs)

    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """J's three terms, or the hash layer's."""
        if stage.name == "codes":
            return self._codes(batch)
        o, labels = self.o, given(batch.labels)
        u, v = self.embed(given(batch.query)), self.embed(given(batch.target))
        distance = frobenius if o.norm == "frobenius" else invariance
        return {
            "classification": self._classified(u, labels) + self._classified(v, labels),
            "pair": o.pair_weight * _pairs(u, v, similarity(labels), o.likelihood_scale),
            "invariance": o.invariance_weight * distance(u, v),
        }

    def embed(self, inputs: Inputs) -> Tensor:
        """The shared space: U of images or V of texts, (B, dimension)."""
        tower = self.image_tower if one_modality(inputs, "DSCMR") == "image" else self.text_tower
        embedding: Tensor = self.shared(tower(self.pooled(inputs)))
        return embedding

    def relaxed(self, inputs: Inputs) -> Tensor:
        """The hash layer's output (B, bits)."""
        codes: Tensor = self.hash(self.embed(inputs))
        return codes

    def _classified(self, x: Tensor, labels: Tensor) -> Tensor:
        """How far the classifier is from the labels."""
        said = self.classifier(x)
        if self.o.classification == "bce":
            return functional.binary_cross_entropy_with_logits(said, labels)
        return (frobenius if self.o.norm == "frobenius" else invariance)(said, labels)

    def _codes(self, batch: Batch) -> dict[str, Tensor]:
        """The structure of the centres, the similarities, and little to lose by the sign."""
        o, u, v = self.o, given(batch.query_fixed), given(batch.target_fixed)
        centre = (u + v) / 2
        codes, similar = self.hash(centre), similarity(given(batch.labels))
        return {
            "structure": o.structure_weight * structure(centre, codes),
            "pair": o.hash_pair_weight * _pairs(self.hash(u), self.hash(v), similar, o.hash_likelihood_scale),
            "quantization": o.quantization_weight * quantization(codes),
        }


def _pairs(x: Tensor, y: Tensor, similar: Tensor, scale: float) -> Tensor:
    """Pairwise likelihood within both modalities and across."""
    terms = [pair_likelihood(p, q, similar, scale=scale) for p, q in ((x, x), (y, y), (x, y))]
    return torch.stack(terms).sum()

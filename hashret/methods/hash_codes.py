"""A hash layer on a finished embedding: the codes of methods whose papers have none.

What the embedding has learned is not learned anew. Each item's cosines with the items of the other side become a
distribution over the batch, and so do those of the codes, which have to make the same one
(:func:`~hashret.losses.neighbours_of_scores`): of a caption that suits three photos the codes are told so, where a
contrast of pairs would have them tell the photos apart by heart. The codes in that term are signs, with the gradient of
the relaxed ones (:func:`~hashret.losses.straight_through`), so that nothing is lost to the sign that no loss saw.
Beside it every bit is to be set for half of the items. It knows no stage.

The contrast of codes, each of which has to find that of its own pair, can stand beside it or in its place. IConE's
embedding of Flickr8k (val, one seed, rsum 259.0 by cosine; ``hashret train configs/icone-flickr8k.yaml --from RUN``)
has by 128 bits: the neighbours 211.1, both 201.3, the contrast 196.4; and 186.4 by the contrast of relaxed codes,
which stood here before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hashret.losses import (
    balance,
    batch_classification,
    info_nce,
    neighbours_of_scores,
    quantization,
    scaled_cosines,
    straight_through,
)
from hashret.methods.contrasts import LARGEST_SCALE, clamped_scale
from hashret.models.heads import HashLayer, mlp

__all__ = ["CODE_OPTIONS", "HashCodes", "HashOptions"]

_Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class HashOptions:
    """Of a hash layer on a finished embedding.

    Attributes:
        bits: Width of a code.
        hash_head: What makes relaxed codes of an embedding: ``mlp``, or ``linear``, each with tanh at its end.
        hash_width: Hidden width of an ``mlp``.
        hash_dropout: Share of the embedding dropped before it, in training.
        neighbour_weight: Of the divergence of the codes' neighbourhoods from the embedding's.
        neighbour_scale: What the embedding's cosines are multiplied by there: the larger, the more the nearest alone
            count. What the codes' cosines are multiplied by is learned.
        largest_code_scale: What that is kept below: at a lower one items have to differ in more bits to stand as far
            apart, which serves where near-duplicates must be told apart.
        query_stretch: How much further from its target each query is set in training, at most, as a share of its own
            distance; how far is drawn anew in every step. Queries that were trained with lie nearer to their targets
            than new ones do, so that their codes are an easier task.
        hash_contrast_weight: Of the contrast of codes with those of their own pairs.
        quantization_weight: Of the mean squared distance of a relaxed bit from its sign.
        balance_weight: Of the mean square of a bit's mean over the batch.
    """

    bits: Annotated[int, Field(ge=1)] = 64
    hash_head: Literal["mlp", "linear"] = "mlp"
    hash_width: Annotated[int, Field(ge=1)] = 512
    hash_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    neighbour_weight: _Weight = 1.0
    neighbour_scale: Annotated[float, Field(gt=0)] = 20.0
    largest_code_scale: Annotated[float, Field(gt=0)] = LARGEST_SCALE
    query_stretch: _Weight = 0.0
    hash_contrast_weight: _Weight = 0.0
    quantization_weight: _Weight = 0.1
    balance_weight: _Weight = 0.1


CODE_OPTIONS = frozenset(field.name for field in fields(HashOptions))


class HashCodes(nn.Module):
    """The layer and its terms.

    Args:
        dimension: Width of the embedding.
        options: Its own.
        temperature: Where that of the codes begins.
    """

    def __init__(self, dimension: int, options: HashOptions, *, temperature: float = 0.07) -> None:
        """Build the layer."""
        super().__init__()
        self.dimension, self.o = dimension, options
        o = options
        if o.hash_head == "mlp":
            self.layer: nn.Module = HashLayer(dimension, o.bits, hidden=o.hash_width, dropout=o.hash_dropout)
        else:
            self.layer = mlp((dimension, o.bits), "tanh", last=True, dropout=o.hash_dropout)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, embedding: Tensor) -> Tensor:
        """Relaxed codes (B, bits) of embeddings (B, dimension) of length 1; the layer is given values of variance 1."""
        codes: Tensor = self.layer(embedding * math.sqrt(self.dimension))
        return codes

    def terms(self, query: Tensor, target: Tensor, same: Tensor, wrong: Tensor | None = None) -> dict[str, Tensor]:
        """What the codes of B pairs are held to.

        Args:
            query: Embeddings (B, dimension).
            target: Of the same pairs.
            same: (B, B), nonzero where two pairs must not be each other's negatives; only the contrast reads it, since
                neighbours are what the embedding says.
            wrong: Embeddings (B, dimension), of which row i is one more wrong answer to query i, such as its reference.
        """
        o, scale = self.o, clamped_scale(self.log_scale, self.o.largest_code_scale)
        if o.query_stretch and self.training:
            further = o.query_stretch * torch.rand(len(query), 1, device=query.device)
            query = functional.normalize(query + further * (query - target), dim=1)
        relaxed = self(torch.cat([query, target]))
        x, y = straight_through(relaxed).chunk(2)
        z = None if wrong is None else straight_through(self(wrong))
        terms = {
            "quantization": o.quantization_weight * quantization(relaxed) / o.bits,
            "balance": o.balance_weight * balance(relaxed),
        }
        if o.neighbour_weight:
            wanted, have = _scores(query, target, wrong, o.neighbour_scale), _scores(x, y, z, scale)
            pairs = slice(len(target))
            there, back = neighbours_of_scores(wanted, have), neighbours_of_scores(wanted[:, pairs].T, have[:, pairs].T)
            terms["neighbours"] = o.neighbour_weight * (there + back)
        if o.hash_contrast_weight:
            terms["contrast"] = o.hash_contrast_weight * info_nce(x, y, same, scale=scale)
            if z is not None:
                terms["reference"] = o.hash_contrast_weight * batch_classification(x, y, same, scale=scale, wrong=z)
        return terms


def _scores(queries: Tensor, targets: Tensor, wrong: Tensor | None, scale: Tensor | float) -> Tensor:
    """Scaled cosines of queries with all targets (B, B), and beside them each with its own wrong answer."""
    scores = scaled_cosines(queries, targets, scale)
    if wrong is None:
        return scores
    return torch.cat([scores, scaled_cosines(queries, wrong, scale).diagonal()[:, None]], dim=1)

"""TGDT: a global and a local branch over tokens, of which the first makes a shortlist and the second looks closely.

Liu et al., "Efficient Token-Guided Image-Text Retrieval with Consistent Multimodal Contrastive Training", TIP 2023
(arXiv 2306.08789). Regions and words pass through base encoders; further layers on top, with a slot for the whole, give
the global embedding. Loss, summed over the batch: triplets of global cosines, triplets of local scores (each word finds
its best region, :mod:`hashret.models.alignment`), and the consistency of the two modalities' global embeddings.

It learns jointly (stage ``joint``, what the abstract says) or in two phases (``local``, then ``global`` on base
encoders that are held still, which is all that the released code trains); the epochs of a recipe choose. Tokens that
are scored in training are those that search scores. In the released code the added layers see padding, padded regions
take part in the maximum, the last word is cut off and another caption of an image can be its negative; not here.

The stage ``codes`` is this library's: a hash layer on the global embedding, for a shortlist by Hamming distance.
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
from hashret.losses import consistency, equal_rows, info_nce_of_scores, triplet
from hashret.losses.triplet import Negatives
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
from hashret.models.alignment import aligned, pairwise_aligned
from hashret.models.features import Encoder, Features, Inputs, masked_mean
from hashret.models.heads import StandardTokens

__all__ = ["TGDT", "TGDTOptions"]

Width = Annotated[int, Field(ge=1)]
Layers = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class TGDTOptions(HashOptions):
    """Those of a hash layer, and the sizes and weights of TGDT; the defaults are the paper's.

    Attributes:
        dimension: Of tokens and global embeddings.
        heads: Attention heads of every layer.
        feedforward: Hidden width of every layer.
        dropout: In every layer.
        region_layers: Layers over the image tokens at ``region_width``, after two linear layers, before they are
            brought to ``dimension``; 0 leaves these and the linear layers out (a grid of a network that has seen its
            neighbourhood needs no more).
        region_width: Of those.
        base_layers: Layers of each base encoder.
        global_layers: Layers of each added encoder.
        global_token: What the slot of the whole begins as: the ``mean`` of the item's tokens (the paper's pooled
            image feature), or ``zero`` (its code).
        local_tokens: Whose tokens are scored: those of the ``base`` encoders, or of the ``added`` ones.
        standardize: Of which modality each value of a token is brought to mean 0 and variance 1 before anything else
            (detectors' regions need it less than the grid of a network that ends in a ReLU).
        token_dropout: Share of a token's features dropped before its projection, in training.
        local_scale: What a local product is multiplied by.
        local_pool: Whether a text's score is the ``sum`` over its words (the paper's), or their ``mean``, by which a
            caption is not ahead of another for being longer.
        ranking: What puts pairs above others, of both branches: the paper's ``triplet``; or ``contrast``, InfoNCE both
            ways with a learnable temperature a branch, in which all of a batch take part and a caption that agrees
            with every image pays for it.
        temperature: Where those begin.
        largest_scale: What 1 / temperature is kept below.
        margin: Of both triplet losses.
        consistency_margin: What the cosines of the two modalities may differ by.
        negatives: Which negatives of a batch count in both.
        global_weight: Of the triplets of global cosines.
        local_weight: Of the triplets of local scores.
        consistency_weight: Of the consistency.
    """

    dimension: Width = 1024
    heads: Width = 4
    feedforward: Width = 2048
    dropout: Share = 0.1
    region_layers: Layers = 4
    region_width: Width = 2048
    base_layers: Layers = 2
    global_layers: Layers = 2
    global_token: Literal["mean", "zero"] = "mean"
    local_tokens: Literal["base", "added"] = "base"
    standardize: Standardized = "none"
    token_dropout: Share = 0.0
    local_scale: Annotated[float, Field(gt=0)] = 10.0
    local_pool: Literal["sum", "mean"] = "sum"
    ranking: Literal["triplet", "contrast"] = "triplet"
    temperature: Annotated[float, Field(ge=1 / LARGEST_SCALE)] = 0.07
    largest_scale: Annotated[float, Field(gt=0)] = LARGEST_SCALE
    margin: Weight = 0.2
    consistency_margin: Weight = 0.3
    negatives: Negatives = "hardest"
    global_weight: Weight = 1.0
    local_weight: Weight = 1.0
    consistency_weight: Weight = 1.0


class TGDT(Method):
    """Global and local branch over any encoders that have tokens; ``options`` is a :class:`TGDTOptions`.

    Raises:
        InputError: An encoder without tokens, or heads that do not divide a width.
    """

    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("local", (Turn("base"),), measure="fine"),
        Stage("global", (Turn("added"),), measure="embedding"),
        Stage("joint", (Turn("all"),), measure="fine"),
        Stage("codes", (Turn("hash"),), reads=(), keeps=("query", "target"), measure="codes"),
    )
    settings: ClassVar[Mapping[str, StageSettings]] = {
        "local": StageSettings(epochs=0, batch_size=30, lr=1e-5, betas=(0.9, 0.999), clip=2.0, warmup=1000),
        "global": StageSettings(epochs=0, batch_size=30, lr=1e-5, betas=(0.9, 0.999), clip=2.0, warmup=1000),
        "joint": StageSettings(epochs=60, batch_size=30, lr=1e-5, betas=(0.9, 0.999), clip=2.0, warmup=1000),
        "codes": StageSettings(epochs=20, batch_size=256, lr=1e-3, betas=(0.9, 0.999), schedule="cosine"),
    }
    options: ClassVar[type] = TGDTOptions
    code_options: ClassVar[frozenset[str]] = CODE_OPTIONS
    reads_tokens: ClassVar[bool] = True
    looks_closer: ClassVar[bool] = True

    o: TGDTOptions

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: TGDTOptions,
        words_nonnegative: bool = True,
    ) -> None:
        """Build the base encoders, the added ones and the hash layer."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        o = options
        for side, encoder in (("image", image), ("text", text)):
            if not encoder.token_dimension:
                raise InputError(
                    f"{side}.name", expected="an encoder with a feature for each patch, region or word",
                    got=type(encoder).__name__, remedy="TGDT compares tokens: choose transformers, cnn or transformer.",
                )  # fmt: skip
        self._encoders = trainable(image) + trainable(text)
        self.even_regions, self.even_words = (
            StandardTokens(encoder.token_dimension) if o.standardize in (side, "both") else None
            for side, encoder in (("images", image), ("texts", text))
        )
        regions: list[nn.Module] = [nn.Linear(image.token_dimension, o.region_width), nn.ReLU()]
        regions += [nn.Linear(o.region_width, o.region_width)]
        self.regions = nn.Sequential(*regions) if o.region_layers else None
        self.region_encoder = self._layers(o.region_width, o.region_layers)
        self.image_projection = nn.Linear(o.region_width if o.region_layers else image.token_dimension, o.dimension)
        self.text_projection = nn.Linear(text.token_dimension, o.dimension)
        self.image_base, self.text_base = (self._layers(o.dimension, o.base_layers) for _ in range(2))
        self.image_added, self.text_added = (self._layers(o.dimension, o.global_layers) for _ in range(2))
        self.token_drop = nn.Dropout(o.token_dropout)
        self.log_scales = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(-math.log(o.temperature))) for name in ("local", "global")}
            if o.ranking == "contrast" else {}
        )  # fmt: skip
        self.hash = HashCodes(o.dimension, o)

    def _layers(self, width: int, count: int) -> nn.TransformerEncoder | None:
        """Transformer layers, normalised after attention; None for none."""
        o = self.o
        if not count:
            return None
        if width % o.heads:
            raise InputError(
                "method.heads", expected=f"a divisor of the width {width}", got=str(o.heads), remedy="Change either."
            )
        layer = nn.TransformerEncoderLayer(width, o.heads, o.feedforward, dropout=o.dropout, batch_first=True)
        return nn.TransformerEncoder(layer, count, enable_nested_tensor=False)

    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """The base, what is added, both, or the hash layer."""
        base: list[nn.Module | None] = [
            self.regions, self.region_encoder, self.image_projection, self.text_projection, self.image_base,
            self.text_base,
        ]  # fmt: skip
        added: list[nn.Module | None] = [self.image_added, self.text_added]
        scored = base if self.o.local_tokens == "base" else base + added
        coded: list[nn.Module | None] = [self.hash]
        trained = {"local": scored, "global": added, "joint": base + added, "codes": coded}
        networks = trained[stage.name]
        heads = [parameter for network in networks if network is not None for parameter in network.parameters()]
        learned = {"local": ["local"], "global": ["global"], "joint": ["local", "global"], "codes": []}[stage.name]
        heads += [self.log_scales[branch] for branch in learned if branch in self.log_scales]
        return {"heads": heads, "encoders": self._encoders if stage.name in ("local", "joint") else []}

    def prepare(self, stage: Stage, *, encoders: bool = True) -> None:
        """As for any method; where the base stands still, so do the means it stands on, which are no parameters."""
        super().prepare(stage, encoders=encoders)
        for part in (self.even_regions, self.even_words):
            if part is not None and stage.name == "global":
                part.eval()

    def fixed(self, inputs: Inputs, stage: Stage, side: Side) -> Tensor:
        """The global embedding, on which the hash layer learns."""
        return self.embed(inputs)

    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """Triplets of local scores, of global cosines, and consistency; or the hash layer's terms."""
        o, same = self.o, equal_rows(batch.instance)
        if stage.name == "codes":
            query, target = given(batch.query_fixed), given(batch.target_fixed)
            same = not_negatives(query, target, batch.instance)
            return self.hash.terms(query, target, same)
        (u, regions, seen), (t, words, read) = (self._branches(given(side)) for side in (batch.query, batch.target))
        terms = {}
        if stage.name in ("local", "joint"):
            scores = aligned(regions, self._weighted(words, read), seen, read)
            terms["local"] = o.local_weight * self._ranking(scores, same, "local")
        if stage.name in ("global", "joint"):
            terms["global"] = o.global_weight * self._ranking(u @ t.T, same, "global")
            terms["consistency"] = o.consistency_weight * consistency(u, t, margin=o.consistency_margin)
        return terms

    def embed(self, inputs: Inputs) -> Tensor:
        """The global embedding (B, dimension), of length 1."""
        return self._branches(inputs)[0]

    def relaxed(self, inputs: Inputs) -> Tensor:
        """The hash layer's output (B, bits)."""
        codes: Tensor = self.hash(self.embed(inputs))
        return codes

    def tokens(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """What the second look compares: (B, T, dimension), of length 1 or, of texts, of what a word counts."""
        _, tokens, mask = self._branches(inputs)
        return (tokens if inputs.image is not None else self._weighted(tokens, mask)), mask

    def score(self, query: Inputs, target: Inputs) -> Tensor:
        """The local scores (B,) of B images with a text each, or the other way round.

        Raises:
            InputError: Not an image and a text.
        """
        if one_modality(query, "TGDT") == one_modality(target, "TGDT"):
            raise InputError(
                "query and target", expected="images and texts", got="two of one kind", remedy="Embed these instead."
            )
        image, text = (query, target) if query.image is not None else (target, query)
        (regions, seen), (words, read) = self.tokens(image), self.tokens(text)
        return pairwise_aligned(regions, words, seen, read)

    def _weighted(self, words: Tensor, mask: Tensor) -> Tensor:
        """Words (B, T, dimension) times ``local_scale`` and, for a mean over them, divided by how many there are."""
        scaled = words * self.o.local_scale
        return scaled / mask.sum(1).clamp(min=1)[:, None, None] if self.o.local_pool == "mean" else scaled

    def _ranking(self, scores: Tensor, same: Tensor, branch: str) -> Tensor:
        """What is lost where an item of the batch comes before what belongs to another, or near it."""
        if self.o.ranking == "triplet":
            return triplet(scores, same, margin=self.o.margin, negatives=self.o.negatives)
        with torch.autocast(scores.device.type, enabled=False):
            scale = clamped_scale(self.log_scales[branch], self.o.largest_scale)
            return info_nce_of_scores(scale * (scores if scores.dtype == torch.float64 else scores.float()), same)

    def _branches(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Global embedding (B, D), local tokens (B, T, D) of length 1 and their mask (B, T)."""
        side = one_modality(inputs, "TGDT")
        tokens, mask = _tokens(
            *(
                (self.image, inputs.image, inputs.image_mask)
                if side == "image"
                else (self.text, inputs.text, inputs.text_mask)
            )
        )
        even = self.even_regions if side == "image" else self.even_words
        tokens = tokens if even is None else even(tokens, mask)
        tokens = self.token_drop(tokens)
        whole = masked_mean(tokens, mask) if self.o.global_token == "mean" else torch.zeros_like(tokens[:, 0])
        x, seen = torch.cat([whole[:, None], tokens], dim=1), functional.pad(mask, (1, 0), value=True)
        if side == "image":
            if self.regions is not None:
                x = _run(self.region_encoder, self.regions(x), seen)
            base, added = _run(self.image_base, self.image_projection(x), seen), self.image_added
        else:
            base, added = _run(self.text_base, self.text_projection(x), seen), self.text_added
        top = _run(added, base, seen)
        local = base if self.o.local_tokens == "base" else top
        return functional.normalize(top[:, 0], dim=1), functional.normalize(local[:, 1:], dim=2), mask


def _tokens(encoder: Encoder, x: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The tokens of one side and which of them are some; an item without any keeps its first."""
    features: Features = encoder(given(x), mask)
    tokens = given(features.tokens)
    if features.mask is None:
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    first = torch.arange(tokens.shape[1], device=tokens.device)[None] == 0
    return tokens, features.mask | (first & ~features.mask.any(1, keepdim=True))


def _run(layers: nn.TransformerEncoder | None, x: Tensor, mask: Tensor) -> Tensor:
    """Transformer layers that see no padding."""
    if layers is None:
        return x
    found: Tensor = layers(x, src_key_padding_mask=~mask)
    return found

"""What methods for composed queries share: a reference image and a text that modifies it ask for another image.

Encoders, a head on each, the contrast of queries with targets and a hash layer are the same for all of them, so that a
table of such methods compares the one thing in which they differ: how image and text become one query. Targets and
references pass through one head; a text head brings texts into the same space. Two stages: ``embedding`` trains heads,
composition and the encoders that are not frozen by the batch-based classification loss with a learnable temperature;
``codes`` trains the hash layer on the finished embedding (:mod:`hashret.methods.hash_codes`), so that codes of
queries are searched among codes of images. No composition stands here: each has its paper's file.

Features enter a composition at one length, sqrt(dimension), as those of the targets they are compared with have one
anyhow; the published codes hand over CLIP's own lengths, which are nearly equal within a modality.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hashret.errors import InputError
from hashret.losses import batch_classification, equal_rows
from hashret.methods.contrasts import LARGEST_SCALE, alike, clamped_scale, not_negatives
from hashret.methods.hash_codes import CODE_OPTIONS, HashCodes, HashOptions
from hashret.methods.method import Batch, Method, Side, Stage, StageSettings, Standardized, Turn, given, trainable
from hashret.models.features import Encoder, Inputs
from hashret.models.heads import HeadKind, ProjectionHead

__all__ = ["Composed", "ComposedOptions"]


@dataclass(frozen=True)
class ComposedOptions(HashOptions):
    """Those of a hash layer, and the sizes and weights that all methods for composed queries have.

    Attributes:
        dimension: Of the space in which queries and images are compared.
        head: What stands between an encoder and that space; see :data:`~hashret.models.heads.HeadKind`. ``none`` takes
            CLIP's own space, as the papers on CLIP do; two encoders that never met need ``mlp`` or ``linear``.
        width: Hidden width of a head.
        layers: Hidden layers of a head.
        dropout: Share of an encoder's features dropped before its head, in training.
        standardize: Of which modality each feature is brought to mean 0 and variance 1 before its head.
        temperature: Where the learnable temperature of the contrast begins.
        largest_scale: What 1 / temperature is held below (100, as in CLIP).
        duplicates: What other pairs of a batch are whose target, or whose whole query, is this pair's: ``left_out``
            they are no wrong answers; as ``negatives``, which published codes take them for, a query is pushed away
            from what it asks for.
        against_reference: Whether the reference of a query is one more wrong answer to it, in both stages: for
            galleries that hold the references, where a query otherwise finds its own first.
    """

    dimension: Annotated[int, Field(ge=1)] = 512
    head: HeadKind = "mlp"
    width: Annotated[int, Field(ge=1)] = 1024
    layers: Annotated[int, Field(ge=1)] = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    standardize: Standardized = "none"
    temperature: Annotated[float, Field(gt=0)] = 0.07
    largest_scale: Annotated[float, Field(gt=0)] = LARGEST_SCALE
    duplicates: Literal["left_out", "negatives"] = "left_out"
    against_reference: bool = False


class Composed(Method):
    """A method for composed queries; a subclass says how image and text become one.

    Raises:
        InputError: Heads ``none`` or ``residual`` over encoders that are not ``dimension`` wide; ``against_reference``,
            and the query is the reference itself.
    """

    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("embedding", (Turn("composition"),), measure="embedding"),
        Stage("codes", (Turn("hash"),), reads=(), keeps=("query", "target"), measure="codes"),
    )
    settings: ClassVar[Mapping[str, StageSettings]] = {
        "embedding": StageSettings(epochs=20, batch_size=256, lr=1e-3, betas=(0.9, 0.999), schedule="cosine"),
        "codes": StageSettings(epochs=20, batch_size=256, lr=1e-3, betas=(0.9, 0.999), schedule="cosine"),
    }
    options: ClassVar[type] = ComposedOptions
    code_options: ClassVar[frozenset[str]] = CODE_OPTIONS
    takes_composed: ClassVar[bool] = True
    needs_composed: ClassVar[bool] = True

    o: ComposedOptions

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: ComposedOptions,
        words_nonnegative: bool = True,
    ) -> None:
        """Build heads and hash layer; a subclass adds its composition."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        o = options
        if o.against_reference and not self.reads_texts:
            raise InputError(
                "against_reference", expected="false for a method that reads no texts", got="true",
                remedy="Its query is the reference itself: leave the option out.",
            )  # fmt: skip
        self._image_encoder, self._text_encoder = trainable(image), trainable(text)
        self.image_head = self._head(image, "images")
        self.text_head = self._head(text, "texts") if self.reads_texts else None
        self.log_scale = nn.Parameter(torch.tensor(-math.log(o.temperature)))
        self.hash = HashCodes(o.dimension, o)

    def _head(self, encoder: Encoder, modality: str) -> ProjectionHead:
        o = self.o
        return ProjectionHead(
            encoder.dimension, o.dimension, o.head, width=o.width, layers=o.layers, dropout=o.dropout,
            standardize=o.standardize in (modality, "both"),
        )  # fmt: skip

    @abstractmethod
    def compose(self, image: Tensor, text: Tensor) -> Tensor:
        """One query (B, dimension), of any length, of features of image and text (B, dimension)."""

    def composition(self) -> list[nn.Parameter]:
        """The parameters of :meth:`compose`; here none."""
        return []

    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """Heads, composition, temperature and encoders; or the hash layer."""
        if stage.name == "codes":
            return {"heads": list(self.hash.parameters()), "encoders": []}
        heads = [*self.image_head.parameters(), *self.composition(), self.log_scale]
        if self.text_head is None:
            return {"heads": heads, "encoders": self._image_encoder}
        return {"heads": heads + [*self.text_head.parameters()], "encoders": self._image_encoder + self._text_encoder}

    def fixed(self, inputs: Inputs, stage: Stage, side: Side) -> Tensor:
        """The embedding, on which the hash layer learns; of a query, beside it the reference's if that is wrong."""
        if not self.o.against_reference or inputs.image is None or inputs.text is None:
            return self.embed(inputs)
        image = self.image_features(inputs)
        query = self.compose(image, self.text_features(inputs))
        return torch.cat([functional.normalize(part, dim=1) for part in (query, image)], dim=1)

    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """The contrast of queries with targets; or what the codes of finished embeddings are held to."""
        if stage.name == "codes":
            return self.code_terms(batch)
        query, target = given(batch.query), given(batch.target)
        same = self.excused(alike(query), alike(target), batch)
        scale = clamped_scale(self.log_scale, self.o.largest_scale)
        x, wrong = self.beside_reference(self.fixed(query, stage, "query"))
        return {"contrast": batch_classification(x, self.embed(target), same, scale=scale, wrong=wrong)}

    def excused(self, queries: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Which pairs are not each other's wrong answers, bool (B, B).

        Args:
            queries: Which queries are equal, bool (B, B).
            targets: The same of the targets.
            batch: Theirs.
        """
        if self.o.duplicates == "negatives":
            return torch.zeros_like(queries)
        return queries | targets | equal_rows(batch.instance)

    def code_terms(self, batch: Batch) -> dict[str, Tensor]:
        """The hash layer's terms."""
        target = given(batch.target_fixed)
        query, reference = self.beside_reference(given(batch.query_fixed))
        same = not_negatives(query, target, batch.instance)
        return self.hash.terms(query, target, same, reference)

    def beside_reference(self, embeddings: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings of queries, and those of their references where these are wrong answers."""
        if embeddings.shape[1] == self.o.dimension:
            return embeddings, None
        return embeddings[:, : self.o.dimension], embeddings[:, self.o.dimension :]

    def embed(self, inputs: Inputs) -> Tensor:
        """The shared space (B, dimension), of length 1: of an image, of a text, or of a composed query.

        Raises:
            InputError: A text alone, and the method reads none.
        """
        if inputs.image is None:
            return functional.normalize(self.text_features(inputs), dim=1)
        image = self.image_features(inputs)
        if inputs.text is None:
            return functional.normalize(image, dim=1)
        return functional.normalize(self.compose(image, self.text_features(inputs)), dim=1)

    def relaxed(self, inputs: Inputs) -> Tensor:
        """The hash layer's output (B, bits)."""
        codes: Tensor = self.hash(self.embed(inputs))
        return codes

    def image_features(self, inputs: Inputs) -> Tensor:
        """Of the images, (B, dimension), each of length sqrt(dimension)."""
        return self.projected(self.image(given(inputs.image), inputs.image_mask).pooled, self.image_head)

    def text_features(self, inputs: Inputs) -> Tensor:
        """Of the texts, (B, dimension), each of length sqrt(dimension)."""
        return self.projected(self.text(given(inputs.text), inputs.text_mask).pooled, given(self.text_head))

    def projected(self, pooled: Tensor, head: ProjectionHead) -> Tensor:
        """What a head makes of an encoder's features, at length sqrt(dimension)."""
        return functional.normalize(head(pooled), dim=1) * math.sqrt(self.o.dimension)

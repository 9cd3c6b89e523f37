"""MLCL: multi-level contrastive learning for composed queries.

Zhao, Lu, Zhao, Wu, Lu, "Multi-Level Contrastive Learning for Hybrid Cross-Modal Retrieval", ICASSP 2024. On CLIP4Cir's
combiner, with r and t the features of the reference and the text, y of the target, z, h, lambda as in
:class:`~hashret.models.fusion.Combiner`:

* three levels: sum f_s = r + t, concatenation f_c = W_p h, hybrid fusion f_h = W_o h + lambda t + (1 - lambda) r, each
  contrasted with y in one direction (mCCL), weighed by 1, 2 - 2 sigma(w) and 2 sigma(w) with a learnable w;
* self-supervision (SSCL): an augmented copy of the reference goes the same way with the same text, and each z has to
  find its copy's in the batch, each f_h its copy's;
* asked with is the direction of a_h f_h + a_c f_c + f_s, the levels at length 1.

Stages: ``text`` and ``image`` fine-tune one encoder each (query r + t, a fixed scale); ``combiner`` learns on what the
encoders, which then stand still, make of everything, computed once; ``joint`` is this library's, for encoders that are
learned from scratch: everything moves; ``codes`` is this library's too. Those of 0 epochs are left out, the first two
and ``joint`` by default.

An augmentation changes pixels, so a view cannot be made of a cached feature. Each training reference therefore has
``copies`` numbered copies (:mod:`hashret.training.views`): stages on features keep those of every copy and draw one an
epoch, stages that read pixels make the copy that is drawn. The paper draws anew in every step and encodes everything
again, which no cache can serve; with many copies that is approached.

What the released code does that an option decides here:

* ``levels``: it weighs the levels of a query the other way round than their losses (``swapped``). The default is
  ``straight``: a level that the drift below has all but taken out of the loss should not lead the query. One network
  asked both ways (2,000 edits of drawn shapes, 6 epochs, one seed, hit@5 and hit@10 of 200 test queries): .580 and
  .820 straight, .515 and .810 swapped.
* ``balance`` is learned by the very loss that it weighs, so that it drifts to the level whose loss is lower (in that
  run the fusion's weight went from 0.67 to 1.64); it can be ``fixed``, or learn at another pace (``balance_pace``).
* The sum's term trains nothing but the temperature where there are no heads and no encoder learns (``sum_weight``).
* Equal targets are each other's negatives (``duplicates``), and so in SSCL.
* Hue, flips, rotations and grey contradict texts that speak of colour or side (``augmentations``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hashret.losses import batch_classification, equal_rows, level_weights
from hashret.methods.combiner import CombinerOptions
from hashret.methods.composed import Composed
from hashret.methods.contrasts import alike, clamped_scale
from hashret.methods.method import Batch, Side, Stage, StageSettings, Turn, given
from hashret.models.augmentation import AUGMENTATIONS, Augmentation, AugmentationKind
from hashret.models.features import Encoder, Inputs
from hashret.models.fusion import Combiner

__all__ = ["MLCL", "MLCLOptions"]

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class MLCLOptions(CombinerOptions):
    """Those of CLIP4Cir's combiner, and MLCL's.

    Attributes:
        concatenation_dropout: Share of h dropped before the concatenation's output, in training.
        levels: How the levels of a query are weighed: by their losses' weights (``straight``), or each by the other's
            (``swapped``, the released code).
        balance: Whether w is ``learned`` or ``fixed`` where it begins.
        balance_start: Where w begins; ln 0.5 weighs fusion by 2/3 and concatenation by 4/3, 0 both by 1.
        balance_pace: How many times faster than everything else w moves (the paper: 1e-3 against 2e-5).
        sum_weight: Of the sum's loss.
        self_weight: Of both self-supervised losses; with 0 no copy is made.
        self_temperature: Where their own learnable temperature begins.
        tuning_scale: What cosines are multiplied by in the stages ``text`` and ``image``.
        copies: How many augmented copies of each training reference there are, of which an epoch draws one. Each is
            encoded once where stages learn on features.
        augmentations: What a copy may differ in; see :class:`~hashret.models.augmentation.Augmentation`.
    """

    concatenation_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    levels: Literal["straight", "swapped"] = "straight"
    balance: Literal["learned", "fixed"] = "learned"
    balance_start: float = math.log(0.5)
    balance_pace: Annotated[float, Field(gt=0)] = 50.0
    sum_weight: Weight = 1.0
    self_weight: Weight = 1.0
    self_temperature: Annotated[float, Field(gt=0)] = 0.07
    tuning_scale: Annotated[float, Field(gt=0)] = 100.0
    copies: Annotated[int, Field(ge=1)] = 4
    augmentations: tuple[AugmentationKind, ...] = ("crop", "jitter", "autocontrast", "perspective")


class Levels(NamedTuple):
    """What the combiner makes of B queries: z, and the levels, (B, dimension) each and of length 1."""

    concatenated: Tensor
    total: Tensor
    middle: Tensor
    high: Tensor


_TUNED: dict[str, Any] = {"lr": 1e-3, "encoder_lr": 2e-6, "betas": (0.9, 0.999), "batch_size": 128}
_PUBLISHED: dict[str, Any] = {"epochs": 100, "lr": 2e-6, "encoder_lr": 2e-6, "weight_decay": 0.01, "batch_size": 128}


class MLCL(Composed):
    """Three levels of a combiner and their contrasts; ``options`` is an :class:`MLCLOptions`."""

    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("text", (Turn("text"),), measure="embedding"),
        Stage("image", (Turn("image"),), measure="embedding"),
        Stage("combiner", (Turn("levels"),), reads=(), keeps=("query", "target", "view"), measure="embedding"),
        Stage("joint", (Turn("levels"),), reads=("query", "target", "view"), measure="embedding"),
        Stage("codes", (Turn("hash"),), reads=(), keeps=("query", "target"), measure="codes"),
    )
    settings: ClassVar[Mapping[str, StageSettings]] = {
        "text": StageSettings(epochs=0, **_TUNED),
        "image": StageSettings(epochs=0, **_TUNED),
        "combiner": StageSettings(epochs=50, batch_size=1024, lr=1e-4, betas=(0.9, 0.999), schedule="cosine"),
        "joint": StageSettings(epochs=0, batch_size=256, lr=1e-3, betas=(0.9, 0.999), schedule="cosine"),
        "codes": StageSettings(epochs=20, batch_size=256, lr=1e-3, betas=(0.9, 0.999), schedule="cosine"),
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {
            "options": {
                "head": "none",
                "temperature": 0.01,
                "self_temperature": 0.01,
                "largest_scale": 1e6,
                "duplicates": "negatives",
                "levels": "swapped",
                "augmentations": AUGMENTATIONS,
            },
            "stages": {
                "text": _PUBLISHED,
                "image": _PUBLISHED,
                "combiner": {"epochs": 1000, "batch_size": 2048, "lr": 2e-5, "schedule": "constant"},
            },
        }
    }
    options: ClassVar[type] = MLCLOptions

    o: MLCLOptions

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: MLCLOptions,
        words_nonnegative: bool = True,
    ) -> None:
        """Build heads, combiner, levels and hash layer."""
        super().__init__(
            image, text, classes=classes, words=words, options=options, words_nonnegative=words_nonnegative
        )
        o = options
        self.fusion = Combiner(
            o.dimension, projection_width=o.projection_width, hidden_width=o.hidden_width, dropout=o.combiner_dropout
        )
        self.concatenation = nn.Sequential(nn.Dropout(o.concatenation_dropout), nn.Linear(o.hidden_width, o.dimension))
        self.self_log_scale = nn.Parameter(torch.tensor(-math.log(o.self_temperature)))
        # w = pace * balance: with Adam, whose steps do not know a gradient's size, w then moves so much faster.
        start = torch.tensor(o.balance_start / o.balance_pace)
        self.balance = nn.Parameter(start, requires_grad=o.balance == "learned")
        if o.self_weight:
            self.augmentation, self.copies = Augmentation(tuple(o.augmentations)), o.copies

    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """One encoder with its head; heads, combiner and scalars, with or without the encoders; or the hash layer."""
        assert self.text_head is not None
        match stage.name:
            case "text":
                return {"heads": list(self.text_head.parameters()), "encoders": self._text_encoder}
            case "image":
                return {"heads": list(self.image_head.parameters()), "encoders": self._image_encoder}
        parameters = super().parameters_of(stage, turn)
        return parameters | ({"encoders": []} if stage.name == "combiner" else {})

    def composition(self) -> list[nn.Parameter]:
        """Combiner, the concatenation's output, and the scalars that are learned."""
        o = self.o
        scalars = [self.self_log_scale] if o.self_weight else []
        scalars += [self.balance] if o.balance == "learned" else []
        return [*self.fusion.parameters(), *self.concatenation.parameters(), *scalars]

    def fixed(self, inputs: Inputs, stage: Stage, side: Side) -> Tensor:
        """What the encoders make of images, or of images and texts side by side; or the embedding, for codes."""
        if stage.name == "codes":
            return super().fixed(inputs, stage, side)
        parts = [self.image(given(inputs.image), inputs.image_mask).pooled]
        if inputs.text is not None:
            parts.append(self.text(inputs.text, inputs.text_mask).pooled)
        return torch.cat(parts, dim=1)

    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """The contrast of the sum; of all levels, with self-supervision; or of codes."""
        if stage.name == "codes":
            return self.code_terms(batch)
        if stage.name == "combiner":
            return self._on_features(batch)
        query, target = given(batch.query), given(batch.target)
        same = self.excused(alike(query), alike(target), batch)
        r, t, y = self.image_features(query), self.text_features(query), self.image_features(target)
        if stage.name == "joint":
            view = self.image_features(given(batch.view)) if self.o.self_weight else None
            return self._terms(r, t, y, view, same)
        return {"contrast": batch_classification(r + t, y, same, scale=self.o.tuning_scale)}

    def _on_features(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of features that were kept."""
        query, target = given(batch.query_fixed), given(batch.target_fixed)
        same = self.excused(equal_rows(query), equal_rows(target), batch)
        image, text = query[:, : self.image.dimension], query[:, self.image.dimension :]
        view = self.projected(given(batch.view_fixed), self.image_head) if self.o.self_weight else None
        r, y = self.projected(image, self.image_head), self.projected(target, self.image_head)
        return self._terms(r, self.projected(text, given(self.text_head)), y, view, same)

    def _terms(self, r: Tensor, t: Tensor, y: Tensor, view: Tensor | None, same: Tensor) -> dict[str, Tensor]:
        """MCCL and SSCL of features of references, texts, targets and copies of the references."""
        o = self.o
        projected = self.fusion.projected_text(t)
        levels = self._levels(r, t, projected)
        scale = clamped_scale(self.log_scale, o.largest_scale)
        high, middle = self.level_weights()
        wrong = r if o.against_reference else None

        def told(level: Tensor) -> Tensor:
            return batch_classification(level, y, same, scale=scale, wrong=wrong)

        terms = {
            "fusion": high * told(levels.high),
            "concatenation": middle * told(levels.middle),
            "sum": o.sum_weight * told(levels.total),
        }
        if view is None:
            return terms
        copy = self._levels(view, t, projected)
        scale = clamped_scale(self.self_log_scale, o.largest_scale)

        def found(own: Tensor, other: Tensor) -> Tensor:
            return o.self_weight * batch_classification(own, other, same, scale=scale)

        return terms | {
            "self_concatenation": found(levels.concatenated, copy.concatenated),
            "self_fusion": found(levels.high, copy.high),
        }

    def _levels(self, r: Tensor, t: Tensor, projected_text: Tensor) -> Levels:
        z = self.fusion.concatenated(r, projected_text)
        h = self.fusion.combined(z)
        parts = (r + t, self.concatenation(h), self.fusion.fused(r, t, z, h))
        return Levels(z, *(functional.normalize(part, dim=1) for part in parts))

    def level_weights(self) -> tuple[Tensor, Tensor]:
        """Of the losses of fusion and concatenation."""
        return level_weights(self.o.balance_pace * self.balance)

    def compose(self, image: Tensor, text: Tensor) -> Tensor:
        """a_h f_h + a_c f_c + f_s."""
        levels = self._levels(image, text, self.fusion.projected_text(text))
        high, middle = self.level_weights()
        if self.o.levels == "swapped":
            high, middle = middle, high
        return high * levels.high + middle * levels.middle + levels.total

"""What a method is: a network that says in which stages and turns it learns, and what it loses in each.

The loop that trains it, the evaluation that measures it and the retriever that serves it know only this file. A method
reads tensors, never files, labels of a test split or the loop's state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from hashret.errors import DataError, InputError
from hashret.models.augmentation import Augmentation
from hashret.models.features import Encoder, Features, Inputs

__all__ = ["Batch", "Method", "Stage", "StageSettings", "Standardized", "Turn"]

Side = Literal["query", "target", "view"]
"""A side of a training pair; its view is an augmented copy of the query's image, where the method asks for some."""
Standardized = Literal["none", "images", "texts", "both"]
"""Whose features a method brings to mean 0 and variance 1 before its own layers; bags of words are better left alone,
since their rare words would be the loudest."""
Given = TypeVar("Given")


@dataclass(frozen=True)
class StageSettings:
    """How one stage is trained; a method has defaults and its paper's values as presets, a recipe overrides both.

    The bounds are checked where a recipe is read.

    Attributes:
        epochs: Passes over the training pairs, >= 0; with 0 the stage is left out.
        batch_size: Pairs a batch, >= 2; of several processes that train together those of all of them.
        lr: Learning rate of Adam.
        encoder_lr: Learning rate of the encoders where they are trained; None = ``lr``, 0 holds them still in this
            stage.
        layer_decay: What a layer of an encoder learns more slowly by than the one above it; 1 = all alike.
        betas: Adam's decay rates.
        weight_decay: Decoupled weight decay (AdamW); 0 is plain Adam.
        schedule: ``constant``, ``cosine`` (to 0 over the stage) or ``plateau`` (factor 1/2 after 5 epochs without a
            better validation score or, in stages that have none, a better training loss; not below 1e-6).
        warmup: Steps over which the learning rate rises linearly from 0.
        clip: Largest gradient norm of a turn; 0 = no clipping.
        patience: Epochs without a better validation score after which the stage ends; 0 = never.
        validate_every: Epochs between validations, >= 1; the last epoch is always validated. The best of the validated
            epochs is kept.
        accumulate: Batches a step: each turn averages the gradients of so many successive batches, every batch at equal
            weight, and its optimiser steps once. The last step of an epoch averages over the batches that are left.
            Rates, warm-up, clipping and checkpoints count steps; a loss still sees one batch. Where turns share a
            forward pass, those of all batches of a step are held at once.
        chunk: Items an encoder that learns sees at a time with gradient; 0 = the whole batch. The loss sees the whole
            batch all the same, for a second forward pass of the encoder (gradient caching). It changes nothing where no
            encoder learns, and encoders with batch normalisation are refused.
        together: Which pairs stand in one batch: ``any``, as they are shuffled; or those whose queries have the same
            ``image``, as far as it holds them: several edits of one reference, whose targets are nearly alike, are then
            each other's wrong answers, which random batches hardly ever bring together; or those that the dataset says
            are of one ``group`` (those of no group as with ``image``).
    """

    epochs: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=2)] = 80
    lr: Annotated[float, Field(gt=0)] = 1e-4
    encoder_lr: Annotated[float, Field(ge=0)] | None = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    warmup: Annotated[int, Field(ge=0)] = 0
    clip: Annotated[float, Field(ge=0)] = 0.0
    patience: Annotated[int, Field(ge=0)] = 0
    validate_every: Annotated[int, Field(ge=1)] = 1
    accumulate: Annotated[int, Field(ge=1)] = 1
    chunk: Annotated[int, Field(ge=0)] = 0
    together: Literal["any", "image", "group"] = "any"


@dataclass(frozen=True)
class Turn:
    """One optimiser's turn within a step; ``repeat`` times before the next turn."""

    name: str
    repeat: int = 1


@dataclass(frozen=True)
class Stage:
    """A part of training with its own parameters, data and measure.

    Attributes:
        name: As in the recipe's ``stages`` and the log.
        turns: What happens, in order, in every step.
        reads: The sides of a pair whose raw inputs the stage needs; the others are not even decoded.
        keeps: The sides of which :meth:`Method.fixed` keeps features of the stages before.
        measure: What the validation score ranks by after each epoch: the embedding's cosine, the codes' Hamming
            distance or, in methods that have one, the fine score of everything; ``none`` keeps the last epoch.
    """

    name: str
    turns: tuple[Turn, ...]
    reads: tuple[Side, ...] = ("query", "target")
    keeps: tuple[Side, ...] = ()
    measure: Literal["none", "embedding", "codes", "fine"] = "none"


@dataclass
class Batch:
    """What a loss sees at once: the pairs of a step, or one of several such parts of it.

    Attributes:
        query: Inputs of B queries (usually images), or None where the stage does not read them.
        target: Inputs of B targets (usually texts), or None.
        labels: Multi-hot float32 (B, C), or None where the dataset has no labels.
        instance: int64 (B,).
        query_fixed: What :meth:`Method.fixed` gave for these queries, (B, D), or None.
        target_fixed: The same of the targets.
        view: Inputs of augmented copies of the B queries' images, without their texts, or None.
        view_fixed: What :meth:`Method.fixed` gave for these, or None.
        items: Number of distinct training instances.
        steps: Batches of an epoch.
        scratch: What the turns of this step share, such as a forward pass; empty when a step begins. Only the last
            turn may send a gradient through it.
    """

    query: Inputs | None
    target: Inputs | None
    labels: Tensor | None
    instance: Tensor
    query_fixed: Tensor | None = None
    target_fixed: Tensor | None = None
    items: int = 0
    steps: int = 0
    view: Inputs | None = None
    view_fixed: Tensor | None = None
    scratch: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.instance)

    def to(self, device: torch.device) -> Batch:
        """The batch on another device, with an empty scratch."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return replace(
            self,
            query=self.query.to(device) if self.query else None,
            target=self.target.to(device) if self.target else None,
            labels=move(self.labels),
            instance=self.instance.to(device),
            query_fixed=move(self.query_fixed),
            target_fixed=move(self.target_fixed),
            view=self.view.to(device) if self.view else None,
            view_fixed=move(self.view_fixed),
            scratch={},
        )


class Method(nn.Module, ABC):
    """A trainable retrieval method.

    Class attributes:
        stages: In training order.
        settings: Default :class:`StageSettings` by stage name.
        options: The dataclass of the method's own options, all with defaults; a recipe's ``method:`` section.
        presets: Named sets of options and stage settings, such as a paper's values for one dataset, in the form of a
            recipe: ``{"options": {...}, "stages": {...}}``.
        needs_labels: Whether every training pair must have labels.
        takes_composed: Whether an input may hold an image and a text; if not, it pairs images with texts.
        needs_composed: Whether every training pair must be of an image and a text with an image.
        reads_texts: Whether a text alone can be embedded.
        generates_texts: Whether it reads the bags of words of texts, for which a vocabulary is then fitted.
        reads_tokens: Whether it reads :attr:`Features.tokens <hashret.models.features.Features.tokens>`; what frozen
            encoders make is then kept as tokens.
        looks_closer: Whether :meth:`tokens` gives what a second look compares; others are looked at by embeddings.
        counts_instances: Whether it is built with ``instances``, the number of distinct training instances.
        code_options: Which options the last stage alone reads, so that codes can be learned by others of a finished
            embedding.
        training_only: Names of its parts that retrieval does not need; they are not saved with the model.

    Args:
        image: Image encoder.
        text: Text encoder.
        classes: Number of labels of the dataset, 0 where it has none.
        words: Width of what stands for a text where texts are generated: the bag of words, or the text vectors
            themselves.
        words_nonnegative: Whether those are never negative.
        options: An instance of the class's ``options``; all have ``bits`` and ``dimension``.

    Raises:
        DataError: No labels, and the method needs them.

    Attributes:
        bits: Width of a code.
        dimension: Width of an embedding.
        augmentation: How the augmented copies are made that its stages read beside the queries; None where none are.
        copies: How many there are of each query's image.
        arguments: ``classes``, ``words`` and ``words_nonnegative``, so that a saved model can be built again.
        memory: What training remembers beside the weights, by name, such as the outputs of all training items; the
            method fills it. It is empty when a stage begins, saved with checkpoints and never with the model.
    """

    stages: ClassVar[tuple[Stage, ...]]
    settings: ClassVar[Mapping[str, StageSettings]]
    options: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    needs_labels: ClassVar[bool] = False
    takes_composed: ClassVar[bool] = False
    needs_composed: ClassVar[bool] = False
    reads_texts: ClassVar[bool] = True
    generates_texts: ClassVar[bool] = False
    reads_tokens: ClassVar[bool] = False
    looks_closer: ClassVar[bool] = False
    counts_instances: ClassVar[bool] = False
    code_options: ClassVar[frozenset[str]] = frozenset({"bits"})
    training_only: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        *,
        classes: int,
        words: int,
        options: Any,
        words_nonnegative: bool = True,
    ) -> None:
        """Hold the encoders and what the method was built with."""
        super().__init__()
        self.image, self.text = image, text
        self.o = options
        self.bits: int = options.bits
        self.dimension: int = options.dimension
        self.arguments = {"classes": classes, "words": words, "words_nonnegative": words_nonnegative}
        self.memory: dict[str, Tensor] = {}
        self.augmentation: Augmentation | None = None
        self.copies = 1
        if self.needs_labels and classes < 1:
            raise DataError(
                type(self).__name__, expected="a dataset with labels", got="none",
                remedy="Give labels, or use a method for pairs without labels.",
            )  # fmt: skip

    @abstractmethod
    def parameters_of(self, stage: Stage, turn: Turn) -> dict[str, list[nn.Parameter]]:
        """The parameters a turn owns, in the groups "heads" and "encoders"; only these move in it."""

    @abstractmethod
    def losses(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """The weighted terms of a turn's objective by name; their sum is minimised."""

    def begin_epoch(self, stage: Stage) -> None:
        """Called before the first step of each epoch, not where a run goes on within one; here nothing happens."""

    @abstractmethod
    def embed(self, inputs: Inputs) -> Tensor:
        """Continuous features (B, dim), compared by cosine."""

    @abstractmethod
    def relaxed(self, inputs: Inputs) -> Tensor:
        """Relaxed codes (B, bits) in (-1, 1); their signs are the code."""

    def pooled(self, inputs: Inputs) -> Tensor:
        """What the encoder of the inputs' one modality makes of them, (B, its dimension).

        Raises:
            InputError: They hold both an image and a text.
        """
        if one_modality(inputs, type(self).__name__) == "image":
            features: Features = self.image(given(inputs.image), inputs.image_mask)
        else:
            features = self.text(given(inputs.text), inputs.text_mask)
        return features.pooled

    def as_run(self, stage: Stage, *, standing: bool) -> Stage:
        """A stage as this method's options make it.

        Args:
            stage: One of its stages.
            standing: Whether no encoder learns in it (``encoder_lr: 0``), so that what they give may be kept.
        """
        return stage

    def fixed(self, inputs: Inputs, stage: Stage, side: Side) -> Tensor:
        """What a stage keeps of one side of each training pair from the stages before it, (B, D).

        Computed once for the sides in ``stage.keeps``, before the stage begins, without gradient and in evaluation
        mode.
        """
        raise AssertionError(f"{type(self).__name__} keeps nothing for stage {stage.name}")

    def tokens(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """What the second look compares, where ``looks_closer``: tokens (B, T, D) and which are some, bool (B, T).

        The fine score of an image and a text is the sum over the words of the largest product with a region.
        """
        raise AssertionError(f"{type(self).__name__} has no tokens to look at")

    def score(self, query: Inputs, target: Inputs) -> Tensor:
        """Scores (B,) of B queries against one target each, for a second look; here the cosine of the embeddings."""
        return functional.cosine_similarity(self.embed(query), self.embed(target), dim=1)

    def forward(self, batch: Batch, stage: Stage, turn: Turn) -> dict[str, Tensor]:
        """The same as :meth:`losses`; wrappers for several processes call a module, not a method of it."""
        return self.losses(batch, stage, turn)

    def prepare(self, stage: Stage, *, encoders: bool = True) -> None:
        """Make a stage's own parameters trainable and everything else still: no gradient, no dropout.

        Args:
            stage: The stage.
            encoders: Whether its group "encoders" is trained.
        """
        groups = [self.parameters_of(stage, turn) for turn in stage.turns]
        own = {id(p) for group in groups for name in group if encoders or name != "encoders" for p in group[name]}
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) in own)
        self.train()
        for module in self.modules():
            still = [not parameter.requires_grad for parameter in module.parameters()]
            if still and all(still):
                module.eval()


def one_modality(inputs: Inputs, name: str) -> Literal["image", "text"]:
    """Which modality the inputs are of, for methods that know no composed queries.

    Raises:
        InputError: They hold both an image and a text.
    """
    if inputs.image is not None and inputs.text is not None:
        raise InputError(
            "inputs",
            expected=f"an image or a text: {name} has no composed queries",
            got="both",
            remedy="Use a method for composed queries, or leave one out.",
        )
    return "image" if inputs.image is not None else "text"


def given(part: Given | None) -> Given:
    """A part of a batch that the stage said it reads."""
    assert part is not None
    return part


def trainable(encoder: Encoder) -> list[nn.Parameter]:
    """The parameters of an encoder that is not frozen, to be asked for before a stage is prepared."""
    return [parameter for parameter in encoder.parameters() if parameter.requires_grad]

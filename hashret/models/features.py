"""What goes into an encoder and what comes out of it, and the one way to run a network so that batches do not matter.

Raw examples become :class:`Inputs` in :mod:`hashret.models.processor`; an :class:`Encoder` turns one side of them into
:class:`Features`; methods take it from there. Nothing here decodes an image, splits a text or chooses a device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from hashret.errors import InputError, WidthError

__all__ = [
    "TOKEN_STEP",
    "Encoder",
    "Features",
    "Inputs",
    "Preprocess",
    "Side",
    "TextTransform",
    "evaluating",
    "in_blocks",
]

Side = Literal["image", "text"]

TOKEN_STEP = 16
"""Rows of token ids come in multiples of this width (or the model's limit), so that similar lengths run together."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch of B items as tensors: images, texts or both (composed queries).

    Attributes:
        image: float (B, 3, H, W), normalised pixels, or float (B, D), feature vectors; None if the items have no image.
        text: int64 (B, T), token ids, or float (B, D), a vector or a bag of words; None if the items have no text.
        text_mask: bool (B, T), True where a token id is one; None beside vectors.
        bag: float (B, V), bag of words of the texts; None without a vocabulary or where texts are vectors.

    Raises:
        InputError: Neither image nor text, different numbers of items, or token ids without their mask.

    Example:
        >>> ids = torch.tensor([[5, 6, 0], [7, 0, 0]])
        >>> inputs = Inputs(text=ids, text_mask=ids > 0)
        >>> len(inputs), inputs.rows([1]).text.tolist()
        (2, [[7, 0, 0]])
    """

    image: Tensor | None = None
    text: Tensor | None = None
    text_mask: Tensor | None = None
    bag: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that the parts are of one batch."""
        sizes = {name: len(tensor) for name, tensor in self._parts().items()}
        if self.image is None and self.text is None:
            raise InputError(
                "inputs", expected="an image, a text or both", got="neither", remedy="Leave empty items out."
            )
        if len(set(sizes.values())) != 1:
            raise InputError(
                "inputs", expected="as many of each", got=str(sizes), remedy="Take them from the same items."
            )
        ids = self.text is not None and not self.text.is_floating_point()
        if ids and (self.text_mask is None or self.text is None or self.text_mask.shape != self.text.shape):
            raise InputError(
                "text_mask", expected="bool (B, T) beside the token ids",
                got="none" if self.text_mask is None else str(tuple(self.text_mask.shape)),
                remedy="Pass on the mask that came with the ids.",
            )  # fmt: skip

    def _parts(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor for name, tensor in values.items() if tensor is not None}

    def __len__(self) -> int:
        """Number of items."""
        return len(next(iter(self._parts().values())))

    def to(self, device: torch.device | str) -> Inputs:
        """The same batch on another device."""
        return Inputs(**{name: tensor.to(device) for name, tensor in self._parts().items()})

    def rows(self, index: slice | Sequence[int] | Tensor) -> Inputs:
        """The items at ``index``: a slice, integers or a boolean mask; always Inputs, also for one item."""
        where = index if isinstance(index, (slice, Tensor)) else torch.as_tensor(index, dtype=torch.int64)
        return Inputs(**{name: tensor[where] for name, tensor in self._parts().items()})

    @staticmethod
    def stack(parts: Sequence[Inputs]) -> Inputs:
        """Join batches, one after the other; shorter token rows are filled up with masked ids.

        Raises:
            InputError: No parts, or parts of different kinds.
        """
        kinds = {tuple(part._parts()) for part in parts}
        if len(kinds) != 1:
            raise InputError(
                "inputs to join", expected="batches of one kind", got=str(sorted(kinds)),
                remedy="Join image batches with image batches and text batches with text batches.",
            )  # fmt: skip
        joined = {}
        for name in kinds.pop():
            tensors = [part._parts()[name] for part in parts]
            if name == "text_mask" or (name == "text" and not tensors[0].is_floating_point()):
                width = max(tensor.shape[1] for tensor in tensors)
                tensors = [functional.pad(tensor, (0, width - tensor.shape[1])) for tensor in tensors]
            joined[name] = torch.cat(tensors)
        return Inputs(**joined)


@dataclass(frozen=True, eq=False)
class Features:
    """What an encoder returns for B items.

    Attributes:
        pooled: float (B, D), one vector an item; D is the encoder's ``dimension``.
        tokens: float (B, T, E), a vector for each patch or word; E is the encoder's ``token_dimension``. None if it has
            none.
        mask: bool (B, T), True where a token is one; None if all are.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None


class Preprocess(Protocol):
    """From a decoded image to pixels an encoder reads; picklable, and no part of the network."""

    def __call__(self, image: Image.Image, /) -> Tensor:
        """Normalised pixels float32 (3, H, W) of an RGB image; H and W are always the same."""

    def config(self) -> dict[str, Any]:
        """What rebuilds it, JSON-able."""


class TextTransform(Protocol):
    """From texts to what an encoder reads; picklable, and no part of the network."""

    def __call__(self, texts: Sequence[str], /) -> tuple[Tensor, Tensor | None]:
        """Token ids int64 (B, T) with their mask bool (B, T), or vectors float32 (B, D) and None."""

    def config(self) -> dict[str, Any]:
        """What rebuilds it, JSON-able, beside the words or tokenizer files it is saved with."""

    def fingerprint(self) -> str:
        """What tells it from others: its config and its words."""


class Encoder(nn.Module, ABC):
    """A network from one side of :class:`Inputs` to :class:`Features`.

    **Rule:** a floating (B, D) tensor with D == ``dimension`` is taken as features this encoder computed earlier (the
    feature cache) and returned as they are, so that a frozen encoder runs once and methods need not know.

    Attributes:
        dimension: Width of the pooled features.
        token_dimension: Width of the tokens; 0 if there are none.
        nonnegative: Pooled features are known to be >= 0, as after a ReLU or in a bag of words.
        pretrained: The weights come from a checkpoint, not from a random generator.
        preprocess: How images become its input; None for encoders of texts.
        transform: How texts become its input; None for encoders of images, and after :meth:`from_config`, since words
            and tokenizers are saved with the processor.
    """

    dimension: int
    token_dimension: int = 0
    nonnegative: bool = False
    pretrained: bool = False
    preprocess: Preprocess | None = None
    transform: TextTransform | None = None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Features:
        """Encode a batch, or pass earlier pooled features through.

        Args:
            x: Pixels float (B, 3, H, W), token ids int64 (B, T), or vectors float (B, D).
            mask: bool (B, T) beside token ids.

        Raises:
            WidthError: Vectors of another width than ``dimension``.
            InputError: Neither vectors nor what this encoder reads.
        """
        if x.is_floating_point() and x.ndim == 2:
            if x.shape[1] != self.dimension:
                raise WidthError(
                    "vectors", expected=f"{self.dimension} values a row, the pooled features of {type(self).__name__}",
                    got=str(x.shape[1]), remedy="Give vectors this encoder made, or choose the encoder 'vector'.",
                )  # fmt: skip
            return Features(x)
        return self.encode(x, mask)

    @abstractmethod
    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        """Run the network; called by :meth:`forward` for everything that is not pooled features."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What :func:`hashret.models.encoder_from_config` rebuilds the architecture from: JSON-able, no weights."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> Encoder:
        """Build the architecture with random weights from :meth:`config`, without network or original files."""

    def refuse(self, x: Tensor, reads: str) -> InputError:
        """The error for a tensor this encoder cannot read."""
        return InputError(
            f"input of {type(self).__name__}", expected=f"{reads}, or pooled features float (B, {self.dimension})",
            got=f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}",
            remedy="Use the processor made for this encoder.",
        )  # fmt: skip


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run a network without dropout, moving statistics or gradients; every part is as it was afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def in_blocks(function: Callable[[Inputs], Tensor], inputs: Inputs, block: int = 16) -> Tensor:
    """Run a function on exactly ``block`` items at a time, so that an item's result never depends on its neighbours.

    Matrix kernels are chosen by the shape of a batch and may round differently in another one. Here the shape is always
    the same: the last block is filled up with repeats of its first item, which are cut off again, and token rows are
    cut to the next multiple of TOKEN_STEP of their own length (a processor makes them no shorter) and run beside rows
    of that length only.

    Args:
        function: From Inputs of ``block`` items to a tensor (block, ...); usually a method's ``relaxed`` or ``embed``.
        inputs: N items, N >= 1.
        block: Items at a time.

    Returns:
        The results in the order of the items, (N, ...).

    Raises:
        InputError: ``block`` is below 1, or there are no items.

    Example:
        >>> in_blocks(lambda inputs: inputs.image.sum(1), Inputs(image=torch.ones(3, 4)), block=2).tolist()
        [4.0, 4.0, 4.0]
    """
    if block < 1 or not len(inputs):
        raise InputError(
            "block", expected="block >= 1 and at least one item", got=f"block {block}, {len(inputs)} items",
            remedy="Leave empty lists out; 16 is a good block.",
        )  # fmt: skip
    result: Tensor | None = None
    for width, rows in _by_length(inputs):
        for part in torch.split(rows, block):
            filled = torch.cat([part, part[:1].expand(block - len(part))])
            values = function(_cut(inputs.rows(filled), width))[: len(part)]
            if result is None:
                result = values.new_empty((len(inputs), *values.shape[1:]))
            result[part.to(result.device)] = values
    assert result is not None
    return result


def _by_length(inputs: Inputs) -> list[tuple[int, Tensor]]:
    """Group the items by the length of their texts; one group where there are no tokens."""
    mask = inputs.text_mask
    if mask is None:
        return [(0, torch.arange(len(inputs)))]
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    lengths = (mask * places).amax(1).clamp(min=1).cpu()
    widths = ((lengths + TOKEN_STEP - 1) // TOKEN_STEP * TOKEN_STEP).clamp(max=mask.shape[1])
    return [(int(width), torch.nonzero(widths == width).flatten()) for width in torch.unique(widths)]


def _cut(inputs: Inputs, width: int) -> Inputs:
    """Cut the token rows; every id cut off is masked."""
    if inputs.text is None or inputs.text_mask is None:
        return inputs
    return Inputs(inputs.image, inputs.text[:, :width], inputs.text_mask[:, :width], inputs.bag)

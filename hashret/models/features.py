"""What goes into an encoder and what comes out of it, and the one way to run a network so that batches do not matter.

Raw examples become :class:`Inputs` in :mod:`hashret.models.processor`; an :class:`Encoder` turns one side of them into
:class:`Features`; methods take it from there. Nothing here decodes an image, splits a text or chooses a device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

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
    "masked_mean",
]

Side = Literal["image", "text"]

TOKEN_STEP = 16
"""Rows of token ids come in multiples of this width (or the model's limit), so that similar lengths run together."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch of B items as tensors: images, texts or both (composed queries).

    Attributes:
        image: float (B, 3, H, W), normalised pixels, float (B, D), feature vectors, or float (B, T, E), token features
            such as regions; None if the items have no image.
        text: int64 (B, T), token ids, float (B, D), a vector or a bag of words, or float (B, T, E), token features;
            None if the items have no text.
        text_mask: bool (B, T), True where a token is one; None beside vectors.
        image_mask: bool (B, T), the same beside token features of images; None beside pixels and vectors.
        bag: float (B, V), bag of words of the texts; None without a vocabulary or where texts are vectors.

    Raises:
        InputError: Neither image nor text, different numbers of items, or tokens without their mask.

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
    image_mask: Tensor | None = None

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
        _check_mask("text", self.text, self.text_mask, ids or (self.text is not None and self.text.ndim == 3))
        _check_mask("image", self.image, self.image_mask, self.image is not None and self.image.ndim == 3)

    def _parts(self) -> dict[str, Tensor]:
        return {name: tensor for name in _PARTS if (tensor := getattr(self, name)) is not None}

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
        """Join batches, one after the other; shorter token rows are filled up with masked zeros.

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
            if name in _MASKED or name in _MASKED.values() and _has_tokens(tensors[0]):
                width = max(tensor.shape[1] for tensor in tensors)
                tensors = [_filled(tensor, width) for tensor in tensors]
            joined[name] = torch.cat(tensors)
        return Inputs(**joined)


_PARTS = tuple(field.name for field in fields(Inputs))
_MASKED = {"text_mask": "text", "image_mask": "image"}


def _has_tokens(part: Tensor) -> bool:
    """Whether a part of Inputs is of tokens: ids (B, T) or features (B, T, E)."""
    return not part.is_floating_point() or part.ndim == 3


def _filled(tensor: Tensor, width: int) -> Tensor:
    """Token rows (B, T) or (B, T, E), each as long as ``width``."""
    rows = tensor.new_zeros((len(tensor), width - tensor.shape[1], *tensor.shape[2:]))
    return torch.cat([tensor, rows], dim=1)


def _check_mask(side: Side, tokens: Tensor | None, mask: Tensor | None, needed: bool) -> None:
    """Refuse tokens without a mask of their own shape."""
    if needed and (tokens is None or mask is None or mask.shape != tokens.shape[:2]):
        raise InputError(
            f"{side}_mask", expected="bool (B, T) beside the tokens",
            got="none" if mask is None else str(tuple(mask.shape)), remedy="Pass on the mask that came with them.",
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Features:
    """What an encoder returns for B items.

    Attributes:
        pooled: float (B, D), one vector an item; D is the encoder's ``dimension``.
        tokens: float (B, T, E), a vector for each patch or word; E is the encoder's ``token_dimension``. None if it has
            none.
        mask: bool (B, T), True where a token is a patch, a region or a word: neither filling nor what stands for the
            whole or its ends ([CLS], [SEP]); None if all are.
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
    feature cache) and returned as they are, so that a frozen encoder runs once and methods need not know. So is a
    floating (B, T, E) with E == ``token_dimension``, with its mask, as token features; their mean is then the pooled
    feature, whatever else the encoder pools by.

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
            x: Pixels float (B, 3, H, W), token ids int64 (B, T), vectors float (B, D) or token features (B, T, E).
            mask: bool (B, T) beside token ids and token features.

        Raises:
            WidthError: Vectors of another width than ``dimension``, or tokens of another than ``token_dimension``.
            InputError: Neither vectors nor what this encoder reads.
        """
        if x.is_floating_point() and x.ndim == 2:
            if x.shape[1] != self.dimension:
                raise WidthError(
                    "vectors", expected=f"{self.dimension} values a row, the pooled features of {type(self).__name__}",
                    got=str(x.shape[1]), remedy="Give vectors this encoder made, or choose the encoder 'vector'.",
                )  # fmt: skip
            return Features(x)
        if x.is_floating_point() and x.ndim == 3:
            return self._passed(x, mask)
        return self.encode(x, mask)

    def _passed(self, tokens: Tensor, mask: Tensor | None) -> Features:
        """Token features as they are, and their mean."""
        if tokens.shape[2] != self.token_dimension:
            raise WidthError(
                "token features", expected=f"{self.token_dimension} values a token, as {type(self).__name__} makes",
                got=str(tokens.shape[2]), remedy="Give tokens this encoder made, or choose the encoder 'tokens'.",
            )  # fmt: skip
        if mask is None:
            raise self.refuse(tokens, "token features with their mask")
        return Features(masked_mean(tokens, mask), tokens, mask)

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


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, T, E) over the tokens that are some, (B, E); zeros where there are none."""
    weights = mask.unsqueeze(2).to(tokens.dtype)
    return (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)


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
    for widths, rows in _by_length(inputs):
        for part in torch.split(rows, block):
            first = int(part[0])
            if not widths and len(part) == block:  # neighbours, and as many as are asked for: nothing is copied
                values = function(inputs.rows(slice(first, first + block)))
            else:
                filled = torch.cat([part, part[:1].expand(block - len(part))])
                values = function(_cut(inputs.rows(filled), widths))[: len(part)]
            if result is None:
                result = values.new_empty((len(inputs), *values.shape[1:]))
            result[part.to(result.device)] = values
    assert result is not None
    return result


def _by_length(inputs: Inputs) -> list[tuple[dict[str, int], Tensor]]:
    """Group the items by the lengths of their tokens, given by the name of the mask; one group where there are none."""
    found = {name: _widths(mask) for name in _MASKED if (mask := getattr(inputs, name)) is not None}
    if not found:
        return [({}, torch.arange(len(inputs)))]
    kinds, number = torch.unique(torch.stack(list(found.values()), dim=1), dim=0, return_inverse=True)
    return [
        (dict(zip(found, map(int, kind), strict=True)), torch.nonzero(number == place).flatten())
        for place, kind in enumerate(kinds)
    ]


def _widths(mask: Tensor) -> Tensor:
    """The next multiple of TOKEN_STEP of the length of each row, at most the width of the mask."""
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    lengths = (mask * places).amax(1).clamp(min=1).cpu()
    return ((lengths + TOKEN_STEP - 1) // TOKEN_STEP * TOKEN_STEP).clamp(max=mask.shape[1])


def _cut(inputs: Inputs, widths: dict[str, int]) -> Inputs:
    """Cut the token rows; everything cut off is masked."""
    cut = {name: getattr(inputs, name)[:, :width] for name, width in widths.items()}
    cut |= {_MASKED[name]: getattr(inputs, _MASKED[name])[:, :width] for name, width in widths.items()}
    return replace(inputs, **cut)

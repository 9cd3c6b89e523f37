"""Vectors somebody else extracted, for either side: the dataset's own features, or embeddings from another system.

One vector an item, or one for each of its parts (regions, patches, words). The encoders are the identity; they exist so
that methods need no second way in. They neither scale nor centre.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from torch import Tensor

from hashret.errors import InputError
from hashret.models.features import Encoder, Features

__all__ = ["TokenEncoder", "VectorEncoder", "Vectors"]


@dataclass(frozen=True)
class Vectors:
    """What a processor asks of an image or text that is a vector: its width. Anything else is refused.

    Attributes:
        dimension: Values a vector.
    """

    dimension: int

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"kind": "vectors", **asdict(self)}

    def fingerprint(self) -> str:
        """What tells it from others."""
        return repr(self)

    def __call__(self, source: object) -> NoReturn:
        """Refuse raw images and raw texts; a processor passes vectors by.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "item", expected=f"a vector of {self.dimension} values", got=f"something to decode: {str(source)[:60]}",
            remedy="Give the pre-extracted vector, or choose another encoder than 'vector'.",
        )  # fmt: skip


class VectorEncoder(Encoder):
    """Pre-extracted vectors, passed through.

    Args:
        dimension: Values a vector.
        nonnegative: They are known to be >= 0, such as counts, tags or features after a ReLU.

    Raises:
        InputError: ``dimension`` is below 1.

    Example:
        >>> import torch
        >>> VectorEncoder(dimension=3)(torch.ones(2, 3)).pooled.shape
        torch.Size([2, 3])
    """

    def __init__(self, *, dimension: int, nonnegative: bool = False) -> None:
        """Keep the width."""
        super().__init__()
        if dimension < 1:
            raise InputError("dimension", expected=">= 1", got=str(dimension), remedy="Give the width of the vectors.")
        self.dimension, self.nonnegative = dimension, nonnegative
        self.preprocess = self.transform = Vectors(dimension)

    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        """Refuse pixels and token ids."""
        raise self.refuse(x, "vectors")

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"encoder": "VectorEncoder", "dimension": self.dimension, "nonnegative": self.nonnegative}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> VectorEncoder:
        """Build it from :meth:`config`."""
        return cls(dimension=config["dimension"], nonnegative=config["nonnegative"])


class TokenEncoder(Encoder):
    """Pre-extracted token features, passed through: float (T, D) an item, as many as it has.

    Args:
        dimension: Values a token.

    Raises:
        InputError: ``dimension`` is below 1.

    Example:
        >>> import torch
        >>> features = TokenEncoder(dimension=3)(torch.ones(2, 5, 3), torch.ones(2, 5, dtype=torch.bool))
        >>> features.pooled.shape, features.tokens.shape
        (torch.Size([2, 3]), torch.Size([2, 5, 3]))
    """

    def __init__(self, *, dimension: int) -> None:
        """Keep the width."""
        super().__init__()
        if dimension < 1:
            raise InputError("dimension", expected=">= 1", got=str(dimension), remedy="Give the width of the tokens.")
        self.dimension = self.token_dimension = dimension

    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        """Refuse pixels and token ids."""
        raise self.refuse(x, f"token features float (B, T, {self.dimension})")

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"encoder": "TokenEncoder", "dimension": self.dimension}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TokenEncoder:
        """Build it from :meth:`config`."""
        return cls(dimension=config["dimension"])

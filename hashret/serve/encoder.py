"""Encoder: the run behind a server, from one query at a time to passes of as many as the network takes.

Opening and scaling a picture is done for each query by itself, in threads; the network then sees what has gathered in
the meantime. A code is the one :meth:`hashret.retriever.Retriever.encode` gives: it depends on its query alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashret.codes import Codes, binarize
from hashret.errors import InputError
from hashret.examples import Example

if TYPE_CHECKING:
    from hashret.models import Inputs
    from hashret.retriever import Retriever

__all__ = ["Encoded", "Encoder", "Prepared"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A query as the network reads it.

    Attributes:
        inputs: Of one item.
        kind: What it is of, "image", "text" or "image and text"; only one kind goes through together.
        embed: Whether its embedding is wanted as well.
    """

    inputs: Inputs
    kind: str
    embed: bool


@dataclass(frozen=True, eq=False)
class Encoded:
    """What the network made of a query.

    Attributes:
        code: One code.
        embedding: Float32 (1, D), or None where nobody asked.
    """

    code: Codes
    embedding: NDArray[np.float32] | None


class Encoder:
    """A trained run.

    Args:
        retriever: The run, loaded.
    """

    def __init__(self, retriever: Retriever) -> None:
        """Hold it."""
        self._retriever = retriever
        self._reading = threading.Lock()

    @property
    def method(self) -> str:
        """Name of the method."""
        return type(self._retriever.method).__name__

    @property
    def composes(self) -> bool:
        """Whether an image and a text together are a query."""
        return self._retriever.method.takes_composed

    @property
    def bits(self) -> int:
        """Width of a code."""
        return self._retriever.bits

    @property
    def pass_size(self) -> int:
        """Queries a pass of the network takes."""
        return self._retriever.block

    def warm_up(self) -> None:
        """Run a picture and a word through, as the first pass takes longer than all later ones."""
        for image, text in ((Image.new("RGB", (64, 64)), None), (None, "a")):
            with suppress(InputError):  # a run that reads features takes neither
                self.encode([self.prepare(image, text, embed=True)])

    def prepare(self, image: Image.Image | None, text: str | None, *, embed: bool) -> Prepared:
        """One query as the network reads it.

        Raises:
            TextError: The text is empty.
            InputError: The run reads features instead of pictures or sentences.
        """
        kind = " and ".join(name for name, part in (("image", image), ("text", text)) if part is not None)
        example = Example(image=image, text=text)
        if text is None:
            return Prepared(self._retriever.processor([example]), kind, embed)
        with self._reading:  # tokenizers are not made to be shared
            return Prepared(self._retriever.processor([example]), kind, embed)

    def encode(self, queries: Sequence[Prepared]) -> list[Encoded]:
        """Codes of prepared queries of one kind, and embeddings of those that want them."""
        from hashret.models import Inputs

        embed = any(query.embed for query in queries)
        relaxed, embeddings = self._retriever.relaxed(Inputs.stack([query.inputs for query in queries]), embed=embed)
        codes = binarize(relaxed)
        return [
            Encoded(codes[row : row + 1], embeddings[row : row + 1] if embeddings is not None and query.embed else None)
            for row, query in enumerate(queries)
        ]

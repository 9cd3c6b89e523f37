"""LearnedHasher: a trained network over vectors that codes files as the shallow hashers do.

Its folder is what :class:`~hashret.retriever.Retriever` saves and a hasher.json beside it; nothing is pickled. It does
not train; see :mod:`hashret.pipeline.hash`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hashret.arrayfile import replace_file
from hashret.codes import Codes
from hashret.errors import FileError, FormatError, InputError
from hashret.hashers.vectors import check_rows, matrix
from hashret.models import Inputs, in_blocks
from hashret.pipeline.embeddings import as_singles
from hashret.retriever import BLOCK, Retriever

__all__ = ["LearnedHasher"]

KIND = "hashret.learned_hasher/1"
_NAME = "hasher.json"
_ROWS = 1024  # rows of a pass; one of 16 takes three times as long a row
_NEAR = 1e-4  # a relaxed bit nearer to 0 is decided again; passes of other shapes differ by about 1e-6


class LearnedHasher:
    """Codes of vectors by a trained network, the same as :meth:`Retriever.encode` gives, in large blocks.

    Matrix kernels round differently by the shape of a block. So vectors pass in blocks of 1,024, the last one filled
    up, and a row with a bit nearer to 0 than any rounding passes again in the Retriever's own blocks of 16. The code of
    a vector then depends neither on its block nor on which of the two made it.

    Args:
        retriever: A trained method over vectors.
        inputs: What it was fitted on: "images" and "texts", or "vectors", and "labels" if these were given.

    Attributes:
        bits: Width of a code.
    """

    name: ClassVar[str] = "contrastive"

    def __init__(self, retriever: Retriever, inputs: Sequence[str]) -> None:
        """Hold the network ready."""
        self.retriever, self.inputs = retriever, tuple(inputs)
        self.bits = retriever.bits

    @property
    def n_features_in_(self) -> int:
        """Columns of its vectors, where it knows one modality."""
        return self.width("image")

    def width(self, side: Literal["image", "text"]) -> int:
        """Columns of the vectors of a side."""
        method = self.retriever.method
        return (method.image if side == "image" else method.text).dimension

    def transform(self, vectors: ArrayLike, *, side: Literal["image", "text"] | None = None) -> Codes:
        """Turn vectors into codes.

        Args:
            vectors: Real vectors (N, D) as wide as those it was fitted on; N may be 0. They are read as float32.
            side: Which modality they are of; None where it knows one.

        Returns:
            N codes; the code of a vector does not depend on the others.

        Raises:
            InputError: Vectors that are not two-dimensional, another side, or one where it knows one modality.
            WidthError: Vectors of another width.
            NonFiniteError: NaN, infinity, or a number beyond float32.
        """
        sides = ("image", "text") if "texts" in self.inputs else (None,)
        if side not in sides:
            raise InputError(
                f"side of {self.name}", expected="'image' or 'text'" if sides[0] else "none", got=repr(side),
                remedy="Say which modality it is." if sides[0] else "It knows one modality only.",
            )  # fmt: skip
        what, part = f"{side} vectors" if side else "vectors", side or "image"
        checked = matrix(vectors, what, width=self.width(part), finite=False)
        check_rows(checked, what)
        return Codes(np.packbits(self._chosen(as_singles(checked, what, np.arange(len(checked))), part), 1), self.bits)

    def _chosen(self, rows: NDArray[np.float32], side: Literal["image", "text"]) -> NDArray[np.bool_]:
        """The bits of rows, bool (N, bits)."""
        if not len(rows):
            return np.zeros((0, self.bits), np.bool_)
        tensor = torch.from_numpy(rows)
        with torch.inference_mode():
            relaxed = self._relaxed(tensor, side, _ROWS)
            again = torch.nonzero((relaxed.abs() < _NEAR).any(1))[:, 0]
            if len(again):
                relaxed[again] = self._relaxed(tensor[again], side, BLOCK)
        chosen: NDArray[np.bool_] = (relaxed > 0).numpy()
        return chosen

    def _relaxed(self, rows: Tensor, side: Literal["image", "text"], block: int) -> Tensor:
        device = self.retriever.device
        inputs = Inputs(image=rows) if side == "image" else Inputs(text=rows)
        return in_blocks(self.retriever.method.relaxed, inputs.to(device), block).float().cpu()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model and, last, hasher.json, without which a folder is no hasher.

        Raises:
            FileError: The place cannot be written.
        """
        self.retriever.save_pretrained(folder)
        about = {"format": KIND, "hasher": self.name, "inputs": list(self.inputs)}
        replace_file(Path(folder) / _NAME, json.dumps(about, indent=1).encode())

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, device: str = "cpu") -> LearnedHasher:
        """Read the folder that ``hashret hash fit`` made, or what :meth:`save` wrote.

        Raises:
            FileError: It holds no hasher, or one whose fitting was interrupted.
            FormatError: It is of another format, or its weights are damaged.
        """
        folder = Path(folder)
        place = folder / "model" if (folder / "model").is_dir() else folder
        try:
            about: Any = json.loads((place / _NAME).read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError(
                str(folder), expected="a fitted hasher (hasher.json)", got=error.strerror or str(error),
                remedy="Give the same hashret hash fit again: an interrupted one goes on.",
            ) from error  # fmt: skip
        except ValueError:
            about = None
        if not isinstance(about, dict) or about.get("format") != KIND:
            raise FormatError(
                str(place / _NAME), expected=KIND, got=repr(about)[:60], remedy="Fit it again with this hashret."
            )
        return cls(Retriever.from_pretrained(place, device=device), about["inputs"])

"""Retriever: what a library user holds. Raw images and texts in, codes or embeddings out; one model, one folder.

It encodes; it does not train, search or measure.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashret.arrayfile import replace_file
from hashret.codes import Codes, binarize
from hashret.errors import InputError
from hashret.examples import Example, ImageSource, TextSource, joined
from hashret.methods import METHODS
from hashret.methods.method import Method
from hashret.models import Encoder, Inputs, Processor, encoder_from_config, in_blocks
from hashret.models.ragged import ragged_in_blocks
from hashret.models.trained import MODEL, saved_config
from hashret.search import Tokens
from hashret.training.checkpoint import load_weights, save_weights

__all__ = ["Retriever", "unified"]

BLOCK = 16


class Retriever:
    """Encodes images and texts with one trained method.

    A forward pass always sees exactly ``block`` rows, the last block padded: matrix kernels choose their order of
    summation by the shape, so this is what makes a code independent of ``batch_size`` and of what else is encoded with
    it. They choose it by the number of threads, too: here a pass has all of torch's, so that it is soon done, and
    :func:`hashret.pipeline.encode` gives each pass one. A bit may differ between them where its relaxed value is 0 but
    for rounding (some 1e-7).

    Args:
        method: The network; moved to ``device`` and set to evaluation.
        processor: Turns examples into its inputs.
        device: ``cpu``, ``cuda``, ...
        block: Rows a pass. Codes of different blocks may differ where a relaxed bit is all but 0, so that what is
            stored is always made with the default; a validation score may use more, which is quicker.

    Attributes:
        bits: Width of a code.

    Example:
        >>> retriever = Retriever.from_pretrained("runs/demo")              # doctest: +SKIP
        >>> codes = retriever.encode_images(["a.jpg", "b.jpg"])             # doctest: +SKIP
    """

    def __init__(self, method: Method, processor: Processor, *, device: str = "cpu", block: int = BLOCK) -> None:
        """Hold the model ready."""
        self.block = block
        self.method, self.processor = method.to(device).eval().requires_grad_(False), processor
        self.device = torch.device(device)
        self.bits = method.bits
        self._saved: dict[str, Any] | None = None

    def encode_images(self, images: Iterable[ImageSource], *, batch_size: int = 256) -> Codes:
        """Codes of images.

        Args:
            images: Paths, PIL images, uint8 pixels (H, W, 3) or feature vectors (D,), as the model takes them.
            batch_size: Images decoded at a time; never changes a code.

        Raises:
            ImageError: One cannot be decoded.
            WidthError: A vector of another width than the model takes.
        """
        return self.encode([Example(image=image) for image in images], batch_size=batch_size)

    def encode_texts(self, texts: Iterable[TextSource], *, batch_size: int = 256) -> Codes:
        """Codes of texts (sentences, or feature vectors (D,)); see :meth:`encode_images`.

        Raises:
            TextError: One is empty.
        """
        return self.encode([Example(text=text) for text in texts], batch_size=batch_size)

    def encode_queries(
        self, images: Sequence[ImageSource], texts: Sequence[TextSource], *, batch_size: int = 256
    ) -> Codes:
        """Codes of composed queries, to be searched among codes of images.

        Args:
            images: Reference images; see :meth:`encode_images`.
            texts: What is to be changed in each, as many.
            batch_size: Queries prepared at a time; never changes a code.

        Raises:
            InputError: Another number of texts than of images, or a method that knows no composed queries.
            ImageError: An image cannot be decoded.
            TextError: A text is empty.
        """
        return self.encode(_composed(images, texts), batch_size=batch_size)

    def encode_pairs(
        self, images: Sequence[ImageSource], texts: Sequence[TextSource], *, batch_size: int = 256
    ) -> Codes:
        """Fused codes of items of which both sides are there, a code an item; see :func:`unified`.

        Args:
            images: See :meth:`encode_images`.
            texts: The text of each image's own item, as many.
            batch_size: Items prepared at a time; never changes a code.

        Raises:
            InputError: Another number of texts than of images.
            ImageError: An image cannot be decoded.
            TextError: A text is empty.
        """
        pictures, written = [Example(image=image) for image in images], [Example(text=text) for text in texts]
        return self.encode(pictures, written, batch_size=batch_size)

    def embed_queries(
        self, images: Sequence[ImageSource], texts: Sequence[TextSource], *, batch_size: int = 256
    ) -> NDArray[np.float32]:
        """Continuous features of composed queries, float32 (N, dim); see :meth:`encode_queries`."""
        return self.embed(_composed(images, texts), batch_size=batch_size)

    def embed_images(self, images: Iterable[ImageSource], *, batch_size: int = 256) -> NDArray[np.float32]:
        """Continuous features of images, float32 (N, dim), to be compared by cosine; see :meth:`encode_images`."""
        return self.embed([Example(image=image) for image in images], batch_size=batch_size)

    def embed_texts(self, texts: Iterable[TextSource], *, batch_size: int = 256) -> NDArray[np.float32]:
        """Continuous features of texts, float32 (N, dim); see :meth:`encode_texts`."""
        return self.embed([Example(text=text) for text in texts], batch_size=batch_size)

    def encode(
        self, examples: Sequence[Example], partners: Sequence[Example] | None = None, *, batch_size: int = 256
    ) -> Codes:
        """Codes of examples that all hold the same parts; with the other side of each, fused codes of their items.

        Args:
            examples: What is encoded.
            partners: Of an image the text, of a text the image of the same item, as many; None for none.
            batch_size: Examples prepared at a time; never changes a code.
        """
        if partners is None:
            return binarize(self._run(self.method.relaxed, examples, batch_size, self.bits))

        def fused(inputs: Inputs) -> Tensor:
            return unified(self.method, inputs)

        return binarize(self._run(fused, joined(examples, partners), batch_size, self.bits))

    def embed(self, examples: Sequence[Example], *, batch_size: int = 256) -> NDArray[np.float32]:
        """Continuous features of examples that all hold the same parts, float32 (N, dim)."""
        return self._run(self.method.embed, examples, batch_size, self.method.dimension)

    def tokens(self, examples: Sequence[Example], *, batch_size: int = 256) -> Tokens:
        """What a second look compares of examples that all hold the same parts: the tokens of each.

        Raises:
            InputError: A method that looks at embeddings instead.
        """
        if not self.method.looks_closer:
            raise InputError(
                "tokens", expected="a method that compares tokens", got=type(self.method).__name__,
                remedy="Give the second look its embeddings (embed).",
            )  # fmt: skip
        parts: list[NDArray[np.float32]] = []
        with torch.inference_mode():
            for start in range(0, len(examples), max(1, batch_size)):
                inputs = self.processor(examples[start : start + max(1, batch_size)]).to(self.device)
                parts += ragged_in_blocks(self.method.tokens, inputs, self.block)
        return Tokens.of(parts)

    def _run(
        self, function: Callable[[Inputs], Tensor], examples: Sequence[Example], batch_size: int, width: int
    ) -> NDArray[np.float32]:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(examples), max(1, batch_size)):
                inputs = self.processor(examples[start : start + max(1, batch_size)]).to(self.device)
                parts.append(in_blocks(function, inputs, self.block).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)

    def relaxed(self, inputs: Inputs, *, embed: bool = False) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Relaxed codes of prepared inputs, and with ``embed`` their embeddings by the same pass of the encoder.

        Args:
            inputs: B items, as the processor gives them.
            embed: Whether embeddings are wanted.

        Returns:
            Float32 (B, bits), whose signs are what :meth:`encode` gives; and float32 (B, dim) or None. Neither is
            checked for NaN.
        """

        def both(block: Inputs) -> Tensor:
            block = self._encoded(block)
            return torch.cat([self.method.relaxed(block), self.method.embed(block)], dim=1)

        with torch.inference_mode():
            found = in_blocks(both if embed else self.method.relaxed, inputs.to(self.device), self.block)
        values = found.float().cpu().numpy()
        return (values[:, : self.bits], values[:, self.bits :]) if embed else (values, None)

    def _encoded(self, inputs: Inputs) -> Inputs:
        """The inputs with what their encoder makes of them, which it then passes on; as they are if tokens are read."""
        if self.method.reads_tokens or (inputs.image is not None and inputs.text is not None):
            return inputs
        pooled = self.method.pooled(inputs)
        return Inputs(image=pooled) if inputs.image is not None else Inputs(text=pooled, bag=inputs.bag)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write everything :meth:`from_pretrained` needs: config.json, model.safetensors and the processor's files.

        Raises:
            FileError: The place cannot be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.processor.save(folder)
        save_weights(folder / "model.safetensors", self.method, {}, without=self.method.training_only)
        replace_file(folder / "config.json", json.dumps(self.config(), indent=1).encode())

    def fingerprint(self) -> str:
        """What tells this model from any other: a digest of its architecture and weights, as hexadecimal digits.

        Of a loaded model the architecture is what its file says, so that it stays the same under a later hashret, whose
        methods may have more options.
        """
        digest = hashlib.blake2b(json.dumps(self.config(), sort_keys=True).encode(), digest_size=16)
        for name, value in self.method.state_dict().items():
            if name.partition(".")[0] in self.method.training_only:
                continue
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def config(self) -> dict[str, Any]:
        """What rebuilds the architecture without its weights; of a loaded model what its file says."""
        if self._saved is not None:
            return self._saved
        method = self.method
        name = next(name for name, kind in METHODS.items() if type(method) is kind)
        return {
            "format": MODEL,
            "method": name,
            "arguments": method.arguments,
            "options": asdict(method.o),
            "image": method.image.config(),
            "text": method.text.config(),
        }

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], *, device: str = "cpu") -> Retriever:
        """Load a run folder, or a folder :meth:`save_pretrained` wrote; needs no network and no original checkpoint.

        Raises:
            FileError: There is no model in the folder.
            FormatError: It is of another format, or its weights are damaged.
        """
        place, config = saved_config(folder)
        method = build_method(config)
        load_weights(place / "model.safetensors", method)
        retriever = cls(method, Processor.load(place), device=device)
        retriever._saved = config
        return retriever


def unified(method: Method, inputs: Inputs) -> Tensor:
    """Relaxed codes of items that have an image and a text: the mean of what the method gives either alone.

    Their signs are the fused codes. With relaxed outputs F and G that is sign(F + G), the codes B that DCMH (Jiang and
    Li, CVPR 2017) learns for its training items, here for any item and without labels.

    Args:
        method: In evaluation mode.
        inputs: Images and texts (B); not a composed query.

    Returns:
        (B, bits) in (-1, 1).
    """
    image = Inputs(image=inputs.image, image_mask=inputs.image_mask)
    text = Inputs(text=inputs.text, text_mask=inputs.text_mask, bag=inputs.bag)
    return (method.relaxed(image) + method.relaxed(text)) / 2


def _composed(images: Sequence[ImageSource], texts: Sequence[TextSource]) -> list[Example]:
    if len(images) != len(texts):
        raise InputError(
            "texts", expected=f"{len(images)}, one an image", got=str(len(texts)),
            remedy="Give each reference image its own text.",
        )  # fmt: skip
    return [Example(image=image, text=text) for image, text in zip(images, texts, strict=True)]


def build_method(config: dict[str, Any]) -> Method:
    """The architecture a config describes, with fresh weights drawn from torch's current random state."""
    kind = METHODS[config["method"]]
    image: Encoder = encoder_from_config(config["image"])
    text: Encoder = encoder_from_config(config["text"])
    return kind(image, text, options=kind.options(**config["options"]), **config["arguments"])

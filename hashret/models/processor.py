"""From raw examples to the tensors a network reads: pixels, token ids, vectors, bags of words.

A processor holds everything the encoders must not: image sizes and normalisation, tokenizers, vocabularies. It is saved
with a run, so that a retriever needs neither the training data nor the original checkpoint, and it can be pickled into
worker processes. It runs no network.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hashret.arrayfile import replace_file
from hashret.errors import FileError, FormatError, ImageError, InputError, TextError
from hashret.examples import Example
from hashret.images import open_image
from hashret.models.bag_of_words import Bags, Vocabulary, WordNumbers, as_rows
from hashret.models.features import Encoder, Inputs, Preprocess, Side, TextTransform
from hashret.models.stacks import stack_tokens, stack_vectors
from hashret.models.vector import Vectors
from hashret.regions import RegionFiles, read_regions

__all__ = ["CheckpointPixels", "Pixels", "Processor", "Tokens"]


@dataclass(frozen=True)
class Pixels:
    """Resize and normalise with PIL.

    Attributes:
        size: Side of the square that comes out.
        mean: Subtracted from the channels after division by 255.
        std: Divided by after that.
        shorter: First make the shorter side this long, at least ``size``, then cut the square out of the middle; None
            squeezes the whole image into the square.
        resample: One of PIL's filters.

    Example:
        >>> Pixels(4, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))(Image.new("RGB", (9, 5), "white")).unique()
        tensor([1.])
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    shorter: int | None = None
    resample: int = Image.Resampling.BILINEAR

    def __call__(self, image: Image.Image) -> Tensor:
        """Float32 (3, size, size)."""
        width, height = image.size
        if self.shorter is not None:
            short = min(width, height)
            width, height = int(self.shorter * width / short), int(self.shorter * height / short)
            left, top = (width - self.size) // 2, (height - self.size) // 2
            image = image.resize((width, height), self.resample)
            image = image.crop((left, top, left + self.size, top + self.size))
        elif (width, height) != (self.size, self.size):
            image = image.resize((self.size, self.size), self.resample)
        # NumPy, not torch, here and in Processor: torch's threads stall each other in busy worker processes.
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1) / np.float32(255)
        mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (self.mean, self.std))
        return torch.from_numpy((pixels - mean) / std)

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"kind": "pixels", **asdict(self)}


@dataclass(frozen=True)
class CheckpointPixels:
    """Resize and normalise as a transformers checkpoint asks.

    Attributes:
        settings: The image processor's own, ``to_dict()``.
    """

    settings: dict[str, Any]

    @cached_property
    def _processor(self) -> Any:
        import transformers

        name = str(self.settings.get("image_processor_type"))
        if not hasattr(transformers, name):
            raise FormatError(
                "image processor", expected="one of this transformers version's", got=name,
                remedy="Install the transformers version the run was made with.",
            )  # fmt: skip
        return getattr(transformers, name).from_dict(self.settings)

    def __call__(self, image: Image.Image) -> Tensor:
        """Float32 (3, H, W)."""
        pixels: Tensor = self._processor(images=image, return_tensors="pt")["pixel_values"][0]
        if pixels.ndim != 3:
            raise InputError(
                "image processor", expected="one picture (3, H, W) an image", got=str(tuple(pixels.shape)),
                remedy="Checkpoints that cut an image into several are not supported.",
            )  # fmt: skip
        return pixels

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"kind": "checkpoint", "settings": self.settings}


@dataclass(frozen=True, eq=False)
class Tokens:
    """Texts to the token ids of a transformers checkpoint.

    Attributes:
        tokenizer: Any transformers tokenizer.
        length: Tokens kept of a text, special ones included; the rest is cut off.
        full: Fill every text up to ``length`` and let the filling count, as SigLIP was trained.
    """

    tokenizer: Any
    length: int
    full: bool = False

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Token ids int64 (B, T) and their mask bool (B, T)."""
        numbers = self.tokenizer(list(texts), truncation=True, max_length=self.length)["input_ids"]
        return as_rows(numbers, self.length, self.tokenizer.pad_token_id or 0, full=self.full)

    def config(self) -> dict[str, Any]:
        """What rebuilds it beside the tokenizer's files."""
        return {"kind": "tokens", "length": self.length, "full": self.full}

    def fingerprint(self) -> str:
        """What tells it from others."""
        words: dict[str, Any] = {"name": type(self.tokenizer).__name__, "vocabulary": self.tokenizer.get_vocab()}
        if getattr(self.tokenizer, "is_fast", False):
            words = json.loads(self.tokenizer.backend_tokenizer.to_str())
            words.update(truncation=None, padding=None)  # the last call left its own there
        digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
        return f"{self.config()} {digest}"


class Processor:
    """Turns examples into Inputs.

    Args:
        image_preprocess: What the image encoder asks for (its ``preprocess``); None if images are not read.
        text_transform: What the text encoder asks for (its ``transform``); None if texts are not read.
        vocabulary: Also make bags of words of texts; None makes none.

    Example:
        >>> processor = Processor(None, Bags(Vocabulary(("dog", "red"))), None)
        >>> processor([Example(text="a red car"), Example(text="two red dogs, one dog")]).text.tolist()
        [[0.0, 1.0], [1.0, 1.0]]
    """

    def __init__(
        self,
        image_preprocess: Preprocess | None,
        text_transform: TextTransform | None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        """Keep the parts."""
        self.image_preprocess, self.text_transform, self.vocabulary = image_preprocess, text_transform, vocabulary

    @classmethod
    def of(cls, image: Encoder, text: Encoder, vocabulary: Vocabulary | None = None) -> Processor:
        """The processor two encoders ask for."""
        return cls(image.preprocess, text.transform, vocabulary)

    def __call__(self, examples: Sequence[Example]) -> Inputs:
        """Read, decode and convert a batch.

        Args:
            examples: B >= 1 examples, all with an image or all without, and likewise with a text.

        Raises:
            InputError: No examples, or a batch that mixes kinds.
            ImageError: An image that cannot be decoded, or regions that cannot be read.
            TextError: An empty text.
            WidthError: Vectors or tokens of different widths, or of another than the encoder's.
            NonFiniteError: A vector with NaN or infinity.
        """
        if not examples:
            raise InputError("examples", expected="at least one", got="none", remedy="Leave empty batches out.")
        image, seen = self._images(examples) if _all_have(examples, "image") else (None, None)
        text, mask, bag = self._texts(examples) if _all_have(examples, "text") else (None, None, None)
        return Inputs(image, text, mask, bag, seen)

    def _images(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor | None]:
        """Pixels or vectors and None, or token features and their mask."""
        given = (example.image for example in examples)
        images = [read_regions(image) if isinstance(image, RegionFiles) else image for image in given]
        tokens = [isinstance(image, np.ndarray) and image.ndim == 2 and image.dtype.kind == "f" for image in images]
        several = _one_kind(tokens, examples, "token features", "a picture or a vector")
        if several and not isinstance(self.image_preprocess, Vectors):
            return stack_tokens(images, examples)
        vectors = [isinstance(image, np.ndarray) and image.ndim == 1 for image in images]
        if several or _one_kind(vectors, examples, "feature vectors", "pictures"):
            return stack_vectors(images, examples, _width(self.image_preprocess)), None
        if self.image_preprocess is None:
            raise _unread("image", examples[0])
        batch = np.empty((0,), np.float32)
        for row, (image, example) in enumerate(zip(images, examples, strict=True)):
            assert image is not None
            pixels = self.image_preprocess(open_image(image)).numpy()
            if row == 0:
                batch = np.empty((len(examples), *pixels.shape), np.float32)
            if pixels.shape != batch.shape[1:]:
                raise ImageError(
                    f"image {example.key}", expected=f"{batch.shape[1:]} as {examples[0].key} becomes",
                    got=str(pixels.shape), remedy="Take a checkpoint whose processor makes all images one size.",
                )  # fmt: skip
            batch[row] = pixels
        return torch.from_numpy(batch), None

    def _texts(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        tokens = [isinstance(example.text, np.ndarray) and example.text.ndim == 2 for example in examples]
        if not isinstance(self.text_transform, Vectors) and _one_kind(
            tokens, examples, "token features", "a sentence or a vector"
        ):
            return *stack_tokens([example.text for example in examples], examples), None
        vectors = [isinstance(example.text, np.ndarray) for example in examples]
        if _one_kind(vectors, examples, "feature vectors", "sentences"):
            rows = [example.text for example in examples]
            return stack_vectors(rows, examples, _width(self.text_transform)), None, None
        texts = []
        for example in examples:
            if not isinstance(example.text, str) or not example.text.strip():
                raise TextError(
                    f"text of {example.key or 'an example'}", expected="words", got=repr(example.text),
                    remedy="Leave items without a text out, or give them one.",
                )  # fmt: skip
            texts.append(example.text)
        if self.text_transform is None:
            raise _unread("text", examples[0])
        text, mask = self.text_transform(texts)
        if isinstance(self.text_transform, Bags) and self.text_transform.vocabulary == self.vocabulary:
            return text, mask, text
        return text, mask, None if self.vocabulary is None else self.vocabulary(texts)

    def fingerprint(self, side: Side) -> str:
        """What tells the preparation of one side from another's; the feature cache asks for it."""
        if side == "image":
            return "" if self.image_preprocess is None else json.dumps(self.image_preprocess.config(), sort_keys=True)
        return "" if self.text_transform is None else self.text_transform.fingerprint()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write processor.json and, where there are any, vocabulary.json, words.json and tokenizer/.

        Raises:
            FileError: The folder cannot be made or written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if isinstance(self.text_transform, Tokens):
                self.text_transform.tokenizer.save_pretrained(folder / "tokenizer")
        except OSError as error:
            raise FileError(
                str(folder), expected="a folder that can be written", got=error.strerror or str(error),
                remedy="Check the path, the permissions and the free space.",
            ) from error  # fmt: skip
        if isinstance(self.text_transform, (Bags, WordNumbers)):
            self.text_transform.vocabulary.save(folder / "words.json")
        if self.vocabulary is not None:
            self.vocabulary.save(folder / "vocabulary.json")
        config = {
            "kind": _KIND,
            "image": self.image_preprocess.config() if self.image_preprocess else None,
            "text": self.text_transform.config() if self.text_transform else None,
            "vocabulary": self.vocabulary is not None,
        }
        replace_file(folder / "processor.json", json.dumps(config, indent=1).encode())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Processor:
        """Read what :meth:`save` wrote; nothing else is needed, no network and no checkpoint.

        Raises:
            FileError: A file is missing.
            FormatError: A file is of another kind or version.
        """
        path = Path(folder) / "processor.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError(
                str(path), expected="a saved processor", got=error.strerror or str(error), remedy="Name a run's folder."
            ) from error
        except ValueError as error:
            raise FormatError(
                str(path), expected="JSON", got="something else", remedy="The run is damaged; take a copy of it."
            ) from error
        if not isinstance(config, dict) or config.get("kind") != _KIND:
            raise FormatError(
                str(path),
                expected=f"a {_KIND} file",
                got=repr(config)[:60],
                remedy="Use the hashret version that wrote it.",
            )
        vocabulary = Vocabulary.load(Path(folder) / "vocabulary.json") if config["vocabulary"] else None
        return cls(
            preprocess_from_config(config["image"]) if config["image"] else None,
            _transform_from_config(config["text"], Path(folder)) if config["text"] else None,
            vocabulary,
        )


_KIND = "hashret.processor/1"


def preprocess_from_config(config: dict[str, Any]) -> Preprocess:
    """Rebuild an image's preprocessing from its :meth:`config`.

    Raises:
        FormatError: The kind is unknown.
    """
    match config:
        case {"kind": "pixels", "size": size, "mean": mean, "std": std, "shorter": shorter, "resample": resample}:
            return Pixels(size, tuple(mean), tuple(std), shorter, resample)
        case {"kind": "checkpoint", "settings": settings}:
            return CheckpointPixels(settings)
        case {"kind": "vectors", "dimension": dimension}:
            return Vectors(dimension)
    raise _unknown(config)


def _transform_from_config(config: dict[str, Any], folder: Path) -> TextTransform:
    match config:
        case {"kind": "bags"}:
            return Bags(Vocabulary.load(folder / "words.json"))
        case {"kind": "word_numbers", "length": length}:
            return WordNumbers(Vocabulary.load(folder / "words.json"), length)
        case {"kind": "vectors", "dimension": dimension}:
            return Vectors(dimension)
        case {"kind": "tokens", "length": length, "full": full}:
            from transformers import AutoTokenizer

            place = folder / "tokenizer"
            if not place.is_dir():
                raise FileError(
                    str(place), expected="the tokenizer's files", got="no folder", remedy="Copy the run as a whole."
                )
            return Tokens(AutoTokenizer.from_pretrained(place), length, full)
    raise _unknown(config)


def _unknown(config: object) -> FormatError:
    return FormatError(
        "processor.json", expected="a known way to prepare inputs", got=repr(config)[:80],
        remedy="Use the hashret version that wrote it.",
    )  # fmt: skip


def _unread(side: Side, example: Example) -> InputError:
    return InputError(
        f"{side} of {example.key or 'an example'}", expected=f"none, since no {side}s are read", got=f"a raw {side}",
        remedy=f"Give its features (regions: data.regions), or use a run whose recipe has an encoder of {side}s.",
    )  # fmt: skip


def _width(reader: object) -> int | None:
    """How wide vectors have to be; None where any width of its own will do."""
    return reader.dimension if isinstance(reader, Vectors) else None


def _all_have(examples: Sequence[Example], side: Side) -> bool:
    """Whether all have an image (or text), rather than none."""
    have = [getattr(example, side) is not None for example in examples]
    return _one_kind(have, examples, {"image": "an image", "text": "a text"}[side], f"no {side}")


def _one_kind(flags: Sequence[bool], examples: Sequence[Example], yes: str, no: str) -> bool:
    """The flag that all share; refuses a mixture and names the first of each."""
    if all(flags) or not any(flags):
        return flags[0]
    first, other = examples[flags.index(True)].key, examples[flags.index(False)].key
    raise InputError(
        "batch", expected="examples of one kind", got=f"{first!r} with {yes} and {other!r} with {no}",
        remedy="Put the kinds into separate calls.",
    )  # fmt: skip

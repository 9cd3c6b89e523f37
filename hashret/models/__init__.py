"""Parts of networks, tensors only: encoders of images, texts and vectors, and what turns raw things into their inputs.

The tables name what a recipe can ask for; the functions build it, and build it again from what was saved with a run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hashret.errors import FormatError, InputError
from hashret.models.bag_of_words import BagOfWords, Vocabulary, bag_of_words
from hashret.models.feature_cache import FeatureCache
from hashret.models.features import Encoder, Features, Inputs, Side, in_blocks
from hashret.models.heads import HashLayer, mlp
from hashret.models.image import SmallCNN, TorchvisionImage, TransformersImage, transformers_image
from hashret.models.processor import Processor
from hashret.models.text import SmallTransformer, TransformersText, small_transformer, transformers_text
from hashret.models.token_cache import TokenCache
from hashret.models.trained import load_encoder
from hashret.models.vector import TokenEncoder, VectorEncoder

__all__ = [
    "IMAGE_ENCODERS",
    "TEXT_ENCODERS",
    "Encoder",
    "FeatureCache",
    "Features",
    "HashLayer",
    "Inputs",
    "Processor",
    "Side",
    "TokenCache",
    "Vocabulary",
    "build_image_encoder",
    "build_text_encoder",
    "encoder_from_config",
    "fit_vocabulary",
    "in_blocks",
    "mlp",
]


def trained_image(*, run: str) -> Encoder:
    """The image encoder of a trained run; see :mod:`hashret.models.trained`."""
    return load_encoder(run, "image", encoder_from_config)


def trained_text(*, run: str) -> Encoder:
    """The text encoder of a trained run."""
    return load_encoder(run, "text", encoder_from_config)


IMAGE_ENCODERS: Mapping[str, Callable[..., Encoder]] = {
    "cnn": SmallCNN,
    "tokens": TokenEncoder,
    "torchvision": TorchvisionImage,
    "trained": trained_image,
    "transformers": transformers_image,
    "vector": VectorEncoder,
}
"""Name in a recipe -> what builds the encoder; its keyword-only parameters are the options."""

TEXT_ENCODERS: Mapping[str, Callable[..., Encoder]] = {
    "bag_of_words": bag_of_words,
    "tokens": TokenEncoder,
    "trained": trained_text,
    "transformer": small_transformer,
    "transformers": transformers_text,
    "vector": VectorEncoder,
}
"""The same for texts; those that read words take their vocabulary first."""

_ENCODERS: dict[str, type[Encoder]] = {
    "BagOfWords": BagOfWords,
    "SmallCNN": SmallCNN,
    "SmallTransformer": SmallTransformer,
    "TokenEncoder": TokenEncoder,
    "TorchvisionImage": TorchvisionImage,
    "TransformersImage": TransformersImage,
    "TransformersText": TransformersText,
    "VectorEncoder": VectorEncoder,
}


def build_image_encoder(name: str, options: Mapping[str, Any]) -> Encoder:
    """Build an image encoder by its name in a recipe.

    Args:
        name: A key of IMAGE_ENCODERS.
        options: Its keyword-only parameters.

    Raises:
        InputError: The name is unknown.

    Example:
        >>> build_image_encoder("cnn", {"size": 32, "dimension": 16}).dimension
        16
    """
    return _entry(IMAGE_ENCODERS, name)(**options)


def build_text_encoder(name: str, options: Mapping[str, Any], vocabulary: Vocabulary | None = None) -> Encoder:
    """Build a text encoder by its name in a recipe.

    Args:
        name: A key of TEXT_ENCODERS.
        options: Its keyword-only parameters.
        vocabulary: From :func:`fit_vocabulary`; ignored by encoders that bring their own tokenizer or read vectors.

    Raises:
        InputError: The name is unknown, or a vocabulary is needed and missing.

    Example:
        >>> build_text_encoder("bag_of_words", {"size": 5}, Vocabulary(("dog", "red"))).dimension
        2
    """
    if not _reads_words(name):
        return TEXT_ENCODERS[name](**options)
    if vocabulary is None:
        raise InputError(
            "vocabulary", expected=f"one for the text encoder {name}", got="none",
            remedy="Fit one to the training texts (hashret.models.fit_vocabulary), or choose the encoder 'vector'.",
        )  # fmt: skip
    return TEXT_ENCODERS[name](vocabulary, **options)


def fit_vocabulary(name: str, options: Mapping[str, Any], texts: Sequence[str]) -> Vocabulary | None:
    """Fit the vocabulary a text encoder asks for.

    Args:
        name: A key of TEXT_ENCODERS.
        options: Its keyword-only parameters; ``size`` and ``stop_words`` count here.
        texts: Training texts.

    Returns:
        The vocabulary, or None for encoders that need none.

    Raises:
        InputError: The name is unknown.
        TextError: The texts hold no words.

    Example:
        >>> fit_vocabulary("bag_of_words", {"size": 1}, ["the red dog", "a dog"]).words
        ('dog',)
    """
    if not _reads_words(name):
        return None
    known = {key: value.default for key, value in inspect.signature(TEXT_ENCODERS[name]).parameters.items()}
    known.update(options)
    return Vocabulary.fit(texts, known["size"], stop_words=known["stop_words"])


def _reads_words(name: str) -> bool:
    """Whether an encoder takes a vocabulary."""
    return "vocabulary" in inspect.signature(_entry(TEXT_ENCODERS, name)).parameters


def _entry(table: Mapping[str, Callable[..., Encoder]], name: str) -> Callable[..., Encoder]:
    if name not in table:
        raise InputError("encoder", expected=f"one of {', '.join(table)}", got=repr(name), remedy="Name one of them.")
    return table[name]


def encoder_from_config(config: dict[str, Any]) -> Encoder:
    """Rebuild an encoder's architecture with random weights from what its ``config()`` gave.

    Neither the network nor the original checkpoint is needed; load the saved weights into it afterwards.

    Raises:
        FormatError: The config names an encoder this version does not know.

    Example:
        >>> encoder = build_image_encoder("cnn", {"size": 32, "width": 4, "dimension": 8})
        >>> encoder_from_config(encoder.config()).dimension
        8
    """
    name = config.get("encoder")
    if name not in _ENCODERS:
        known = ", ".join(_ENCODERS)
        raise FormatError(
            "encoder", expected=f"one of {known}", got=repr(name), remedy="Use the hashret that wrote it."
        )
    return _ENCODERS[name].from_config(config)

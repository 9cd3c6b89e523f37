"""Encoders of texts: a small transformer to train from scratch, and any transformers checkpoint.

How a transformers checkpoint is opened, described and rebuilt stands here, for images too. Bags of words have a file of
their own. How texts become token ids is the encoder's ``transform``, which the processor runs and saves; nothing here
splits a text.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hashret.errors import FileError, FormatError, InputError
from hashret.models.bag_of_words import Vocabulary, WordNumbers, check_size
from hashret.models.features import Encoder, Features, Side, evaluating, masked_mean
from hashret.models.processor import Tokens

__all__ = ["SmallTransformer", "TransformersText", "small_transformer", "transformers_text"]

Pooling = Literal["mean", "cls", "model"]


class SmallTransformer(Encoder):
    """A transformer over word numbers, trained from scratch; the mean of its outputs is the text's vector.

    Args:
        words: Words of the vocabulary; two more numbers stand for filling and for unknown words.
        dimension: Width of the features, a multiple of ``heads``.
        layers: Transformer layers, normalised before attention.
        heads: Attention heads.
        length: Words a text may have.

    Raises:
        InputError: ``heads`` does not divide ``dimension``.
    """

    def __init__(self, words: int, *, dimension: int, layers: int, heads: int, length: int) -> None:
        """Build the layers."""
        super().__init__()
        if dimension % heads:
            raise InputError(
                "dimension",
                expected=f"a multiple of {heads} heads",
                got=str(dimension),
                remedy="Change either of them.",
            )
        self.options = {"words": words, "dimension": dimension, "layers": layers, "heads": heads, "length": length}
        self.dimension = self.token_dimension = dimension
        self.words = nn.Embedding(words + 2, dimension, padding_idx=0)
        self.places = nn.Parameter(torch.randn(length, dimension) * 0.02)
        nn.init.normal_(self.words.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(
            dimension, heads, 4 * dimension, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(dimension), enable_nested_tensor=False)

    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        """Word numbers int64 (B, T) and their mask to features."""
        if x.ndim != 2 or x.is_floating_point() or mask is None:
            raise self.refuse(x, "word numbers int64 (B, T) with their mask")
        tokens = self.layers(self.words(x) + self.places[: x.shape[1]], src_key_padding_mask=~mask)
        return Features(masked_mean(tokens, mask), tokens, mask)

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"encoder": "SmallTransformer", **self.options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SmallTransformer:
        """Build it from :meth:`config`."""
        return cls(**{key: value for key, value in config.items() if key != "encoder"})


# Checkpoints of two towers are opened one tower at a time: (image class, text class).
_TOWERS = {
    "clip": ("CLIPVisionModelWithProjection", "CLIPTextModelWithProjection"),
    "siglip": ("SiglipVisionModel", "SiglipTextModel"),
}


def open_checkpoint(checkpoint: str, side: Side) -> nn.Module:
    """Open one side of a transformers checkpoint in float32.

    A pooling layer the checkpoint has no weights for is taken out: random weights would spoil the features, and differ
    each time.

    Args:
        checkpoint: A folder, or a name on the Hugging Face hub.
        side: Which tower to take of CLIP and SigLIP.

    Raises:
        FileError: There is no such checkpoint, or its files cannot be read.
        InputError: A kind of model this side cannot be taken from.
        FormatError: Weights are missing.
    """
    import transformers

    try:
        with quiet():
            config = transformers.AutoConfig.from_pretrained(checkpoint)
            kind = _class_of(config, side, checkpoint)
            # On a GPU, other kinds of attention choose their kernel by whether a text is padded, and round differently.
            attention = {"attn_implementation": "eager"} if side == "text" else {}
            model, report = kind.from_pretrained(checkpoint, output_loading_info=True, **attention)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise FileError(
            f"checkpoint {checkpoint}", expected="a transformers checkpoint", got=str(error).split("\n")[0],
            remedy="Give the folder that holds its config.json, or a hub name while online.",
        ) from error  # fmt: skip
    missing = {key for key in report["missing_keys"] if "pooler" not in key.split(".")}
    if missing:
        raise FormatError(
            f"checkpoint {checkpoint}", expected=f"all weights of {type(model).__name__}",
            got=f"{len(missing)} missing, such as {min(missing)}", remedy="Take a whole checkpoint of this model.",
        )  # fmt: skip
    if len(report["missing_keys"]) > len(missing):
        model.pooler = None
    whole: nn.Module = model.float()
    return whole


def _class_of(config: Any, side: Side, checkpoint: str) -> Any:
    """The transformers class that holds one side of a checkpoint."""
    import transformers

    stored = (config.architectures or [""])[0]
    if config.model_type in _TOWERS:
        return getattr(transformers, _TOWERS[config.model_type][side == "text"])
    if stored in {name for names in _TOWERS.values() for name in names}:
        return getattr(transformers, stored)
    model = transformers.MODEL_MAPPING.get(type(config), None)
    model = model[0] if isinstance(model, tuple) else model
    if model is None or hasattr(model, "get_image_features") or getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"checkpoint {checkpoint}", expected=f"an encoder of {side}s, CLIP or SigLIP",
            got=f"a {config.model_type} model",
            remedy="Choose another checkpoint, or extract vectors yourself and use the encoder 'vector'.",
        )  # fmt: skip
    return model


def _keep_layers(model: Any, count: int, checkpoint: str) -> None:
    """Keep the first layers of a model's stack; its config then says so, and what is rebuilt from that is as deep."""
    depth = getattr(model.config, "num_hidden_layers", 0)
    stacks = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    if len(stacks) != 1:
        raise InputError(
            "layers", expected="a model with one stack of layers", got=f"checkpoint {checkpoint} with {len(stacks)}",
            remedy="Leave text.layers out.",
        )  # fmt: skip
    if not 1 <= count <= depth:
        raise InputError(
            "layers", expected=f"1 ... {depth}, the layers of checkpoint {checkpoint}", got=str(count),
            remedy="Set text.layers to one of these, or leave it out.",
        )  # fmt: skip
    del stacks[0][count:]
    model.config.num_hidden_layers = count


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and listing the other tower's weights."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def describe_model(model: nn.Module) -> dict[str, Any]:
    """What rebuilds a transformers model: its class, its config and whether it pools."""
    config: Any = model.config
    whence = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")  # where it came from, not what it is
    settings = {k: v for k, v in json.loads(json.dumps(config.to_dict(), default=str)).items() if k not in whence}
    return {"class": type(model).__name__, "model": settings, "pooler": getattr(model, "pooler", "") is not None}


def rebuild_model(config: dict[str, Any], *, attention: str | None) -> nn.Module:
    """Build the transformers model of :func:`describe_model` with random weights, in float32.

    Raises:
        FormatError: This version of transformers has no such model.
    """
    import transformers

    kind: Any = getattr(transformers, config["class"], object)
    if transformers.PreTrainedModel not in inspect.getmro(kind):
        raise FormatError(
            "encoder", expected="a model of this transformers version", got=config["class"],
            remedy="Install the transformers version the run was made with.",
        )  # fmt: skip
    how = {} if attention is None else {"attn_implementation": attention}
    settings = kind.config_class.from_dict(config["model"])
    model = kind._from_config(settings, **how)
    if not config["pooler"]:
        model.pooler = None
    whole: nn.Module = model.float()
    return whole


class TransformersText(Encoder):
    """The text side of a transformers model: CLIP, SigLIP, BERT, MiniLM and others.

    Args:
        model: From :func:`open_checkpoint` or :func:`rebuild_model`.
        pooling: ``mean`` of the tokens, the first token (``cls``), or what the ``model`` itself gives: CLIP's and
            SigLIP's embedding, a pooler's output.
        pretrained: Whether the weights come from a checkpoint.
        special: Ids that are no words ([CLS], [SEP], filling); their tokens are masked.

    Raises:
        InputError: ``pooling`` is ``model``, and it has no pooling of its own.
    """

    def __init__(self, model: nn.Module, pooling: Pooling, *, pretrained: bool, special: Sequence[int] = ()) -> None:
        """Hold the model and find out its widths by encoding one token."""
        super().__init__()
        self.model, self.pooling, self.pretrained, self.special = model, pooling, pretrained, tuple(special)
        if pooling != "model" and getattr(model, "pooler", None) is not None:
            model.pooler = None  # type: ignore[assignment]
        with evaluating(self):
            found = self.encode(torch.ones(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))
        assert found.tokens is not None
        self.dimension, self.token_dimension = found.pooled.shape[1], found.tokens.shape[2]

    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        """Token ids int64 (B, T) and their mask to features."""
        if x.ndim != 2 or x.is_floating_point() or mask is None:
            raise self.refuse(x, "token ids int64 (B, T) with their mask")
        output = self.model(input_ids=x, attention_mask=mask.long())
        tokens: Tensor = output.last_hidden_state
        words = mask & ~torch.isin(x, torch.tensor(self.special, dtype=x.dtype, device=x.device))
        if self.pooling == "mean":
            return Features(masked_mean(tokens, mask), tokens, words)
        if self.pooling == "cls":
            return Features(tokens[:, 0], tokens, words)
        pooled = getattr(output, "text_embeds", None)
        pooled = getattr(output, "pooler_output", None) if pooled is None else pooled
        if pooled is None:
            raise InputError(
                "pooling", expected="mean or cls", got="model, and this checkpoint has no pooling of its own",
                remedy="Set text.pooling to mean.",
            )  # fmt: skip
        return Features(pooled, tokens, words)

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        about = {
            "encoder": "TransformersText", "pooling": self.pooling, "pretrained": self.pretrained,
            "special": list(self.special),
        }  # fmt: skip
        return {**about, **describe_model(self.model)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TransformersText:
        """Build it from :meth:`config`."""
        model, special = rebuild_model(config, attention="eager"), config.get("special", ())
        return cls(model, config["pooling"], pretrained=config["pretrained"], special=special)


def small_transformer(
    vocabulary: Vocabulary,
    /,
    *,
    size: int = 2000,
    stop_words: bool = False,
    dimension: int = 256,
    layers: int = 2,
    heads: int = 4,
    length: int = 32,
) -> SmallTransformer:
    """Read word numbers with a small transformer.

    Args:
        vocabulary: Fitted by :func:`fit_vocabulary` to the training texts.
        size: Words the vocabulary is fitted to, at most.
        stop_words: Whether it leaves English stop words out.
        dimension: Width of the features.
        layers: Transformer layers.
        heads: Attention heads.
        length: Words read of a text.

    Raises:
        InputError: The vocabulary has more than ``size`` words, or ``heads`` does not divide ``dimension``.
    """
    check_size(vocabulary, size)
    encoder = SmallTransformer(len(vocabulary), dimension=dimension, layers=layers, heads=heads, length=length)
    encoder.transform = WordNumbers(vocabulary, length)
    return encoder


def transformers_text(
    *,
    checkpoint: str,
    pooling: Literal["auto", "mean", "cls", "model"] = "auto",
    length: int = 64,
    layers: int | None = None,
) -> TransformersText:
    """Encode texts with a transformers checkpoint, in float32.

    Args:
        checkpoint: A folder, or a name on the Hugging Face hub, with a tokenizer.
        pooling: See :class:`TransformersText`; ``auto`` is ``model`` for CLIP and SigLIP and ``mean`` for others.
        length: Tokens read of a text, at most what the model takes; SigLIP always reads as many as it was trained with.
        layers: How many of its transformer layers are kept, the first ones; None keeps all.

    Raises:
        FileError: There is no such checkpoint, or it has no tokenizer.
        InputError: A kind of model that texts cannot be encoded with, no pooling of its own where that is asked for, or
            other ``layers`` than it has.
    """
    from transformers import AutoTokenizer

    model: Any = open_checkpoint(checkpoint, "text")
    if layers is not None:
        _keep_layers(model, layers, checkpoint)
    try:
        tokenizer, reason = AutoTokenizer.from_pretrained(checkpoint), ""
    except (OSError, ValueError) as error:
        tokenizer, reason = (), str(error).split("\n")[0]
    if 2 * len(tokenizer) < model.config.vocab_size:  # without its files transformers may make an empty one
        raise FileError(
            f"checkpoint {checkpoint}", expected=f"a tokenizer of about {model.config.vocab_size} tokens",
            got=reason or f"one of {len(tokenizer)}", remedy="Take a checkpoint of a text model with all its files.",
        )  # fmt: skip
    places = getattr(model.config, "max_position_embeddings", length)
    full = model.config.model_type.startswith("siglip")
    own = full or model.config.model_type.startswith("clip")
    if pooling == "auto":
        pooling = "model" if own else "mean"
    encoder = TransformersText(model, pooling, pretrained=True, special=sorted(set(tokenizer.all_special_ids)))
    length = places if full else min(length, places, tokenizer.model_max_length)
    encoder.transform = Tokens(tokenizer, length, full)
    return encoder

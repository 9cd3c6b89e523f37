"""Encoders of images: a small network to train from scratch, any transformers checkpoint, any torchvision classifier.

An encoder holds the network and says, in ``preprocess``, how pixels must be prepared; the processor does it. Nothing
here hashes or normalises features.
"""

from __future__ import annotations

import difflib
import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from hashret.errors import FileError, FormatError, InputError
from hashret.models.features import Encoder, Features, Preprocess, evaluating
from hashret.models.processor import CheckpointPixels, Pixels, preprocess_from_config
from hashret.models.text import describe_model, open_checkpoint, quiet, rebuild_model

__all__ = ["SmallCNN", "TorchvisionImage", "TransformersImage", "transformers_image"]


class SmallCNN(Encoder):
    """Four convolutions, each halving the picture: enough for drawn shapes, fast on a laptop.

    What is pooled of the last grid is a choice between what is there and where. ``mixed`` features are the mean of each
    channel's average and maximum over the grid, so that small things count wherever they stand. ``places`` features are
    those and, beside them, the grid itself, place after place: which colour is which shape's, and what stands in a
    corner, can be read off them, as sentences ask for that change one thing of a picture.

    Args:
        size: Side of the input in pixels, at least 16.
        width: Channels of the first convolution; the next two have 2 and 4 times as many.
        dimension: Channels of the last one, and width of the tokens.
        residual: Whether each is followed by another one at its scale whose output is added to its own.
        pool: ``mixed``, ``dimension`` wide, or ``places``, which adds ceil(size / 16) squared times that.

    Raises:
        InputError: ``size`` is below 16.

    Example:
        >>> encoder = SmallCNN(size=32, width=8, dimension=24)
        >>> features = encoder(torch.zeros(2, 3, 32, 32))
        >>> features.pooled.shape, features.tokens.shape
        (torch.Size([2, 24]), torch.Size([2, 4, 24]))
    """

    nonnegative = True

    def __init__(
        self,
        *,
        size: int = 64,
        width: int = 32,
        dimension: int = 256,
        residual: bool = False,
        pool: Literal["mixed", "places"] = "mixed",
    ) -> None:
        """Build the layers."""
        super().__init__()
        if size < 16:
            raise InputError("size", expected=">= 16", got=str(size), remedy="Four halvings need 16 pixels.")
        self.options = {"size": size, "width": width, "dimension": dimension, "residual": residual, "pool": pool}
        self.places = math.ceil(size / 16) ** 2 if pool == "places" else 0
        self.token_dimension = dimension
        self.dimension = dimension * (1 + self.places)
        self.preprocess = Pixels(size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        layers: list[nn.Module] = []
        channels = 3
        for after in (width, 2 * width, 4 * width, dimension):
            layers += [nn.Conv2d(channels, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [_Residual(after)] if residual else []
            channels = after
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)

    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        """Pixels float (B, 3, size, size) to features; without ``places`` of any height and width from 16 up."""
        side: Any = self.options["size"]
        if x.ndim != 4 or (self.places and x.shape[2:] != (side, side)):
            raise self.refuse(x, f"pixels float (B, 3, {side}, {side})")
        tokens = self.layers(x).flatten(2).transpose(1, 2)
        mixed = (tokens.mean(1) + tokens.amax(1)) / 2
        return Features(torch.cat([mixed, tokens.flatten(1)], dim=1) if self.places else mixed, tokens)

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"encoder": "SmallCNN", **self.options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SmallCNN:
        """Build it from :meth:`config`; what an older one does not name is as it was."""
        return cls(**{name: value for name, value in config.items() if name != "encoder"})


class _Residual(nn.Module):
    """ReLU(x + BN(conv(x))): channels and places stay."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = functional.relu(x + self.layers(x))
        return found


_ENDS_IN_RELU = {"mobilenet_v1", "mobilenet_v2", "regnet", "resnet"}


class TransformersImage(Encoder):
    """The image side of a transformers model: CLIP, SigLIP, ViT, DINOv2, MobileNetV2, ResNet and others.

    Pooled features are what the model was made to be used by: the projected embedding, its pooler's output, or the
    first token. Tokens are its last hidden states of patches, without what stands for the whole; feature maps are
    flattened row by row.

    Args:
        model: From :func:`open_checkpoint` or :func:`rebuild_model`.
        preprocess: What the checkpoint asks for.
        pretrained: Whether the weights come from a checkpoint.
    """

    def __init__(self, model: nn.Module, preprocess: Preprocess, *, pretrained: bool) -> None:
        """Hold the model and find out its widths by encoding a black image."""
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)
        self.preprocess, self.pretrained = preprocess, pretrained
        kind: Any = model.config
        self.nonnegative = kind.model_type in _ENDS_IN_RELU and getattr(kind, "hidden_act", "relu") in ("relu", "relu6")
        with evaluating(self):
            found = self.encode(preprocess(Image.new("RGB", (256, 256)))[None], None)
        self.dimension = found.pooled.shape[1]
        self.token_dimension = 0 if found.tokens is None else found.tokens.shape[2]

    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        """Pixels float (B, 3, H, W) to features."""
        if x.ndim != 4:
            raise self.refuse(x, "pixels float (B, 3, H, W)")
        output = self.model(pixel_values=x)
        states: Tensor = output.last_hidden_state
        tokens = states.flatten(2).transpose(1, 2) if states.ndim == 4 else states
        pooled = getattr(output, "image_embeds", None)
        if pooled is None:
            pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            pooled = tokens[:, 0] if states.ndim == 3 else tokens.mean(1)
        return Features(pooled.flatten(1), tokens[:, self._before_patches(x, tokens.shape[1]) :])

    def _before_patches(self, x: Tensor, tokens: int) -> int:
        """How many tokens stand before those of the patches: [CLS], registers."""
        kind: Any = self.model.config
        side = getattr(getattr(kind, "vision_config", kind), "patch_size", None)
        patches = 0 if not isinstance(side, int) else (x.shape[2] // side) * (x.shape[3] // side)
        return tokens - patches if 0 < patches < tokens else 0

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        assert self.preprocess is not None
        about = {"encoder": "TransformersImage", "preprocess": self.preprocess.config(), "pretrained": self.pretrained}
        return {**about, **describe_model(self.model)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TransformersImage:
        """Build it from :meth:`config`."""
        preprocess = preprocess_from_config(config["preprocess"])
        return cls(rebuild_model(config, attention=None), preprocess, pretrained=config["pretrained"])


def transformers_image(*, checkpoint: str, norms: Literal["learn", "still"] = "learn") -> TransformersImage:
    """Encode images with a transformers checkpoint, in float32.

    Args:
        checkpoint: A folder, or a name on the Hugging Face hub, with an image processor.
        norms: Whether batch normalisations that are fine-tuned go by each batch and learn, or keep the checkpoint's
            means, variances and weights: a few thousand images say less about these than the images the checkpoint
            saw, and MobileNetV2's keep 0.3 % of what they were at each step.

    Raises:
        FileError: There is no such checkpoint, or it has no image processor.
        InputError: A kind of model that images cannot be encoded with.
    """
    import transformers

    model = open_checkpoint(checkpoint, "image")
    # torch's resizing starts threads for every image, which stall each other in busy worker processes; PIL's does not.
    with_pil = {"backend": "pil"} if int(transformers.__version__.split(".")[0]) >= 5 else {"use_fast": False}
    try:
        with quiet():
            processor = transformers.AutoImageProcessor.from_pretrained(checkpoint, **with_pil)
    except (OSError, ValueError) as error:
        raise FileError(
            f"checkpoint {checkpoint}", expected="an image processor (preprocessor_config.json)",
            got=str(error).split("\n")[0], remedy="Take a checkpoint of an image model with all its files.",
        ) from error  # fmt: skip
    settings = {**processor.to_dict(), "image_processor_type": type(processor).__name__}
    own = CheckpointPixels(json.loads(json.dumps(settings, default=str)))
    encoder = TransformersImage(model, _plain(own) or own, pretrained=True)
    for part in encoder.modules() if norms == "still" else ():
        if isinstance(part, _BatchNorm):
            part.requires_grad_(False)
    return encoder


def _plain(own: CheckpointPixels) -> Pixels | None:
    """Pixels that do exactly what a checkpoint's image processor does, several times faster; None if none do."""
    settings = own.settings
    try:
        size, shorter = settings["size"], None
        if settings.get("do_center_crop"):
            size, shorter = settings["crop_size"], size["shortest_edge"]
        mean, std = tuple(settings["image_mean"]), tuple(settings["image_std"])
        plain = Pixels(size["height"], mean, std, shorter, settings["resample"])
        for shape in ((61, 97, 3), (200, 50, 3), (301, 300, 3)):
            noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
            pixels, expected = plain(noise), own(noise)
            if pixels.shape != expected.shape or not torch.allclose(pixels, expected, atol=1e-5):
                return None
    except (InputError, LookupError, TypeError, ValueError):
        return None
    return plain


_HEADS = ("fc", "classifier", "heads", "head")
_RELU_BEFORE_HEAD = ("alexnet", "densenet", "mobilenet_v2", "regnet", "resne", "shufflenet", "vgg", "wide_resnet")


class TorchvisionImage(Encoder):
    """A torchvision classifier without its last linear layer (and without a dropout that then ends it).

    VGG and AlexNet keep their first two fully connected layers and give 4,096 features, as hashing papers use them;
    ResNets, MobileNets, ViTs and others give what their pooling gives. There are no tokens.

    Args:
        architecture: A name torchvision knows, such as "vgg19_bn" or "resnet50".
        weights: None for random ones, "DEFAULT" for torchvision's download, or the path of a state dict (.pth,
            .safetensors); a classifier for other classes may be in it.
        size: Side of the input in pixels, cut from the middle of the image made 8/7 as large.

    Raises:
        InputError: The architecture is unknown, has no head that can be taken off, or does not take this size.
        FileError: The weights cannot be read.
        FormatError: They are another network's.
    """

    def __init__(self, *, architecture: str = "vgg19_bn", weights: str | None = None, size: int = 224) -> None:
        """Build the network, load the weights and take the head off."""
        super().__init__()
        model = _classifier(architecture, "DEFAULT" if weights == "DEFAULT" else None)
        _take_head_off(model, architecture)
        if weights not in (None, "DEFAULT"):
            _load_state(model, Path(weights), architecture)
        self.options = {"architecture": architecture, "size": size}
        self.model = model.to(memory_format=torch.channels_last)
        self.preprocess = Pixels(size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), shorter=round(size * 8 / 7))
        self.pretrained, self.nonnegative = weights is not None, architecture.startswith(_RELU_BEFORE_HEAD)
        blank = torch.zeros(1, 3, size, size, device=next(model.parameters()).device)
        try:
            with evaluating(self):
                self.dimension = self.encode(blank, None).pooled.shape[1]
        except (AssertionError, RuntimeError) as error:
            raise InputError(
                "size", expected=f"one that {architecture} takes", got=str(size), remedy="224 always fits."
            ) from error

    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        """Pixels float (B, 3, size, size) to features."""
        if x.ndim != 4:
            raise self.refuse(x, "pixels float (B, 3, H, W)")
        return Features(self.model(x).flatten(1))

    def config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"encoder": "TorchvisionImage", **self.options, "pretrained": self.pretrained}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TorchvisionImage:
        """Build it from :meth:`config`."""
        encoder = cls(architecture=config["architecture"], size=config["size"])
        encoder.pretrained = config["pretrained"]
        return encoder


def _classifier(architecture: str, weights: str | None) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if architecture not in known:
        close = difflib.get_close_matches(architecture, known, n=4) or [
            "vgg19_bn",
            "resnet50",
            "mobilenet_v3_large",
            "vit_b_16",
        ]
        raise InputError(
            "architecture",
            expected="a torchvision classifier",
            got=repr(architecture),
            remedy=f"Did you mean {', '.join(close)}?",
        )
    model: nn.Module = models.get_model(architecture, weights=weights)
    return model


def _take_head_off(model: nn.Module, architecture: str) -> None:
    """Replace the last linear layer by nothing, in place."""
    name = next((name for name in _HEADS if hasattr(model, name)), "")
    head = getattr(model, name, None)
    layers = list(head) if isinstance(head, nn.Sequential) else [head]
    if not isinstance(layers[-1], nn.Linear):
        raise InputError(
            "architecture", expected="a network that ends in a linear classifier", got=architecture,
            remedy="Choose another, such as vgg19_bn, resnet50 or vit_b_16.",
        )  # fmt: skip
    layers = layers[:-1]
    while layers and isinstance(layers[-1], nn.Dropout):
        layers = layers[:-1]
    setattr(model, name, nn.Sequential(*[layer for layer in layers if layer is not None]))


def _load_state(model: nn.Module, path: Path, architecture: str) -> None:
    """Load a state dict file into a network without its head."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        report = model.load_state_dict(state, strict=False)
    except OSError as error:
        raise FileError(
            f"weights {path}", expected="a state dict", got=error.strerror or str(error), remedy="Check the path."
        ) from error
    except Exception as error:  # damaged pickles and foreign tensors fail in many ways
        raise FormatError(
            f"weights {path}", expected=f"a state dict of {architecture}", got=str(error).split("\n")[0],
            remedy="Give the file torchvision's model.state_dict() was saved to.",
        ) from error  # fmt: skip
    if report.missing_keys:
        raise FormatError(
            f"weights {path}", expected=f"a state dict of {architecture}", got=f"none for {report.missing_keys[0]}",
            remedy="Name the architecture the weights belong to.",
        )  # fmt: skip

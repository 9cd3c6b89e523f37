"""Encoders out of a trained run: what one method has taught its image or text encoder, another builds on.

So a backbone is trained once and compared methods read the same features of it, as CLIP4Cir and MLCL build combiners on
a CLIP that was fine-tuned before. The encoder brings its preprocessing, words and tokenizer along, and is saved whole
with the new run, which needs the old one no more.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import torch

from hashret.arrayfile import read_arrays
from hashret.errors import FileError, FormatError
from hashret.models.features import Encoder
from hashret.models.processor import Processor

__all__ = ["MODEL", "WEIGHTS", "load_encoder", "saved_config"]

MODEL = "hashret.model/1"
"""What config.json of a saved model calls its form."""

WEIGHTS = "hashret.weights/1"
"""The kind of its model.safetensors."""


def saved_config(folder: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """Where the model of a run folder lies, or the folder itself, and what its config.json holds.

    Raises:
        FileError: There is no trained model.
        FormatError: It is of another form.
    """
    place = Path(folder, "model") if Path(folder, "model", "config.json").exists() else Path(folder)
    try:
        config: dict[str, Any] = json.loads((place / "config.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(
            str(folder), expected="a run folder with a trained model (model/config.json)",
            got=error.strerror or str(error),
            remedy="Check the path; finish an interrupted run with hashret train --resume.",
        ) from error  # fmt: skip
    if config.get("format") != MODEL:
        raise FormatError(
            str(place / "config.json"), expected=MODEL, got=str(config.get("format")), remedy="Name a hashret run."
        )
    return place, config


def load_encoder(run: str, side: Literal["image", "text"], rebuild: Any) -> Encoder:
    """The encoder of one side of a trained run.

    Args:
        run: A run folder, or the folder of a saved model.
        side: Which of its encoders.
        rebuild: :func:`hashret.models.encoder_from_config`.

    Raises:
        FileError: There is no trained model.
        FormatError: It is of another form, or its weights are not its architecture's.
    """
    place, config = saved_config(run)
    encoder: Encoder = rebuild(config[side])
    arrays, _ = read_arrays(place / "model.safetensors", kind=WEIGHTS)
    own = {name.removeprefix(f"{side}."): array for name, array in arrays.items() if name.startswith(f"{side}.")}
    try:
        encoder.load_state_dict({name: torch.from_numpy(array) for name, array in own.items()})
    except RuntimeError as error:
        raise FormatError(
            str(place / "model.safetensors"), expected=f"the weights of its {side} encoder",
            got=str(error).split("\n")[1].strip(), remedy="The run is damaged; take a copy of it.",
        ) from error  # fmt: skip
    processor = Processor.load(place)
    encoder.preprocess = processor.image_preprocess if side == "image" else None
    encoder.transform = processor.text_transform if side == "text" else None
    return encoder

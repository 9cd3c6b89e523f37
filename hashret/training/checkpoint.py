"""Checkpoints: everything a run needs to go on as if it had never stopped, in one file that is replaced atomically.

Random numbers are not in it: the loop draws them from (seed, stage, epoch, step), so that a position is a state.
Nothing is pickled; optimiser states and a method's memory are named arrays like the weights. Weights that are saved by
themselves have neither.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from hashret.arrayfile import Array, read_arrays, write_arrays
from hashret.methods.method import Method
from hashret.models.trained import WEIGHTS

__all__ = ["Progress", "load_checkpoint", "load_weights", "save_checkpoint", "save_weights"]

KIND = "hashret.checkpoint/1"


@dataclass
class Progress:
    """Where a run stands: the next step to take.

    Attributes:
        stage: Index of the stage.
        epoch: Epochs of the stage that are done.
        step: Steps of the current epoch that are done.
        best: Best validation score of the stage so far, None before the first.
        best_epoch: Its epoch, counted from 1.
        sums: Sum of each loss term over the steps done in this epoch.
        schedulers: Plateau schedulers' state by turn.
        scaler: State of the loss scale, with fp16.
        log_bytes: Size of the log at this point; what stands behind it is from steps that will be taken again.
        seconds: Time spent training, over all interruptions.
    """

    stage: int = 0
    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    schedulers: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    log_bytes: int = 0
    seconds: float = 0.0


def save_checkpoint(
    path: str | os.PathLike[str],
    model: Method,
    optimizers: Mapping[str, torch.optim.Optimizer],
    progress: Progress,
) -> None:
    """Write weights, the method's memory, optimiser states and progress.

    Raises:
        FileError: The place cannot be written; an earlier checkpoint stays as it was.
    """
    arrays = {f"model/{name}": array for name, array in _weights(model).items()}
    arrays |= {f"memory/{name}": _array(value) for name, value in model.memory.items()}
    groups: dict[str, Any] = {}
    for turn, optimizer in optimizers.items():
        state = optimizer.state_dict()
        groups[turn] = [{k: v for k, v in group.items() if k != "params"} for group in state["param_groups"]]
        for index, entries in state["state"].items():
            for name, value in entries.items():
                arrays[f"optimizer/{turn}/{index}/{name}"] = _array(value)
    write_arrays(path, arrays, kind=KIND, metadata={"progress": asdict(progress), "groups": groups})


def load_checkpoint(
    path: str | os.PathLike[str], model: Method, optimizers: Mapping[str, torch.optim.Optimizer] | None
) -> Progress:
    """Read what :func:`save_checkpoint` wrote into ``model`` and, unless None, ``optimizers``.

    Raises:
        FileError: There is no such file.
        FormatError: It is no checkpoint, or damaged.
    """
    arrays, metadata = read_arrays(path, kind=KIND)
    _load(model, _named(arrays, "model/"))
    device = next(model.parameters()).device
    model.memory = {name: torch.from_numpy(array).to(device) for name, array in _named(arrays, "memory/").items()}
    for turn, optimizer in (optimizers or {}).items():
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, array in arrays.items():
            if name.startswith(f"optimizer/{turn}/"):
                _, _, index, key = name.split("/")
                state.setdefault(int(index), {})[key] = torch.from_numpy(array)
        fresh = optimizer.state_dict()
        saved = metadata["groups"][turn]
        groups = [{**group, **old} for group, old in zip(fresh["param_groups"], saved, strict=True)]
        for group in groups:
            group["betas"] = tuple(group["betas"])
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        _lay_out_like_parameters(optimizer)
    return Progress(**metadata["progress"])


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the memory layout of their parameters: fused Adam walks through both side by side."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            for name, value in state.items():
                if value.shape == parameter.shape and value.stride() != parameter.stride():
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def save_weights(
    path: str | os.PathLike[str], model: nn.Module, metadata: Mapping[str, Any], *, without: Sequence[str] = ()
) -> None:
    """Write a model's weights and buffers alone, but for its parts of the names ``without``."""
    kept = {name: array for name, array in _weights(model).items() if name.partition(".")[0] not in without}
    write_arrays(path, kept, kind=WEIGHTS, metadata=metadata)


def load_weights(path: str | os.PathLike[str], model: nn.Module) -> dict[str, Any]:
    """Read what :func:`save_weights` wrote into ``model``; returns its metadata."""
    arrays, metadata = read_arrays(path, kind=WEIGHTS)
    _load(model, arrays)
    return metadata


def _named(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _weights(model: nn.Module) -> dict[str, Array]:
    return {name: _array(value) for name, value in model.state_dict().items()}


def _load(model: nn.Module, arrays: Mapping[str, Array]) -> None:
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})


def _array(value: Any) -> Array:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)

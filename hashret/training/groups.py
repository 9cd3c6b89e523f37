"""The parameter groups of a turn's optimiser: heads at the stage's rate, encoders at theirs, layer by layer."""

from __future__ import annotations

from typing import Any

from torch import nn

from hashret.errors import TrainingError
from hashret.methods.method import Method, Stage, StageSettings, Turn
from hashret.models.depths import layer_depths

__all__ = ["parameter_groups", "refuse_nothing"]


def parameter_groups(method: Method, stage: Stage, turn: Turn, settings: StageSettings) -> list[dict[str, Any]]:
    """What AdamW takes: ``params``, ``lr`` and ``initial_lr`` of each group that is not empty.

    Encoders have the rate ``encoder_lr * layer_decay ** layers_above``; with ``encoder_lr`` 0 they are left out.
    """
    parameters = method.parameters_of(stage, turn)
    rate = settings.lr if settings.encoder_lr is None else settings.encoder_lr
    rates: dict[float, list[nn.Parameter]] = {settings.lr: list(parameters["heads"])}
    depths = {**layer_depths(method.image), **layer_depths(method.text)} if settings.layer_decay < 1 else {}
    for parameter in parameters["encoders"] if rate else []:
        rates.setdefault(rate * settings.layer_decay ** depths.get(id(parameter), 0), []).append(parameter)
    return [{"params": group, "lr": lr, "initial_lr": lr} for lr, group in rates.items() if group]


def refuse_nothing(method: Method, stage: Stage, settings: StageSettings) -> None:
    """Refuse a stage in which no parameter can move, such as the fine-tuning of a frozen encoder without a head.

    Raises:
        TrainingError: A turn of it has none.
    """
    for turn in stage.turns:
        if not parameter_groups(method, stage, turn, settings):
            raise TrainingError(
                f"stages.{stage.name}", expected="something to train", got="an encoder that is frozen, and no head",
                remedy="Set its epochs to 0, or the encoder's frozen to false.",
            )  # fmt: skip

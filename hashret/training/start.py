"""Where a run begins that takes up what another has learned: its last stage anew, on weights of the stages before.

So codes of another width, or of other settings of the hash layer, need no second training of the embedding they come
from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from hashret.arrayfile import read_arrays, replace_file
from hashret.errors import TrainingError
from hashret.methods.method import Method, Stage
from hashret.models.trained import WEIGHTS
from hashret.training.checkpoint import KIND, Progress

__all__ = ["Start", "take_up"]


@dataclass(frozen=True)
class Start:
    """What is taken up.

    Attributes:
        folder: The run folder of what was trained before.
        stage: The stage to begin with.
        after: The stages before it that were trained.
    """

    folder: Path
    stage: str
    after: tuple[str, ...]


def take_up(start: Start, method: Method, log: Path) -> Progress:
    """Load what stages before one have learned elsewhere, and write their lines of the log.

    What the stages before do not learn, and has another shape here, keeps its fresh weights.

    Args:
        start: What is taken up.
        method: Gets the weights.
        log: The log of the new run.

    Returns:
        The beginning of the stage.

    Raises:
        TrainingError: The run there has not come so far, keeps no weights of it, or learned something of another shape.
        FileError: A file of it cannot be read.
    """
    numbers = {stage.name: number for number, stage in enumerate(method.stages)}
    weights, last = start.folder / f"best-{start.after[-1]}.safetensors", start.folder / "last.safetensors"
    reached = -1
    if last.exists() and weights.exists():
        reached = int(read_arrays(last, kind=KIND, mmap=True)[1]["progress"]["stage"])
    if reached < numbers[start.stage]:
        raise TrainingError(
            str(start.folder), expected=f"a run whose stage {start.after[-1]} is trained and validated",
            got="none of its weights" if reached < 0 else f"one in stage {method.stages[reached].name}",
            remedy="Let it finish, or train this one from the start.",
        )  # fmt: skip
    there, own = read_arrays(weights, kind=WEIGHTS)[0], method.state_dict()
    learned = _learned(method, [method.stages[numbers[name]] for name in start.after])
    differing = sorted(
        name for name in {*there, *own} if name not in there or name not in own or there[name].shape != own[name].shape
    )
    if lost := [name for name in differing if name not in own or name in learned or name not in _trainable(method)]:
        raise TrainingError(
            str(start.folder), expected="weights of the shapes of this recipe's method", got=f"others in {lost[0]}",
            remedy=f"Only what {start.stage} learns may differ: train this one from the start.",
        )  # fmt: skip
    method.load_state_dict(own | {name: torch.from_numpy(there[name]) for name in there if name not in differing})
    lines = (start.folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["stage"] in start.after]
    replace_file(log, b"".join(kept))
    seconds = sum(float(json.loads(line)["seconds"]) for line in kept)
    return Progress(stage=numbers[start.stage], log_bytes=sum(map(len, kept)), seconds=seconds)


def _trainable(method: Method) -> set[str]:
    return {name for name, _ in method.named_parameters()}


def _learned(method: Method, stages: list[Stage]) -> set[str]:
    """Names of the parameters that some stages learn."""
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    return {
        names[id(parameter)]
        for stage in stages
        for turn in stage.turns
        for group in method.parameters_of(stage, turn).values()
        for parameter in group
        if id(parameter) in names
    }

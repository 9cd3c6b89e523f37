"""What two processes do that torchrun starts, and one alone: small runs whose losses, gradients and weights are kept.

Numbers are float64, so that what differs by more than rounding differs. Dropout is on behind the encoders, batch
normalisation learns in them, and the last batch of an epoch has an odd number of pairs.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from learning_encoders import build, run
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from hashret.cli import main
from hashret.errors import HashretError, InputError
from hashret.methods import METHODS, Method
from hashret.training import Fit, Processes, loop

PAIRS = 11
EXTRA: dict[str, dict[str, object]] = {
    "crcgs": {"pair_weight": 0.5, "support_weight": 0.5, "generative_weight": 0.5, "generator_dropout": 0.2},
    "crcgs_published": {"support_weight": 0.5, "contrastive_weight": 0.5},
    "icone": {"instance_dropout": 0.2},
    "mlcl": {"standardize": "both"},
}
SETTINGS: dict[str, dict[str, object]] = {
    "accumulated": {"accumulate": 2, "clip": 0.1, "schedule": "plateau", "warmup": 1},
    "in chunks": {"chunk": 1},
}
BROKEN = {"dcmh": (0, 1, 2), "crcgs_published": (2, 0, 1)}  # stage, epoch and step
RECIPE: dict[str, Any] = {
    "data": {"name": "shapes", "train": 21, "validation": 9, "test": 7, "database": 13},
    "image": {"name": "cnn", "width": 4, "dimension": 8},
    "text": {"name": "bag_of_words", "size": 30},
    "method": {"name": "contrastive", "bits": 16, "width": 16, "dimension": 12, "hash_width": 8},
    "stages": {"embedding": {"epochs": 2, "batch_size": 8}, "codes": {"epochs": 1, "batch_size": 8}},
    "training": {"device": "cpu", "checkpoint_steps": 1},
    "evaluation": {"metrics": ["map", "precision@5"]},
}


def learner(name: str, *, norms_learn: bool = True) -> Method:
    """A method that drops nothing within its encoders."""
    method = build(name, norms_learn=norms_learn, **EXTRA.get(name, {}))
    for encoder in (method.image, method.text):
        for part in encoder.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
            if isinstance(part, nn.MultiheadAttention):
                part.dropout = 0.0
    return method


@contextmanager
def gradients() -> Iterator[list[list[Tensor]]]:
    """Those of every optimiser step."""
    taken: list[list[Tensor]] = []

    def record(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        taken.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in own])

    handle = register_optimizer_step_pre_hook(record)
    try:
        yield taken
    finally:
        handle.remove()


def trained(method: Method, folder: Path, **settings: Any) -> dict[str, Any]:
    """Gradients of all steps, the weights in the end, and how often this process has validated."""
    validated: list[str] = []

    def validate(method: Method, stage: Any) -> float:
        validated.append(stage.name)
        return float(len(validated))

    with gradients() as taken:
        weights = run(method, folder, count=PAIRS, validate=validate, **settings)
    return {"gradients": taken, "weights": weights, "validated": validated}


def everything(folder: Path) -> dict[str, dict[str, Any]]:
    """All runs that are compared, by name."""
    done = {name: trained(learner(name), folder / name) for name in METHODS}
    for name, settings in SETTINGS.items():
        method = learner("contrastive", norms_learn=name != "in chunks")
        done[name] = trained(method, folder / name, epochs=2, **settings)
    return done


def how(folder: Path) -> Fit:
    return Fit(folder, device="cpu", quiet=True, checkpoint_steps=1)


def broken_off(name: str, method: Method, folder: Path, act: Callable[[], None]) -> None:
    """A run that ends, in every process, after the checkpoint at a place."""
    save = loop._StageRun._save

    def ends(run: Any) -> None:
        save(run)
        if (run.progress.stage, run.progress.epoch, run.progress.step) == BROKEN[name]:
            run.processes.wait()
            act()

    loop._StageRun._save = ends  # type: ignore[method-assign]
    try:
        run(method, folder, count=PAIRS, how=how(folder), epochs=BROKEN[name][1] + 1)
    finally:
        loop._StageRun._save = save  # type: ignore[method-assign]


def resumed(folder: Path) -> dict[str, dict[str, Any]]:
    """Runs that were broken off and go on, and the same undisturbed; of encoders with dropout."""

    class Broken(Exception):
        pass

    def end() -> None:
        raise Broken

    done = {}
    for name in BROKEN:
        with suppress(Broken):
            broken_off(name, build(name, norms_learn=True), folder / f"{name} broken", end)
        for way in ("broken", "whole"):
            place = folder / f"{name} {way}"
            method, epochs = build(name, norms_learn=True), BROKEN[name][1] + 1
            done[name, way] = run(method, place, count=PAIRS, how=how(place), resume=True, epochs=epochs)
    return done


def by_command(folder: Path) -> None:
    """Train and measure as the command does."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    arguments = ["train", str(folder / "recipe.yaml"), "--out", str(folder / "run"), "--quiet"]
    main(arguments, standalone_mode=False)


def refusals(me: Processes) -> list[str]:
    """What is refused, as every process is told."""

    def fail() -> None:
        raise InputError("it", expected="one thing", got="another", remedy="Mend it.")

    told = []
    for act in (
        lambda: me.from_first(fail),
        lambda: me.refuse_differing("it", me.number),
        lambda: me.refuse_several("it"),
    ):
        try:
            act()
        except HashretError as error:
            told.append(str(error))
    return told


def die_as_second() -> None:
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    me = Processes.joined()
    kept: dict[str, Any] = {"runs": everything(place), "resumed": resumed(place), "told": refusals(me)}
    torch.save(kept, place / f"process-{me.number}.pt")
    by_command(place)
    me.wait()
    (place / "about.json").write_text(json.dumps({"processes": me.count}), encoding="utf-8")
    broken_off("dcmh", learner("dcmh"), place / "dead", die_as_second)
    (place / "survived").touch()

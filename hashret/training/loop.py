"""The training loop: stages, epochs, steps, turns, batches. There is no other.

A step is one batch, or as many as a stage accumulates: in each turn (and each repetition of it) the gradients of the
step's batches are averaged, then the turn's optimiser steps, once. So every turn sees what a turn before it has learned
from the whole step, as if the step were one batch, and no gradient outlives a step: a checkpoint, always between steps,
needs none.

Accelerate gives devices and mixed precision; random numbers come from (seed, stage, epoch, step); a checkpoint after
every epoch (or every so many steps) makes a killed run continue to the same weights, bit for bit on one CPU with the
same number of threads. Several processes take every step together as one would (:mod:`hashret.training.processes`).
What a stage learns is the method's business; by what it is validated is the caller's.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from hashret.arrayfile import read_arrays, write_arrays
from hashret.errors import TrainingError
from hashret.methods.method import Batch, Method, Side, Stage, StageSettings, Turn
from hashret.models.features import in_blocks
from hashret.training.checkpoint import Progress, load_checkpoint, load_weights, save_checkpoint, save_weights
from hashret.training.encoders import encoders_as_trained
from hashret.training.gradient_cache import refuse_batch_statistics
from hashret.training.groups import parameter_groups, refuse_nothing
from hashret.training.pairs import PairTable, random_state
from hashret.training.processes import Processes
from hashret.training.progress import TrainingBar
from hashret.training.start import Start, take_up

__all__ = ["Fit", "fit"]

Validate = Callable[[Method, Stage], float]
BLOCK = 64
PREPARED = 4 * BLOCK


@dataclass(frozen=True)
class Fit:
    """How a run trains, apart from what its stages say.

    Attributes:
        folder: Where checkpoints and the log go.
        seed: Of initial orders, dropout and augmentation.
        device: ``auto``, ``cpu``, ``cuda``, ...
        precision: ``no``, ``bf16`` or ``fp16``.
        workers: Processes that decode; 0 decodes in this one.
        checkpoint_steps: Steps between checkpoints within an epoch, of ``accumulate`` batches each; 0 = only after
            each epoch.
        compile: Whether encoders that learn go through torch.compile.
        quiet: No progress.
    """

    folder: Path
    seed: int = 0
    device: str = "auto"
    precision: str = "no"
    workers: int = 0
    checkpoint_steps: int = 0
    compile: bool = False
    quiet: bool = False


def fit(
    method: Method,
    table: PairTable,
    settings: Mapping[str, StageSettings],
    how: Fit,
    validate: Validate,
    *,
    resume: bool,
    start: Start | None = None,
) -> None:
    """Train a method through all its stages.

    Args:
        method: Trained in place; in the end it holds each stage's best weights (its last ones where it has no measure).
        table: Training pairs.
        settings: For each stage name how to train it.
        how: Folder, seed, device.
        validate: Gives a stage's score (higher is better) on the validation split.
        resume: Continue from ``folder/last.safetensors`` if there is one.
        start: Where to begin a run that has no checkpoint yet; None for the first stage and fresh weights.

    Raises:
        TrainingError: A loss became NaN or infinite, a stage is resumed on other items than it began with, its encoders
            cannot be run in chunks or compiled, it has nothing to train, or the device lacks the precision.
        FileError: A checkpoint cannot be read or written.
    """
    processes = Processes.joined(how.device)
    accelerator = _accelerator(how)
    for stage in method.stages:
        if settings[stage.name].epochs:
            _refuse(method, stage, settings[stage.name], how, processes)
    model: Method = accelerator.prepare_model(method, evaluation_mode=True)  # no wrapper that reduces gradients
    last = how.folder / "last.safetensors"
    begun = processes.from_first(lambda: resume and last.exists())
    if begun:
        progress = load_checkpoint(last, method, None)
    else:
        progress = Progress() if start is None else take_up(start, method, how.folder / "log.jsonl")
    processes.wait()  # what was read is not replaced before
    processes.same_weights(method)
    if start is not None and not begun and processes.first:
        save_checkpoint(last, method, {}, progress)
    with TrainingBar(quiet=how.quiet or not processes.first) as bar:
        for stage in method.stages[progress.stage :]:
            if settings[stage.name].epochs:
                as_run = method.as_run(stage, standing=settings[stage.name].encoder_lr == 0)
                run = _StageRun(
                    model, method, table, as_run, settings[stage.name], how, accelerator, processes, bar, progress
                )
                run.train(validate)
            progress = Progress(stage=progress.stage + 1, log_bytes=progress.log_bytes, seconds=progress.seconds)
            if processes.first:
                save_checkpoint(last, method, {}, progress)
    method.eval()


def _refuse(method: Method, stage: Stage, settings: StageSettings, how: Fit, processes: Processes) -> None:
    """Refuse a stage that cannot be trained so; prepares the method for it."""
    refuse_nothing(method, stage, settings)
    if settings.chunk:
        refuse_batch_statistics(method, stage, key=f"stages.{stage.name}.chunk", remedy="Set chunk to 0")
    if how.compile and processes.several:
        refuse_batch_statistics(method, stage, key="training.compile", remedy="Set compile to false")


def _accelerator(how: Fit) -> Accelerator:
    """Devices and mixed precision, whatever an earlier run in this process chose."""
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        accelerator, reason = Accelerator(cpu=how.device == "cpu", mixed_precision=how.precision), None
    except ValueError as error:
        accelerator, reason = None, error
    if accelerator is None or accelerator.native_amp != (how.precision != "no"):  # on a CPU, fp16 would be ignored
        raise TrainingError(
            "training.precision", expected=f"one that the device {how.device} has", got=how.precision,
            remedy="Set it to bf16 or no.",
        ) from reason  # fmt: skip
    return accelerator


class _StageRun:
    """One stage being trained."""

    def __init__(
        self,
        model: Method,
        method: Method,
        table: PairTable,
        stage: Stage,
        settings: StageSettings,
        how: Fit,
        accelerator: Accelerator,
        processes: Processes,
        bar: TrainingBar,
        progress: Progress,
    ) -> None:
        self.model, self.method, self.table, self.stage, self.settings = model, method, table, stage, settings
        self.how, self.accelerator, self.processes, self.bar, self.progress = how, accelerator, processes, bar, progress
        self.batches = table.steps(settings.batch_size)
        self.steps = math.ceil(self.batches / settings.accumulate)
        self.best = how.folder / f"best-{stage.name}.safetensors"
        self.fixed = how.folder / f"fixed-{stage.name}.safetensors"
        self.own: dict[str, list[nn.Parameter]] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.plateaus: dict[str, torch.optim.lr_scheduler.ReduceLROnPlateau] = {}
        method.prepare(stage, encoders=settings.encoder_lr != 0)
        for turn in stage.turns:
            groups = parameter_groups(method, stage, turn, settings)
            self.own[turn.name] = [parameter for group in groups for parameter in group["params"]]
            optimizer = torch.optim.AdamW(groups, betas=settings.betas, weight_decay=settings.weight_decay, fused=True)
            self.optimizers[turn.name] = accelerator.prepare_optimizer(optimizer)
            if settings.schedule == "plateau":
                self.plateaus[turn.name] = torch.optim.lr_scheduler.ReduceLROnPlateau(
                    optimizer, mode="max", factor=0.5, patience=5, min_lr=1e-6
                )

    def train(self, validate: Validate) -> None:
        """All epochs of the stage that are still to do; then its best weights."""
        progress, settings = self.progress, self.settings
        self._fix_features()
        if progress.epoch or progress.step:
            load_checkpoint(self.how.folder / "last.safetensors", self.method, self.optimizers)
            for turn, state in progress.schedulers.items():
                self.plateaus[turn].load_state_dict(state)
            if self.accelerator.scaler is not None and progress.scaler:
                self.accelerator.scaler.load_state_dict(progress.scaler)
        else:
            self.method.memory = {}
        self.bar.begin(self.stage.name, settings.epochs * self.steps, progress.epoch * self.steps + progress.step)
        while progress.epoch < settings.epochs and not self._exhausted():
            begun = time.monotonic()
            losses = self._epoch()
            losses, score = self._measured(losses, validate)
            self._judge(losses, score)
            seconds = time.monotonic() - begun
            progress.epoch, progress.step, progress.sums = progress.epoch + 1, 0, {}
            progress.seconds += seconds
            self._log(losses, score, seconds)
            self.bar.epoch(progress.epoch, settings.epochs, losses, score, seconds)
            self._save()
        self.processes.wait()  # the best weights are written, and what is removed now is read
        if progress.best is not None:
            load_weights(self.best, self.method)
        self.method.memory = {}
        if self.processes.first:
            self.fixed.unlink(missing_ok=True)

    def _exhausted(self) -> bool:
        patience, progress = self.settings.patience, self.progress
        return bool(patience) and progress.best is not None and progress.epoch - progress.best_epoch >= patience

    def _epoch(self) -> dict[str, float]:
        """Train one epoch from the step it stands at; the mean of each loss term."""
        progress, stage, settings, how = self.progress, self.stage, self.settings, self.how
        position = (how.seed, progress.stage, progress.epoch)
        rows = self.table.epoch(settings.batch_size, *position, together=settings.together)
        self.method.prepare(stage, encoders=settings.encoder_lr != 0)
        if not progress.step:
            self.method.begin_epoch(stage)
        still = rows[progress.step * settings.accumulate :]
        left = self.table.batches(stage, still, self.batches, how.workers, position, self.processes)
        with encoders_as_trained(self.method, chunk=settings.chunk, compiling=how.compile, processes=self.processes):
            while batches := [batch.to(self.accelerator.device) for batch in islice(left, settings.accumulate)]:
                torch.manual_seed(random_state(how.seed, progress.stage, progress.epoch, progress.step))
                self._rates()
                sums: dict[str, float] = {}
                for turn in stage.turns:
                    for _ in range(turn.repeat):
                        sums |= self._turn(batches, turn)
                for name, value in sums.items():
                    progress.sums[name] = progress.sums.get(name, 0.0) + value
                progress.step += 1
                self.bar.step({name: value / len(batches) for name, value in sums.items()})
                if how.checkpoint_steps and progress.step % how.checkpoint_steps == 0:
                    self._save()
        return {name: value / self.batches for name, value in progress.sums.items()}

    def _turn(self, batches: Sequence[Batch], turn: Turn) -> dict[str, float]:
        """One turn: the mean over a step's batches of the gradient for its own parameters, one optimiser step.

        Returns:
            Each loss term's sum over the batches.
        """
        optimizer, own, sums = self.optimizers[turn.name], self.own[turn.name], dict[str, float]()
        optimizer.zero_grad(set_to_none=True)
        for batch in batches:
            with self.accelerator.autocast():
                terms = self.model(batch, self.stage, turn)
            self.accelerator.backward(self._total(terms, turn) / len(batches), inputs=own)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach())
        self.processes.average(own)
        if self.settings.clip:
            self.accelerator.unscale_gradients(optimizer)  # no other turn's: one may have been infinite
            nn.utils.clip_grad_norm_(own, self.settings.clip)
        optimizer.step()
        return sums

    def _total(self, terms: Mapping[str, Tensor], turn: Turn) -> Tensor:
        """The sum of a turn's losses, which must be a number."""
        total = torch.stack([term.float() for term in terms.values()]).sum()
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {float(term.detach()):.3g}" for name, term in terms.items())
            raise TrainingError(
                f"{self.stage.name}, turn {turn.name}, epoch {self.progress.epoch + 1}, step {self.progress.step + 1}",
                expected="finite losses",
                got=values,
                remedy="Lower the stage's lr or set its clip; with fp16, try bf16.",
            )
        return total

    def _measured(self, losses: dict[str, float], validate: Validate) -> tuple[dict[str, float], float | None]:
        """An epoch's losses and, where one is due, its validation score: the first process's, for all."""
        done, settings = self.progress.epoch + 1, self.settings
        due = self.stage.measure != "none" and (done % settings.validate_every == 0 or done == settings.epochs)
        return self.processes.from_first(lambda: (losses, validate(self.method, self.stage) if due else None))

    def _rates(self) -> None:
        """Set the learning rates of this step: warm-up and cosine are functions of the position."""
        settings, progress = self.settings, self.progress
        done = progress.epoch * self.steps + progress.step
        factor = min(1.0, (done + 1) / settings.warmup) if settings.warmup else 1.0
        if settings.schedule == "cosine":
            factor *= 0.5 * (1 + math.cos(math.pi * done / max(1, settings.epochs * self.steps)))
        if settings.schedule == "plateau" and done >= settings.warmup:
            return
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def _judge(self, losses: Mapping[str, float], score: float | None) -> None:
        """Keep the weights if this epoch is the best, and let the plateau schedules know."""
        progress = self.progress
        if score is not None and (progress.best is None or score > progress.best):
            progress.best, progress.best_epoch = score, progress.epoch + 1
            about = {"stage": self.stage.name, "epoch": progress.best_epoch, "score": score}
            if self.processes.first:
                save_weights(self.best, self.method, about)
        if score is None and self.stage.measure != "none":
            return  # a schedule that goes by scores waits for the next
        for turn, plateau in self.plateaus.items():
            plateau.step(score if score is not None else -sum(losses.values()))
            progress.schedulers[turn] = {
                k: v for k, v in plateau.state_dict().items() if isinstance(v, (int, float, list))
            }

    def _save(self) -> None:
        if not self.processes.first:
            return
        if self.accelerator.scaler is not None:
            self.progress.scaler = self.accelerator.scaler.state_dict()
        save_checkpoint(self.how.folder / "last.safetensors", self.method, self.optimizers, self.progress)

    def _log(self, losses: Mapping[str, float], score: float | None, seconds: float) -> None:
        """Append the epoch to the log, where the checkpoint says it ends."""
        if not self.processes.first:
            return
        row = {
            "event": "epoch",
            "stage": self.stage.name,
            "epoch": self.progress.epoch,
            "losses": {name: float(np.round(value, 6)) for name, value in losses.items()},
            "validation": score,
            "lr": {turn: optimizer.param_groups[0]["lr"] for turn, optimizer in self.optimizers.items()},
            "seconds": round(seconds, 3),
        }
        path = self.how.folder / "log.jsonl"
        with path.open("ab") as file:
            file.truncate(self.progress.log_bytes)
            file.seek(0, os.SEEK_END)  # else tell() counts on from the end it had before
            file.write(json.dumps(row).encode() + b"\n")
            self.progress.log_bytes = file.tell()

    def _fix_features(self) -> None:
        """Compute what the stage keeps of the stages before it, once; a resumed run reads what was computed then.

        What is kept, and what a method remembers of training items, is of the items the stage began with.
        """
        started = self.progress.epoch or self.progress.step
        sides = self.table.sides
        items = {side: self._items(side) for side in sides}
        self.processes.refuse_differing(f"{self.stage.name}, training items", items)
        if started and self.fixed.exists():
            arrays, metadata = read_arrays(self.fixed, kind="hashret.fixed/1")
            begun, relied = metadata.get("items", {}), sides if self.method.memory else self.stage.keeps
            if any(begun.get(side) != items[side] for side in relied if side in sides):
                raise TrainingError(
                    f"{self.stage.name}, resumed", expected="the items it began with", got="others",
                    remedy="Files were mended, added or lost meanwhile: train into another folder.",
                )  # fmt: skip
        else:
            arrays = {side: self._fixed_side(side).numpy() for side in self.stage.keeps if side in sides}
            if self.processes.first:
                write_arrays(self.fixed, arrays, kind="hashret.fixed/1", metadata={"items": items})
        for side in sides:
            self.table.fixed[side] = torch.from_numpy(arrays[side]) if side in arrays else None

    def _items(self, side: Side) -> str:
        """What tells the distinct examples of one side, in their order, from others: a digest of their keys."""
        keys = "\0".join(self.table.keys(side))
        return hashlib.blake2b(keys.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def _fixed_side(self, side: Side) -> Tensor:
        """What the stage keeps of one side's distinct examples, (examples, D); each process computes some."""
        places, parts = np.arange(len(self.table.keys(side))), []
        starts, processes = range(0, len(places), PREPARED), self.processes
        self.method.eval()
        with torch.no_grad():
            for start in starts[processes.number :: processes.count]:
                inputs = self.table.inputs(side, places[start : start + PREPARED]).to(self.accelerator.device)
                kept = in_blocks(lambda part: self.method.fixed(part, self.stage, side), inputs, BLOCK)
                parts.append(kept.float().cpu())
        made = processes.collected(parts)
        return torch.cat([made[turn % processes.count][turn // processes.count] for turn in range(len(starts))])

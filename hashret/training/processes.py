"""Several processes that train as one, such as torchrun starts: who they are, what they exchange, which of them writes.

A batch is that of all processes, and so is its loss: each process decodes and encodes its share of the rows, all of
them get the features of all rows (:mod:`hashret.training.shares`), and each computes the whole loss: every negative,
support set, instance class and batch statistic of one process, in the same order, with the same random numbers behind
the encoders. What stands behind the encoders is therefore computed by every process; what is shared out is decoding and
encoding. The first process alone writes and validates, and tells the others. For one process nothing here does
anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate.state import PartialState
from torch import Tensor, nn

from hashret.errors import HashretError, TrainingError

__all__ = ["ALONE", "Processes"]

T = TypeVar("T")
WAIT = timedelta(days=1)
"""How long one waits for another: the first may validate, or encode a whole dataset. A process that dies is noticed by
torchrun, which ends the others."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run as one of them sees them.

    Attributes:
        count: How many there are.
        number: Which one this is, 0 ... count - 1.

    Example:
        >>> Processes(count=2, number=1).share(5).tolist(), Processes(count=2, number=1).owned(5)
        ([3, 4, 0], 2)
    """

    count: int = 1
    number: int = 0

    @classmethod
    def joined(cls, device: str = "cpu") -> Processes:
        """Meet the others that were started for this run (``WORLD_SIZE`` says how many); alone where there are none.

        Args:
            device: ``cpu``, or another to train on the GPU of this process.

        Raises:
            TrainingError: The environment speaks of others, but no launcher has started them.
        """
        if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            PartialState._reset_state()
            PartialState(cpu=device == "cpu" or not torch.cuda.is_available(), timeout=WAIT)
            if not dist.is_initialized():
                raise TrainingError(
                    "WORLD_SIZE", expected="1, or processes that torchrun has started", got=os.environ["WORLD_SIZE"],
                    remedy="Start them with torchrun --nproc-per-node, or unset WORLD_SIZE.",
                )  # fmt: skip
        return cls(dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else cls()

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, validates and speaks."""
        return self.number == 0

    def share(self, rows: int) -> Tensor:
        """The rows of a batch that this process decodes and encodes, int64.

        Shares are equally long, ceil(rows / count); the last ones are filled up from the batch's beginning. One after
        the other they begin with all rows in order, and what follows is cut off.
        """
        each = -(-rows // self.count)
        return torch.arange(self.number * each, (self.number + 1) * each) % rows

    def owned(self, rows: int) -> int:
        """How many rows of its share are no filling: they come first."""
        each = -(-rows // self.count)
        return min(max(rows - self.number * each, 0), each)

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their means over all processes. A parameter has one in all of them, or in none."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not self.several or not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def same_weights(self, module: nn.Module) -> None:
        """Give all processes the first one's parameters and buffers."""
        for tensor in module.state_dict().values() if self.several else ():
            whole = tensor.contiguous()
            dist.broadcast(whole, 0)
            tensor.copy_(whole)

    def collected(self, value: T) -> list[T]:
        """What every process gives, in their order; any object that can be pickled."""
        if not self.several:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, for all; the others wait for it.

        Raises:
            HashretError: In all processes, if the first one raises it.
        """
        if not self.several:
            return make()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told[0] = make()
            except HashretError as error:
                told[1] = error
        dist.broadcast_object_list(told, 0)
        if told[1] is not None:
            raise told[1]
        made: T = told[0]
        return made

    @contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Let the first process go ahead, and the others find on the disk what it has computed."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def wait(self) -> None:
        """Until all are here."""
        self.collected(None)

    def refuse_differing(self, what: str, value: object) -> None:
        """Refuse what must be the same in all processes.

        Raises:
            TrainingError: It is not, in every process.
        """
        values = self.collected(value)
        other = next((number for number, theirs in enumerate(values) if theirs != values[0]), None)
        if other is not None:
            raise TrainingError(
                what, expected="the same in all processes", got=f"others in process {other}",
                remedy="Give all of them the same recipe, the same files and a run folder that all see.",
            )  # fmt: skip

    def refuse_several(self, what: str) -> None:
        """Refuse more than one process.

        Raises:
            TrainingError: There are others.
        """
        if self.several:
            raise TrainingError(what, expected="one process", got=str(self.count), remedy="Start it without torchrun.")


ALONE = Processes()
"""The process of a run that has no others."""

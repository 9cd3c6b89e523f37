"""A batch encoded by several processes: each encodes its share of the rows, and all get the features of all rows.

Every process computes the loss L of the whole batch. With u_i = dL / df(x_i), which all of them know, and S_p the rows
that process p encodes,

    dL / dtheta = sum_p sum_{i in S_p} u_i df(x_i) / dtheta    of an encoder,

while of what stands behind the encoders each process has the whole gradient. So that one rule, the mean over processes,
is right for both, what goes back into a share is multiplied by their number. Rows that fill a share up are cut off
before the loss sees them, and nothing goes back through them.

It stands in the place of :meth:`Encoder.encode`, as gradient caching does: no method and no loss knows. Batch
normalisation that learns goes by the statistics of the batch of all processes. Dropout within an encoder draws for each
share by itself, and not what one process would; behind the encoders all draw the same as one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from hashret.models.features import Encoder, Features
from hashret.training.gradient_cache import Encode
from hashret.training.pairs import random_state
from hashret.training.processes import Processes

__all__ = ["shared"]


def shared(encoder: Encoder, encode: Encode, processes: Processes, *, tokens: bool = False) -> Encode:
    """Encode a batch together.

    Args:
        encoder: Whose batch normalisations go by the whole batch; a share passes through each of them once.
        encode: Its way to encode.
        processes: All of which call this with the same batch.
        tokens: Whether tokens and their mask are exchanged too; without, both are None.

    Returns:
        From a whole batch to the features of all its rows, with gradient.
    """
    norms = [module for module in encoder.modules() if isinstance(module, _BatchNorm)]
    chance = _chance(processes.number)

    def run(x: Tensor, mask: Tensor | None) -> Features:
        rows = processes.share(len(x)).to(x.device)
        with chance(x.device), _normalising_together(norms, processes, len(x)):
            features = encode(x[rows], None if mask is None else mask[rows])

        def whole(part: Tensor | None) -> Tensor | None:
            if part is None or not tokens:
                return None
            return gathered(part, processes)[: len(x)]

        return Features(gathered(features.pooled, processes)[: len(x)], whole(features.tokens), whole(features.mask))

    return run


def gathered(part: Tensor, processes: Processes) -> Tensor:
    """The tensors (k, ...) of all processes one after the other, with gradient as the module says."""
    whole: Tensor = _Gathered.apply(part, processes)
    return whole


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, processes: Processes) -> Tensor:
        """Exchange bytes, which every backend knows."""
        ctx.processes = processes
        own = part.contiguous().reshape(-1).view(torch.uint8)
        parts = [torch.empty_like(own) for _ in range(processes.count)]
        dist.all_gather(parts, own)
        return torch.cat(parts).view(part.dtype).reshape(-1, *part.shape[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """All processes have the same gradient: each takes its own rows of it."""
        return ctx.processes.count * gradient.chunk(ctx.processes.count)[ctx.processes.number], None


class _Total(torch.autograd.Function):
    """The sum over processes, in which each one's outputs depend on every other's inputs."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        """Add them up."""
        whole = part.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Each input has moved every process's sum."""
        whole = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)
        return whole


def _chance(number: int) -> Callable[[torch.device], Any]:
    """Random numbers of a process's own within, and those of before afterwards.

    They follow from the seed of the step and from how many batches this encoder has encoded in it.
    """
    seed, calls = -1, count()

    @contextmanager
    def own(device: torch.device) -> Iterator[None]:
        nonlocal seed, calls
        if torch.initial_seed() != seed:
            seed, calls = torch.initial_seed(), count()
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(random_state(seed, next(calls), number))
            yield

    return own


@contextmanager
def _normalising_together(norms: Sequence[_BatchNorm], processes: Processes, rows: int) -> Iterator[None]:
    """Let batch normalisations in training take the statistics of the ``rows`` of all processes."""
    changed = [norm for norm in norms if norm.training]

    def forward_of(norm: _BatchNorm) -> Callable[[Tensor], Tensor]:
        return lambda x: _normalised(norm, x, processes, rows)

    for norm in changed:
        norm.forward = forward_of(norm)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        for norm in changed:
            del norm.forward


def _normalised(norm: _BatchNorm, x: Tensor, processes: Processes, rows: int) -> Tensor:
    """What batch normalisation makes of a share (k, C, ...) of so many rows in all, with statistics of all rows."""
    axes, outline = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
    z = x if x.dtype == torch.float64 else x.float()
    own = z[: len(x) * processes.owned(rows) // len(processes.share(rows))]
    values = rows * x.numel() // (len(processes.share(rows)) * x.shape[1])  # of each channel
    with torch.autocast(x.device.type, enabled=False):
        mean = _total(own.sum(axes)) / values
        variance = _total((own - mean.view(outline)).square().sum(axes)) / values
        _remember(norm, mean, variance * values / max(values - 1, 1))
        found = (z - mean.view(outline)) * (variance.view(outline) + norm.eps).rsqrt()
        if norm.affine:
            found = found * norm.weight.view(outline) + norm.bias.view(outline)
    return found.to(x.dtype)


def _total(part: Tensor) -> Tensor:
    whole: Tensor = _Total.apply(part)
    return whole


@torch.no_grad()
def _remember(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics, where there are some."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked += 1
    pace = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), pace)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), pace)

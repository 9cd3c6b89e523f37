"""How the encoders that a stage trains are run while they learn: compiled, in chunks, shared out, or as they are.

Only what carries a gradient is run so. Validation, the features a stage keeps and codes come from the encoders as they
are, so that a saved model gives the codes it was validated by. No network is wrapped: weights keep their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hashret.errors import TrainingError
from hashret.methods.method import Method
from hashret.models.features import Features
from hashret.training.gradient_cache import Encode, chunked, learning
from hashret.training.processes import ALONE, Processes
from hashret.training.shares import shared

__all__ = ["compiled", "encoders_as_trained"]

COMPILERS = ("torch._dynamo", "torch._functorch", "torch._inductor")


@contextmanager
def encoders_as_trained(method: Method, *, chunk: int, compiling: bool, processes: Processes = ALONE) -> Iterator[None]:
    """Let the encoders that learn be compiled, see few items at a time or a share, wherever a gradient is asked for.

    Args:
        method: Prepared for its stage.
        chunk: Items at a time; 0 = all at once. See :mod:`hashret.training.gradient_cache`.
        compiling: Whether they are compiled. See :func:`compiled`.
        processes: Who encodes a batch together. See :mod:`hashret.training.shares`.
    """
    encoders = learning(method) if chunk or compiling or processes.several else []
    tokens = bool(getattr(method, "reads_tokens", False))
    for encoder in encoders:
        own: Encode = encoder.encode
        changed = compiled(own) if compiling else own
        changed = chunked(changed, chunk, tokens=tokens) if chunk else changed
        changed = shared(encoder, changed, processes, tokens=tokens) if processes.several else changed
        encoder.encode = _with_gradient(changed, own)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        for encoder in encoders:
            del encoder.encode


def compiled(encode: Encode) -> Encode:
    """Run an encoder's network through torch.compile, for any number of items; it is compiled when first called.

    Raises:
        TrainingError: When called: it cannot be compiled here. There is no C++ compiler (on a GPU: no Triton), or the
            network cannot be traced.
    """
    network = torch.compile(encode, dynamic=True)

    def run(x: Tensor, mask: Tensor | None) -> Features:
        try:
            features: Features = network(x, mask)
        except Exception as error:
            if not type(error).__module__.startswith(COMPILERS):
                raise
            raise TrainingError(
                "training.compile", expected="a compiler and a network it can read",
                got=" ".join([line.strip() for line in str(error).splitlines() if line.strip()][:2]),
                remedy="Install a C++ compiler such as g++ (on a GPU also triton), or set training.compile to false.",
            ) from error  # fmt: skip
        return features

    return run


def _with_gradient(changed: Encode, own: Encode) -> Encode:
    """The changed way where a gradient is asked for, and the encoder's own where not."""
    return lambda x, mask: (changed if torch.is_grad_enabled() else own)(x, mask)

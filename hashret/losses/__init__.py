"""Parts of objectives, tensors only, one idea a file; LOSSES names them all."""

from collections.abc import Callable

from torch import Tensor

from hashret.losses.contrastive import noise_contrastive
from hashret.losses.generative import adversarial, distillation, reconstruction
from hashret.losses.invariance import invariance
from hashret.losses.likelihood import pair_likelihood, similarity
from hashret.losses.quantization import quantization, structure
from hashret.losses.support_set import support_set

__all__ = [
    "LOSSES",
    "adversarial",
    "distillation",
    "invariance",
    "noise_contrastive",
    "pair_likelihood",
    "quantization",
    "reconstruction",
    "similarity",
    "structure",
    "support_set",
]

LOSSES: dict[str, Callable[..., Tensor]] = {
    "adversarial": adversarial,
    "distillation": distillation,
    "invariance": invariance,
    "noise_contrastive": noise_contrastive,
    "pair_likelihood": pair_likelihood,
    "quantization": quantization,
    "reconstruction": reconstruction,
    "structure": structure,
    "support_set": support_set,
}

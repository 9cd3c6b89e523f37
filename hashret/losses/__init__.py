"""Parts of objectives, tensors only, one idea a file; LOSSES names them all."""

from collections.abc import Callable

from torch import Tensor

from hashret.losses.batch_classification import batch_classification
from hashret.losses.consistent import consistency
from hashret.losses.contrastive import noise_contrastive
from hashret.losses.frobenius import frobenius
from hashret.losses.generative import adversarial, distillation, reconstruction
from hashret.losses.info_nce import equal_rows, info_nce, info_nce_of_scores, scaled_cosines, supervised_contrast
from hashret.losses.instance import instance
from hashret.losses.invariance import invariance
from hashret.losses.likelihood import pair_likelihood, product_likelihood, similarity
from hashret.losses.multilevel import level_weights
from hashret.losses.neighbours import neighbours, neighbours_of_scores
from hashret.losses.quantization import balance, quantization, straight_through, structure
from hashret.losses.support_set import support_set
from hashret.losses.triplet import triplet

__all__ = [
    "LOSSES",
    "adversarial",
    "balance",
    "batch_classification",
    "consistency",
    "distillation",
    "equal_rows",
    "frobenius",
    "info_nce",
    "info_nce_of_scores",
    "instance",
    "invariance",
    "level_weights",
    "neighbours",
    "neighbours_of_scores",
    "noise_contrastive",
    "pair_likelihood",
    "product_likelihood",
    "quantization",
    "reconstruction",
    "scaled_cosines",
    "similarity",
    "straight_through",
    "structure",
    "supervised_contrast",
    "support_set",
    "triplet",
]

LOSSES: dict[str, Callable[..., Tensor]] = {
    "adversarial": adversarial,
    "balance": balance,
    "batch_classification": batch_classification,
    "consistency": consistency,
    "distillation": distillation,
    "frobenius": frobenius,
    "info_nce": info_nce,
    "info_nce_of_scores": info_nce_of_scores,
    "instance": instance,
    "invariance": invariance,
    "neighbours": neighbours,
    "neighbours_of_scores": neighbours_of_scores,
    "noise_contrastive": noise_contrastive,
    "pair_likelihood": pair_likelihood,
    "product_likelihood": product_likelihood,
    "quantization": quantization,
    "reconstruction": reconstruction,
    "structure": structure,
    "supervised_contrast": supervised_contrast,
    "support_set": support_set,
    "triplet": triplet,
}

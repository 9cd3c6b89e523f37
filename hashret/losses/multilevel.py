"""How the levels of a multi-level contrast are weighed against each other (MLCL): one scalar, two weights.

There is no loss in here: each level's is :func:`~hashret.losses.batch_classification`.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["level_weights"]


def level_weights(balance: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the high and the middle level: 2 sigma(w) and 2 - 2 sigma(w), which add up to 2 (METHODS 4.2).

    Args:
        balance: w, a scalar; 0 weighs both by 1, ln 0.5 by 2/3 and 4/3.

    Returns:
        Two scalars in (0, 2).

    Example:
        >>> import torch
        >>> [round(float(weight), 3) for weight in level_weights(torch.tensor(0.5).log())]
        [0.667, 1.333]
    """
    high = 2 * balance.sigmoid()
    return high, 2 - high

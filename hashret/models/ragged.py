"""Blocks of items that give a different number of rows each: the tokens of images and texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashret.models.features import Inputs, in_blocks

__all__ = ["ragged_in_blocks"]


def ragged_in_blocks(
    function: Callable[[Inputs], tuple[Tensor, Tensor]], inputs: Inputs, block: int = 16
) -> list[NDArray[np.float32]]:
    """Run a function on exactly ``block`` items at a time; the rows of each item that count.

    Args:
        function: From Inputs of ``block`` items to tokens (block, T, D) and their mask, bool (block, T).
        inputs: N items, N >= 1.
        block: Items at a time; see :func:`~hashret.models.features.in_blocks`, which does it.

    Returns:
        Float32 (T, D) an item, without what is masked.

    Example:
        >>> ids = torch.tensor([[5, 6, 0], [7, 0, 0]])
        >>> inputs = Inputs(text=ids, text_mask=ids > 0)
        >>> [len(rows) for rows in ragged_in_blocks(lambda part: (part.text[..., None], part.text_mask), inputs)]
        [2, 1]
    """
    results: list[tuple[Tensor, Tensor]] = []

    def run(part: Inputs) -> Tensor:
        """Keep what comes out, and give where it lies: its number and the place of each item in it."""
        results.append(function(part))
        numbers = torch.full((len(part),), len(results) - 1)
        return torch.stack([numbers, torch.arange(len(part))], dim=1)

    where = in_blocks(run, inputs, block).tolist()
    found = []
    for number, place in where:
        tokens, mask = results[number]
        found.append(tokens[place][mask[place]].float().cpu().numpy())
    return found

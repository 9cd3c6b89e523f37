"""Shelf: room for a few batches that are under way, used in turn.

Batches copied into fresh memory and freed in another order than they came leave holes in the heap, which grows by
hundreds of megabytes before it has enough of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hashret.models import Inputs

__all__ = ["Shelf"]


class Shelf:
    """Copies of batches, of which the last ``places`` are sound.

    Args:
        places: How many batches there is room for.

    Example:
        >>> shelf = Shelf(2)
        >>> first, second = shelf.copy(Inputs(image=torch.zeros(3, 2))), shelf.copy(Inputs(image=torch.ones(1, 2)))
        >>> first.image.shape, second.image.tolist()
        (torch.Size([3, 2]), [[1.0, 1.0]])
    """

    def __init__(self, places: int) -> None:
        """Nothing is taken yet."""
        self._places: list[dict[tuple[str, torch.dtype], Tensor]] = [{} for _ in range(places)]
        self._next = 0

    def copy(self, inputs: Inputs) -> Inputs:
        """Copy a batch to the next place; what was copied there ``places`` batches ago is lost."""
        place = self._places[self._next % len(self._places)]
        self._next += 1
        parts = {}
        for name, part in vars(inputs).items():
            if part is None:
                continue
            room = place.get((name, part.dtype))
            if room is None or room.numel() < part.numel():
                room = place[name, part.dtype] = torch.empty(part.numel(), dtype=part.dtype)
            parts[name] = room[: part.numel()].view(part.shape).copy_(part)
        return Inputs(**parts)

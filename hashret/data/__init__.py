"""DATASETS: one file a dataset, each ending in ``load(root, ...) -> RetrievalDataset``.

Nothing here decodes a pixel for training or knows a method; a dataset is examples, labels, splits and ground truth. To
add one, write a file with ``load`` (options keyword-only, annotated and with defaults: a recipe's ``data:`` section is
checked against them) and name it here; the contract tests will ask for a small tree in its layout.
"""

from __future__ import annotations

from collections.abc import Callable

from hashret.data import flickr, folder, shapes
from hashret.examples import RetrievalDataset

__all__ = ["DATASETS"]

DATASETS: dict[str, Callable[..., RetrievalDataset]] = {
    "flickr": flickr.load,
    "folder": folder.load,
    "shapes": shapes.load,
}

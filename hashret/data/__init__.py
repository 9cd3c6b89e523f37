"""DATASETS: one file a dataset, with what it is (CARD), what lies in a copy (survey) and its splits (load).

Nothing here decodes a pixel for training or knows a method; a dataset is examples, labels, splits and ground truth. To
add one, write a file with ``CARD``, ``survey`` and ``load`` (options keyword-only, annotated and with defaults: a
recipe's ``data:`` section is checked against them) and name it here; the contract tests will ask for a small tree in
its layout.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hashret.data import (
    cirr,
    coco,
    fashioniq,
    flickr,
    folder,
    mirflickr25k,
    nuswide,
    shapes,
    shoes,
    triplets,
    wikipedia,
)
from hashret.data.card import Card
from hashret.data.check import Checked, Progress, check_copy
from hashret.data.survey import Survey
from hashret.errors import InputError
from hashret.examples import RetrievalDataset

__all__ = ["DATASETS", "Card", "Checked", "DatasetFile", "check", "dataset_named"]


class DatasetFile(Protocol):
    """What a dataset's file offers."""

    @property
    def CARD(self) -> Card:  # noqa: N802
        """What the dataset is."""

    @property
    def load(self) -> Callable[..., RetrievalDataset]:
        """``load(root, *, options)``: examples, splits and ground truth."""

    @property
    def survey(self) -> Callable[[Path], Survey]:
        """``survey(root)``: what lies in a copy."""


DATASETS: dict[str, DatasetFile] = {
    "cirr": cirr,
    "coco": coco,
    "fashioniq": fashioniq,
    "flickr": flickr,
    "folder": folder,
    "mirflickr25k": mirflickr25k,
    "nuswide": nuswide,
    "shapes": shapes,
    "shoes": shoes,
    "triplets": triplets,
    "wikipedia": wikipedia,
}


def dataset_named(name: str) -> DatasetFile:
    """The entry of DATASETS.

    Raises:
        InputError: There is none of that name.
    """
    if name not in DATASETS:
        raise InputError(
            "dataset",
            expected=f"one of {', '.join(DATASETS)}",
            got=repr(name),
            remedy="`hashret data list` lists them.",
        )
    return DATASETS[name]


def check(
    name: str,
    root: str | os.PathLike[str],
    *,
    images: bool = True,
    progress: Progress = lambda done, total: None,
) -> Checked:
    """Check a copy of a dataset: files, counts, splits, and every image unless ``images`` is false.

    Args:
        name: A key of DATASETS.
        root: The folder.
        images: Whether to decode every image.
        progress: Told (images decoded, images in all) now and then.

    Returns:
        What was found; ``good`` says whether nothing is wrong.

    Raises:
        InputError: There is no such dataset.
        FileError: ``root`` is no folder.
    """
    dataset = dataset_named(name)
    return check_copy(dataset.CARD, dataset.survey, root, images=images, progress=progress)

"""Small trees in the layouts of the datasets, drawn by the tests: what is not on a machine is made in the same form.

One file a dataset, named as its key in DATASETS, with ``LAYOUTS``: name of a layout -> Layout.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hashret.data import DATASETS

__all__ = ["LAYOUTS", "Layout", "save_photo"]


@dataclass(frozen=True)
class Layout:
    """One form a dataset's files come in.

    Attributes:
        make: Writes a tree into an empty folder and returns the options that ``load`` needs for it.
        protocols: The protocols it serves; () for all of the dataset.
    """

    make: Callable[[Path], dict[str, Any]]
    protocols: tuple[str, ...] = ()


def save_photo(path: Path, number: int, size: tuple[int, int] = (8, 8)) -> None:
    """Write a picture of noise, another one for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


LAYOUTS: dict[str, dict[str, Layout]] = {name: importlib.import_module(f"trees.{name}").LAYOUTS for name in DATASETS}

"""Drawn scenes, a few of them; nothing lies on disk."""

from pathlib import Path
from typing import Any

from trees import Layout


def make(root: Path) -> dict[str, Any]:
    return {"train": 12, "validation": 12, "test": 8, "database": 26}


LAYOUTS = {"drawn": Layout(make)}

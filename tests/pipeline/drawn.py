"""Pictures to encode, and what is compared of the folders that come of them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def draw(folder: Path, count: int) -> Path:
    """Small pictures of noise, each different."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    for number in range(count):
        pixels = chance.integers(0, 256, (34, 36 + number % 3, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file but the seconds, and where the source lay."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            raw = path.read_bytes()
            if path.parent.name == "stats":
                raw = json.dumps({k: v for k, v in json.loads(raw).items() if k != "seconds"}).encode()
            found[path.relative_to(folder).as_posix()] = raw
    return found

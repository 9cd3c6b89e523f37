"""Karpathy's json with five captions and labels an image, with and without regions of the pictures."""

import json
from pathlib import Path
from typing import Any

from trees import Layout, save_photo
from trees.regions import FOLDER, save_regions

CLASSES = ["cat", "dog", "snow"]


def make(root: Path) -> dict[str, Any]:
    images = []
    for number, split in enumerate(["train"] * 8 + ["val"] * 4 + ["test"] * 4):
        save_photo(root / "images" / f"{number}.jpg", number)
        names = [CLASSES[number % 3], CLASSES[(number + 1) % 3]][: 1 + number % 2]
        sentences = [{"raw": f"a {names[0]} {number} seen {way}"} for way in ("today", "again", "near", "far", "here")]
        images.append({"filename": f"{number}.jpg", "split": split, "sentences": sentences, "labels": names})
    (root / "dataset_flickr8k.json").write_text(json.dumps({"images": images, "classes": CLASSES}))
    return {"partial": True}


def make_regions(root: Path) -> dict[str, Any]:
    """The same, and the regions of each picture, numbered by its place in the json."""
    options = make(root)
    for number in range(len(list((root / "images").iterdir()))):
        save_regions(root / FOLDER, number, (8, 8))
    return options | {"regions": FOLDER}


LAYOUTS = {"karpathy": Layout(make), "regions": Layout(make_regions)}

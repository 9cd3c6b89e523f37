"""The lists and features of the Wikipedia set, and the same with pictures and XML beside them."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from trees import Layout, save_photo

CLASSES = ["art", "biology", "geography", "history", "literature", "media", "music", "royalty", "sport", "warfare"]
SIZES = {"train": 24, "test": 12}


def rows(split: str) -> list[tuple[str, str, int]]:
    """Text id, image id and class 1 ... 4 of each item."""
    return [(f"{split}{number}-1.{number}", f"{split}{number}", number % 4 + 1) for number in range(SIZES[split])]


def make(root: Path) -> dict[str, Any]:
    matrices, chance = {}, np.random.default_rng(0)
    for split, suffix in (("train", "tr"), ("test", "te")):
        listed = rows(split)
        lines = [f"{text}\t{image}\t{label}\n" for text, image, label in listed]
        (root / f"{split}set_txt_img_cat.list").write_text("".join(lines))
        of = np.array([label for *_, label in listed])
        for side, width in (("I", 128), ("T", 10)):
            found = chance.random((len(of), width)) + 2 * (np.arange(width) % 10 == of[:, None] - 1)
            matrices[f"{side}_{suffix}"] = found / found.sum(1, keepdims=True)
    savemat(root / "raw_features.mat", matrices)
    (root / "categories.list").write_text("".join(name + "\n" for name in CLASSES))
    return {"partial": True, "validation": 8}


def make_whole(root: Path) -> dict[str, Any]:
    options = make(root)
    (root / "texts").mkdir()
    for split in SIZES:
        for number, (text, image, label) in enumerate(rows(split)):
            save_photo(root / "images" / CLASSES[label - 1] / f"{image}.jpg", number + 100 * (split == "test"))
            words = f"A section on {CLASSES[label - 1]} &amp; more,\n  number {number} of {split}."
            (root / "texts" / f"{text}.xml").write_text(
                f'<?xml version="1.0" encoding="UTF-8" ?>\n<article><text>\n{words}\n</text></article>', "utf-8"
            )
    return options | {"images": "pixels", "texts": "sentences"}


LAYOUTS = {"features": Layout(make), "whole": Layout(make_whole)}

"""Lists, captions and pictures of three categories, of which two share pictures as the official ones do."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from trees import Layout, save_photo

CATEGORIES = ("dress", "shirt", "toptee")
COUNTS = {"train": (20, 16), "val": (10, 6), "test": (6, 4)}


def names_of(category: str, split: str) -> list[str]:
    """Ids of a list; the first picture of train of toptee is in val of shirt too."""
    names = [f"B{category[0].upper()}{split[:2].upper()}{number:06}" for number in range(COUNTS[split][0])]
    return [names_of("shirt", "val")[0], *names[1:]] if (category, split) == ("toptee", "train") else names


def triplets_of(category: str, split: str) -> list[dict[str, Any]]:
    """Triplets over all but the last two pictures; references come twice."""
    names, rows = names_of(category, split)[:-2], []
    for number in range(COUNTS[split][1]):
        captions = [f"is {number} shades Darker.", f"has {number + 2} buttons "]
        row = {"target": names[(number + 5) % len(names)], "candidate": names[number // 2], "captions": captions}
        rows.append(row if split != "test" else {key: row[key] for key in ("candidate", "captions")})
    return rows


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def make(root: Path, place: str, tested: bool) -> dict[str, Any]:
    """Write a tree; ``place`` is where a picture lies, by category and name."""
    for category in CATEGORIES:
        for split in COUNTS if tested else ("train", "val"):
            write(root / "image_splits" / f"split.{category}.{split}.json", names_of(category, split))
            write(root / "captions" / f"cap.{category}.{split}.json", triplets_of(category, split))
            if split != "test":
                for name in names_of(category, split):
                    save_photo(root / place.format(category=category, name=name), int(name[-6:]))
    return {"partial": True, "validation": 4}


LAYOUTS = {
    "png": Layout(partial(make, place="images/{name}.png", tested=True)),
    "jpg-by-category": Layout(partial(make, place="resized_image/{category}/{name}.jpg", tested=False)),
}

"""Groups of six photographs, six triplets a group, in the three forms that copies of CIRR have."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from trees import Layout, save_photo

GROUPS = {"train": 5, "val": 2, "test1": 2}


def members_of(split: str, group: int) -> list[str]:
    """Names of a group; groups of train overlap in one photograph, as official groups do."""
    stem = {"train": "train", "val": "dev", "test1": "test1"}[split]
    step = 5 if split == "train" else 6
    return [f"{stem}-{number}-0-img{number % 2}" for number in range(step * group, step * group + 6)]


def place_of(name: str) -> str:
    top = name.split("-")[0]
    return f"./{top}/{int(name.split('-')[1]) % 3}/{name}.png" if top == "train" else f"./{top}/{name}.png"


def triplets_of(split: str) -> list[dict[str, Any]]:
    rows = []
    for group in range(GROUPS[split]):
        members = members_of(split, group)
        for number in range(6):
            reference, target = members[number // 2], members[(number // 2 + number % 2 + 1) % 6]
            row: dict[str, Any] = {
                "pairid": 1000 * (1 + list(GROUPS).index(split)) + 10 * group + number,
                "reference": reference,
                "target_hard": target,
                "target_soft": {target: 1.0, members[5]: -1.0},
                "caption": f"turn it {number} times",
                "img_set": {"id": group, "members": members, "reference_rank": 0, "target_rank": 3},
            }
            if split == "test1":
                del row["target_hard"], row["target_soft"], row["img_set"]["target_rank"]
            rows.append(row)
    return rows


def make(root: Path, annotations: str, photographs: str) -> dict[str, Any]:
    for split in GROUPS:
        names = sorted({name for group in range(GROUPS[split]) for name in members_of(split, group)})
        content = {
            f"image_splits/split.rc2.{split}.json": {name: place_of(name) for name in names},
            f"captions/cap.rc2.{split}.json": triplets_of(split),
        }
        for file, value in content.items():
            path = root / annotations / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        for number, name in enumerate(names):
            save_photo(root / photographs / place_of(name), number)
    return {"partial": True, "validation": 6}


LAYOUTS = {
    "beside": Layout(partial(make, annotations="", photographs="")),
    "cirr-within": Layout(partial(make, annotations="cirr", photographs="")),
    "img-raw": Layout(partial(make, annotations="cirr", photographs="cirr/img_raw")),
}

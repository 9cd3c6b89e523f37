"""Two lists, remarks, and pictures in the folders of the Attribute Discovery set or in one folder."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from trees import Layout, save_photo

STYLES = ("clogs", "rain_boots")


def names_of(split: str) -> list[str]:
    first, count = {"train": (0, 20), "eval": (20, 10)}[split]
    return [f"img_womens_{STYLES[number % 2]}_{number}.jpg" for number in range(first, first + count)]


def remarks_of(split: str) -> list[dict[str, str]]:
    names = names_of(split)
    return [
        {
            "ImageName": names[(3 * number + 1) % len(names)],
            "ReferenceImageName": names[number // 2],
            "RelativeCaption": f"has {number} more straps",
        }
        for number in range(len(names) - 2)
    ]


def make(root: Path, annotations: str, flat: bool) -> dict[str, Any]:
    folder = root / annotations
    folder.mkdir(exist_ok=True)
    remarks = [remark for both in zip(remarks_of("train"), remarks_of("eval"), strict=False) for remark in both]
    remarks += remarks_of("train")[len(remarks_of("eval")) :]
    (folder / "relative_captions_shoes.json").write_text(json.dumps(remarks))
    for split in ("train", "eval"):
        (folder / f"{split}_im_names.txt").write_text("\n".join(names_of(split)))
        for number, name in enumerate(names_of(split)):
            style = "womens_" + name.split("womens_")[1].rsplit("_", 1)[0]
            save_photo(root / ("images" if flat else f"attributedata/{style}/{number % 2}") / name, number)
    return {"partial": True, "validation": 4}


LAYOUTS = {
    "attribute-discovery": Layout(partial(make, annotations="", flat=False)),
    "flat": Layout(partial(make, annotations="annotations", flat=True)),
}

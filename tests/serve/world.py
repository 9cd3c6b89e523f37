"""Pictures of three colours with their captions, a run trained on them, and an index of each side."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hashret.pipeline import encode, index, read_recipe, train

COLOURS = {"red": (200, 30, 30), "green": (30, 170, 40), "blue": (40, 60, 210)}
EACH = 10
RECIPE = {
    "data": {"name": "folder", "validation": 0.2, "test": 0.1},
    "image": {"name": "cnn", "size": 32, "width": 4, "dimension": 16},
    "text": {"name": "bag_of_words", "size": 30},
    "method": {"name": "contrastive", "bits": 32, "width": 16, "dimension": 16, "hash_width": 16},
    "stages": {
        "embedding": {"epochs": 24, "batch_size": 9, "lr": 0.01},
        "codes": {"epochs": 20, "batch_size": 9, "lr": 0.01},
    },
}


@dataclass(frozen=True)
class World:
    """Where everything lies."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def pictures(self) -> Path:
        return self.folder / "pictures"

    @property
    def indexes(self) -> tuple[Path, Path]:
        return self.folder / "images.index", self.folder / "texts.index"

    def picture(self, colour: str, number: int = 0) -> Path:
        return self.pictures / f"{colour}-{number}.png"


def make_world(folder: Path) -> World:
    made = World(folder)
    made.pictures.mkdir()
    chance, rows = np.random.default_rng(0), []
    for number in range(EACH):
        for year, (name, colour) in enumerate(COLOURS.items(), 2000):
            pixels = np.clip(np.array(colour) + chance.normal(0, 12, (36 + number, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(made.picture(name, number))
            said = [f"a {name} picture", f"something {name}"]
            labels = [name, "even" if number % 2 == 0 else "odd"]
            rows.append(
                {
                    "file_name": f"{name}-{number}.png",
                    "texts": said,
                    "labels": labels,
                    "year": year,
                    "share": number / 10,
                }
            )
    (made.pictures / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train(read_recipe(RECIPE), made.run, data=made.pictures, quiet=True)
    for side, place in zip(("image", "text"), made.indexes, strict=True):
        encoded = made.folder / f"{side}.encoded"
        encode(made.run, made.pictures, side, encoded, embeddings="fp16", workers=1, quiet=True)
        index(encoded, place)
    return made

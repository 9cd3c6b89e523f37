"""Three small runs that were measured, two of one split and one of another, and the command line called on them."""

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from hashret.cli import main
from hashret.pipeline import evaluate_run, read_recipe, train

RECIPE = {
    "data": {"name": "folder", "validation": 0.2, "test": 0.4},
    "image": {"name": "cnn", "size": 32, "width": 4, "dimension": 8},
    "text": {"name": "bag_of_words", "size": 30},
    "method": {"name": "crcgs", "bits": 10, "width": 16, "dimension": 12},
    "stages": {"embedding": {"epochs": 1}, "codes": {"epochs": 1}},
    "evaluation": {"metrics": ["map", "median-rank"]},
}


def measured_runs(place: Path) -> dict[str, Path]:
    """Run folders by name ("first", "second", "other split") and the folder of pictures they were trained on."""
    pictures = place / "pictures"
    pictures.mkdir()
    chance, rows = np.random.default_rng(0), []
    for number in range(30):
        label = ("red", "green", "blue")[number % 3]
        Image.fromarray(chance.integers(0, 256, (34, 34, 3), dtype=np.uint8)).save(pictures / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "text": f"a {label} patch {number}", "labels": [label]})
    (pictures / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    made = {"pictures": pictures}
    for name, sets in (
        ("first", ()),
        ("second", ("training.seed=1",)),
        ("other split", ("data.seed=5",)),
    ):
        made[name] = place / name.replace(" ", "-")
        train(read_recipe(RECIPE, sets), made[name], data=pictures, quiet=True)
        evaluate_run(made[name])
    return made


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def refused(*arguments):
    done = call(*arguments)
    assert done.exit_code == 1, done.output
    return " ".join(done.stderr.split())

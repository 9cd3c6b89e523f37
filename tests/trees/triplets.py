"""Tables of triplets beside their images: one a split with more to search, or one of all."""

import csv
import json
from pathlib import Path
from typing import Any

from trees import Layout, save_photo

WORDS = ("in red", "in blue", "a larger one", "without a lid")


def rows_of(split: str, first: int, count: int) -> list[dict[str, Any]]:
    """Triplets in a ring of images; every third has two answers, every fourth two texts."""
    names = [f"images/{split}-{number}.png" for number in range(first, first + count)]
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(names):
        targets = [names[(number + 1) % count], *([names[(number + 2) % count]] if number % 3 == 0 else [])]
        texts = [WORDS[number % 4], *(["another"] if number % 4 == 0 else [])]
        rows.append({"reference": name, "texts": texts, "targets": targets})
    return rows


def make_splits(root: Path) -> dict[str, Any]:
    for split, first, count in (("train", 0, 12), ("val", 20, 6), ("test", 30, 8)):
        rows = rows_of(split, first, count)
        (root / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for number, row in enumerate(rows):
            save_photo(root / row["reference"], first + number)
    for number in range(3):
        save_photo(root / f"images/more-{number}.png", 50 + number)
    (root / "test.gallery.txt").write_text("".join(f"images/more-{number}.png\n" for number in range(3)))
    return {}


def make_whole(root: Path) -> dict[str, Any]:
    rows = rows_of("all", 0, 20)
    with (root / "triplets.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["reference", "text", "target"])
        writer.writerows([row["reference"], row["texts"][0], row["targets"][0]] for row in rows)
    for number, row in enumerate(rows):
        save_photo(root / row["reference"], number)
    return {"validation": 0.2, "test": 0.2}


LAYOUTS = {"splits": Layout(make_splits), "one-table": Layout(make_whole)}

"""An imagefolder with a metadata.jsonl: two texts and a label an image."""

import json
from pathlib import Path
from typing import Any

from trees import Layout, save_photo


def make(root: Path) -> dict[str, Any]:
    rows = []
    for number in range(16):
        save_photo(root / f"{number}.png", number)
        rows.append({"file_name": f"{number}.png", "texts": [f"{number} a", f"{number} b"], "labels": [number % 2]})
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"validation": 0.25, "test": 0.25}


LAYOUTS = {"imagefolder": Layout(make)}

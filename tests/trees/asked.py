"""What the test tasks of a loaded hashing set ask and hold, item by item, to be compared with what was drawn."""

from pathlib import Path
from typing import Any

from hashret.examples import RetrievalDataset


def items_of(data: RetrievalDataset) -> dict[str, tuple[Any, Any, Any]]:
    """Key -> (labels, text, image) of every query and database item."""
    i2t, t2i = data.test
    found = {}
    for images, texts, labels in (
        (i2t.queries, t2i.queries, i2t.relevance.query_labels),
        (t2i.gallery, i2t.gallery, i2t.relevance.gallery_labels),
    ):
        for image, text, row in zip(images, texts, labels, strict=True):
            assert text.key == f"{image.key}#0"
            found[image.key] = (row, text.text, image.image)
    return found


def order_of(data: RetrievalDataset) -> tuple[list[str], list[str]]:
    """Keys of the queries, and of the database."""
    return [q.key for q in data.test[0].queries], [g.key for g in data.test[1].gallery]


def cut(path: Path, left: float) -> None:
    """Keep the beginning of a file, as a broken download does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * left)])

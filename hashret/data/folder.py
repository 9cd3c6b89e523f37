"""A user's own folder of images with a metadata file, as pairs, splits and tasks.

Subfolders named train, validation (val, valid, dev) and test are splits; what has no such subfolder is held out of the
training images at random. How the metadata file is read is told in :mod:`hashret.data.metadata`. Nothing is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from hashret.data.captioned import Captioned, caption_tasks, captioned, hold_out, label_tasks, pairs, size_notes
from hashret.data.card import Card, Protocol
from hashret.data.metadata import SPLITS, find_metadata, merge, read_rows
from hashret.data.survey import Count, Survey
from hashret.errors import DataError, FileError, FormatError
from hashret.examples import RetrievalDataset

__all__ = ["CARD", "load", "survey"]

CARD = Card(
    name="folder",
    title="A folder of images",
    what="Your own images with texts and, if you have them, labels, in the imagefolder convention.",
    licence="yours",
    source="yourself: one line an image in a metadata file beside the images.",
    tree="""ROOT/
  metadata.jsonl     {"file_name": "a.jpg", "texts": ["what it shows"], "labels": ["dog"]}, a line an image
                     (or metadata.csv, metadata.parquet)
  a.jpg ...
or ROOT/train/, ROOT/validation/, ROOT/test/, each like this""",
    protocols=(
        Protocol(
            "labels", "images, or one text each, are asked of the training items; right: a shared label", "hashret"
        ),
        Protocol(
            "captions", "images are asked of the texts of a split, texts of its images; right: what belongs together",
            "hashret", metrics=("hit@1", "hit@5", "hit@10"),
        ),
    ),
)  # fmt: skip


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["auto", "labels", "captions"] = "auto",
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    caption: int = 0,
) -> RetrievalDataset:
    """Load a folder of captioned images.

    Protocol "captions": the images of a split are asked of its texts ("i2t"), its texts of the images ("t2i"). Protocol
    "labels": the images of a split, or one fixed text of each, are asked of the other side of the training images;
    right is what shares a label. Every training image makes a pair with each of its texts.

    Args:
        root: A folder of images with ``metadata.jsonl``, ``.csv`` or ``.parquet``.
        protocol: Ground truth by texts or by labels; "auto" is "labels" if any image has a label.
        validation: Share of the training images held out for validation where there is no such subfolder; 0 for none.
        test: The same for the split that is reported.
        seed: Chooses the held-out images (one NumPy permutation).
        caption: Number of the text that stands for an item in protocol "labels"; the last where an item has fewer.

    Returns:
        Pairs and tasks; images are paths, keys are ``file`` and ``file#i`` with the file relative to ``root``.

    Raises:
        FileError: No metadata file.
        FormatError: It cannot be read, or a row lacks what is needed; names the row.
        DataError: No texts, no labels for protocol "labels", or shares that leave nothing to train on.
    """
    root = Path(root)
    rows = merge(root, [(path, row) for path in find_metadata(root) for row in read_rows(path)])
    silent = [row for row in rows if not row.texts]
    rows = [row for row in rows if row.texts]
    if not rows:
        raise DataError(
            str(root), expected="texts in the metadata file", got=f"{len(silent)} images without one",
            remedy="Give every row a `text`, or `texts`, a list.",
        )  # fmt: skip
    found = {label for row in rows for label in row.labels}
    classes = [str(label) for label in sorted(found, key=lambda label: (isinstance(label, str), label))]
    if protocol == "auto":
        protocol = "labels" if classes else "captions"
    items = [
        captioned(row.file_name, root / row.file_name, row.texts, number, map(str, row.labels), classes)
        for number, row in enumerate(rows)
    ]
    splits, notes = _divide(root, items, {"validation": validation, "test": test}, seed)
    if protocol == "labels":
        notes += _check_labels(root, items, classes, caption)
        chosen, reported = (label_tasks(splits[name], splits["train"], caption) for name in ("validation", "test"))
    else:
        chosen, reported = (caption_tasks(splits[name]) for name in ("validation", "test"))
    training = pairs(splits["train"])
    notes += [f"{len(silent)} images without a text left out"] if silent else []
    notes = [*size_notes(training, chosen, reported), *notes]
    name = f"{root.resolve().name} ({protocol})"
    return RetrievalDataset(name, training, chosen, reported, tuple(classes), tuple(notes))


def survey(root: Path) -> Survey:
    """See :mod:`hashret.data.survey`."""
    try:
        tables = find_metadata(root)
        rows = merge(root, [(path, row) for path in tables for row in read_rows(path)])
    except FormatError as error:
        return Survey(damaged=(str(error),))
    except FileError as error:
        return Survey(missing=(str(error),))
    counts = (Count("images", len(rows)), Count("texts", sum(len(row.texts) for row in rows)))
    return Survey(
        present=tuple(path.relative_to(root).as_posix() for path in tables),
        counts=counts,
        images={row.file_name: root / row.file_name for row in rows},
    )


def _divide(
    root: Path, items: Sequence[Captioned], shares: Mapping[str, float], seed: int
) -> tuple[dict[str, list[Captioned]], list[str]]:
    """Divide by subfolder, and hold the splits without one out of the training images."""
    splits: dict[str, list[Captioned]] = {"train": []}
    for item in items:
        top, slash, _ = item.image.key.partition("/")
        splits.setdefault(SPLITS.get(top.lower(), "train") if slash else "train", []).append(item)
    missing = [name for name in shares if name not in splits]
    pool = splits["train"]
    for name in missing:
        if not 0 <= shares[name] < 1:
            raise DataError(
                f"{name} of {root}", expected="a share of the images, 0 <= share < 1", got=str(shares[name]),
                remedy=f"Write 0.1 for a tenth, or put images into a folder {name}/.",
            )  # fmt: skip
    sizes = [max(1, round(shares[name] * len(pool))) if shares[name] else 0 for name in missing]
    if len(pool) - sum(sizes) < 2:
        raise DataError(
            str(root), expected="at least 2 images to train on", got=f"{len(pool)} of which {sum(sizes)} are held out",
            remedy="Add images, or lower the shares validation and test.",
        )  # fmt: skip
    splits["train"], *parts = hold_out(pool, sizes, seed)
    splits.update(zip(missing, parts, strict=True))
    given = [f"{name}: a folder of its own" for name in shares if name not in missing]
    drawn = [f"{name}: held out of the training images with seed {seed}" for name in missing if splits[name]]
    return splits, given + drawn


def _check_labels(root: Path, items: Sequence[Captioned], classes: Sequence[str], caption: int) -> list[str]:
    if not classes:
        raise DataError(
            f"protocol of {root}", expected="labels in the metadata file for protocol 'labels'", got="none",
            remedy="Set protocol=captions, or give rows `labels`, a list of strings.",
        )  # fmt: skip
    most = max(len(item.captions) for item in items)
    if not 0 <= caption < most:
        raise DataError(
            f"caption of {root}", expected=f"0 ... {most - 1}", got=str(caption), remedy="Choose a text that is there."
        )
    short = sum(len(item.captions) <= caption for item in items)
    last = f"; its last for {short} images that have fewer" if short else ""
    return [f"text {caption} of each image is its text in every query and gallery{last}"]

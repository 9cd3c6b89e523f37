"""A user's own composed queries: a table of triplets (a reference image, a text, the target image) beside the images.

Tables named train, validation (val, valid, dev) and test are splits; a split without a table is held out of the
training triplets, whole references at a time. A table is a .jsonl, .csv or .parquet, read as in
:mod:`hashret.data.metadata`. Nothing is decoded, and no image has to be moved: names may lead out of the folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hashret.data.card import Card, Protocol
from hashret.data.composed import Triplet, composed_task, hold_out, triplet_notes, triplet_pairs, without
from hashret.data.metadata import SPLITS, TABLES, cells_of, read_table
from hashret.data.survey import Count, Survey
from hashret.errors import DataError, FileError, FormatError
from hashret.examples import RetrievalDataset, Task

__all__ = ["CARD", "load", "survey"]

WHOLE = "triplets"
COLUMNS = ("reference", "text", "texts", "target", "targets")
CARD = Card(
    name="triplets",
    title="Triplets",
    what="Your own composed queries: an image and a text that ask for another image.",
    licence="yours",
    source="yourself: one line a triplet in a table beside the images.",
    tree="""ROOT/
  train.jsonl          {"reference": "images/a.jpg", "text": "in red", "target": "images/b.jpg"}, a line a triplet
                       (or .csv, .parquet; "texts" and "targets" are lists; names are relative to ROOT)
  validation.jsonl     what there is none of is held out of train
  test.jsonl
  test.gallery.txt     if more is to be searched than the images of test.jsonl: a name a line (also validation)
  images/a.jpg ...
or ROOT/triplets.jsonl alone""",
    protocols=(
        Protocol(
            "composed", "a reference and a text are asked of the images of their split; right: any target of theirs",
            "hashret", metrics=("hit@1", "hit@5", "hit@10"),
        ),
    ),
)  # fmt: skip


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["composed"] = "composed",
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    without_reference: bool = True,
) -> RetrievalDataset:
    """Load a folder of triplets.

    Task "composed": the triplets of a split are asked of all images that its table and its gallery file name, by their
    first text. Triplets that are held out of another table are asked of all images of that table.

    Args:
        root: A folder with ``train.jsonl`` or ``triplets.jsonl`` (or .csv, .parquet), as the card draws it.
        protocol: There is one.
        validation: Share of the training triplets held out for validation where it has no table; 0 for none.
        test: The same for the split that is reported.
        seed: Chooses the references held out (one NumPy permutation).
        without_reference: Whether a query may not be answered with its own reference image.

    Returns:
        Pairs and tasks; images are paths, keys are names, a query's is ``reference#row``. The instance is the number of
        the triplet.

    Raises:
        FileError: No table of training triplets, or two tables of one split.
        FormatError: A table cannot be read, or a row lacks a reference, a text or a target; names the row.
        DataError: Shares that leave nothing to train on.
        InputError: No such protocol, or a negative seed.
    """
    root, scheme = Path(root), CARD.protocol(protocol)
    tables = _read(root)
    shares = {"test": test, "validation": validation}
    _check_shares(root, {split: share for split, share in shares.items() if split not in tables})
    train, asked, whence = list(tables["train"].triplets), dict[str, Sequence[Triplet]](), list[str]()
    whole = len(train)
    for split, share in shares.items():
        if split in tables:
            asked[split] = tables[split].triplets
            continue
        train, asked[split] = _hold_out(train, max(1, round(share * whole)) if share else 0, seed, str(root))
        whence += [f"{split}: whole references of the training table, held out with seed {seed}"] if share else []
    paths = {name: root / name for table in tables.values() for name in table.images}

    def task(split: str) -> tuple[Task, ...]:
        if not asked[split]:
            return ()
        images = tables.get(split, tables["train"]).images
        return (composed_task("composed", asked[split], images, paths, without_reference=without_reference),)

    training, chosen, reported = triplet_pairs(train, paths), task("validation"), task("test")
    notes = [*triplet_notes(training, chosen, reported), f"{scheme.what} ({scheme.source})", *whence]
    notes += [f"the reference is {'left out of' if without_reference else 'among'} the answers of its own query"]
    trained = {name for triplet in train for name in (triplet.reference, *triplet.targets)}
    for split, triplets in asked.items():
        both = trained & {name for triplet in triplets for name in (triplet.reference, *triplet.targets)}
        notes += [f"{split}: {len(both):,} images of its triplets are trained on, in other triplets"] if both else []
    return RetrievalDataset(f"{root.resolve().name} (triplets)", training, chosen, reported, (), tuple(notes))


def survey(root: Path) -> Survey:
    """See :mod:`hashret.data.survey`."""
    try:
        tables = _read(root)
    except FileError as error:
        return Survey(missing=(str(error),))
    except (FormatError, DataError) as error:
        return Survey(damaged=(str(error),))
    return Survey(
        present=tuple(table.path.name for table in tables.values()),
        counts=tuple(Count(f"{split} triplets", len(table.triplets)) for split, table in tables.items()),
        images={name: root / name for table in tables.values() for name in table.images},
        splits={split: table.images for split, table in tables.items()},
    )


@dataclass(frozen=True)
class _Table:
    """The triplets of one file, and the images that are searched for them, sorted by name."""

    path: Path
    triplets: tuple[Triplet, ...]
    images: tuple[str, ...]


def _read(root: Path) -> dict[str, _Table]:
    """Split -> table; "train" is always among them."""
    found: dict[str, Path] = {}
    files = sorted(root.iterdir()) if root.is_dir() else []
    for path in files:
        split = "train" if path.stem.lower() == WHOLE else SPLITS.get(path.stem.lower(), "")
        if path.suffix not in TABLES or not split:
            continue
        if split in found:
            raise FileError(
                str(root), expected=f"one table of {split} triplets", got=f"{found[split].name} and {path.name}",
                remedy="Join them, or take one away.",
            )  # fmt: skip
        found[split] = path
    if "train" not in found:
        got = "no such folder" if not root.is_dir() else ", ".join(p.name for p in found.values()) or "no table"
        raise FileError(
            str(root), expected=f"a folder with train.jsonl or {WHOLE}.jsonl (or .csv, .parquet)", got=got,
            remedy='Write one line a triplet: {"reference": "a.jpg", "text": "in red", "target": "b.jpg"}.',
        )  # fmt: skip
    return {split: _read_triplets(path) for split, path in found.items()}


def _read_triplets(path: Path) -> _Table:
    triplets = [_triplet(path, number, row) for number, row in enumerate(read_table(path, COLUMNS), 1)]
    names = {name for triplet in triplets for name in (triplet.reference, *triplet.targets)}
    return _Table(
        path, tuple(triplets), tuple(sorted(names | _read_gallery(path.with_name(f"{path.stem}.gallery.txt"))))
    )


def _read_gallery(path: Path) -> set[str]:
    """Names of more images to search, one a line; none where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []
    except UnicodeDecodeError as error:
        raise FormatError(
            str(path), expected="names of images, one a line, in UTF-8", got=f"other bytes at {error.start}",
            remedy="Save it as UTF-8.",
        ) from error  # fmt: skip
    return {line.strip() for line in lines} - {""}


def _triplet(path: Path, number: int, row: dict[str, Any]) -> Triplet:
    cells = {column: cells_of(path, number, row, column) for column in COLUMNS}
    parts = {
        "reference": cells["reference"], "text": [*cells["text"], *cells["texts"]],
        "target": [*cells["target"], *cells["targets"]],
    }  # fmt: skip
    for name, values in parts.items():
        if not values or (name != "text" and not all(values)):
            raise FormatError(
                f"{path}, row {number}", expected=f"a {name}", got="none",
                remedy='Write {"reference": "a.jpg", "text": "red", "target": "b.jpg"} (or lists: texts, targets).',
            )  # fmt: skip
    target, *others = dict.fromkeys(parts["target"])
    (reference,) = parts["reference"][:1]
    return Triplet(reference, target, tuple(parts["text"]), f"{reference}#{number}", others=tuple(others))


def _check_shares(root: Path, shares: Mapping[str, float]) -> None:
    for split, share in shares.items():
        if not 0 <= share < 1:
            raise DataError(
                f"{split} of {root}", expected="a share of the triplets, 0 <= share < 1", got=str(share),
                remedy=f"Write 0.1 for a tenth, or write a table {split}.jsonl.",
            )  # fmt: skip


def _hold_out(triplets: list[Triplet], count: int, seed: int, name: str) -> tuple[list[Triplet], list[Triplet]]:
    """What is left, and what is held out."""
    out = hold_out([triplet.reference for triplet in triplets], count, seed, name)
    held = [triplet for triplet, chosen in zip(triplets, out, strict=True) if chosen]
    return without(triplets, {triplet.reference for triplet in held}), held

"""CIRR: photographs of anything; a photograph and a sentence ask for another one, among all and among six alike.

Two tasks: all images of the split, and the group of six look-alikes that the triplet was written about; the reference
is left out of both. Epochs are chosen on whole groups held out of the training split, or on val where test1 is
reported. Targets of test1 are not public: its tasks have no right answers, and
:mod:`hashret.data.cirr_submission` writes what the test server takes. Graded targets (``target_soft``) are not read;
recall is of the one hard target.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial as partial_of
from pathlib import Path
from typing import Literal

import numpy as np

from hashret.data.card import Card, Protocol
from hashret.data.composed import (
    Triplet,
    check_known,
    composed_task,
    hold_out,
    subset_task,
    triplet_notes,
    triplet_pairs,
    without,
)
from hashret.data.composed_files import Inventory, check_count, read_json, read_rows
from hashret.data.survey import Survey
from hashret.errors import DataError
from hashret.examples import RetrievalDataset, Task

__all__ = ["CARD", "TRIPLETS", "load", "survey"]

TRIPLETS = {"train": 28225, "val": 4181, "test1": 4148}
IMAGES = {"train": 16939, "val": 2297, "test1": 2315}
UNSAID = "."
CARD = Card(
    name="cirr",
    title="CIRR",
    what="21,551 photographs of NLVR2 in groups of six look-alikes; 36,554 triplets (the paper's 4,184 of val is a "
    "misprint of 4,181).",
    licence="annotations MIT; photographs under NLVR2's terms, for research",
    source="github.com/Cuberick-Orion/CIRR, branch cirr_dataset (annotations), and lil.nlp.cornell.edu/nlvr "
    "(photographs, on request).",
    tree="""ROOT/
  captions/cap.rc2.train.json            and val, test1   (captions and image_splits also in ROOT/cirr/)
  image_splits/split.rc2.train.json      and val, test1
  train/34/train-11041-2-img0.png ...    (the three folders also in img_raw/)
  dev/dev-244-0-img0.png ...
  test1/test1-147-1-img1.png ...""",
    protocols=(
        Protocol(
            "composed",
            "triplets are asked of all images of their split, and of the other five of their group; the reference is "
            "left out of both",
            "Liu et al., ICCV 2021",
            {
                "training triplets": 28225, "queries": 4181, "images searched": 2297, "test1 queries": 4148,
                "test1 images searched": 2315,
            },
            ("hit@1", "hit@2", "hit@3", "hit@5", "hit@10", "hit@50"),
        ),
    ),
)  # fmt: skip


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["composed"] = "composed",
    partial: bool = False,
    validation: int | Literal["val"] = 1000,
    test: Literal["val", "test1"] = "val",
    seed: int = 0,
) -> RetrievalDataset:
    """Load CIRR.

    Published Recall@1, 5, 10 and 50 are hit@1 ... of task "composed", Recall_subset@1, 2 and 3 are hit@1 ... of task
    "composed/subset"; the headline of papers is the mean of hit@5 of the first and hit@1 of the second.

    Held-out groups are asked of the images of all of them, as the images of val are those of its groups. Images stand
    in several groups: training triplets whose reference is that of a held-out triplet are left out too.

    Args:
        root: The folder with ``captions`` and ``image_splits``, or with ``cirr`` that holds them.
        protocol: There is one.
        partial: Take files that hold other numbers of triplets and images than the official ones.
        validation: Training triplets held out for validation, at least, in whole groups, 0 for none; or "val", where
            test1 is reported.
        test: What is reported: "val", or "test1", whose tasks have no right answers for want of public ones.
        seed: Chooses the groups held out.

    Returns:
        Pairs and tasks; images are paths, keys are names, a query's is ``reference#pairid``. The instance is the number
        of the triplet. A query of val or test1 whose sentence is empty (test1 has one) asks with ".".

    Raises:
        DataFileError: An annotation file is missing or damaged.
        DataError: Other numbers than the official ones; a pair twice; images that no list names; a reference or target
            that is not of its group; the same split for validation and test; too much held out.
        InputError: No such protocol, or a negative seed.
    """
    root, scheme = Path(root), CARD.protocol(protocol)
    _check_splits(validation, test)
    needed = {"train", test} | ({validation} if isinstance(validation, str) else set())
    files = _annotations(root)
    images = {split: _read_images(_list_file(files, split)) for split in TRIPLETS if split in needed}
    triplets = {split: _read_triplets(_captions_file(files, split), split, images[split]) for split in images}
    for split in images:
        check_count(CARD, f"{split} triplets", len(triplets[split]), TRIPLETS[split], partial)
        check_count(CARD, f"{split} images", len(images[split]), IMAGES[split], partial)
    paths = {name: path for split in images for name, path in _paths(root, images[split]).items()}
    train, held = triplets["train"], list[Triplet]()
    if isinstance(validation, str):
        chosen = _tasks(triplets[validation], list(images[validation]), paths)
    else:
        train, held = _hold_out(triplets["train"], images["train"], validation, seed)
        among = {name for triplet in held for name in triplet.group}
        chosen = _tasks(held, [name for name in images["train"] if name in among], paths)
    training, reported = triplet_pairs(train, paths), _tasks(triplets[test], list(images[test]), paths)
    lost = len(triplets["train"]) - len(train) - len(held)
    unsaid = sum(triplet.texts[0] == UNSAID for triplet in triplets[test])
    notes = [
        *triplet_notes(training, chosen, reported),
        f"{scheme.what} ({scheme.source}); reported on {test}",
        f"validation: {_whence(validation, seed)}",
        *([f"{lost:,} training triplets left out, since a validation query has their reference"] if lost else []),
        *([f"queries of {test} without a text: {unsaid}, asked with {UNSAID!r}"] if unsaid else []),
        *(["test1: targets are not public, no query has a right answer here"] if test == "test1" else []),
    ]
    whole = all((len(triplets[s]), len(images[s])) == (TRIPLETS[s], IMAGES[s]) for s in images)
    return RetrievalDataset(
        f"CIRR ({test}{'' if whole else ', partial'})", training, chosen, reported, (), tuple(notes)
    )


def survey(root: Path) -> Survey:
    """See :mod:`hashret.data.survey`."""
    found, files = Inventory(root), _annotations(root)
    paths, splits = dict[str, Path](), dict[str, list[str]]()
    for split, official in TRIPLETS.items():
        images = found.read(_list_file(files, split), f"names and places of the {split} images", _read_images)
        read: Callable[[Path], list[Triplet]] = partial_of(_read_triplets, split=split, images=images)
        triplets = found.read(_captions_file(files, split), f"triplets of {split}", read)
        if images is not None:
            found.count(f"{split} images", len(images), IMAGES[split])
            splits[split] = list(images)
            paths |= _paths(root, images)
        if triplets is not None:
            found.count(f"{split} triplets", len(triplets), official)
    if not any(path.exists() for path in paths.values()):
        found.missing.append("train/, dev/, test1/: the photographs")
    return found.survey(paths, splits)


def _annotations(root: Path) -> Path:
    """Where captions and lists lie."""
    return root if (root / "captions").exists() or not (root / "cirr").is_dir() else root / "cirr"


def _captions_file(folder: Path, split: str) -> Path:
    return folder / "captions" / f"cap.rc2.{split}.json"


def _list_file(folder: Path, split: str) -> Path:
    return folder / "image_splits" / f"split.rc2.{split}.json"


def _read_images(path: Path) -> dict[str, str]:
    """Name -> place, relative to the folder of the photographs."""
    places = read_json(CARD, path, "names of images with their places")
    good = isinstance(places, dict) and bool(places)
    if not good or not all(isinstance(place, str) and Path(place).parts for place in places.values()):
        raise CARD.damaged(path, "names of images with their places", f"{type(places).__name__} {str(places)[:40]!r}")
    return dict(places)


def _read_triplets(path: Path, split: str, images: Mapping[str, str] | None) -> list[Triplet]:
    """The triplets of a captions file, compared with the images of their split where these are known."""
    fields = {"pairid": int, "reference": str, "caption": str, "img_set": dict}
    fields |= {} if split == "test1" else {"target_hard": str}
    triplets, seen = [], set[int]()
    for row in read_rows(CARD, path, "triplets", fields):
        if row["pairid"] in seen:
            raise CARD.damaged(path, "every pair once", f"pairid {row['pairid']} twice")
        seen.add(row["pairid"])
        group = row["img_set"].get("members")
        if not isinstance(group, list) or not all(isinstance(name, str) for name in group):
            raise CARD.damaged(path, f"'img_set' with 'members' in pair {row['pairid']}", str(row["img_set"])[:60])
        said = row["caption"] if split == "train" or row["caption"].strip() else UNSAID
        key = f"{row['reference']}#{row['pairid']}"
        triplets.append(Triplet(row["reference"], row.get("target_hard"), (said,), key, tuple(group)))
    if images is not None:
        check_known(f"{CARD.title}, {path}", triplets, images, "the split")
    astray = [] if split == "train" or images is None else [t for t in triplets if not _is_of_its_group(t, images)]
    if astray:
        raise DataError(
            f"{CARD.title}, {path}", expected="groups of the split's images that hold reference and target",
            got=f"{len(astray):,} others: {', '.join(t.key for t in astray[:3])}", remedy="Take the official file.",
        )  # fmt: skip
    return triplets


def _is_of_its_group(triplet: Triplet, images: Mapping[str, str]) -> bool:
    group = set(triplet.group)
    ours = {triplet.reference} if triplet.target is None else {triplet.reference, triplet.target}
    return ours <= group and group <= images.keys() and len(group) == len(triplet.group)


def _hold_out(
    triplets: Sequence[Triplet], images: Mapping[str, str], count: int, seed: int
) -> tuple[list[Triplet], list[Triplet]]:
    """What is trained on and what is held out, whole groups of it; a triplet astray of its group is not held out."""
    fit = [triplet for triplet in triplets if _is_of_its_group(triplet, images)]
    out = hold_out([" ".join(sorted(triplet.group)) for triplet in fit], count, seed, CARD.title)
    held = [fit[row] for row in np.flatnonzero(out)]
    return without(triplets, {triplet.reference for triplet in held}), held


def _tasks(triplets: Sequence[Triplet], gallery: Sequence[str], paths: Mapping[str, Path]) -> tuple[Task, ...]:
    """Among all images, and among those of the group."""
    if not triplets:
        return ()
    whole = composed_task("composed", triplets, gallery, paths, without_reference=True)
    return whole, subset_task("composed/subset", whole, triplets)


def _paths(root: Path, images: Mapping[str, str]) -> dict[str, Path]:
    """Where each photograph is; a place is looked for from the first folder that has its top folder."""
    folders: dict[str, Path] = {}
    for place in images.values():
        top = Path(place).parts[0]
        if top not in folders:
            bases = (root, root / "img_raw", root / "cirr", root / "cirr" / "img_raw")
            folders[top] = next((base for base in bases if (base / top).is_dir()), root)
    return {name: folders[Path(place).parts[0]] / place for name, place in images.items()}


def _check_splits(validation: int | str, test: str) -> None:
    if test not in ("val", "test1") or (isinstance(validation, str) and validation != "val") or validation == test:
        raise DataError(
            f"{CARD.title}, validation and test",
            expected="a number of triplets and 'val' or 'test1', or 'val' and 'test1'", got=f"{validation!r}, {test!r}",
            remedy="Set test=test1 to choose epochs on val, or hold training triplets out: validation=1000.",
        )  # fmt: skip


def _whence(validation: int | str, seed: int) -> str:
    if isinstance(validation, str):
        return f"the split {validation}"
    return f"whole groups of the training split, held out with seed {seed}" if validation else "none"

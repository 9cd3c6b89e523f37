"""Flickr8k and Flickr30k in Karpathy's json: five captions an image, and splits that everybody reports on.

The annotation file names the images, their captions and their split; where it also names labels, the set serves as a
multi-label hashing set. Nothing is decoded here: an image that is listed but absent or broken is the quarantine's.
A split that is not there is never replaced by another silently; the caller names the split that is reported.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from hashret.data.captioned import Captioned, caption_tasks, captioned, hold_out, label_tasks, pairs, size_notes
from hashret.data.card import Card, Protocol
from hashret.data.karpathy import Karpathy, read_for
from hashret.data.region_tree import USUAL, RegionTree
from hashret.data.survey import Count, Survey
from hashret.errors import DataError, DataFileError
from hashret.examples import ImageSource, RetrievalDataset

__all__ = ["CARD", "find_annotations", "find_images", "load", "survey"]

ANNOTATIONS = ("dataset.json", "dataset_flickr8k.json", "dataset_flickr30k.json")
IMAGE_FOLDERS = ("images", "flickr30k-images", "flickr30k_images", "Flicker8k_Dataset", "Flickr8k_Dataset")
TREE = f"a folder with one of {', '.join(ANNOTATIONS)} beside one of {', '.join(name + '/' for name in IMAGE_FOLDERS)}"
OFFICIAL = {
    "flickr30k": {"train": 29_000, "val": 1_014, "test": 1_000},
    "flickr8k": {"train": 6_000, "val": 1_000, "test": 1_000},
}
CAPTIONS = 5

CARD = Card(
    name="flickr",
    title="Flickr30k and Flickr8k",
    what="Everyday photos of people and animals, five captions each, in the splits of Karpathy's json.",
    licence="research and education only, no redistribution; the images are (c) their owners on Flickr",
    source="cs.stanford.edu/people/karpathy/deepimagesent (the jsons) and, on request, from the University of Illinois "
    "(shannon.cs.illinois.edu/DenotationGraph, the images).",
    tree="""ROOT/
  dataset_flickr30k.json     Karpathy's (or dataset_flickr8k.json, or dataset.json)
  flickr30k-images/          the images it names (or images/, flickr30k_images/, Flicker8k_Dataset/)
    1000092795.jpg ...
  features_36/               bottom-up regions (optional): data.regions=features_36
    bu_att/0.npz             "feat", regions x 2,048; numbered by the image's place in the json
    bu_box/0.npy             regions x 4 pixels: x1, y1, x2, y2""",
    protocols=(
        Protocol(
            "karpathy", "images are asked of the five captions of each image of a split, captions of its images; "
            "right: what belongs together", "Karpathy and Fei-Fei, CVPR 2015",
            sizes={f"{name} {split}": size for name, sizes in OFFICIAL.items() for split, size in sizes.items()},
            metrics=("hit@1", "hit@5", "hit@10"),
        ),
        Protocol(
            "labels", "images, or one caption each, are asked of the training images; right: a shared label. The "
            "official jsons have no labels: add `labels` to the images", "here",
        ),
    ),
)  # fmt: skip


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["karpathy", "labels"] = "karpathy",
    validation: str | int = "val",
    test: str = "test",
    caption: int = 0,
    captions: Literal["all", "first"] = "all",
    seed: int = 0,
    partial: bool = False,
    regions: str = "",
) -> RetrievalDataset:
    """Load Flickr8k or Flickr30k.

    Protocol "karpathy": the images of a split are asked of its captions ("i2t"), its captions of the images ("t2i");
    right is what belongs together. Protocol "labels": the images of a split, or one fixed caption of each, are asked of
    the other side of the training split; right is what shares a label. With held-out validation images the validation
    queries are asked of the rest of the training split, the test queries of the whole of it.

    Args:
        root: A folder with ``dataset_flickr8k.json``, ``dataset_flickr30k.json`` or ``dataset.json``, and the images in
            ``images/``, ``flickr30k-images/`` or ``Flicker8k_Dataset/``.
        protocol: Ground truth by captions or by labels.
        validation: The split of the validation queries, or a number of images held out of the training split for them.
        test: The split that is reported.
        caption: Number of the caption that stands for an item in protocol "labels".
        captions: Whether an image makes a training pair with each of its captions or with its first.
        seed: Chooses the held-out images (one NumPy permutation); of no use with a named validation split.
        partial: Take splits of another size than the official one; a json of neither name has no official size.
        regions: A folder in ``root`` with bottom-up regions (see ``CARD.tree``), which are then the images; the folder
            of images is needed only for its sizes, where the json has none. Empty takes the images themselves.

    Returns:
        Pairs and tasks; images are paths or files of regions, keys are ``file`` and ``file#i``, the instance is the
        image's place in the json. Its split "restval" counts as "train".

    Raises:
        DataFileError: No annotation file, no folder of images or of regions, or the file is not Karpathy's json; names
            the key and the number of the image.
        DataError: A split is missing, of the wrong size, or used twice; protocol "labels" without labels; no such
            caption.
    """
    annotations = find_annotations(root)
    karpathy = read_for(CARD, annotations)
    tree = RegionTree(CARD, Path(root) / regions) if regions else None
    items = [
        captioned(photo.file_name, image, photo.texts, number, photo.labels or (), karpathy.classes)
        for number, (photo, image) in enumerate(zip(karpathy.photos, _images(root, karpathy, tree), strict=True))
    ]
    splits: dict[str, list[Captioned]] = {}
    for item, photo in zip(items, karpathy.photos, strict=True):
        splits.setdefault(photo.split, []).append(item)
    train, asked = _divide(karpathy, splits, validation, test, seed)
    part = _check_sizes(karpathy, splits, ("train", validation, test), partial)
    if protocol == "labels":
        _check_labels(karpathy, items, caption)
        chosen, reported = label_tasks(asked, train, caption), label_tasks(splits[test], splits["train"], caption)
    else:
        chosen, reported = caption_tasks(asked), caption_tasks(splits[test])
    training = pairs(train, captions)
    notes = [*size_notes(training, chosen, reported), f"reported on the split {test!r} of {annotations.name}"]
    if isinstance(validation, int):
        notes.append(f"validation: {validation} images held out of the training split with seed {seed}")
    else:
        notes.append(f"validation: the split {validation!r}")
    notes += [tree.note()] if tree is not None else []
    if protocol == "labels":
        notes.append(f"caption {caption} of each image is its text in every query and gallery")
    name = f"{karpathy.name} ({protocol}{part})"
    return RetrievalDataset(name, training, chosen, reported, karpathy.classes, tuple(notes))


def survey(root: Path) -> Survey:
    """See :mod:`hashret.data.survey`."""
    present, missing, damaged = list[str](), list[str](), list[str]()
    json, folder = _there(root, ANNOTATIONS), _there(root, IMAGE_FOLDERS)
    for there, names, use in (
        (json, ANNOTATIONS, "captions and splits"),
        (folder, [name + "/" for name in IMAGE_FOLDERS], "the images"),
    ):
        if len(there) > 1:
            damaged.append(f"one of these is too many: {', '.join(path.name for path in there)}")
        elif not there:
            missing.append(f"{' or '.join(names)}: {use}")
        else:
            present.append(there[0].name)
    karpathy = None
    if len(json) == 1:
        try:
            karpathy = read_for(CARD, json[0])
        except DataFileError as error:
            damaged.append(str(error))
    if karpathy is None:
        return Survey(tuple(present), tuple(missing), tuple(damaged))
    official = _official(karpathy)
    found = Counter(photo.split for photo in karpathy.photos)
    counts = [Count(f"{split} images", found[split], official.get(split)) for split in official or found]
    whole = CAPTIONS * sum(official.values()) if official else None
    counts.append(Count("captions", sum(len(photo.texts) for photo in karpathy.photos), whole))
    images: dict[str, ImageSource] = {}
    if len(folder) == 1:
        images = {photo.file_name: folder[0] / photo.file_name for photo in karpathy.photos}
    if (root / USUAL).is_dir():
        present.append(f"{USUAL}/")
        try:
            found_regions = _images(root, karpathy, RegionTree(CARD, root / USUAL))
            images |= {f"{p.file_name}, regions": r for p, r in zip(karpathy.photos, found_regions, strict=True)}
        except DataError as error:
            damaged.append(str(error))
    return Survey(
        tuple(present), tuple(missing), tuple(damaged), tuple(counts), images=images,
        splits={split: [p.file_name for p in karpathy.photos if p.split == split] for split in found},
    )  # fmt: skip


def find_annotations(root: str | os.PathLike[str]) -> Path:
    """Find the annotation file in ``root``.

    Raises:
        DataFileError: There is none, or there are several.
    """
    return _one_of(Path(root), ANNOTATIONS, "annotation file")


def find_images(root: str | os.PathLike[str]) -> Path:
    """Find the folder of images in ``root``.

    Raises:
        DataFileError: There is none, or there are several.
    """
    return _one_of(Path(root), IMAGE_FOLDERS, "folder of images")


def _images(root: str | os.PathLike[str], karpathy: Karpathy, tree: RegionTree | None) -> list[ImageSource]:
    """What stands for each image: its picture, or the files of its regions."""
    if tree is None:
        folder = find_images(root)
        return [folder / photo.file_name for photo in karpathy.photos]
    needed = tree.needs_pictures([photo.size for photo in karpathy.photos])
    there = find_images(root) if needed or len(_there(Path(root), IMAGE_FOLDERS)) == 1 else None
    return [
        tree.files(number, photo.size, None if there is None else there / photo.file_name)
        for number, photo in enumerate(karpathy.photos)
    ]


def _one_of(root: Path, names: Sequence[str], kind: str) -> Path:
    there = _there(root, names)
    if len(there) == 1:
        return there[0]
    got = "no such folder" if not root.is_dir() else f"no {kind}"
    if there:
        got = f"more than one {kind}: {', '.join(path.name for path in there)}"
    raise CARD.damaged(root, TREE, got)


def _there(root: Path, names: Sequence[str]) -> list[Path]:
    return [root / name for name in names if (root / name).exists()]


def _official(karpathy: Karpathy) -> Mapping[str, int]:
    """Official sizes of the splits of a json that names its set; empty for any other."""
    return next((sizes for name, sizes in OFFICIAL.items() if name in karpathy.name.lower()), {})


def _check_sizes(
    karpathy: Karpathy, splits: Mapping[str, Sequence[Captioned]], used: Sequence[str | int], partial: bool
) -> str:
    """What the dataset's name says of splits that have another size than the official one."""
    official = _official(karpathy)
    wrong = [
        (name, len(splits[name]), official[name])
        for name in dict.fromkeys(name for name in used if isinstance(name, str))
        if name in official and len(splits[name]) != official[name]
    ]
    if wrong and not partial:
        raise DataError(
            f"{CARD.title}, {karpathy.name}",
            expected=", ".join(f"{size:,} {name} images" for name, _, size in wrong),
            got=", ".join(f"{found:,}" for _, found, _ in wrong),
            remedy="Use the whole json; data.partial=true takes a part of the set, whose figures are not the papers'.",
        )  # fmt: skip
    return ", partial" if wrong else ""


def _divide(
    karpathy: Karpathy, splits: dict[str, list[Captioned]], validation: str | int, test: str, seed: int
) -> tuple[list[Captioned], Sequence[Captioned]]:
    """The items to train on and the items of validation."""
    sizes = ", ".join(f"{name} ({len(items)} images)" for name, items in splits.items())
    for option, name in (("test", test), ("validation", validation)):
        if isinstance(name, str) and (name not in splits or name == "train"):
            others = [each for each in splits if each != "train"]
            remedy = f"Set {option} to one of {', '.join(others)}." if others else "Use a json with more splits."
            if option == "test" and others and validation == others[0]:
                remedy = f"Set test={others[0]} and validation to a number of training images to hold out, such as 500."
            raise DataError(
                f"{karpathy.name}, {option}", expected="a split that is not trained on", got=f"{name!r}",
                remedy=f"The splits are {sizes}. {remedy}",
            )  # fmt: skip
    if validation == test:
        raise DataError(
            f"{karpathy.name}, validation", expected="another split than test", got=f"{validation!r} for both",
            remedy=f"The splits are {sizes}. Name another, or hold training images out: validation=500.",
        )  # fmt: skip
    train = splits.get("train", [])
    if len(train) < 2:
        raise DataError(
            karpathy.name, expected="at least 2 images in the split 'train'", got=str(len(train)),
            remedy=f"The splits are {sizes}. Use the whole json.",
        )  # fmt: skip
    if isinstance(validation, str):
        return train, splits[validation]
    if isinstance(validation, bool) or not 0 < validation <= len(train) - 2:
        raise DataError(
            f"{karpathy.name}, validation", expected=f"1 ... {len(train) - 2} of the {len(train)} training images",
            got=str(validation), remedy="Hold out another number, or name a split.",
        )  # fmt: skip
    rest, held = hold_out(train, [validation], seed)
    return rest, held


def _check_labels(karpathy: Karpathy, items: Sequence[Captioned], caption: int) -> None:
    if not karpathy.classes:
        raise DataError(
            f"{karpathy.name}, protocol", expected="labels in the json for protocol 'labels'", got="none",
            remedy="Set protocol=karpathy, or add `labels` to the images and `classes` at the top of the json.",
        )  # fmt: skip
    fewest = min(len(item.captions) for item in items)
    if not 0 <= caption < fewest:
        raise DataError(
            f"{karpathy.name}, caption", expected=f"0 ... {fewest - 1}, which every image has", got=str(caption),
            remedy="Choose a caption that every image has.",
        )  # fmt: skip

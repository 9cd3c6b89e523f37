"""Flickr8k and Flickr30k in Karpathy's json: five captions an image, and splits that everybody reports on.

The annotation file names the images, their captions and their split; where it also names labels, the set serves as a
multi-label hashing set. Nothing is decoded here: an image that is listed but absent or broken is the quarantine's.
A split that is not there is never replaced by another silently; the caller names the split that is reported.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hashret.data.captioned import Captioned, caption_tasks, captioned, hold_out, label_tasks, pairs, size_notes
from hashret.errors import DataError, FileError, FormatError
from hashret.examples import RetrievalDataset

__all__ = ["Karpathy", "Photo", "find_annotations", "find_images", "load", "read"]

ANNOTATIONS = ("dataset.json", "dataset_flickr8k.json", "dataset_flickr30k.json")
IMAGE_FOLDERS = ("images", "flickr30k-images", "flickr30k_images", "Flicker8k_Dataset", "Flickr8k_Dataset")
TREE = f"a folder with one of {', '.join(ANNOTATIONS)} beside one of {', '.join(name + '/' for name in IMAGE_FOLDERS)}"


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["labels", "captions"] = "captions",
    validation: str | int = "val",
    test: str = "test",
    caption: int = 0,
    captions: Literal["all", "first"] = "all",
    seed: int = 0,
) -> RetrievalDataset:
    """Load Flickr8k or Flickr30k.

    Protocol "captions": the images of a split are asked of its captions ("i2t"), its captions of the images ("t2i");
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

    Returns:
        Pairs and tasks; images are paths, keys are ``file`` and ``file#i``, the instance is the image's place in the
        json. Its split "restval" counts as "train".

    Raises:
        FileError: No annotation file or no folder of images.
        FormatError: The annotation file is not Karpathy's json; names the key and the number of the image.
        DataError: A split is missing, or is used twice; protocol "labels" without labels; no such caption.
    """
    annotations, images = find_annotations(root), find_images(root)
    karpathy = read(annotations)
    items = [
        captioned(photo.file_name, images / photo.file_name, photo.texts, number, photo.labels or (), karpathy.classes)
        for number, photo in enumerate(karpathy.photos)
    ]
    splits: dict[str, list[Captioned]] = {}
    for item, photo in zip(items, karpathy.photos, strict=True):
        splits.setdefault(photo.split, []).append(item)
    train, asked = _divide(karpathy, splits, validation, test, seed)
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
    if protocol == "labels":
        notes.append(f"caption {caption} of each image is its text in every query and gallery")
    return RetrievalDataset(f"{karpathy.name} ({protocol})", training, chosen, reported, karpathy.classes, tuple(notes))


@dataclass(frozen=True)
class Photo:
    """What the json says of one image: file name relative to the images' folder, split, captions, labels if any."""

    file_name: str
    split: str
    texts: tuple[str, ...]
    labels: tuple[str, ...] | None


@dataclass(frozen=True)
class Karpathy:
    """What the json says: its name, its images in order, and the classes (empty without labels)."""

    name: str
    photos: tuple[Photo, ...]
    classes: tuple[str, ...]


def find_annotations(root: str | os.PathLike[str]) -> Path:
    """Find the annotation file in ``root``.

    Raises:
        FileError: There is none, or there are several.
    """
    return _one_of(Path(root), ANNOTATIONS, "annotation file")


def find_images(root: str | os.PathLike[str]) -> Path:
    """Find the folder of images in ``root``.

    Raises:
        FileError: There is none, or there are several.
    """
    return _one_of(Path(root), IMAGE_FOLDERS, "folder of images")


def _one_of(root: Path, names: Sequence[str], kind: str) -> Path:
    there = [root / name for name in names if (root / name).exists()]
    if len(there) == 1:
        return there[0]
    got = "no such folder" if not root.is_dir() else f"no {kind}"
    if there:
        got = f"more than one {kind}: {', '.join(path.name for path in there)}"
    raise FileError(
        str(root), expected=TREE, got=got,
        remedy="Put Karpathy's json (cs.stanford.edu/people/karpathy/deepimagesent) beside the images, a set a folder.",
    )  # fmt: skip


def read(path: str | os.PathLike[str]) -> Karpathy:
    """Read Karpathy's json.

    Raises:
        FileError: There is no such file.
        FormatError: It is no JSON, or lacks a key; names the key and the number of the image.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        got = error.strerror or str(error)
        raise FileError(str(path), expected="a file", got=got, remedy="Check the path.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(
            str(path), expected="Karpathy's json", got=f"no JSON ({error})", remedy="It is damaged: take it again."
        ) from error
    entries = _get(path, "the file", content, "images", list)
    photos = tuple(_photo(path, number, entry) for number, entry in enumerate(entries))
    twice = [name for name, count in Counter(photo.file_name for photo in photos).items() if count > 1]
    if twice:
        raise FormatError(
            str(path), expected="every image once", got=f"{twice[0]} more than once", remedy="Leave the doubles out."
        )
    found = {name for photo in photos for name in photo.labels or ()}
    classes = tuple(_get(path, "the file", content, "classes", list, of=str)) if "classes" in content else sorted(found)
    unknown = sorted(found - set(classes))
    if unknown:
        raise FormatError(
            str(path), expected="labels that are among its classes", got=repr(unknown[0]), remedy="Add it to classes."
        )
    name = content.get("dataset", path.stem.removeprefix("dataset_"))
    return Karpathy(str(name), photos, tuple(classes) if found else ())


def _photo(path: Path, number: int, entry: Any) -> Photo:
    where = f"image {number}"
    file_name = _get(path, where, entry, "filename", str)
    if "filepath" in entry:
        file_name = f"{_get(path, where, entry, 'filepath', str)}/{file_name}"
    split = _get(path, where, entry, "split", str)
    sentences = _get(path, where, entry, "sentences", list)
    texts = tuple(_get(path, f"sentence {i} of {where}", each, "raw", str) for i, each in enumerate(sentences))
    if not texts:
        raise FormatError(
            f"{path}, key 'sentences' of {where}", expected="at least one", got="none", remedy="Leave the image out."
        )
    labels = tuple(_get(path, where, entry, "labels", list, of=str)) if "labels" in entry else None
    return Photo(file_name, "train" if split == "restval" else split, texts, labels)


def _get(path: Path, where: str, holder: Any, key: str, kind: type, of: type = object) -> Any:
    """The value of a key, checked; ``of`` is the type of the items of a list."""
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, kind) or (isinstance(value, list) and not all(isinstance(each, of) for each in value)):
        inside = "a list of strings" if of is str else "a list"
        got = "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
        raise FormatError(
            f"{path}, key {key!r} of {where}", expected=inside if kind is list else "a string", got=got,
            remedy="This is not Karpathy's json, or it was changed: take the original again.",
        )  # fmt: skip
    return value


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
            remedy="Set protocol=captions, or add `labels` to the images and `classes` at the top of the json.",
        )  # fmt: skip
    fewest = min(len(item.captions) for item in items)
    if not 0 <= caption < fewest:
        raise DataError(
            f"{karpathy.name}, caption", expected=f"0 ... {fewest - 1}, which every image has", got=str(caption),
            remedy="Choose a caption that every image has.",
        )  # fmt: skip

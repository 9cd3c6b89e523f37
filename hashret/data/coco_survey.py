"""What lies in a copy of MS-COCO: Karpathy's json, official annotations, hashing papers' matrices, pictures.

A copy need hold only what one protocol asks for; a family of files of which one is there should be whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hashret.data.card import Card
from hashret.data.coco_annotations import CAPTIONS, IMAGES, annotation_name, read_captions, read_labels
from hashret.data.coco_hashing import (
    ARRAYS,
    BAG,
    CELLS,
    FEATURES,
    LISTS,
    Rows,
    open_arrays,
    open_cells,
    open_features,
    open_lists,
)
from hashret.data.coco_pictures import Pictures, image_finder, parse_name
from hashret.data.karpathy import read_for
from hashret.data.region_tree import USUAL, RegionTree
from hashret.data.survey import Count, Survey
from hashret.errors import DataError, DataFileError, FileError
from hashret.examples import ImageSource

__all__ = ["KARPATHY", "survey_of"]

KARPATHY = ("dataset_coco.json", "annotations/dataset_coco.json", "dataset.json")
USABLE = 122_218
_SENTENCES = CAPTIONS["train2014"] + CAPTIONS["val2014"]


@dataclass
class _Found:
    """What has been found so far."""

    present: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    images: dict[str, ImageSource] = field(default_factory=dict)
    splits: dict[str, Sequence[str]] = field(default_factory=dict)

    def look(self, root: Path, names: Sequence[str], use: str) -> bool:
        """Note which of a family of files are there; whether all are."""
        there = [name for name in names if (root / name).is_file()]
        self.present += there
        self.missing += [f"{name}: {use}" for name in names if name not in there]
        return len(there) == len(names)

    def attempt(self, read: Callable[[], None]) -> None:
        """Read something, and write down what is wrong with it."""
        try:
            read()
        except (DataError, FileError) as error:
            self.damaged.append(str(error))


def survey_of(card: Card, sizes: Mapping[str, int], root: Path) -> Survey:
    """Look at a copy.

    Args:
        card: The dataset's.
        sizes: Images of each of Karpathy's splits, officially.
        root: The folder.
    """
    found = _Found()
    pictures = _pictures(card, root)
    json = next((name for name in KARPATHY if (root / name).is_file()), None)
    if json is not None:
        found.present.append(json)
        found.attempt(lambda: _karpathy(found, card, root, root / json, pictures, sizes))
    for year in (2014, 2017):
        _annotated(found, card, root, year, pictures, json is not None)
    if any((root / name).is_file() for name in CELLS) and found.look(root, list(CELLS), "names, captions and labels"):
        found.present += [BAG] if (root / BAG).is_file() else []
        found.attempt(lambda: _rows(found, "index.mat", open_cells(card, root, "sentences")))
    if (root / FEATURES).is_file() and found.look(root, [FEATURES], "features and labels"):
        found.attempt(lambda: _rows(found, FEATURES, open_features(card, root)))
    if any((root / name).is_file() for name in ARRAYS) and found.look(root, ARRAYS, "features and labels"):
        listed = any((root / name).is_file() for name in LISTS.values())
        if not listed or found.look(root, list(LISTS.values()), "rows of a part"):
            found.attempt(lambda: _arrays(found, card, root))
    if not found.present and not found.missing:
        found.missing += [
            f"{KARPATHY[0]}: protocol karpathy",
            "annotations/ with captions and instances of train2017 and val2017: protocols dchmt, mith and crcgs",
            f"or {', '.join(CELLS)}: protocols mith, dchmt and crcgs",
            f"or {FEATURES}: protocol ucch",
            f"or {', '.join(ARRAYS)}: protocol crcgs",
        ]
    elif pictures is None and (json is not None or any(name.startswith("annotations/") for name in found.present)):
        found.missing.append("train2014/ and val2014/, or train2017/ and val2017/, or images/: the pictures")
    return Survey(
        tuple(found.present), tuple(found.missing), tuple(found.damaged), tuple(found.counts), found.images,
        found.splits,
    )  # fmt: skip


def _pictures(card: Card, root: Path) -> Pictures | None:
    try:
        return Pictures(card, root)
    except DataFileError:
        return None


def _karpathy(
    found: _Found, card: Card, root: Path, path: Path, pictures: Pictures | None, sizes: Mapping[str, int]
) -> None:
    content = read_for(card, path)
    photos = content.photos
    counted = Counter(photo.split for photo in photos)
    found.counts += [Count(f"{split} images", counted[split], size) for split, size in sizes.items()]
    found.counts.append(Count("captions", sum(len(photo.texts) for photo in photos), _SENTENCES))
    for split in counted:
        found.splits[split] = [Path(photo.file_name).name for photo in photos if photo.split == split]
    strange = [photo.file_name for photo in photos if parse_name(photo.file_name) is None]
    if strange:
        found.damaged.append(f"{path.name}: {len(strange)} file names are not MS-COCO's, first {strange[0]}")
    for photo in photos if pictures is not None else ():
        parsed = parse_name(photo.file_name)
        if parsed is not None and pictures is not None:
            found.images[Path(photo.file_name).name] = pictures.path(*parsed)
    if (root / USUAL).is_dir() and not strange:
        found.present.append(f"{USUAL}/")
        image_of = image_finder(card, root, content, RegionTree(card, root / USUAL))
        found.images |= {f"{Path(photo.file_name).name}, regions": image_of(photo) for photo in photos}


def _annotated(found: _Found, card: Card, root: Path, year: int, pictures: Pictures | None, divided: bool) -> None:
    """The official files of a year; ``divided``: Karpathy's json is there, and needs no captions beside it."""
    splits = (f"train{year}", f"val{year}")
    families = [[annotation_name(kind, split) for split in splits] for kind in ("captions", "instances")]
    if year == 2017 and not divided:  # the hashing protocols need both
        families = [families[0] + families[1]]
    for names in families:
        if any((root / name).is_file() for name in names):
            found.look(root, names, "captions and categories")

    def captions(split: str) -> None:
        read = read_captions(card, root, split)
        found.counts.append(Count(f"{split} images", len(read.files), IMAGES[split]))
        found.counts.append(Count(f"{split} captions", sum(map(len, read.texts.values())), CAPTIONS[split]))
        silent = [read.files[number] for number, texts in read.texts.items() if not texts]
        if silent:
            found.damaged.append(f"captions of {split}: {len(silent):,} images without one, first {silent[0]}")
        if pictures is not None:
            found.images.update({name: pictures.path(number, split) for number, name in read.files.items()})
        if not (divided and year == 2014):
            found.splits[split] = list(read.files.values())

    def instances(split: str) -> None:
        rows = read_labels(card, root, split)
        found.counts.append(Count(f"{split} images in instances", len(rows), IMAGES[split]))

    for split in splits:
        for kind, read in (("captions", captions), ("instances", instances)):
            if annotation_name(kind, split) in found.present:
                found.attempt(partial(read, split))


def _rows(found: _Found, name: str, rows: Rows) -> None:
    found.counts.append(Count(f"{name}: images with a category", len(rows.usable), USABLE))
    prefix = "" if name == "index.mat" else f"{name} "
    found.images.update({f"{prefix}{key}": image for key, image in zip(rows.keys, rows.images, strict=True)})


def _arrays(found: _Found, card: Card, root: Path) -> None:
    rows = open_arrays(card, root)
    _rows(found, ARRAYS[0], rows)
    lists, _ = open_lists(card, root, rows)
    for part, numbers in (lists or {}).items():
        found.counts.append(Count(f"{LISTS[part]}: rows", len(numbers), 10_000 if part == "train" else 5_000))
        found.splits[part] = [f"{ARRAYS[0]} {row}" for row in rows.usable[numbers].tolist()]

"""MS-COCO in every layout it is found in, a few images each."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from hashret.data.coco_annotations import CATEGORY_IDS, CLASSES
from trees import Layout, save_photo
from trees.regions import FOLDER, save_regions

WIDTH = len(CLASSES)
THINGS = ("person", "bicycle", "car", "dog")
WAYS = ("in the morning", "seen again", "from near", "from far", "in the rain", "at last")


def things(number: int) -> list[str]:
    """Categories of an image; every ninth has none."""
    return [] if number % 9 == 8 else [THINGS[number % 3], THINGS[(number + 1) % 4]][: 1 + number % 2]


def sentences(number: int) -> list[str]:
    """Five captions, six for every fourth image."""
    said = " and ".join(things(number)) or "nothing"
    return [f"a photo {number} of {said} {way}" for way in WAYS[: 6 if number % 4 == 0 else 5]]


def multi_hot(number: int) -> list[int]:
    return [int(name in things(number)) for name in CLASSES]


def file_name(number: int, split: str) -> str:
    return f"COCO_{split}_{number:012d}.jpg" if split.endswith("2014") else f"{number:012d}.jpg"


def write_annotations(root: Path, split: str, numbers: list[int], kinds: tuple[str, ...]) -> None:
    """The official files of a split; images and annotations in no order, as they come."""
    shuffled = list(np.random.default_rng(7).permutation(numbers).tolist())
    images = [{"id": n, "file_name": file_name(n, split), "license": 3, "height": 8, "width": 8} for n in shuffled]
    categories = [
        {"id": number, "name": name, "supercategory": "thing"}
        for number, name in zip(CATEGORY_IDS, CLASSES, strict=True)
    ]
    captions = [{"image_id": n, "id": 10 * n + i, "caption": t} for n in shuffled for i, t in enumerate(sentences(n))]
    boxes = [
        {
            "segmentation": [[1.5, 2.5, 3.5, 4.5]], "area": 9.5, "iscrowd": 0, "image_id": n, "bbox": [1, 2, 3, 4.5],
            "category_id": CATEGORY_IDS[CLASSES.index(name)], "id": 1,
        }
        for n in shuffled
        for name in things(n) * 2
    ]  # fmt: skip
    contents = {
        "captions": {"info": {}, "licenses": [], "images": images, "annotations": captions},
        "instances": {"info": {}, "licenses": [], "images": images, "annotations": boxes, "categories": categories},
    }
    (root / "annotations").mkdir(exist_ok=True)
    for kind in kinds:
        (root / "annotations" / f"{kind}_{split}.json").write_text(json.dumps(contents[kind]), "utf-8")


def make_karpathy(root: Path) -> dict[str, Any]:
    """Karpathy's json over the pictures and categories of 2014."""
    parts = ["train"] * 6 + ["restval"] * 4 + ["val"] * 4 + ["test"] * 6
    photos, of = [], {"train2014": list[int](), "val2014": list[int]()}
    for place, part in enumerate(parts):
        number, folder = 100 - 3 * place, "train2014" if part == "train" else "val2014"
        of[folder].append(number)
        save_photo(root / folder / file_name(number, folder), number)
        raws = [{"raw": text, "tokens": text.split(), "sentid": 0} for text in sentences(number)]
        photos.append(
            {"filepath": folder, "filename": file_name(number, folder), "cocoid": number, "split": part, "imgid": place}
            | {"sentences": raws, "sentids": [0]}
        )
    (root / "dataset_coco.json").write_text(json.dumps({"images": photos, "dataset": "coco"}), "utf-8")
    for split, numbers in of.items():
        write_annotations(root, split, numbers, ("instances",))
    return {"partial": True}


def make_regions(root: Path) -> dict[str, Any]:
    """The same, and the regions of each picture, numbered by its image id."""
    options = make_karpathy(root)
    for picture in root.glob("*2014/*.jpg"):
        save_regions(root / FOLDER, int(picture.stem[-12:]), (8, 8))
    return options | {"regions": FOLDER}


def make_official(root: Path) -> dict[str, Any]:
    """The annotations and pictures of 2017."""
    for split, numbers in (("train2017", list(range(9, 45))), ("val2017", list(range(1, 9)))):
        write_annotations(root, split, numbers, ("captions", "instances"))
        for number in numbers:
            save_photo(root / split / file_name(number, split), number)
    return {"partial": True}


def make_cells(root: Path) -> dict[str, Any]:
    """MITH's matrices: a caption an image, pictures of 2014 named by paths of another machine."""
    numbers = [n for n in range(40, 0, -1) if things(n)]
    split = {n: "val2014" if n % 3 == 0 else "train2014" for n in numbers}
    for number in numbers:
        save_photo(root / split[number] / file_name(number, split[number]), number)
    names = np.array([f"/elsewhere/all/{file_name(n, split[n])}" for n in numbers])
    texts = np.array([sentences(n)[n % 5] for n in numbers])
    words = sorted({word for text in texts for word in text.split()})
    bags = np.array([[text.split().count(word) for word in words] for text in texts])
    savemat(root / "index.mat", {"index": names})
    savemat(root / "caption.mat", {"caption": texts})
    savemat(root / "label.mat", {"label": np.array([multi_hot(n) for n in numbers], np.float32)})
    savemat(root / "caption_one_hot.mat", {"caption_one_hot": bags})
    return {"partial": True}


def vectors(numbers: list[int], width: int, seed: int) -> np.ndarray:
    """Features that tell categories."""
    chance = np.random.default_rng(seed)
    seen = np.array([multi_hot(number) for number in numbers], np.float32)
    return (seen @ chance.random((WIDTH, width)) + 0.1 * chance.random((len(numbers), width))).astype(np.float32)


def make_features(root: Path) -> dict[str, Any]:
    """UCCH's file."""
    numbers = [n for n in range(40) if things(n)]
    with h5py.File(root / "MSCOCO_deep_doc2vec_data_rand.h5py", "w") as file:
        file["XAll"], file["YAll"] = vectors(numbers, 16, 0), vectors(numbers, 12, 1)
        file["LAll"] = np.array([multi_hot(number) for number in numbers], np.float64)
    return {"partial": True}


def make_arrays(root: Path) -> dict[str, Any]:
    """CRCGS's folder; labels have a column too many, every ninth row has no category."""
    numbers = list(range(45))
    np.save(root / "feature.npy", vectors(numbers, 16, 0))
    np.save(root / "bow.npy", (vectors(numbers, 12, 1) > 0.5).astype(np.int64))
    np.save(root / "label.npy", np.array([[*multi_hot(number), 1] for number in numbers]))
    return {"partial": True}


LAYOUTS = {
    "karpathy": Layout(make_karpathy, ("karpathy",)),
    "regions": Layout(make_regions, ("karpathy",)),
    "official": Layout(make_official, ("dchmt", "mith", "crcgs")),
    "cells": Layout(make_cells, ("mith", "dchmt", "crcgs")),
    "features": Layout(make_features, ("ucch",)),
    "arrays": Layout(make_arrays, ("crcgs",)),
}

"""MIRFLICKR-25K in its four forms, of 40 images: tags that follow labels, some images without the one or the other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from trees import Layout, save_photo
from trees.matlab import write_version_73

CLASSES = [
    "animals", "baby", "bird", "car", "clouds", "dog", "female", "flower", "food", "indoor", "lake", "male", "night",
    "people", "plant_life", "portrait", "river", "sea", "sky", "structures", "sunset", "transport", "tree", "water",
]  # fmt: skip
WORDS = ["explore", "sky", "nikon", "été", "bw", "2007", "beach", "dog"]


@dataclass(frozen=True)
class Drawn:
    """What the files of a small set say: labels (N, 24) and bags (N, 8) of zeros and ones."""

    labels: NDArray[np.uint8]
    bags: NDArray[np.uint8]

    def sentences(self) -> list[str]:
        return [" ".join(WORDS[place] for place in np.flatnonzero(row)) for row in self.bags]


def draw(count: int = 40, seed: int = 0) -> Drawn:
    """Every item has one of three labels and maybe another; a label brings one word, chance others."""
    chance = np.random.default_rng(seed)
    labels = np.zeros((count, len(CLASSES)), np.uint8)
    first = chance.permutation(np.arange(count) % 3)
    labels[np.arange(count), first * 7] = 1
    labels[np.arange(count), chance.integers(0, len(CLASSES), count)] |= chance.integers(0, 2, count, dtype=np.uint8)
    bags = (chance.random((count, len(WORDS))) < 0.15).astype(np.uint8)
    bags[np.arange(count), first] = 1
    return Drawn(labels, bags)


def photo_numbers(count: int) -> list[int]:
    return list(range(1, count + 1))


def write_annotations(folder: Path, labels: NDArray[np.uint8]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for column, name in enumerate(CLASSES):
        numbers = np.flatnonzero(labels[:, column]) + 1
        (folder / f"{name}.txt").write_text("".join(f"{number}\n" for number in numbers))
    (folder / "baby_r1.txt").write_text("99999\n")
    (folder / "README.txt").write_text("These are the annotations.\n")


def write_tags(folder: Path, bags: NDArray[np.uint8]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row, bag in enumerate(bags):
        rare = [f"only{row}"] if row % 5 == 0 else []
        tags = [*rare, *(WORDS[place] for place in np.flatnonzero(bag))]
        (folder / f"tags{row + 1}.txt").write_text("".join(f"{tag}\r\n" for tag in tags), encoding="utf-8")


def official(root: Path, count: int = 44) -> dict[str, Any]:
    """The last image but one has no tag, the last no common one, and the two before no label."""
    drawn = draw(count)
    drawn.bags[-2:] = 0
    drawn.labels[-4:-2] = 0
    for number in photo_numbers(count):
        save_photo(root / "mirflickr" / f"im{number}.jpg", number)
    write_tags(root / "mirflickr" / "meta" / "tags", drawn.bags)
    (root / "mirflickr" / "meta" / "tags" / f"tags{count}.txt").write_text("seldom\n")
    write_annotations(root / "mirflickr25k_annotations_v080", drawn.labels)
    return {"partial": True, "least": 2}


def pixels(count: int) -> NDArray[np.uint8]:
    """As MATLAB has them: height 6, width 5, channels, items."""
    return np.random.default_rng(5).integers(0, 256, (6, 5, 3, count), dtype=np.uint8)


def matrices(root: Path) -> dict[str, Any]:
    drawn = draw()
    write_version_73(root / "mirflickr25k-iall.mat", {"IAll": pixels(len(drawn.labels))})
    savemat(root / "mirflickr25k-yall.mat", {"YAll": drawn.bags.astype(np.float64)}, do_compression=True)
    savemat(root / "mirflickr25k-lall.mat", {"LAll": drawn.labels.astype(np.float64)}, do_compression=True)
    names = np.array([[f"im{number}.jpg"] for number in photo_numbers(len(drawn.labels))], object)
    savemat(root / "mirflickr25k-fall.mat", {"FAll": names})
    return {"partial": True}


def features(root: Path) -> dict[str, Any]:
    drawn = draw()
    savemat(root / "mirflickr25k-iall-vgg.mat", {"XAll": np.random.default_rng(0).random((len(drawn.labels), 9))})
    write_version_73(root / "YAll" / "mirflickr25k-yall.mat", {"YAll": drawn.bags.astype(np.float64)})
    write_version_73(root / "LAll" / "mirflickr25k-lall.mat", {"LAll": drawn.labels.astype(bool)})
    return {"partial": True}


def one_file(root: Path) -> dict[str, Any]:
    drawn = draw()
    variables = {"images": pixels(len(drawn.labels)), "YAll": drawn.bags, "LAll": drawn.labels}
    write_version_73(root / "FLICKR-25K.mat", variables, marked=False)
    return {"partial": True}


def clip(root: Path) -> dict[str, Any]:
    drawn = draw()
    numbers = photo_numbers(len(drawn.labels))
    for number in numbers:
        save_photo(root / "mirflickr" / f"im{number}.jpg", number)
    savemat(root / "index.mat", {"index": [f"/home/someone/flickr25k/mirflickr/im{number}.jpg" for number in numbers]})
    savemat(root / "caption.mat", {"caption": [[text] for text in drawn.sentences()]})
    savemat(root / "label.mat", {"category": list(drawn.labels.astype(np.float64))})
    return {"partial": True}


def crcgs(root: Path) -> dict[str, Any]:
    drawn = draw()
    count = len(drawn.labels)
    np.save(root / "feature.npy", np.random.default_rng(0).random((count, 9), np.float32))
    np.save(root / "bow.npy", drawn.bags.astype(np.int64))
    np.save(root / "label.npy", drawn.labels.astype(bool))
    order = np.random.default_rng(1).permutation(count)
    for name, rows in (("train", order[:20]), ("test", order[20:26]), ("val", order[26:31])):
        np.save(root / f"{name}_data_list.npy", rows)
    return {"partial": True}


LAYOUTS = {
    "official tree": Layout(official),
    "matrices": Layout(matrices),
    "matrices of features": Layout(features),
    "one file": Layout(one_file),
    "clip": Layout(clip),
    "crcgs": Layout(crcgs),
}

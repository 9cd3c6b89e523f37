"""NUS-WIDE in its four forms, of 126 images and more: six of each of 21 labels, many skies, tags that follow them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from trees import Layout, save_photo
from trees.matlab import write_version_73

TC21 = [
    "animal", "beach", "buildings", "clouds", "flowers", "grass", "lake", "mountain", "ocean", "person", "plants",
    "reflection", "road", "rocks", "sky", "snow", "sunset", "tree", "vehicle", "water", "window",
]  # fmt: skip
TC10 = ["animal", "buildings", "clouds", "grass", "lake", "person", "plants", "sky", "water", "window"]
WORDS = [f"tag{name}" for name in TC21] + ["nature", "bravo", "2007"]


@dataclass(frozen=True)
class Drawn:
    """What the files of a small set say: labels (N, 21) and bags (N, 24) of zeros and ones, and image names."""

    labels: NDArray[np.uint8]
    bags: NDArray[np.uint8]
    names: list[str]

    def sentences(self) -> list[str]:
        return [" ".join(WORDS[place] for place in np.flatnonzero(row)) for row in self.bags]


def draw(each: int = 6, seed: int = 0) -> Drawn:
    chance = np.random.default_rng(seed)
    count = each * len(TC21)
    first = chance.permutation(np.arange(count) % len(TC21))
    labels = np.zeros((count, len(TC21)), np.uint8)
    labels[np.arange(count), first] = 1
    labels[:, TC21.index("sky")] |= (chance.random(count) < 0.85).astype(np.uint8)
    bags = (chance.random((count, len(WORDS))) < 0.05).astype(np.uint8)
    bags[np.arange(count), first] = 1
    names = [f"{('actor', 'zoo')[row % 2]}/{row:04d}_{2_000_000 + 7 * row}.jpg" for row in range(count)]
    return Drawn(labels, bags, names)


def write_official(root: Path, drawn: Drawn, extra: tuple[str, ...] = ()) -> None:
    """All but the images; tags beside the 1,000 for every third photo, and labels that nobody uses."""
    for folder in ("ImageList", "NUS_WID_Tags", "Groundtruth/AllLabels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "ImageList" / "Imagelist.txt").write_text("".join(name.replace("/", "\\") + "\r\n" for name in drawn.names))
    tags = root / "NUS_WID_Tags"
    lines = []
    for row, (name, text) in enumerate(zip(drawn.names, drawn.sentences(), strict=True)):
        others = f" rare{row}" if row % 3 == 0 else ""
        lines.append(f"{name[:-4].rpartition('_')[2]}      {others}\t{text} \n")
    (tags / "All_Tags.txt").write_text("".join(lines))
    (tags / "AllTags1k.txt").write_text("".join("\t".join(map(str, row)) + "\t\r\n" for row in drawn.bags))
    (tags / "TagList1k.txt").write_text("".join(f"{word}\r\n" for word in WORDS))
    for column, name in enumerate([*TC21, *extra]):
        rows = drawn.labels[:, column] if column < len(TC21) else np.zeros(len(drawn.names), int)
        path = root / "Groundtruth" / "AllLabels" / f"Labels_{name}.txt"
        path.write_text("".join(f"{value}\n" for value in rows))


def official(root: Path, flat: bool = False) -> dict[str, Any]:
    """The first photo has no label, the second none of the 1,000 tags, the last no tag at all."""
    drawn = draw(7)
    drawn.labels[0] = 0
    drawn.bags[[1, -1]] = 0
    write_official(root, drawn, extra=("zebra",))
    for row, name in enumerate(drawn.names):
        save_photo(root / "images" / name.rpartition("/")[2] if flat else root / "Flickr" / name, row)
    return {"partial": True}


def flat(root: Path) -> dict[str, Any]:
    return official(root, flat=True)


def matrices_21(root: Path) -> dict[str, Any]:
    drawn = draw()
    drawn.bags[3] = 0
    pixels = np.random.default_rng(5).integers(0, 256, (4, 5, 3, len(drawn.names)), dtype=np.uint8)
    write_version_73(root / "nus-wide-tc21-iall.mat", {"IAll": pixels}, compressed=False)
    savemat(root / "nus-wide-tc21-yall.mat", {"YAll": drawn.bags}, do_compression=True)
    savemat(root / "nus-wide-tc21-lall.mat", {"LAll": drawn.labels}, do_compression=True)
    return {"partial": True}


def matrices_10(root: Path) -> dict[str, Any]:
    drawn = draw()
    labels = drawn.labels[:, [TC21.index(name) for name in TC10]]
    rows = labels.any(1)
    features = np.random.default_rng(0).random((int(rows.sum()), 9))
    savemat(root / "nus-wide-tc10-xall-vgg.mat", {"XAll": features})
    write_version_73(root / "nus-wide-tc10-yall.mat", {"YAll": drawn.bags[rows].astype(np.float64)})
    savemat(root / "nus-wide-tc10-lall.mat", {"LAll": labels[rows]})
    return {"partial": True}


def clip(root: Path) -> dict[str, Any]:
    drawn = draw()
    for row, name in enumerate(drawn.names):
        save_photo(root / "images" / name.rpartition("/")[2], row)
    savemat(
        root / "index.mat", {"index": [f"D:\\nuswide\\Flickr\\{name.replace('/', chr(92))}" for name in drawn.names]}
    )
    (root / "caption.txt").write_text("".join(f"{text}\n" for text in drawn.sentences()))
    savemat(root / "label.mat", {"category": drawn.labels})
    return {"partial": True}


def crcgs(root: Path) -> dict[str, Any]:
    """Row 3 has no tag and is therefore not legal."""
    drawn = draw()
    drawn.bags[3] = 0
    count = len(drawn.names)
    np.save(root / "feature.npy", np.random.default_rng(0).random((count, 9), np.float32))
    np.save(root / "bow.npy", drawn.bags)
    np.save(root / "label.npy", drawn.labels)
    legal = np.delete(np.arange(count), 3)
    np.save(root / "legal_data_list.npy", legal)
    order = np.random.default_rng(1).permutation(legal)
    for name, rows in (("train", order[:40]), ("test", order[40:60]), ("val", order[60:80])):
        np.save(root / f"{name}_data_list.npy", rows)
    return {"partial": True}


OF_21 = ("dcmh", "mith", "dchmt", "crcgs")
LAYOUTS = {
    "official tree": Layout(official, OF_21),
    "official tree, flat": Layout(flat, OF_21),
    "matrices of 21": Layout(matrices_21, OF_21),
    "matrices of 10": Layout(matrices_10, ("ucch",)),
    "clip": Layout(clip, OF_21),
    "crcgs": Layout(crcgs, OF_21),
}

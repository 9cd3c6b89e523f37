"""Shoes: women's shoes of the Attribute Discovery set; a picture and a remark ask for another picture.

One file of remarks and two lists of pictures, "train" and "eval"; a remark counts for a split if both its pictures are
on that list. The pictures lie in the folders of the Attribute Discovery set, which nobody has to rearrange: they are
found by name. All papers choose epochs on the list they report; here whole references are held out of the training
list for that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hashret.data.card import Card, Protocol
from hashret.data.composed import (
    Triplet,
    composed_task,
    hold_out,
    triplet_notes,
    triplet_pairs,
    without,
)
from hashret.data.composed_files import Inventory, check_count, find_pictures, read_lines, read_rows
from hashret.data.survey import Survey
from hashret.errors import DataError
from hashret.examples import RetrievalDataset, Task

__all__ = ["CARD", "load", "survey"]

LISTS = {"train": "train_im_names.txt", "eval": "eval_im_names.txt"}
REMARKS = "relative_captions_shoes.json"
IMAGES = {"train": 10000, "eval": 4658}
TRIPLETS = {"train": 8990, "eval": 1761}
CARD = Card(
    name="shoes",
    title="Shoes",
    what="14,658 pictures of women's shoes in ten styles; 10,751 remarks on how one differs from another.",
    licence="none stated for the remarks; pictures of the Attribute Discovery set, for research",
    source="github.com/XiaoxiaoGuo/fashion-retrieval, folder dataset (remarks and lists), and "
    "tamaraberg.com/attributesDataset (pictures).",
    tree=f"""ROOT/
  {REMARKS}    (the three also in ROOT/annotations/)
  {LISTS["train"]}
  {LISTS["eval"]}
  womens_clogs/0/img_womens_clogs_851.jpg ...    anywhere below ROOT, or all in ROOT/images/""",
    protocols=(
        Protocol(
            "composed", "remarks on eval pictures are asked of all eval pictures, the reference left out",
            "Guo et al., NeurIPS 2018, as split for composed retrieval by Chen & Bazzani, CVPR 2020 (VAL)",
            {"training triplets": 8990, "queries": 1761, "images searched": 4658}, ("hit@1", "hit@10", "hit@50"),
        ),
    ),
)  # fmt: skip


def load(
    root: str | os.PathLike[str],
    *,
    protocol: Literal["composed"] = "composed",
    partial: bool = False,
    validation: int = 500,
    seed: int = 0,
) -> RetrievalDataset:
    """Load Shoes.

    Task "composed": the remarks on eval pictures are asked of all of these. Validation: held-out remarks are asked of
    all training pictures; what is left of the training list's remarks is trained on.

    A few remarks say that a picture is what it is. They are trained on like the others; as queries they have no right
    answer, since the reference is left out, and published figures count them as misses.

    Args:
        root: The folder with the lists, the remarks and, somewhere below, the pictures.
        protocol: There is one.
        partial: Take files that hold other numbers of triplets and pictures than the official ones.
        validation: Triplets held out for validation, at least; whole references. 0 for none.
        seed: Chooses the references held out.

    Returns:
        Pairs and tasks; images are paths, keys are file names, a query's is ``file#row`` of the remarks. The instance
        is the number of the triplet.

    Raises:
        DataFileError: A list or the remarks are missing or damaged.
        DataError: Other numbers than the official ones; a picture on both lists; too much held out.
        InputError: No such protocol, or a negative seed.
    """
    scheme, folder = CARD.protocol(protocol), _annotations(Path(root))
    listed = {split: _read_list(folder / file) for split, file in LISTS.items()}
    triplets, apart = _divide(_read_remarks(folder / REMARKS), listed)
    for split in LISTS:
        check_count(CARD, f"{split} triplets", len(triplets[split]), TRIPLETS[split], partial)
        check_count(CARD, f"{split} images", len(listed[split]), IMAGES[split], partial)
    out = hold_out([triplet.reference for triplet in triplets["train"]], validation, seed, CARD.title)
    held = [triplet for triplet, chosen in zip(triplets["train"], out, strict=True) if chosen]
    train = without(triplets["train"], {triplet.reference for triplet in held})
    paths = _paths(Path(root), [name for names in listed.values() for name in names])

    def task(asked: Sequence[Triplet], split: str) -> tuple[Task, ...]:
        return (composed_task("composed", asked, listed[split], paths, without_reference=True),) if asked else ()

    training, chosen, reported = triplet_pairs(train, paths), task(held, "train"), task(triplets["eval"], "eval")
    same = sum(triplet.reference == triplet.target for triplet in triplets["eval"])
    notes = [
        *triplet_notes(training, chosen, reported),
        f"{scheme.what} ({scheme.source})",
        f"validation: {f'whole references of the training list, held out with seed {seed}' if held else 'none'}",
        f"reported queries for their own reference: {same}, without a right answer; published figures count a miss",
    ]
    notes += [f"{apart:,} remarks left out, whose pictures are not on one list"] if apart else []
    whole = all((len(triplets[split]), len(listed[split])) == (TRIPLETS[split], IMAGES[split]) for split in LISTS)
    return RetrievalDataset(f"Shoes{'' if whole else ' (partial)'}", training, chosen, reported, (), tuple(notes))


def survey(root: Path) -> Survey:
    """See :mod:`hashret.data.survey`."""
    found, folder = Inventory(root), _annotations(root)
    listed = {
        split: found.read(folder / file, f"names of the {split} pictures", _read_list) or []
        for split, file in LISTS.items()
    }
    remarks = found.read(folder / REMARKS, "remarks: the triplets", _read_remarks) or []
    found.count("triplets", len(remarks), sum(TRIPLETS.values()))
    for split, names in listed.items():
        known = set(names)
        within = sum(triplet.reference in known and triplet.target in known for triplet in remarks)
        found.count(f"{split} images", len(names), IMAGES[split])
        found.count(f"{split} triplets", within, TRIPLETS[split])
    paths = _paths(root, [name for names in listed.values() for name in names])
    if paths and not any(path.exists() for path in paths.values()):
        found.missing.append("womens_*/ or images/: the pictures")
    return found.survey(paths, listed)


def _annotations(root: Path) -> Path:
    """Where lists and remarks lie."""
    within = root / "annotations"
    return within if (within / REMARKS).exists() and not (root / REMARKS).exists() else root


def _read_list(path: Path) -> list[str]:
    return read_lines(CARD, path, "names of pictures, one a line")


def _read_remarks(path: Path) -> list[Triplet]:
    fields = {"ImageName": str, "ReferenceImageName": str, "RelativeCaption": str}
    rows = enumerate(read_rows(CARD, path, "remarks", fields))
    return [
        Triplet(
            row["ReferenceImageName"], row["ImageName"], (row["RelativeCaption"],), f"{row['ReferenceImageName']}#{n}"
        )
        for n, row in rows
    ]


def _divide(triplets: Sequence[Triplet], listed: dict[str, list[str]]) -> tuple[dict[str, list[Triplet]], int]:
    """The triplets of each list, and how many are of none."""
    known = {split: set(names) for split, names in listed.items()}
    both = sorted(known["train"] & known["eval"])
    if both:
        raise DataError(
            f"{CARD.title}, {' and '.join(LISTS.values())}", expected="pictures on one list each",
            got=f"{len(both):,} on both: {', '.join(both[:3])}", remedy="Take both lists from one place.",
        )  # fmt: skip
    found = {
        split: [triplet for triplet in triplets if triplet.reference in names and triplet.target in names]
        for split, names in known.items()
    }
    return found, len(triplets) - sum(map(len, found.values()))


def _paths(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """Where each picture is; one that is not there would be in images/."""
    found = find_pictures([root])
    return {name: found.get(name, root / "images" / name) for name in names}

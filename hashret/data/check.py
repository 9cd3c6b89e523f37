"""check: whether a copy of a dataset is whole, before anything is trained on it.

Files, counts against the official ones, splits that share an image, and every picture decoded once. Nothing is
repaired and nothing raises for what is wrong with the copy: the result says it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from hashret.arrayfile import replace_file
from hashret.data.card import Card
from hashret.data.quarantine import check as find_fault
from hashret.data.survey import Count, Survey
from hashret.errors import DataError, FileError
from hashret.examples import Example, ImageSource

__all__ = ["Checked", "check_copy"]

Progress = Callable[[int, int], None]
_AHEAD = 256


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes:
        card: Of the dataset.
        survey: Files and counts.
        decoded: Images that were looked at; 0 where that was not asked for.
        unreadable: Name of an image -> why it cannot be used.
        overlaps: (split, other split, names in both), for each pair of splits that share an image.
    """

    card: Card
    survey: Survey
    decoded: int
    unreadable: Mapping[str, str]
    overlaps: tuple[tuple[str, str, tuple[str, ...]], ...]

    @property
    def wrong_counts(self) -> tuple[Count, ...]:
        """Counts that are not the official ones."""
        return tuple(c for c in self.survey.counts if c.official is not None and c.found != c.official)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        survey = self.survey
        return not (survey.missing or survey.damaged or self.wrong_counts or self.unreadable or self.overlaps)

    def problems(self) -> list[str]:
        """Everything that is wrong, a line each; unreadable images in one line."""
        found = [f"missing: {line}" for line in self.survey.missing]
        found += [f"damaged: {line}" for line in self.survey.damaged]
        found += [f"count: {c.what}: {c.found:,}, officially {c.official:,}" for c in self.wrong_counts]
        for one, other, names in self.overlaps:
            more = ", ..." if len(names) > 3 else ""
            found.append(f"overlap: {len(names):,} images in both {one} and {other}: {', '.join(names[:3])}{more}")
        if self.unreadable:
            name, reason = next(iter(self.unreadable.items()))
            found.append(f"images: {len(self.unreadable):,} missing or unreadable, first {name}: {reason}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        survey = self.survey
        return {
            "dataset": self.card.name,
            "good": self.good,
            "present": list(survey.present),
            "missing": list(survey.missing),
            "damaged": list(survey.damaged),
            "counts": [{"what": c.what, "found": c.found, "official": c.official} for c in survey.counts],
            "decoded": self.decoded,
            "unreadable": dict(self.unreadable),
            "overlaps": [{"splits": [one, other], "images": list(names)} for one, other, names in self.overlaps],
        }

    def write_unreadable(self, path: str | os.PathLike[str]) -> None:
        """Write the missing and unreadable images, a JSON line each with name and reason.

        Raises:
            FileError: The place cannot be written.
        """
        rows = [json.dumps({"image": name, "reason": why}) + "\n" for name, why in self.unreadable.items()]
        replace_file(Path(path), "".join(rows).encode())


def check_copy(
    card: Card,
    survey: Callable[[Path], Survey],
    root: str | os.PathLike[str],
    *,
    images: bool = True,
    progress: Progress = lambda done, total: None,
) -> Checked:
    """Check one copy of a dataset.

    Args:
        card: What it should be.
        survey: The dataset's own, which looks at its files.
        root: The folder.
        images: Whether to decode every image.
        progress: Told (images decoded, images in all) now and then.

    Raises:
        FileError: ``root`` is no folder.
    """
    root = Path(root)
    if not root.is_dir():
        got = "a file" if root.exists() else "nothing"
        raise FileError(str(root), expected="a folder", got=got, remedy=f"It should look like this:\n{card.tree}")
    found = survey(root)
    unreadable = _unreadable(found.images, progress) if images else {}
    return Checked(card, found, len(found.images) if images else 0, unreadable, _overlaps(found.splits))


def _unreadable(images: Mapping[str, ImageSource], progress: Progress) -> dict[str, str]:
    """Decode all images in threads, a bounded number ahead; here alone they are looked up, which may open a matrix."""
    names, faults = list(images), dict[str, str]()
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(names), _AHEAD):
            part = list[Example]()
            for name in names[start : start + _AHEAD]:
                try:
                    part.append(Example(image=images[name], key=name))
                except (DataError, FileError) as error:
                    faults[name] = str(error)
            reasons = pool.map(find_fault, part)
            faults.update({item.key: why for item, why in zip(part, reasons, strict=True) if why is not None})
            progress(min(start + _AHEAD, len(names)), len(names))
    return faults


def _overlaps(splits: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    held = {name: set(keys) for name, keys in splits.items()}
    pairs = ((one, other, tuple(sorted(held[one] & held[other]))) for one, other in combinations(held, 2))
    return tuple(pair for pair in pairs if pair[2])

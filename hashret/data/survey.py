"""Survey: what lies in a copy of a dataset, as far as its files tell without decoding a picture.

Every dataset file has ``survey(root) -> Survey``. It never raises for what it looks for: what is missing or damaged is
what it reports. :mod:`hashret.data.check` decodes the images, compares and tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hashret.examples import ImageSource

__all__ = ["Count", "Survey"]


@dataclass(frozen=True)
class Count:
    """A number that was found beside the official one.

    Attributes:
        what: Of what, such as "training triplets, dress".
        found: How many there are.
        official: How many there should be; None where nobody fixed it.
    """

    what: str
    found: int
    official: int | None = None


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        present: Expected files and folders that are there.
        missing: Expected files and folders that are not, each with what it is for.
        damaged: A sentence a file that could not be read, or whose content contradicts itself or another.
        counts: Numbers found, with the official ones.
        images: Name -> where its pixels (or its feature vector) are; each is decoded by a check. A path that is not
            there is an unreadable image, not a missing file.
        splits: Split -> names of its images; the check looks for names that stand in two.
    """

    present: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    counts: tuple[Count, ...] = ()
    images: Mapping[str, ImageSource] = field(default_factory=dict)
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)

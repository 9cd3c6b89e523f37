"""What a report is made of, before it becomes a page or a summary: sections, and the parts they hold.

The page and the Markdown summary are drawn from one list of sections, so that a number cannot differ between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from hashret.report.kept import Kept
from hashret.report.sheet import Sheet

if TYPE_CHECKING:
    from hashret.pipeline.findings import Findings, QueryFound

__all__ = [
    "Examined",
    "Folded",
    "Missing",
    "Part",
    "Picture",
    "Queries",
    "Section",
    "Subheading",
    "first_of_systems",
    "questions",
]


@dataclass(frozen=True, eq=False)
class Examined:
    """A run for a report.

    Attributes:
        kept: What its folder keeps.
        findings: What its codes are like, or None.
        missing: Why there are no findings, and what to do; empty where there are some.
    """

    kept: Kept
    findings: Findings | None = None
    missing: str = ""


@dataclass(frozen=True)
class Subheading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Missing:
    """What a reader would look for here, and why it is not."""

    text: str


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, the name of its files, what it shows for those who do not see it, and what to know of it."""

    name: str
    figure: Figure
    alt: str
    caption: str


@dataclass(frozen=True, eq=False)
class Queries:
    """Queries with their nearest answers, the name of their picture, and what to know of them."""

    name: str
    rows: Sequence[QueryFound]
    caption: str


@dataclass(frozen=True)
class Folded:
    """A text or a table that only few want to see, and what it is."""

    title: str
    content: str | Sheet


Part = str | Subheading | Missing | Sheet | Picture | Queries | Folded


@dataclass(frozen=True, eq=False)
class Section:
    """A heading and what stands under it; a plain text is a paragraph."""

    title: str
    parts: Sequence[Part]


def questions(runs: Sequence[Examined]) -> list[tuple[str, list[Examined]]]:
    """Runs that were asked the same, which alone stand side by side, under the name of what they were asked.

    Runs that were not measured belong together where their data has the same options.
    """
    groups: dict[str, list[Examined]] = {}
    for run in runs:
        groups.setdefault(run.kept.question or f"unmeasured {run.kept.recipe['data']}", []).append(run)
    named = []
    for members in groups.values():
        kept = members[0].kept
        name = kept.scores.dataset if kept.scores else f"{kept.recipe['data']['name']}, not measured"
        named.append((name, members))
    return named


def first_of_systems(runs: Sequence[Examined]) -> list[Examined]:
    """One run of each system: of those that differ in the seed of training alone, the first."""
    found: dict[str, Examined] = {}
    for run in runs:
        found.setdefault(run.kept.system, run)
    return list(found.values())

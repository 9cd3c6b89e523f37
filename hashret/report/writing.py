"""Writing a report: runs in, a page, a summary and pictures out. The same runs give the same bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hashret.arrayfile import replace_file
from hashret.errors import FileError
from hashret.report.found import classes_section, health_section, queries_section, recall_section
from hashret.report.measured import bits_section, comparison_section, results_section, runs_section
from hashret.report.page import page, write_pictures
from hashret.report.parts import Examined, Section
from hashret.report.provenance import provenance_section, training_section
from hashret.report.summary import summary

__all__ = ["write_report"]

PAGE, SUMMARY, PICTURES = "report.html", "report.md", "pictures"


def write_report(runs: Sequence[Examined], out: str | os.PathLike[str]) -> None:
    """Write ``report.html``, ``report.md`` and ``pictures/``.

    Args:
        runs: At least one; the first is the one that others are tested against.
        out: The folder to write into; files of these names are replaced.

    Raises:
        InputError: Runs that were asked the same but share no metric.
        FileError: The place cannot be written.
    """
    folder = Path(out)
    try:
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            str(out), expected="a folder to write", got=error.strerror or str(error), remedy="Choose another --out."
        ) from error
    sections, names = report_sections(runs), [run.kept.name for run in runs]
    title = f"Report of {names[0]}" if len(names) == 1 else f"Report of {len(names)} runs"
    pictures = write_pictures(sections, folder / PICTURES)
    replace_file(folder / SUMMARY, summary(sections, title, PICTURES).encode("utf-8", "replace"))
    replace_file(folder / PAGE, page(sections, title, pictures).encode("utf-8", "replace"))


def report_sections(runs: Sequence[Examined]) -> list[Section]:
    """All sections of a report, in the order they are read."""
    found = [
        runs_section(runs), results_section(runs), comparison_section(runs), bits_section(runs), recall_section(runs),
        classes_section(runs), queries_section(runs), health_section(runs), training_section(runs),
        provenance_section(runs),
    ]  # fmt: skip
    return [section for section in found if section is not None]

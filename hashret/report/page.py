"""The page: sections of a report as one HTML file that asks for nothing, and the files of its pictures.

Pictures stand in the page as SVG whose ink and ground follow the page's, so that they fit a light and a dark one and
print on white; texts in them stay texts. Everything that comes from a run is escaped by the template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from hashret.arrayfile import replace_file
from hashret.errors import ImageError
from hashret.images import open_image, thumbnail
from hashret.report.drawing import COLORS, GRID, INK, MUTED, drawn
from hashret.report.grid import Answer, GridRow, Shown, retrieval_grid
from hashret.report.parts import Picture, Queries, Section
from hashret.report.sheet import Cell, Sheet

if TYPE_CHECKING:
    from hashret.examples import Example
    from hashret.pipeline.findings import QueryFound

__all__ = ["file_names", "page", "write_pictures"]

THUMBNAIL = 176  # pixels, the longer side
ENLARGED = 1.42  # pictures are drawn for print, where letters may be smaller; so wide is the page
_FORMS = ("svg", "png")
# What the style sheet of the page calls the colours of the pictures.
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "rule", "#ffffff": "paper", COLORS[-1]: "ink", COLORS[0]: "blue"}


def page(sections: Sequence[Section], title: str, pictures: Mapping[str, str]) -> str:
    """The HTML of a report.

    Args:
        sections: In order.
        title: Of the page.
        pictures: What :func:`write_pictures` returned of them.
    """
    environment = Environment(
        loader=PackageLoader("hashret.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.tests["kind"] = lambda part, name: type(part).__name__ == name
    environment.filters["svg"] = lambda part, name: _inline(part, name, pictures[part.name])
    environment.filters["card"] = _card
    environment.filters["groups"] = _groups
    environment.filters["worded"] = _worded
    environment.filters["value"] = _value
    names = file_names(sections)
    template = environment.get_template("page.html")
    return template.render(sections=sections, title=title, names=names, version=version("hashret")) + "\n"


def file_names(sections: Sequence[Section]) -> dict[str, str]:
    """Names of files for the pictures of a report: letters, digits and hyphens, no two alike."""
    found: dict[str, str] = {}
    for section in sections:
        for part in section.parts:
            if isinstance(part, (Picture, Queries)):
                plain = re.sub(r"[^a-z0-9]+", "-", part.name.lower()).strip("-")
                taken = set(found.values())
                numbered = (f"{plain}-{number}" for number in range(2, len(taken) + 3))
                found[part.name] = next(name for name in (plain, *numbered) if name not in taken)
    return found


def write_pictures(sections: Sequence[Section], folder: Path) -> dict[str, str]:
    """Write each picture as SVG and PNG.

    Returns:
        The SVG of each figure by the name of its part.

    Raises:
        FileError: The place cannot be written.
    """
    names, pictures = file_names(sections), {}
    for section in sections:
        for part in section.parts:
            for form in _FORMS if isinstance(part, (Picture, Queries)) else ():
                path = folder / f"{names[part.name]}.{form}"  # type: ignore[union-attr]
                if isinstance(part, Picture):
                    content = drawn(part.figure, form)
                    replace_file(path, content)
                    if form == "svg":
                        pictures[part.name] = content.decode()
                elif isinstance(part, Queries):
                    retrieval_grid([_grid_row(row) for row in part.rows], path, part.caption)
    return pictures


def _inline(picture: Picture, name: str, text: str) -> Markup:
    """An SVG within a page: no prologue, its own ids, its colours by the page's variables."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', lambda found: f"{found[1]}{name}-", text)
    for color, variable in _VARIABLES.items():
        text = re.sub(re.escape(color), f"var(--{variable})", text, flags=re.IGNORECASE)
    size = re.search(r'width="([\d.]+)pt" height="[\d.]+pt"', text)
    assert size is not None, "matplotlib writes its size in points"
    widest = float(size[1]) * ENLARGED  # points are 4/3 pixels
    wide = f'style="max-width: {widest * 4 / 3:.0f}px" role="img" aria-labelledby="{name}-title"'
    told = Markup('<title id="{}-title">{}</title>').format(name, picture.alt)
    head, _, rest = text.replace(size[0], wide, 1).partition(">")
    return Markup(f"{head}>{told}{rest}")


def _worded(sheet: Sheet) -> list[bool]:
    """Which columns hold words rather than numbers, and stand left."""
    return [any(re.search(r"[^\W\d_]{2}", row[place].text) for row in sheet.body) for place in range(len(sheet.header))]


def _value(cell: Cell) -> Markup:
    """A cell, its interval less loud than its value, the best of its column bold."""
    found = re.fullmatch(r"(\S+) (\[.*\])", cell.text)
    value, interval = (found[1], found[2]) if found else (cell.text, "")
    shown = Markup("<strong>{}</strong>").format(value) if cell.bold else escape(value)
    return shown + Markup(' <span class="interval">{}</span>').format(interval) if interval else shown


def _card(example: Example) -> dict[str, Any]:
    """What a card shows of an example: the address of its thumbnail or None, a text, and what it is called."""
    address, text = None, example.text if isinstance(example.text, str) else ""
    if example.image is not None:
        try:
            address = thumbnail(example.image, THUMBNAIL)  # type: ignore[arg-type]
        except ImageError:
            text = text or example.key
    return {"address": address, "text": text or ("" if address else example.key), "name": example.key}


def _groups(rows: Sequence[QueryFound]) -> list[tuple[str, list[QueryFound]]]:
    """Queries by their group, in order."""
    return [(group, [row for row in rows if row.group == group]) for group in dict.fromkeys(row.group for row in rows)]


def _grid_row(row: QueryFound) -> GridRow:
    """A query as the grid draws it."""
    labels = f"; {', '.join(row.labels)}" if row.labels else ""
    shown, text = _shown(row.query)
    told = f"{row.group}, AP {row.value:.3f}{labels}{f'; {text}' if text else ''}"
    answers = []
    for answer in row.answers:
        pictured, below = _shown(answer.item)
        names = f"; {', '.join(answer.labels)}" if answer.labels else ""
        answers.append(Answer(pictured, answer.right, f"distance {answer.distance}{names}{below and f'; {below}'}"))
    return GridRow(shown, answers, told)


def _shown(example: Example) -> tuple[Shown, str]:
    """What stands on a card, and the text that stands below it where there are both."""
    text = example.text if isinstance(example.text, str) else ""
    if example.image is None:
        return text or example.key, ""
    try:
        return open_image(example.image), text  # type: ignore[arg-type]
    except ImageError:
        return text or example.key, ""

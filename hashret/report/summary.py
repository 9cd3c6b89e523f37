"""The summary: sections of a report as Markdown, its pictures as files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hashret.report.page import file_names
from hashret.report.parts import Folded, Missing, Part, Picture, Queries, Section, Subheading
from hashret.report.sheet import Cell, Sheet

__all__ = ["summary"]


def summary(sections: Sequence[Section], title: str, folder: str) -> str:
    """The Markdown of a report.

    Args:
        sections: In order.
        title: Of the page.
        folder: Where the pictures lie, as seen from the summary.
    """
    names = file_names(sections)
    blocks = [f"# {_plain(title)}"]
    for section in sections:
        blocks.append(f"## {section.title}")
        blocks += [_block(part, names, folder) for part in section.parts]
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def _block(part: Part, names: Mapping[str, str], folder: str) -> str:
    """One part as Markdown."""
    if isinstance(part, Subheading):
        return f"### {_plain(part.text)}"
    if isinstance(part, Missing):
        return f"*Missing here: {_plain(part.text)}*"
    if isinstance(part, Sheet):
        return _table(part)
    if isinstance(part, Picture):
        return f"![{_plain(part.alt)}]({folder}/{names[part.name]}.png)\n\n*{_plain(part.caption)}*"
    if isinstance(part, Queries):
        return f"![{_plain(part.caption)}]({folder}/{names[part.name]}.png)"
    if isinstance(part, Folded):
        return f"**{_plain(part.title)}**\n\n{_folded(part.content)}"
    return _plain(part)


def _folded(content: str | Sheet) -> str:
    """A table, or a text between fences that it does not hold itself."""
    if isinstance(content, Sheet):
        return _table(content)
    fence = "```"
    while fence in content:
        fence += "`"
    return f"{fence}yaml\n{content.rstrip()}\n{fence}"


def _table(sheet: Sheet) -> str:
    """A table in whose cells nothing is a tag, a link or code; brackets of intervals stay as they are."""

    def plain(text: str) -> str:
        return text.replace("\\", "\\\\").replace("<", "\\<").replace("`", "\\`").replace("](", "]\\(")

    body = tuple(tuple(Cell(plain(cell.text), cell.bold) for cell in row) for row in sheet.body)
    header, caption = tuple(map(plain, sheet.header)), tuple(map(plain, sheet.caption))
    return Sheet(header, body, plain(sheet.title), caption).markdown()


def _plain(text: str) -> str:
    """A text in which nothing is markup."""
    line = " ".join(text.split())
    for character in "\\`*_[]<>|":
        line = line.replace(character, "\\" + character)
    return line

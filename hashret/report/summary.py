"""The summary: sections of a report as Markdown, its pictures as files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hashret.report.page import file_names
from hashret.report.parts import Folded, Missing, Part, Picture, Queries, Section, Subheading
from hashret.report.sheet import Sheet

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
        return part.markdown()
    if isinstance(part, Picture):
        return f"![{_plain(part.alt)}]({folder}/{names[part.name]}.png)\n\n*{_plain(part.caption)}*"
    if isinstance(part, Queries):
        return f"![{_plain(part.caption)}]({folder}/{names[part.name]}.png)"
    if isinstance(part, Folded):
        held = part.content.markdown() if isinstance(part.content, Sheet) else f"```yaml\n{part.content.rstrip()}\n```"
        return f"**{_plain(part.title)}**\n\n{held}"
    return _plain(part)


def _plain(text: str) -> str:
    """A text in which nothing is markup."""
    line = " ".join(text.split())
    for character in "\\`*_[]<>|":
        line = line.replace(character, "\\" + character)
    return line

r"""Sheets: cells under a header, drawn for a terminal, a document, a paper or a spreadsheet.

One sheet, four ways to draw it, so that a number cannot differ between them. A sheet knows neither metrics nor methods;
title and caption carry the rules its numbers were made by, and every form but CSV shows them.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from hashret.errors import InputError

__all__ = ["Cell", "Sheet", "to_csv"]

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "→": r"$\rightarrow$", "\n": " ",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A text of a sheet, and whether it stands out."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Sheet:
    r"""A table: the first column names its rows and stands left, all others stand right.

    Attributes:
        header: Names of the columns.
        body: Rows of as many cells.
        title: A line above, or nothing.
        caption: Lines below.

    Raises:
        InputError: A row with another number of cells than the header.

    Example:
        >>> sheet = Sheet(("method", "i2t"), ((Cell("50% of R&D"), Cell("0.71", bold=True)),), "map, 64 bits")
        >>> print(sheet.latex(), end="")
        \begin{table}
        \caption{map, 64 bits}
        \begin{tabular}{lr}
        \hline
        method & i2t \\
        \hline
        50\% of R\&D & \textbf{0.71} \\
        \hline
        \end{tabular}
        \end{table}
    """

    header: tuple[str, ...]
    body: tuple[tuple[Cell, ...], ...]
    title: str = ""
    caption: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that every row fills the columns."""
        for row in self.body:
            if len(row) != len(self.header):
                raise InputError(
                    "sheet", expected=f"{len(self.header)} cells a row", got=str(len(row)),
                    remedy="Give every row a cell for every column.",
                )  # fmt: skip

    def terminal(self) -> Group:
        """What ``rich.console.Console().print`` prints; texts are not read as markup."""
        table = Table(box=box.SIMPLE_HEAD)
        for place, name in enumerate(self.header):
            table.add_column(Text(name), justify="right" if place else "left", no_wrap=True)
        for row in self.body:
            table.add_row(*(Text(cell.text, style="bold" if cell.bold else "") for cell in row))
        # Title and caption stand around the table: rich would wrap its own to the width of the columns.
        above = [Text(self.title, style="bold")] if self.title else []
        return Group(*above, table, *(Text(line, style="dim") for line in self.caption))

    def markdown(self) -> str:
        """A Markdown table whose source is readable too, its title and caption as paragraphs around it."""
        marked = [[f"**{cell.text}**" if cell.bold else cell.text for cell in row] for row in self.body]
        lines = [[text.replace("|", "\\|").replace("\n", " ") for text in line] for line in [self.header, *marked]]
        widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(self.header))]
        rule = f"|:{'-' * (widths[0] + 1)}|" + "".join(f"{'-' * (width + 1)}:|" for width in widths[1:])
        texts = []
        for first, *others in lines:
            cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
            texts.append(f"| {' | '.join(cells)} |")
        above = [f"{self.title}\n"] if self.title else []
        below = ["", *"\n\n".join(self.caption).splitlines()] if self.caption else []
        return "\n".join([*above, texts[0], rule, *texts[1:], *below]) + "\n"

    def latex(self) -> str:
        """A plain ``tabular`` that needs no package, in a ``table`` with a caption where there is something to say."""
        body = [" & ".join(_bold(cell) for cell in row) + r" \\" for row in self.body]
        heading = " & ".join(_escaped(name) for name in self.header) + r" \\"
        tabular = [
            rf"\begin{{tabular}}{{l{'r' * (len(self.header) - 1)}}}",
            r"\hline", heading, r"\hline", *body, r"\hline", r"\end{tabular}",
        ]  # fmt: skip
        said = ". ".join(_escaped(line).rstrip(".") for line in (self.title, *self.caption) if line)
        if said:
            tabular = [r"\begin{table}", rf"\caption{{{said}}}", *tabular, r"\end{table}"]
        return "\n".join(tabular) + "\n"


def to_csv(header: Sequence[str], records: Sequence[Sequence[object]]) -> str:
    """Records as comma-separated values (RFC 4180, lines end with a newline only).

    Args:
        header: Names of the columns.
        records: Rows of texts and numbers; numbers are written in full, NaN and None as nothing.

    Returns:
        The text, header first.

    Raises:
        InputError: A record with another number of values than the header.

    Example:
        >>> print(to_csv(["row", "map"], [["CCA, tuned", 0.1], ["none", None]]), end="")
        row,map
        "CCA, tuned",0.1
        none,
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for record in records:
        if len(record) != len(header):
            raise InputError(
                "record", expected=f"{len(header)} values", got=str(len(record)), remedy="Give a value a column."
            )
        writer.writerow([None if isinstance(value, float) and math.isnan(value) else value for value in record])
    return stream.getvalue()


def _bold(cell: Cell) -> str:
    return rf"\textbf{{{_escaped(cell.text)}}}" if cell.bold else _escaped(cell.text)


def _escaped(text: str) -> str:
    """Every character that means something to LaTeX, by what prints it; a minus before a number as a minus."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", "".join(_LATEX.get(character, character) for character in text))

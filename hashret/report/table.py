"""Tables of results: one row a method, one column a task, the best of each column in bold.

The same numbers for a terminal (rich) and for a document (Markdown). Higher is better; what the numbers are, how ties
were counted and how many queries were asked belongs into title and caption, which the caller writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from hashret.errors import InputError

__all__ = ["results_table", "to_markdown"]

Rows = Mapping[str, Mapping[str, float]]

_NOTHING = "-"


def results_table(title: str, columns: Sequence[str], rows: Rows, caption: str = "") -> Group:
    """Lay results out for a terminal.

    Args:
        title: What is measured, at how many bits, with which ties.
        columns: Names of the tasks, in the order they are printed.
        rows: Method -> task -> score; a score that is missing or NaN prints as a dash.
        caption: What a reader must know: sizes, the dataset and its protocol.

    Returns:
        What ``rich.console.Console().print`` prints.

    Raises:
        InputError: No rows, no columns, or a row has a task that no column names.

    Example:
        >>> import io
        >>> from rich.console import Console
        >>> console = Console(width=60, record=True, file=io.StringIO())
        >>> console.print(results_table("mAP@all", ["i2t"], {"crcgs": {"i2t": 0.71234}, "random": {"i2t": 0.27}}))
        >>> [line.split() for line in console.export_text().splitlines() if "0." in line]
        [['crcgs', '0.7123'], ['random', '0.2700']]
    """
    best = _best(columns, rows)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(Text(column), justify="right", no_wrap=True)
    for name, scores in rows.items():
        cells = [Text(_number(scores, c), style="bold" if (name, c) in best else "") for c in columns]
        table.add_row(Text(name), *cells)
    # Title and caption stand around the table: rich would wrap its own to the width of the columns.
    lines = ([Text(title, style="bold")] if title else []), ([Text(caption, style="dim")] if caption else [])
    return Group(*lines[0], table, *lines[1])


def to_markdown(columns: Sequence[str], rows: Rows) -> str:
    """Lay results out as a Markdown table whose source is readable too.

    Args:
        columns: Names of the tasks, in the order they are printed.
        rows: Method -> task -> score; a score that is missing or NaN prints as a dash.

    Returns:
        Lines that end with a newline.

    Raises:
        InputError: No rows, no columns, or a row has a task that no column names.

    Example:
        >>> print(to_markdown(["i2t", "t2i"], {"crcgs": {"i2t": 0.71, "t2i": 0.69}, "random": {"i2t": 0.27}}), end="")
        | method |        i2t |    t2i |
        |:-------|-----------:|-------:|
        | crcgs  | **0.7100** | 0.6900 |
        | random |     0.2700 |      - |
    """
    best = _best(columns, rows)
    body = []
    for name, scores in rows.items():
        numbers = [_number(scores, c) for c in columns]
        body.append([name, *(f"**{n}**" if (name, c) in best else n for n, c in zip(numbers, columns, strict=True))])
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in [["method", *columns], *body]]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(columns) + 1)]
    rule = f"|:{'-' * (widths[0] + 1)}|" + "".join(f"{'-' * (width + 1)}:|" for width in widths[1:])
    texts = []
    for first, *others in lines:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
        texts.append(f"| {' | '.join(cells)} |")
    return "\n".join([texts[0], rule, *texts[1:]]) + "\n"


def _number(scores: Mapping[str, float], column: str) -> str:
    score = scores.get(column, math.nan)
    return _NOTHING if math.isnan(score) else f"{score:.4f}"


def _best(columns: Sequence[str], rows: Rows) -> set[tuple[str, str]]:
    """Check the table; the cells (row, column) that print as the largest of a column with at least two numbers."""
    if not rows or not columns:
        raise InputError(
            "table", expected="at least one row and one column", got=f"{len(rows)} rows, {len(columns)} columns",
            remedy="Give the scores of one method on one task at least.",
        )  # fmt: skip
    for name, scores in rows.items():
        unknown = sorted(set(scores) - set(columns))
        if unknown:
            raise InputError(
                f"row {name}", expected=f"tasks among {', '.join(columns)}", got=", ".join(unknown),
                remedy="Name the task among the columns, or leave it out of the row.",
            )  # fmt: skip
    best = set()
    for column in columns:
        printed = {name: _number(scores, column) for name, scores in rows.items()}
        numbers = {name: float(text) for name, text in printed.items() if text != _NOTHING}
        if len(numbers) > 1:
            best |= {(name, column) for name, value in numbers.items() if value == max(numbers.values())}
    return best

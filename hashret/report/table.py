"""Tables of results: one row a method, one column a task, the best of each column in bold.

The same numbers for a terminal (rich), for a document (Markdown) and for a paper (LaTeX). What the numbers are, how
ties were counted and how many queries were asked belongs into title and caption, which the caller writes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from rich.console import Group

from hashret.errors import InputError
from hashret.report.sheet import Cell, Sheet

__all__ = ["results_sheet", "results_table", "to_latex", "to_markdown"]

Rows = Mapping[str, Mapping[str, float]]
Intervals = Mapping[str, Mapping[str, tuple[float, float]]]

_NOTHING = "-"


def results_sheet(
    columns: Sequence[str],
    rows: Rows,
    *,
    title: str = "",
    caption: Sequence[str] = (),
    intervals: Intervals | None = None,
    lowest: Collection[str] = (),
    corner: str = "method",
) -> Sheet:
    """Lay results out.

    Args:
        columns: Names of the tasks, in the order they are printed.
        rows: Method -> task -> score; a score that is missing or NaN prints as a dash.
        title: What is measured, at how many bits, with which ties.
        caption: Lines a reader must know: sizes, the dataset and its protocol.
        intervals: Method -> task -> (low, high), printed behind the score.
        lowest: Columns whose smallest number is the best, as of ranks.
        corner: Name of the first column.

    Returns:
        A sheet that draws itself for a terminal, Markdown or LaTeX.

    Raises:
        InputError: No rows, no columns, or a row has a task that no column names.

    Example:
        >>> rows, ends = {"crcgs": {"i2t": 0.71234}}, {"crcgs": {"i2t": (0.7, 0.72)}}
        >>> print(results_sheet(["i2t"], rows, intervals=ends).markdown(), end="")
        | method |                     i2t |
        |:-------|------------------------:|
        | crcgs  | 0.7123 [0.7000, 0.7200] |
    """
    best = _best(columns, rows, lowest)
    body = []
    for name, scores in rows.items():
        ends = (intervals or {}).get(name, {})
        numbers = (_number(scores.get(c, math.nan)) + _interval(ends.get(c)) for c in columns)
        cells = (Cell(text, (name, c) in best) for text, c in zip(numbers, columns, strict=True))
        body.append((Cell(name), *cells))
    return Sheet((corner, *columns), tuple(body), title, tuple(caption))


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
    return results_sheet(columns, rows, title=title, caption=[caption] if caption else [], corner="").terminal()


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
    return results_sheet(columns, rows).markdown()


def to_latex(columns: Sequence[str], rows: Rows) -> str:
    r"""Lay results out as a LaTeX ``tabular`` that needs no package.

    Args:
        columns: Names of the tasks, in the order they are printed.
        rows: Method -> task -> score; a score that is missing or NaN prints as a dash.

    Returns:
        Lines that end with a newline.

    Raises:
        InputError: No rows, no columns, or a row has a task that no column names.

    Example:
        >>> print(to_latex(["i2t"], {"sign_of_CCA": {"i2t": 0.71}}), end="")
        \begin{tabular}{lr}
        \hline
        method & i2t \\
        \hline
        sign\_of\_CCA & 0.7100 \\
        \hline
        \end{tabular}
    """
    return results_sheet(columns, rows).latex()


def _number(score: float) -> str:
    return _NOTHING if math.isnan(score) else f"{score:.4f}"


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None or math.isnan(ends[0]) else f" [{ends[0]:.4f}, {ends[1]:.4f}]"


def _best(columns: Sequence[str], rows: Rows, lowest: Collection[str]) -> set[tuple[str, str]]:
    """Check the table; the cells (row, column) that print as the best of a column with at least two numbers."""
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
        printed = {name: _number(scores.get(column, math.nan)) for name, scores in rows.items()}
        numbers = {name: float(text) for name, text in printed.items() if text != _NOTHING}
        if len(numbers) > 1:
            foremost = min(numbers.values()) if column in lowest else max(numbers.values())
            best |= {(name, column) for name, value in numbers.items() if value == foremost}
    return best

"""Markup: values as small pieces of HTML, as a notebook shows them and a report prints them.

Whatever comes from a dataset is escaped here, in one place; what is already HTML says so by its type. The style is
bound to one class and takes ink and ground from the page around it, so that it fits light and dark notebooks alike.
Nothing here knows what is shown.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

__all__ = ["Html", "escaped", "framed", "table"]

_STYLE = (
    ".hashret-view{font:13px/1.45 system-ui,sans-serif;overflow-x:auto}"
    ".hashret-view table{border-collapse:collapse;margin:.3em 0}"
    ".hashret-view caption{caption-side:bottom;text-align:left;opacity:.72;padding-top:.4em}"
    ".hashret-view th,.hashret-view td{padding:.25em .7em;text-align:right;vertical-align:top;border:0;"
    "background:none;font-variant-numeric:tabular-nums}"
    ".hashret-view th:first-child{text-align:left}"
    ".hashret-view thead th{border-bottom:1px solid currentColor}"
    ".hashret-view svg,.hashret-view img{display:block;max-width:none}"
    ".hashret-view .card{width:116px;text-align:left;white-space:normal;overflow-wrap:anywhere;font-size:12px}"
    ".hashret-view .note{opacity:.72;font-size:11px}"
)


class Html(str):
    """A text that is HTML already, and is not escaped again."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """A text as HTML; one that is HTML already stays as it is.

    Example:
        >>> escaped("a < b"), escaped(Html("<b>b</b>"))
        ('a &lt; b', '<b>b</b>')
    """
    return text if isinstance(text, Html) else Html(html.escape(text))


def table(header: Sequence[str], body: Sequence[Sequence[str]], caption: str = "") -> Html:
    """A table whose first column names its rows.

    Args:
        header: Names of the columns.
        body: Rows of as many texts; an :class:`Html` is taken as it is.
        caption: A line below; empty for none.

    Example:
        >>> table(["metric", "value"], [["map", "0.5"]]).count("<th scope=")
        3
    """
    heads = "".join(f'<th scope="col">{escaped(name)}</th>' for name in header)
    rows = (
        f'<tr><th scope="row">{escaped(row[0])}</th>{"".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])}</tr>'
        for row in body
    )
    told = f"<caption>{escaped(caption)}</caption>" if caption else ""
    return Html(f"<table>{told}<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def framed(*parts: Html) -> str:
    """Pieces of HTML under the style above: what ``_repr_html_`` returns."""
    return f'<div class="hashret-view"><style>{_STYLE}</style>{"".join(parts)}</div>'

"""What a person looks at: tables and pictures, from plain data. Nothing here measures, ranks or encodes.

Names are loaded when they are first used, so that printing a table does not load matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashret.report.curves import precision_recall_curves, training_curves
    from hashret.report.grid import Answer, GridRow, retrieval_grid
    from hashret.report.sheet import Cell, Sheet, to_csv
    from hashret.report.table import results_sheet, results_table, to_latex, to_markdown

__all__ = [
    "Answer",
    "Cell",
    "GridRow",
    "Sheet",
    "precision_recall_curves",
    "results_sheet",
    "results_table",
    "retrieval_grid",
    "to_csv",
    "to_latex",
    "to_markdown",
    "training_curves",
]

_FILES = {
    "Answer": "grid",
    "Cell": "sheet",
    "GridRow": "grid",
    "Sheet": "sheet",
    "precision_recall_curves": "curves",
    "results_sheet": "table",
    "results_table": "table",
    "retrieval_grid": "grid",
    "to_csv": "sheet",
    "to_latex": "table",
    "to_markdown": "table",
    "training_curves": "curves",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the file it lives in."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)

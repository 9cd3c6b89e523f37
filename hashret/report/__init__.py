"""What a person looks at: tables and pictures, from plain data. Nothing here measures, ranks or encodes.

Names are loaded when they are first used, so that printing a table does not load matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashret.report.curves import precision_recall_curves, training_curves
    from hashret.report.grid import Answer, GridRow, retrieval_grid
    from hashret.report.kept import Kept, read_kept
    from hashret.report.parts import Examined
    from hashret.report.sheet import Cell, Sheet, to_csv
    from hashret.report.table import results_sheet, results_table, to_latex, to_markdown
    from hashret.report.writing import write_report

__all__ = [
    "Answer",
    "Cell",
    "Examined",
    "GridRow",
    "Kept",
    "Sheet",
    "precision_recall_curves",
    "read_kept",
    "results_sheet",
    "results_table",
    "retrieval_grid",
    "to_csv",
    "to_latex",
    "to_markdown",
    "training_curves",
    "write_report",
]

_FILES = {
    "Answer": "grid",
    "Cell": "sheet",
    "Examined": "parts",
    "GridRow": "grid",
    "Kept": "kept",
    "Sheet": "sheet",
    "precision_recall_curves": "curves",
    "read_kept": "kept",
    "results_sheet": "table",
    "results_table": "table",
    "retrieval_grid": "grid",
    "to_csv": "sheet",
    "to_latex": "table",
    "to_markdown": "table",
    "training_curves": "curves",
    "write_report": "writing",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the file it lives in."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)

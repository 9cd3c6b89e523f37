"""Published figures: what papers and their code report, to stand beside results of the same protocol and metric.

``published.yaml`` holds them; this file reads it, refuses what does not fit together, and answers one question: which
rows may be printed beneath a result. It compares nothing and converts nothing: a row of another split, edition or
metric is not found rather than shown with a warning.

    python benchmarks/published.py                          # every table: dataset, protocol, metric, rows
    python benchmarks/published.py mirflickr25k mith map    # one, with its sources and doubts
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hashret.errors import FormatError
from hashret.evaluation import parse_metrics

__all__ = [
    "PATH",
    "RECALLS",
    "Published",
    "PublishedRow",
    "Source",
    "Table",
    "metrics_of",
    "read",
    "rows_for",
    "variants_of",
]

PATH = Path(__file__).with_name("published.yaml")
_ABOUT = ("method", "source", "bits", "inputs", "database", "doubt")

_DATABASES = "encoded|fused|learned|embeddings|not stated"

RECALLS = "hit@K"
"""The metric of a table of recalls in percent, whose columns are the K."""

Values = Mapping[str, Mapping[int, Decimal]]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Part):
    """Who published figures, and what a reader must know of them.

    Attributes:
        citation: Paper or page.
        read: Where the figures were read.
        inputs: What the methods read.
        database: Whose codes are searched: "encoded", "fused", "learned", "embeddings" or "not stated".
        doubt: What speaks against taking them at their word; empty where nothing is known.
    """

    citation: str = Field(min_length=1)
    read: str = Field(min_length=1)
    inputs: str = Field(min_length=1)
    database: str = Field(pattern=f"^({_DATABASES})$")
    doubt: str = ""


class Row(_Part):
    """A line of a table; its figures stand in the order of the table's columns, None for one that is not printed."""

    method: str = Field(min_length=1)
    source: str | None = None
    bits: int | None = Field(None, ge=1)
    inputs: str | None = None
    database: str | None = Field(None, pattern=f"^({_DATABASES})$")
    doubt: str = ""
    figures: dict[str, list[Decimal | None]]

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:
        """What is not about the row is a task with its figures, which are texts still: "null" is none."""
        if not isinstance(given, Mapping):
            return given
        about = {key: value for key, value in given.items() if key in _ABOUT}
        tasks = {key: value for key, value in given.items() if key not in _ABOUT}
        return {**about, "figures": {task: [None if f == "null" else f for f in tasks[task]] for task in tasks}}


class Table(_Part):
    """Figures of one dataset, protocol and metric.

    Attributes:
        dataset: A key of DATASETS.
        protocol: A name on its card.
        variant: The edition or part of it that was measured; "" for the dataset as such.
        metric: As :mod:`hashret.evaluation.metrics` names it, or the form ``hit@K``.
        columns: For each task what its figures belong to: bits (0 for real-valued vectors), or for ``hit@K`` the K.
        source: A key of the sources; a row may name another.
        doubt: Of the table as a whole.
        rows: Its lines.
    """

    dataset: str
    protocol: str
    variant: str = ""
    metric: str
    columns: dict[str, list[int]]
    source: str
    doubt: str = ""
    rows: list[Row] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Table:
        """A metric that exists, as many figures as columns, and none that cannot be."""
        if self.metric != RECALLS:
            parse_metrics([self.metric])
        highest = 100 if self.metric == RECALLS else 1
        for row in self.rows:
            if not row.figures:
                raise ValueError(f"{row.method}: no figures")
            for task, figures in row.figures.items():
                if len(figures) != len(self.columns.get(task, ())):
                    raise ValueError(f"{row.method}, {task}: {len(figures)} figures for {self.columns.get(task)}")
                if any(figure is not None and not 0 <= figure <= highest for figure in figures):
                    raise ValueError(f"{row.method}, {task}: a figure outside of 0 ... {highest}")
        return self


class LeftOut(_Part):
    """Figures that were found and stand under no protocol named here."""

    what: str
    why: str


class Published(_Part):
    """The whole file."""

    sources: dict[str, Source]
    tables: list[Table]
    left_out: list[LeftOut]

    @model_validator(mode="after")
    def _check(self) -> Published:
        """Every source that is named is there, and every one that is there is named."""
        named = {name for table in self.tables for name in (table.source, *(row.source for row in table.rows)) if name}
        if named != set(self.sources):
            raise ValueError(f"sources named and not there, or there and not named: {named ^ set(self.sources)}")
        return self


@dataclass(frozen=True)
class PublishedRow:
    """A line that may be printed beneath a result.

    Attributes:
        method: Its name, as its paper writes it.
        bits: Width of its codes where the columns are not widths; None for embeddings.
        values: Task -> bits or K -> figure with as many digits as were printed; what was not printed is absent.
        source: Who published it and what speaks against all of theirs, with the row's own inputs and database.
        doubts: What speaks against this row, or its table.
    """

    method: str
    bits: int | None
    values: Values
    source: Source
    doubts: tuple[str, ...]

    @property
    def figures(self) -> dict[tuple[str, int], Decimal]:
        """The values by (task, bits or K)."""
        return {(task, at): value for task, part in self.values.items() for at, value in part.items()}


@cache
def read(path: Path = PATH) -> Published:
    """Read and check the file.

    Raises:
        FormatError: It is no YAML, or something in it does not fit; all of it, a line each.
    """
    try:
        # As texts, so that .810 keeps its last digit.
        return Published.model_validate(yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader))
    except yaml.YAMLError as error:
        got = f"no YAML: {error}"
    except ValidationError as error:
        got = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    raise FormatError(str(path), expected="sources, tables and left_out", got=got, remedy="Correct it.")


def rows_for(
    dataset: str, protocol: str, metric: str, variant: str = "", path: Path = PATH
) -> tuple[PublishedRow, ...]:
    """What was published of a dataset, by a protocol, in a metric.

    Args:
        dataset: A key of DATASETS.
        protocol: A name on its card.
        metric: As the tables name it; ``hit@K`` for all recalls at once.
        variant: The edition or part that was measured; "" for the dataset as such.
        path: The file.

    Returns:
        Rows in the order of the file; none where nothing is known.
    """
    published = read(path)
    wanted = (dataset, protocol, metric, variant)
    return tuple(
        _row(published, table, row)
        for table in published.tables
        if (table.dataset, table.protocol, table.metric, table.variant) == wanted
        for row in table.rows
    )


def metrics_of(dataset: str, protocol: str, path: Path = PATH) -> tuple[str, ...]:
    """Every metric something was published in, in the order of the file.

    Example:
        >>> metrics_of("mirflickr25k", "dchmt")
        ('map', 'map@5000:relevant')
    """
    tables = (t for t in read(path).tables if (t.dataset, t.protocol) == (dataset, protocol))
    return tuple(dict.fromkeys(table.metric for table in tables))


def variants_of(dataset: str, protocol: str, metric: str, path: Path = PATH) -> tuple[str, ...]:
    """Every edition or part of a dataset that something was published of.

    Example:
        >>> variants_of("coco", "karpathy", "hit@K")
        ('5K', '1K')
    """
    wanted = (dataset, protocol, metric)
    tables = (t for t in read(path).tables if (t.dataset, t.protocol, t.metric) == wanted)
    return tuple(dict.fromkeys(table.variant for table in tables))


def _row(published: Published, table: Table, row: Row) -> PublishedRow:
    source = published.sources[row.source or table.source]
    own = {"inputs": row.inputs, "database": row.database}
    values = {
        task: {column: value for column, value in zip(table.columns[task], figures, strict=True) if value is not None}
        for task, figures in row.figures.items()
    }
    doubts = tuple(doubt for doubt in (table.doubt, row.doubt) if doubt)
    source = source.model_copy(update={key: value for key, value in own.items() if value})
    return PublishedRow(row.method, row.bits, values, source, doubts)


def main() -> None:
    """List the tables, or print one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("dataset", "protocol", "metric", "variant"):
        parser.add_argument(name, nargs="?", default="")
    asked = parser.parse_args()
    if not asked.metric:
        for table in read().tables:
            name = f"{table.dataset} {table.protocol} {table.metric} {table.variant}".strip()
            print(f"{name:45} {len(table.rows):3} rows, {read().sources[table.source].citation}")
        return
    for row in rows_for(asked.dataset, asked.protocol, asked.metric, asked.variant):
        shown = (
            f"{task} {', '.join(f'{at}: {value}' for at, value in part.items())}" for task, part in row.values.items()
        )
        print(f"{row.method}{f', {row.bits} bits' if row.bits else ''}: {'; '.join(shown)}")
        print(
            f"    {row.source.citation}; doubts: {'; '.join(filter(None, (row.source.doubt, *row.doubts))) or 'none'}"
        )


if __name__ == "__main__":
    main()

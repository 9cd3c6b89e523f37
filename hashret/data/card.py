"""Card: what a reader must know of a dataset before a figure on it means anything.

What it is, whose it is, where its official files come from, how they lie on disk, and the protocols of the field by
name, each with its sizes, its metric and the place that defines it. A card says nothing about a particular copy of the
files; that is a :class:`~hashret.data.survey.Survey`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from hashret.errors import DataFileError, InputError

__all__ = ["Card", "Protocol"]


@dataclass(frozen=True)
class Protocol:
    """A named way to split a dataset, judge answers and measure, as papers share it.

    Attributes:
        name: As in a recipe's ``data.protocol``.
        what: A sentence: what is asked of what, and what is right.
        source: The paper or code that defines it.
        sizes: Official numbers by part, such as ``{"items": 20015, "queries": 2000}``; empty where there are none.
        metrics: What its published rows report, as :func:`hashret.evaluation.evaluate` takes them.
    """

    name: str
    what: str
    source: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("map",)


@dataclass(frozen=True)
class Card:
    """What a dataset is.

    Attributes:
        name: Its key in DATASETS.
        title: As papers write it.
        what: A sentence or two.
        licence: Of images and annotations, and what it allows.
        source: Where the official files come from.
        tree: The folder ``load`` expects, drawn, a line an entry.
        protocols: The default first.
        classes: Names of the labels in column order, where they are fixed.
    """

    name: str
    title: str
    what: str
    licence: str
    source: str
    tree: str
    protocols: tuple[Protocol, ...]
    classes: tuple[str, ...] = ()

    def protocol(self, name: str) -> Protocol:
        """The protocol of that name.

        Raises:
            InputError: There is none.
        """
        for protocol in self.protocols:
            if protocol.name == name:
                return protocol
        known = ", ".join(protocol.name for protocol in self.protocols)
        raise InputError(
            f"protocol of {self.name}", expected=f"one of {known}", got=repr(name), remedy="Name one of these."
        )

    def missing(self, path: str | os.PathLike[str], what: str) -> DataFileError:
        """The error for a file or folder that is not there."""
        return DataFileError(f"{self.title}, {os.fspath(path)}", expected=what, got="nothing", remedy=self._remedy())

    def damaged(self, path: str | os.PathLike[str], expected: str, got: str) -> DataFileError:
        """The error for a file that is there and is not what it should be."""
        return DataFileError(f"{self.title}, {os.fspath(path)}", expected=expected, got=got, remedy=self._remedy())

    def _remedy(self) -> str:
        return f"Get it from {self.source} `hashret data check {self.name} ROOT` lists all that is wrong."

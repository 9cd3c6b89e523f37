"""The hashers of the tables: which settings are tried of each, and how one is fitted and asked for codes.

It gives codes of either side, fused codes of both and learned ones, of inputs standardised or not. The settings are few
and written in one table, as many for each hasher as a person would try of a method; none was looked at on a test split.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shallow_inputs import Asked, Inputs, Rows, Side

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.floors import fused_codes
from hashret.hashers import HASHERS, SePH
from hashret.hashers.streaming import make_hasher
from hashret.pipeline.evaluate import Database

__all__ = ["GRIDS", "TUNED_BITS", "Setting", "Workshop", "check_hashers", "has_seed", "learns_codes", "most_bits"]

Matrix = NDArray[Any]
Setting = Mapping[str, Any]

GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "cca_sign": {"standardize": (False, True), "regularization": (0.1, 1.0, 10.0), "power": (1.0, 4.0)},
    "cca_itq": {"standardize": (False, True), "regularization": (0.1, 1.0, 10.0), "power": (0.0, 1.0)},
    "scm": {"standardize": (False, True), "regularization": (1e-3, 1e-2, 1e-1, 1.0)},
    "seph": {"standardize": (False, True), "penalty": (1e-6, 1e-5, 1e-4, 1e-3)},
}
"""What is tried of each hasher. ``standardize`` divides each column by its deviation over the training rows."""

TUNED_BITS = 32
"""Settings are chosen at this width, or at the widest there is, and hold for all."""

_TUNED_ITEMS = 1000  # SePH learns codes of so many items while settings are tried: its cost is their square
_ONE_ROW_AN_ITEM = ("seph",)


def check_hashers(names: Sequence[str]) -> None:
    """Refuse what cannot be a row of a cross-modal table.

    Raises:
        InputError: No such hasher, or one of one modality, whose codes of images and of texts cannot be compared.
    """
    for name in names:
        if name not in GRIDS:
            single = name in HASHERS
            raise InputError(
                "--hashers", expected=f"hashers of two modalities, of {', '.join(GRIDS)}",
                got=f"{name}, which knows one" if single else repr(name),
                remedy="Its codes of images and of texts cannot be compared: leave it out."
                if single else "Name others.",
            )  # fmt: skip


def has_seed(name: str) -> bool:
    """Whether anything is drawn; what is not has no deviation over seeds."""
    return "seed" in inspect.signature(HASHERS[name]).parameters


def learns_codes(name: str) -> bool:
    """Whether fitting leaves a code for each training pair."""
    return "training_codes_" in HASHERS[name].learned


def most_bits(name: str, inputs: Inputs) -> int | None:
    """The widest code; None for any: a bit of CCA takes a canonical direction of the narrower side."""
    widths = (inputs.pairs.images.shape[1], inputs.pairs.texts.shape[1])
    return min(widths) if name.startswith("cca_") else None


@dataclass(frozen=True, eq=False)
class _Scale:
    """Subtracts and divides columns; one that never varies is left at 0."""

    mean: Matrix
    deviation: Matrix

    @classmethod
    def of(cls, rows: Matrix, standardize: bool) -> _Scale:
        width = rows.shape[1]
        if not standardize:
            return cls(np.zeros(width), np.ones(width))
        deviation = rows.std(0, dtype=np.float64)
        return cls(rows.mean(0, dtype=np.float64), np.where(deviation > 0, deviation, 1))

    def __call__(self, rows: Matrix) -> Matrix:
        return np.asarray((rows - self.mean) / self.deviation, np.float32)


@dataclass(frozen=True, eq=False)
class _Fitted:
    hasher: Any
    scales: Mapping[Side, _Scale]

    def encode(self, rows: Matrix, side: Side) -> Codes:
        codes: Codes = self.hasher.transform(self.scales[side](rows), side=side)
        return codes

    def fuse(self, held: Mapping[Side, Matrix]) -> Codes:
        """Codes of both sides of items: of SePH by the product of their probabilities, else by summed projections."""
        images, texts = (self.scales[side](held[side]) for side in ("image", "text"))
        if isinstance(self.hasher, SePH):
            return self.hasher.transform_pairs(images, texts)
        return fused_codes(self.hasher, images, texts)


class Workshop:
    """Fits one hasher at one width, each setting and training set once.

    Args:
        name: A key of GRIDS.
        bits: Width of a code.
        seed: Of the hasher, if anything is drawn.
        inputs: What it is fitted on.
        tuning: Whether settings are tried, and SePH may do with fewer items.
    """

    def __init__(self, name: str, bits: int, seed: int, inputs: Inputs, *, tuning: bool = False) -> None:
        """Start with nothing fitted."""
        self.name, self.inputs = name, inputs
        self.fixed: dict[str, Any] = {"bits": bits, **({"seed": seed} if has_seed(name) else {})}
        if tuning and name == "seph":
            self.fixed["items"] = _TUNED_ITEMS
        self._done: dict[str, _Fitted] = {}

    @staticmethod
    def settings(name: str) -> list[dict[str, Any]]:
        """Everything that is tried of a hasher, in a fixed order.

        Example:
            >>> len(Workshop.settings("scm")), Workshop.settings("scm")[0]
            (8, {'standardize': False, 'regularization': 0.001})
        """
        return [dict(zip(GRIDS[name], values, strict=True)) for values in product(*GRIDS[name].values())]

    @property
    def fitted_on(self) -> str:
        """What the training rows of encoded and fused codes are."""
        inputs, name = self.inputs, self.name
        rows = inputs.items if name in _ONE_ROW_AN_ITEM else inputs.pairs
        left = "" if "labels" not in HASHERS[name].inputs else f", {len(rows.labelled().images):,} of them with a label"
        kind = "one pair an item, its first" if name in _ONE_ROW_AN_ITEM else "all training pairs"
        return f"{kind} ({len(rows.images):,}{left})"

    def codes(self, asked: Asked, database: Database, setting: Setting) -> tuple[Codes, Codes]:
        """Codes of a task's queries and of its database.

        Args:
            asked: The task.
            database: "encoded" and "fused" are fitted on the training pairs; "learned" on the labelled items of the
                database, whose codes are then those that were learned, and of the items without a label fused ones.
            setting: One of :meth:`settings`.
        """
        if database == "learned":
            rows = asked.rows()
            fitted = self._fit(rows, setting)
            codes, labelled = fitted.fuse(asked.held), np.asarray(rows.labels).any(1)
            packed = codes.packed.copy()
            packed[labelled] = fitted.hasher.training_codes_.packed
            return fitted.encode(asked.queries, asked.side), Codes(packed, codes.bits)
        fitted = self._fit(self.inputs.items if self.name in _ONE_ROW_AN_ITEM else self.inputs.pairs, setting)
        if database == "fused":
            asked.task.pairs()
            return fitted.encode(asked.queries, asked.side), fitted.fuse(asked.held)
        side: Side = "text" if asked.task.gallery[0].image is None else "image"
        return fitted.encode(asked.queries, asked.side), fitted.encode(asked.held[side], side)

    def _fit(self, rows: Rows, setting: Setting) -> _Fitted:
        supervised = "labels" in HASHERS[self.name].inputs
        rows = rows.labelled() if supervised else rows
        digest = hashlib.blake2b(repr(sorted(setting.items())).encode())
        for part in (rows.images, rows.texts, rows.labels):
            digest.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
        key = digest.hexdigest()
        if key not in self._done:
            standardize = setting["standardize"]
            scales = {"image": _Scale.of(rows.images, standardize), "text": _Scale.of(rows.texts, standardize)}
            options = {name: value for name, value in setting.items() if name != "standardize"}
            hasher = make_hasher(HASHERS, self.name, {**self.fixed, **options})
            given = [scales["image"](rows.images), scales["text"](rows.texts), *([rows.labels] if supervised else [])]
            self._done[key] = _Fitted(hasher.fit(*given), scales)
        return self._done[key]

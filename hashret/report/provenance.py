"""Sections of how runs came about: their training, and what they were made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from hashret.report.curves import training_figure
from hashret.report.kept import Kept
from hashret.report.parts import Examined, Folded, Missing, Part, Picture, Section, Subheading, first_of_systems
from hashret.report.sheet import Cell, Sheet

__all__ = ["provenance_section", "training_section"]


def training_section(runs: Sequence[Examined]) -> Section:
    """Epochs, best validation scores and times of all runs; curves by loss term and stage of one run a system."""
    body = [row for run in runs for row in _stages(run.kept)]
    parts: list[Part] = [Missing(f"{run.kept.name}: its log has no epoch.") for run in runs if not _epochs(run.kept)]
    if body:
        header = ("run", "stage", "epochs", "best validation score", "at epoch", "minutes")
        parts.append(Sheet(header, tuple(body)))
    for run in first_of_systems([run for run in runs if _epochs(run.kept)]):
        kept = run.kept
        stages = list(dict.fromkeys(row["stage"] for row in _epochs(kept)))
        terms = list(dict.fromkeys(term for row in _epochs(kept) for term in row["losses"]))
        alt = f"Training of {kept.name}: stages {', '.join(stages)}; loss terms {', '.join(terms)}."
        caption = f"{kept.name}: mean of each loss term over an epoch, and the validation score where it was measured."
        parts.append(Picture(f"training-of-{kept.name}", training_figure(kept.log), alt, caption))
    return Section("Training", parts)


def _epochs(kept: Kept) -> list[Mapping[str, Any]]:
    return [row for row in kept.log if row.get("event") == "epoch"]


def _stages(kept: Kept) -> list[tuple[Cell, ...]]:
    """A row a stage."""
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for row in _epochs(kept):
        stages.setdefault(row["stage"], []).append(row)
    found = []
    for stage, rows in stages.items():
        scored = [row for row in rows if row.get("validation") is not None]
        best = max(scored, key=lambda row: row["validation"], default=None)
        score, at = (f"{best['validation']:.4f}", f"{best['epoch']}") if best else ("-", "-")
        cells = (kept.name, stage, str(len(rows)), score, at, f"{_seconds(rows) / 60:.1f}")
        found.append(tuple(map(Cell, cells)))
    return found


def _seconds(rows: Sequence[Mapping[str, Any]]) -> float:
    return sum(float(row.get("seconds", 0)) for row in rows)


def provenance_section(runs: Sequence[Examined]) -> Section:
    """Machines, versions and seeds of the runs, the options in which they differ, and their recipes."""
    parts: list[Part] = [*_machines(runs)]
    shown = first_of_systems(runs)
    options = {run.kept.name: _flat(run.kept.recipe) for run in shown}
    differing = [key for key in _keys(options) if len({repr(each.get(key)) for each in options.values()}) > 1]
    if differing:
        body = tuple(
            tuple(map(Cell, (key, *("-" if key not in each else _told(each[key]) for each in options.values()))))
            for key in differing
        )
        parts.append(Folded("Options in which the systems differ", Sheet(("option", *options), body)))
    parts.append(Subheading("Recipes"))
    for run in shown:
        text = yaml.safe_dump(dict(run.kept.recipe), sort_keys=False, allow_unicode=True)
        parts.append(Folded(f"Recipe of {run.kept.name}", text))
    return Section("Provenance", parts)


def _machines(runs: Sequence[Examined]) -> list[Part]:
    """A row a run: seeds, time and the number of its environment; then what the environments are."""
    kinds: list[dict[str, str]] = []
    body = []
    for run in runs:
        kept, kind = run.kept, _environment(run.kept)
        if kind not in kinds:
            kinds.append(kind)
        cells = (
            kept.name, str(kept.seed), str(kept.recipe["evaluation"]["seed"]), f"{_seconds(_epochs(kept)) / 60:.1f}",
            f"{kept.rejected:,}", str(kinds.index(kind) + 1),
        )  # fmt: skip
        body.append(tuple(map(Cell, cells)))
    header = ("run", "training seed", "evaluation seed", "minutes of training", "items left out", "environment")
    names = list(dict.fromkeys(name for kind in kinds for name in kind))
    rows = tuple(tuple(map(Cell, (name, *(kind.get(name, "-") for kind in kinds)))) for name in names)
    columns = tuple(f"environment {number}" for number in range(1, len(kinds) + 1))
    return [Sheet(header, tuple(body)), Sheet(("made with", *columns), rows)]


def _environment(kept: Kept) -> dict[str, str]:
    """Machine and versions a run was trained with, as its folder has them."""
    told = kept.environment
    machine = {key: str(told[key]) for key in ("system", "machine", "cores", "threads", "python") if key in told}
    return machine | {name: str(version) for name, version in told.get("packages", {}).items()}


def _flat(content: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Options by their whole path."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        place = f"{path}.{key}" if path else str(key)
        found |= _flat(value, place) if isinstance(value, Mapping) else {place: value}
    return found


def _keys(options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for each in options.values() for key in each))


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

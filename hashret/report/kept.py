"""Kept: what a run folder keeps, read for a report. Nothing is encoded, and nothing is asked of the data."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashret.errors import FormatError, InputError
from hashret.evaluation.scorefile import ScoreFile
from hashret.evaluation.scores import Scores
from hashret.run import Run

__all__ = ["Kept", "read_kept"]


@dataclass(frozen=True, eq=False)
class Kept:
    """One run, as its folder tells it.

    Attributes:
        name: What it is called beside the others.
        recipe: Every option of it.
        environment: Machine, versions and threads; empty where the file is gone.
        log: One mapping an epoch; empty where nothing was trained.
        rejected: Items of its dataset that could not be used.
        results: Of ``results.json``, or None of a run that was not measured.
        scores: Of ``per_query.safetensors``, or None.
    """

    name: str
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    rejected: int
    results: Mapping[str, Any] | None
    scores: ScoreFile | None

    @property
    def method(self) -> str:
        """Its key in METHODS."""
        return str(self.recipe["method"]["name"])

    @property
    def bits(self) -> int:
        """Width of its codes."""
        return int(self.recipe["method"]["bits"])

    @property
    def seed(self) -> int:
        """Of its training."""
        return int(self.recipe["training"]["seed"])

    @property
    def own(self) -> Mapping[str, Scores]:
        """Task -> its own scores, not those of the floors; empty of a run that was not measured."""
        return {} if self.scores is None else self.scores.row(None)[1]

    @property
    def question(self) -> str:
        """What it was asked: runs with one answer here can be set side by side; empty where it was not measured."""
        if self.scores is None:
            return ""
        asked = {
            task: [facts.gallery, facts.gallery_digest, list(facts.queries), facts.answers.tolist()]
            for task, facts in self.scores.tasks.items()
        }
        rules = {task: [scores.ties, scores.policy] for task, scores in self.own.items()}
        return json.dumps([self.scores.dataset, asked, rules], sort_keys=True)

    @property
    def system(self) -> str:
        """What was trained, but for the seed of training: runs with one answer here are repetitions."""
        return _without(self.recipe, "training.seed")

    @property
    def family(self) -> str:
        """What was trained, but for the seed and the width of the codes."""
        return _without(self.recipe, "training.seed", "method.bits")


def _without(recipe: Mapping[str, Any], *keys: str) -> str:
    content = json.loads(json.dumps(recipe))
    for key in keys:
        room, _, name = key.partition(".")
        content.get(room, {}).pop(name, None)
    content.pop("evaluation", None)  # how it is measured is no part of what was trained
    return json.dumps(content, sort_keys=True)


def read_kept(folders: Sequence[str | os.PathLike[str]]) -> list[Kept]:
    """Read runs.

    Args:
        folders: At least one, all different.

    Returns:
        One for each folder, named by the last part of its path, and where two are alike by more of it.

    Raises:
        InputError: No folder, or one twice.
        FileError: A folder holds no run.
        FormatError: A file of a run is damaged.
    """
    places = [Path(os.path.abspath(folder)) for folder in folders]
    if not places or len(set(places)) != len(places):
        raise InputError(
            "runs", expected="run folders, each once", got=", ".join(map(str, folders)) or "none",
            remedy="Name each run once.",
        )  # fmt: skip
    return [_read(place, name) for place, name in zip(places, _names(places), strict=True)]


def _names(places: Sequence[Path]) -> list[str]:
    """As many last parts of the paths as tell them apart."""
    for count in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-count:]) for place in places]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different paths have different parts")


def _read(place: Path, name: str) -> Kept:
    run = Run.open(place)
    try:
        rejected = run.folder / "rejected.jsonl"
        environment = run.folder / "environment.json"
        return Kept(
            name=name,
            recipe=run.recipe()[0],
            environment=json.loads(environment.read_text("utf-8")) if environment.exists() else {},
            log=run.read_log() if run.log.exists() else [],
            rejected=len(rejected.read_bytes().splitlines()) if rejected.exists() else 0,
            results=json.loads(run.results.read_text("utf-8")) if run.results.exists() else None,
            scores=ScoreFile.load(run.per_query) if run.per_query.exists() else None,
        )
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(
            f"run {place}", expected="JSON in its .json and .jsonl files", got=str(error), remedy="Evaluate it again."
        ) from error

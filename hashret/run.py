"""Run: the folder a training run lives in, which explains itself. It knows names of files, not what training does."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from hashret.arrayfile import replace_file
from hashret.errors import FileError, TrainingError
from hashret.recipe import Recipe

__all__ = ["Run"]

README = """This folder is one hashret run.

recipe.yaml        every option of the run, defaults filled in, and where its data was
environment.json   machine, versions and number of threads
start.json         the run whose first stages were taken up, where --from named one
rejected.jsonl     items of the dataset that could not be used, each with the reason
log.jsonl          one line an epoch: stage, mean losses, validation score, learning rates, seconds
last.safetensors   the newest checkpoint; `hashret train ... --resume` goes on from it
best-*.safetensors the weights of each validated stage's best epoch
model/             the trained model; Retriever.from_pretrained(this folder) loads it
results.json       what `hashret evaluate` measured on the test split
per_query.safetensors
                   the same query by query, which `hashret compare` reads: scores/ROW/TASK holds a line of values for
                   each metric, answers/TASK the number of right answers; names and rules are in the metadata
results-embedding.json, per_query-embedding.safetensors
                   the same of the embeddings before they became codes, by `hashret evaluate --by embedding`
results-fused.json, per_query-fused.safetensors
                   the same where database items have codes of both their sides, by `hashret evaluate --database fused`
results-second-look-*.json, per_query-second-look-*.safetensors
                   the same by two-stage search, after codes or after embeddings, by `hashret evaluate --second-look N`
"""

_PACKAGES = (
    "hashret",
    "torch",
    "torchvision",
    "transformers",
    "accelerate",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
)


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        folder: Its path.
    """

    folder: Path

    @property
    def log(self) -> Path:
        """One JSON line an epoch."""
        return self.folder / "log.jsonl"

    @property
    def results(self) -> Path:
        """What was measured."""
        return self.folder / "results.json"

    @property
    def per_query(self) -> Path:
        """What was measured, query by query: a :class:`hashret.evaluation.scorefile.ScoreFile`."""
        return self.folder / "per_query.safetensors"

    def measured(self, by: str = "codes", database: str = "encoded") -> tuple[Path, Path]:
        """Where a measurement is kept, as a whole and query by query; each way of measuring has files of its own.

        Args:
            by: What is ranked, "codes" or "embedding".
            database: Whose codes stand in the database.

        Example:
            >>> [path.name for path in Run(Path("run")).measured(database="fused")]
            ['results-fused.json', 'per_query-fused.safetensors']
        """
        ways = [way for way, usual in ((by, "codes"), (database, "encoded")) if way != usual]
        whole, per_query = (path.with_stem("-".join([path.stem, *ways])) for path in (self.results, self.per_query))
        return whole, per_query

    @property
    def start(self) -> Path:
        """What another run has learned that this one took up; there is no such file where there was none."""
        return self.folder / "start.json"

    @property
    def model(self) -> Path:
        """The folder of the trained model."""
        return self.folder / "model"

    @classmethod
    def begin(
        cls, folder: str | os.PathLike[str], recipe: Recipe, data: str | None, *, resume: bool, threads: int
    ) -> Run:
        """Make the folder, or take up an interrupted run in it.

        Args:
            folder: The run folder.
            recipe: What is to be trained.
            data: Root of the dataset, None for one that is drawn.
            resume: Take up the run that is there, if any.
            threads: Threads torch computes with; another number may round differently.

        Raises:
            TrainingError: The folder holds a run and ``resume`` is not set, or the run there has another recipe.
            FileError: The folder cannot be written.
        """
        run = cls(Path(folder))
        content = _content(recipe, data)
        path = run.folder / "recipe.yaml"
        if path.exists():
            run._check_resume(recipe, data, resume)
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(
                str(folder),
                expected="a folder to write",
                got=error.strerror or str(error),
                remedy="Choose another --out.",
            ) from error
        replace_file(path, yaml.safe_dump(content, sort_keys=False).encode())
        replace_file(run.folder / "README.txt", README.encode())
        replace_file(run.folder / "environment.json", json.dumps(_environment(threads), indent=1).encode())
        return run

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Run:
        """A run that exists.

        Raises:
            FileError: The folder holds none.
        """
        run = cls(Path(folder))
        if not (run.folder / "recipe.yaml").exists():
            raise FileError(
                str(folder),
                expected="a run folder (with recipe.yaml)",
                got="none",
                remedy="Name what train --out wrote.",
            )
        return run

    def recipe(self) -> tuple[dict[str, Any], str | None]:
        """The recipe as a mapping, and the root of its data."""
        content = yaml.safe_load((self.folder / "recipe.yaml").read_text(encoding="utf-8"))
        root = content.pop("root")
        return content, root

    def write_json(self, path: Path, value: Mapping[str, Any]) -> None:
        """Write a JSON file of the run, atomically."""
        replace_file(path, json.dumps(value, indent=1).encode())

    def write_rejected(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Write the list of items that could not be used."""
        lines = "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)
        replace_file(self.folder / "rejected.jsonl", lines.encode("utf-8", "surrogateescape"))

    def write_start(self, folder: Path, stages: Sequence[str]) -> None:
        """Note whose stages the run has taken up."""
        self.write_json(self.start, {"run": os.path.abspath(folder), "stages": list(stages)})

    def read_log(self) -> list[dict[str, Any]]:
        """The log, one mapping an epoch."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def differences(self, recipe: Recipe, data: str | None) -> list[str]:
        """What the run was trained by otherwise, a line for each key: ``method.bits 32 (was 64)``."""
        before = yaml.safe_load((self.folder / "recipe.yaml").read_text(encoding="utf-8"))
        return _differences(before, json.loads(json.dumps(_content(recipe, data))))

    def _check_resume(self, recipe: Recipe, data: str | None, resume: bool) -> None:
        if not resume:
            raise TrainingError(
                str(self.folder),
                expected="a new or empty folder",
                got="a run",
                remedy="Add --resume to go on with it, or choose another --out.",
            )
        changed = self.differences(recipe, data)
        if changed:
            raise TrainingError(
                str(self.folder),
                expected="the recipe this run began with",
                got="; ".join(changed),
                remedy="Resume with the same recipe and --set, or train into another folder.",
            )


def _content(recipe: Recipe, data: str | None) -> dict[str, Any]:
    """What recipe.yaml holds."""
    return {**recipe.to_dict(), "root": os.path.abspath(data) if data else None}


def _differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Keys whose values differ, with both values."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        return [
            difference
            for key in keys
            for difference in _differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if before == after else [f"{path} {after!r} (was {before!r})"]


def _environment(threads: int) -> dict[str, Any]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": threads,
        "packages": versions,
    }

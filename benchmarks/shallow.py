"""shallow: the library's hashers as rows of the tables, on the inputs, splits and choices that methods have.

Each hasher is fitted at each width on what its recipe's encoders read, with the setting that was best on the validation
tasks, whose test split it does not see; and measured as a run is, once for each kind of database. Settings that were
tried and results that were measured are kept as JSON beside the run folders, so that a killed campaign goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from campaign import Demand, Entry, Outcome, machine, recipe_file, say
from shallow_hasher import TUNED_BITS, Workshop, check_hashers, has_seed, learns_codes, most_bits
from shallow_inputs import Asked, Inputs, read_inputs

from hashret.arrayfile import replace_file
from hashret.errors import TrainingError
from hashret.evaluation import evaluate
from hashret.floors import random_codes
from hashret.hashers import HASHERS
from hashret.pipeline import read_recipe
from hashret.pipeline.evaluate import Database, Results
from hashret.run import Run

__all__ = ["Fitted", "LeftOut", "hasher_entries", "run_hashers"]

METRIC = "map"  # by which settings are chosen, as methods choose their epochs

LeftOut = dict[tuple[str, int], str]


@dataclass(frozen=True)
class Fitted(Outcome):
    """A hasher and what was measured of it; ``content`` holds its setting too, under "fitting"."""

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        entry = self.entry
        return {
            "hasher": entry.method, "bits": entry.bits, "seed": entry.seed, "folder": str(entry.folder),
            "fitting_seconds": self.seconds, "measured": self.content,
        }  # fmt: skip


def hasher_entries(asked: argparse.Namespace, out: Path) -> list[Entry]:
    """The hashers of a campaign, width by width, each with a seed for which anything is drawn.

    Args:
        asked: ``dataset``, ``root``, ``hashers``, ``bits``, ``seeds``, ``overrides``, ``protocol``, ``configs`` and
            ``inputs``, the method whose recipe says what they read.
        out: Folder of the run folders.

    Raises:
        InputError: A hasher that is none, or of one modality, or no such recipe.
        RecipeError: A recipe that cannot be read.
    """
    check_hashers(asked.hashers)
    source = recipe_file(asked.configs, asked.inputs, asked.dataset)
    overrides = (*asked.overrides, *([f"data.protocol={asked.protocol}"] if asked.protocol else []))
    recipe, root = read_recipe(source, overrides), None if asked.root == "-" else asked.root
    return [
        Entry(name, bits, seed, source, overrides, recipe, out / f"{name}-{bits}-seed{seed}", root)
        for bits in dict.fromkeys(asked.bits)
        for name in dict.fromkeys(asked.hashers)
        for seed in range(asked.seeds if has_seed(name) else 1)
    ]


def run_hashers(
    runs: Sequence[Entry], demand_of: Callable[[Entry], Demand], databases: Sequence[Database]
) -> tuple[dict[Database, list[Outcome]], dict[Database, LeftOut]]:
    """Fit and measure what is not measured yet.

    Args:
        runs: From :func:`hasher_entries`.
        demand_of: What of an entry is measured.
        databases: Whose codes are searched.

    Returns:
        For each kind of database the outcomes, and why a hasher has none at a width.

    Raises:
        TrainingError: A folder that holds results of other inputs.
        DataError: The dataset is of no use, or has no such database.
    """
    inputs, found = list[Inputs](), {database: list[Outcome]() for database in databases}
    left: dict[Database, LeftOut] = {database: {} for database in databases}

    def opened() -> Inputs:
        """The dataset, read when it is first needed: not at all where everything was measured before."""
        if not inputs:
            inputs.append(read_inputs(runs[0].recipe, runs[0].root, say))
            if "learned" in databases:
                inputs[0].check_learned()
        return inputs[0]

    if not runs:
        return found, left
    for number, entry in enumerate(runs, 1):
        workshop: Workshop | None = None
        for database in databases:
            name = f"{number}/{len(runs)} {entry.method}, {entry.bits} bits, seed {entry.seed}, {database}"
            if database == "learned" and not learns_codes(entry.method):
                left[database][entry.method, entry.bits] = "it learns no codes of training items"
                continue
            demand = replace(demand_of(entry), by=("codes",), database=database)
            content, told = _kept(entry, demand), "measured before"
            if content is None:
                most = most_bits(entry.method, opened())
                if most is not None and entry.bits > most:
                    left[database][entry.method, entry.bits] = f"it has at most {most} bits, the narrower side's width"
                    continue
                setting, tried = _chosen(entry, opened(), databases)[database]
                workshop = workshop or Workshop(entry.method, entry.bits, entry.seed, opened())
                begun = time.monotonic()
                content = _measured(entry, demand, workshop, setting, tried)
                told = f"measured in {time.monotonic() - begun:.1f} s"
            say(f"{name}: {told}")
            found[database].append(Fitted(entry, {"codes": content}, content["fitting"]["seconds"]))
    return found, left


def _measured(
    entry: Entry, demand: Demand, workshop: Workshop, setting: Mapping[str, Any], tried: Mapping[str, Any]
) -> dict[str, Any]:
    """Measure a hasher on the test tasks beside random codes, and keep it in its folder."""
    inputs, rules, begun = workshop.inputs, entry.recipe.evaluation, time.monotonic()
    chance, rows = random_codes(entry.bits, rules.seed), {HASHERS[entry.method].__name__: {}, "random codes": {}}
    own, floor = rows.values()
    for asked in inputs.test:
        task, codes = asked.task, workshop.codes(asked, demand.database, setting)
        for scores, sides in ((own, codes), (floor, (chance(task.queries), chance(task.gallery)))):
            scores[task.name] = evaluate(
                sides, task.relevance, metrics=demand.metrics, ties=rules.ties, unanswered=demand.unanswered,
                candidates=task.allowed(),
            )  # fmt: skip
    sizes = {asked.task.name: (len(asked.task.queries), len(asked.task.gallery)) for asked in inputs.test}
    dataset = inputs.dataset
    results = Results(dataset.name, dataset.notes, entry.bits, rows, sizes, database=demand.database)
    on = "the labelled items of the database" if demand.database == "learned" else workshop.fitted_on
    content = {
        **results.to_dict(), "fitting": {
            "of": _origin(entry), "fitted_on": on, "setting": setting, "tried": tried,
            "seconds": time.monotonic() - begun, "machine": machine(),
        },
    }  # fmt: skip
    run = Run(entry.folder)
    run.folder.mkdir(parents=True, exist_ok=True)
    run.write_rejected(inputs.rejected)
    run.write_json(run.measured("codes", demand.database)[0], content)
    return content


def _kept(entry: Entry, demand: Demand) -> dict[str, Any] | None:
    """What an earlier measurement left, if it is of every metric by the same rules."""
    path = Run(entry.folder).measured("codes", demand.database)[0]
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    _check_origin(path, content["fitting"]["of"], entry)
    scores = [score for tasks in content["scores"].values() for score in tasks.values()]
    whole = all(set(demand.metrics) <= set(score["means"]) for score in scores)
    same = {score["policy"] for score in scores} == {demand.unanswered}
    return content if whole and same else None


def _chosen(
    entry: Entry, inputs: Inputs, databases: Sequence[Database]
) -> dict[Database, tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The best setting for each kind of database, and all that were tried; each is tried once and kept."""
    most = most_bits(entry.method, inputs)
    bits = TUNED_BITS if most is None else min(TUNED_BITS, most)
    path = entry.folder.with_name(f"{entry.method}-tuning.json")
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"of": _origin(entry), "tried": []}
    _check_origin(path, content["of"], entry)
    workshop = Workshop(entry.method, bits, 0, inputs, tuning=True)
    wanted = [database for database in databases if database != "learned" or learns_codes(entry.method)]
    for setting in Workshop.settings(entry.method):
        row = next((row for row in content["tried"] if row["setting"] == setting), None)
        if row is None:
            row = {"setting": setting, METRIC: {}}
            content["tried"].append(row)
        for database in wanted:
            if database not in row[METRIC]:
                row[METRIC][database] = _validated(workshop, inputs.validation, database, setting, entry)
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, json.dumps(content, indent=1).encode())
                say(f"{entry.method}, {bits} bits, {database}, {setting}: {row[METRIC][database]:.4f} of validation")
    best = {}
    for database in wanted:
        row = max(content["tried"], key=lambda row: float(row[METRIC][database]))
        told = {"bits": bits, "metric": METRIC, "validation": row[METRIC][database], "settings": len(content["tried"])}
        best[database] = row["setting"], {**told, "file": path.name}
    return best


def _validated(
    workshop: Workshop, tasks: Sequence[Asked], database: Database, setting: Mapping[str, Any], entry: Entry
) -> float:
    """Mean over the validation tasks."""
    scores = [
        evaluate(
            workshop.codes(asked, database, setting), asked.task.relevance, metrics=[METRIC],
            ties=entry.recipe.evaluation.ties, candidates=asked.task.allowed(),
        )[METRIC]
        for asked in tasks
    ]  # fmt: skip
    return float(np.mean(scores))


def _origin(entry: Entry) -> dict[str, Any]:
    """What decides a result beside the hasher, its width and its seed, as JSON holds it."""
    recipe = entry.recipe.to_dict()
    parts = {part: recipe[part] for part in ("data", "image", "text")}
    rules = {"ties": recipe["evaluation"]["ties"], "seed": recipe["evaluation"]["seed"]}
    tried = Workshop.settings(entry.method)
    made: dict[str, Any] = json.loads(json.dumps({**parts, "evaluation": rules, "settings": tried}))
    made["root"] = None if entry.root is None else str(Path(entry.root).absolute())
    return made


def _check_origin(path: Path, before: Mapping[str, Any], entry: Entry) -> None:
    changed = [part for part, value in _origin(entry).items() if before.get(part) != value]
    if changed:
        raise TrainingError(
            str(path), expected="results of the same inputs", got=f"of another {', '.join(changed)}",
            remedy="Choose another --out.",
        )  # fmt: skip

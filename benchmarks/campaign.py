"""campaign: every method at every width with every seed, a run folder each.

The scripts that print tables share this. A run that is trained and measured is not repeated, and one that was killed
goes on where it stood, so that the same command given again ends in the same table (:mod:`fieldtable`). Where a method
learns its codes last, on an embedding that knows nothing of their width, the embedding is trained once for all widths
of a seed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from published import PublishedRow

from hashret.arrayfile import read_arrays, replace_file
from hashret.errors import InputError
from hashret.methods import METHODS
from hashret.pipeline import evaluate_run, read_recipe, train
from hashret.pipeline.evaluate import By, Database
from hashret.recipe import Recipe
from hashret.run import Run
from hashret.training.checkpoint import KIND

__all__ = [
    "CONFIGS",
    "Content",
    "Demand",
    "Entry",
    "Outcome",
    "add_arguments",
    "check_same_data",
    "entries",
    "machine",
    "recipe_file",
    "run_all",
    "say",
    "write_json",
]

CONFIGS = Path(__file__).parents[1] / "configs"
OWN = {"method.bits": "--bits", "training.seed": "--seeds", "data.protocol": "--protocol"}

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A run of a campaign.

    Attributes:
        method: As in the name of its recipe's file.
        bits: Width of its codes.
        seed: Of its training.
        source: The recipe's file.
        overrides: What is set in it.
        recipe: The checked recipe.
        folder: The run folder.
        root: Root of the dataset; None for one that is drawn.
    """

    method: str
    bits: int
    seed: int
    source: Path
    overrides: tuple[str, ...]
    recipe: Recipe
    folder: Path
    root: str | None

    @property
    def protocol(self) -> str:
        """How the dataset is split and judged; "" where there is one way only."""
        return str(self.recipe.data.options.get("protocol", ""))

    def command(self) -> str:
        """What trains the same at the command line."""
        data = ["--data", self.root] if self.root else []
        sets = [part for override in self.overrides for part in ("--set", override)]
        start = Run(self.folder).start
        data += ["--from", json.loads(start.read_text(encoding="utf-8"))["run"]] if start.exists() else []
        return shlex.join(["hashret", "train", os.path.relpath(self.source), *sets, *data, "--out", str(self.folder)])


@dataclass(frozen=True)
class Demand:
    """What of a run is measured.

    Attributes:
        metrics: Names.
        by: Whether by codes, by embeddings or by both.
        unanswered: What becomes of queries without a right answer.
        database: Whose codes are searched.
    """

    metrics: tuple[str, ...]
    by: tuple[By, ...] = ("codes",)
    unanswered: str = "omit"
    database: Database = "encoded"


@dataclass(frozen=True)
class Outcome:
    """A run and what was measured of it.

    Attributes:
        entry: The run.
        content: What was measured of "codes", of the "embedding" or of both, as JSON holds it.
        seconds: Of its training, over all epochs, whatever interrupted it.
    """

    entry: Entry
    content: Mapping[By, Content]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        entry = self.entry
        environment = json.loads((entry.folder / "environment.json").read_text(encoding="utf-8"))
        measuring = []
        for by, content in self.content.items():
            score = next(score for tasks in content["scores"].values() for score in tasks.values())
            asked = ["--metrics", ",".join(score["means"]), "--unanswered", score["policy"], "--by", by]
            asked += [] if content["database"] == "encoded" else ["--database", content["database"]]
            measuring.append(shlex.join(["hashret", "evaluate", str(entry.folder), *asked]))
        return {
            "method": entry.method, "bits": entry.bits, "seed": entry.seed, "folder": str(entry.folder),
            "commands": [entry.command(), *measuring], "training_seconds": self.seconds, "trained_on": environment,
            "measured": self.content,
        }  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser, *, methods: bool = True) -> None:
    """What every campaign is asked for; with ``methods`` at least one of them."""
    parser.add_argument("dataset", help="ends the names of its recipes: configs/METHOD-DATASET.yaml")
    parser.add_argument("root", nargs="?", default="-", help="root of the dataset; - or nothing for one that is drawn")
    parser.add_argument("--methods", nargs="+", required=methods, default=[])
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--seeds", type=int, default=1, help="how many: 0, 1, ... [default: 1]")
    parser.add_argument("--set", dest="overrides", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--protocol", help="of the dataset, instead of the recipe's")
    parser.add_argument("--out", help="folder of the run folders [default: runs/SCRIPT/DATASET]")
    parser.add_argument("--configs", default=CONFIGS, type=Path, help="folder of the recipes [default: configs]")
    parser.add_argument("--format", choices=["table", "markdown", "latex"], default="table")


def entries(asked: argparse.Namespace, out: Path, protocol: str | None = None) -> list[Entry]:
    """The runs of a campaign, width by width, in the order they are trained.

    Args:
        asked: What :func:`add_arguments` parsed.
        out: Folder of the run folders.
        protocol: Of the dataset; None for what each recipe says.

    Raises:
        InputError: No recipe of that name, no seed, a key that an argument of the script sets, or recipes of different
            data.
        RecipeError: A recipe that cannot be read.
    """
    if asked.seeds < 1:
        raise InputError("--seeds", expected="at least 1", got=str(asked.seeds), remedy="Say how many seeds to train.")
    for override in asked.overrides:
        key = override.partition("=")[0]
        if key in OWN:
            raise InputError("--set", expected="other keys", got=key, remedy=f"Use {OWN[key]}.")
    root = None if asked.root == "-" else asked.root
    fixed = [*asked.overrides, *([f"data.protocol={protocol}"] if protocol else [])]
    made = []
    for bits in dict.fromkeys(asked.bits):
        for method in dict.fromkeys(asked.methods):
            for seed in range(asked.seeds):
                source = recipe_file(asked.configs, method, asked.dataset)
                overrides = (*fixed, f"method.bits={bits}", f"training.seed={seed}")
                recipe = read_recipe(source, overrides)
                folder = out / f"{method}-{bits}-seed{seed}"
                made.append(Entry(method, bits, seed, source, overrides, recipe, folder, root))
    _check_alike(made)
    return made


def _check_alike(made: Sequence[Entry]) -> None:
    """Refuse methods whose figures could not stand in one table."""
    asked = {
        entry.method: f"{entry.recipe.data.name}, protocol {entry.protocol or 'its own'}, ties "
        f"{entry.recipe.evaluation.ties}" for entry in made
    }  # fmt: skip
    if len(set(asked.values())) > 1:
        told = "; ".join(f"{method}: {what}" for method, what in asked.items())
        raise InputError(
            "recipes", expected="one dataset, protocol and tie policy", got=told,
            remedy="Set --protocol, or make a table of each.",
        )  # fmt: skip


def recipe_file(configs: Path, method: str, dataset: str) -> Path:
    """The recipe of a method on a dataset.

    Raises:
        InputError: There is none.
    """
    path = configs / f"{method}-{dataset}.yaml"
    if not path.is_file():
        there = sorted(file.stem for file in configs.glob("*.yaml"))
        raise InputError(
            f"recipe {path.name}", expected=f"one of {', '.join(there) or 'none'} in {os.path.relpath(configs)}",
            got="no such file", remedy="Name another method or dataset, or write the recipe.",
        )  # fmt: skip
    return path


def run_all(runs: Sequence[Entry], demand_of: Callable[[Entry], Demand]) -> list[Outcome]:
    """Train and measure what is not trained and measured yet.

    Args:
        runs: The entries.
        demand_of: What of an entry is measured.

    Raises:
        TrainingError: A folder that holds a run of another recipe.
        InputError: Runs that were measured on different queries or galleries.
    """
    outcomes, said = [], set[str]()

    def once(line: str) -> None:
        """Notes of a dataset are the same for every run."""
        if line not in said:
            say(line)
        said.add(line)

    for number, entry in enumerate(runs, 1):
        name, demand = f"{number}/{len(runs)} {entry.method}, {entry.bits} bits, seed {entry.seed}", demand_of(entry)
        trained = _is_trained(entry)
        if not trained:
            say(f"{name}: {'goes on' if (entry.folder / 'last.safetensors').exists() else 'begins'}")
            start = None if (entry.folder / "last.safetensors").exists() else _trained_before(entry, runs)
            if start is not None:
                say(f"{name}: on the embedding of {start}")
            train(entry.recipe, entry.folder, data=entry.root, resume=True, start=start, quiet=True, say=once)
        begun, content, told = time.monotonic(), dict[By, Content](), []
        for part in demand.by:
            found = _kept(entry, demand, part)
            if found is None:
                told = ["measured"]
                found = evaluate_run(
                    entry.folder, data=entry.root, metrics=demand.metrics, unanswered=demand.unanswered, by=part,
                    database=demand.database, floors=entry.seed == 0, say=once,
                ).to_dict()  # fmt: skip
            content[part] = found
        seconds = _training_seconds(entry)
        told = [f"{word} in {time.monotonic() - begun:.1f} s" for word in told] or ["measured before"]
        say(f"{name}: trained {'before ' if trained else ''}in {seconds:.1f} s, {told[0]}")
        outcomes.append(Outcome(entry, content, seconds))
    check_same_data(outcomes)
    return outcomes


def check_same_data(outcomes: Sequence[Outcome]) -> None:
    """Refuse figures of different splits or sizes: they could not stand in one table."""
    told = {
        outcome.entry.method: f"{content['dataset']}, {content['sizes']}"
        for outcome in outcomes
        for content in outcome.content.values()
    }
    if len(set(told.values())) > 1:
        raise InputError(
            "runs", expected="results of the same queries and galleries", got="; ".join(map(": ".join, told.items())),
            remedy="Give the recipes the same data section, or make a table of each.",
        )  # fmt: skip


def _trained_before(entry: Entry, runs: Sequence[Entry]) -> Path | None:
    """A trained run of the same embedding: it differs in bits, and these nothing reads but the last stage."""
    stages = METHODS[entry.recipe.method.name].stages
    trained = [stage.name for stage in stages if entry.recipe.stages[stage.name]["epochs"]]
    if len(trained) < 2 or trained[-1] != "codes":
        return None
    alike = [run for run in runs if (run.method, run.seed) == (entry.method, entry.seed) and run.bits != entry.bits]
    return next((run.folder for run in alike if _is_trained(run)), None)


def _training_seconds(entry: Entry) -> float:
    """What the last checkpoint says, which counts all interrupted parts once."""
    _, metadata = read_arrays(entry.folder / "last.safetensors", kind=KIND, mmap=True)
    return float(metadata["progress"]["seconds"])


def _kept(entry: Entry, demand: Demand, by: By) -> Content | None:
    """What a run folder holds of an earlier measurement, if it is of every metric by the same rules."""
    run = Run.open(entry.folder)
    path = run.measured(by, demand.database)[0]
    if not path.exists():
        return None
    content: Content = json.loads(path.read_text(encoding="utf-8"))
    scores = [score for tasks in content["scores"].values() for score in tasks.values()]
    whole = all(set(demand.metrics) <= set(score["means"]) for score in scores)
    rules = {(score["ties"], score["policy"]) for score in scores}
    return content if whole and rules == {(entry.recipe.evaluation.ties, demand.unanswered)} else None


def _is_trained(entry: Entry) -> bool:
    """Whether the folder holds this very run to its end; one of another recipe is refused."""
    if not (entry.folder / "recipe.yaml").exists():
        return False
    content, root = Run.open(entry.folder).recipe()
    wanted = json.loads(json.dumps(entry.recipe.to_dict()))
    if content != wanted or root != (os.path.abspath(entry.root) if entry.root else None):
        Run.begin(entry.folder, entry.recipe, entry.root, resume=True, threads=torch.get_num_threads())
    return (entry.folder / "model" / "config.json").exists()


def say(line: str) -> None:
    """A line about what happens, on stderr, so that tables alone can be piped."""
    print(f"· {line}", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """What measures: processor, cores, accelerator, versions."""
    packages = {}
    for name in ("hashret", "numpy", "torch", "torchvision", "transformers"):
        packages[name] = version(name) if importlib.util.find_spec(name) else "not installed"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "machine": platform.machine(), "processor": platform.processor(), "cores": os.cpu_count(),
        "threads": torch.get_num_threads(), "gpu": gpu, "python": platform.python_version(), "packages": packages,
    }  # fmt: skip


def write_json(
    path: Path, outcomes: Sequence[Outcome], rows: Sequence[tuple[str, PublishedRow]], more: Content | None = None
) -> None:
    """Write everything a campaign found, with the command it was asked by and the machine, atomically.

    Args:
        path: Where to.
        outcomes: The runs.
        rows: Published rows that were printed, each with its metric.
        more: What else to write, by name.
    """
    entry, content = outcomes[0].entry, outcomes[0].content["codes"]
    told = [
        {
            "metric": metric, "method": row.method, "bits": row.bits, "source": row.source.model_dump(),
            "doubts": row.doubts,
            "values": {task: {at: str(value) for at, value in part.items()} for task, part in row.values.items()},
        } for metric, row in rows
    ]  # fmt: skip
    found = {
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "machine": machine(), "dataset": content["dataset"], "protocol": entry.protocol, "notes": content["notes"],
        "sizes": content["sizes"], "seeds": sorted({outcome.entry.seed for outcome in outcomes}),
        "runs": [outcome.to_dict() for outcome in outcomes], "published": told,
        **(more or {}),
    }  # fmt: skip
    replace_file(path, json.dumps(found, indent=1).encode())
    say(f"{path}")

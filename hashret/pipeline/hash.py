"""``hashret hash fit`` and ``apply`` of hashers that are trained: rows of files -> a run -> a LearnedHasher -> codes.

Shallow hashers need none of this, nor torch; see :mod:`hashret.hashers`. A fit is a training run in a folder: killed at
any moment and given again, it goes on to the same weights.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.examples import RetrievalDataset
from hashret.hashers.streaming import Rows, near, take_rows
from hashret.methods import METHODS
from hashret.methods.method import Method, Stage, StageSettings
from hashret.models import Processor, build_image_encoder, build_text_encoder
from hashret.pipeline.embeddings import as_singles, dataset_of, share_a_space
from hashret.pipeline.learned import LearnedHasher
from hashret.pipeline.train import Say, device_named, validation_score
from hashret.recipe import Grammar, Recipe, load_recipe
from hashret.retriever import Retriever
from hashret.run import Run
from hashret.training import Fit, PairTable, Processes, fit
from hashret.training.pairs import random_state

__all__ = ["fit_learned", "load_learned"]

NAME = LearnedHasher.name
ONE_SPACE = 0.25  # a row's own text stands in the nearest quarter, by cosine


@dataclass(frozen=True)
class Source:
    """The data of such a run, so that it is not resumed on other rows.

    Attributes:
        files: Path of each input.
        rows: Rows that were taken.
        held_out: Those that choose the epoch.
        digest: Of all numbers.
    """

    files: dict[str, str]
    rows: int
    held_out: int
    digest: str


def fit_learned(
    given: Mapping[str, Rows],
    out: str | os.PathLike[str],
    *,
    bits: int,
    options: Mapping[str, Any],
    sample: int,
    seed: int,
    quiet: bool = False,
    say: Say = lambda line: None,
) -> tuple[LearnedHasher, int]:
    """Train the contrastive hasher on rows of files.

    Where the method's defaults know nothing of the data, the data decides; both can be set. Heads are ``residual``
    where image and text share a space already (a row's own text stands in the nearest quarter by cosine): what such
    embeddings have learned is then the start, and is not relearned from fewer pairs. Elsewhere, and for one modality,
    whose classes have to be drawn together, they are the method's (Wikipedia's images, 64 bits, mAP on rows held out,
    two seeds: mlp .174 and .183, residual .164 and .159). Where labels are given, sharing one is what is right, and
    ``label_weight`` is 10 (the same, one seed: .164 against .160 at 1; with texts .266 against .259).

    Args:
        given: "images" and "texts", or "vectors"; and "labels", which "vectors" need.
        out: The run folder; an interrupted run in it goes on, a finished one is loaded.
        bits: Width of a code.
        options: Of the method; of its stages, such as ``epochs`` (both) or ``codes.epochs`` (one); ``device``.
        sample: Rows to train on, at most; they alone are in memory.
        seed: Of sample, split, initial weights and orders.
        quiet: No progress bar.
        say: Told in a line what happens.

    Returns:
        The hasher, which is also saved in ``out``, and how many rows were used.

    Raises:
        InputError: Neither pairs nor labels, an option that does not exist, too few rows, labels that are none.
        NonFiniteError: NaN or infinity, with the number of the row in its file.
        RecipeError: An option of a wrong value.
        TrainingError: The folder holds another run, or a loss is no number.
    """
    inputs = [name for name in ("images", "texts", "vectors", "labels") if name in given]
    _check_options(options)
    if "labels" not in given and "texts" not in given:  # before anything is read
        dataset_of(np.empty((0, 1), np.float32), None, None, seed=seed)
    taken, numbers = take_rows(given, inputs, NAME, sample=sample, seed=seed)
    x = as_singles(taken[inputs[0]], str(given[inputs[0]].path), numbers)
    y = as_singles(taken["texts"], str(given["texts"].path), numbers) if "texts" in taken else None
    dataset, held = dataset_of(x, y, taken.get("labels"), seed=seed)
    files = {name: os.path.abspath(given[name].path) for name in inputs}
    source = Source(files, len(numbers), held, _digest(taken))
    recipe = _recipe(source, x, y, {"bits": bits, **options}, seed, say)
    say(f"{held:,} of {len(numbers):,} rows are held out, to choose the epoch by")
    retriever = _train(recipe, dataset, out, quiet, say)
    hasher = LearnedHasher(retriever, inputs)
    hasher.save(Run.open(out).model)
    return hasher, len(numbers)


def load_learned(folder: str | os.PathLike[str]) -> LearnedHasher:
    """Read what :func:`fit_learned` made, on a GPU where there is one.

    Raises:
        FileError: It holds no hasher, or one whose fitting was interrupted.
        FormatError: It is of another format, or its weights are damaged.
    """
    return LearnedHasher.load(folder, device=device_named("auto"))


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse names that are no option of the method, of its stages or of training."""
    stage = [field.name for field in fields(StageSettings)]
    known = [field.name for field in fields(METHODS[NAME].options)] + stage + ["device"]
    known += [f"{name}.{key}" for name in METHODS[NAME].settings for key in stage]
    for option in options:
        if option not in known:
            raise InputError(
                f"parameter of {NAME}", expected=f"one of {', '.join(known)}", got=repr(option),
                remedy=near(option, known),
            )  # fmt: skip


def _recipe(
    source: Source, x: NDArray[np.float32], y: NDArray[np.float32] | None, options: Mapping[str, Any], seed: int,
    say: Say,
) -> Recipe:  # fmt: skip
    """Everything the run depends on, checked, in the form of a recipe."""
    method = METHODS[NAME]
    own = {field.name for field in fields(method.options)}
    chosen = {key: value for key, value in options.items() if key in own}
    if "labels" in source.files:
        chosen.setdefault("label_weight", 10.0)
    if "head" not in chosen:
        place = None if y is None else share_a_space(x, y)
        if place is not None and place <= ONE_SPACE and chosen.get("dimension", x.shape[1]) == x.shape[1]:
            chosen["head"] = "residual"
            say(f"one space: {place:.1%} of texts are nearer to an image than its own; head: residual")
    if chosen.get("head") == "residual":
        chosen.setdefault("dimension", x.shape[1])
    stages: dict[str, dict[str, Any]] = {
        name: {key: value for key, value in options.items() if key not in own and key != "device" and "." not in key}
        for name in method.settings
    }
    for option in options:
        name, dot, key = option.partition(".")
        if dot:
            stages[name][key] = options[option]
    widths = (x.shape[1], x.shape[1] if y is None else y.shape[1])
    raw = {
        "data": {"name": "embeddings", **asdict(source)},
        "image": {"name": "vector", "dimension": widths[0]},
        "text": {"name": "vector", "dimension": widths[1]},
        "method": {"name": NAME, **chosen},
        "stages": stages,
        "training": {"seed": seed, "device": options.get("device", "auto")},
    }
    encoders = {"vector": _vector}
    grammar = Grammar(
        entries={
            "data": {"embeddings": Source}, "image": encoders, "text": encoders, "method": {NAME: method.options},
        },
        stages={NAME: method.settings},
        presets={},
    )  # fmt: skip
    return load_recipe(raw, grammar)


def _vector(*, dimension: int) -> None:
    """What a recipe says of an encoder here."""


def _train(recipe: Recipe, dataset: RetrievalDataset, out: str | os.PathLike[str], quiet: bool, say: Say) -> Retriever:
    """Train into a run folder, or go on there."""
    device = device_named(recipe.training.device)
    Processes.joined(device).refuse_several("hash fit")
    torch.manual_seed(random_state(recipe.training.seed))
    image = build_image_encoder("vector", recipe.image.options)
    text = build_text_encoder("vector", recipe.text.options)
    method = METHODS[NAME](
        image, text, classes=len(dataset.classes), words=text.dimension, words_nonnegative=text.nonnegative,
        options=METHODS[NAME].options(**recipe.method.options),
    )  # fmt: skip
    processor = Processor.of(image, text)
    run = Run.begin(out, recipe, None, resume=True, threads=torch.get_num_threads())
    table = PairTable(dataset.train, processor)
    say(f"{table.items:,} items in {len(dataset.train):,} pairs; run folder {run.folder}")

    def validate(method: Method, stage: Stage) -> float:
        held = Retriever(method, processor, device=device)
        return validation_score(held, dataset.validation, stage, recipe.training.metric)

    settings = {name: StageSettings(**values) for name, values in recipe.stages.items()}
    how = Fit(folder=run.folder, seed=recipe.training.seed, device=device, quiet=quiet)
    fit(method, table, settings, how, validate, resume=True)
    return Retriever(method, processor, device=device)


def _digest(taken: Mapping[str, NDArray[Any]]) -> str:
    digest = blake2b(digest_size=16)
    for name, values in taken.items():
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()

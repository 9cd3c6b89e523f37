"""Recipe -> data -> method -> trained retriever, in a run folder."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from hashret.data import DATASETS
from hashret.data.quarantine import Rejected, quarantine
from hashret.errors import DataError, TrainingError
from hashret.evaluation import evaluate
from hashret.examples import Example, RetrievalDataset, Task
from hashret.methods import METHODS, VARIANTS
from hashret.methods.method import Method, Stage, StageSettings
from hashret.models import (
    IMAGE_ENCODERS,
    TEXT_ENCODERS,
    Encoder,
    FeatureCache,
    Processor,
    Side,
    TokenCache,
    Vocabulary,
    build_image_encoder,
    build_text_encoder,
    fit_vocabulary,
)
from hashret.pipeline.demands import check_demands, check_validation
from hashret.pipeline.two_stage import fine_ranking
from hashret.pipeline.views import views_of
from hashret.recipe import Grammar, Recipe, load_recipe
from hashret.retriever import Retriever
from hashret.run import Run
from hashret.training import Fit, PairTable, Processes, Start, fit
from hashret.training.pairs import distinct, instance_numbers, random_state

__all__ = ["Say", "build", "device_named", "freeze", "leads", "load_data", "read_recipe", "train"]

Say = Callable[[str], None]
GENERATED_WORDS = 2000
VALIDATION_BLOCK = 128


def grammar() -> Grammar:
    """What can stand in a recipe, read off the tables."""
    return Grammar(
        entries={
            "data": {name: dataset.load for name, dataset in DATASETS.items()},
            "image": IMAGE_ENCODERS,
            "text": TEXT_ENCODERS,
            "method": {name: method.options for name, method in METHODS.items()},
        },
        stages={name: method.settings for name, method in METHODS.items()},
        presets={name: method.presets for name, method in METHODS.items()},
        variants=VARIANTS,
    )


def read_recipe(source: str | os.PathLike[str] | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; see :func:`hashret.recipe.load_recipe`."""
    return load_recipe(source, grammar(), overrides)


def train(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    resume: bool = False,
    start: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    say: Say = lambda line: None,
) -> Retriever:
    """Train what a recipe says into a run folder, alone or together with the other processes that call this.

    Args:
        recipe: From :func:`read_recipe`.
        out: The run folder.
        data: Root of the dataset; not needed for one that is drawn.
        resume: Go on with an interrupted run in ``out``; on a CPU it ends in the same weights, bit for bit.
        start: Folder of a run whose recipe differs in the hash layer (:attr:`Method.code_options
            <hashret.methods.method.Method.code_options>`), in the last stage or in how it is evaluated, no further:
            only that stage is trained, on what the stages before it have learned there.
        quiet: No progress bar.
        say: Told in a line what happens.

    Returns:
        The trained retriever, which is also saved in the run; of several processes each has it.

    Raises:
        DataError: The dataset cannot be used, or not by this method.
        TrainingError: A run that cannot begin, go on or converge.
    """
    root = None if data is None else os.fspath(data)
    device = device_named(recipe.training.device)
    processes = Processes.joined(device)
    say = say if processes.first else lambda line: None
    with processes.first_ahead():  # it makes the folder and fills the caches
        dataset, rejected = load_data(recipe, root, say)
        check_demands(recipe.method.name, dataset)
        check_validation(METHODS[recipe.method.name], recipe.stages, dataset)
        torch.manual_seed(random_state(recipe.training.seed))
        begun = None if start is None else taken_up(recipe, root, Run.open(start))
        method, processor = build(recipe, dataset)  # what cannot be built leaves no folder behind
        if processes.first:
            run = Run.begin(out, recipe, root, resume=resume, threads=torch.get_num_threads())
            run.write_rejected([asdict(item) for item in rejected])
        else:
            run = Run.open(out)
        views = views_of(recipe, dataset, method, processor, device, say)
        dataset = freeze(recipe, dataset, method, processor, device, say)
    table = PairTable(dataset.train, processor, views)
    say(f"{table.items} training items in {len(dataset.train)} pairs; run folder {run.folder}")
    how = Fit(
        folder=run.folder,
        seed=recipe.training.seed,
        device=device,
        precision=recipe.training.precision,
        workers=recipe.training.workers,
        checkpoint_steps=recipe.training.checkpoint_steps,
        compile=recipe.training.compile,
        quiet=quiet,
    )

    def validate(method: Method, stage: Stage) -> float:
        return validation_score(
            Retriever(method, processor, device=device, block=VALIDATION_BLOCK),
            dataset.validation,
            stage,
            recipe.training.metric,
        )

    settings = {name: StageSettings(**values) for name, values in recipe.stages.items()}
    if begun is not None and processes.first:
        run.write_start(begun.folder, begun.after)
    fit(method, table, settings, how, validate, resume=resume, start=begun)
    retriever = Retriever(method, processor, device=device)
    if processes.first:
        retriever.save_pretrained(run.model)
    processes.wait()
    return retriever


def taken_up(recipe: Recipe, root: str | None, run: Run) -> Start:
    """How a recipe's last stage is trained on what another run has learned.

    Raises:
        TrainingError: The run is of another recipe or other data, or has no stage before its last.
    """
    trained = [stage.name for stage in METHODS[recipe.method.name].stages if recipe.stages[stage.name]["epochs"]]
    if len(trained) < 2:
        raise TrainingError(
            str(run.folder), expected="a method that trains its last stage on others", got=recipe.method.name,
            remedy="Train it from the start.",
        )  # fmt: skip
    free = [f"method.{name} " for name in METHODS[recipe.method.name].code_options]
    free += [f"stages.{trained[-1]}.", "evaluation."]
    changed = [difference for difference in run.differences(recipe, root) if not difference.startswith(tuple(free))]
    if changed:
        raise TrainingError(
            str(run.folder), expected="this recipe but for its hash layer, its last stage and its evaluation",
            got="; ".join(changed), remedy="Train this one from the start.",
        )  # fmt: skip
    return Start(run.folder, trained[-1], tuple(trained[:-1]))


def load_data(recipe: Recipe, root: str | None, say: Say) -> tuple[RetrievalDataset, list[Rejected]]:
    """Load the recipe's dataset and leave out what cannot be used, counted and listed.

    Raises:
        DataError: A larger share than ``training.max_rejected`` cannot be used, or too little is left.
    """
    load = DATASETS[recipe.data.name].load
    if root is None and inspect.signature(load).parameters["root"].default is inspect.Parameter.empty:
        raise DataError(
            f"dataset {recipe.data.name}",
            expected="the folder its files are in",
            got="none",
            remedy="Add --data ROOT (data= in Python).",
        )
    dataset = load(root, **recipe.data.options)
    dataset, rejected = quarantine(dataset, most=recipe.training.max_rejected)
    for note in dataset.notes:
        say(note)
    if rejected:
        say(
            f"{len(rejected)} items left out: {rejected[0].key}: {rejected[0].reason}"
            + (" ..." if rejected[1:] else "")
        )
    unlabelled = sum(pair.labels is not None and not pair.labels.any() for pair in dataset.train)
    if unlabelled:
        say(f"{unlabelled} training pairs have no label: they are similar to themselves alone and have no support set")
    partly = sum(pair.labels is None for pair in dataset.train)
    if 0 < partly < len(dataset.train):
        say(f"{partly} of {len(dataset.train)} training pairs have no row of labels: no label is used")
    return dataset, rejected


def build(recipe: Recipe, dataset: RetrievalDataset) -> tuple[Method, Processor]:
    """Encoders, vocabulary and method for a dataset, with fresh weights from torch's current random state.

    The vocabulary is of all training texts, on whichever side they stand, for encoders and methods that read words.
    Where a frozen checkpoint reads the texts, its vectors stand for them also where texts are generated; there is then
    no bag of words and no vocabulary.

    Raises:
        DataError: No sentences, and the text encoder is not ``vector``.
    """
    kind = METHODS[recipe.method.name]
    sides = [side.text for pair in dataset.train for side in (pair.query, pair.target)]
    texts = [text for text in sides if isinstance(text, str)]
    vocabulary = None
    precomputed = recipe.frozen["text"] and recipe.text.name == "transformers"
    if texts and not precomputed:
        vocabulary = fit_vocabulary(recipe.text.name, recipe.text.options, texts)
        if vocabulary is None and kind.generates_texts:
            vocabulary = Vocabulary.fit(texts, GENERATED_WORDS)
    elif not texts and recipe.text.name not in ("vector", "tokens"):
        raise DataError(
            f"dataset {dataset.name}",
            expected=f"sentences for the text encoder {recipe.text.name}",
            got="vectors or none",
            remedy="Set text.name to vector (or tokens), or use a dataset with texts.",
        )
    image = build_image_encoder(recipe.image.name, recipe.image.options)
    text = build_text_encoder(recipe.text.name, recipe.text.options, vocabulary)
    for encoder, frozen in ((image, recipe.frozen["image"]), (text, recipe.frozen["text"])):
        if frozen:
            encoder.requires_grad_(False)
    method = kind(
        image,
        text,
        classes=len(dataset.classes),
        words=len(vocabulary) if vocabulary else text.dimension,
        words_nonnegative=vocabulary is not None or text.nonnegative,
        options=kind.options(**recipe.method.options),
        **({"instances": int(instance_numbers(dataset.train).max()) + 1} if kind.counts_instances else {}),
    )
    return method, Processor.of(image, text, vocabulary)


def freeze(
    recipe: Recipe, dataset: RetrievalDataset, method: Method, processor: Processor, device: str, say: Say
) -> RetrievalDataset:
    """Replace what frozen encoders read by their features, computed once and kept on disk by content."""
    sides: tuple[Side, Side] = ("image", "text")
    for side in sides:
        encoder: Encoder = getattr(method, side)
        if recipe.frozen[side] and any(True for _ in encoder.parameters()):
            dataset = _with_features(dataset, method, encoder, processor, side, device, say)
    return dataset


def _with_features(
    dataset: RetrievalDataset, method: Method, encoder: Encoder, processor: Processor, side: Side, device: str, say: Say
) -> RetrievalDataset:
    """The dataset with one side of every example turned into features."""
    dataset = _held(dataset)
    everything = [example for pair in dataset.train for example in (pair.query, pair.target)]
    for task in (*dataset.validation, *dataset.test):
        everything += [*task.queries, *task.gallery, *(task.partners or ())]
    have = [example for example in everything if getattr(example, side) is not None]
    parts, numbers = distinct([Example(**{side: getattr(example, side)}) for example in have])
    say(f"features of {len(parts)} frozen {side} inputs")
    if method.reads_tokens:
        features: list[Any] = list(TokenCache().tokens(encoder, processor, parts, side, device=device))
    else:
        features = list(FeatureCache().features(encoder, processor, parts, side, device=device))  # one object an input
    row = {id(example): number for example, number in zip(have, numbers, strict=True)}

    def swap(example: Example) -> Example:
        return replace(example, **{side: features[row[id(example)]]}) if id(example) in row else example

    def swap_task(task: Task) -> Task:
        partners = None if task.partners is None else [swap(e) for e in task.partners]
        queries, gallery = [swap(e) for e in task.queries], [swap(e) for e in task.gallery]
        return replace(task, queries=queries, gallery=gallery, partners=partners)

    pairs = [replace(pair, query=swap(pair.query), target=swap(pair.target)) for pair in dataset.train]
    return replace(
        dataset,
        train=pairs,
        validation=[swap_task(task) for task in dataset.validation],
        test=[swap_task(task) for task in dataset.test],
    )


def _held(dataset: RetrievalDataset) -> RetrievalDataset:
    """The same with its examples in lists: one that is made anew at each access cannot be told by its identity."""

    def hold(tasks: Sequence[Task]) -> list[Task]:
        return [
            replace(
                task, queries=list(task.queries), gallery=list(task.gallery),
                partners=None if task.partners is None else list(task.partners),
            ) for task in tasks
        ]  # fmt: skip

    return replace(dataset, train=list(dataset.train), validation=hold(dataset.validation), test=hold(dataset.test))


def validation_score(retriever: Retriever, tasks: Sequence[Task], stage: Stage, metric: str) -> float:
    """Mean of a metric over validation tasks, at least one, by what the stage learns: embeddings, codes or tokens."""
    scores = []
    for task in tasks:
        if stage.measure == "fine":
            answers: Any = fine_ranking(retriever, task)
            scores.append(evaluate(answers, task.relevance, metrics=[metric])[metric])
            continue
        run: Callable[[Sequence[Example]], Any] = retriever.embed if stage.measure == "embedding" else retriever.encode
        sides = (run(task.queries), run(task.gallery))
        scores.append(evaluate(sides, task.relevance, metrics=[metric], candidates=task.allowed())[metric])
    return float(np.mean(scores))


def leads(recipe: Recipe) -> bool:
    """Whether this process speaks and measures: of several that train a recipe together the first."""
    return Processes.joined(device_named(recipe.training.device)).first


def device_named(name: str) -> str:
    """The device a recipe names; ``auto`` is the GPU where there is one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name

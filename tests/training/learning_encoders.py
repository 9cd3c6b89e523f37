"""Every method over encoders that learn, tiny and in float64, and runs of it through the loop."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashret.examples import Example, Pair
from hashret.methods import METHODS, Batch, Method, Stage, StageSettings
from hashret.methods.dcmh import DCMH
from hashret.models import Inputs, SmallCNN, SmallTransformer
from hashret.training import Fit, PairTable, Views, fit
from hashret.training.loop import Validate

ITEMS, CLASSES, SIZE, WORDS, LENGTH = 7, 4, 16, 12, 6
COUNT, MOST = 8, 20  # items of a run, and the most any test trains on
COMPOSED = {"width": 16, "dimension": 12, "hash_width": 10}
COMBINED = COMPOSED | {"projection_width": 14, "hidden_width": 16}
SMALL = {
    "combiner": COMBINED,
    "contrastive": {"width": 16, "dimension": 12, "hash_width": 10},
    "crcgs": {"width": 16, "base_width": 16, "dimension": 12, "generative_dimension": 8},
    "crcgs_published": {
        "width": 16, "dimension": 12, "generative_dimension": 8, "hash_width": 10, "input_dropout": 0.1,
    },
    "dcmh": {"width": 16, "dropout": 0.1},
    "dscmr": {"width": 16, "dimension": 12, "hash_width": 10},
    "icone": {"width": 16, "dimension": 12, "hash_width": 10},
    "image_only": COMPOSED,
    "mlcl": COMBINED | {"copies": 3},
    "sum": COMPOSED,
    "text_only": COMPOSED,
    "tgdt": {
        "dimension": 12, "heads": 2, "feedforward": 16, "region_layers": 1, "region_width": 8, "base_layers": 1,
        "global_layers": 1, "hash_width": 10,
    },
    "tirg": COMPOSED,
}  # fmt: skip


def build(
    name: str, *, dropout: bool = True, double: bool = True, norms_learn: bool = False, **changed: object
) -> Method:
    """A method whose two encoders learn; the CNN's batch normalisations stand still unless asked for."""
    torch.manual_seed(0)
    kind = METHODS[name]
    image = SmallCNN(size=SIZE, width=2, dimension=8)
    text = SmallTransformer(WORDS, dimension=8, layers=1, heads=2, length=LENGTH)
    for part in image.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.requires_grad_(norms_learn)
    options = kind.options(bits=16, **{**SMALL[name], **changed})
    counted = {"instances": MOST} if kind.counts_instances else {}
    method = kind(image, text, classes=CLASSES, words=WORDS, options=options, **counted)
    for part in method.modules() if not dropout else ():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, nn.MultiheadAttention):
            part.dropout = 0.0
    return method.double() if double else method


def read(examples: Sequence[Example], dtype: torch.dtype = torch.float64) -> Inputs:
    """What a processor makes of them: pixels of a vector; of a text of numbers ids, their mask and their bag."""
    pixels = None
    if examples[0].image is not None:
        rows = torch.stack([torch.from_numpy(np.asarray(example.image)) for example in examples])
        pixels = rows.to(dtype).reshape(-1, 3, SIZE, SIZE)
    if examples[0].text is None:
        return Inputs(image=pixels)
    words = [[int(word) for word in str(example.text).split()] for example in examples]
    ids = torch.tensor([row + [0] * (LENGTH - len(row)) for row in words])
    bag = torch.zeros(len(words), WORDS + 2, dtype=dtype).scatter_(1, ids, 1.0)[:, 2:]
    return Inputs(pixels, ids, ids > 0, bag)


def read_single(examples: Sequence[Example]) -> Inputs:
    return read(examples, torch.float32)


def pairs(count: int = ITEMS, *, composed: bool = False) -> list[Pair]:
    """Labelled pairs; the first two have the same picture, and no text is longer than another by chance alone.

    Of composed queries the picture of the next pair is the target.
    """
    chance = np.random.default_rng(0)
    pictures = chance.normal(size=(count, 3 * SIZE * SIZE)).astype(np.float32)
    pictures[1] = pictures[0]
    texts = [" ".join(map(str, chance.integers(2, WORDS + 2, chance.integers(2, LENGTH + 1)))) for _ in range(count)]
    labels = (chance.random((count, CLASSES)) < 0.5).astype(np.uint8)
    if composed:
        targets = [Example(image=picture) for picture in np.roll(pictures, -1, axis=0)]
        return [
            Pair(Example(image=picture, text=text), target, row, number)
            for number, (picture, text, target, row) in enumerate(zip(pictures, texts, targets, labels, strict=True))
        ]
    return [
        Pair(Example(image=picture), Example(text=text), row, number)
        for number, (picture, text, row) in enumerate(zip(pictures, texts, labels, strict=True))
    ]


def table_for(method: Method, count: int, reader: Callable[[Sequence[Example]], Inputs]) -> PairTable:
    """The pairs that a method takes, with views: pictures that are the brighter, the higher their number."""
    given = pairs(count, composed=method.needs_composed)
    views = None
    if method.augmentation:
        pictures = [np.asarray(pair.query.image) for pair in given]
        copies = [[Example(image=picture + copy) for picture in pictures] for copy in range(method.copies)]
        views = Views(copies, [reader] * method.copies, np.arange(count))
    return PairTable(given, reader, views)


class Exact(dict[str, Tensor | None]):
    """What a stage keeps, in the precision of the method that learns on it."""

    def __setitem__(self, side: str, kept: Tensor | None) -> None:
        super().__setitem__(side, None if kept is None else kept.double())


def labels_for(method: Method, table: PairTable) -> NDArray[Any]:
    """Labels as exact as the method; DCMH remembers float32."""
    double = next(method.parameters()).dtype == torch.float64 and not isinstance(method, DCMH)
    return np.asarray(table.labels, np.float64 if double else np.float32)


def batch(method: Method, stage: Stage) -> Batch:
    """All pairs at once, with what the stage keeps of them."""
    table = table_for(method, ITEMS, read)
    table.labels = labels_for(method, table)
    query, target = read(table.examples["query"]), read(table.examples["target"])
    view = table.views.inputs(np.arange(ITEMS)) if table.views else None
    fixed = {}
    method.eval()
    with torch.no_grad():
        for side, inputs in (("query", query), ("target", target), ("view", view)):
            fixed[side] = method.fixed(inputs, stage, side) if side in stage.keeps else None
    return Batch(
        query if "query" in stage.reads else None, target if "target" in stage.reads else None,
        torch.from_numpy(table.labels), torch.arange(ITEMS), fixed["query"], fixed["target"],
        items=ITEMS, steps=3, view=view if "view" in stage.reads else None, view_fixed=fixed["view"],
    )  # fmt: skip


def run(method: Method, folder: Path, *, count: int = COUNT, how: Fit | None = None, resume: bool = False,
        validate: Validate = lambda method, stage: 0.5, **settings: object) -> dict[str, Tensor]:  # fmt: skip
    """Train all stages in batches of 4 and give the weights."""
    folder.mkdir(exist_ok=True)
    single = next(method.parameters()).dtype == torch.float32
    table = table_for(method, count, read_single if single else read)
    table.labels = labels_for(method, table)
    table.fixed = table.fixed if single else Exact(table.fixed)
    stages = {
        stage.name: StageSettings(**{"epochs": 1, "batch_size": 4, "lr": 1e-3, **settings}) for stage in method.stages
    }
    fit(method, table, stages, how or Fit(folder, device="cpu", quiet=True), validate, resume=resume)
    return {name: value.clone() for name, value in method.state_dict().items()}


def learns(method: Method, stage: Stage) -> bool:
    return any(method.parameters_of(stage, turn)["encoders"] for turn in stage.turns)


def stages_that_learn() -> list[tuple[str, Stage]]:
    return [(name, stage) for name in METHODS for stage in METHODS[name].stages if learns(build(name), stage)]

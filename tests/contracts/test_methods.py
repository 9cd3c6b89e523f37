"""What every entry of METHODS promises, on small encoders over vectors; a new entry cannot skip it."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from hashret.errors import DataError, InputError
from hashret.examples import Example, Pair
from hashret.methods import METHODS, Batch, Method, Stage, Turn
from hashret.models import Inputs, TokenEncoder, VectorEncoder
from hashret.training.pairs import PairTable

BATCH, CLASSES, PIXELS, WORDS, BITS = 6, 4, 10, 12, 20
COMPOSED = {"width": 16, "dimension": 12, "hash_width": 10}
COMBINED = COMPOSED | {"projection_width": 14, "hidden_width": 16}
SMALL = {
    "combiner": COMBINED,
    "contrastive": {"width": 16, "dimension": 12, "hash_width": 10},
    "crcgs": {
        "width": 16, "base_width": 16, "dimension": 12, "generative_dimension": 8, "pair_weight": 0.5,
        "support_weight": 0.5, "generative_weight": 0.5,
    },
    "crcgs_published": {"width": 16, "dimension": 12, "generative_dimension": 8, "hash_width": 10},
    "dcmh": {"width": 16},
    "dscmr": {"width": 16, "dimension": 12, "hash_width": 10},
    "icone": {"width": 16, "dimension": 12, "hash_width": 10},
    "image_only": COMPOSED,
    "mlcl": COMBINED,
    "sum": COMPOSED,
    "text_only": COMPOSED,
    "tgdt": {
        "dimension": 12, "heads": 2, "feedforward": 16, "region_layers": 1, "region_width": 8, "base_layers": 1,
        "global_layers": 1, "hash_width": 10,
    },
    "tirg": COMPOSED,
}  # fmt: skip
ITEMS, REGIONS = 100, 5


def build(name: str, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    kind = METHODS[name]
    encoder = TokenEncoder if kind.reads_tokens else VectorEncoder
    method = kind(
        encoder(dimension=PIXELS),
        encoder(dimension=WORDS),
        classes=CLASSES,
        words=WORDS,
        options=kind.options(bits=BITS, **SMALL[name]),
        **({"instances": ITEMS} if kind.counts_instances else {}),
    )
    if name == "crcgs":
        method.get_buffer("taught").fill_(True)  # as after its generators' stages
    return method


def images(rows: int = BATCH, seed: int = 1, *, tokens: bool = False) -> Inputs:
    drawn = torch.Generator().manual_seed(seed)
    if tokens:
        return Inputs(image=torch.rand(rows, REGIONS, PIXELS, generator=drawn), image_mask=some(rows, REGIONS))
    return Inputs(image=torch.rand(rows, PIXELS, generator=drawn))


def some(rows: int, most: int) -> torch.Tensor:
    """Masks of 1 ... most tokens, in turn."""
    return torch.arange(most)[None] <= torch.arange(rows)[:, None] % most


def texts(rows: int = BATCH, seed: int = 2, *, tokens: bool = False) -> Inputs:
    if tokens:
        words = torch.rand(rows, REGIONS + 2, WORDS, generator=torch.Generator().manual_seed(seed))
        return Inputs(text=words, text_mask=some(rows, REGIONS + 2))
    bag = (torch.rand(rows, WORDS, generator=torch.Generator().manual_seed(seed)) < 0.3).float()
    return Inputs(text=bag, bag=bag)


def both(rows: int = BATCH, seed: int = 1, *, tokens: bool = False) -> Inputs:
    """Composed queries."""
    image, text = images(rows, seed, tokens=tokens), texts(rows, seed + 1, tokens=tokens)
    return Inputs(image.image, text.text, text.text_mask, text.bag, image.image_mask)


def sides(method: Method, rows: int = BATCH) -> tuple[Inputs, Inputs]:
    """Queries and targets of the kind that the method pairs."""
    if method.needs_composed:
        return both(rows), images(rows, 5)
    return images(rows, tokens=method.reads_tokens), texts(rows, tokens=method.reads_tokens)


def batch(method: Method, stage: Stage, rows: int = BATCH, *, labelled: bool = True) -> Batch:
    labels = (torch.rand(rows, CLASSES, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    labels[0] = 0
    query, target = sides(method, rows)
    view = images(rows, 6) if method.augmentation else None
    with torch.no_grad():
        fixed = {
            side: method.fixed(inputs, stage, side)
            for side, inputs in (("query", query), ("target", target), ("view", view))
            if side in stage.keeps
        }
    return Batch(
        query if "query" in stage.reads else None,
        target if "target" in stage.reads else None,
        labels if labelled else torch.zeros_like(labels),
        torch.arange(rows),
        fixed.get("query"),
        fixed.get("target"),
        items=ITEMS,
        steps=10,
        view=view if "view" in stage.reads else None,
        view_fixed=fixed.get("view"),
    )


def turns() -> Iterator[tuple[str, Stage, Turn]]:
    for name, kind in METHODS.items():
        for stage in kind.stages:
            for turn in stage.turns:
                yield name, stage, turn


every_turn = pytest.mark.parametrize(
    ("name", "stage", "turn"), list(turns()), ids=lambda part: part if isinstance(part, str) else part.name
)
every_method = pytest.mark.parametrize("name", list(METHODS))


@every_turn
def test_losses_are_finite_scalars_with_names(name, stage, turn):
    method = build(name)
    method.prepare(stage)
    for given in (batch(method, stage), batch(method, stage, 2), batch(method, stage, labelled=False)):
        terms = method.losses(given, stage, turn)
        assert terms
        assert all(term.ndim == 0 and torch.isfinite(term) for term in terms.values()), terms


@every_turn
def test_a_turn_reaches_all_its_parameters_and_no_other_moves(name, stage, turn):
    method = build(name)
    method.prepare(stage)
    own = [p for group in method.parameters_of(stage, turn).values() for p in group]
    torch.manual_seed(0)
    terms = method.losses(batch(method, stage), stage, turn)
    torch.stack(list(terms.values())).sum().backward(inputs=own)
    assert own
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in own)
    moved = {id(p) for p in own}
    assert all(p.grad is None for p in method.parameters() if id(p) not in moved)


@every_method
def test_every_parameter_is_trained_in_some_turn(name):
    method = build(name)
    trained = {
        id(p) for stage in method.stages for turn in stage.turns
        for group in method.parameters_of(stage, turn).values() for p in group
    }  # fmt: skip
    left = [key for key, p in method.named_parameters() if id(p) not in trained]
    assert left == []


@every_method
def test_stages_have_settings_and_the_last_measures_codes(name):
    kind = METHODS[name]
    assert set(kind.settings) == {stage.name for stage in kind.stages}
    assert kind.stages[-1].measure == "codes"


@every_method
def test_preset_keys_exist(name):
    kind = METHODS[name]
    for preset in kind.presets.values():
        kind.options(**preset["options"])
        assert set(preset["stages"]) <= set(kind.settings)


def test_who_needs_composed_queries_takes_them():
    assert all(kind.takes_composed for kind in METHODS.values() if kind.needs_composed)
    assert {name for name, kind in METHODS.items() if kind.needs_composed} >= {"mlcl", "tirg", "combiner", "sum"}


@every_method
@pytest.mark.parametrize("side", [images, texts, both], ids=["image", "text", "both"])
def test_embeddings_and_codes(name, side):
    method = build(name).eval()
    inputs = side(tokens=method.reads_tokens)
    if (side is both and not method.takes_composed) or (side is texts and not method.reads_texts):
        with pytest.raises(InputError, match="no composed queries|texts alone"):
            method.relaxed(inputs)
        return
    embedded, relaxed = method.embed(inputs), method.relaxed(inputs)
    assert embedded.shape[0] == relaxed.shape[0] == BATCH
    assert relaxed.shape[1] == method.bits == BITS
    assert relaxed.abs().max() < 1
    assert torch.equal(method.relaxed(inputs), relaxed), "evaluation draws no random numbers"


@every_method
def test_score_is_one_number_a_pair(name):
    method = build(name).eval()
    query, target = sides(method)
    scores = method.score(query, target)
    alone = torch.stack([method.score(query.rows([i]), target.rows([i]))[0] for i in range(BATCH)])
    assert torch.allclose(scores, alone, atol=1e-6)


@every_turn
def test_training_lowers_the_loss(name, stage, turn):
    """Forty steps of Adam on one batch: the turn's objective goes down."""
    method = build(name)
    method.prepare(stage)
    own = [p for group in method.parameters_of(stage, turn).values() for p in group]
    optimizer = torch.optim.Adam(own, 1e-2)
    given = batch(method, stage)
    totals = []
    for step in range(40):
        torch.manual_seed(step % 2)  # the same dropout for the steps that are compared
        given.scratch.clear()
        total = torch.stack(list(method.losses(given, stage, turn).values())).sum()
        optimizer.zero_grad()
        total.backward(inputs=own)
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-2] < totals[0]


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if kind.needs_labels])
def test_a_method_that_needs_labels_refuses_none(name):
    kind = METHODS[name]
    with pytest.raises(DataError, match="expected a dataset with labels"):
        kind(VectorEncoder(dimension=4), VectorEncoder(dimension=4), classes=0, words=4, options=kind.options())


def test_published_crcgs_adversaries_are_wired_across():
    """The image assistant judges pictures generated from texts, and the text assistant words from images."""
    method = build("crcgs_published")
    stage = method.stages[2]
    method.prepare(stage)
    given = batch(method, stage)
    plain = method.losses(given, stage, stage.turns[0])
    given.scratch.clear()
    given.target_fixed = given.target_fixed + 1.0  # another text embedding: what it decodes to is a picture
    moved = method.losses(given, stage, stage.turns[0])
    assert moved["image_assistant"] != plain["image_assistant"]
    assert moved["text_assistant"] == plain["text_assistant"]


def test_published_crcgs_noise_follows_its_definition():
    kind = METHODS["crcgs_published"]
    values = {}
    for noise in ("items", "steps"):
        torch.manual_seed(0)
        options = kind.options(bits=BITS, noise=noise, **SMALL["crcgs_published"])
        method = kind(
            VectorEncoder(dimension=PIXELS),
            VectorEncoder(dimension=WORDS),
            classes=CLASSES,
            words=WORDS,
            options=options,
        )
        stage = method.stages[2]
        method.prepare(stage)
        values[noise] = float(method.losses(batch(method, stage), stage, stage.turns[1])["contrastive"].detach())
    assert values["items"] > values["steps"], "k = 5/100 makes negatives dearer than k = 5/10"


def test_edits_of_one_image_stand_together_where_that_is_asked_for():
    """24 edits of 8 images, 3 each, told as often by equal paths as by one object."""
    pixels = [np.full(2, image, np.float32) for image in range(8)]
    for images in (pixels, [f"{image}.png" for image in range(8)]):
        pairs = [
            Pair(
                Example(image=images[row % 8], text=f"edit {row}"),
                Example(image=np.full(2, -row, np.float32)),
                instance=row,
            )
            for row in range(24)
        ]
        table = PairTable(pairs, lambda examples: None)
        first, again, other = (table.epoch(6, 0, epoch, together="image") for epoch in (0, 0, 1))
        for batches in (first, other):
            assert sorted(np.concatenate(batches).tolist()) == list(range(24))
            assert [len(set((rows % 8).tolist())) for rows in batches] == [2, 2, 2, 2]
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert not np.array_equal(np.concatenate(first), np.concatenate(other))
        orders = {tuple(np.concatenate(table.epoch(6, epoch, together="image")) % 8) for epoch in range(4)}
        assert len(orders) == 4, "images are shuffled too"
        apart = [len(set((rows % 8).tolist())) for rows in table.epoch(6, 0, 0)]
        assert max(apart) > 2


def test_an_epoch_holds_one_pair_of_each_instance():
    pairs = [
        Pair(Example(image=np.full(2, i, np.float32)), Example(text=f"caption {i}.{c}"), instance=i)
        for i in range(11)
        for c in range(5)
    ]
    table = PairTable(pairs, lambda examples: None)
    first, again, other = table.epoch(4, 0, 0), table.epoch(4, 0, 0), table.epoch(4, 0, 1)
    assert [len(rows) for rows in first] == [4, 4, 3]
    assert sorted(table.instance[np.concatenate(first)].tolist()) == list(range(11))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(np.concatenate(first), np.concatenate(other))
    assert [len(rows) for rows in table.epoch(5, 0)] == [5, 5], "a last batch of one pair has nothing to contrast with"
    assert table.steps(5) == 2

"""Inputs check themselves, encoders pass their own features through, and a batch never changes a row."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hashret.errors import InputError, WidthError
from hashret.models import Encoder, Features, Inputs, VectorEncoder, in_blocks
from hashret.models.features import TOKEN_STEP, evaluating


def tokens(lengths: list[int], width: int) -> Inputs:
    """Rows of token ids: row r is filled with r + 1."""
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    return Inputs(text=torch.arange(1, len(lengths) + 1)[:, None] * mask, text_mask=mask)


def same(one: Inputs, other: Inputs) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("image", "text", "text_mask", "bag")]
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


def test_inputs_of_every_kind_know_their_number() -> None:
    assert len(Inputs(image=torch.zeros(3, 3, 8, 8))) == 3
    assert len(Inputs(image=torch.zeros(2, 5), text=torch.zeros(2, 7), bag=torch.zeros(2, 9))) == 2
    assert len(tokens([1, 2, 3, 4], 4)) == 4


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "expected an image, a text or both, got neither"),
        ({"bag": torch.zeros(2, 3)}, "got neither"),
        ({"image": torch.zeros(2, 3), "text": torch.zeros(3, 3)}, r"\{'image': 2, 'text': 3\}"),
        ({"image": torch.zeros(2, 3), "bag": torch.zeros(1, 3)}, r"\{'image': 2, 'bag': 1\}"),
        ({"text": torch.zeros(2, 3, dtype=torch.int64)}, "text_mask.*got none"),
        (
            {"text": torch.zeros(2, 3, dtype=torch.int64), "text_mask": torch.ones(2, 4, dtype=torch.bool)},
            r"text_mask.*got \(2, 4\)",
        ),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(parts: dict[str, Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Inputs(**parts)


@pytest.mark.parametrize("index", [slice(1, 3), [2, 0], torch.tensor([True, False, True]), torch.tensor([1])])
def test_rows_take_the_same_items_of_every_part(index: object) -> None:
    inputs = Inputs(
        torch.rand(3, 2), *(getattr(tokens([2, 1, 3], 4), name) for name in ("text", "text_mask")), torch.rand(3, 5)
    )
    where = np.arange(3)[np.asarray(index) if not isinstance(index, slice) else index]
    part = inputs.rows(index)  # type: ignore[arg-type]
    for name in ("image", "text", "text_mask", "bag"):
        assert getattr(part, name).tolist() == [getattr(inputs, name)[row].tolist() for row in where]


def test_stacked_parts_are_the_whole() -> None:
    whole = tokens([3, 1, 20], 32)
    short = whole.rows([0, 1])
    assert short.text is not None
    assert short.text_mask is not None
    short = Inputs(text=short.text[:, :16], text_mask=short.text_mask[:, :16])
    assert same(Inputs.stack([short, whole.rows([2])]), whole)
    both = Inputs(image=torch.rand(4, 3), text=torch.rand(4, 2))
    assert same(Inputs.stack([both.rows([0]), both.rows([1, 2, 3])]), both)
    with pytest.raises(InputError, match="batches of one kind"):
        Inputs.stack([both, whole])
    with pytest.raises(InputError, match="batches of one kind"):
        Inputs.stack([])


def test_inputs_move_as_a_whole() -> None:
    moved = Inputs(torch.rand(2, 3), torch.rand(2, 4), None, torch.rand(2, 5)).to("meta")
    assert [part.device.type for part in (moved.image, moved.text, moved.bag) if part is not None] == ["meta"] * 3


def test_an_encoder_passes_its_own_features_through_and_refuses_others() -> None:
    encoder = VectorEncoder(dimension=3)
    own = torch.rand(2, 3)
    assert encoder(own).pooled is own
    with pytest.raises(WidthError, match="expected 3 values a row.*got 4"):
        encoder(torch.rand(2, 4))
    for foreign in (torch.rand(2, 3, 8, 8), torch.ones(2, 3, dtype=torch.int64), torch.rand(3)):
        with pytest.raises(InputError, match="input of VectorEncoder: expected vectors"):
            encoder(foreign)


def test_evaluating_restores_every_part() -> None:
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2), nn.Dropout())
    network[2].eval()
    x = torch.rand(4, 2)
    with evaluating(network):
        assert not any(part.training for part in network.modules())
        assert torch.allclose(network(x), x, atol=1e-4)
        assert not torch.is_grad_enabled()
    assert [part.training for part in network.modules()] == [True, True, True, False]
    assert torch.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), evaluating(network):
        raise ZeroDivisionError
    assert network.training


class Recorder:
    """A function that remembers the shapes it was called with."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, inputs: Inputs) -> Tensor:
        x = inputs.image if inputs.image is not None else inputs.text
        assert x is not None
        self.shapes.append(tuple(x.shape))
        return x.flatten(1).double().sum(1, keepdim=True)


@pytest.mark.parametrize(("items", "block"), [(1, 16), (16, 16), (17, 16), (5, 2), (7, 1), (3, 100)])
def test_blocks_always_have_one_size_and_results_keep_their_order(items: int, block: int) -> None:
    function, x = Recorder(), torch.rand(items, 6)
    result = in_blocks(function, Inputs(image=x), block)
    assert function.shapes == [(block, 6)] * -(-items // block)
    assert torch.allclose(result, x.double().sum(1, keepdim=True))


def test_texts_run_beside_texts_of_their_length_only() -> None:
    lengths = [3, 40, 16, 17, 1, 33, 45, 32]
    function, inputs = Recorder(), tokens(lengths, 45)
    result = in_blocks(function, inputs, block=2)
    assert sorted(function.shapes) == sorted([(2, TOKEN_STEP)] * 2 + [(2, 2 * TOKEN_STEP)] + [(2, 45)] * 2)
    assert result.flatten().tolist() == [(row + 1) * length for row, length in enumerate(lengths)]


def test_impossible_blocks_are_refused() -> None:
    for items, block in ((3, 0), (0, 16)):
        with pytest.raises(InputError, match="block >= 1 and at least one item"):
            in_blocks(Recorder(), Inputs(image=torch.rand(items, 2)), block)


class Attention(Encoder):
    """A network whose kernels depend on the shape of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.dimension = 300
        self.words = nn.Embedding(50, 300)
        self.layer = nn.TransformerEncoderLayer(300, 4, 1100, dropout=0.0, batch_first=True)

    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        assert mask is not None
        return Features(self.layer(self.words(x), src_key_padding_mask=~mask)[:, 0])

    def config(self) -> dict[str, object]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, object]) -> Encoder:
        return cls()


@pytest.mark.parametrize("threads", [1, 2])
def test_neither_order_nor_company_changes_a_bit_of_a_row(threads: int) -> None:
    torch.manual_seed(threads)
    lengths = torch.randint(1, 40, (45,))
    mask = torch.arange(40)[None] < lengths[:, None]
    inputs = Inputs(text=torch.randint(1, 50, (45, 40)) * mask, text_mask=mask)
    encoder, head = Attention().eval(), nn.Sequential(nn.Linear(300, 1500), nn.Tanh(), nn.Linear(1500, 64)).eval()

    def function(part: Inputs) -> Tensor:
        result: Tensor = head(encoder(part.text, part.text_mask).pooled)
        return result

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            whole = in_blocks(function, inputs)
            for _ in range(4):
                some = torch.randperm(45)[: int(torch.randint(1, 46, ()))]
                assert torch.equal(in_blocks(function, inputs.rows(some)), whole[some])
            assert torch.allclose(function(inputs), whole, atol=1e-5)
    finally:
        torch.set_num_threads(before)

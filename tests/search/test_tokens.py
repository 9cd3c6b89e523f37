"""Tokens: ragged features that check themselves."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashret.errors import InputError, NonFiniteError, WidthError
from hashret.search import Tokens


def drawn(lengths: Any, width: int, seed: int = 0) -> Tokens:
    chance = np.random.default_rng(seed)
    return Tokens.of([chance.normal(size=(length, width)) for length in lengths])


@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=9), width=st.integers(1, 4), data=st.data())
def test_parts_are_those_of_a_list(lengths: list[int], width: int, data: st.DataObject) -> None:
    tokens = drawn(lengths, width)
    items = [tokens.item(number) for number in range(len(tokens))]
    assert [item.shape for item in items] == [(length, width) for length in lengths]
    assert tokens.offsets.tolist() == [sum(lengths[:place]) for place in range(len(lengths) + 1)]
    start, stop = sorted(data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9))))
    numbers = data.draw(st.lists(st.integers(-len(items), len(items) - 1), max_size=12))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items))))
    step = data.draw(st.sampled_from([-2, -1, 2]))
    for part, kept in (
        (tokens[start:stop], items[start:stop]), (tokens[::step], items[::step]),
        (tokens.rows(numbers), [items[number] for number in numbers]),
        (tokens[mask], [item for item, wanted in zip(items, mask, strict=True) if wanted]),
    ):  # fmt: skip
        assert part.lengths.tolist() == [len(item) for item in kept]
        assert part.values.tolist() == [row for item in kept for row in item.tolist()]
        Tokens(part.values, part.lengths)  # whole in itself
    assert Tokens.join([tokens[:start], tokens[start:]]) == tokens
    padded, present = np.full((len(items), 5, width), np.nan), np.zeros((len(items), 5), bool)
    for number, item in enumerate(items):
        padded[number, : len(item)], present[number, : len(item)] = item, True
    assert Tokens.masked(padded, present) == tokens


def test_what_are_no_tokens_is_refused() -> None:
    values, lengths = np.ones((3, 2), np.float32), np.array([1, 2])
    bad: list[tuple[Any, Any, str]] = [
        (values.astype(np.float64), lengths, r"tokens: expected float32 \(S, D\), C order, got float64"),
        (np.asfortranarray(np.ones((3, 2), np.float32)), lengths, "C order"),
        (values[0], lengths, "C order"), (values[:, :0], lengths, "C order"), ([[1.0]], lengths, "got list"),
        (values, lengths.astype(np.int32), r"lengths: expected int64 \(N,\), got int32"), (values, [1, 2], "got list"),
        (values, lengths[None], r"expected whole numbers \(N,\), got int64 \(1, 2\)"),
        (values, np.array([0, 3]), r"expected 1 ... 3 tokens an item, got 0 for item 0. Leave items without"),
        (values, np.array([2, -1]), "got -1 for item 1"), (values, np.array([1, 1]), "expected 3 tokens in all, got 2"),
        (values, np.array([2, 2]), "expected 3 tokens in all, got 4"),
    ]  # fmt: skip
    for given_values, given_lengths, said in bad:
        with pytest.raises(InputError, match=said):
            Tokens(given_values, given_lengths)
    for number in (np.nan, np.inf):
        values[2, 1] = number
        with pytest.raises(NonFiniteError, match=f"got {number} in token 1 of item 1"):
            Tokens(values, lengths)
    with pytest.raises(NonFiniteError, match="inf in token 0 of item 0"):
        Tokens.of([[[1e39]]])
    with pytest.raises(WidthError, match="item 1: expected tokens of width 2, as item 0 has, got 1"):
        Tokens.of([[[1, 2]], [[1]]])
    for items, said in (([], "items: expected at least one"), ([[1.0]], "item 0: expected real numbers"),
                        ([np.ones((0, 2)), np.ones((1, 2))], "got 0 for item 0"), ([[["a"]]], "item 0")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            Tokens.of(items)
    for mask in ([[1, 0]], [[True]], [[False, False]]):
        with pytest.raises(InputError, match="expected"):
            Tokens.masked(np.ones((1, 2, 3)), mask)
    with pytest.raises(InputError, match="parts: expected at least one"):
        Tokens.join([])
    with pytest.raises(WidthError, match=r"parts: expected one width, got \[1, 2\]"):
        Tokens.join([drawn([1], 2), drawn([1], 1)])


def test_places_that_are_not_there() -> None:
    tokens = drawn([2, 3], 2)
    assert tokens.item(-1).shape == (3, 2)
    assert (len(tokens[:0]), tokens[:0].width, len(tokens[5:])) == (0, 2, 0)
    assert tokens != "tokens"
    for index in ([2], [-3], 1, [0.5], [True]):
        with pytest.raises(InputError, match="index: expected a slice, or numbers of 2 items"):
            tokens.rows(index)  # type: ignore[arg-type]
    for number in (2, -3):
        with pytest.raises(InputError, match="item: expected one of 2"):
            tokens.item(number)

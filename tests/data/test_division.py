"""divide: the draws of the published codes, sizes in proportion, and lists that cannot be meant."""

from dataclasses import replace

import numpy as np
import pytest

from hashret.data.division import HashingProtocol, divide
from hashret.errors import DataError

ORDERS = ("first", "last", "permuted", "permuted, training first", "class by class")
PROTOCOL = HashingProtocol("x", "what", "here", items=60, queries=10, train=20, validation=5, seed=3)


def labels_of(count, classes=5, seed=0):
    """Every item has one label of few or many, and maybe another."""
    chance = np.random.default_rng(seed)
    rows = np.zeros((count, classes), np.uint8)
    rows[np.arange(count), np.arange(count) % classes] = 1
    rows[:, classes - 1] |= chance.integers(0, 2, count, dtype=np.uint8)
    return rows


LABELS = labels_of(60)


WAYS = [(order, train) for order in ORDERS for train in (20, None) if train or order != "class by class"]


@pytest.mark.parametrize(("order", "train"), WAYS)
def test_parts_are_disjoint_and_of_the_published_sizes(order, train):
    parts = divide(replace(PROTOCOL, order=order, train=train), LABELS)
    sizes = 10, 20 if train else 45, 5
    assert (len(parts.queries), len(parts.train), len(parts.validation)) == sizes
    every = np.concatenate([parts.queries, parts.train, parts.validation])
    assert len(np.unique(every)) == len(every)
    assert parts.database.tolist() == [row for row in range(60) if row not in set(parts.queries.tolist())]
    assert all(part.dtype == np.int64 for part in (parts.queries, parts.train, parts.validation, parts.database))
    again = divide(replace(PROTOCOL, order=order, train=train), LABELS)
    for name in ("queries", "train", "validation", "database"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(again, name))


def test_first_and_last():
    first = divide(replace(PROTOCOL, order="first"), LABELS)
    assert first.queries.tolist() == list(range(10))
    assert first.train.tolist() == list(range(10, 30))
    assert set(first.validation.tolist()) <= set(range(30, 60))
    assert first.validation.tolist() == sorted(first.validation.tolist())
    last = divide(replace(PROTOCOL, order="last", train=None), LABELS)
    assert last.queries.tolist() == list(range(50, 60))
    assert last.train.tolist() == list(range(45))
    assert last.validation.tolist() == list(range(45, 50))


@pytest.mark.parametrize(("seed", "items", "queries", "train"), [(1, 20_015, 2_000, 10_000), (1814, 500, 50, 100)])
def test_permuted_is_the_permutation_of_the_published_code(seed, items, queries, train):
    """They seed NumPy's global generator and permute ``range(items)``."""
    protocol = HashingProtocol("m", "", "", items=items, queries=queries, train=train, validation=30, seed=seed)
    parts = divide(protocol, np.ones((items, 1), np.uint8))
    state = np.random.get_state()
    np.random.seed(seed)
    order = np.random.permutation(range(items))
    np.random.set_state(state)
    assert parts.queries.tolist() == order[:queries].tolist()
    assert parts.train.tolist() == order[queries : queries + train].tolist()
    assert set(parts.validation.tolist()) < set(order[queries + train :].tolist())
    assert set(parts.database.tolist()) == set(order[queries:].tolist())


def test_permuted_training_first():
    parts = divide(replace(PROTOCOL, order="permuted, training first"), LABELS)
    order = np.random.RandomState(3).permutation(60).tolist()
    assert parts.train.tolist() == order[:20]
    assert parts.queries.tolist() == order[20:30]
    assert parts.validation.tolist() == order[30:35]


def test_seeds_differ_and_draws_leave_the_global_generator_alone():
    before = np.random.get_state()[1].tolist()
    draws = {tuple(divide(replace(PROTOCOL, seed=seed), LABELS).queries.tolist()) for seed in range(5)}
    assert len(draws) == 5
    assert np.random.get_state()[1].tolist() == before


def naive_class_by_class(labels, sizes, seed):
    """CRCGS's draw for NUS-WIDE in plain loops: test, validation, training; rarest class first; without replacement."""
    chance, left, parts = np.random.RandomState(seed), list(range(len(labels))), []
    for size in sizes:
        counts = [sum(int(labels[row][label]) for row in left) for label in range(labels.shape[1])]
        part = []
        for label in sorted(range(labels.shape[1]), key=lambda label: (counts[label], label)):
            pool = [row for row in left if labels[row][label] == 1]
            drawn = chance.choice(pool, size // labels.shape[1], replace=False).tolist()
            left = [row for row in left if row not in set(drawn)]
            part += drawn
        parts.append(part)
    return parts


@pytest.mark.parametrize("seed", range(4))
def test_class_by_class_equals_plain_loops(seed):
    labels = labels_of(60, seed=seed)
    labels[:4] = [[0, 0, 0, 0, 1]] * 4  # uneven classes
    parts = divide(replace(PROTOCOL, order="class by class", seed=seed), labels)
    asked, chosen, trained = naive_class_by_class(labels, (10, 5, 20), seed)
    assert parts.queries.tolist() == asked
    assert parts.validation.tolist() == chosen
    assert parts.train.tolist() == trained
    for part, size in ((parts.queries, 10), (parts.validation, 5), (parts.train, 20)):
        assert (labels[part].sum(0) >= size // 5).all()


def test_a_class_that_is_too_small_is_named():
    labels = LABELS.copy()
    labels[:, 2] = 0
    labels[:3, 2] = 1
    labels[labels.sum(1) == 0, 4] = 1
    with pytest.raises(DataError, match=r"more items of class 2, got [01]"):
        divide(replace(PROTOCOL, order="class by class"), labels)


def test_another_number_of_items_is_refused_unless_a_part_is_meant():
    with pytest.raises(DataError, match=r"NAME, protocol x: expected 60 usable items, got 59.*partial"):
        divide(PROTOCOL, LABELS[:59], name="NAME")
    assert len(divide(PROTOCOL, LABELS[:59], partial=True).queries) == 10
    whole, part = divide(PROTOCOL, LABELS), divide(PROTOCOL, LABELS, partial=True)
    np.testing.assert_array_equal(whole.train, part.train)


@pytest.mark.parametrize(("order", "train"), WAYS)
def test_a_part_is_divided_in_proportion(order, train):
    official = HashingProtocol(
        "x", "", "", items=20_000, queries=2_000, train=10_000 if train else None, validation=1_000, order=order
    )
    parts = divide(official, labels_of(200), partial=True)
    assert (len(parts.queries), len(parts.validation)) == (20, 10)
    assert len(parts.train) == (100 if train else 170)


@pytest.mark.parametrize("order", ORDERS[:4])
@pytest.mark.parametrize("count", range(6, 12))
def test_the_smallest_parts_are_two_of_each(order, count):
    for train in (1_000, 1_900, None):
        official = HashingProtocol("x", "", "", items=2_000, queries=50, train=train, validation=50, order=order)
        parts = divide(official, labels_of(count), partial=True)
        assert min(len(parts.queries), len(parts.train), len(parts.validation)) >= 2
        every = np.concatenate([parts.queries, parts.train, parts.validation])
        assert len(np.unique(every)) == len(every) <= count


@pytest.mark.parametrize("count", range(6))
def test_too_few_items_are_refused(count):
    sizes = "2 queries, 2 or more training items and 2 validation queries"
    with pytest.raises(DataError, match=f"expected {sizes}, got {count} usable items"):
        divide(PROTOCOL, labels_of(count), partial=True)


def test_sizes_that_the_items_do_not_allow_are_named():
    protocol = replace(PROTOCOL, train=48)
    with pytest.raises(
        DataError, match="expected 10 queries, 48 or more training items and 5 validation queries, got 60"
    ):
        divide(protocol, LABELS)


@pytest.mark.parametrize(("order", "train"), WAYS)
def test_a_protocol_may_have_no_validation(order, train):
    protocol = HashingProtocol("x", "", "", items=60, queries=10, train=train, order=order)
    for partial, count in ((False, 60), (True, 60), (True, 30)):
        parts = divide(protocol, labels_of(count), partial=partial)
        assert parts.validation.tolist() == []
        assert parts.validation.dtype == np.int64
        assert len(parts.queries) == count // 6
        assert len(parts.train) == (count // 3 if train else count - count // 6)
    lists = {"queries": np.arange(10), "train": np.arange(10, 30), "validation": np.array([])}
    if train:
        assert divide(protocol, LABELS, lists=lists).validation.tolist() == []


LISTS = {"queries": np.array([4, 2]), "train": np.array([[0], [9], [7]]), "validation": np.array([3, 8], np.uint16)}


def test_lists_of_the_authors_count_instead():
    parts = divide(PROTOCOL, LABELS, lists=LISTS, partial=True)
    assert parts.queries.tolist() == [4, 2]
    assert parts.train.tolist() == [0, 9, 7]
    assert parts.validation.tolist() == [3, 8]
    assert parts.database.tolist() == [row for row in range(60) if row not in (2, 4)]
    with pytest.raises(DataError, match="usable items"):
        divide(PROTOCOL, LABELS[:50], lists=LISTS)


@pytest.mark.parametrize("part", ["queries", "train", "validation"])
def test_lists_of_other_sizes_are_refused_unless_a_part_is_meant(part):
    rows = np.random.default_rng(0).permutation(60)
    lists = {"queries": rows[:10], "train": rows[10:30], "validation": rows[30:35]}
    assert divide(PROTOCOL, LABELS, lists=lists).train.tolist() == rows[10:30].tolist()
    lists[part] = lists[part][:-1]
    expected = "expected 10 queries, 20 train, 5 validation, got"
    with pytest.raises(DataError, match=f"NAME, index lists of protocol x: {expected} {len(lists[part])} {part}"):
        divide(PROTOCOL, LABELS, lists=lists, name="NAME")
    assert len(getattr(divide(PROTOCOL, LABELS, lists=lists, partial=True), part)) == len(lists[part])


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"queries": np.array([4, 9])}, "1 rows twice, such as 9"),
        ({"train": np.array([1, 1, 5])}, "1 rows twice, such as 1"),
        ({"train": np.array([1, 60])}, "1 beyond them, such as 60"),
        ({"validation": np.array([-1, 3])}, "1 beyond them, such as -1"),
        ({"queries": np.array([], np.int64)}, "no row in queries"),
        ({"validation": np.array([3.0, 8.0])}, "no integers"),
        ({"queries": np.array([True, False])}, "no row|twice"),
    ],
)
def test_lists_that_cannot_be_meant_are_refused(wrong, match):
    with pytest.raises(DataError, match=match):
        divide(PROTOCOL, LABELS, lists=LISTS | wrong, name="NAME")


def test_a_card_shows_the_sizes():
    assert PROTOCOL.sizes == {"items": 60, "queries": 10, "training": 20, "database": 50, "validation queries": 5}
    assert replace(PROTOCOL, train=None).sizes["training"] == 45

"""What every entry of STORES owes its users: the answers of one HammingIndex, ties included, and named mistakes.

An engine that is not installed is skipped. ``clickhouse`` is asked over HTTP, of an endpoint whose engine is chdb
(tests/engines/clickhouse_http.py); no ClickHouse server is needed.
"""

import numpy as np
import pytest
from engines import ADDRESSES, duplicates

from hashret.codes import Codes
from hashret.errors import InputError, StoreError, WidthError
from hashret.search import HammingIndex
from hashret.stores import STORES, open_store

BITS, ITEMS = 60, 2_000

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module", params=sorted(STORES))
def address(request, tmp_path_factory):
    """Address of a store that does not exist yet, by a name of one's own."""
    assert request.param in ADDRESSES, f"give {request.param} a line in tests/engines"
    folder = tmp_path_factory.mktemp(request.param)
    with ADDRESSES[request.param](folder) as addressed:
        yield addressed


@pytest.fixture(scope="module")
def pair(address):
    """A store and a HammingIndex of the same codes, which no test changes."""
    codes, ids = duplicates(BITS, ITEMS, 0), np.random.default_rng(1).permutation(5 * ITEMS)[:ITEMS]
    index = HammingIndex(BITS)
    with open_store(address("read", f"bits={BITS}")) as store:
        assert len(store) == 0
        for start in (0, 700):
            rows = slice(start, start + (700 if start == 0 else ITEMS))
            assert store.add(codes[rows], ids[rows]).tolist() == ids[rows].tolist()
        index.add(codes, ids)
        yield store, index


QUERIES = duplicates(BITS, 70, 2)  # more than ClickHouse is asked at once


def test_it_holds_what_was_added(pair):
    store, index = pair
    assert (len(store), store.bits) == (ITEMS, BITS)
    assert np.array_equal(store.ids, index.ids)
    assert store.ids.dtype == np.int64
    assert int(index.ids[5]) in store
    for other in (-1, 5 * ITEMS, 2**63, "1", True, 0.5):
        assert (other in store) == (other in index)


@pytest.mark.parametrize("k", [1, 10, ITEMS + 5])
def test_nearest_are_those_of_the_index(pair, k):
    store, index = pair
    asked = QUERIES if k < 100 else QUERIES[:3]
    hits = index.search(asked, k)
    assert store.search(asked, k) == hits
    assert (hits.distances[:, 1:] == hits.distances[:, :-1]).any() or k == 1, "without ties this shows little"
    assert store.search(asked.packed, k) == hits


def test_one_query_and_none(pair):
    store, index = pair
    for asked in (QUERIES[:1], QUERIES[:0]):
        assert store.search(asked, 4) == index.search(asked, 4)
        assert store.within(asked, 9) == index.within(asked, 9)
        assert np.array_equal(store.histogram(asked), index.histogram(asked))


@pytest.mark.parametrize("radius", [0, 9, BITS + 3])
def test_within_a_radius_are_those_of_the_index(pair, radius):
    store, index = pair
    asked = QUERIES if radius < 10 else QUERIES[:2]
    assert store.within(asked, radius) == index.within(asked, radius)


def test_counts_by_distance_are_those_of_the_index(pair):
    store, index = pair
    assert np.array_equal(store.histogram(QUERIES), index.histogram(QUERIES))


@pytest.mark.parametrize("kind", ["ids", "mask", "one", "none", "unknown"])
def test_only_the_allowed_answer(pair, kind):
    store, index = pair
    allowed = {
        "ids": index.ids[::7][::-1], "mask": np.arange(ITEMS) % 11 == 0, "one": index.ids[3:4],
        "none": np.empty(0, np.int64), "unknown": [5 * ITEMS + 1],
    }[kind]  # fmt: skip
    asked = QUERIES[:5]
    assert store.search(asked, 30, allowed=allowed) == index.search(asked, 30, allowed=allowed)
    assert store.within(asked, 20, allowed=allowed) == index.within(asked, 20, allowed=allowed)
    assert np.array_equal(store.histogram(asked, allowed=allowed), index.histogram(asked, allowed=allowed))


def test_codes_are_given_back_by_their_ids(pair):
    store, index = pair
    ids = index.ids[[5, 900, 1, 5]]
    taken = store.take(ids)
    assert taken == index.take(ids)
    assert np.array_equal(taken.packed[0], taken.packed[3])
    assert not np.array_equal(taken.packed[0], taken.packed[1])
    assert len(store.take(ids[:0])) == 0
    with pytest.raises(InputError, match=str(5 * ITEMS)):
        store.take([int(ids[0]), 5 * ITEMS])
    with pytest.raises(InputError, match="whole numbers"):
        store.take([0.5])


def test_it_is_saved_as_a_local_index(pair, tmp_path):
    store, index = pair
    store.save(tmp_path / "saved.index")
    saved = HammingIndex.load(tmp_path / "saved.index")
    assert np.array_equal(saved.ids, index.ids)
    assert saved.search(QUERIES, 40) == index.search(QUERIES, 40)


def test_mistakes_of_who_asks_have_names(pair):
    store, _ = pair
    wide = Codes(np.zeros((1, 8), np.uint8), BITS + 1)
    for call in (lambda c: store.search(c, 1), lambda c: store.within(c, 1), store.histogram, store.add):
        with pytest.raises(WidthError, match=f"{BITS} bits"):
            call(wide)
        with pytest.raises(WidthError):
            call(np.zeros((1, 9), np.uint8))
        with pytest.raises(InputError):
            call(np.zeros((1, 8), np.float32))
    for k in (0, -1, 1.0, True, "3"):
        with pytest.raises(InputError, match="k: expected"):
            store.search(QUERIES[:1], k)
        with pytest.raises(InputError, match="radius: expected"):
            store.within(QUERIES[:1], k if k != 0 else -3)
    for allowed in ([[1]], [0.5], [-1], np.ones(3, bool)):
        with pytest.raises(InputError):
            store.search(QUERIES[:1], 1, allowed=allowed)


def test_mistakes_of_who_changes_have_names_and_change_nothing(pair):
    store, index = pair
    held, new = int(index.ids[0]), 5 * ITEMS
    two = QUERIES[:2]
    huge = np.array([new, 2**63], np.uint64)
    for ids, said in (
        ([new, held], f"{held} taken"), ([new, new], "twice"), ([new], "2, one a code"), ([new, -1], "-1"),
        (huge, "0 ..."), ([0.5, 1.5], "whole numbers"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            store.add(two, ids)
    for change in (store.remove, lambda ids: store.replace(ids, two)):
        with pytest.raises(InputError, match=f"{new} unknown"):
            change([held, new])
    with pytest.raises(InputError, match="twice"):
        store.replace([held, held], two)
    assert np.array_equal(store.ids, index.ids)
    assert store.search(QUERIES, 9) == index.search(QUERIES, 9)


def _changed(store, codes, rng):
    """A random walk of changes; all randomness comes from rng, so that twice gives the same."""
    store.add(codes[:400])
    for step in range(4):
        leaving = np.sort(rng.choice(store.ids, 60, replace=False))
        assert store.remove([*leaving.tolist(), int(leaving[0])]) == 60
        given = rng.choice(store.ids, 30, replace=False)
        store.replace(given, codes[500 + 30 * step : 530 + 30 * step])
        store.add(codes[400 + 10 * step : 410 + 10 * step])
        last = int(store.ids[-1])
        store.remove([last])
        assert store.add(codes[:1]).tolist() == [last + 1], "a removed id never comes to mean another item"
    store.add(codes[:1], [2**63 - 1])
    assert 2**63 - 1 in store


def test_changes_are_those_of_the_index_and_last(address):
    codes, index = duplicates(BITS, 700, 3), HammingIndex(BITS)
    _changed(index, codes, np.random.default_rng(4))
    with open_store(address("changed", f"bits={BITS}")) as store:
        _changed(store, codes, np.random.default_rng(4))
        assert store.search(QUERIES, 25) == index.search(QUERIES, 25)
        with pytest.raises(InputError, match="numbers up to"):
            store.add(codes[:1])
    with open_store(address("changed")) as again:
        assert (len(again), again.bits) == (len(index), BITS)
        assert np.array_equal(again.ids, index.ids)
        assert again.search(QUERIES, 25) == index.search(QUERIES, 25)


def test_a_store_of_another_width_or_option_is_refused(address):
    with open_store(address("narrow", "bits=12")) as store:
        store.add(Codes(np.array([[255, 240]], np.uint8), 12))
    with pytest.raises(WidthError, match="13 bits"):
        open_store(address("narrow", "bits=13"))
    with pytest.raises(InputError, match="colour"):
        open_store(address("narrow", "colour=red"))
    with pytest.raises(InputError, match="bits"):
        open_store(address("nothing", "bits=0"))


def test_a_closed_store_is_refused(address):
    store = open_store(address("closed", f"bits={BITS}"))
    store.add(QUERIES)
    store.close()
    store.close()
    verbs = [
        lambda: len(store), lambda: store.ids, lambda: 1 in store, lambda: store.add(QUERIES),
        lambda: store.remove([0]), lambda: store.replace([0], QUERIES[:1]), lambda: store.search(QUERIES, 1),
        lambda: store.search(QUERIES[:0], 1), lambda: store.within(QUERIES, 1), lambda: store.histogram(QUERIES),
        lambda: store.take([0]), lambda: store.take([]), lambda: store.save("nowhere"), store.__enter__,
    ]  # fmt: skip
    for verb in verbs:
        with pytest.raises(StoreError, match="closed"):
            verb()

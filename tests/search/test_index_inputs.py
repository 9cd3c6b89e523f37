"""What HammingIndex refuses, by name and with nothing changed; and what becomes of ids."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hashret.codes import Codes, binarize
from hashret.errors import InputError, WidthError
from hashret.relevance import SameInstance, SharedLabels, Targets
from hashret.search import HammingIndex
from hashret.search import segments as segments_module

LARGEST = 2**63 - 1
ZEROS = np.zeros((9, 1), np.uint8)


def index_of(ids: Any, bits: int = 8) -> HammingIndex:
    index = HammingIndex(bits)
    index.add(np.zeros((len(ids), -(-bits // 8)), np.uint8), ids)
    return index


def verbs(index: HammingIndex) -> dict[str, Callable[[Any], Any]]:
    """All that take codes, and how many codes they take here."""
    return {
        "add": index.add,
        "replace": lambda codes: index.replace([0], codes),
        "search": lambda codes: index.search(codes, 1),
        "within": lambda codes: index.within(codes, 1),
        "histogram": index.histogram,
        "joint_histogram": lambda codes: index.joint_histogram(codes, Targets([[]], gallery=1)),
    }


@pytest.mark.parametrize(
    ("codes", "kind", "message"),
    [
        (np.ones((1, 12), np.float32), InputError, r"packed bits as uint8 \(n, 2\), got float32 \(1, 12\)"),
        (np.ones(2, np.uint8), InputError, r"got uint8 \(2,\)"),
        (np.ones((1, 2, 1), np.uint8), InputError, r"got uint8 \(1, 2, 1\)"),
        (np.ones((1, 2), np.int8), InputError, r"got int8 \(1, 2\)"),
        ([[1, 2]], InputError, r"got int64 \(1, 2\)"),
        (None, InputError, r"got object \(\)"),
        (np.zeros((1, 3), np.uint8), WidthError, "expected 2 bytes a row for 12 bits, got 3 bytes"),
        (np.full((1, 2), 255, np.uint8), WidthError, "4 zero pad bits"),
        (binarize(np.ones((1, 13))), WidthError, "expected 12 bits, got 13 bits"),
    ],
)
def test_every_verb_refuses_what_are_no_codes_of_its_width(codes: object, kind: type[Exception], message: str) -> None:
    index = index_of([0], bits=12)
    for verb in verbs(index).values():
        with pytest.raises(kind, match=message):
            verb(codes)
    assert index.ids.tolist() == [0]


@pytest.mark.parametrize("number", [0, -1, 1.0, "1", True, None, np.float64(3), [1]])
def test_k_and_bits_are_whole_numbers_of_at_least_one(number: object) -> None:
    with pytest.raises(InputError, match="k: expected a whole number >= 1, got"):
        index_of([0]).search(ZEROS[:1], number)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="bits: expected a whole number >= 1, got"):
        HammingIndex(number)  # type: ignore[arg-type]


def test_codes_have_at_most_65535_bits() -> None:
    index = HammingIndex(65_535)
    both = np.stack([np.zeros(8192, np.uint8), np.packbits(np.ones(65_535, np.bool_))])
    index.add(both)
    assert index.search(both, 2).distances.tolist() == [[0, 65_535]] * 2
    assert index.histogram(both)[:, [0, 65_535]].tolist() == [[1, 1]] * 2
    for bits in (65_536, 10**30):
        with pytest.raises(InputError, match=rf"bits: expected at most 65535, got {bits}\. Search codes of fewer bits"):
            HammingIndex(bits)
    assert HammingIndex(np.int16(7)).bits == 7  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [-1, 0.5, False, None])
def test_the_radius_is_a_whole_number(number: object) -> None:
    with pytest.raises(InputError, match="radius: expected a whole number >= 0, got"):
        index_of([0]).within(ZEROS[:1], number)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [0, -1, 1.0, "2", True])
def test_threads_are_a_whole_number_of_at_least_one(number: Any) -> None:
    index = index_of([0])
    acts = [
        lambda: index.search(ZEROS[:1], 1, threads=number),
        lambda: index.within(ZEROS[:1], 1, threads=number),
        lambda: index.histogram(ZEROS[:1], threads=number),
        lambda: index.joint_histogram(ZEROS[:1], Targets([[]], gallery=1), threads=number),
        lambda: index.build_tables(threads=number),
    ]
    for act in acts:
        with pytest.raises(InputError, match="threads: expected a whole number >= 1, got"):
            act()


@pytest.mark.parametrize("name", ["mih", "", "SCAN", None, 3, ["scan"]])
def test_an_unknown_algorithm_is_refused(name: Any) -> None:
    for index in (HammingIndex(8), index_of([0])):
        for act in (index.search, index.within):
            with pytest.raises(InputError, match="algorithm: expected 'auto' or 'scan' or 'multi-index', got "):
                act(ZEROS[:1], 1, algorithm=name)


def test_the_tables_have_to_be_built_before_they_are_asked_for() -> None:
    index = index_of(range(9))
    for act in (index.search, index.within):
        with pytest.raises(InputError, match=r"algorithm: expected an index with tables .* Call build_tables\(\) once"):
            act(ZEROS[:1], 1, algorithm="multi-index")
    index.build_tables()
    assert index.search(ZEROS[:1], 1, algorithm="multi-index").ids.tolist() == [[0]]
    index.replace([0], ~ZEROS[:1])
    index.compact()
    with pytest.raises(InputError, match="got one without"):
        index.search(ZEROS[:1], 1, algorithm="multi-index")


@pytest.mark.parametrize("chunks", [0, -1, 65, 2, 3.0, "3", True])
def test_chunks_that_leave_one_without_bits_or_with_too_many_are_refused(chunks: Any) -> None:
    index = index_of(range(9), bits=64)
    with pytest.raises(InputError, match="chunks: expected "):
        index.build_tables(chunks)
    assert index.ids.tolist() == list(range(9))
    assert all(part.tables is None for part in index._segments.parts)


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        (np.ones(8, np.bool_), r"allowed: expected a mask bool \(9,\), one a code in the order of index.ids, got bool"),
        (np.ones((1, 9), np.bool_), r"got bool \(1, 9\)"),
        (np.ones(10, np.bool_), "Give the ids that may answer instead"),
        ([0.0, 1.0], r"expected whole numbers \(n,\), got float64 \(2,\)"),
        ([[0, 1]], r"expected whole numbers \(n,\), got int64 \(1, 2\)"),
        (3, r"got int64 \(\)"),
        (["a"], "expected whole numbers"),
        ({0, 1}, r"got object \(\)"),
        ([-1], "expected 0 ... 9223372036854775807, got -1"),
        ([2**64], "expected whole numbers"),
    ],
)
def test_allowed_is_ids_or_a_mask_of_all(allowed: Any, message: str) -> None:
    index = index_of(range(9))
    verbs = (index.search, index.within, lambda codes, _, **options: index.histogram(codes, **options))
    for verb in verbs:
        with pytest.raises(InputError, match=message):
            verb(ZEROS, 1, allowed=allowed)


@pytest.mark.parametrize(("queries", "gallery"), [(8, 9), (10, 9), (9, 8), (0, 9), (9, 0)])
def test_relevance_of_other_queries_or_too_few_items_is_refused(queries: int, gallery: int) -> None:
    index = index_of(range(9))
    message = rf"relevance: expected 9 queries and .* at least 9 items, got {queries} queries and {gallery} items"
    for relevance in (Targets([[]] * queries, gallery), SameInstance(range(queries), range(gallery))):
        with pytest.raises(InputError, match=message):
            index.joint_histogram(ZEROS, relevance)
    assert index.joint_histogram(ZEROS, Targets([[]] * 9, 20)).sum() == 81


@pytest.mark.parametrize("gone", [[8], [4, 8], [3, 4, 5, 6, 7, 8]])
def test_relevance_need_not_know_what_was_removed(gone: list[int]) -> None:
    index = index_of(range(9))
    index.remove(gone)
    gallery = int(index.ids[-1]) + 1
    for relevance in (Targets([[0]] * 9, gallery), SharedLabels([[1]] * 9, [[1]] + [[0]] * (gallery - 1))):
        assert index.joint_histogram(ZEROS, relevance)[:, :, 0].tolist() == [[8 - len(gone), 1]] * 9


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 1], "expected each id once, got 1 twice"),
        ([1, 7], "expected ids that are not in the index, got 7 taken"),
        ([-1, 3], "got -1. Number items from 0"),
        ([1], "expected 2, one a code, got 1"),
        ([0.0, 1.0], r"expected whole numbers \(n,\), got float64"),
        ([True, False], r"expected whole numbers \(n,\), got bool"),
        ([[0, 1]], r"got int64 \(1, 2\)"),
        (["a", "b"], "keep their names in a table"),
        (np.array([0, 2**63], np.uint64), "got 9223372036854775808"),
        ([0, 2**64], "expected whole numbers"),
    ],
)
def test_wrong_ids_are_refused_and_nothing_is_added(ids: Any, message: str) -> None:
    index = index_of([7])
    with pytest.raises(InputError, match=message):
        index.add(ZEROS[:2], ids)
    assert index.ids.tolist() == [7]
    assert index.add(ZEROS[:1]).tolist() == [8]


@pytest.mark.parametrize(
    ("ids", "codes", "message"),
    [
        ([1, 1], ZEROS[:2] + 255, "expected each id once, got 1 twice"),
        ([1, 9], ZEROS[:2] + 255, r"expected ids that are in the index, got 9 unknown\. .* Nothing was changed"),
        ([1], ZEROS[:2] + 255, "expected 2, one a code, got 1"),
        ([1, 2], np.zeros((2, 2), np.uint8), "expected 1 bytes a row for 8 bits, got 2 bytes"),
    ],
)
def test_a_wrong_replacement_changes_nothing(ids: list[int], codes: Any, message: str) -> None:
    index = index_of(range(4))
    with pytest.raises(InputError, match=message):
        index.replace(ids, codes)
    assert index.search(ZEROS[:1], 5).distances.tolist() == [[0, 0, 0, 0, 2147483647]]


def test_ids_reach_to_the_end_of_64_bits() -> None:
    index, code = HammingIndex(8), ZEROS[:1]
    index.add(code, np.array([LARGEST], np.uint64))
    assert index.search(code, 1).ids.tolist() == [[LARGEST]]
    assert LARGEST in index
    assert 2**63 not in index
    assert index.add(code[:0]).tolist() == []
    with pytest.raises(InputError, match="ids: expected numbers up to .* Give the ids yourself"):
        index.add(code)
    assert index.add(code, [0]).tolist() == [0]
    index.build_tables()
    assert index.search(code, 3, allowed=[LARGEST]).ids.tolist() == [[LARGEST, -1, -1]]
    assert index.within(code, 0).ids.tolist() == [[0, LARGEST]]
    index.replace([LARGEST], ~code)
    assert index.search(code, 2).ids.tolist() == [[0, LARGEST]]
    assert index.remove([LARGEST]) == 1
    with pytest.raises(InputError, match="Give the ids yourself"):  # it was there
        index.add(code)


def test_the_last_ids_that_there_are_follow_each_other() -> None:
    index = index_of([LARGEST - 3])
    assert index.add(ZEROS[:2]).tolist() == [LARGEST - 2, LARGEST - 1]
    with pytest.raises(InputError, match=f"got 2 more after {LARGEST - 1}"):
        index.add(ZEROS[:2])
    assert index.add(ZEROS[:1]).tolist() == [LARGEST]
    assert index.ids.tolist() == list(range(LARGEST - 3, LARGEST + 1))
    assert index.search(ZEROS[:1], 4).ids.tolist() == [index.ids.tolist()]
    assert [key in index for key in (LARGEST - 4, LARGEST - 3, LARGEST)] == [False, True, True]


def test_a_removed_id_is_not_given_out_again(tmp_path) -> None:
    index = HammingIndex(8)
    index.add(ZEROS[:3])
    assert index.remove([2, 2, 1]) == 2
    assert index.add(ZEROS[:1]).tolist() == [3]
    assert index.remove([3]) == 1
    assert index.add(ZEROS[:1], ids=[2]).tolist() == [2]  # unless asked for
    assert index.add(ZEROS[:1]).tolist() == [4]
    assert index.remove([4, 2]) == 2
    index.save(tmp_path / "index")
    for same in (HammingIndex.load(tmp_path / "index"), copy.copy(index), index):
        same.compact()
        assert same.add(ZEROS[:1]).tolist() == [5]
    index.remove(index.ids)
    assert index.add(ZEROS[:1]).tolist() == [6]


def test_unknown_ids_are_named_and_nothing_is_removed() -> None:
    index = index_of(range(3))
    with pytest.raises(InputError, match="ids that are in the index, got 3, 9 unknown"):
        index.remove([9, 1, 3])
    with pytest.raises(InputError, match="3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 7 more unknown"):
        index.remove(range(20))
    assert len(index) == 3
    assert [thing in index for thing in (0, True, 1.0, "0", -1, None)] == [True, False, False, False, False, False]


def test_ids_and_codes_cannot_be_changed_from_outside() -> None:
    index, given_ids, codes = HammingIndex(8), np.array([3, 1]), ZEROS[:2].copy()
    returned = index.add(codes, given_ids)
    given_ids[:] = returned[:] = 0
    codes[:] = 255
    assert index.ids.tolist() == [1, 3]
    assert index.search(ZEROS[:1], 2).distances.tolist() == [[0, 0]]
    with pytest.raises(ValueError, match="read-only"):
        index.ids[0] = 5


def test_what_was_found_stays_when_the_index_changes(monkeypatch) -> None:
    monkeypatch.setattr(segments_module, "_SMALL", 0)
    index = index_of(range(5))
    hits, ids, state, near = index.search(ZEROS[:1], 5), index.ids, index._segments, index.within(ZEROS[:1], 8)
    index.add(ZEROS[:4])
    index.remove([0, 1, 2])
    index.replace([3], ~ZEROS[:1])
    index.build_tables()
    assert hits.ids.tolist() == near.ids.tolist() == [ids.tolist()] == [[0, 1, 2, 3, 4]]
    assert state.names().tolist() == [0, 1, 2, 3, 4]
    assert [part.codes().packed.max() for part in state.parts] == [0]


def test_a_width_of_no_whole_bytes_is_said_in_bits() -> None:
    codes = Codes(np.array([[0b10100000]], np.uint8), 3)
    index = HammingIndex(3)
    index.add(codes)
    assert repr(index) == "HammingIndex(1 x 3 bits)"
    assert index.search(codes.packed, 1).distances.tolist() == [[0]]
    assert index.nbytes == 256  # a block

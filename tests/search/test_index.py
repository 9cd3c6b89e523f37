"""HammingIndex against a dict and a full sort with Python's integers."""

import copy
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.relevance import SameInstance, SharedLabels, Targets
from hashret.search import HammingIndex, Hits, answers, merge
from hashret.search import segments as segments_module

PAD = (2147483647, -1)
LARGEST = 2**63 - 1
Row = list[tuple[int, int]]


def random_codes(rows: int, bits: int, rng: np.random.Generator) -> Codes:
    """Codes of which many are near each other and some are equal."""
    centres = rng.random((3, bits)) < 0.5
    return Codes(np.packbits(centres[rng.integers(0, 3, rows)] ^ (rng.random((rows, bits)) < 0.05), axis=1), bits)


def ranked(queries: Codes, items: dict[int, bytes]) -> list[Row]:
    """All (distance, id) of every query, sorted."""
    found = []
    for query in queries.packed:
        number = int.from_bytes(query.tobytes())
        found.append(sorted(((number ^ int.from_bytes(code)).bit_count(), key) for key, code in items.items()))
    return found


def rows_of(hits: Hits) -> list[Row]:
    lines = zip(hits.distances.tolist(), hits.ids.tolist(), strict=True)
    return [list(zip(far, ids, strict=True)) for far, ids in lines]


def padded(rows: list[Row], width: int) -> list[Row]:
    return [row[:width] + [PAD] * (width - len(row)) for row in rows]


def counted(rows: list[Row], bits: int) -> list[list[int]]:
    return [[sum(far == at for far, _ in row) for at in range(bits + 1)] for row in rows]


def paired(ids: Any, codes: Codes) -> dict[int, bytes]:
    return {int(key): code.tobytes() for key, code in zip(ids, codes.packed, strict=True)}


def check_answers(index: HammingIndex, queries: Codes, items: dict[int, bytes], k: int, radius: int,
                  **options: Any) -> None:  # fmt: skip
    """Compare what all verbs answer; ``items`` are those that may."""
    everything = ranked(queries, items)
    near = [[hit for hit in row if hit[0] <= radius] for row in everything]
    tables = any(part.tables is not None for part in index._segments.parts)
    ways = [("auto", 1), ("scan", 1), *[("multi-index", 1), ("multi-index", 1e9), ("auto", 1e9)] * tables]
    for algorithm, budget in ways:  # with a large budget no query is given up and scanned
        with pytest.MonkeyPatch.context() as patch:
            for name in ("_SHARE", "_BATCH"):
                patch.setattr(answers, name, getattr(answers, name) * budget)
            patch.setattr(answers, "_FEWEST", 0 if budget > 1 else answers._FEWEST)
            found = index.search(queries, k, algorithm=algorithm, **options)
            within = index.within(queries, radius, algorithm=algorithm, **options)
        assert rows_of(found) == padded(everything, k)
        assert Hits(found.distances, found.ids) == found  # looks through the order of rows
        assert rows_of(within) == padded(near, max(map(len, near), default=0))
    assert index.histogram(queries, **options).tolist() == counted(everything, index.bits)


@settings(deadline=None, max_examples=60)
@given(
    bits=st.integers(1, 300), rows=st.integers(0, 20), asked=st.integers(0, 4), k=st.integers(1, 25),
    radius=st.integers(0, 310), tables=st.booleans(), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_answers_equal_a_full_sort(
    bits: int, rows: int, asked: int, k: int, radius: int, tables: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = random_codes(rows, bits, rng)
    ids = rng.choice(LARGEST, rows, replace=False) if seed % 2 else rng.permutation(rows)
    index = HammingIndex(bits)
    index.add(codes[: rows // 2], ids[: rows // 2])
    index.add(codes[rows // 2 :], ids[rows // 2 :])
    if tables:
        index.build_tables()
    assert index.ids.tolist() == sorted(ids.tolist())
    queries = Codes.concatenate([codes[: asked // 2], random_codes(asked, bits, rng)])
    check_answers(index, queries, paired(ids, codes), k, radius)
    wanted = rng.integers(0, rows, 2 * (rows > 0))
    assert index.take(ids[wanted]) == codes[wanted]
    with pytest.raises(InputError, match=f"{LARGEST} unknown"):
        index.take([*ids[wanted], LARGEST])


class History(RuleBasedStateMachine):
    """An index beside a dict that goes through the same."""

    @initialize(
        bits=st.sampled_from([5, 12, 32, 64, 100]), least=st.sampled_from([0, 9, 4096]), seed=st.integers(0, 99)
    )
    def start(self, bits: int, least: int, seed: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(segments_module, "_SMALL", least)
        self.rng = np.random.default_rng(seed)
        self.index, self.items, self.last = HammingIndex(bits), dict[int, bytes](), -1

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()

    def some(self, count: int) -> Any:
        return self.rng.permutation(sorted(self.items)).astype(np.int64)[:count]

    def add(self, count: int, ids: Any) -> None:
        codes = random_codes(count, self.index.bits, self.rng)
        got = self.index.add(codes, ids)
        expected = range(self.last + 1, self.last + 1 + count) if ids is None else ids.tolist()
        assert (got.dtype, got.tolist()) == (np.int64, list(expected))
        self.items |= paired(got, codes)
        self.last = max([self.last, *got.tolist()])

    @rule(count=st.integers(0, 12))
    def add_without_ids(self, count: int) -> None:
        self.add(count, None)

    @rule(counts=st.lists(st.integers(0, 3), max_size=5))
    def add_in_pieces(self, counts: list[int]) -> None:
        for count in counts:
            self.add(count, None)

    @rule(count=st.integers(0, 12))
    def add_under_any_ids(self, count: int) -> None:
        self.add(count, self.rng.choice(sorted(set(range(150)) - self.items.keys()), count, replace=False))

    @rule(count=st.integers(1, 5))
    def add_with_gaps(self, count: int) -> None:
        self.add(count, self.last + self.rng.integers(1, 5, count).cumsum())

    @rule(count=st.integers(0, 20))
    def remove(self, count: int) -> None:
        leaving = self.some(count)
        assert self.index.remove(np.repeat(leaving, 2)) == len(leaving)
        self.items = {key: code for key, code in self.items.items() if key not in leaving}

    @rule(count=st.integers(0, 8))
    def replace(self, count: int) -> None:
        ids = self.some(count)
        codes = random_codes(len(ids), self.index.bits, self.rng)
        self.index.replace(ids, codes)
        self.items |= paired(ids, codes)

    @rule()
    def compact(self) -> None:
        self.index.compact()
        assert len(self.index._segments.parts) == bool(self.items)

    @rule(many=st.booleans())
    def build_tables(self, many: bool) -> None:
        self.index.build_tables(self.index.bits if many else None)

    @rule(mmap=st.booleans())
    def save_and_load(self, mmap: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.index.save(Path(folder) / "index")
            self.index = HammingIndex.load(Path(folder) / "index", mmap=mmap)

    @rule(way=st.sampled_from([copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))]))
    def copy(self, way: Any) -> None:
        before, self.index = self.index, way(self.index)
        before.remove(before.ids)  # shows nowhere

    @rule(what=st.sampled_from(["taken", "twice", "unknown", "replaced", "wide"]))
    @precondition(lambda self: self.items)
    def go_wrong(self, what: str) -> None:
        known = int(self.some(1)[0])
        two, ids = random_codes(2, self.index.bits, self.rng), [self.last + 1, known]
        wider, index = random_codes(2, self.index.bits + 1, self.rng), self.index
        wrong = {
            "taken": lambda: index.add(two, ids), "twice": lambda: index.add(two, [self.last + 1] * 2),
            "unknown": lambda: index.remove(ids), "replaced": lambda: index.replace(ids[::-1], two),
            "wide": lambda: index.add(wider),
        }  # fmt: skip
        with pytest.raises(InputError):
            wrong[what]()

    @rule(k=st.integers(1, 60), radius=st.integers(0, 12), asked=st.integers(0, 3))
    def ask(self, k: int, radius: int, asked: int) -> None:
        check_answers(self.index, random_codes(asked, self.index.bits, self.rng), self.items, k, radius)

    @rule(share=st.sampled_from([0.0, 0.05, 0.5, 1.0]), masked=st.booleans(), k=st.integers(1, 30))
    def ask_some(self, share: float, masked: bool, k: int) -> None:
        names = np.array(sorted(self.items), np.int64)
        mask = self.rng.random(len(names)) < share
        allowed = mask if masked else self.rng.permutation([*names[mask], *names[mask][:3], self.last + 1, LARGEST])
        items = {key: self.items[key] for key in names[mask].tolist()}
        check_answers(self.index, random_codes(2, self.index.bits, self.rng), items, k, 3, allowed=allowed)

    @invariant()
    def the_same_ids(self) -> None:
        if hasattr(self, "index"):
            assert len(self.index) == len(self.items)
            assert self.index.ids.tolist() == sorted(self.items)
            assert [key in self.index for key in range(-1, 160)] == [key in self.items for key in range(-1, 160)]


History.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=14)
test_any_history_equals_a_dict = History.TestCase


@pytest.mark.parametrize("bits", [64, 100])
def test_many_tiles_equal_one_matrix(bits: int) -> None:
    rng = np.random.default_rng(5)
    gallery = random_codes(70_000, bits, rng)
    queries = gallery[::1000]  # 70 x 70,000 pairs
    index = HammingIndex(bits)
    index.add(gallery)
    ones = np.unpackbits(gallery.packed, axis=1).astype(np.float32)
    asked = np.unpackbits(queries.packed, axis=1).astype(np.float32)
    far = (asked @ (1 - ones).T + (1 - asked) @ ones.T).astype(np.int64)
    order = np.argsort(far, axis=1, kind="stable")
    for k in (1, 300):
        hits = index.search(queries, k)
        np.testing.assert_array_equal(hits.ids, order[:, :k])
        np.testing.assert_array_equal(hits.distances, np.take_along_axis(far, order[:, :k], 1))
    whole = index.search(queries[:2], 70_001)
    np.testing.assert_array_equal(whole.ids[:, :-1], order[:2])
    assert whole.ids[:, -1].tolist() == [-1, -1]
    np.testing.assert_array_equal(index.histogram(queries), [np.bincount(row, minlength=bits + 1) for row in far])
    near = index.within(queries, bits // 16)
    assert near.ids.max() > 2**16
    np.testing.assert_array_equal((near.ids >= 0).sum(1), (far <= bits // 16).sum(1))
    for row, line in enumerate(near.ids):
        np.testing.assert_array_equal(line[line >= 0], order[row, : (line >= 0).sum()])


@settings(deadline=None, max_examples=30)
@given(
    bits=st.integers(1, 140), rows=st.integers(0, 60), asked=st.integers(0, 3), k=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_masks_permutations_and_shards(bits: int, rows: int, asked: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes, queries, mask = (random_codes(number, bits, rng) for number in (rows, asked, 1))
    ids, names, radius = np.arange(rows), rng.permutation(999)[:rows], bits // 6

    def built(items: Codes, keys: Any) -> HammingIndex:
        index = HammingIndex(bits)
        index.add(items, keys)
        return index

    whole = built(codes, ids)
    hits, near, counts = whole.search(queries, k), whole.within(queries, radius), whole.histogram(queries)
    masked, theirs = (Codes(part.packed ^ mask.packed, bits) for part in (codes, queries))
    assert built(masked, ids).search(theirs, k) == hits
    order = rng.permutation(rows)
    assert built(codes[order], ids[order]).search(queries, k) == hits
    assert built(codes[order], ids[order]).within(queries, radius) == near
    renamed = built(codes, names).search(queries, rows + 1)  # ties are by the new id
    back = dict(zip(names.tolist(), ids.tolist(), strict=True)) | {-1: -1}
    moved = [sorted((far, back[key]) for far, key in row) for row in rows_of(renamed)]
    assert moved == [sorted(row) for row in rows_of(whole.search(queries, rows + 1))]
    cuts = np.sort(rng.integers(0, rows + 1, 2))
    shards = [built(codes[part], ids[part]) for part in np.split(ids, cuts)]
    assert merge([shard.search(queries, k) for shard in shards], k) == hits
    assert sum(shard.histogram(queries) for shard in shards).tolist() == counts.tolist()
    if near.k:
        assert merge([shard.within(queries, radius) for shard in shards], near.k) == near


@settings(deadline=None, max_examples=40)
@given(
    classes=st.sampled_from([1, 3, 65]), rows=st.integers(0, 30), asked=st.integers(0, 6), gone=st.integers(0, 9),
    threads=st.sampled_from([None, 1, 2]), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_relevant_codes_are_counted_by_id(
    classes: int, rows: int, asked: int, gone: int, threads: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes, queries, ids = random_codes(rows, 20, rng), random_codes(asked, 20, rng), rng.permutation(50)[:rows]
    index = HammingIndex(20)
    index.add(codes[: rows // 2], ids[: rows // 2])
    index.add(codes[rows // 2 :], ids[rows // 2 :])
    index.remove(ids[:gone])
    everything = ranked(queries, paired(ids[gone:], codes[gone:]))
    labels = SharedLabels(rng.random((asked, classes)) < 0.3, rng.random((50, classes)) < 0.3)
    targets = Targets([rng.permutation(50)[:9].tolist() for _ in range(asked)], gallery=50)
    for relevance in (labels, targets, SameInstance(rng.integers(0, 9, asked), rng.integers(0, 9, 50))):
        counts = index.joint_histogram(queries, relevance, threads=threads)
        assert (counts.dtype, counts.shape) == (np.int64, (asked, 2, 21))
        right = relevance.matrix(np.arange(asked))
        for side in (0, 1):
            mine = [[hit for hit in row if right[query, hit[1]] == side] for query, row in enumerate(everything)]
            assert counts[:, side].tolist() == counted(mine, 20)


def test_an_empty_index_and_no_queries_answer_emptily() -> None:
    index, none = HammingIndex(20), Codes(np.empty((0, 3), np.uint8), 20)
    query = random_codes(2, 20, np.random.default_rng(0))
    for change in (index.compact, index.build_tables, lambda: index.add(none), lambda: index.remove([]), index.compact):
        change()
        for allowed in (None, [], [3], np.zeros(0, np.bool_)):
            assert rows_of(index.search(query, 2, allowed=allowed)) == [[PAD, PAD]] * 2
            assert index.within(query, 20, allowed=allowed).ids.shape == (2, 0)
            assert index.histogram(query, allowed=allowed).tolist() == [[0] * 21] * 2
        assert index.joint_histogram(query, Targets([[], []], gallery=0)).tolist() == [[[0] * 21] * 2] * 2
    assert (len(index), index.ids.tolist(), index.nbytes) == (0, [], 0)
    for _ in range(2):
        index.add(query)
        assert index.search(none, 3).ids.shape == (0, 3)
        assert index.within(none, 3).ids.shape == (0, 0)
        assert index.histogram(none).shape == (0, 21)
        index.build_tables()


def test_the_radius_is_inclusive() -> None:
    index = HammingIndex(8)
    index.add(np.array([[0b0], [0b1], [0b11], [0b111]], np.uint8))
    query = np.zeros((1, 1), np.uint8)
    for algorithm in ("scan", "multi-index"):
        for radius, expected in ((0, [0]), (2, [0, 1, 2]), (8, [0, 1, 2, 3]), (10**30, [0, 1, 2, 3])):
            assert index.within(query, radius, algorithm=algorithm).ids.tolist() == [expected]
        index.build_tables()


def test_packed_bytes_are_taken_as_codes() -> None:
    codes = random_codes(9, 24, np.random.default_rng(1))
    by_codes, by_bytes = HammingIndex(24), HammingIndex(24)
    by_codes.add(codes)
    by_bytes.add(codes.packed)
    by_codes.replace([3, 1], codes[:2])
    by_bytes.replace([3, 1], codes.packed[:2])
    assert by_codes.search(codes, 4) == by_bytes.search(codes.packed, 4)
    assert by_codes.within(codes, 4) == by_bytes.within(codes.packed, 4)
    np.testing.assert_array_equal(by_codes.histogram(codes), by_bytes.histogram(codes.packed))
    targets = Targets([[0]] * 9, gallery=9)
    joint = [index.joint_histogram(mine, targets) for index, mine in ((by_codes, codes), (by_bytes, codes.packed))]
    np.testing.assert_array_equal(*joint)

"""The scan against a full sort of all distances, in NumPy, whatever its tiles, blocks and threads are."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import WidthError
from hashret.relevance import SharedLabels, Targets
from hashret.search import crew, scan
from hashret.search.blocks import Blocks, lane_words

PAD = (2147483647, -1)
EVERY = np.empty(0, np.uint64)
Numbers = NDArray[np.int64]

# Values that change how the work is cut, and must change nothing else. The first of each is its own.
KNOBS: dict[str, tuple[int, ...]] = {
    "_THREAD_WORDS": (1 << 21, 1),  # of crew
    "_TILE_BYTES": (16_384, 1, 3_000, 1 << 20),
    "_QUERIES": (256, 1, 4, 6),
    "_RANK_SHARE": (24, 0, 1 << 40),
    "_MEASURED": (8_192, 256, 512),
    "_NEAR_QUERIES": (16, 1, 3),
    "_NEAR_CODES": (65_536, 256, 1_024),
}
knobs = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in KNOBS.items()})
widths = st.integers(1, 300) | st.sampled_from([8, 16, 32, 64, 128, 192, 256, 512, 1000, 1024, 4096])


def random_codes(rows: int, bits: int, rng: np.random.Generator, flips: float = 0.05) -> Codes:
    """Codes around three centres, so that many are near each other and some are equal; ``flips`` 0.5 is noise."""
    centres = rng.random((3, bits)) < 0.5
    return Codes(np.packbits(centres[rng.integers(0, 3, rows)] ^ (rng.random((rows, bits)) < flips), axis=1), bits)


def matrix(queries: Codes, gallery: Codes) -> Numbers:
    """All distances, (Q, N)."""
    rows = [np.bitwise_count(query ^ gallery.packed).sum(axis=1, dtype=np.int64) for query in queries.packed]
    return np.array(rows, np.int64).reshape(len(queries), len(gallery))


def packed(marks: NDArray[np.bool_]) -> NDArray[np.uint64]:
    words = np.zeros(-(-len(marks) // 64), np.uint64)
    for place in np.flatnonzero(marks).tolist():
        words[place // 64] |= np.uint64(1 << place % 64)
    return words


def marked(codes: int, share: float, rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.uint64]]:
    """Which codes count; at a share of 1 nothing is said."""
    marks = rng.random(codes) < share
    return (marks, packed(marks)) if share < 1 else (np.ones(codes, np.bool_), EVERY)


def sorted_keys(far: Numbers, marks: NDArray[np.bool_]) -> list[Numbers]:
    """Keys of the codes that count, by (distance, position), of every query."""
    keys = far << 40 | np.arange(far.shape[1])
    return [np.sort(row[marks]) for row in keys]


def paired(keys: Numbers, k: int) -> list[tuple[int, int]]:
    found = [(key >> 40, key & (1 << 40) - 1) for key in keys[:k].tolist()]
    return found + [PAD] * (k - len(found))


def pairs(found: tuple[NDArray[Any], NDArray[Any]]) -> list[list[tuple[int, int]]]:
    return [list(zip(*row, strict=True)) for row in zip(found[0].tolist(), found[1].tolist(), strict=True)]


def binned(far: Numbers, marks: NDArray[np.bool_], bits: int) -> Numbers:
    """Codes that count at each distance; ``marks`` (N,) or (Q, N)."""
    rows = zip(far, np.broadcast_to(marks, far.shape), strict=True)
    return np.array([np.bincount(row[mine], minlength=bits + 1) for row, mine in rows]).reshape(-1, bits + 1)


def turned(values: dict[str, int]) -> pytest.MonkeyPatch:
    """Set the knobs; to be undone."""
    patch = pytest.MonkeyPatch()
    for name, value in values.items():
        patch.setattr(crew if hasattr(crew, name) else scan, name, value)
    return patch


def check_searches(queries: Codes, gallery: Codes, k: int, radius: int, share: float, threads: int, seed: int) -> None:
    marks, alive = marked(len(gallery), share, np.random.default_rng(seed))
    wanted = sorted_keys(matrix(queries, gallery), marks)
    options: dict[str, Any] = {"alive": alive, "threads": threads}
    found = scan.nearest(queries, gallery, k, **options)
    assert (found[0].dtype, found[1].dtype) == (np.int32, np.int64)
    assert found[0].shape == found[1].shape == (len(queries), k)
    assert pairs(found) == [paired(row, k) for row in wanted]
    near = scan.within(queries, gallery, radius, **options)
    inside = [row[row >> 40 <= radius] for row in wanted]
    assert [row.tolist() for row in near] == [row.tolist() for row in inside]
    assert all(row.dtype == np.int64 for row in near)
    keys = scan.nearest_keys(lane_words(queries), Blocks.of(gallery), k, radius=radius, **options)
    assert keys.shape == (len(queries), k)
    assert pairs(scan.split_keys(keys)) == [paired(row, k) for row in inside]


def check_counts(queries: Codes, gallery: Codes, classes: int, share: float, threads: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    marks, alive = marked(len(gallery), share, rng)
    far, options = matrix(queries, gallery), {"alive": alive, "threads": threads}
    found = scan.distances(queries, gallery)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, far)
    counts = scan.histogram(queries, gallery, **options)
    assert (counts.dtype, counts.shape) == (np.int64, (len(queries), gallery.bits + 1))
    np.testing.assert_array_equal(counts, binned(far, marks, gallery.bits))
    ours, theirs = (rng.random((len(codes), classes)) < 0.7 / classes for codes in (queries, gallery))
    right = (ours[:, None] & theirs).any(axis=2)
    expected = np.stack([binned(far, marks & ~right, gallery.bits), binned(far, marks & right, gallery.bits)], axis=1)
    asked: list[range] = []

    def judge(rows: slice) -> NDArray[np.bool_]:
        asked.append(range(len(queries))[rows])
        return np.ascontiguousarray(right[rows])

    for way in (SharedLabels(ours, theirs).words(), judge):
        np.testing.assert_array_equal(scan.joint_histogram(queries, gallery, way, **options), expected)
    assert sorted(number for rows in asked for number in rows) == list(range(len(queries) if len(gallery) else 0))


@settings(deadline=None, max_examples=200)
@given(
    data=st.data(), bits=widths, rows=st.integers(0, 300), asked=st.integers(0, 9), set_to=knobs,
    flips=st.sampled_from([0.0, 0.03, 0.5]), share=st.sampled_from([1.0, 0.7, 0.05, 0.0]), threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_nearest_equal_a_full_sort(
    data: st.DataObject, bits: int, rows: int, asked: int, set_to: dict[str, int], flips: float, share: float,
    threads: int, seed: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    gallery = random_codes(rows, bits, rng, flips)
    queries = Codes.concatenate([gallery[: asked // 2], random_codes(asked - len(gallery[: asked // 2]), bits, rng)])
    k = data.draw(st.integers(1, 20) | st.integers(max(1, rows - 5), rows + 7) | st.integers(1, rows + 7), "k")
    radius = data.draw(st.integers(0, bits) | st.integers(0, 5) | st.just(bits + 1), "radius")
    patch = turned(set_to)
    try:
        check_searches(queries, gallery, k, radius, share, threads, seed)
    finally:
        patch.undo()


@settings(deadline=None, max_examples=80)
@given(
    bits=widths, rows=st.integers(0, 300), asked=st.integers(0, 9), set_to=knobs,
    classes=st.sampled_from([1, 64, 65, 130]), share=st.sampled_from([1.0, 0.6, 0.0]), threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_counts_equal_those_of_all_distances(
    bits: int, rows: int, asked: int, set_to: dict[str, int], classes: int, share: float, threads: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    gallery = random_codes(rows, bits, rng)
    patch = turned(set_to)
    try:
        check_counts(random_codes(asked, bits, rng), gallery, classes, share, threads, seed)
    finally:
        patch.undo()


@pytest.mark.parametrize(("bits", "rows"), [(5, 20_000), (16, 9_001), (27, 5_000), (64, 8_193), (100, 7_000)])
@pytest.mark.parametrize("flips", [0.02, 0.5])
def test_many_blocks_and_tiles_equal_a_full_sort(bits: int, rows: int, flips: float) -> None:
    rng = np.random.default_rng(bits)
    gallery = random_codes(rows, bits, rng, flips)
    queries = Codes.concatenate([gallery[:5], random_codes(4, bits, rng)])
    for number, (k, share) in enumerate([(1, 1.0), (10, 0.5), (300, 1.0), (2000, 0.8), (rows - 1, 0.9), (rows + 3, 1)]):
        check_searches(queries, gallery, k, number, share, 1, number)
        patch = turned({name: values[number % len(values)] for name, values in KNOBS.items()} | {"_THREAD_WORDS": 1})
        check_searches(queries, gallery, k, bits // 4, share, 2 + number % 2, number)
        patch.undo()
    check_counts(queries, gallery, 65, 0.9, 1, 0)
    patch = turned({"_THREAD_WORDS": 1, "_MEASURED": 256})
    check_counts(queries, gallery, 1, 1.0, 3, 0)
    patch.undo()


def test_clusters_that_come_late_and_codes_that_come_nearer_and_nearer() -> None:
    """A limit that falls with every tile, and one that falls only at the end."""
    zeros = np.zeros((1, 128), np.bool_)
    falling = np.tri(129, 128, -1, np.bool_)[::-1].repeat(70, axis=0)
    late = np.concatenate([np.ones((9_000, 128), np.bool_), zeros.repeat(40, axis=0)])
    queries = Codes(np.packbits(zeros.repeat(5, axis=0), axis=1), 128)
    for lines in (falling, falling[::-1], late, late[::-1]):
        gallery = Codes(np.packbits(lines, axis=1), 128)
        for k in (1, 39, 41, 300):
            check_searches(queries, gallery, k, 1, 1.0, 1, k)


@pytest.mark.parametrize("bits", [1, 7, 8, 9, 16, 17, 32, 33, 63, 64, 255, 256, 257, 4096, 65_535])
def test_the_largest_distance_fits_in_every_lane(bits: int) -> None:
    both = Codes(np.packbits(np.arange(2)[:, None].repeat(bits, axis=1).astype(np.bool_), axis=1), bits)
    gallery = both[np.arange(70) % 2]
    check_searches(both, gallery, 70, bits, 1.0, 1, 0)
    check_searches(both, gallery, 3, bits - 1, 1.0, 1, 0)
    check_counts(both, gallery, 1, 1.0, 1, 0)


def verbs(queries: Codes, gallery: Codes) -> dict[str, Callable[..., Any]]:
    judge = SharedLabels([[1, 0]] * len(queries), [[1, 1], [0, 1]] * (len(gallery) // 2)).words()
    return {
        "collecting": lambda **options: scan.nearest(queries, gallery, 3, **options),
        "ranking": lambda **options: scan.nearest(queries, gallery, len(gallery), **options),
        "within": lambda **options: scan.within(queries, gallery, 9, **options),
        "histogram": lambda **options: scan.histogram(queries, gallery, **options),
        "joint": lambda **options: scan.joint_histogram(queries, gallery, judge, **options),
    }


@pytest.mark.parametrize("verb", ["collecting", "ranking", "within", "histogram", "joint"])
@pytest.mark.parametrize("asked", [1, 9, 40])
def test_threads_share_the_work_and_change_nothing(monkeypatch, verb: str, asked: int) -> None:
    rng, pools = np.random.default_rng(0), list[int]()
    parts = {"ranking": asked, "histogram": -(-asked // 4), "joint": -(-asked // 4)}.get(
        verb, 3
    )  # codes are shared too
    act = verbs(random_codes(asked, 64, rng), random_codes(6000, 64, rng))[verb]
    alone = act(threads=1)

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            super().__init__(workers)
            pools.append(workers)

        def submit(self, *args: Any) -> Any:
            tasks.append(args)
            return super().submit(*args)

    monkeypatch.setattr(crew, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(scan, "_NEAR_CODES", 512)
    for threads in (1, 2, 3):
        tasks: list[Any] = []
        pools.clear()
        monkeypatch.setattr(crew, "_THREAD_WORDS", 1)
        together = act(threads=threads)
        assert pools == ([threads] if threads > 1 else [])
        assert threads == 1 or len(tasks) >= min(threads, parts)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)
        monkeypatch.setattr(crew, "_THREAD_WORDS", 1 << 60)
        pools.clear()
        act(threads=threads)
        assert pools == []  # too little work


@settings(deadline=None, max_examples=40)
@given(
    bits=st.integers(1, 140), rows=st.integers(0, 200), asked=st.integers(1, 5), k=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_masks_permutations_and_shards(bits: int, rows: int, asked: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery, queries, mask = (random_codes(number, bits, rng) for number in (rows, asked, 1))
    found, radius = scan.nearest(queries, gallery, k), bits // 5
    near, counts = scan.within(queries, gallery, radius), scan.histogram(queries, gallery)
    ours, theirs = (Codes(codes.packed ^ mask.packed, bits) for codes in (queries, gallery))
    assert pairs(scan.nearest(ours, theirs, k)) == pairs(found)
    assert [row.tolist() for row in scan.within(ours, theirs, radius)] == [row.tolist() for row in near]
    assert scan.histogram(ours, theirs).tolist() == counts.tolist()
    order = rng.permutation(rows)  # position i of the permuted codes was order[i]
    every = scan.nearest(queries, gallery, rows + 1)
    moved = scan.nearest(queries, gallery[order], rows + 1)
    named = np.append(order, -1)[moved[1]]
    assert [sorted(row) for row in pairs((moved[0], named))] == [sorted(row) for row in pairs(every)]
    assert moved[0].tolist() == every[0].tolist()
    assert scan.histogram(queries, gallery[order]).tolist() == counts.tolist()
    cut = int(rng.integers(0, rows + 1))
    halves = [gallery[:cut], gallery[cut:]]
    assert sum(scan.histogram(queries, half) for half in halves).tolist() == counts.tolist()
    keys = [scan.nearest_keys(lane_words(queries), Blocks.of(half), k) for half in halves]
    keys[1] += np.where(keys[1] == scan.NO_KEY, 0, cut)
    merged = np.sort(np.concatenate(keys, axis=1), axis=1)[:, :k]
    assert pairs(scan.split_keys(merged)) == pairs(found)
    parts = zip(*(scan.within(queries, half, radius) for half in halves), strict=True)
    assert [sorted([*one.tolist(), *(two + cut).tolist()]) for one, two in parts] == [row.tolist() for row in near]


def test_what_lies_behind_the_last_code_is_not_found() -> None:
    rng = np.random.default_rng(3)
    whole, queries = random_codes(1000, 20, rng), random_codes(5, 20, rng)
    blocks = Blocks.of(whole)
    for count in (0, 1, 63, 64, 65, 127, 128, 500, 999):
        part = Blocks(blocks.data, count, 20)  # more codes of the same cluster follow
        wanted = sorted_keys(matrix(queries, whole[:count]), np.ones(count, np.bool_))
        assert pairs(scan.nearest(queries, part, 10)) == [paired(row, 10) for row in wanted]
        assert pairs(scan.nearest(queries, part, 1001)) == [paired(row, 1001) for row in wanted]
        assert [row.tolist() for row in scan.within(queries, part, 20)] == [row.tolist() for row in wanted]
        assert scan.histogram(queries, part).sum(axis=1).tolist() == [count] * 5
        assert scan.distances(queries, part).shape == (5, count)


def test_read_only_arrays_and_rows_apart_are_searched() -> None:
    rng = np.random.default_rng(4)
    whole = random_codes(700, 64, rng)
    wanted = pairs(scan.nearest(whole[::350], whole, 9))
    rows = np.repeat(whole.packed, 2, axis=0)[::2]
    assert not rows.flags.c_contiguous
    apart, still = Codes(rows, 64), Codes(whole.packed.copy(), 64)
    still.packed.flags.writeable = False
    data = Blocks.of(whole).data
    data.flags.writeable = False
    for gallery in (apart, still, Blocks(data, 700, 64)):
        assert pairs(scan.nearest(still[::350], gallery, 9)) == wanted
        assert scan.histogram(still[::350], gallery).sum() == 1400
        assert pairs(scan.nearest(still[::350], gallery, 700))[0][:9] == wanted[0]


@pytest.mark.parametrize(("ours", "theirs"), [(8, 9), (64, 63), (64, 128)])
def test_codes_of_another_width_are_refused(ours: int, theirs: int) -> None:
    rng = np.random.default_rng(0)
    queries, gallery = random_codes(2, ours, rng), random_codes(3, theirs, rng)
    judge = SharedLabels([[1]] * 2, [[1]] * 3).words()
    acts = [
        lambda codes: scan.nearest(queries, codes, 1),
        lambda codes: scan.within(queries, codes, 1),
        lambda codes: scan.distances(queries, codes),
        lambda codes: scan.histogram(queries, codes),
        lambda codes: scan.joint_histogram(queries, codes, judge),
    ]
    for act in acts:
        for codes in (gallery, Blocks.of(gallery)):
            with pytest.raises(WidthError, match=f"queries: expected {theirs} bits, got {ours} bits"):
                act(codes)


def test_relevance_of_no_label_and_of_named_targets() -> None:
    rng = np.random.default_rng(1)
    queries, gallery = random_codes(6, 40, rng), random_codes(90, 40, rng)
    none = SharedLabels(np.zeros((6, 0)), np.zeros((90, 0))).words()
    counts = scan.joint_histogram(queries, gallery, none)
    assert counts[:, 0].tolist() == scan.histogram(queries, gallery).tolist()
    assert not counts[:, 1].any()
    targets = Targets([[0, 89], [], [5], [7, 8, 9], [1], [64]], gallery=90)
    counts = scan.joint_histogram(queries, gallery, lambda rows: targets.matrix(np.arange(6)[rows]))
    assert counts[:, 1].sum(axis=1).tolist() == [2, 0, 1, 3, 1, 1]
    far = matrix(queries, gallery)
    assert counts[5, 1, far[5, 64]] == 1

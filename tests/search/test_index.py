"""HammingIndex against a scan with Python's integers and a full sort."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.arrayfile import write_arrays
from hashret.codes import Codes, binarize
from hashret.errors import FileError, FormatError, InputError, WidthError
from hashret.search import HammingIndex, Hits

PAD = (2147483647, -1)
LARGEST = 2**63 - 1


def random_codes(rows: int, bits: int, rng: np.random.Generator) -> Codes:
    """Codes of which many are near each other and some are equal."""
    centres = rng.random((3, bits)) < 0.5
    return Codes(np.packbits(centres[rng.integers(0, 3, rows)] ^ (rng.random((rows, bits)) < 0.05), axis=1), bits)


def ranked(queries: Codes, items: dict[int, bytes]) -> list[list[tuple[int, int]]]:
    """All (distance, id) of every query, sorted."""
    answers = []
    for query in queries.packed:
        number = int.from_bytes(query.tobytes())
        answers.append(sorted(((number ^ int.from_bytes(code)).bit_count(), key) for key, code in items.items()))
    return answers


def rows_of(hits: Hits) -> list[list[tuple[int, int]]]:
    lines = zip(hits.distances.tolist(), hits.ids.tolist(), strict=True)
    return [list(zip(far, ids, strict=True)) for far, ids in lines]


def padded(rows: list[list[tuple[int, int]]], width: int) -> list[list[tuple[int, int]]]:
    return [row[:width] + [PAD] * (width - len(row)) for row in rows]


def check_answers(index: HammingIndex, queries: Codes, items: dict[int, bytes], k: int, radius: int) -> None:
    everything = ranked(queries, items)
    assert rows_of(index.search(queries, k)) == padded(everything, k)
    near = [[hit for hit in row if hit[0] <= radius] for row in everything]
    assert rows_of(index.within(queries, radius)) == padded(near, max(map(len, near), default=0))
    counts = [[sum(far == at for far, _ in row) for at in range(index.bits + 1)] for row in everything]
    assert index.histogram(queries).tolist() == counts


@settings(deadline=None, max_examples=80)
@given(
    bits=st.integers(1, 300), rows=st.integers(0, 20), asked=st.integers(0, 4), k=st.integers(1, 25),
    radius=st.integers(0, 310), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_answers_equal_a_full_sort(bits: int, rows: int, asked: int, k: int, radius: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = random_codes(rows, bits, rng)
    ids = rng.choice(LARGEST, rows, replace=False) if seed % 2 else rng.permutation(rows)
    index = HammingIndex(bits)
    index.add(codes[: rows // 2], ids[: rows // 2])
    index.add(codes[rows // 2 :], ids[rows // 2 :])
    items = {int(key): code.tobytes() for key, code in zip(ids, codes.packed, strict=True)}
    assert index.ids.tolist() == sorted(items)
    queries = Codes.concatenate([codes[: asked // 2], random_codes(asked, bits, rng)])
    check_answers(index, queries, items, k, radius)


@settings(deadline=None, max_examples=40)
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.booleans()), max_size=8), seed=st.integers(0, 999))
def test_any_history_of_adding_and_removing_equals_a_dict(steps: list[tuple[bool, int, bool]], seed: int) -> None:
    rng, index, items = np.random.default_rng(seed), HammingIndex(12), dict[int, bytes]()
    last = -1
    for adding, count, fresh in steps:
        if adding:
            codes = random_codes(count, 12, rng)
            wanted = None if fresh else rng.choice(sorted(set(range(60)) - items.keys()), count, replace=False)
            given_ids = index.add(codes, wanted)
            if wanted is None:
                assert given_ids.tolist() == list(range(last + 1, last + 1 + count))
            else:
                assert given_ids.tolist() == wanted.tolist()
            items |= {int(key): code.tobytes() for key, code in zip(given_ids, codes.packed, strict=True)}
            last = max([last, *given_ids.tolist()])
        else:
            leaving = rng.permutation(sorted(items))[:count].astype(np.int64)
            assert index.remove(leaving) == len(leaving)
            items = {key: code for key, code in items.items() if key not in leaving}
        assert len(index) == len(items)
        assert index.ids.tolist() == sorted(items)
        assert [key in index for key in range(-1, 70)] == [key in items for key in range(-1, 70)]
    check_answers(index, random_codes(3, 12, rng), items, k=5, radius=3)


@pytest.mark.parametrize("bits", [64, 100])
def test_many_tiles_equal_one_matrix(bits: int) -> None:
    rng = np.random.default_rng(5)
    gallery = random_codes(70_000, bits, rng)
    queries = gallery[::1000]  # 70 x 70,000 pairs: 2 x 2 tiles
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


def test_an_empty_index_and_no_queries_answer_emptily() -> None:
    index, none = HammingIndex(20), Codes(np.empty((0, 3), np.uint8), 20)
    query = random_codes(2, 20, np.random.default_rng(0))
    assert rows_of(index.search(query, 2)) == [[PAD, PAD]] * 2
    assert index.within(query, 20).ids.shape == (2, 0)
    assert index.histogram(query).tolist() == [[0] * 21] * 2
    assert index.add(none).tolist() == []
    assert index.remove([]) == 0
    index.add(query)
    assert index.search(none, 3).ids.shape == (0, 3)
    assert index.within(none, 3).ids.shape == (0, 0)
    assert index.histogram(none).shape == (0, 21)


def test_the_radius_is_inclusive() -> None:
    index = HammingIndex(8)
    index.add(np.array([[0b0], [0b1], [0b11], [0b111]], np.uint8))
    query = np.zeros((1, 1), np.uint8)
    assert [index.within(query, radius).ids.tolist() for radius in (0, 2)] == [[[0]], [[0, 1, 2]]]


def test_packed_bytes_are_taken_as_codes() -> None:
    rng = np.random.default_rng(1)
    codes = random_codes(9, 24, rng)
    by_codes, by_bytes = HammingIndex(24), HammingIndex(24)
    by_codes.add(codes)
    by_bytes.add(codes.packed)
    assert by_codes.search(codes, 4) == by_bytes.search(codes.packed, 4)
    assert by_codes.within(codes, 4) == by_bytes.within(codes.packed, 4)
    np.testing.assert_array_equal(by_codes.histogram(codes), by_bytes.histogram(codes.packed))


@pytest.mark.parametrize(
    ("codes", "kind", "message"),
    [
        (np.ones((1, 12), np.float32), InputError, r"packed bits as uint8 \(n, 2\), got float32 \(1, 12\)"),
        (np.ones(2, np.uint8), InputError, r"got uint8 \(2,\)"),
        ([[1, 2]], InputError, r"got int64 \(1, 2\)"),
        (np.zeros((1, 3), np.uint8), WidthError, "expected 2 bytes a row for 12 bits, got 3 bytes"),
        (np.full((1, 2), 255, np.uint8), WidthError, "4 zero pad bits"),
        (binarize(np.ones((1, 13))), WidthError, "expected 12 bits, got 13 bits"),
    ],
)
def test_every_verb_refuses_what_are_no_codes_of_its_width(codes: object, kind: type[Exception], message: str) -> None:
    index = HammingIndex(12)
    verbs = (index.add, index.histogram, lambda c: index.search(c, 1), lambda c: index.within(c, 1))
    for verb in verbs:
        with pytest.raises(kind, match=message):
            verb(codes)  # type: ignore[operator]
    assert len(index) == 0


@pytest.mark.parametrize("number", [0, -1, 1.0, "1", True, None])
def test_k_and_bits_are_whole_numbers_of_at_least_one(number: object) -> None:
    with pytest.raises(InputError, match="k: expected a whole number >= 1"):
        HammingIndex(8).search(np.zeros((1, 1), np.uint8), number)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="bits: expected a whole number >= 1"):
        HammingIndex(number)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [-1, 0.5, False])
def test_the_radius_is_a_whole_number(number: object) -> None:
    with pytest.raises(InputError, match="radius: expected a whole number >= 0"):
        HammingIndex(8).within(np.zeros((1, 1), np.uint8), number)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 1], "expected each id once, got 1 twice"),
        ([1, 7], "expected ids that are not in the index, got 7 taken"),
        ([-1, 3], "got -1. Number items from 0"),
        ([1], "expected 2, one a code, got 1"),
        ([0.0, 1.0], r"expected whole numbers \(n,\), got float64"),
        ([[0, 1]], r"got int64 \(1, 2\)"),
        (["a", "b"], "keep their names in a table"),
        (np.array([0, 2**63], np.uint64), "got 9223372036854775808"),
    ],
)
def test_wrong_ids_are_refused_and_nothing_is_added(ids: object, message: str) -> None:
    index = HammingIndex(8)
    index.add(np.zeros((1, 1), np.uint8), [7])
    with pytest.raises(InputError, match=message):
        index.add(np.zeros((2, 1), np.uint8), ids)  # type: ignore[arg-type]
    assert index.ids.tolist() == [7]


def test_ids_reach_to_the_end_of_64_bits() -> None:
    index, code = HammingIndex(8), np.zeros((1, 1), np.uint8)
    index.add(code, np.array([LARGEST], np.uint64))
    assert index.search(code, 1).ids.tolist() == [[LARGEST]]
    assert LARGEST in index
    assert 2**63 not in index
    assert index.add(code[:0]).tolist() == []
    with pytest.raises(InputError, match="Give the ids yourself"):
        index.add(code)
    assert index.add(code, [0]).tolist() == [0]


def test_a_removed_id_is_not_given_out_again(tmp_path) -> None:
    index, codes = HammingIndex(8), np.zeros((3, 1), np.uint8)
    index.add(codes)
    assert index.remove([2, 2, 1]) == 2
    assert index.add(codes[:1]).tolist() == [3]
    assert index.remove([3]) == 1
    assert index.add(codes[:1], ids=[2]).tolist() == [2]  # unless asked for
    assert index.add(codes[:1]).tolist() == [4]
    assert index.remove([4, 2]) == 2
    index.save(tmp_path / "index")
    assert HammingIndex.load(tmp_path / "index").add(codes[:1]).tolist() == [5]


def test_unknown_ids_are_named_and_nothing_is_removed() -> None:
    index = HammingIndex(8)
    index.add(np.zeros((3, 1), np.uint8))
    with pytest.raises(InputError, match="ids that are in the index, got 3, 9 unknown"):
        index.remove([9, 1, 3])
    with pytest.raises(InputError, match="3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 7 more unknown"):
        index.remove(range(20))
    assert len(index) == 3
    assert [thing in index for thing in (0, True, 1.0, "0", -1)] == [True, False, False, False, False]


def test_ids_cannot_be_changed_from_outside() -> None:
    index, given_ids = HammingIndex(8), np.array([3, 1])
    returned = index.add(np.zeros((2, 1), np.uint8), given_ids)
    given_ids[:] = returned[:] = 0
    assert index.ids.tolist() == [1, 3]
    with pytest.raises(ValueError, match="read-only"):
        index.ids[0] = 5


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(("rows", "bits"), [(0, 64), (30, 1), (30, 64), (30, 100)])
def test_a_saved_index_answers_alike(tmp_path, mmap: bool, rows: int, bits: int) -> None:
    rng = np.random.default_rng(2)
    index, path = HammingIndex(bits), tmp_path / "index.safetensors"
    index.add(random_codes(rows, bits, rng), rng.permutation(90)[:rows])
    index.save(path)
    loaded, queries = HammingIndex.load(path, mmap=mmap), random_codes(4, bits, rng)
    assert (loaded.bits, len(loaded), loaded.ids.tolist()) == (bits, rows, index.ids.tolist())
    assert loaded.search(queries, 7) == index.search(queries, 7)
    more = random_codes(3, bits, rng)
    before = path.read_bytes()
    assert loaded.add(more).tolist() == index.add(more).tolist()
    assert loaded.remove(loaded.ids[:2]) == index.remove(index.ids[:2])
    assert loaded.search(queries, 40) == index.search(queries, 40)
    assert path.read_bytes() == before
    loaded.save(path)
    again = HammingIndex.load(path)
    assert again.search(queries, 40) == index.search(queries, 40)
    assert again.add(more).tolist() == index.add(more).tolist()


def test_a_mapped_index_outlives_its_file(tmp_path) -> None:
    index, path = HammingIndex(64), tmp_path / "index"
    codes = random_codes(50, 64, np.random.default_rng(0))
    index.add(codes)
    index.save(path)
    mapped = HammingIndex.load(path, mmap=True)
    HammingIndex(64).save(path)
    assert mapped.search(codes, 5) == index.search(codes, 5)


def test_damaged_and_foreign_files_are_refused(tmp_path) -> None:
    index, path = HammingIndex(64), tmp_path / "index"
    codes = random_codes(50, 64, np.random.default_rng(0))
    index.add(codes)
    index.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    for mmap in (False, True):
        with pytest.raises(FormatError, match="truncated"):
            HammingIndex.load(path, mmap=mmap)
    path.write_bytes(whole[:-200] + bytes([whole[-200] ^ 1]) + whole[-199:])
    with pytest.raises(FormatError, match="checksum"):
        HammingIndex.load(path)
    codes.save(path)
    with pytest.raises(FormatError, match=r"expected a hashret.index/1 file, got kind 'hashret.codes/1'"):
        HammingIndex.load(path)
    with pytest.raises(FileError, match="No such file"):
        HammingIndex.load(tmp_path / "none")
    with pytest.raises(FileError, match="No such file"):
        index.save(tmp_path / "none" / "index")


@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0, 1])}, {}),
        ({"packed": np.zeros((2, 1), np.uint8)}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0, 1])}, {"bits": 9, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0, 1])}, {"bits": 8, "next_id": "2"}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0])}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([1, 0])}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0, 0])}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([-1, 0])}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.zeros(2)}, {"bits": 8, "next_id": 2}),
    ],
)
def test_a_file_whose_parts_contradict_each_other_is_refused(tmp_path, arrays: dict, metadata: dict) -> None:
    write_arrays(tmp_path / "index", arrays, kind="hashret.index/1", metadata=metadata)
    with pytest.raises(FormatError, match="Write it with HammingIndex.save"):
        HammingIndex.load(tmp_path / "index")


FULL_DISK = """
import resource, signal, sys
import numpy as np
from hashret.errors import FileError
from hashret.search import HammingIndex
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
index = HammingIndex.load(sys.argv[1], mmap=True)
index.add(np.zeros((100_000, 8), np.uint8))
try:
    index.save(sys.argv[1])
except FileError as error:
    print("refused:", error)
"""


def test_a_full_disk_leaves_the_old_index(tmp_path) -> None:
    index, path = HammingIndex(64), tmp_path / "index"
    codes = random_codes(20, 64, np.random.default_rng(0))
    index.add(codes)
    index.save(path)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused:")
    assert HammingIndex.load(path).search(codes, 20) == index.search(codes, 20)
    assert os.listdir(tmp_path) == ["index"]

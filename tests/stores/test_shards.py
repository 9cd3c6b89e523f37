"""Shards without Ray: the journal survives a death at any point, and a change asked for twice is made once."""

import numpy as np
import pytest
from engines import duplicates

from hashret.codes import Codes
from hashret.errors import FileError, FormatError, InputError
from hashret.search import HammingIndex, merge
from hashret.stores.shards import Shard, read_layout, shard_codes, write_shards

BITS = 24
CODES = duplicates(BITS, 300, 0)
NONE = np.empty((0, 1), np.uint8)


@pytest.fixture
def folder(tmp_path):
    write_shards(tmp_path / "shards", CODES, shards=3)
    return tmp_path / "shards"


def test_shards_merged_are_the_whole(folder):
    assert read_layout(folder) == (BITS, 3)
    whole, parts = HammingIndex(BITS), [Shard(folder, number) for number in range(3)]
    whole.add(CODES)
    for k in (1, 20, 400):
        assert merge([part.index.search(CODES, k) for part in parts], k) == whole.search(CODES, k)


def test_a_shard_opened_again_holds_its_changes(folder):
    shard = Shard(folder, 1)
    ids = np.array([900, 800])
    assert shard.change(1, "a", "add", ids, CODES.packed[:2]) == (102, 900)
    assert shard.change(2, "b", "remove", np.array([100, 900]), NONE) == (100, 900)
    assert shard.change(3, "c", "replace", np.array([800]), CODES.packed[5:6]) == (100, 900)
    right = shard.index.search(CODES, 30)
    for compacted in (False, True):
        if compacted:
            shard.compact()
            assert len(list(folder.glob("00001-*"))) == 1
        again = Shard(folder, 1)
        assert (again.sequence, again.largest, len(again.index)) == (3, 900, 100)
        assert again.index.search(CODES, 30) == right
    shard.change(4, "d", "remove", np.array([101]), NONE)
    assert 101 not in Shard(folder, 1).index


def test_a_change_asked_for_twice_is_made_once(folder):
    shard, ids = Shard(folder, 0), np.array([500])
    first = shard.change(1, "a", "add", ids, CODES.packed[:1])
    for again in (shard, Shard(folder, 0)):  # also by one who died over the answer
        assert again.change(1, "a", "add", ids, CODES.packed[:1]) == first
        assert len(again.index) == 101


def test_two_who_change_are_told(folder):
    one, other = Shard(folder, 0), Shard(folder, 0)
    one.change(1, "a", "remove", np.array([0]), NONE)
    with pytest.raises(FileError, match="changes by another"):
        other.change(1, "b", "remove", np.array([1]), NONE)
    with pytest.raises(FileError, match="changes by another"):
        one.change(1, "b", "remove", np.array([1]), NONE)
    with pytest.raises(FileError, match="changes by another"):
        one.change(3, "b", "remove", np.array([1]), NONE)
    assert not list(folder.glob(".*"))
    assert 1 in Shard(folder, 0).index


def test_what_the_index_refuses_is_not_written(folder):
    shard = Shard(folder, 0)
    for verb, ids in (("add", [3]), ("remove", [300]), ("replace", [300])):
        with pytest.raises(InputError):
            shard.change(1, "a", verb, np.array(ids), CODES.packed[:1])
    assert not list(folder.glob("*.change"))
    assert len(Shard(folder, 0).index) == 100


def test_a_death_between_writing_a_file_and_dropping_its_journal_loses_nothing(folder):
    shard = Shard(folder, 2)
    shard.change(1, "a", "add", np.array([700]), CODES.packed[:1])
    kept = {path: path.read_bytes() for path in folder.glob("00002-*")}
    shard.compact()
    for path, content in kept.items():
        path.write_bytes(content)  # as if it had died before they were dropped
    again = Shard(folder, 2)
    assert (len(again.index), again.sequence) == (101, 1)
    assert again.change(2, "b", "remove", np.array([700]), NONE)[0] == 100
    assert 700 not in Shard(folder, 2).index


def test_codes_come_back_as_one_index(folder):
    shard = Shard(folder, 0)
    shard.change(1, "a", "remove", np.array([7]), NONE)
    whole, right = HammingIndex(BITS), HammingIndex(BITS)
    right.add(CODES)
    right.remove([7])
    for number in range(3):
        shard_codes(folder, number, whole)
    assert np.array_equal(whole.ids, right.ids)
    assert whole.search(CODES, 9) == right.search(CODES, 9)


def test_many_ids_are_looked_up_as_few_are(tmp_path):
    write_shards(tmp_path, Codes(np.zeros((3000, 1), np.uint8), 8), np.arange(0, 6000, 2), shards=1)
    shard = Shard(tmp_path, 0)
    shard.change(1, "a", "remove", np.arange(0, 4000, 2), NONE)
    with pytest.raises(InputError):
        shard.change(2, "b", "remove", np.arange(4000, 6000), NONE)
    assert len(shard.index) == 1000


def test_damaged_folders_have_named_errors(folder, tmp_path):
    with pytest.raises(FileError, match="bits=WIDTH&shards=NUMBER"):
        read_layout(tmp_path)
    with pytest.raises(FileError, match="without shards"):
        write_shards(folder, CODES, shards=2)
    with pytest.raises(InputError, match="shards"):
        write_shards(tmp_path / "other", CODES, shards=0)
    with pytest.raises(FileError, match="shard 3"):
        Shard(folder, 3)
    (folder / "shards.json").write_text('{"kind": "hashret.shards/9"}')
    with pytest.raises(FormatError, match="hashret.shards/9"):
        read_layout(folder)
    file = next(folder.glob("00000-*.index"))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(FormatError):
        Shard(folder, 0)

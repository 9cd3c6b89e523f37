"""The file of an index: what older versions wrote, what is no index, what was damaged, and what a crash leaves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashret.arrayfile import read_arrays, write_arrays
from hashret.codes import Codes
from hashret.errors import FileError, FormatError
from hashret.search import HammingIndex, answers
from hashret.search import segments as segments_module
from hashret.search.blocks import Blocks

FILES = Path(__file__).parent / "files"
MODES = pytest.mark.parametrize("mmap", [False, True])


def random_codes(rows: int, bits: int, seed: int = 0) -> Codes:
    return Codes(np.packbits(np.random.default_rng(seed).random((rows, bits)) < 0.5, axis=1), bits)


def nearest(queries: Codes, items: dict[int, bytes], k: int) -> list[list[tuple[int, int]]]:
    """The k nearest (distance, id) of every query, by Python's integers."""
    found = []
    for query in queries.packed:
        number = int.from_bytes(query.tobytes())
        found.append(sorted(((number ^ int.from_bytes(code)).bit_count(), key) for key, code in items.items())[:k])
    return found


# What each file holds: bits, codes, range of ids. The codes and ids are those of the generator 2026, added 5/6 first
# and then the rest, as two segments where there are two; then every seventh id, from the lowest, was removed. The
# tables were built before the rest was added.
KEPT = {
    "index-1.safetensors": (100, 60, 500),
    "index-2.safetensors": (100, 300, 5000),
    "index-2-tables.safetensors": (64, 300, 5000),
}


def kept(name: str) -> tuple[Codes, np.ndarray]:
    """All codes and ids that went into a file of :data:`KEPT`, in the order of adding."""
    bits, rows, spread = KEPT[name]
    rng = np.random.default_rng(2026)
    codes = Codes(np.packbits(rng.random((rows, bits)) < 0.5, axis=1), bits)
    return codes, rng.permutation(spread)[:rows]


def write_kept(name: str, path: Path) -> HammingIndex:
    """Write such a file as the present version; a new one goes to :data:`FILES` when there is a new version."""
    codes, ids = kept(name)
    index, most = HammingIndex(codes.bits), 5 * len(codes) // 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments_module, "_SMALL", 0)
        index.add(codes[:most], ids[:most])
        if "tables" in name:
            index.build_tables()
        index.add(codes[most:], ids[most:])
        index.remove(index.ids[::7])
    index.save(path)
    return index


@MODES
@pytest.mark.parametrize("name", KEPT)
def test_a_file_of_each_version_is_loaded_and_answers(monkeypatch, tmp_path, name: str, mmap: bool) -> None:
    monkeypatch.setattr(answers, "_SHARE", 1e9)  # so that the tables give no query up
    path = Path(shutil.copy(FILES / name, tmp_path))
    index = HammingIndex.load(path, mmap=mmap)
    codes, ids = kept(name)
    gone = set(np.sort(ids)[::7].tolist())
    items = {k: c.tobytes() for k, c in zip(ids.tolist(), codes.packed, strict=True) if k not in gone}
    assert (index.bits, len(index), index.ids.tolist()) == (codes.bits, len(items), sorted(items))
    queries = Codes.concatenate([codes[::20], random_codes(3, codes.bits)])
    algorithms = ["auto", "scan", *["multi-index"] * ("tables" in name)]
    for algorithm in algorithms:
        hits = index.search(queries, 12, algorithm=algorithm)
        rows = zip(hits.distances.tolist(), hits.ids.tolist(), strict=True)
        assert [list(zip(*row, strict=True)) for row in rows] == nearest(queries, items, 12)
        near = index.within(queries, 35, algorithm=algorithm)
        inside = [[key for far, key in row if far <= 35] for row in nearest(queries, items, len(items))]
        assert [row[row >= 0].tolist() for row in near.ids] == inside
    assert index.add(codes[:2]).tolist() == [ids.max() + 1, ids.max() + 2]
    assert path.read_bytes() == (FILES / name).read_bytes()
    index.save(path)
    again = HammingIndex.load(path, mmap=mmap)
    assert again.ids.tolist() == [*sorted(items), ids.max() + 1, ids.max() + 2]
    assert again.search(queries, 99) == index.search(queries, 99)


@pytest.mark.parametrize("name", list(KEPT)[1:])
def test_the_present_version_still_writes_such_files(tmp_path, name: str) -> None:
    index = write_kept(name, tmp_path / "index")
    assert len(index._segments.parts) == 2
    assert (index._segments.parts[0].tables is not None) == ("tables" in name)
    (now, about), (then, told) = (
        read_arrays(path, kind="hashret.index/2") for path in (tmp_path / "index", FILES / name)
    )
    assert (sorted(now), about) == (sorted(then), told)
    for array in ("0.ids", "0.alive", "1.ids", "1.alive"):
        np.testing.assert_array_equal(now[array], then[array])


@MODES
@pytest.mark.parametrize(("rows", "bits"), [(0, 64), (30, 1), (30, 16), (30, 64), (30, 100)])
@pytest.mark.parametrize("tables", [False, True])
def test_a_saved_index_answers_alike(tmp_path, mmap: bool, rows: int, bits: int, tables: bool) -> None:
    rng = np.random.default_rng(2)
    index, path = HammingIndex(bits), tmp_path / "index.safetensors"
    index.add(random_codes(rows, bits), rng.permutation(90)[:rows])
    if tables:
        index.build_tables()
    index.save(path)
    loaded, queries = HammingIndex.load(path, mmap=mmap), random_codes(4, bits, 1)
    assert (loaded.bits, len(loaded), loaded.ids.tolist()) == (bits, rows, index.ids.tolist())
    assert loaded.nbytes == index.nbytes
    assert loaded.search(queries, 7) == index.search(queries, 7)
    assert loaded.search(queries, 7, algorithm="multi-index" if tables else "scan") == index.search(queries, 7)
    more = random_codes(3, bits, 2)
    before = path.read_bytes()
    assert loaded.add(more).tolist() == index.add(more).tolist()
    assert loaded.remove(loaded.ids[:2]) == index.remove(index.ids[:2])
    loaded.replace(loaded.ids[-1:], more[:1])
    index.replace(index.ids[-1:], more[:1])
    assert loaded.search(queries, 40) == index.search(queries, 40)
    assert path.read_bytes() == before
    loaded.save(path)  # over the file it maps
    again = HammingIndex.load(path)
    assert again.search(queries, 40) == index.search(queries, 40)
    assert again.add(more).tolist() == index.add(more).tolist()
    assert os.listdir(tmp_path) == [path.name]


def test_the_same_codes_make_the_same_file(tmp_path) -> None:
    """What the memory held before lies behind the last code of a block, and is none of a reader's business."""
    codes, files = random_codes(40, 64), set()
    for fill in (0, 2**64 - 1, 12345):
        used = [np.full(Blocks.shape(64, 40), fill, np.uint64) for _ in range(100)]
        del used
        index = HammingIndex(64)
        index.add(codes)
        index.save(tmp_path / "index")
        files.add((tmp_path / "index").read_bytes())
    assert len(files) == 1


def test_a_mapped_index_outlives_its_file(tmp_path) -> None:
    index, path = HammingIndex(64), tmp_path / "index"
    codes = random_codes(50, 64)
    index.add(codes)
    index.save(path)
    mapped = HammingIndex.load(path, mmap=True)
    HammingIndex(64).save(path)
    assert mapped.search(codes, 5) == index.search(codes, 5)
    path.unlink()
    assert mapped.search(codes, 5) == index.search(codes, 5)


def resident(path: Path) -> int:
    """Bytes of a file that this process has in its memory by mapping it."""
    kilobytes, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, rest = line.partition(":")
        if "-" in name.split()[0]:
            ours = line.endswith(str(path))
        elif ours and name == "Rss":
            kilobytes += int(rest.split()[0])
    return kilobytes * 1024


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell what is resident")
def test_mapping_reads_no_array(tmp_path) -> None:
    index, path = HammingIndex(64), tmp_path / "index"
    codes = random_codes(300_000, 64)
    index.add(codes, np.arange(300_000) * 3)
    index.build_tables()
    index.remove([0, 3])
    index.save(path)
    size = path.stat().st_size
    assert size > 15_000_000
    mapped = HammingIndex.load(path, mmap=True)
    assert (len(mapped), mapped.nbytes) == (299_998, index.nbytes)
    assert resident(path) < size / 8
    asked = codes[7:9]
    assert mapped.search(asked, 3) == index.search(asked, 3)
    assert mapped.search(asked, 3, algorithm="scan") == index.search(asked, 3)
    assert resident(path) > 300_000 * 8  # now the codes


def test_what_is_mapped_is_not_checked_byte_by_byte(tmp_path) -> None:
    path, whole = tmp_path / "index", (FILES / "index-2.safetensors").read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    path.write_bytes(whole[:start] + bytes(len(whole) - start))
    with pytest.raises(FormatError, match="checksum"):
        HammingIndex.load(path)
    assert len(HammingIndex.load(path, mmap=True)) == len(HammingIndex.load(FILES / "index-2.safetensors"))


def places(size: int, start: int) -> list[int]:
    """Some places in a file whose arrays begin at ``start``: all kinds of them, and not too many."""
    ends = [0, 1, 7, 8, 9, start - 1, start, start + 1, size - 2, size - 1]
    return sorted({*ends, *range(10, start, 23), *range(start, size, 1 + (size - start) // 60)})


@pytest.mark.parametrize("name", KEPT)
def test_truncated_and_changed_files_are_refused_wherever_it_is(tmp_path, name: str) -> None:
    whole, path = (FILES / name).read_bytes(), tmp_path / "index"
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in places(len(whole), start):
        path.write_bytes(whole[:place])
        for mmap in (False, True):
            with pytest.raises(FormatError):
                HammingIndex.load(path, mmap=mmap)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(FormatError):
            HammingIndex.load(path)
        if place < start:
            with pytest.raises(FormatError):
                HammingIndex.load(path, mmap=True)
    path.write_bytes(whole + b" ")
    with pytest.raises(FormatError, match="truncated or something was appended"):
        HammingIndex.load(path)


@MODES
def test_foreign_files_and_later_versions_are_refused_by_name(tmp_path, mmap: bool) -> None:
    path = tmp_path / "file"
    random_codes(5, 64).save(path)
    with pytest.raises(FormatError, match=r"expected a hashret.index/2 or hashret.index/1 file, got kind 'hashret.cod"):
        HammingIndex.load(path, mmap=mmap)
    write_arrays(path, {}, kind="hashret.index/3", metadata={"bits": 8, "next_id": 0, "segments": []})
    with pytest.raises(FormatError, match=r"got kind 'hashret.index/3'\. It is of another version: update hashret"):
        HammingIndex.load(path, mmap=mmap)
    for content in (b"", b"hello", b"\x80\x04" * 50, bytes(200), (3).to_bytes(8, "little") + b"[1]"):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="safetensors"):
            HammingIndex.load(path, mmap=mmap)
    np.savez(path, packed=np.zeros((2, 1), np.uint8))
    with pytest.raises(FormatError, match="safetensors"):
        HammingIndex.load(f"{path}.npz", mmap=mmap)
    with pytest.raises(FileError, match="No such file"):
        HammingIndex.load(tmp_path / "none", mmap=mmap)
    with pytest.raises(FileError, match="directory"):
        HammingIndex.load(tmp_path, mmap=mmap)
    with pytest.raises(FileError, match="No such file"):
        HammingIndex(8).save(tmp_path / "none" / "index")


@MODES
@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0, 1])}, {}),
        ({"packed": np.zeros((2, 1), np.uint8)}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0, 1])}, {"bits": 9, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0, 1])}, {"bits": 8, "next_id": "2"}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0, 1])}, {"bits": 8, "next_id": 1}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0])}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([1, 0])}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([0, 0])}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.array([-1, 0])}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 1), np.uint8), "ids": np.zeros(2)}, {"bits": 8, "next_id": 2}),
        ({"packed": np.zeros((2, 2), np.int8), "ids": np.array([0, 1])}, {"bits": 8, "next_id": 2}),
    ],
)
def test_a_version_1_file_of_contradictory_parts_is_refused(tmp_path, arrays: dict, metadata: dict, mmap: bool) -> None:
    write_arrays(tmp_path / "index", arrays, kind="hashret.index/1", metadata=metadata)
    with pytest.raises(FormatError, match="Write it with HammingIndex.save"):
        HammingIndex.load(tmp_path / "index", mmap=mmap)


BLOCKS = np.zeros((1, 1, 256), np.uint8)
SOUND: dict[str, Any] = {"bits": 8, "next_id": 9, "codes": 3, "removed": 1, "first": 0, "blocks": BLOCKS,
                         "ids": np.array([0, 4, 8]), "alive": np.array([2**64 - 3], np.uint64)}  # fmt: skip
ARRAYS = ("blocks", "ids", "alive")


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in SOUND if name != "ids"),
        {"bits": 9}, {"bits": 0}, {"bits": "8"}, {"bits": 70_000}, {"next_id": 8}, {"next_id": -1}, {"next_id": 9.5},
        {"codes": 2}, {"codes": 4}, {"codes": 257}, {"codes": -1}, {"codes": "3"}, {"removed": 4}, {"removed": -1},
        {"removed": 2}, {"first": "0"}, {"blocks": BLOCKS[:0]}, {"blocks": BLOCKS[0]}, {"blocks": BLOCKS[:, :, :128]},
        {"blocks": BLOCKS.astype(np.uint16)}, {"ids": SOUND["ids"][:2]}, {"ids": SOUND["ids"][::-1]},
        {"ids": SOUND["ids"] - 1}, {"ids": SOUND["ids"].astype(np.uint64)}, {"ids": np.array([4, 4, 8])},
        {"alive": SOUND["alive"][:0]}, {"alive": SOUND["alive"].view(np.int64)}, {"alive": SOUND["alive"].repeat(2)},
        {"ids": None, "first": 7}, {"ids": None, "first": 2**63 - 2, "next_id": 2**63 + 1}, {"ids": None, "first": -1},
    ],
)  # fmt: skip
def test_a_version_2_file_of_contradictory_parts_is_refused(tmp_path, changes: dict[str, Any]) -> None:
    def write(told: dict[str, Any]) -> None:
        arrays = {f"0.{name}": told[name] for name in ARRAYS if told[name] is not None}
        said = {name: value for name, value in told.items() if name not in ARRAYS and value is not None}
        segment = {name: said.pop(name) for name in ("codes", "removed", "first") if name in said}
        write_arrays(tmp_path / "index", arrays, kind="hashret.index/2", metadata=said | {"segments": [segment]})

    write(SOUND)
    assert HammingIndex.load(tmp_path / "index").ids.tolist() == [0, 8]
    write(SOUND | changes)
    with pytest.raises(FormatError, match=r"Write it with HammingIndex\.save"):
        HammingIndex.load(tmp_path / "index")


@pytest.mark.parametrize("segments", [None, 3, "0", [3], [None], ["codes"], {"codes": 3}])
@MODES
def test_a_version_2_file_that_tells_nonsense_is_refused(tmp_path, segments: Any, mmap: bool) -> None:
    about = {"bits": 8, "next_id": 9, "segments": segments}
    for metadata in (about, {"bits": 8, "next_id": 9}):
        write_arrays(tmp_path / "index", {"0.blocks": BLOCKS}, kind="hashret.index/2", metadata=metadata)
        with pytest.raises(FormatError, match=r"Write it with HammingIndex\.save"):
            HammingIndex.load(tmp_path / "index", mmap=mmap)


@MODES
def test_tables_of_other_codes_are_refused(tmp_path, mmap: bool) -> None:
    """Tables that name a position behind the last code must not come near a kernel."""
    path, name = tmp_path / "index", "index-2-tables.safetensors"
    write_kept(name, path)
    arrays, about = read_arrays(path, kind="hashret.index/2")
    more = HammingIndex(64)
    more.add(random_codes(400, 64))
    more.build_tables()
    foreign = more._segments.parts[0].arrays()
    others = {f"0.{key}": array for key, array in foreign.items() if key.startswith("tables")}
    for spoiled in (arrays | others, {key: array for key, array in arrays.items() if key != "0.tables.ids"}):
        write_arrays(path, spoiled, kind="hashret.index/2", metadata=about)
        with pytest.raises(FormatError, match="index"):
            HammingIndex.load(path, mmap=mmap)


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
    codes = random_codes(20, 64)
    index.add(codes)
    index.save(path)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused:")
    assert HammingIndex.load(path).search(codes, 20) == index.search(codes, 20)
    assert os.listdir(tmp_path) == ["index"]


KILLED = """
import os, random, signal, sys, time
import numpy as np
from hashret.search import HammingIndex
indexes = []
for size in (100_000, 200_000):
    indexes.append(HammingIndex(64))
    indexes[-1].add(np.random.default_rng(size).integers(0, 256, (size, 8), dtype=np.uint8))
indexes[0].save(sys.argv[1])
for _ in range(12):
    child = os.fork()
    while child == 0:
        for index in reversed(indexes):
            index.save(sys.argv[1])
    time.sleep(random.uniform(0.005, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    loaded = HammingIndex.load(sys.argv[1])
    whole = indexes[len(loaded) > 100_000]
    assert loaded.ids.tolist() == whole.ids.tolist()
    assert (loaded._segments.parts[0].blocks.data == whole._segments.parts[0].arrays()["blocks"]).all()
    print(len(loaded))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_killed_save_leaves_the_old_index_or_the_new_one(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "index"], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.split()) == 12
    assert set(done.stdout.split()) <= {"100000", "200000"}

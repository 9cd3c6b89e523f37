"""EmbeddingStore: what it maps, writes and refuses."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashret.codes import binarize
from hashret.errors import FileError, FormatError, InputError, NonFiniteError, WidthError
from hashret.search import EmbeddingStore
from hashret.search import embedding_store as stored

DTYPES = ("float32", "float16", "int8")


def npy(path: Path, rows: Any) -> Path:
    np.save(path, rows)
    return path.with_suffix(".npy")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_npy_is_mapped_as_it_is(tmp_path: Path, dtype: Any) -> None:
    rows = np.random.default_rng(5).normal(size=(40, 6)).astype(dtype)
    path = npy(tmp_path / "gallery", rows)
    store = EmbeddingStore.open(path)
    base: Any = store.rows
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert (len(store), store.width, store.dtype, store.row_bytes) == (40, 6, rows.dtype.name, 6 * rows.dtype.itemsize)
    assert store.take([39, 0, 39]).tolist() == rows[[39, 0, 39]].astype(np.float32).tolist()
    named = EmbeddingStore.open(path, ids=np.arange(40)[::-1] * 10)
    assert named.take([390, 0]).tolist() == rows[[0, 39]].astype(np.float32).tolist()


def test_files_that_will_not_do_are_refused(tmp_path: Path) -> None:
    good = np.ones((5, 3), np.float32)
    path = npy(tmp_path / "cut", good)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FormatError, match=r"cut.npy: expected a whole .npy file"):
        EmbeddingStore.open(path)
    with pytest.raises(FormatError, match="holds objects"):
        EmbeddingStore.open(npy(tmp_path / "objects", np.array([[{}]])))
    cases: dict[str, Any] = {
        "float64": good.astype(np.float64), "order": np.asfortranarray(good), "flat": good[0], "none": good[:0],
        "endian": good.astype(">f4"), "int8": good.astype(np.int8),
    }  # fmt: skip
    for name, rows in cases.items():
        with pytest.raises(FormatError, match=f"{name}.npy: expected embeddings"):
            EmbeddingStore.open(npy(tmp_path / name, rows))
    with pytest.raises(FileError, match="expected a file of embeddings"):
        EmbeddingStore.open(tmp_path / "nowhere.npy")
    (tmp_path / "text").write_text("no embeddings, and long enough for a header")
    with pytest.raises(FormatError, match="text: expected a safetensors file"):
        EmbeddingStore.open(tmp_path / "text")
    with pytest.raises(InputError, match="ids: expected 5, one a code, got 4"):
        EmbeddingStore.open(npy(tmp_path / "good", good), ids=range(4))
    binarize(good).save(tmp_path / "codes")
    with pytest.raises(FormatError, match="expected a hashret.embeddings/1 file"):
        EmbeddingStore.open(tmp_path / "codes")


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_written_in_blocks_is_what_is_written_whole(
    tmp_path: Path, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(6).normal(size=(90, 5))
    names = np.random.default_rng(7).permutation(90) + 1
    whole = EmbeddingStore.write(tmp_path / "whole", rows, dtype=dtype, ids=names)
    assert (whole.dtype, len(whole), repr(whole)) == (dtype, 90, f"EmbeddingStore(90 x 5, {dtype})")
    close = {"float32": 1e-7, "float16": 1e-3, "int8": 3e-2}[dtype]
    np.testing.assert_allclose(whole.take(names), rows, atol=close * 4)
    EmbeddingStore.write(tmp_path / "blocks", (rows[at : at + 7] for at in range(0, 90, 7)), dtype=dtype, ids=names)
    EmbeddingStore.write(tmp_path / "list", rows.tolist(), dtype=dtype, ids=names)
    monkeypatch.setattr(stored, "_BLOCK", 400)  # ten rows
    EmbeddingStore.write(tmp_path / "cut", rows, dtype=dtype, ids=names)
    assert len({(tmp_path / name).read_bytes() for name in ("whole", "blocks", "list", "cut")}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocks", "cut", "list", "whole"]
    with pytest.raises(InputError, match="none beside a file that has its own"):
        EmbeddingStore.open(tmp_path / "whole", ids=names)


def test_ids_cost_what_they_need(tmp_path: Path) -> None:
    rows = np.eye(4)
    for ids, cost in ((None, 8), ([0, 1, 2, 3], 8), ([7, 8, 9, 10], 8), ([1, 3, 5, 7], 16), ([3, 2, 1, 0], 24)):
        store = EmbeddingStore.write(tmp_path / "s", rows, dtype="float16", ids=ids)
        assert store.row_bytes == cost
        assert store.take(range(4) if ids is None else ids).tolist() == rows.tolist()


def test_what_cannot_be_kept_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    EmbeddingStore.write(path, np.eye(2))
    before = path.read_bytes()
    bad = np.ones((9, 2))
    bad[6, 1] = np.nan
    for dtype in DTYPES:
        with pytest.raises(NonFiniteError, match="nan in row 6"):
            EmbeddingStore.write(path, iter([bad[:4], bad[4:]]), dtype=dtype)  # type: ignore[arg-type]
    with pytest.raises(NonFiniteError, match="up to 65504 for float16, got 70000 in row 1"):
        EmbeddingStore.write(path, [[1.0], [70000.0]])
    with pytest.raises(NonFiniteError, match=r"for float32, got 1e\+39"):
        EmbeddingStore.write(path, [[1e39]], dtype="float32")
    with pytest.raises(WidthError, match="expected 2 numbers in every row, got 3 from row 4 on"):
        EmbeddingStore.write(path, [np.ones((4, 2)), np.ones((1, 3))])
    for rows in (np.ones(3), np.ones((2, 2), complex), np.ones((0, 3)), np.ones((3, 0)), iter([])):
        with pytest.raises(InputError, match="rows: expected"):
            EmbeddingStore.write(path, rows)
    with pytest.raises(InputError, match="ids: expected each id once, got 1 twice"):
        EmbeddingStore.write(path, np.eye(2), ids=[1, 1])
    with pytest.raises(InputError, match="one of float32, float16, int8, got 'int4'"):
        EmbeddingStore.write(path, np.eye(2), dtype="int4")  # type: ignore[arg-type]
    with pytest.raises(FileError, match="expected a place that can be written"):
        EmbeddingStore.write(tmp_path / "no" / "s", np.eye(2))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["s"]


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    eye, scales = np.eye(3, dtype=np.int8), np.ones(3, np.float32)
    assert EmbeddingStore(eye, scales=scales).take([1]).tolist() == [[0, 1, 0]]
    for rows, given_scales in ((eye, None), (eye.astype(np.float32), scales), (eye, scales[:2]),
                               (eye, scales.astype(np.float64))):  # fmt: skip
        with pytest.raises(InputError, match="scales: expected"):
            EmbeddingStore(rows, scales=given_scales)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected float32, float16 or int8"):
        EmbeddingStore([[1.0]])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected 3, one a code"):
        EmbeddingStore(np.eye(3, dtype=np.float32), ids=[1, 2])


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    from hashret.arrayfile import write_arrays

    path = tmp_path / "s"
    EmbeddingStore.write(path, np.eye(9), dtype="int8")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match="truncated"):
        EmbeddingStore.open(path)
    rows = {"rows": np.eye(3, dtype=np.float32)}
    for arrays, said in (({}, "a file without 'rows'"), ({**rows, "ids": np.arange(2)}, r"int64 \(3,\)"),
                         ({**rows, "scales": np.ones(3, np.float32)}, "scales")):  # fmt: skip
        write_arrays(path, arrays, kind=stored.KIND)
        with pytest.raises(FormatError, match=said):
            EmbeddingStore.open(path)
    order = np.array([0, 1, 3])
    write_arrays(path, {**rows, "ids": np.array([1, 5, 7]), "order": order}, kind=stored.KIND)
    with pytest.raises(FormatError, match="expected rows below 3, got 3"):
        EmbeddingStore.open(path).take([7])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_a_large_file_is_written_and_looked_up_within_bounded_memory(tmp_path: Path) -> None:
    script = """
import sys
import numpy as np
from hashret.search import EmbeddingStore, Hits, rerank
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) / 1024

def blocks():
    for block in range(40):
        yield np.full((8192, 128), block + 1, np.float32)
        high.append(peak())
one = Hits(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int64))
rerank(one, np.ones((1, 2)), EmbeddingStore(np.ones((1, 2), np.float32)))  # compiles
high = [peak()]
store = EmbeddingStore.write(sys.argv[1], blocks(), dtype="float32")
queries, ids = np.ones((64, 128)), np.random.default_rng(0).integers(0, len(store), (64, 100))
far = np.broadcast_to(np.arange(100, dtype=np.int32), ids.shape)
rerank(Hits(far, ids), queries, store)
high.append(peak())
print(max(high) - high[0], store.rows.nbytes / 1024 / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "s")], capture_output=True, text=True, check=True
    )
    grown, size = map(float, done.stdout.split())
    assert size == 160
    assert grown < 60

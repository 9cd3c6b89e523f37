"""open_matrix: the same rows from every form a matrix comes in, mapped or read, or an error."""

import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import coo_matrix, csc_matrix
from trees.asked import cut
from trees.matlab import write_version_73

from hashret.data import hdf5file, matrixcopy, matrixfile
from hashret.data.matrixfile import matrix_shapes, open_matrix
from hashret.errors import DataError, DataFileError, FileError

REAL = Path(__file__).parents[3] / "shared" / "data" / "mirflickr25k"
CHANCE = np.random.default_rng(0)
NUMBERS = {
    "double": CHANCE.standard_normal((40, 7)),
    "uint8": CHANCE.integers(0, 256, (40, 7), dtype=np.uint8),
    "int64": CHANCE.integers(-9, 9, (40, 7)),
    "single": CHANCE.standard_normal((40, 7)).astype(np.float32),
    "logical": CHANCE.integers(0, 2, (40, 7)).astype(bool),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "matrices"


@pytest.fixture(params=[1 << 26, 64], ids=["in memory", "mapped"])
def small(request, monkeypatch):
    """Matrices of more bytes than this are mapped, and copied so many at a time."""
    for module in (matrixcopy, matrixfile, hdf5file):
        monkeypatch.setattr(module, "SMALL", request.param)
    return request.param


def write_npy(path, values):
    np.save(path.with_suffix(".npy"), values)
    return path.with_suffix(".npy")


def write_fortran_npy(path, values):
    return write_npy(path, np.asfortranarray(values))


def write_version_5(path, values):
    savemat(path, {"other": np.zeros(3), "X": values}, do_compression=True)
    return path


def write_version_4(path, values):
    savemat(path, {"X": values.astype(np.float64)}, format="4")
    return path


def write_matlab_73(path, values):
    write_version_73(path, {"X": values, "other": np.zeros((3, 3))})
    return path


def write_matlab_73_in_one_piece(path, values):
    write_version_73(path, {"other": np.zeros((3, 3)), "X": values}, compressed=False)
    return path


def write_plain_hdf5(path, values):
    with h5py.File(path, "w") as file:
        file["X"], file["other"] = values, 3
    return path


def write_chunked_hdf5(path, values):
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=values, chunks=(5, 3), compression="lzf")
    return path


def write_big_endian_hdf5(path, values):
    with h5py.File(path, "w") as file:
        file["X"] = values.astype(np.asarray(values).dtype.newbyteorder(">"))
    return path


WRITERS = [
    write_npy, write_fortran_npy, write_version_5, write_version_4, write_matlab_73, write_matlab_73_in_one_piece,
    write_plain_hdf5, write_chunked_hdf5, write_big_endian_hdf5,
]  # fmt: skip


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("write", WRITERS)
def test_every_form_gives_the_same_rows(write, kind, small, tmp_path):
    path = write(tmp_path / "a.mat", NUMBERS[kind])
    for expected in ({}, {"rows": 40}, {"columns": 7}, {"rows": 40, "columns": 7}, {"rows": 39, "columns": 7}):
        found = open_matrix(path, ["absent", "X"], **expected)
        assert found.shape == (40, 7)
        assert found.flags.c_contiguous
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, NUMBERS[kind])
        assert found.dtype.kind == NUMBERS[kind].dtype.kind or write is write_version_4 or kind == "logical"


@pytest.mark.parametrize("write", WRITERS)
def test_a_matrix_on_its_side_is_turned_if_it_fits_no_other_way(write, small, tmp_path):
    values = NUMBERS["double"]
    path = write(tmp_path / "a.mat", values.T)
    for expected in ({"rows": 40}, {"columns": 7}, {"rows": 40, "columns": 7}):
        np.testing.assert_array_equal(open_matrix(path, ["X"], **expected), values)
        assert open_matrix(path, ["X"], **expected).flags.c_contiguous
    np.testing.assert_array_equal(open_matrix(path, ["X"]), values.T)
    np.testing.assert_array_equal(open_matrix(path, ["X"], rows=99), values.T)


def test_a_square_matrix_lies_as_its_writer_lays_it(tmp_path, small):
    values = CHANCE.standard_normal((8, 8))
    for write in WRITERS:
        path = write(tmp_path / f"{write.__name__}.mat", values)
        np.testing.assert_array_equal(open_matrix(path, ["X"], rows=8, columns=8), values, write.__name__)


def test_the_layout_of_a_73_file_without_marks_is_told_by_its_size(tmp_path, small):
    write_version_73(tmp_path / "a.mat", {"X": NUMBERS["uint8"]}, marked=False)
    np.testing.assert_array_equal(open_matrix(tmp_path / "a.mat", rows=40), NUMBERS["uint8"])
    assert open_matrix(tmp_path / "a.mat").shape == (7, 40)


def test_pixels_keep_the_order_of_their_axes(tmp_path, small):
    pixels = CHANCE.integers(0, 256, (6, 5, 3, 9), dtype=np.uint8)  # MATLAB: height, width, channel, item
    for compressed in (True, False):
        write_version_73(tmp_path / "a.mat", {"IAll": pixels}, compressed=compressed)
        found = open_matrix(tmp_path / "a.mat", ["IAll"], rows=9)
        assert matrix_shapes(tmp_path / "a.mat") == {"IAll": (9, 3, 5, 6)}
        np.testing.assert_array_equal(found, pixels.transpose(3, 2, 1, 0))
        np.testing.assert_array_equal(found[4].transpose(2, 1, 0), pixels[..., 4])


@pytest.mark.parametrize("empty", [False, True])
def test_sparse_matrices_become_whole(empty, tmp_path):
    whole = NUMBERS["double"] * (NUMBERS["double"] > (9 if empty else 1))
    savemat(tmp_path / "5.mat", {"X": csc_matrix(whole), "Y": coo_matrix(whole)})
    write_version_73(tmp_path / "73.mat", {"X": csc_matrix(whole)})
    np.testing.assert_array_equal(open_matrix(tmp_path / "5.mat", ["X"]), whole)
    np.testing.assert_array_equal(open_matrix(tmp_path / "5.mat", ["Y"], rows=7), whole.T)
    np.testing.assert_array_equal(open_matrix(tmp_path / "73.mat"), whole)
    np.testing.assert_array_equal(open_matrix(tmp_path / "73.mat", rows=7), whole.T)


def copies(cache):
    return sorted(path for path in cache.glob("*") if path.is_file()) if cache.is_dir() else []


def test_small_matrices_and_those_that_can_be_mapped_are_not_copied(tmp_path, cache, monkeypatch):
    for write in WRITERS:
        open_matrix(write(tmp_path / "a.mat", NUMBERS["double"]), ["X"])
    assert copies(cache) == []
    for module in (matrixcopy, matrixfile, hdf5file):
        monkeypatch.setattr(module, "SMALL", 64)
    for write in (write_npy, write_plain_hdf5, write_big_endian_hdf5):
        found = open_matrix(write(tmp_path / "a.mat", NUMBERS["double"]), ["X"])
        assert not found.flags.writeable
    assert copies(cache) == []
    for write in (write_fortran_npy, write_version_5, write_matlab_73, write_matlab_73_in_one_piece):
        assert not open_matrix(write(tmp_path / f"{write.__name__}.mat", NUMBERS["double"]), ["X"]).flags.writeable
    assert len(copies(cache)) == 4


def test_a_copy_is_made_once_and_again_when_the_file_changes_or_the_copy_is_cut(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(hdf5file, "SMALL", 64)
    path = write_matlab_73(tmp_path / "a.mat", NUMBERS["double"])
    open_matrix(path, ["X"])
    (copy,) = copies(cache)
    written = copy.stat().st_mtime_ns
    np.testing.assert_array_equal(open_matrix(path), NUMBERS["double"])
    assert copies(cache) == [copy]
    assert copy.stat().st_mtime_ns == written
    assert copy.stat().st_mode & 0o044  # others who share the cache may read it
    copy.write_bytes(copy.read_bytes()[:-8])
    np.testing.assert_array_equal(open_matrix(path), NUMBERS["double"])
    copy.write_bytes(b"")
    np.testing.assert_array_equal(open_matrix(path), NUMBERS["double"])
    write_matlab_73(path, NUMBERS["double"] + 1)
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(open_matrix(path), NUMBERS["double"] + 1)
    np.testing.assert_array_equal(open_matrix(path, ["other"]), np.zeros((3, 3)))
    assert len(copies(cache)) == 3


def test_a_file_of_the_same_size_and_another_time_is_copied_anew(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(hdf5file, "SMALL", 64)
    path = write_matlab_73_in_one_piece(tmp_path / "a.mat", NUMBERS["double"])
    size = path.stat().st_size
    open_matrix(path, ["X"])
    write_matlab_73_in_one_piece(path, -NUMBERS["double"])
    os.utime(path, ns=(1, 1))
    assert path.stat().st_size == size
    np.testing.assert_array_equal(open_matrix(path, ["X"]), -NUMBERS["double"])
    assert len(copies(cache)) == 2


def test_rows_are_read_from_the_file_after_it_was_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5file, "SMALL", 64)
    path = write_plain_hdf5(tmp_path / "a.mat", NUMBERS["double"])
    found = open_matrix(path, ["X"])
    path.unlink()
    np.testing.assert_array_equal(found, NUMBERS["double"])


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("left", [0.0, 0.01, 0.3, 0.9])
def test_a_truncated_file_is_refused(write, left, small, tmp_path, cache):
    path = write(tmp_path / "a.mat", CHANCE.standard_normal((400, 7)))
    cut(path, left)
    with pytest.raises(DataFileError, match=r"a\.(mat|npy).*again"):
        open_matrix(path, ["X"])
    if not left:
        with pytest.raises(DataFileError, match="a whole"):
            matrix_shapes(path)
    assert copies(cache) == []


def test_damage_inside_a_compressed_block_is_the_files_fault_not_the_caches(tmp_path, cache, small):
    values = CHANCE.integers(0, 2, (4000, 30)).astype(np.uint8)
    path = write_matlab_73(tmp_path / "a.mat", values)
    with h5py.File(path) as file:
        place = file["X"].id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[place.byte_offset + 512 : place.byte_offset + 512 + place.size] = bytes(place.size)
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=r"a\.mat.*again"):
        open_matrix(path, ["X"])
    assert copies(cache) == []


def test_damage_inside_a_compressed_version_5_file_is_refused(tmp_path, small):
    path = write_version_5(tmp_path / "a.mat", CHANCE.standard_normal((400, 7)))
    content = bytearray(path.read_bytes())
    content[-4000:-3000] = bytes(1000)
    path.write_bytes(content)
    with pytest.raises((zlib.error, ValueError, TypeError)):
        loadmat(path)
    with pytest.raises(DataFileError, match="again"):
        open_matrix(path, ["X"])


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, cache):
    """In a process whose files may not grow beyond 100 kB; Python is told so by the same error as of a full disk."""
    path = write_matlab_73(tmp_path / "a.mat", CHANCE.standard_normal((40_000, 8)))
    limit = 100_000
    program = f"""
import resource, sys
from hashret.data import hdf5file, matrixcopy
from hashret.data.matrixfile import open_matrix
from hashret.errors import DataFileError, FileError
hdf5file.SMALL = matrixcopy.SMALL = 1 << 16
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    open_matrix({str(path)!r}, ["X"])
except FileError as error:
    assert not isinstance(error, DataFileError)
    print(error)
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=True)
    assert "room for 2.4 MiB, a copy of a.mat" in done.stdout
    assert "HASHRET_CACHE" in done.stdout
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5file, "SMALL", 64)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "file"))
    with pytest.raises(FileError, match=r"HASHRET_CACHE") as caught:
        open_matrix(write_matlab_73(tmp_path / "a.mat", NUMBERS["double"]), ["X"])
    assert not isinstance(caught.value, DataError)


def test_what_is_no_matrix_is_refused(tmp_path):
    with pytest.raises(DataFileError, match="nothing"):
        open_matrix(tmp_path / "absent.mat")
    with pytest.raises(DataFileError, match="nothing"):
        open_matrix(tmp_path)
    (tmp_path / "text.mat").write_text("<html>404 Not Found</html>" * 20)
    (tmp_path / "text.npy").write_text("<html>404 Not Found</html>" * 20)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "strings.npy", np.array(["a"]))
    savemat(tmp_path / "cells.mat", {"X": np.array(["a", "bb"], object), "s": {"field": 1}})
    write_version_73(tmp_path / "cells73.mat", {"X": ["a", "bb"]})
    write_version_73(tmp_path / "word.mat", {"X": "word"})
    with h5py.File(tmp_path / "struct.mat", "w") as file:
        file.create_group("X")["field"] = 1
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DataFileError):
            open_matrix(path, ["X"])
    for name in ("cells.mat", "cells73.mat"):
        with pytest.raises(DataFileError, match=r"variable LAll or labels, got X"):
            open_matrix(tmp_path / name, ["LAll", "labels"])


@pytest.mark.skipif(not REAL.is_dir(), reason="needs MIRFLICKR's tags beside the checkout, ../shared/data/mirflickr25k")
def test_the_real_tags_and_labels():
    tags = open_matrix(REAL / "mirflickr25k-yall.mat", ["YAll"], rows=20_015)
    labels = open_matrix(REAL / "mirflickr25k-lall.mat", ["LAll"], columns=24)
    assert (tags.shape, labels.shape) == ((20_015, 1_386), (20_015, 24))
    assert tags.sum(1).min() == labels.sum(1).min() == 1
    again = loadmat(REAL / "mirflickr25k-yall.mat")["YAll"]
    np.testing.assert_array_equal(open_matrix(REAL / "mirflickr25k-yall.mat"), again)

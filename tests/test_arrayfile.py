"""The file container: what comes back, what is refused, and what survives a save that fails."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hashret.arrayfile import read_arrays, replace_file, write_arrays
from hashret.errors import FileError, FormatError

KIND = "test.arrays/1"


def some_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    dtypes = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
    arrays = {dtype: (rng.random((3, 2)) * 100).astype(dtype) for dtype in dtypes}
    return arrays | {"empty": np.zeros((0, 4), np.float32), "scalar": np.array(7), "cube": np.zeros((2, 3, 4))}


@pytest.mark.parametrize("mmap", [False, True])
def test_arrays_and_metadata_come_back(tmp_path, mmap: bool) -> None:
    arrays, metadata = some_arrays(), {"bits": 64, "names": ["ä", "b"], "nested": {"x": None}}
    write_arrays(tmp_path / "file", arrays, kind=KIND, metadata=metadata)
    got, about = read_arrays(tmp_path / "file", kind=KIND, mmap=mmap)
    assert about == metadata
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        np.testing.assert_array_equal(got[name], array)


def test_memory_order_and_byte_order_do_not_matter(tmp_path) -> None:
    values = np.arange(12, dtype=np.int32).reshape(3, 4)
    odd = {"fortran": np.asfortranarray(values), "strided": np.repeat(values, 2, 1)[:, ::2]}
    odd["big-endian"] = values.astype(">i4")
    write_arrays(tmp_path / "file", odd, kind=KIND)
    for array in read_arrays(tmp_path / "file", kind=KIND)[0].values():
        np.testing.assert_array_equal(array, values)


def test_any_safetensors_reader_opens_it(tmp_path) -> None:
    write_arrays(tmp_path / "file", {"x": np.arange(5)}, kind=KIND)
    np.testing.assert_array_equal(load_file(tmp_path / "file")["x"], np.arange(5))


def test_a_mapped_array_is_read_only(tmp_path) -> None:
    write_arrays(tmp_path / "file", {"x": np.arange(5)}, kind=KIND)
    mapped = read_arrays(tmp_path / "file", kind=KIND, mmap=True)[0]["x"]
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 1


def test_another_kind_is_refused_by_name(tmp_path) -> None:
    write_arrays(tmp_path / "file", {"x": np.arange(5)}, kind="test.other/1")
    with pytest.raises(FormatError, match=r"expected a test.arrays/1 file, got kind 'test.other/1'"):
        read_arrays(tmp_path / "file", kind=KIND)
    save_file({"x": np.arange(5)}, tmp_path / "plain")
    with pytest.raises(FormatError, match="got kind None"):
        read_arrays(tmp_path / "plain", kind=KIND)


@pytest.mark.parametrize("mmap", [False, True])
def test_every_truncation_is_refused(tmp_path, mmap: bool) -> None:
    write_arrays(tmp_path / "file", {"x": np.arange(9), "y": np.ones(3)}, kind=KIND)
    whole = (tmp_path / "file").read_bytes()
    for size in [*range(0, len(whole), 7), len(whole) - 1]:
        (tmp_path / "part").write_bytes(whole[:size])
        with pytest.raises(FormatError):
            read_arrays(tmp_path / "part", kind=KIND, mmap=mmap)
    (tmp_path / "more").write_bytes(whole + b"\0")
    with pytest.raises(FormatError, match=f"expected {len(whole)} bytes, got {len(whole) + 1} bytes"):
        read_arrays(tmp_path / "more", kind=KIND, mmap=mmap)


def test_every_changed_byte_is_noticed(tmp_path) -> None:
    arrays = {"x": np.arange(9, dtype=np.uint8), "y": np.ones((2, 2), np.float32)}
    write_arrays(tmp_path / "file", arrays, kind=KIND, metadata={"bits": 72})
    whole = (tmp_path / "file").read_bytes()
    for place in range(len(whole)):
        for change in (1, 0x10, 0xFF):
            damaged = bytearray(whole)
            damaged[place] ^= change
            (tmp_path / "damaged").write_bytes(damaged)
            with pytest.raises(FormatError):
                read_arrays(tmp_path / "damaged", kind=KIND)


def test_metadata_that_was_edited_is_noticed_when_mapped(tmp_path) -> None:
    write_arrays(tmp_path / "file", {"x": np.arange(9)}, kind=KIND, metadata={"bits": 64})
    content = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(content.replace(b'": 64', b'": 63'))
    with pytest.raises(FormatError, match="header as it was written"):
        read_arrays(tmp_path / "file", kind=KIND, mmap=True)


@pytest.mark.parametrize("header", [[], {}, {"__metadata__": 3}, {"x": 1, "__metadata__": {"kind": KIND}}, "text"])
def test_foreign_headers_are_refused(tmp_path, header: object) -> None:
    content = json.dumps(header).encode()
    (tmp_path / "file").write_bytes(len(content).to_bytes(8, "little") + content)
    with pytest.raises(FormatError):
        read_arrays(tmp_path / "file", kind=KIND)


def test_a_missing_file_and_a_folder_are_named(tmp_path) -> None:
    with pytest.raises(FileError, match="No such file"):
        read_arrays(tmp_path / "none", kind=KIND)
    with pytest.raises(FileError, match="Is a directory"):
        read_arrays(tmp_path, kind=KIND)
    with pytest.raises(FileError, match="Is a directory"):
        replace_file(tmp_path, b"x")
    with pytest.raises(FileError, match="No such file"):
        replace_file(tmp_path / "none" / "file", b"x")
    assert os.listdir(tmp_path) == []


def test_a_new_file_has_the_modes_of_any_new_file(tmp_path) -> None:
    replace_file(tmp_path / "ours", b"x")
    (tmp_path / "theirs").write_bytes(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


FULL_DISK = """
import resource, signal, sys
import numpy as np
from hashret.arrayfile import write_arrays
from hashret.errors import FileError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_arrays(sys.argv[1], {"x": np.arange(1_000_000)}, kind="test.arrays/1")
except FileError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "file"
    write_arrays(path, {"x": np.arange(5)}, kind=KIND)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True)
    assert "expected a place that can be written, got File too large" in done.stdout
    np.testing.assert_array_equal(read_arrays(path, kind=KIND)[0]["x"], np.arange(5))
    assert os.listdir(tmp_path) == ["file"]


SAVE_FOREVER = """
import sys
import numpy as np
from hashret.arrayfile import write_arrays
print("ready", flush=True)
number = 0
while True:
    number += 1
    write_arrays(sys.argv[1], {"x": np.full(1_000_000, number)}, kind="test.arrays/1")
"""


def test_a_killed_save_leaves_a_whole_file(tmp_path) -> None:
    path = tmp_path / "file"
    write_arrays(path, {"x": np.full(1_000_000, 0)}, kind=KIND)
    for delay in (0.03, 0.1):
        process = subprocess.Popen([sys.executable, "-c", SAVE_FOREVER, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        values = read_arrays(path, kind=KIND)[0]["x"]
        assert values.shape == (1_000_000,)
        assert (values == values[0]).all()

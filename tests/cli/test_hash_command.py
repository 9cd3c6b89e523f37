"""``hashret hash``: embeddings of all four forms become the codes that Python gives, and nothing half-done is left."""

import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from hashret.cli import main
from hashret.codes import Codes
from hashret.data.rowfile import open_rows
from hashret.hashers import CCAITQ, ITQ, LSH, SCM, load_hasher
from hashret.hashers.streaming import fit_rows, hash_rows

VECTORS = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)


def call(*arguments):
    return CliRunner().invoke(main, ["hash", *map(str, arguments)])


def wrong(*arguments):
    done = call(*arguments)
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("Error: ")
    return " ".join(done.stderr.split())


def write(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez_compressed(path, embeddings=values)
    elif path.suffix == ".safetensors":
        save_file({"embeddings": values}, path)
    else:
        lists = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        ids = pa.array([f"item {row}" for row in range(len(values))])
        pq.write_table(pa.table({"id": ids, "embedding": lists}), path, row_group_size=130)
    return path


FORMS = ["x.npy", "x.npz", "x.safetensors", "x.parquet"]


@pytest.fixture
def hasher(tmp_path):
    ITQ(bits=10).fit(VECTORS).save(tmp_path / "hasher")
    return tmp_path / "hasher"


@pytest.mark.parametrize("form", FORMS)
def test_fit_and_apply_give_what_python_gives(tmp_path, form):
    path = write(tmp_path / form, VECTORS)
    done = call("fit", path, "--hasher", "itq", "--bits", 10, "--set", "iterations=7", "--out", tmp_path / "hasher")
    assert done.exit_code == 0, done.output
    assert "ITQ(bits=10, iterations=7) fitted on 500 of 500 rows" in done.output
    expected = ITQ(bits=10, iterations=7).fit(VECTORS)
    np.testing.assert_array_equal(load_hasher(tmp_path / "hasher").weights_, expected.weights_)
    done = call("apply", tmp_path / "hasher", path, "--out", tmp_path / "codes")
    assert done.exit_code == 0, done.output
    assert "500 codes in" in done.output
    assert Codes.load(tmp_path / "codes") == expected.transform(VECTORS)
    assert sorted(os.listdir(tmp_path)) == sorted(["codes", "hasher", form])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 7, 499, 500, 1000])
def test_blocks_are_the_whole(tmp_path, form, rows):
    opened = open_rows(write(tmp_path / form, VECTORS))
    assert (opened.rows, opened.width, opened.flat) == (500, 16, False)
    blocks = list(opened.blocks(rows))
    assert max(map(len, blocks)) <= rows
    np.testing.assert_array_equal(np.concatenate(blocks), VECTORS)
    numbers = np.array([0, 1, 2, 77, 498])
    np.testing.assert_array_equal(opened.take(numbers), VECTORS[numbers])
    assert opened.take(numbers[:0]).shape == (0, 16)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", "i1", "i4", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_number_types_and_orders_of_npy(tmp_path, dtype, order):
    values = (VECTORS * 50 if np.dtype(dtype).kind in "iu" else VECTORS).astype("i4" if dtype == "u1" else dtype)
    values = np.asarray(np.abs(values).astype(dtype) if dtype == "u1" else values, order=order)
    np.save(tmp_path / "x.npy", values)
    read = np.concatenate(list(open_rows(tmp_path / "x.npy").blocks(33)))
    assert read.dtype in (np.float32, np.float64)
    np.testing.assert_array_equal(read, values.astype(np.float64))


def test_bfloat16_is_read(tmp_path):
    import torch
    from safetensors.torch import save_file as save_tensors

    tensor = torch.from_numpy(VECTORS).to(torch.bfloat16)
    save_tensors({"x": tensor}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(next(open_rows(tmp_path / "x.safetensors").blocks()), tensor.float().numpy())


def test_pairs_and_labels(tmp_path):
    images, texts = write(tmp_path / "i.npy", VECTORS), write(tmp_path / "t.parquet", VECTORS[:, :8] ** 3)
    classes = (VECTORS[:, 0] > 0).astype(np.int64)
    np.save(tmp_path / "classes.npy", classes)
    done = call("fit", images, "--pairs", texts, "--hasher", "cca_itq", "--bits", 6, "--out", tmp_path / "cca")
    assert done.exit_code == 0, done.output
    assert call("apply", tmp_path / "cca", texts, "--side", "text", "--out", tmp_path / "codes").exit_code == 0
    expected = CCAITQ(bits=6).fit(VECTORS, VECTORS[:, :8] ** 3)
    assert Codes.load(tmp_path / "codes") == expected.transform(VECTORS[:, :8] ** 3, side="text")
    arguments = ("fit", images, "--pairs", texts, "--hasher", "scm", "--bits", 12, "--out", tmp_path / "scm")
    assert call(*arguments, "--labels", tmp_path / "classes.npy").exit_code == 0
    assert (
        load_hasher(tmp_path / "scm").training_codes_
        == SCM(12).fit(VECTORS, VECTORS[:, :8] ** 3, classes).training_codes_
    )
    assert "expected images and texts and labels, got images and texts" in wrong(*arguments)
    assert "expected 'image' or 'text', got None" in wrong("apply", tmp_path / "cca", images, "--out", tmp_path / "x")
    short = write(tmp_path / "short.npy", VECTORS[1:])
    said = wrong("fit", images, "--pairs", short, "--hasher", "cca_itq", "--out", tmp_path / "no")
    assert "500 in" in said
    assert "499 in" in said


def test_a_sample_is_seeded_and_the_same_rows_of_each_file(tmp_path):
    images, texts = open_rows(write(tmp_path / "i.npy", VECTORS)), open_rows(write(tmp_path / "t.npz", -2 * VECTORS))
    hasher = CCAITQ(bits=4, regularization=1e-6)
    assert fit_rows(hasher, {"images": images, "texts": texts}, sample=200, seed=3) == 200
    np.testing.assert_allclose(hasher.correlations_, 1, atol=1e-4)
    again = CCAITQ(bits=4, regularization=1e-6)
    fit_rows(again, {"images": images, "texts": texts}, sample=200, seed=3)
    np.testing.assert_array_equal(again.image_mean_, hasher.image_mean_)
    fit_rows(again, {"images": images, "texts": texts}, sample=200, seed=4)
    assert not np.array_equal(again.image_mean_, hasher.image_mean_)


def test_the_seed_is_also_the_hashers(tmp_path):
    path = write(tmp_path / "x.npy", VECTORS)
    for seed in (0, 5):
        call("fit", path, "--hasher", "lsh", "--bits", 9, "--seed", seed, "--out", tmp_path / "lsh")
        expected = LSH(bits=9, seed=seed).fit(VECTORS).weights_
        np.testing.assert_array_equal(load_hasher(tmp_path / "lsh").weights_, expected)


def test_several_arrays_need_a_name(tmp_path, hasher):
    np.savez(tmp_path / "two.npz", a=VECTORS, b=VECTORS + 1)
    assert "a, b" in wrong("apply", hasher, tmp_path / "two.npz", "--out", tmp_path / "codes")
    assert "array or column 'c'" in wrong(
        "apply", hasher, tmp_path / "two.npz", "--array", "c", "--out", tmp_path / "codes"
    )
    assert call("apply", hasher, tmp_path / "two.npz", "--array", "b", "--out", tmp_path / "codes").exit_code == 0
    assert Codes.load(tmp_path / "codes") == load_hasher(hasher).transform(VECTORS + 1)


def test_parquet_of_columns_of_numbers(tmp_path):
    table = {f"d{column}": VECTORS[:, column] for column in range(16)}
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    np.testing.assert_array_equal(next(open_rows(tmp_path / "x.parquet").blocks()), VECTORS)
    assert open_rows(tmp_path / "x.parquet", "d3", column=True).flat


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([[1.0, 2.0], [1.0]], "expected 2 numbers in every row, got 1 in row 1"),
        ([[1.0, 2.0], None], "expected a value in every row, got none in row 1"),
        ([[1.0, 2.0], [1.0, None]], "expected a number in every place, got none in row 1"),
        (["a", "b"], "got none"),
    ],
)
def test_parquet_that_is_no_matrix(tmp_path, column, said):
    pq.write_table(pa.table({"embedding": column}), tmp_path / "x.parquet")
    LSH(bits=8).fit(np.zeros((1, 2))).save(tmp_path / "lsh")
    assert said in wrong("apply", tmp_path / "lsh", tmp_path / "x.parquet", "--out", tmp_path / "codes")
    assert not (tmp_path / "codes").exists()


@pytest.mark.parametrize("form", FORMS)
def test_every_truncation_is_refused(tmp_path, hasher, form):
    whole = write(tmp_path / form, VECTORS).read_bytes()
    Codes(np.zeros((3, 2), np.uint8), 10).save(tmp_path / "codes")
    before = (tmp_path / "codes").read_bytes()
    for size in (0, 5, 40, len(whole) // 2, len(whole) - 1):
        (tmp_path / form).write_bytes(whole[:size])
        assert form in wrong("apply", hasher, tmp_path / form, "--out", tmp_path / "codes")
        assert form in wrong("fit", tmp_path / form, "--hasher", "lsh", "--out", tmp_path / "new")
    assert (tmp_path / "codes").read_bytes() == before
    assert not (tmp_path / "new").exists()


def test_a_changed_byte_in_a_zip_is_refused(tmp_path, hasher):
    np.savez(tmp_path / "x.npz", VECTORS)
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[20_000] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    assert zipfile.is_zipfile(tmp_path / "x.npz")
    assert "CRC" in wrong("apply", hasher, tmp_path / "x.npz", "--out", tmp_path / "codes")


def test_nan_is_named_by_its_row_in_the_file(tmp_path, hasher):
    bad = np.zeros((300_000, 16), np.float32)  # two blocks
    bad[270_123, 4], bad[280_000, 0] = np.nan, np.inf
    np.save(tmp_path / "bad.npy", bad)
    said = wrong("apply", hasher, tmp_path / "bad.npy", "--out", tmp_path / "codes")
    assert "bad.npy: expected finite numbers, got NaN in row 270123, column 4" in said
    assert not (tmp_path / "codes").exists()
    small = VECTORS.copy()
    small[321, 2] = np.inf
    said = wrong("fit", write(tmp_path / "small.npy", small), "--hasher", "itq", "--bits", 4, "--out", tmp_path / "h")
    assert "small.npy: expected finite numbers, got infinity (inf) in row 321, column 2" in said


def test_mistakes_get_one_line_that_says_what_to_do(tmp_path, hasher):
    path, out = write(tmp_path / "x.npy", VECTORS), tmp_path / "out"
    assert "Did you mean itq?" in wrong("fit", path, "--hasher", "itqq", "--out", out)
    assert "Did you mean iterations?" in wrong("fit", path, "--hasher", "itq", "--set", "iteration=3", "--out", out)
    assert "expected key=value" in wrong("fit", path, "--hasher", "itq", "--set", "iterations", "--out", out)
    assert "1 ... 16" in wrong("fit", path, "--hasher", "itq", "--bits", 17, "--out", out)
    narrow = write(tmp_path / "narrow.npy", VECTORS[:, 1:])
    assert "narrow.npy: expected 16 columns, got 15" in wrong("apply", hasher, narrow, "--out", out)
    assert "It knows one modality only" in wrong("apply", hasher, path, "--side", "text", "--out", out)
    assert "expected a safetensors file" in wrong("apply", path, path, "--out", out)
    Codes(np.zeros((3, 2), np.uint8), 10).save(tmp_path / "codes")
    assert "hashret.hasher/1" in wrong("apply", tmp_path / "codes", path, "--out", out)
    assert "a place that can be written" in wrong("apply", hasher, path, "--out", tmp_path / "none" / "codes")
    (tmp_path / "x.csv").write_text("1,2\n")
    assert ".parquet" in wrong("apply", hasher, tmp_path / "x.csv", "--out", out)
    np.save(tmp_path / "flat.npy", VECTORS[:, 0])
    assert "a matrix (items, features)" in wrong("apply", hasher, tmp_path / "flat.npy", "--out", out)
    np.save(tmp_path / "objects.npy", np.array([[{}]]), allow_pickle=True)
    assert "objects.npy" in wrong("apply", hasher, tmp_path / "objects.npy", "--out", out)
    assert not out.exists()


SLOW = """
import sys, time
from hashret.data.rowfile import open_rows
from hashret.hashers import load_hasher
from hashret.hashers.streaming import hash_rows
class Slow:
    def __init__(self, rows):
        self.path, self.rows, self.width, self.flat, self.whole = rows.path, rows.rows, rows.width, rows.flat, rows
    def blocks(self):
        yield from self.whole.blocks(50)
        print("all read", flush=True)
        time.sleep(600)
hash_rows(load_hasher(sys.argv[1]), Slow(open_rows(sys.argv[2])), sys.argv[3])
"""


@pytest.mark.parametrize("old", [False, True])
def test_killed_halfway_leaves_nothing_broken(tmp_path, hasher, old):
    path, out = write(tmp_path / "x.npy", VECTORS), tmp_path / "codes"
    if old:
        LSH(bits=3).fit(VECTORS).transform(VECTORS).save(out)
    before = sorted(os.listdir(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", SLOW, hasher, path, out], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"all read\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert sorted(os.listdir(tmp_path)) == before
    if old:
        assert Codes.load(out) == LSH(bits=3).fit(VECTORS).transform(VECTORS)


MEMORY = """
import resource, sys
from hashret.data.rowfile import open_rows
from hashret.hashers import load_hasher
from hashret.hashers.streaming import hash_rows
hasher, rows = load_hasher(sys.argv[1]), open_rows(sys.argv[2])
hasher.transform(rows.take(__import__("numpy").arange(9)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = hash_rows(hasher, rows, sys.argv[3])
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_is_bounded_by_a_few_blocks(tmp_path):
    """512 MiB of rows, 32 times a block, in a file that takes no room: what is not written reads as zeros."""
    np.save(tmp_path / "x.npy", np.zeros((1, 256), np.float32))
    with (tmp_path / "x.npy").open("r+b") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**19, 256)})
        file.truncate(file.tell() + 2**29)
    LSH(bits=8).fit(np.random.default_rng(0).normal(size=(9, 256)) + 1).save(tmp_path / "lsh")
    arguments = [sys.executable, "-c", MEMORY, tmp_path / "lsh", tmp_path / "x.npy", tmp_path / "codes"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    count, grown = map(float, done.stdout.split())
    assert count == 2**19
    assert grown < 100, "MiB"
    assert len(np.unique(Codes.load(tmp_path / "codes").packed)) == 1


def test_streaming_says_how_far_it_is(tmp_path, hasher):
    told = []
    hash_rows(
        load_hasher(hasher), open_rows(write(tmp_path / "x.npy", VECTORS)), tmp_path / "codes", progress=told.append
    )
    assert told == [500]


def test_help_loads_nothing_heavy_and_apply_no_torch(tmp_path, hasher):
    path = write(tmp_path / "x.npy", VECTORS)
    arguments = ["hash", "apply", str(hasher), str(path), "--out", str(tmp_path / "codes")]
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom hashret.cli import main\n"
        "assert CliRunner().invoke(main, ['hash', '--help']).exit_code == 0\nassert 'numpy' not in sys.modules\n"
        f"assert CliRunner().invoke(main, {arguments!r}).exit_code == 0\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""open_source: every layout it understands, in order and with its keys, and what it refuses."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from hashret.data.source import Source, open_source
from hashret.errors import FileError, FormatError

REAL = Path(__file__).parents[3] / "shared" / "data"


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def listed(source):
    """Keys and items, read twice to prove that a source can be read again."""
    items = [(example.key, example.image if source.side == "image" else example.text) for example in source]
    assert [(example.key, example.image if source.side == "image" else example.text) for example in source] == items
    assert len(items) == len(source)
    unused = "text" if source.side == "image" else "image"
    assert all(getattr(example, unused) is None for example in source)
    return items


@pytest.fixture
def imagefolder(tmp_path):
    rows = [
        {"file_name": "images/b.png", "texts": ["b zero", "b one"], "labels": ["x"]},
        {"file_name": "images/a.png", "text": "a zero"}, {"file_name": "images/c.png"},
    ]  # fmt: skip
    for row in rows:
        photo(tmp_path / row["file_name"])
    photo(tmp_path / "images" / "not_listed.png")
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def karpathy(tmp_path):
    images = [
        {"filename": f"{n}.jpg", "split": split, "sentences": [{"raw": f"{n} {i}"} for i in range(2)]}
        for n, split in enumerate(("train", "test", "val"))
    ]
    (tmp_path / "images").mkdir()
    (tmp_path / "dataset.json").write_text(json.dumps({"images": images}))
    return tmp_path


def test_plain_folder_of_images_is_read_recursively_in_order(tmp_path):
    for name in ("b.jpg", "a/z.PNG", "a/b/c.webp", "é.jpeg", ".hidden.jpg", ".trash/x.jpg"):
        photo(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    keys = ["a/b/c.webp", "a/z.PNG", "b.jpg", "é.jpeg"]
    assert listed(open_source(tmp_path, "image")) == [(key, tmp_path / key) for key in keys]
    with pytest.raises(FileError, match=r"as texts.*one text a line"):
        open_source(tmp_path, "text")


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    photo(tmp_path / "elsewhere" / "a.png")
    photo(tmp_path / "root" / "b.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "root" / "link")
    os.symlink(tmp_path / "root", tmp_path / "elsewhere" / "back")
    assert [key for key, _ in listed(open_source(tmp_path / "root", "image"))] == ["b.png", "link/a.png"]


def test_imagefolder_gives_the_listed_images_and_every_text(imagefolder):
    images = [("images/b.png", 0), ("images/a.png", 0), ("images/c.png", 0)]
    assert listed(open_source(imagefolder, "image")) == [(key, imagefolder / key) for key, _ in images]
    texts = [("images/b.png#0", "b zero"), ("images/b.png#1", "b one"), ("images/a.png#0", "a zero")]
    assert listed(open_source(imagefolder, "text")) == texts
    table = imagefolder / "metadata.jsonl"
    assert listed(open_source(table, "image")) == listed(open_source(imagefolder, "image"))
    assert listed(open_source(table, "text")) == texts


def test_split_folders_are_joined(tmp_path):
    for split in ("train", "test"):
        photo(tmp_path / split / "a.png")
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": split}))
    texts = [("test/a.png#0", "test"), ("train/a.png#0", "train")]
    assert listed(open_source(tmp_path, "text")) == texts


def test_karpathy_json_or_its_folder(karpathy):
    for path in (karpathy, karpathy / "dataset.json"):
        images = [(f"{n}.jpg", karpathy / "images" / f"{n}.jpg") for n in range(3)]
        assert listed(open_source(path, "image")) == images
        texts = [(f"{n}.jpg#{i}", f"{n} {i}") for n in range(3) for i in range(2)]
        assert listed(open_source(path, "text")) == texts
    (karpathy / "images").rmdir()
    assert len(open_source(karpathy, "text")) == 6
    with pytest.raises(FileError, match="no folder of images"):
        open_source(karpathy, "image")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_text_lines_keep_their_numbers(tmp_path, newline, encoding):
    lines = ["one", "", "  two ", "naïve\u2028 caf\xe9\x0b"]
    for end in ("", newline):
        (tmp_path / "a.txt").write_bytes((newline.join(lines) + end).encode(encoding))
        assert listed(open_source(tmp_path / "a.txt", "text")) == [
            ("1", "one"), ("2", ""), ("3", "  two "), ("4", lines[3]),
        ]  # fmt: skip


def test_jsonl_without_file_names_is_numbered(tmp_path):
    rows = [{"text": "one"}, {"texts": ["two", "three"]}, {"texts": []}, {"text": ""}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    expected = [("1", "one"), ("2#0", "two"), ("2#1", "three"), ("4", "")]
    assert listed(open_source(tmp_path / "a.jsonl", "text")) == expected
    with pytest.raises(FormatError, match="row 1: expected a file_name"):
        open_source(tmp_path / "a.jsonl", "image")


def test_one_image_file(tmp_path):
    photo(tmp_path / "a.png")
    assert listed(open_source(str(tmp_path / "a.png"), "image")) == [("a.png", tmp_path / "a.png")]


@pytest.mark.parametrize("side", ["image", "text"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8])
def test_feature_matrices(tmp_path, side, dtype):
    matrix = np.arange(12).reshape(4, 3).astype(dtype)
    np.save(tmp_path / "a.npy", matrix)
    np.savez(tmp_path / "a.npz", features=matrix)
    save_file({"x": matrix}, tmp_path / "a.safetensors")
    for suffix in ("npy", "npz", "safetensors"):
        source = open_source(tmp_path / f"a.{suffix}", side)
        assert isinstance(source.items, np.memmap) == (suffix == "npy")
        assert [example.key for example in source] == ["0", "1", "2", "3"]
        rows = [getattr(example, side) for example in source]
        assert {type(row) for row in rows} == {np.ndarray}
        assert {row.dtype for row in rows} == {np.dtype(dtype if np.dtype(dtype).kind == "f" else np.float32)}
        np.testing.assert_array_equal(rows, matrix)


def test_rows_are_reached_by_number(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    (tmp_path / "a.txt").write_text("one\ntwo")
    for source in (open_source(tmp_path / "a.npy", "image"), open_source(tmp_path / "a.txt", "text")):
        assert isinstance(source, Source)
        assert source[-1].key == list(source)[-1].key
        with pytest.raises(IndexError):
            source[len(source)]


def test_damaged_or_foreign_files_are_refused(tmp_path):
    np.save(tmp_path / "flat.npy", np.arange(3.0))
    np.save(tmp_path / "none.npy", np.zeros((0, 3)))
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "objects.npy", np.array([[{}]]), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=np.eye(2), b=np.eye(2))
    whole = (tmp_path / "two.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.npy").write_bytes((tmp_path / "flat.npy").read_bytes()[:90])
    (tmp_path / "empty.npy").touch()
    (tmp_path / "bad.safetensors").write_bytes(b"\x08")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "bad.jsonl").write_text("{")
    (tmp_path / "other.json").write_text('{"a": 1}')
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(FormatError) as caught:
            open_source(path, "text")
        assert path.name in str(caught.value)
        assert caught.value.remedy


@pytest.mark.parametrize("side", ["image", "text"])
def test_unknown_missing_and_empty_list_what_is_understood(tmp_path, side):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.xyz").touch()
    (tmp_path / "none.txt").touch()
    for name, reason in (
        ("missing", "no such file or folder"), ("a.xyz", "none of these"), ("folder", None), ("none.txt", None),
    ):  # fmt: skip
        with pytest.raises(FileError, match=r"metadata.jsonl.*Karpathy.*\.npy") as caught:
            open_source(tmp_path / name, side)
        assert f"as {side}s" in caught.value.what
        assert reason is None or caught.value.got == reason


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real data beside the checkout, ../shared/data")
@pytest.mark.parametrize(
    ("name", "images", "texts"), [("flickr8k", 7000, 35000), ("ikea", 1510, 2880), ("emoji", 1644, 3288)]
)
def test_real_folders(name, images, texts):
    if not (REAL / name).is_dir():
        pytest.skip(f"needs ../shared/data/{name}")
    assert len(open_source(REAL / name, "image")) == images
    assert len(open_source(REAL / name, "text")) == texts
    plain = open_source(REAL / name / "images", "image")
    assert len(plain) == images
    assert {example.image.name for example in plain} == {
        example.image.name for example in open_source(REAL / name, "image")
    }

"""open_source: every layout it understands, in order and with its keys, and what it refuses."""

import io
import json
import os
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import save_file

from hashret.data.source import expand, open_source
from hashret.errors import FileError, FormatError

REAL = Path(__file__).parents[3] / "shared" / "data"


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def listed(source):
    """Keys and items, read twice to prove that a source can be read again; positions, count and what is skipped fit."""

    def item(entry):
        assert not entry.reason
        assert getattr(entry, "text" if source.side == "image" else "image") is None
        return entry.key, Path(entry.image) if source.side == "image" else entry.text

    items = [item(entry) for entry in source]
    assert [item(entry) for entry in source] == items
    assert source.count() == len(items)
    assert [position for position, _ in source.entries()] == list(range(len(items)))
    odd = dict(source.entries(lambda start, stop: any(position % 2 for position in range(start, stop))))
    assert [item(odd[position]) for position in range(1, len(items), 2)] == items[1::2]
    assert source.fingerprint() == source.fingerprint()
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
    assert open_source(karpathy, "text").count() == 6
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
        assert [example.key for example in source] == ["0", "1", "2", "3"]
        rows = [getattr(example, side) for example in source]
        assert {type(row) for row in rows} == {np.ndarray}
        assert {row.dtype for row in rows} == {np.dtype(dtype if np.dtype(dtype).kind == "f" else np.float32)}
        np.testing.assert_array_equal(rows, matrix)


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
    assert open_source(REAL / name, "image").count() == images
    assert open_source(REAL / name, "text").count() == texts
    plain = open_source(REAL / name / "images", "image")
    assert plain.count() == images
    assert {Path(entry.image).name for entry in plain} == {
        Path(entry.image).name for entry in open_source(REAL / name, "image")
    }


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def pack(path, samples, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in samples:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_braces_and_stars(tmp_path):
    assert expand("a{1..3}b{x,y}") == ["a1bx", "a1by", "a2bx", "a2by", "a3bx", "a3by"]
    assert expand("a{b}") == ["a{b}"]
    for name in ("b.tar", "a.tar", "odd{1..2}.tar"):
        (tmp_path / name).touch()
    assert expand(f"{tmp_path}/[ab].tar") == [f"{tmp_path}/a.tar", f"{tmp_path}/b.tar"]
    assert expand(f"{tmp_path}/odd{{1..2}}.tar") == [f"{tmp_path}/odd{{1..2}}.tar"], "a file of that very name"
    pack(tmp_path / "part-0.tar", [("a.png", png("red"))])
    with pytest.raises(FileError, match=r"no .*part-1.tar"):
        open_source(f"{tmp_path}/part-{{0..1}}.tar", "image")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tars_hold_samples_side_by_side(tmp_path, mode):
    for number in range(2):
        samples = [
            ("x/a.png", png("red")), ("x/a.txt", f"red {number}".encode()), ("x/a.json", b'{"n": 1}'),
            ("./b.c.txt", b"a text alone"), ("d.txt", b"blue\n"), ("d.webp", png("blue")), ("README", b"no sample"),
        ]  # fmt: skip
        pack(tmp_path / f"{number}.tar", samples, mode)
    images = open_source(f"{tmp_path}/{{0..1}}.tar", "image")
    found = list(images)
    assert [entry.key for entry in found] == [f"{n}.tar:{key}" for n in (0, 1) for key in ("x/a", "b", "d")]
    assert [entry.reason for entry in found] == ["", "no image in the sample", ""] * 2
    raw = found[3].image if isinstance(found[3].image, bytes) else found[3].image.read()
    assert raw == png("red")
    assert found[3].example().image == png("red")
    assert (found[3].caption, found[3].columns) == ("red 1", {"extra": '{"n": 1}'})
    assert images.count() == (6 if mode == "w" else None)
    queries = list(open_source(tmp_path / "0.tar", "query"))
    assert [(entry.key, entry.text, entry.reason) for entry in queries] == [
        ("x/a", "red 0", ""), ("b", None, "no image in the sample"), ("d", "blue", ""),
    ]  # fmt: skip
    for place in (0, 2, 3, 5):  # a walk that begins to read there
        only = dict(images.entries(lambda start, stop, place=place: start <= place < stop))[place]
        assert only.example().image == found[place].example().image
        assert only.caption == found[place].caption
    assert [entry.key for entry in open_source(tmp_path, "image")] == [entry.key for entry in found]


def test_a_damaged_header_in_the_middle_of_a_tar_is_told(tmp_path):
    pack(tmp_path / "a.tar", [(f"{n}.txt", b"x" * 600) for n in range(4)])
    raw = bytearray((tmp_path / "a.tar").read_bytes())
    place = raw.index(b"2.txt")
    raw[place : place + 512] = b"\xff" * 512
    (tmp_path / "a.tar").write_bytes(raw)
    found = list(open_source(tmp_path / "a.tar", "text"))
    assert [entry.key for entry in found] == ["0", "1", "a.tar"]
    assert f"no header at byte {place}" in found[-1].reason


def test_parquet_with_images_inside_skips_row_groups(tmp_path):
    rows = {
        "image": [{"bytes": png((n, 0, 0)), "path": f"{n}.png"} for n in range(10)],
        "caption": [f"red {n}" for n in range(10)], "id": list(range(100, 110)), "tags": [["a"], []] * 5,
    }  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "a.parquet", row_group_size=3)
    source = open_source(tmp_path / "a.parquet", "image")
    assert source.columns == {"source_id": "int64", "tags": "json"}
    assert source.count() == 10
    found = list(source)
    assert [entry.key for entry in found] == [f"{n}.png" for n in range(10)]
    assert (found[4].image, found[4].caption) == (png((4, 0, 0)), "red 4")
    assert found[4].columns == {"source_id": 104, "tags": '["a"]'}
    part = dict(source.entries(lambda start, stop: start <= 7 < stop))
    assert list(part) == [6, 7, 8], "only its row group"
    assert part[7].key == "7.png"
    queries = list(open_source(tmp_path / "a.parquet", "query"))
    assert (queries[3].image, queries[3].text) == (png((3, 0, 0)), "red 3")
    texts = open_source(tmp_path / "a.parquet", "text", text_column="tags")
    assert [(entry.key, entry.text) for entry in texts][:2] == [("0.png", "a"), ("2.png", "a")]


def test_a_table_names_its_columns(tmp_path):
    for name in ("a.png", "b.png"):
        photo(tmp_path / name)
    (tmp_path / "t.csv").write_text("photo,what,key\na.png,first,one\nb.png,second,two\n")
    with pytest.raises(FormatError, match="--image-column"):
        open_source(tmp_path / "t.csv", "image")
    images = list(open_source(tmp_path / "t.csv", "image", image_column="photo"))
    assert [(entry.key, entry.path) for entry in images] == [
        ("one", str(tmp_path / "a.png")), ("two", str(tmp_path / "b.png")),
    ]  # fmt: skip
    texts = open_source(tmp_path / "t.csv", "text", text_column="what")
    assert [(entry.key, entry.text) for entry in texts] == [("one", "first"), ("two", "second")]
    assert texts.columns == {"photo": "string"}
    (tmp_path / "rows.json").write_text('[{"text": "a", "n": 1}, 7, {"text": "b"}]')
    found = list(open_source(tmp_path / "rows.json", "text"))
    assert [(entry.key, entry.text, entry.reason) for entry in found] == [
        ("1", "a", ""), ("2", None, "no JSON object"), ("3", "b", ""),
    ]  # fmt: skip


def test_a_dataset_of_the_hubs_form_is_streamed(tmp_path):
    (tmp_path / "data").mkdir()
    columns = {"photo": datasets.Image(), "caption": datasets.Value("string"), "n": datasets.Value("int32")}
    features = datasets.Features(columns)
    for split, count in (("train", 5), ("test", 2)):
        rows = {
            "photo": [{"bytes": png((n, 0, 0)), "path": None} for n in range(count)],
            "caption": [f"{split} {n}" for n in range(count)], "n": list(range(count)),
        }  # fmt: skip
        made = datasets.Dataset.from_dict(rows, features=features)
        made.to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    images = open_source(tmp_path, "image")
    found = list(images)
    assert [(entry.key, entry.image, entry.caption) for entry in found] == [
        (str(n), png((n, 0, 0)), f"train {n}") for n in range(5)
    ]
    assert found[3].columns == {"n": 3}
    assert images.columns == {"n": "int64"}
    texts = open_source(tmp_path, "text", split="test")
    assert [entry.text for entry in texts] == ["test 0", "test 1"]
    assert texts.fingerprint() != open_source(tmp_path, "text").fingerprint()
    assert [entry.text for entry in open_source(tmp_path, "query")][:1] == ["train 0"]
    with pytest.raises(FormatError, match="a split of train, test"):
        open_source(tmp_path, "image", split="dev")
    with pytest.raises(FormatError, match="--text-column"):
        open_source(tmp_path, "text", text_column="says")
    with pytest.raises(FileError, match="reached on the hub"):
        open_source("nobody/nothing-of-this-name", "image")

"""Regions are read from the files of the official layout, lazily, and everything wrong with these is named."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees.regions import REGIONS, WIDTH, save_regions

from hashret.errors import ImageError, InputError
from hashret.examples import Example
from hashret.regions import PLACE, RegionFiles, read_regions

SIZE = (640, 480)


@pytest.fixture
def files(tmp_path: Path) -> RegionFiles:
    save_regions(tmp_path, 7, SIZE)
    return RegionFiles(tmp_path / "bu_att" / "7.npz", tmp_path / "bu_box" / "7.npy", size=SIZE)


def boxes_of(files: RegionFiles) -> np.ndarray:
    return np.load(files.boxes)


def test_a_region_is_its_features_and_where_it_lies(files):
    rows = read_regions(files)
    features, boxes = np.load(files.features)["feat"], boxes_of(files).astype(float)
    assert (rows.dtype, rows.shape) == (np.float32, (REGIONS, WIDTH + PLACE))
    for row, feature, (x1, y1, x2, y2) in zip(rows, features, boxes, strict=True):
        assert row[:WIDTH].tolist() == feature.tolist()
        place = [x1 / 640, y1 / 480, x2 / 640, y2 / 480, (x2 - x1) * (y2 - y1) / (640 * 480)]
        np.testing.assert_allclose(row[WIDTH:], place, rtol=1e-6)
        assert 0 < row[-1] < 1


def test_without_boxes_there_are_features_only(files):
    rows = read_regions(RegionFiles(files.features))
    assert rows.tolist() == np.load(files.features)["feat"].tolist()


@pytest.mark.parametrize("kind", ["float16", "float64", "int32"])
def test_any_numbers_become_float32(files, kind):
    np.savez(files.features, feat=np.arange(6).reshape(2, 3).astype(kind))
    rows = read_regions(RegionFiles(files.features))
    assert (rows.dtype, rows.tolist()) == (np.float32, [[0, 1, 2], [3, 4, 5]])


def test_the_size_is_that_of_the_header_where_it_is_not_given(files, tmp_path):
    photo = tmp_path / "7.jpg"
    Image.effect_noise(SIZE, 50).save(photo)
    photo.write_bytes(photo.read_bytes()[:700])  # cut short behind its header: no pixel of it can be decoded
    read = read_regions(RegionFiles(files.features, files.boxes, image=photo))
    assert read.tolist() == read_regions(files).tolist()
    given = RegionFiles(files.features, files.boxes, size=(2000, 1000), image=tmp_path / "none.jpg")
    assert read_regions(given)[:, WIDTH].max() == pytest.approx(boxes_of(files)[:, 0].max() / 2000)


def test_a_pixel_outside_is_the_detectors_and_stays(files):
    boxes = np.array([[-1, 0, 641, 480]] * REGIONS, np.float32)
    np.save(files.boxes, boxes)
    expected = [-1 / 640, 0, 641 / 640, 1, 642 / 640]
    np.testing.assert_allclose(read_regions(files)[0, WIDTH:], expected, rtol=1e-6)


def objects() -> np.ndarray:
    return np.array([{"a": 1}, None], object)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def flip(path: Path) -> None:
    """Another byte in the middle of the packed numbers: the archive opens, its checksum is wrong."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def write(path: Path, save, *arrays: np.ndarray) -> None:
    """Save under exactly this name; NumPy adds its own ending to a path."""
    with path.open("wb") as file:
        save(file, *arrays)


def as_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGED = "a truncated or damaged file"
PICKLED = "pickled objects, which are never opened"
WRONG_FEATURES = {
    "missing": (lambda path: path.unlink(), "no such file"),
    "a folder": (as_directory, "a folder"),
    "empty": (lambda path: path.write_bytes(b""), DAMAGED),
    "truncated": (lambda path: cut(path, 0.7), DAMAGED),
    "another byte": (flip, DAMAGED),
    "a text": (lambda path: path.write_text("404: not found"), DAMAGED),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(np.ones((2, 3)))), DAMAGED),
    "one array": (lambda path: write(path, np.save, np.ones((2, 3))), DAMAGED),
    "another key": (lambda path: np.savez(path, x=np.ones((2, 3))), "no key 'feat'"),
    "objects": (lambda path: np.savez(path, feat=objects()), PICKLED),
    "one row": (lambda path: np.savez(path, feat=np.ones(3)), "an array of shape (3,)"),
    "no region": (lambda path: np.savez(path, feat=np.ones((0, 3))), "an array of shape (0, 3)"),
    "words": (lambda path: np.savez(path, feat=np.array([["a"]])), "an array of <U1"),
    "NaN": (lambda path: np.savez(path, feat=np.array([[0, np.nan]])), "NaN or infinity in its features"),
    "too large": (lambda path: np.savez(path, feat=np.array([[0, 1e99]])), "NaN or infinity in its features"),
}


@pytest.mark.parametrize("case", WRONG_FEATURES)
def test_wrong_features_are_named(files, case):
    spoil, got = WRONG_FEATURES[case]
    spoil(Path(files.features))
    for source in (files, RegionFiles(files.features)):
        with pytest.raises(ImageError, match=r"bu_att.7\.npz") as caught:
            read_regions(source)
        assert caught.value.got == got
        assert caught.value.remedy


def with_row(*row: float):
    """Boxes of which number 2 is another."""

    def spoil(path: Path) -> None:
        boxes = np.load(path)
        boxes[2] = row
        np.save(path, boxes)

    return spoil


OUTSIDE, BACKWARD = "a box outside of its image", "a box that ends before it begins"
WRONG_BOXES = {
    "missing": (lambda path: path.unlink(), "no such file"),
    "a folder": (as_directory, "a folder"),
    "empty": (lambda path: path.write_bytes(b""), DAMAGED),
    "truncated": (lambda path: cut(path, 0.7), DAMAGED),
    "a header only": (lambda path: cut(path, 0.3), DAMAGED),
    "an archive": (lambda path: write(path, np.savez, np.ones((5, 4))), DAMAGED),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(np.ones((5, 4)))), DAMAGED),
    "objects": (lambda path: np.save(path, objects()), PICKLED),
    "fewer": (lambda path: np.save(path, np.zeros((REGIONS - 1, 4))), f"boxes of shape ({REGIONS - 1}, 4)"),
    "more columns": (lambda path: np.save(path, np.zeros((REGIONS, 5))), f"boxes of shape ({REGIONS}, 5)"),
    "NaN": (with_row(0, 0, np.nan, 1), "NaN or infinity in its boxes"),
    "right of it": (with_row(0, 0, 641.5, 1), OUTSIDE),
    "below it": (with_row(0, 0, 1, 482), OUTSIDE),
    "left of it": (with_row(-1.5, 0, 1, 1), OUTSIDE),
    "x, y, width, height": (with_row(300, 200, 40, 300), BACKWARD),
}


@pytest.mark.parametrize("case", WRONG_BOXES)
def test_wrong_boxes_are_named(files, case):
    spoil, got = WRONG_BOXES[case]
    spoil(Path(files.boxes))
    with pytest.raises(ImageError, match=r"bu_box.7\.npy") as caught:
        read_regions(files)
    assert caught.value.got == got
    assert got not in (OUTSIDE, BACKWARD) or "of region 2" in caught.value.what
    assert read_regions(RegionFiles(files.features)).shape == (REGIONS, WIDTH), "boxes are not read where none are"


@pytest.mark.parametrize(("content", "got"), [(None, "no such file"), (b"GIF9", "bytes that are no known image")])
def test_a_picture_without_a_size_is_named(files, tmp_path, content, got):
    if content is not None:
        (tmp_path / "7.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"image .*7\.jpg, for its size") as caught:
        read_regions(RegionFiles(files.features, files.boxes, image=tmp_path / "7.jpg"))
    assert caught.value.got == got


def test_nothing_is_opened_before_it_is_read(tmp_path):
    source = RegionFiles(tmp_path / "7.npz", tmp_path / "7.npy", size=(3, 2))
    example = Example(image=source)
    assert example.key == "7.npz"
    assert pickle.loads(pickle.dumps(source)) == source
    assert source != RegionFiles(tmp_path / "7.npz", tmp_path / "7.npy", size=(2, 3))
    assert len({source, RegionFiles(tmp_path / "7.npz", tmp_path / "7.npy", size=(3, 2))}) == 1


def test_what_boxes_cannot_be_divided_by_is_refused():
    with pytest.raises(InputError, match="the size of their image, or its file, got neither"):
        RegionFiles("7.npz", "7.npy")
    for size in ((0, 3), (3, -1), (1, 2, 3)):
        with pytest.raises(InputError, match="width and height, at least 1 pixel each"):
            RegionFiles("7.npz", size=size)

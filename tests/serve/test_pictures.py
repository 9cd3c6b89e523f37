"""The pictures of a gallery: found by key or path, never outside of their folder, and drawn anew."""

import io

import numpy as np
import pytest
from PIL import Image

from hashret.catalogue import Item
from hashret.errors import ImageError
from hashret.serve.gallery import find_picture
from hashret.serve.pictures import picture_of


def test_a_picture_is_found_in_its_folder_and_nowhere_else(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for place in (root / "sub" / "a.png", root / "b.jpg", tmp_path / "secret.png"):
        place.write_bytes(b"x")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    assert find_picture(Item("sub/a.png"), root) == root / "sub" / "a.png"
    assert find_picture(Item("b"), root) == root / "b.jpg"
    assert find_picture(Item("other", path="sub/a.png"), root) == root / "sub" / "a.png"
    for key in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "sub", "none", ""):
        assert find_picture(Item(key), root) is None, key
    outside = str(tmp_path / "secret.png")
    assert find_picture(Item("a", path=outside), root) is None
    assert str(find_picture(Item("a", path=outside), None)) == outside
    assert find_picture(Item("a", path=str(tmp_path)), None) is None


def test_what_is_sent_holds_pixels_only_and_is_bounded(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera that was here"  # lies on its side
    pixels = np.zeros((900, 3000, 3), np.uint8)
    pixels[:, :1500] = (250, 10, 10)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, comment=b"taken at home")
    for size, longest in (("small", 384), ("large", 1280)):
        sent = picture_of(tmp_path / "a.jpg", size)
        assert b"camera" not in sent
        assert b"home" not in sent
        with Image.open(io.BytesIO(sent)) as picture:
            assert (picture.format, max(picture.size), picture.getexif()) == ("JPEG", longest, {})
            assert picture.height > picture.width
            assert picture.getpixel((picture.width // 2, 20))[0] > 200


def test_a_tiny_picture_keeps_its_pixels(tmp_path):
    Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)).save(tmp_path / "a.png")
    with Image.open(io.BytesIO(picture_of(tmp_path / "a.png", "small"))) as picture:
        assert picture.size == (384, 192)
        assert picture.getpixel((150, 90))[0] > 200
        assert picture.getpixel((234, 90))[2] > 200


def test_a_damaged_one_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="no known image"):
        picture_of(tmp_path / "a.png", "small")

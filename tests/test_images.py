"""open_image against real files of every kind a user may have."""

import gc
import warnings

import numpy as np
import pytest
from PIL import Image

from hashret.errors import ImageError, InputError
from hashret.images import open_image


@pytest.fixture
def photo():
    """A smooth 24 x 16 picture whose four corners differ, so that a turn or a flip shows."""
    y, x = np.mgrid[0:16, 0:24]
    return Image.fromarray(np.stack([x * 10, y * 15, 255 - x * 10], axis=2).astype(np.uint8))


def pixels(image):
    return np.asarray(image).astype(int)


def test_lossless_rgb_comes_back_unchanged_from_path_image_and_array(photo, tmp_path):
    photo.save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), photo, np.asarray(photo)):
        opened = open_image(source)
        assert opened.mode == "RGB"
        assert type(opened) is Image.Image
        np.testing.assert_array_equal(pixels(opened), pixels(photo))


@pytest.mark.parametrize("kind", ["jpg", "tiff", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(photo, tmp_path, kind, orientation):
    inverse = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, 1), 7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    stored = Image.fromarray(np.ascontiguousarray(inverse[orientation](np.asarray(photo))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{kind}", exif=exif, **({"quality": 100} if kind in ("jpg", "webp") else {}))
    opened = open_image(tmp_path / f"a.{kind}")
    assert opened.size == photo.size
    assert abs(pixels(opened) - pixels(photo)).mean() < 6
    np.testing.assert_array_equal(pixels(open_image(opened)), pixels(opened))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_damaged_exif_beside_good_pixels_is_ignored(photo, tmp_path, kind):
    photo.save(tmp_path / f"a.{kind}", exif=b"Exif\0\0II*\0\xff\xff\xff\xff nonsense")
    assert abs(pixels(open_image(tmp_path / f"a.{kind}")) - pixels(photo)).mean() < 6


def test_cmyk_palette_grey_and_bilevel_become_rgb(photo, tmp_path):
    photo.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    photo.quantize(256).save(tmp_path / "palette.png")
    photo.convert("L").save(tmp_path / "grey.png")
    photo.convert("1").save(tmp_path / "bilevel.png")
    assert abs(pixels(open_image(tmp_path / "cmyk.jpg")) - pixels(photo)).mean() < 6
    assert abs(pixels(open_image(tmp_path / "palette.png")) - pixels(photo)).mean() < 6
    for name, mode in (("grey", "L"), ("bilevel", "1")):
        opened = pixels(open_image(tmp_path / f"{name}.png"))
        np.testing.assert_array_equal(opened, pixels(photo.convert(mode).convert("RGB")))


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, kind):
    values = np.array([[0, 128, 129, 257], [32768, 65278, 65406, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"deep.{kind}")
    expected = np.round(values / 257).astype(int)
    np.testing.assert_array_equal(pixels(open_image(tmp_path / f"deep.{kind}"))[..., 0], expected)
    np.testing.assert_array_equal(pixels(open_image(Image.fromarray(values.astype(np.int32))))[..., 1], expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(tmp_path, mode):
    colour = (100, 50, 0) if mode == "RGBA" else (100,)
    picture = Image.new(mode, (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        picture.putpixel((x, 0), (*colour, alpha))
    picture.save(tmp_path / "a.png")
    opened = pixels(open_image(tmp_path / "a.png"))[0]
    for x, alpha in enumerate((0, 128, 255)):
        expected = [round(255 + (value - 255) * alpha / 255) for value in (colour * 3)[:3]]
        assert abs(opened[x] - expected).max() <= 1


def test_transparent_palette_and_key_colours_become_white(tmp_path):
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 200, 100, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "key.gif", transparency=0)
    palette.save(tmp_path / "bytes.png", transparency=b"\x00\xff")
    for name in ("key.gif", "bytes.png"):
        np.testing.assert_array_equal(pixels(open_image(tmp_path / name))[0], [[255] * 3, [200, 100, 0]])
    Image.fromarray(np.array([[7, 40], [41, 7]], np.uint8)).save(tmp_path / "grey.png", transparency=7)
    np.testing.assert_array_equal(pixels(open_image(tmp_path / "grey.png"))[..., 0], [[255, 40], [41, 255]])
    Image.fromarray(np.array([[7, 65535], [0, 7]], np.uint16)).save(tmp_path / "deep.png", transparency=7)
    np.testing.assert_array_equal(pixels(open_image(tmp_path / "deep.png"))[..., 0], [[255, 255], [0, 255]])


def test_first_frame_of_an_animation(tmp_path):
    red, blue = Image.new("RGB", (5, 5), "red"), Image.new("RGB", (5, 5), "blue")
    red.save(tmp_path / "a.gif", save_all=True, append_images=[blue])
    assert open_image(tmp_path / "a.gif").getpixel((2, 2)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "gif"])
def test_truncated_files_are_refused(photo, tmp_path, kind):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"a.{kind}")
    whole = (tmp_path / f"a.{kind}").read_bytes()
    (tmp_path / f"cut.{kind}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=f"cut.{kind}") as caught:
        open_image(tmp_path / f"cut.{kind}")
    assert caught.value.remedy
    assert caught.value.expected


def test_missing_folder_empty_and_text_files_say_so(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    for name, reason in (
        ("missing.jpg", "no such file"), ("", "a folder"), ("empty.jpg", "an empty file"),
        ("text.jpg", "bytes that are no known image"),
    ):  # fmt: skip
        with pytest.raises(ImageError) as caught:
            open_image(tmp_path / name)
        assert caught.value.got == reason
        assert str(tmp_path / name) in caught.value.what


def test_damaged_bytes_raise_nothing_but_image_errors(photo, tmp_path):
    rng = np.random.default_rng(1)
    refused = 0
    for kind in ("jpg", "png", "gif", "webp", "tiff", "bmp"):
        photo.save(tmp_path / f"a.{kind}")
        whole = np.frombuffer((tmp_path / f"a.{kind}").read_bytes(), np.uint8)
        for _ in range(25):
            bad = whole.copy()
            bad[rng.integers(0, len(bad), 6)] = rng.integers(0, 256, 6)
            (tmp_path / "bad").write_bytes(bad.tobytes())
            try:
                assert open_image(tmp_path / "bad").mode == "RGB"
            except ImageError:
                refused += 1
    gc.collect()
    assert refused > 10


@pytest.mark.parametrize("filters", ["error", "ignore"])
@pytest.mark.parametrize("limit", [100, 300])
def test_decompression_bombs_are_refused_whatever_the_warning_filter(photo, tmp_path, monkeypatch, filters, limit):
    photo.save(tmp_path / "a.png")  # 384 pixels: PIL only warns up to twice the limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter(filters)
        for source in (tmp_path / "a.png", photo):
            with pytest.raises(ImageError, match="more than .* pixels"):
                open_image(source)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        assert open_image(tmp_path / "a.png").size == (24, 16)


def test_what_has_no_rgb_meaning_is_refused(photo):
    closed = photo.copy()
    closed.close()
    for source in (
        Image.new("F", (2, 2)), Image.new("RGB", (0, 3)), closed, 7, np.zeros((2, 2, 3), np.float32),
        np.zeros((2, 2, 4), np.uint8), np.zeros((0, 3), np.uint8), np.zeros(8, np.float32),
    ):  # fmt: skip
        with pytest.raises(ImageError) as caught:
            open_image(source)
        assert caught.value.remedy
        assert isinstance(caught.value, InputError)


def test_no_file_stays_open_and_the_source_is_not_changed(photo, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for kind in ("jpg", "png", "gif", "tiff", "bmp"):
            photo.save(tmp_path / f"a.{kind}")
            opened = open_image(tmp_path / f"a.{kind}")
            (tmp_path / f"a.{kind}").unlink()
            assert opened.copy().size == photo.size
        gc.collect()
    before = pixels(photo)
    opened = open_image(photo)
    opened.putpixel((0, 0), (9, 9, 9))
    np.testing.assert_array_equal(pixels(photo), before)

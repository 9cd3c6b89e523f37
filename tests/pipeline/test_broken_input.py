"""Forty kinds of broken input among good items: as many codes as good ones, and forty reasons."""

import io
import json
import os
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hashret.encoded import EncodedFolder
from hashret.images import open_image
from hashret.pipeline import encode
from hashret.pipeline.decoding import LONGEST_TEXT
from hashret.retriever import Retriever

GOOD = 1000


def picture(number: int, size: tuple[int, int] = (34, 34)) -> Image.Image:
    chance = np.random.default_rng(number)
    return Image.fromarray(chance.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def saved(form: str, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    picture(7, (64, 64)).convert(mode).save(file, form, **options)
    return file.getvalue()


def png_of(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that says it is that large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunk(*each) for each in chunks) + chunk(b"IEND", b"")


def half(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def broken_files() -> dict[str, bytes]:
    """Name -> bytes of what no viewer shows."""
    flat = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(flat, "TIFF")
    packed = zlib.compress(b"\0" * 50)
    jpeg = saved("JPEG")
    return {
        "truncated.jpg": half(jpeg), "truncated.png": half(saved("PNG")), "truncated.gif": half(saved("GIF", "P")),
        "truncated.webp": half(saved("WEBP", lossless=True)), "truncated.tiff": half(saved("TIFF")),
        "truncated.bmp": half(saved("BMP")), "truncated.ppm": half(saved("PPM")), "empty.jpg": b"", "empty.png": b"",
        "header-only.jpg": jpeg[:20], "zeros.jpg": b"\0" * 5000, "noise.png": np.random.default_rng(0).bytes(5000),
        "text.jpg": b"not a picture at all\n", "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "vector.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "document.jpg": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n",
        "archive.jpg": b"PK\x03\x04" + b"\0" * 100, "script.png": b"#!/bin/sh\n", "gzip.jpg": b"\x1f\x8b\x08" * 9,
        "bomb.png": png_of(60_000, 60_000, (b"IDAT", packed)), "short-data.png": png_of(40, 40, (b"IDAT", packed)),
        "no-data.png": png_of(40, 40), "no-zlib.png": png_of(40, 40, (b"IDAT", b"nonsense")),
        "wide-zero.png": png_of(0, 40, (b"IDAT", packed)), "float.tiff": flat.getvalue(),
        "broken-crc.png": saved("PNG").replace(b"IDAT", b"IDAX", 1), "riff.webp": b"RIFF\x10\0\0\0WEBPVP8 ",
        "tiff-loop.tif": b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0", "gif-head.gif": b"GIF89a",
        "soi.jpg": b"\xff\xd8\xff", "truncated-cmyk.jpg": half(saved("JPEG", "CMYK")),
        "truncated-progressive.jpg": half(saved("JPEG", progressive=True)),
        "truncated-palette.png": half(saved("PNG", "P")), "truncated-deep.png": half(saved("PNG", "I;16")),
        "bomb.ppm": b"P6 70000 70000 255\n" + b"\0" * 99, "bmp-head.bmp": saved("BMP")[:54],
    }  # fmt: skip


def whole_files() -> dict[str, bytes]:
    """Unusual, but any viewer shows them."""
    animated, deep, turned = io.BytesIO(), io.BytesIO(), io.BytesIO()
    picture(1).save(animated, "GIF", save_all=True, append_images=[picture(2)])
    Image.fromarray(np.random.default_rng(3).integers(0, 65536, (34, 34), dtype=np.uint16)).save(deep, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(4, (40, 20)).save(turned, "JPEG", exif=exif)
    return {
        "cmyk.jpg": saved("JPEG", "CMYK"), "palette.png": saved("PNG", "P"), "deep.png": deep.getvalue(),
        "animated.gif": animated.getvalue(), "turned.jpg": turned.getvalue(), "alpha.png": saved("PNG", "RGBA"),
        "wrong-ending.jpg": saved("PNG"), "wrong-too.png": saved("JPEG"), "UPPER.JPG": saved("JPEG"),
        "grey.png": saved("PNG", "L"), "bilevel.png": saved("PNG", "1"),
        "progressive.jpg": saved("JPEG", progressive=True),
    }  # fmt: skip


def failures(out: Path) -> dict[str, str]:
    rows = [row for path in sorted((out / "failures").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["key"]: row["reason"] for row in rows}


@pytest.mark.slow
def test_a_thousand_codes_and_forty_reasons(model, tmp_path):
    """Forty kinds of broken pictures, ten of broken texts; and the unusual ones that are good."""
    folder = tmp_path / "photos"
    folder.mkdir()
    odd = whole_files()
    for number in range(GOOD - len(odd)):
        picture(number).save(folder / f"{number:04d}.bmp")
    for name, raw in (broken_files() | odd).items():
        (folder / name).write_bytes(raw)
    images = broken_files()
    os.symlink(tmp_path / "nowhere.jpg", folder / "dangling.jpg")
    os.symlink("circle.jpg", folder / "circle.jpg")
    os.mkfifo(folder / "pipe.jpg")
    latin = os.fsencode(folder) + b"/caf\xe9.jpg"
    Path(os.fsdecode(latin)).write_bytes(b"")
    done = encode(model, folder, "image", tmp_path / "out", timeout=2, shard_size=300, quiet=True)
    reasons = failures(tmp_path / "out")
    assert set(reasons) == {*images, "dangling.jpg", "circle.jpg", "pipe.jpg", "caf\\xe9.jpg"}
    assert all(reasons.values())
    assert (done.codes, done.failures, len(reasons)) == (GOOD, 40, 40)

    said = broken_texts()
    table = tmp_path / "texts.jsonl"
    good = [json.dumps({"text": f"a red dog runs {number}"}).encode() for number in range(50)]
    lines = good[:25] + [raw for raw, _ in said.values()] + good[25:]
    table.write_bytes(b"\n".join(lines))
    texts = encode(model, table, "text", tmp_path / "texts", quiet=True)
    found = failures(tmp_path / "texts")
    assert texts.codes == 50
    assert list(found.values()) == [reason for _, reason in said.values()]

    expected = {
        "truncated.jpg": "a truncated image", "empty.jpg": "an empty file", "dangling.jpg": "no such file",
        "zeros.jpg": "bytes that are no known image", "float.tiff": "floating point pixels",
        "pipe.jpg": "decoding took longer than 2 seconds",
        "bomb.png": f"more than {Image.MAX_IMAGE_PIXELS} pixels (a decompression bomb?)",
    }  # fmt: skip
    assert {name: reasons[name] for name in expected} == expected

    retriever = Retriever.from_pretrained(model)
    shards = list(EncodedFolder.open(tmp_path / "out").shards())
    rows = {key: shard.codes[i : i + 1] for shard in shards for i, key in enumerate(shard.column("key"))}
    for name in odd:  # shown as a viewer shows them: turned, the first frame, 16 bits scaled
        assert rows[name] == retriever.encode_images([open_image(folder / name)]), name


def broken_texts() -> dict[str, tuple[bytes, str]]:
    """Kind -> a line and the reason it gets."""
    return {
        "empty": (b'{"text": ""}', "an empty text"),
        "blank": (b'{"text": " \\t\\n "}', "an empty text"),
        "invisible": (b'{"text": "\\u200b\\u200b"}', "an empty text"),
        "latin": (b'{"text": "caf\xe9"}', "no valid Unicode"),
        "surrogate": (b'{"text": "half \\ud800 a letter"}', "no valid Unicode"),
        "enormous": (json.dumps({"text": "x" * (LONGEST_TEXT + 1)}).encode(), "a text of more than 1,000,000 letters"),
        "torn": (b'{"text": "a re', "no JSON (Unterminated string starting at)"),
        "array": (b'["a", "b"]', "no JSON object"),
        "number": (b'{"text": 7}', "a int, not a text"),
        "binary": (b"\x00\x01\xff\xfe", "no JSON (Expecting value)"),
    }


@pytest.mark.parametrize("kind", ["csv", "parquet", "tar", "txt"])
def test_other_tables_have_broken_rows_too(model, tmp_path, kind):
    import pyarrow as pa

    place = tmp_path / f"items.{kind}"
    side, good = "text", 3
    if kind == "csv":
        place.write_bytes(b'text,size\na red dog,1\n\n"",2\na,b,c\ncaf\xe9,3\nthe cat,4\nblue,5\n')
        expected = {"2": "an empty text", "3": "3 values in 2 columns", "4": "no valid Unicode"}
    elif kind == "txt":
        place.write_bytes(b"a red dog\n\ncaf\xe9\nthe cat\nblue")
        expected = {"2": "an empty text", "3": "no valid Unicode"}
    elif kind == "parquet":
        raw = [{"bytes": saved("PNG"), "path": None}, {"bytes": b"torn", "path": "t.png"}, None]
        raw += [{"bytes": saved("JPEG"), "path": None}, {"bytes": saved("BMP"), "path": None}]
        pq.write_table(pa.table({"image": raw, "n": list(range(5))}), place)
        side, expected = "image", {"t.png": "bytes that are no known image", "3": "no file_name"}
    else:
        with tarfile.open(place, "w") as tar:
            for name, content in (
                ("a.png", saved("PNG")), ("a.txt", b"one"), ("b.txt", b"no picture"), ("c.jpg", saved("JPEG")),
                ("d.jpg", b"torn"), ("e.gif", saved("GIF")), ("f.jpg", saved("JPEG")),
            ):  # fmt: skip
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        place.write_bytes(place.read_bytes()[: 512 * 2 + place.read_bytes().index(b"f.jpg")])
        side = "image"
        expected = {
            "b": "no image in the sample", "d": "bytes that are no known image", "f": "a truncated file",
            "items.tar": "a damaged tar, not read from here on (unexpected end of data)",
        }  # fmt: skip
    done = encode(model, place, side, tmp_path / "out", quiet=True)
    assert failures(tmp_path / "out") == expected
    assert done.codes == good

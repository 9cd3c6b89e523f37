"""What is no picture, or not the one it says, is refused with a reason; nothing that is sent ends in a 5xx."""

import io
import struct
import time
import zlib

import pytest
from mutants import KINDS, encoded, mutants
from PIL import Image

from hashret.errors import ImageError
from hashret.serve.problems import TooLargeError, UnknownKindError
from hashret.serve.uploads import open_upload

PIXELS = 1_000_000


def png_bomb(width=50_000, height=50_000):
    """A PNG of a few hundred bytes that says it has 2.5 billion pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_every_kind_are_opened(kind):
    for claim in (KINDS[kind], "", "application/octet-stream", KINDS[kind].upper() + "; charset=binary"):
        picture = open_upload(encoded(kind), claim, PIXELS)
        assert (picture.mode, picture.size, picture.info) == ("RGB", (40, 33), {})


WRONG = {
    "a text": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", UnknownKindError, 415),
    "nothing": (b"", "image/png", UnknownKindError, 415),
    "a page": (b"<html>", "text/html", UnknownKindError, 415),
    "a kind that is not read": (encoded("TIFF"), "image/tiff", UnknownKindError, 415),
    "the same, unsaid": (encoded("TIFF"), "", UnknownKindError, 415),
    "another kind than it says": (encoded("JPEG"), "image/png", UnknownKindError, 415),
    "a truncated one": (encoded("PNG")[:900], "image/png", ImageError, 422),
    "a truncated jpeg": (encoded("JPEG")[:700], "image/jpeg", ImageError, 422),
    "a bomb": (png_bomb(), "image/png", TooLargeError, 413),
    "a thread": (png_bomb(1, 900_000), "image/png", TooLargeError, 413),
    "a header alone": (encoded("PNG")[:20], "image/png", (ImageError, UnknownKindError), None),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(served, case):
    content, claim, error, status = WRONG[case]
    with pytest.raises(error, match="expected"):
        open_upload(content, claim, PIXELS)
    answer = served.post("/search", files={"image": ("x.png", content, claim)})
    assert answer.status_code == (status or answer.status_code)
    assert 400 <= answer.status_code < 500
    assert {"detail", "remedy"} == set(answer.json())


def test_more_pixels_than_are_taken():
    kept = io.BytesIO()
    Image.new("RGB", (1001, 1000)).save(kept, "PNG")
    with pytest.raises(TooLargeError, match="1,001 x 1,000"):
        open_upload(kept.getvalue(), "image/png", PIXELS)


def test_mutants_are_answered(served):
    """The thousand of benchmarks/serve_load.py, of which these are the first."""
    statuses, longest = {}, 0.0
    for number, (content, claim) in enumerate(mutants(200)):
        begun = time.monotonic()
        answer = served.post("/encode", files={"image": (f"{number}.png", content, claim)})
        longest = max(longest, time.monotonic() - begun)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    assert set(statuses) <= {200, 413, 415, 422}, statuses
    assert min(statuses[415], statuses[422]) > 10, statuses
    assert longest < 20
    assert served.get("/healthz").status_code == 200

"""Pictures that are wrong in a thousand ways, for serve_load.py and the tests of uploads."""

import io
import random
from collections.abc import Iterator

import numpy as np
from PIL import Image

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp", "BMP": "image/bmp"}


def encoded(kind: str, size: tuple[int, int] = (40, 33)) -> bytes:
    """A picture of noise as a file of this kind."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    kept = io.BytesIO()
    Image.fromarray(pixels).save(kept, kind)
    return kept.getvalue()


def mutants(count: int, seed: int = 0) -> Iterator[tuple[bytes, str]]:
    """Bytes and the media type they claim: cut, flipped, doubled, stuffed, mixed and mislabelled."""
    chance = random.Random(seed)
    whole = {kind: encoded(kind) for kind in KINDS}
    for _ in range(count):
        kind = chance.choice(list(KINDS))
        content = bytearray(whole[kind])
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(content)) if content else 0
            way = chance.randrange(6)
            if way == 0:
                del content[place:]
            elif way == 1:
                for at in (chance.randrange(len(content)) for _ in range(8 * bool(content))):
                    content[at] = chance.randrange(256)
            elif way == 2:
                content[place:place] = content[: chance.randrange(200)]
            elif way == 3:
                del content[place : place + chance.randrange(1, 60)]
            elif way == 4:
                content[:30] = (chance.randrange(256) for _ in range(30))
            else:
                content[place : place + 4] = b"\xff\xff\xff\xff"  # lengths and sizes
        claim = chance.choice([KINDS[kind]] * 4 + [*KINDS.values(), "application/octet-stream", "text/html"])
        yield bytes(content), claim

"""Albums of drawn scenes: what is kept is what would be drawn, is drawn once, and is never stale."""

from pathlib import Path

import numpy as np
import pytest

from hashret.data import shapes_album, shapes_drawing
from hashret.data.shapes import load
from hashret.errors import FileError

SMALL = {"train": 8, "validation": 4, "test": 4, "database": 13}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "shapes"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry a picture that is drawn."""
    count: list[int] = []

    def draw(scene, size, *, palette, detail):
        count.append(size)
        return plain(scene, size, palette=palette, detail=detail)

    plain = shapes_drawing.draw
    monkeypatch.setattr(shapes_drawing, "draw", draw)
    return count


def pixels(data) -> list[bytes]:
    pairs = [example for pair in data.train for example in (pair.query, pair.target)]
    tasks = [
        example for task in (*data.validation, *data.test) for side in (task.queries, task.gallery) for example in side
    ]
    return [np.asarray(example.image).tobytes() for example in (*pairs, *tasks) if example.image is not None]


@pytest.mark.parametrize("protocol", ["labels", "captions", "edits"])
def test_what_is_kept_is_what_is_drawn_and_is_drawn_once(protocol, cache, drawn):
    plain = pixels(load(protocol=protocol, **SMALL))
    assert not cache.exists()
    whole = len(drawn)
    assert pixels(load(protocol=protocol, **SMALL, keep=True)) == plain
    assert len(drawn) == 2 * whole
    assert pixels(load(protocol=protocol, **SMALL, keep=True)) == plain
    assert len(drawn) == 2 * whole
    kept = sum(len(np.load(path, mmap_mode="r")) for path in cache.iterdir())
    assert kept == whole


def test_other_sizes_seeds_and_code_are_drawn_anew(cache, drawn, monkeypatch, tmp_path):
    load(protocol="edits", **SMALL, keep=True)
    before = len(drawn)
    for change in ({"seed": 1}, {"size": 80}):
        assert pixels(load(protocol="edits", **SMALL, **change, keep=True)) == pixels(
            load(protocol="edits", **SMALL, **change)
        )
    assert len(drawn) == 5 * before
    other = tmp_path / "shapes_outline.py"
    other.write_text("# changed")
    monkeypatch.setattr(shapes_album.shapes_outline, "__file__", str(other))
    load(protocol="edits", **SMALL, keep=True)
    assert len(drawn) == 6 * before


def test_a_file_cut_short_is_drawn_again(cache):
    first = pixels(load(protocol="edits", **SMALL, keep=True))
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:5000])
    assert pixels(load(protocol="edits", **SMALL, keep=True)) == first


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path / "file"))
    with pytest.raises(FileError, match=r"of drawn scenes.*data\.keep=false"):
        load(protocol="edits", **SMALL, keep=True)

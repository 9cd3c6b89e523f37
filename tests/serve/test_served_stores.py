"""A store behind the page answers as the index file does: hits, columns, filters, codes, refusals."""

import importlib.util
import time

import pytest
from live import live

from hashret.errors import FileError, FormatError, StoreError
from hashret.pipeline import index
from hashret.serve import Service

NEEDS = {"file": None, "chdb": "chdb", "ray": "ray"}


@pytest.fixture(scope="module", params=NEEDS)
def stored(request, world, tmp_path_factory):
    """A server over a store of the pictures."""
    engine, needed = request.param, NEEDS[request.param]
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    folder, encoded = tmp_path_factory.mktemp(engine), world.folder / "image.encoded"
    address = {
        "file": f"file:{folder}/images.index", "chdb": f"chdb:{folder}/images.chdb", "ray": f"ray://{folder}/shards",
    }[engine]  # fmt: skip
    index(encoded, {"file": f"{folder}/images.index", "ray": f"{address}?shards=2"}.get(engine, address))
    with live(Service(world.run, [address], device="cpu")) as running:
        running.engine = engine
        opened = running.service.gallery("image").store
        yield running
    if engine != "file":
        with pytest.raises(StoreError, match="closed"):
            len(opened)


def without_times(answer):
    return {name: value for name, value in answer.items() if name != "milliseconds"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "asked",
    [
        {"text": "a red picture", "k": 200},
        {"text": "a blue picture", "where": ["year:2001..", "labels:even"], "k": 7},
        {"text": "a blue picture", "where": ["share:0.5..0.6"]},
        {"item": "i4", "k": 3},
        {"item": "i4", "text": "green"},
    ],
    ids=lambda asked: " ".join(map(str, asked)),
)
def test_it_answers_as_the_index_does(served, stored, asked):
    assert without_times(stored.search(**asked)) == without_times(served.search(**asked, side="image"))


def test_items_and_what_there_is_to_know_are_the_indexs(served, stored):
    assert stored.get("/items/i7").json() == served.get("/items/i7").json()
    assert stored.get("/items/i7/picture").content == served.get("/items/i7/picture").content
    assert stored.get("/items/i99").status_code == 404
    ours, theirs = (answer.get("/about").json()["galleries"] for answer in (stored, served))
    ours[0]["columns"].sort(key=lambda column: column["name"])
    (pictures,) = (gallery for gallery in theirs if gallery["side"] == "image")
    pictures["columns"].sort(key=lambda column: column["name"])
    assert ours == [pictures | {"second_look": stored.engine == "file"}]


def test_a_second_look_needs_the_embeddings_beside_an_index_file(served, stored):
    asked = {"text": "a red picture", "shortlist": 20, "side": "image"}
    if stored.engine == "file":
        assert without_times(stored.search(**asked)) == without_times(served.search(**asked))
        return
    answer = stored.get("/search", params=asked)
    assert answer.status_code == 422
    assert "embeddings" in answer.text


@pytest.mark.parametrize("place", ["nothing.index", "file:nothing.index"])
def test_a_place_without_codes_is_named(world, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with live(Service(world.run, [place], device="cpu"), wait=False) as running:
        while running.service.state == "loading":
            time.sleep(0.01)
        assert isinstance(running.service.failure, (FileError, FormatError))
        assert "nothing.index" in str(running.service.failure)

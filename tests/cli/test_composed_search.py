"""``hashret search`` by an image and a text together: one composed query, against the retriever and a slow scan."""

import json
from pathlib import Path

import numpy as np
import pytest
from measured_runs import call, refused
from PIL import Image

from hashret.codes import Codes
from hashret.data.shapes import load
from hashret.encoded import EncodedFolder
from hashret.methods import METHODS
from hashret.pipeline import read_recipe, train
from hashret.retriever import Retriever

DATA = {"protocol": "edits", "train": 24, "validation": 8, "test": 8, "database": 26}
RECIPE = {
    "data": {"name": "shapes", **DATA},
    "image": {"name": "cnn", "size": 32, "width": 4, "dimension": 32},
    "text": {"name": "bag_of_words", "size": 60},
    "method": {"name": "contrastive", "bits": 128, "width": 64, "dimension": 64, "hash_width": 64},
    "stages": {"embedding": {"epochs": 3, "batch_size": 8}, "codes": {"epochs": 3, "batch_size": 8}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained run and an index of the test gallery's pictures, encoded and indexed by the commands."""
    place = tmp_path_factory.mktemp("composed")
    made = {"run": place / "run", "pictures": place / "pictures", "index": place / "pictures.index"}
    train(read_recipe(RECIPE), made["run"], quiet=True)
    made["pictures"].mkdir()
    (task,) = load(**DATA).test
    for number, example in enumerate(task.gallery):
        example.image.save(made["pictures"] / f"{number:02d}.png")
    call("encode", made["run"], made["pictures"], "--side", "image", "--out", place / "pictures.encoded")
    call("index", place / "pictures.encoded", "--out", made["index"])
    return made


def ask(world, *arguments) -> list[list[tuple[int, str]]]:
    """Distance and key of every answer of every query."""
    done = call("search", world["index"], "--run", world["run"], *arguments, "--json")
    assert done.exit_code == 0, done.output
    return [[(hit["distance"], hit["key"]) for hit in row["hits"]] for row in json.loads(done.stdout)]


def scanned(world, codes: Codes, left_out: str = "") -> list[tuple[int, str]]:
    """The whole gallery by (distance, row), bit by bit."""
    (shard,) = EncodedFolder.open(world["index"].with_suffix(".encoded")).shards()
    gallery = shard.codes
    names = sorted(path.name for path in world["pictures"].iterdir())
    distances = (gallery.unpack() != codes.unpack()[0]).sum(1)
    order = np.lexsort((np.arange(len(names)), distances))
    return [(int(distances[row]), names[row]) for row in order if names[row] != left_out]


def test_an_image_and_a_text_are_one_query(world):
    image, text = world["pictures"] / "05.png", "make it red"
    retriever = Retriever.from_pretrained(world["run"])
    (composed,) = ask(world, "--image", image, "--text", text, "-k", 26)
    assert composed == scanned(world, retriever.encode_queries([image], [text]))
    (by_image,), (by_text,) = ask(world, "--image", image, "-k", 26), ask(world, "--text", text, "-k", 26)
    assert by_image == scanned(world, retriever.encode_images([image]))
    assert by_text == scanned(world, retriever.encode_texts([text]))
    assert by_image[0][0] == 0
    assert composed not in (by_image, by_text)


def test_the_reference_is_among_the_answers_unless_it_is_left_out(world, monkeypatch):
    image, text = world["pictures"] / "05.png", "make it red"
    (kept,) = ask(world, "--image", image, "--text", text, "-k", 26)
    assert "05.png" in [key for _, key in kept]
    codes = Retriever.from_pretrained(world["run"]).encode_queries([image], [text])
    for k in (3, 25, 26):
        (left,) = ask(world, "--image", image, "--text", text, "--without-reference", "-k", k)
        assert left == scanned(world, codes, "05.png")[:k]
    (alone,) = ask(world, "--image", image, "--without-reference")
    assert len(alone) == 10
    assert "05.png" not in [key for _, key in alone]
    monkeypatch.chdir(world["pictures"])  # the same file by another path
    assert ask(world, "--image", "05.png", "--text", text, "--without-reference", "-k", 3) == [left[:3]]


def test_several_images_and_texts_go_together_in_order(world):
    images, texts = [world["pictures"] / f"{number:02d}.png" for number in (1, 2)], ["make it red", "remove the star"]
    both = [part for image in images for part in ("--image", image)]
    said = [part for text in texts for part in ("--text", text)]
    pairs = {(i, t): ask(world, "--image", images[i], "--text", texts[t])[0] for i in (0, 1) for t in (0, 1)}
    assert len({str(found) for found in pairs.values()}) == 4
    assert ask(world, *both, *said) == [pairs[0, 0], pairs[1, 1]]
    assert ask(world, *said, *both[:2]) == [pairs[0, 0], pairs[0, 1]]
    assert ask(world, *both, *said[:2]) == [pairs[0, 0], pairs[1, 0]]


def test_a_picture_shows_the_reference_and_what_was_said(world, tmp_path):
    """The sentence stands beneath the card, so the sheet is taller than by the image alone."""
    image = ("--image", world["pictures"] / "05.png", "-k", 4)
    sizes = []
    for number, more in enumerate(((), ("--text", "make the large star beneath the moon a good deal smaller and red"))):
        picture = tmp_path / f"{number}.png"
        done = call("search", world["index"], "--run", world["run"], *image, *more, "--picture", picture)
        assert done.exit_code == 0
        assert done.output.count("distance") == 4
        with Image.open(picture) as drawn:
            sizes.append(drawn.size)
    assert "05.png, make the large star" in done.output
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] > sizes[0][1]


def test_mistakes(world, tmp_path):
    asked = ("search", world["index"], "--run", world["run"])
    image, elsewhere = world["pictures"] / "05.png", tmp_path / "05.png"
    for wrong in (
        ("--image", image, "--image", image, *("--text", "a") * 3),
        ("--text", "a", "--without-reference"),
        (),
    ):
        assert call(*asked, *wrong).exit_code == 2
    elsewhere.write_bytes(image.read_bytes())
    done = call(*asked, "--image", elsewhere, "--text", "red", "--without-reference", "-k", 26)
    assert "not in the index under this path" in done.stderr
    assert "05.png" in done.stdout.split("\n", 1)[1]


def test_a_method_without_composed_queries_says_so(world, tmp_path):
    recipe = RECIPE | {
        "data": {"name": "shapes", "protocol": "captions", "train": 16, "validation": 4, "test": 4},
        "method": {"name": "icone", "bits": 24, "dimension": 12},
        "stages": {},
    }
    stages = [stage.name for stage in METHODS["icone"].stages]
    recipe["stages"] = {stage: {"epochs": 1, "batch_size": 8} for stage in stages}
    run, codes, index = tmp_path / "run", tmp_path / "p.encoded", tmp_path / "p.index"
    train(read_recipe(recipe), run, quiet=True)
    call("encode", run, world["pictures"], "--side", "image", "--out", codes)
    call("index", codes, "--out", index)
    image = world["pictures"] / "05.png"
    message = refused("search", index, "--run", run, "--image", image, "--text", "make it red")
    assert "IConE has no composed queries" in message
    assert call("search", index, "--run", run, "--image", image).exit_code == 0

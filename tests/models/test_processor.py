"""Raw examples become tensors, whatever they are made of, and every mistake in them is named."""

import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from hashret.errors import (
    FileError,
    FormatError,
    HashretError,
    ImageError,
    InputError,
    NonFiniteError,
    TextError,
    WidthError,
)
from hashret.examples import Example
from hashret.models import Processor, Vocabulary, build_image_encoder, build_text_encoder
from hashret.models.bag_of_words import Bags, WordNumbers
from hashret.models.processor import Pixels
from hashret.models.vector import Vectors

HALF = (0.5, 0.5, 0.5)
WORDS = Vocabulary(("dog", "red", "grass"))


@pytest.fixture
def processor() -> Processor:
    return Processor(Pixels(16, HALF, HALF), WordNumbers(WORDS, 20), WORDS)


def test_pixels_are_resized_and_normalised_as_written_out(pictures) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    for picture in pictures:
        resized = np.asarray(picture.resize((20, 20), Image.Resampling.BILINEAR), np.float64)
        expected = np.stack([(resized[:, :, c] / 255 - mean[c]) / std[c] for c in range(3)])
        result = Pixels(20, mean, std)(picture)
        assert result.dtype == torch.float32
        assert np.allclose(result.numpy(), expected, atol=1e-6)
    red = Image.new("RGB", (30, 10), "red")
    red.paste((0, 0, 255), (10, 0, 20, 10))  # the middle third is blue, and all that is left
    cut = Pixels(10, (0, 0, 0), (1, 1, 1), shorter=10)(red)
    assert cut.flatten(1).unique(dim=1).flatten().tolist() == [0, 0, 1]


def test_every_form_of_an_image_gives_the_same_pixels(processor, pictures, tmp_path) -> None:
    picture = pictures[0]
    picture.save(tmp_path / "a.png")
    forms = [picture, np.asarray(picture), str(tmp_path / "a.png"), tmp_path / "a.png"]
    pixels = processor([Example(image=form, key="a") for form in forms]).image
    assert pixels.shape == (4, 3, 16, 16)
    assert all(torch.equal(pixels[0], row) for row in pixels)


def test_texts_bags_and_composed_queries(processor, pictures) -> None:
    inputs = processor([Example(image=pictures[0], text="red dog"), Example(image=pictures[1], text="the grass")])
    assert len(inputs) == 2
    assert inputs.image.shape == (2, 3, 16, 16)
    assert inputs.text[:, :2].tolist() == [[3, 2], [1, 4]]
    assert inputs.text_mask.sum(1).tolist() == [2, 2]
    assert inputs.bag.tolist() == [[1, 1, 0], [0, 0, 1]]
    assert Processor(None, WordNumbers(WORDS, 20))([Example(text="dog")]).bag is None
    same = Processor(None, Bags(WORDS), WORDS)([Example(text="a red dog")])
    assert same.bag is same.text
    other = Processor(None, Bags(WORDS), Vocabulary(("a",)))([Example(text="a red dog")])
    assert (other.text.tolist(), other.bag.tolist()) == ([[1, 1, 0]], [[1]])


def test_vectors_pass_on_either_side_and_any_number_type() -> None:
    rows = [np.array([1, 2, 3]), np.array([0.5, 0, -1], np.float16), np.array([True, False, True])]
    inputs = Processor(Vectors(3), None)([Example(image=row) for row in rows])
    assert inputs.image.dtype == torch.float32
    assert inputs.image.tolist() == [[1, 2, 3], [0.5, 0, -1], [1, 0, 1]]
    inputs = Processor(None, Vectors(3), WORDS)([Example(text=row) for row in rows])
    assert inputs.text.tolist() == [[1, 2, 3], [0.5, 0, -1], [1, 0, 1]]
    assert inputs.text_mask is inputs.bag is None


def test_features_of_the_cache_pass_where_pictures_are_read(processor) -> None:
    assert processor([Example(image=np.ones(5), text=np.zeros(7))]).image.tolist() == [[1] * 5]


PICTURE = Image.new("RGB", (8, 8))
V = np.ones(3)
MISTAKES: dict[str, tuple[list[Example], type[HashretError], str]] = {
    "none": ([], InputError, "examples: expected at least one"),
    "some without an image": (
        [Example(image=PICTURE, text="a", key="p"), Example(text="b", key="q")],
        InputError,
        "'p' with an image and 'q' with no image",
    ),
    "some without a text": (
        [Example(image=PICTURE, key="p"), Example(image=PICTURE, text="b", key="q")],
        InputError,
        "'q' with a text and 'p' with no text",
    ),
    "pictures and vectors": (
        [Example(image=PICTURE, key="p"), Example(image=V, key="q")],
        InputError,
        "'q' with feature vectors and 'p' with pictures",
    ),
    "sentences and vectors": (
        [Example(text="a", key="p"), Example(text=V, key="q")],
        InputError,
        "'q' with feature vectors and 'p' with sentences",
    ),
    "an empty text": ([Example(text="dog"), Example(text=" \n", key="t7")], TextError, "text of t7: expected words"),
    "no text at all": ([Example(text=7, key="t8")], TextError, "text of t8: expected words, got 7"),  # type: ignore[arg-type]
    "a missing file": ([Example(image="no/such.jpg")], ImageError, r"no/such\.jpg"),
    "floating pixels": ([Example(image=np.zeros((4, 4, 3)))], ImageError, "uint8 pixels"),
    "ragged vectors": (
        [Example(image=V), Example(image=np.ones(4), key="v2")],
        WidthError,
        r"vector of v2: expected \(3,\), got \(4,\)",
    ),
    "a cube as a text": ([Example(text=np.ones((2, 3, 4)), key="m")], WidthError, r"vector of m: .* got \(2, 3, 4\)"),
    "NaN": ([Example(text=V), Example(text=np.array([0, np.nan, 1]), key="v3")], NonFiniteError, "v3: .* got nan at 1"),
    "too large for float32": (
        [Example(image=np.array([0, 1e99]), key="v4")],
        NonFiniteError,
        r"v4: .* got 1e\+99 at 1",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str, processor: Processor) -> None:
    examples, error, message = MISTAKES[case]
    with pytest.raises(error, match=message):
        processor(examples)


def test_what_a_processor_does_not_read_is_refused(processor) -> None:
    with pytest.raises(InputError, match=r"image of p: expected none, since no images are read, got a raw image"):
        Processor(None, processor.text_transform)([Example(image=PICTURE, key="p")])
    with pytest.raises(InputError, match=r"text of a dog: expected none"):
        Processor(processor.image_preprocess, None)([Example(text="a dog")])
    vectors = Processor.of(
        build_image_encoder("vector", {"dimension": 4}), build_text_encoder("vector", {"dimension": 2})
    )
    with pytest.raises(InputError, match="a vector of 4 values, got something to decode"):
        vectors([Example(image=PICTURE)])
    with pytest.raises(InputError, match="a vector of 2 values, got something to decode"):
        vectors([Example(text="a dog")])
    with pytest.raises(WidthError, match=r"expected \(4,\), got \(3,\)"):
        vectors([Example(image=V)])


def test_pictures_that_stay_of_different_sizes_are_refused(pictures) -> None:
    class Unsized:
        def __call__(self, image: Image.Image) -> torch.Tensor:
            return torch.zeros(3, image.height, image.width)

        def config(self) -> dict[str, Any]:
            return {}

    with pytest.raises(ImageError, match=r"image q: expected \(3, 33, 40\) as p becomes, got \(3, 32, 32\)"):
        Processor(Unsized(), None)([Example(image=pictures[0], key="p"), Example(image=pictures[1], key="q")])


def _same(one: Processor, other: Processor, examples: list[Example]) -> bool:
    a, b = one(examples), other(examples)
    tensors = [(getattr(a, name), getattr(b, name)) for name in ("image", "text", "text_mask", "bag")]
    return all(x is y if x is None or y is None else torch.equal(x, y) for x, y in tensors)


def test_processors_survive_pickling_and_folders(processor, checkpoints, pictures, tmp_path) -> None:
    examples = [
        Example(image=picture, text=text) for picture, text in zip(pictures, ["a red dog", "the cat"], strict=False)
    ]
    image, text = (
        build("transformers", {"checkpoint": str(checkpoints("clip"))})
        for build in (build_image_encoder, build_text_encoder)
    )
    several = {
        "own": processor,
        "checkpoint": Processor.of(image, text, WORDS),
        "bags": Processor(Pixels(16, HALF, HALF, shorter=20), Bags(WORDS), Vocabulary(("cat",))),
    }
    for name, one in several.items():
        before = one.fingerprint("image"), one.fingerprint("text")
        assert _same(one, pickle.loads(pickle.dumps(one)), examples)
        one.save(tmp_path / name)
        loaded = Processor.load(tmp_path / name)
        assert _same(one, loaded, examples)
        assert (loaded.fingerprint("image"), loaded.fingerprint("text")) == before
    assert len({one.fingerprint("text") for one in several.values()}) == 3
    assert len({one.fingerprint("image") for one in several.values()}) == 3


def test_processors_work_in_other_processes(checkpoints, pictures) -> None:
    image, text = (
        build("transformers", {"checkpoint": str(checkpoints("clip"))})
        for build in (build_image_encoder, build_text_encoder)
    )
    processor = Processor.of(image, text, WORDS)
    examples = [Example(image=picture, text="a red dog") for picture in pictures]
    loader = DataLoader(
        examples,
        batch_size=3,
        num_workers=1,
        collate_fn=processor,
        multiprocessing_context="fork",  # type: ignore[arg-type]
    )
    batches = list(loader)
    assert [len(batch) for batch in batches] == [3, 2]
    whole = processor(examples)
    assert torch.equal(torch.cat([batch.image for batch in batches]), whole.image)
    assert torch.equal(torch.cat([batch.text for batch in batches]), whole.text)


def test_folders_that_hold_no_processor_are_refused(processor, checkpoints, tmp_path) -> None:
    with pytest.raises(FileError, match=r"processor\.json: expected a saved processor"):
        Processor.load(tmp_path)
    place = tmp_path / "processor.json"
    for content, message in (
        ("{", "expected JSON"),
        ("[]", r"a hashret\.processor/1 file"),
        ('{"kind": "hashret.processor/9"}', r"a hashret\.processor/1 file"),
        (
            json.dumps({"kind": "hashret.processor/1", "image": {"kind": "?"}, "text": None, "vocabulary": False}),
            "known way",
        ),
        (
            json.dumps({"kind": "hashret.processor/1", "image": None, "text": {"kind": "?"}, "vocabulary": False}),
            "known way",
        ),
    ):
        place.write_text(content)
        with pytest.raises(FormatError, match=message):
            Processor.load(tmp_path)
    processor.save(tmp_path / "run")
    (tmp_path / "run" / "words.json").unlink()
    with pytest.raises(FileError, match=r"words\.json: expected a vocabulary"):
        Processor.load(tmp_path / "run")
    with pytest.raises(FileError, match="a folder that can be written"):
        processor.save(place / "below a file")
    text = build_text_encoder("transformers", {"checkpoint": str(checkpoints("bert"))})
    Processor(None, text.transform).save(tmp_path / "other")
    for path in (tmp_path / "other" / "tokenizer").iterdir():
        path.unlink()
    (tmp_path / "other" / "tokenizer").rmdir()
    with pytest.raises(FileError, match="the tokenizer's files"):
        Processor.load(tmp_path / "other")

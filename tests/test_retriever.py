"""A retriever gives the same codes however it is asked, saved or loaded."""

import json

import numpy as np
import pytest
import torch

from hashret.errors import FileError, FormatError, ImageError, InputError, TextError, WidthError
from hashret.methods import METHODS
from hashret.models import Processor, Vocabulary, build_image_encoder, build_text_encoder
from hashret.retriever import Retriever

SENTENCES = [
    "a red star",
    "two blue rings on grass",
    "the dog",
    "a star and a ring",
    "grass",
    "blue star left of a ring",
]


def make(image: tuple[str, dict], text: tuple[str, dict]) -> Retriever:
    torch.manual_seed(0)
    vocabulary = Vocabulary.fit(SENTENCES, size=20)
    pictures = build_image_encoder(*image)
    words = build_text_encoder(*text, vocabulary)
    kind = METHODS["crcgs"]
    options = kind.options(bits=33, width=48, dimension=24, generative_dimension=16)
    method = kind(pictures, words, classes=3, words=len(vocabulary), options=options)
    for name, buffer in method.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return Retriever(method, Processor.of(pictures, words, vocabulary))


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    return make(("cnn", {"size": 32, "width": 8, "dimension": 16}), ("bag_of_words", {}))


def test_batch_size_never_changes_a_code(retriever, pictures):
    images = pictures * 9
    embedded, codes = retriever.embed_images(images, batch_size=45), retriever.encode_images(images, batch_size=45)
    for batch_size in (1, 2, 7, 16, 17, 1000):
        assert np.array_equal(retriever.embed_images(images, batch_size=batch_size), embedded)
        assert retriever.encode_images(images, batch_size=batch_size) == codes
    assert codes.bits == 33
    texts = SENTENCES * 5
    embedded = retriever.embed_texts(texts)
    for batch_size in (1, 3, 16, 29):
        assert np.array_equal(retriever.embed_texts(texts, batch_size=batch_size), embedded)
    alone = np.concatenate([retriever.embed_texts([text]) for text in texts])
    assert np.array_equal(alone, embedded)


def test_shapes_and_dtypes(retriever, pictures):
    assert retriever.embed_images(pictures).shape == (5, 48)
    assert retriever.embed_images(pictures).dtype == np.float32
    assert len(retriever.encode_texts([])) == 0
    assert retriever.encode_texts([]).bits == 33
    assert retriever.embed_texts([]).shape == (0, 48)


def test_images_come_as_paths_pictures_and_pixels(retriever, pictures, tmp_path):
    pictures[0].save(tmp_path / "a.png")
    same = [tmp_path / "a.png", str(tmp_path / "a.png"), pictures[0], np.asarray(pictures[0])]
    codes = retriever.encode_images(same)
    assert (codes.packed == codes.packed[0]).all()


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (("cnn", {"size": 32, "width": 8, "dimension": 16}), ("bag_of_words", {})),
        (("cnn", {"size": 32, "width": 8, "dimension": 16}), ("transformer", {"dimension": 16, "heads": 2})),
    ],
    ids=["bag_of_words", "transformer"],
)
def test_saved_and_loaded_it_gives_equal_embeddings(image, text, pictures, tmp_path):
    made = make(image, text)
    made.save_pretrained(tmp_path / "model")
    loaded = Retriever.from_pretrained(tmp_path / "model")
    assert np.array_equal(loaded.embed_images(pictures), made.embed_images(pictures))
    assert np.array_equal(loaded.embed_texts(SENTENCES), made.embed_texts(SENTENCES))
    assert loaded.encode_texts(SENTENCES) == made.encode_texts(SENTENCES)
    assert loaded.fingerprint() == made.fingerprint()


def test_a_model_is_the_same_under_a_hashret_whose_methods_have_more_options(retriever, tmp_path):
    """Such a model's file lacks an option that is at its default: it keeps its fingerprint, saved again too."""
    retriever.save_pretrained(tmp_path / "old")
    config = json.loads((tmp_path / "old/config.json").read_text())
    option = min(config["options"])
    del config["options"][option]
    (tmp_path / "old/config.json").write_text(json.dumps(config))
    loaded = Retriever.from_pretrained(tmp_path / "old")
    assert option in retriever.config()["options"]
    assert option not in loaded.config()["options"]
    assert loaded.encode_texts(SENTENCES) == retriever.encode_texts(SENTENCES)
    loaded.save_pretrained(tmp_path / "new")
    assert Retriever.from_pretrained(tmp_path / "new").fingerprint() == loaded.fingerprint()


def test_checkpoints_travel_with_the_run(checkpoints, copied, pictures, tmp_path):
    """A run made from a transformers checkpoint needs neither it nor a network afterwards."""
    import shutil

    folder = copied("mobilenet")
    made = make(("transformers", {"checkpoint": str(folder)}), ("bag_of_words", {}))
    expected = made.embed_images(pictures)
    made.save_pretrained(tmp_path / "model")
    shutil.rmtree(folder)
    loaded = Retriever.from_pretrained(tmp_path / "model")
    assert np.array_equal(loaded.embed_images(pictures), expected)
    assert loaded.fingerprint() == made.fingerprint()


def test_named_errors(retriever, tmp_path, pictures):
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    with pytest.raises(ImageError, match=r"torn\.jpg"):
        retriever.encode_images([pictures[0], tmp_path / "torn.jpg"])
    with pytest.raises(TextError):
        retriever.encode_texts(["a star", "  "])
    with pytest.raises(InputError, match="vector"):
        retriever.encode_images([np.zeros(7, np.float32)])
    with pytest.raises(FileError, match="expected a run folder"):
        Retriever.from_pretrained(tmp_path)
    retriever.save_pretrained(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(FormatError, match="checksum"):
        Retriever.from_pretrained(tmp_path / "model")


def test_composed_queries(retriever, pictures):
    torch.manual_seed(0)
    vocabulary = Vocabulary.fit(SENTENCES, size=20)
    image = build_image_encoder("cnn", {"size": 32, "width": 8, "dimension": 16})
    text = build_text_encoder("bag_of_words", {}, vocabulary)
    kind = METHODS["contrastive"]
    method = kind(image, text, classes=0, words=20, options=kind.options(bits=33, width=48, dimension=24))
    made = Retriever(method, Processor.of(image, text))
    images, texts = pictures * 4, SENTENCES[:5] * 4
    codes = made.encode_queries(images, texts)
    assert codes.bits == 33
    assert len(codes) == 20
    for batch_size in (1, 7, 16):
        assert made.encode_queries(images, texts, batch_size=batch_size) == codes
    total = made.embed_images(images) + made.embed_texts(texts)
    direction = total / np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(made.embed_queries(images, texts), direction, atol=1e-5)
    assert len(made.encode_queries([], [])) == 0
    with pytest.raises(InputError, match="expected 20, one an image, got 19"):
        made.encode_queries(images, texts[1:])
    with pytest.raises(InputError, match="no composed queries"):
        retriever.encode_queries(images, texts)


def test_vectors_of_another_width_are_refused():
    made = make(("vector", {"dimension": 6}), ("bag_of_words", {}))
    assert len(made.encode_images([np.ones(6, np.float32)])) == 1
    with pytest.raises(WidthError):
        made.encode_images([np.ones(5, np.float32)])

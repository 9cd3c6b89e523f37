"""Token features are kept by content, mapped, without what is no word or patch, and computed once."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hashret.errors import InputError, NonFiniteError
from hashret.examples import Example
from hashret.models import Processor, TokenCache, build_image_encoder, build_text_encoder, fit_vocabulary
from hashret.models.vector import VectorEncoder

TEXTS = ["a dog", "two red dogs in the snow", "a cat", "the cat and the dog and the red car"]


@pytest.fixture
def words():
    """A small transformer over words, its processor and one example a text, two of them the same."""
    torch.manual_seed(0)
    options = {"size": 20, "dimension": 8, "layers": 1, "heads": 2, "length": 18}
    encoder = build_text_encoder("transformer", options, fit_vocabulary("transformer", options, TEXTS)).eval()
    return encoder, Processor(None, encoder.transform), [Example(text=text) for text in [*TEXTS, TEXTS[1]]]


def test_tokens_are_the_encoder_s_own(words, tmp_path):
    encoder, processor, examples = words
    found = TokenCache(tmp_path).tokens(encoder, processor, examples, "text", block=2)
    for example, tokens in zip(examples, found, strict=True):
        inputs = processor([example])
        with torch.no_grad():
            features = encoder(inputs.text, inputs.text_mask)
        own = features.tokens[features.mask].numpy()
        assert tokens.dtype == np.float16
        assert tokens.shape == (len(example.text.split()), 8)
        assert np.allclose(tokens, own, atol=2e-3)
    assert found[1] is found[4], "one object an item"


def test_they_are_computed_once_and_mapped(words, tmp_path, monkeypatch):
    encoder, processor, examples = words
    first = TokenCache(tmp_path).tokens(encoder, processor, examples[:2], "text", block=2)
    asked = []
    plain = type(encoder).encode

    def counting(self, x, mask):
        asked.append(len(x))
        return plain(self, x, mask)

    monkeypatch.setattr(type(encoder), "encode", counting)
    again = TokenCache(tmp_path).tokens(encoder, processor, examples[:2], "text", block=2)
    assert not asked
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert isinstance(again[0].base, np.memmap) or isinstance(getattr(again[0].base, "base", None), np.memmap)
    told = []
    TokenCache(tmp_path).tokens(
        encoder, processor, examples, "text", block=2, progress=lambda done, all_: told.append((done, all_))
    )
    assert sum(asked) == 2, "the other two alone"
    assert told == [(2, 4), (4, 4)]


def test_a_damaged_file_is_computed_anew(words, tmp_path):
    encoder, processor, examples = words
    first = TokenCache(tmp_path).tokens(encoder, processor, examples, "text", block=2)
    (path,) = Path(tmp_path).rglob("*.safetensors")
    kept = [tokens.copy() for tokens in first]
    del first
    path.write_bytes(path.read_bytes()[:-40])
    again = TokenCache(tmp_path).tokens(encoder, processor, examples, "text", block=2)
    assert all(np.array_equal(a, b) for a, b in zip(kept, again, strict=True))


def test_patches_of_pictures(tmp_path):
    torch.manual_seed(0)
    encoder = build_image_encoder("cnn", {"size": 32, "width": 4, "dimension": 12}).eval()
    drawn = np.random.default_rng(1)
    examples = [Example(image=drawn.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(3)]
    processor = Processor(encoder.preprocess, None)
    found = TokenCache(tmp_path).tokens(encoder, processor, examples, "image", block=2)
    with torch.no_grad():
        tokens = encoder(processor(examples).image).tokens.numpy()
    assert np.allclose(np.stack(found), tokens, atol=2e-3)


def test_what_has_no_tokens_is_refused(words, tmp_path):
    vectors = VectorEncoder(dimension=3)
    with pytest.raises(InputError, match="tokens of texts: expected an encoder with a feature for each patch"):
        TokenCache(tmp_path).tokens(vectors, Processor.of(vectors, vectors), [Example(text=np.ones(3))], "text")


def test_what_float16_cannot_hold_is_named(words, tmp_path):
    encoder, processor, examples = words
    with torch.no_grad():
        encoder.layers.norm.weight.fill_(1e6)
    with pytest.raises(NonFiniteError, match="token features of a dog: .*more than 65504"):
        TokenCache(tmp_path).tokens(encoder, processor, examples, "text")
    assert not list(Path(tmp_path).rglob("*.safetensors"))

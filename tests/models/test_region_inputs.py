"""Regions in files go where token features go: into inputs, caches and TGDT, read when they are used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trees.regions import REGIONS, WIDTH, save_regions

from hashret.errors import ImageError, InputError, WidthError
from hashret.examples import Example, Pair
from hashret.methods import METHODS
from hashret.models import FeatureCache, Processor, TokenCache, Vocabulary, build_image_encoder, build_text_encoder
from hashret.models.feature_cache import digest
from hashret.models.features import TOKEN_STEP
from hashret.regions import PLACE, RegionFiles, read_regions
from hashret.training.pairs import PairTable, distinct

WIDE, SIZE = WIDTH + PLACE, (64, 48)
COUNTS = (3, REGIONS, 1)


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    """Three images of different numbers of regions."""
    for number, count in enumerate(COUNTS):
        save_regions(tmp_path, number, SIZE, regions=count)
    return [Example(image=place(tmp_path, number), key=f"{number}.jpg") for number in range(len(COUNTS))]


def place(folder: Path, number: int) -> RegionFiles:
    return RegionFiles(folder / "bu_att" / f"{number}.npz", folder / "bu_box" / f"{number}.npy", size=SIZE)


@pytest.fixture
def processor() -> Processor:
    image = build_image_encoder("tokens", {"dimension": WIDE})
    return Processor(image.preprocess, build_text_encoder(*TEXT).transform)


WORDS = Vocabulary(("a", "dog", "red"))
TEXT = ("transformer", {"size": 3, "dimension": 8, "layers": 1, "heads": 2, "length": 16}, WORDS)


def test_a_batch_holds_what_is_read_of_each(examples, processor):
    inputs = processor(examples)
    assert inputs.image.shape == (3, TOKEN_STEP, WIDE)
    assert inputs.image_mask.sum(1).tolist() == list(COUNTS)
    for row, example in enumerate(examples):
        assert inputs.image[row, : COUNTS[row]].tolist() == read_regions(example.image).tolist()
        assert not inputs.image[row, COUNTS[row] :].any()
    arrays = processor([replace(example, image=read_regions(example.image)) for example in examples])
    assert torch.equal(arrays.image, inputs.image)


def test_files_are_read_anew_each_time(examples, processor, tmp_path):
    before = processor(examples[:1]).image
    save_regions(tmp_path, 0, SIZE, regions=2)
    assert processor(examples[:1]).image_mask.sum() == 2
    Path(examples[0].image.features).unlink()
    with pytest.raises(ImageError, match="no such file"):
        processor(examples[:1])
    assert before.shape[2] == WIDE


def test_mistakes_are_named(examples, processor, tmp_path):
    with pytest.raises(InputError, match=r"'0\.jpg' with token features and 'p' with a picture or a vector"):
        processor([examples[0], Example(image=Image.new("RGB", (4, 4)), key="p")])
    with pytest.raises(WidthError, match=rf"vector of 0\.jpg: expected \(7,\), got \(3, {WIDE}\).*encoder 'tokens'"):
        Processor.of(build_image_encoder("vector", {"dimension": 7}), build_text_encoder(*TEXT))(examples)
    bare = [examples[0], Example(image=RegionFiles(examples[1].image.features), key="bare")]
    with pytest.raises(WidthError, match=f"features of bare: expected at least one token of {WIDE} values"):
        processor(bare)
    with pytest.raises(InputError, match=r"p: expected none.*data\.regions"):
        processor([Example(image=Image.new("RGB", (4, 4)), key="p")])
    narrow = build_image_encoder("tokens", {"dimension": WIDTH})
    inputs = processor(examples)
    with pytest.raises(WidthError, match=f"expected {WIDTH} values a token"):
        narrow(inputs.image, inputs.image_mask)


def test_equal_content_has_an_equal_digest(examples, tmp_path):
    own = digest(examples[0], "image")
    assert own == digest(Example(image=read_regions(examples[0].image)), "image")
    assert len({digest(example, "image") for example in examples}) == 3
    features, boxes = np.load(examples[0].image.features)["feat"], np.load(examples[0].image.boxes)
    np.savez(tmp_path / "again.npz", other=np.ones(2), feat=features.astype(np.float64))  # neither packed nor alone
    np.save(tmp_path / "again.npy", boxes)
    Image.new("RGB", SIZE).save(tmp_path / "again.png")
    again = RegionFiles(tmp_path / "again.npz", tmp_path / "again.npy", image=tmp_path / "again.png")
    assert digest(Example(image=again), "image") == own
    boxes[0, 0] += 0.5
    np.save(tmp_path / "again.npy", boxes)
    assert digest(Example(image=again), "image") != own
    Path(again.features).unlink()
    with pytest.raises(ImageError, match="no such file"):
        digest(Example(image=again), "image")


def test_caches_keep_them_by_content(examples, processor, tmp_path):
    encoder = build_image_encoder("tokens", {"dimension": WIDE})
    pooled = FeatureCache(tmp_path / "cache").features(encoder, processor, examples, "image")
    tokens = TokenCache(tmp_path / "cache").tokens(encoder, processor, examples, "image")
    for example, row, rows in zip(examples, pooled, tokens, strict=True):
        read = read_regions(example.image)
        np.testing.assert_allclose(row, read.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(rows, read.astype(np.float16))


def test_an_image_with_several_captions_is_one(examples, processor):
    pairs = [
        Pair(Example(image=replace(example.image), key=example.key), Example(text=f"a {word}"), instance=number)
        for number, example in enumerate(examples)
        for word in ("dog", "red")
    ]
    kept, numbers = distinct([pair.query for pair in pairs])
    assert [example.image for example in kept] == [example.image for example in examples]
    assert numbers.tolist() == [0, 0, 1, 1, 2, 2]
    table = PairTable(pairs, processor)
    batches = list(table.batches(METHODS["tgdt"].stages[0], table.epoch(2, 0), 1, 0))
    assert [len(batch) for batch in batches] == [2]
    assert batches[0].query.image.shape == (2, TOKEN_STEP, WIDE)


def test_tgdt_embeds_regions_and_gives_their_tokens(examples, processor):
    torch.manual_seed(0)
    kind = METHODS["tgdt"]
    sizes = {"dimension": 12, "heads": 2, "feedforward": 16, "region_width": 8, "region_layers": 1, "hash_width": 8}
    encoders = build_image_encoder("tokens", {"dimension": WIDE}), build_text_encoder(*TEXT)
    method = kind(*encoders, classes=0, words=3, options=kind.options(bits=16, **sizes)).eval()
    inputs = processor(examples)
    with torch.no_grad():
        embedded, codes, (tokens, mask) = method.embed(inputs), method.relaxed(inputs), method.tokens(inputs)
        alone = [method.embed(processor([example]))[0] for example in examples]
        texts = processor([Example(text=text) for text in ("a dog", "red", "a red dog")])
        scores = method.score(inputs, texts)
    assert (embedded.shape, codes.shape, scores.shape) == ((3, 12), (3, 16), (3,))
    assert torch.allclose(embedded.norm(dim=1), torch.ones(3), atol=1e-5)
    assert mask.sum(1).tolist() == list(COUNTS)
    assert torch.allclose(tokens[mask].norm(dim=1), torch.ones(sum(COUNTS)), atol=1e-5)
    assert torch.allclose(torch.stack(alone), embedded, atol=1e-5), "company and filling change nothing"
    assert not torch.allclose(embedded[0], embedded[1], atol=1e-3)

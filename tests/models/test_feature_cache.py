"""Frozen features are computed once, kept by content, and never depend on what was asked before."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hashret.arrayfile import read_arrays, write_arrays
from hashret.errors import FileError, ImageError, InputError, NonFiniteError, TextError
from hashret.examples import Example
from hashret.models import Encoder, FeatureCache, Features, Processor, Vocabulary, build_image_encoder
from hashret.models.bag_of_words import WordNumbers
from hashret.models.feature_cache import ROWS

REAL = Path(__file__).parents[3] / "shared"
WORDS = tuple(f"w{number}" for number in range(60))


class Counting(Encoder):
    """Sums of word vectors through a layer; remembers how many rows each call had, and fails at a given call."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.dimension = 5
        self.words, self.layer = nn.Embedding(70, 40), nn.Linear(40, 5)
        self.drop = nn.Dropout()
        self.calls: list[int] = []
        self.fails_at = -1

    def encode(self, x: Tensor, mask: Tensor | None) -> Features:
        if len(self.calls) == self.fails_at:
            raise KeyboardInterrupt
        assert mask is not None
        assert not torch.is_grad_enabled()
        self.calls.append(len(x))
        return Features(self.layer(self.drop((self.words(x) * mask[:, :, None]).sum(1))))

    def config(self) -> dict[str, Any]:
        return {"encoder": "Counting"}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Encoder:
        return cls()


def texts(*numbers: int) -> list[Example]:
    """Text n holds the words whose bits are set in n + 1."""
    return [
        Example(text=" ".join(word for bit, word in enumerate(WORDS) if number + 1 >> bit & 1)) for number in numbers
    ]


def naive(encoder: Counting, processor: Processor, examples: list[Example]) -> np.ndarray[Any, Any]:
    """Each text alone, without dropout."""
    inputs = [processor([example]) for example in examples]
    training = encoder.training
    encoder.eval()
    with torch.no_grad():
        rows = [encoder(one.text, one.text_mask).pooled[0].numpy() for one in inputs]
    encoder.train(training)
    encoder.calls.clear()
    return np.stack(rows)


@pytest.fixture
def processor() -> Processor:
    return Processor(None, WordNumbers(Vocabulary(WORDS), 64))


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


def files(cache: FeatureCache) -> list[Path]:
    return sorted(cache.folder.rglob("*.safetensors"))


def test_the_second_call_runs_no_network_and_gives_the_same_bits(cache, processor) -> None:
    encoder, examples = Counting(), texts(*range(37))
    expected = naive(encoder, processor, examples)
    first = cache.features(encoder, processor, examples, "text")
    assert encoder.calls == [16, 16, 16]
    assert first.dtype == np.float32
    assert np.allclose(first, expected, atol=1e-5)
    again = FeatureCache(cache.folder).features(encoder, processor, examples[::-1], "text")
    assert encoder.calls == [16, 16, 16]
    assert np.array_equal(again[::-1], first)
    assert encoder.training


def test_texts_of_one_length_share_a_block(cache, processor) -> None:
    """Short and long texts in turn: each length fills its blocks, instead of half of every block being repeats."""
    encoder = Counting()
    mixed = [Example(text=" ".join(WORDS[number : number + (1, 20)[number % 2]])) for number in range(32)]
    found = cache.features(encoder, processor, mixed, "text", block=8)
    assert encoder.calls == [8] * 4
    assert np.allclose(found, naive(encoder, processor, mixed), atol=1e-6)


def test_duplicates_and_known_items_are_not_computed_again(cache, processor) -> None:
    encoder = Counting()
    first = cache.features(encoder, processor, texts(*range(16), *range(16), 3, 3), "text")
    assert encoder.calls == [16]
    assert np.array_equal(first[:16], first[16:32])
    assert np.array_equal(first[3], first[33])
    more = cache.features(encoder, processor, texts(20, *range(16), 21, 20), "text")
    assert encoder.calls == [16, 16]
    assert np.array_equal(more[1:17], first[:16])
    assert np.array_equal(more[0], more[18])
    assert np.allclose(more, naive(encoder, processor, texts(20, *range(16), 21, 20)), atol=1e-5)


def test_what_was_asked_before_changes_no_bit(processor, tmp_path) -> None:
    encoder, order = Counting(), np.random.default_rng(0).permutation(90)
    whole = FeatureCache(tmp_path / "a").features(encoder, processor, texts(*range(90)), "text")
    parts = FeatureCache(tmp_path / "b")
    for start in range(0, 90, 7):
        rows = order[start : start + 7]
        assert np.array_equal(parts.features(encoder, processor, texts(*rows), "text"), whole[rows])
    assert len(files(parts)) == 13
    encoder.calls.clear()
    assert np.array_equal(parts.features(encoder, processor, texts(*range(90)), "text"), whole)
    assert encoder.calls == []


def test_every_file_is_looked_into(cache, processor) -> None:
    encoder = Counting()
    halves = [cache.features(encoder, processor, texts(*part), "text") for part in (range(8), range(8, 16))]
    assert len(files(cache)) == 2
    encoder.calls.clear()
    assert np.array_equal(cache.features(encoder, processor, texts(*range(16)), "text"), np.concatenate(halves))
    assert encoder.calls == []


def test_other_weights_preparation_or_blocks_are_other_features(cache, processor) -> None:
    encoder, examples = Counting(), texts(1, 2, 3)
    first = cache.features(encoder, processor, examples, "text")
    assert not np.allclose(cache.features(Counting(seed=1), processor, examples, "text"), first)
    short = Processor(None, WordNumbers(Vocabulary(WORDS), 1))
    assert not np.allclose(cache.features(encoder, short, examples, "text"), first)
    cache.features(encoder, processor, examples, "text", block=4)
    assert encoder.calls == [16, 16, 4]
    assert len({path.parent for path in files(cache)}) == 4
    with torch.no_grad():
        encoder.layer.bias[2] += 1
    assert np.allclose(cache.features(encoder, processor, examples, "text") - first, [0, 0, 1, 0, 0], atol=1e-5)


def test_a_stopped_run_loses_at_most_one_file(cache, processor) -> None:
    encoder, examples = Counting(), texts(*range(ROWS + 40))
    encoder.fails_at = ROWS // 16 + 1
    seen: list[tuple[int, int]] = []
    with pytest.raises(KeyboardInterrupt):
        cache.features(encoder, processor, examples, "text", progress=lambda done, of: seen.append((done, of)))
    assert len(files(cache)) == 1
    assert seen == [(0, ROWS + 40), (ROWS, ROWS + 40)]
    encoder.fails_at, encoder.calls, seen[:] = -1, [], []
    result = cache.features(encoder, processor, examples, "text", progress=lambda done, of: seen.append((done, of)))
    assert encoder.calls == [16, 16, 16]
    assert seen == [(ROWS, ROWS + 40), (ROWS + 40, ROWS + 40)]
    assert np.allclose(result, naive(encoder, processor, examples), atol=1e-5)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "header", "empty", "other kind", "other shapes"])
def test_a_damaged_file_is_computed_again_and_replaced(damage, cache, processor) -> None:
    encoder, examples = Counting(), texts(*range(20))
    first = cache.features(encoder, processor, examples, "text")
    (path,) = files(cache)
    whole = path.read_bytes()
    if damage == "other kind":
        write_arrays(path, {"digests": np.zeros((1, 16), np.uint8)}, kind="something/1")
    elif damage == "other shapes":
        digests = np.zeros((2, 16), np.uint8)
        write_arrays(path, {"digests": digests, "features": np.zeros((3, 5), np.float32)}, kind="hashret.features/1")
    else:
        flipped = bytearray(whole)
        flipped[whole.index(b"features", 8) if damage == "header" else -7] ^= 64
        path.write_bytes({"truncated": whole[:-9], "empty": b""}.get(damage, bytes(flipped)))
    assert path.read_bytes() != whole
    encoder.calls.clear()
    assert np.array_equal(cache.features(encoder, processor, examples, "text"), first)
    assert encoder.calls == [16, 16]
    (again,) = files(cache)
    arrays, _ = read_arrays(again, kind="hashret.features/1")
    assert (again.name, len(again.read_bytes())) == (path.name, len(whole))
    assert np.array_equal(np.sort(arrays["features"], axis=0), np.sort(first, axis=0))


def test_images_are_known_by_their_content(cache, tmp_path) -> None:
    encoder = build_image_encoder("cnn", {"size": 16, "width": 2, "dimension": 4})
    reader, calls = Processor(encoder.preprocess, None), []
    encoder.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[func-returns-value]
    one, other = (Image.new("RGB", (9, 9), colour) for colour in ("red", "blue"))
    for name, picture in (("a.png", one), ("b.png", one), ("c.png", other)):
        picture.save(tmp_path / name)
    paths = [Example(image=tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    first = cache.features(encoder, reader, paths, "image")
    assert np.array_equal(first[0], first[1])
    assert not np.allclose(first[0], first[2])
    (tmp_path / "c.png").rename(tmp_path / "d.png")
    other.save(tmp_path / "a.png")
    renamed = cache.features(encoder, reader, [Example(image=tmp_path / "d.png"), paths[0]], "image")
    assert np.array_equal(renamed, first[[2, 2]])
    assert len(calls) == 1
    arrays = [Example(image=np.asarray(picture)) for picture in (one, other, one)]
    assert np.array_equal(cache.features(encoder, reader, arrays, "image"), first[[0, 2, 0]])
    pictures = [Example(image=picture, text="a composed query") for picture in (one, other)]
    assert np.array_equal(cache.features(encoder, reader, pictures, "image"), first[[0, 2]])
    assert len(calls) == 2


def test_a_checkpoint_is_known_wherever_it_lies(cache, checkpoints, copied, pictures) -> None:
    examples = [Example(image=picture) for picture in pictures]
    for folder in (checkpoints("vit"), copied("vit")):
        encoder = build_image_encoder("transformers", {"checkpoint": str(folder)})
        cache.features(encoder, Processor(encoder.preprocess, None), examples, "image")
    assert len(files(cache)) == 1


def test_mistakes_are_named(processor, tmp_path, cache) -> None:
    encoder = Counting()
    with pytest.raises(InputError, match="example p: expected one with image, got none"):
        cache.features(encoder, processor, [Example(text="w1", key="p")], "image")
    with pytest.raises(ImageError, match=r"no\.png: expected a file that can be read, got no such file"):
        cache.features(encoder, processor, [Example(image=tmp_path / "no.png")], "image")
    with pytest.raises(TextError, match="expected words, got 7"):
        cache.features(encoder, processor, [Example(text=7)], "text")  # type: ignore[arg-type]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="a folder that can be made"):
        FeatureCache(tmp_path / "file").features(encoder, processor, texts(1), "text")
    with torch.no_grad():
        encoder.words.weight[2 + 1] = float("nan")
    with pytest.raises(NonFiniteError, match="features of w0 w1: .* NaN or infinity from the encoder"):
        cache.features(encoder, processor, texts(0, 2), "text")
    assert files(cache) == []


def test_no_examples_are_no_rows(cache, processor) -> None:
    assert cache.features(Counting(), processor, [], "text").shape == (0, 5)


def test_the_folder_follows_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("HASHRET_CACHE", raising=False)
    assert FeatureCache().folder == tmp_path / "hashret"
    monkeypatch.setenv("HASHRET_CACHE", "/else")
    assert FeatureCache().folder == Path("/else")
    assert FeatureCache("given").folder == Path("given")


def test_two_processes_share_a_folder(tmp_path) -> None:
    program = (
        "import sys, numpy as np, torch\n"
        "torch.set_num_threads(1)\n"
        "from hashret.models import FeatureCache, Processor, build_image_encoder\n"
        "from hashret.examples import Example\n"
        "torch.manual_seed(0)\n"
        "encoder = build_image_encoder('cnn', {'size': 16, 'width': 2, 'dimension': 4})\n"
        "chance = np.random.default_rng(0)\n"
        "examples = [Example(image=chance.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(200)]\n"
        "cache, processor = FeatureCache(sys.argv[1]), Processor(encoder.preprocess, None)\n"
        "for stop in range(20, 201, 20):\n"
        "    rows = cache.features(encoder, processor, examples[:stop], 'image')\n"
        "print(rows.astype(float).sum(), len(rows))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in running]
    assert [error for _, error in said] == ["", ""]
    assert said[0][0] == said[1][0]
    assert said[0][0].split()[1] == "200"


def test_real_photos_give_the_checkpoints_features(tmp_path) -> None:
    checkpoint = REAL / "models" / "mobilenet_v2_imagenet"
    photos = sorted((REAL / "data" / "flickr8k").rglob("*.jpg"))[:5]
    if not checkpoint.is_dir() or len(photos) < 5:
        pytest.skip("the ImageNet MobileNetV2 checkpoint or the Flickr8k photos are not beside this checkout")
    from transformers import AutoImageProcessor, AutoModel

    encoder = build_image_encoder("transformers", {"checkpoint": str(checkpoint)})
    reader, side = Processor(encoder.preprocess, None), "image"
    examples = [Example(image=photo) for photo in photos]
    ours = FeatureCache(tmp_path).features(encoder, reader, examples, side, block=5)
    x = AutoImageProcessor.from_pretrained(checkpoint)(
        images=[Image.open(photo) for photo in photos], return_tensors="pt"
    )
    with torch.no_grad():
        theirs = AutoModel.from_pretrained(checkpoint).float().eval()(**x).pooler_output.numpy()
    assert ours.shape == (5, 1280)
    assert encoder.nonnegative
    assert ours.min() >= 0
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() > 0.999

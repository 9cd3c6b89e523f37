"""What several rooms share: tiny transformers checkpoints with random weights, made here, and pictures to encode."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is loaded

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

SIZE = 32
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "green", "dog", "cat", "runs", "sleeps", "on", "the", "grass")

_BLOCK = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_SIGHT = {**_BLOCK, "image_size": SIZE, "patch_size": 8}
_READING = {**_BLOCK, "vocab_size": len(WORDS), "max_position_embeddings": 20, "pad_token_id": 0}
_ENDS = {"bos_token_id": 2, "eos_token_id": 3}
_SQUARE = {"height": SIZE, "width": SIZE}


def _models() -> dict[str, Callable[[], torch.nn.Module]]:
    import transformers as t

    return {
        "clip": lambda: t.CLIPModel(
            t.CLIPConfig(
                text_config={**_READING, **_ENDS, "projection_dim": 12},
                vision_config={**_SIGHT, "projection_dim": 12},
                projection_dim=12,
            )
        ),
        "siglip": lambda: t.SiglipModel(t.SiglipConfig(text_config={**_READING, **_ENDS}, vision_config=_SIGHT)),
        "vit": lambda: t.ViTModel(t.ViTConfig(**_SIGHT)),
        "vit-without-pooler": lambda: t.ViTModel(t.ViTConfig(**_SIGHT), add_pooling_layer=False),
        "mobilenet": lambda: t.MobileNetV2Model(t.MobileNetV2Config(image_size=SIZE, depth_multiplier=0.25)),
        "resnet": lambda: t.ResNetModel(
            t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        ),
        "bert": lambda: t.BertModel(t.BertConfig(**_READING)),
        "bert-without-pooler": lambda: t.BertModel(t.BertConfig(**_READING), add_pooling_layer=False),
        "distilbert": lambda: t.DistilBertModel(
            t.DistilBertConfig(vocab_size=len(WORDS), dim=16, hidden_dim=32, n_layers=1, n_heads=2, pad_token_id=0)
        ),
        "t5": lambda: t.T5Model(
            t.T5Config(vocab_size=len(WORDS), d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
        ),
    }


def _as_if_trained(model: torch.nn.Module) -> None:
    """Give biases values and moving statistics a network's own; fresh ones are 0 and would hide mistakes."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.2, 1.2)
    norms = [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            model.train()(pixel_values=torch.rand(16, 3, SIZE, SIZE))
    model.eval()


def _save_processor(kind: str, folder: Path) -> None:
    import transformers as t

    if kind == "clip":
        t.CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size=_SQUARE).save_pretrained(folder)
    elif kind == "siglip":
        t.SiglipImageProcessor(size=_SQUARE).save_pretrained(folder)
    else:
        t.ViTImageProcessor(size=_SQUARE).save_pretrained(folder)


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Kind of model -> folder of a whole checkpoint, or "run", of a saved model; made once, never changed."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            torch.manual_seed(0)
            folder = tmp_path_factory.mktemp(kind)
            if kind == "run":
                from saved_model import saved_model

                made[kind] = saved_model(folder)
                return made[kind]
            model = _models()[kind]()
            _as_if_trained(model)
            model.save_pretrained(folder)
            _save_processor(kind, folder)
            _save_tokenizer(folder)
            made[kind] = folder
        return made[kind]

    return make


@pytest.fixture
def copied(checkpoints: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Kind of model -> folder of a checkpoint that a test may delete."""

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(checkpoints(kind), tmp_path / f"checkpoint-{kind}"))

    return copy


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Five pictures of several shapes."""
    chance = np.random.default_rng(0)
    sizes = [(40, 33), (SIZE, SIZE), (50, 90), (64, 48), (33, 40)]
    return [Image.fromarray(chance.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in sizes]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors on a busy machine: threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright; tests that need it are skipped where it is not installed."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()

"""Every image encoder of the table keeps the contract; the checkpoints' features are those of the models themselves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from saved_model import saved_model

from hashret.errors import FileError, FormatError, InputError
from hashret.examples import Example
from hashret.models import IMAGE_ENCODERS, Encoder, Processor, build_image_encoder, encoder_from_config
from hashret.models.image import SmallCNN, TorchvisionImage
from hashret.models.processor import CheckpointPixels, Pixels

Checkpoints = Callable[[str], Path]
KINDS = ("clip", "siglip", "vit", "vit-without-pooler", "mobilenet", "resnet")

# Options of one small example of each entry; an entry without one fails its tests.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "cnn": [{"size": 32, "width": 4, "dimension": 12}, {"size": 40, "width": 4, "residual": True, "pool": "places"}],
    "tokens": [{"dimension": 7}],
    "torchvision": [{"architecture": "resnet18", "size": 32}],
    "trained": [{"run": "cnn"}],
    "transformers": [{"checkpoint": kind} for kind in KINDS],
    "vector": [{"dimension": 7, "nonnegative": True}],
}
CASES = [(name, options) for name in IMAGE_ENCODERS for options in OPTIONS.get(name, [{}])]


def build(name: str, options: dict[str, Any], copied: Checkpoints) -> tuple[Encoder, Path | None]:
    if "run" in options:
        folder = saved_model(copied("mobilenet") / "run")
        return build_image_encoder(name, {"run": str(folder)}).eval(), folder
    folder = copied(options["checkpoint"]) if "checkpoint" in options else None
    return build_image_encoder(name, {**options, "checkpoint": str(folder)} if folder else options).eval(), folder


@pytest.mark.parametrize(
    ("name", "options"), CASES, ids=lambda case: case if isinstance(case, str) else str([*case.values()])
)
def test_the_contract_of_every_image_encoder(name, options, copied, pictures, tmp_path) -> None:
    encoder, folder = build(name, options, copied)
    given = {"vector": torch.rand(5, encoder.dimension).numpy(), "tokens": torch.rand(5, 3, encoder.dimension).numpy()}
    examples = [Example(image=image) for image in given.get(name, pictures)]
    processor = Processor(encoder.preprocess, None)
    inputs = processor(examples)
    with torch.no_grad():
        features = encoder(inputs.image, inputs.image_mask)
    assert features.pooled.shape == (5, encoder.dimension)
    assert features.pooled.dtype == torch.float32
    assert not torch.equal(features.pooled[0], features.pooled[1])
    assert (features.pooled.min() >= 0) or not encoder.nonnegative
    assert encoder(features.pooled).pooled is features.pooled
    if encoder.token_dimension:
        assert features.tokens is not None
        assert features.tokens.shape[0::2] == (5, encoder.token_dimension)
    else:
        assert features.tokens is None
    assert encoder.pretrained == (name == "transformers")
    with pytest.raises(InputError, match="pooled features float"):
        encoder(torch.ones(2, 3, dtype=torch.int64))

    saved = json.loads(json.dumps(encoder.config()))
    processor.save(tmp_path / "run")
    if folder:
        shutil.rmtree(folder)
    torch.manual_seed(1)
    rebuilt = encoder_from_config(saved).eval()
    rebuilt.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        again = rebuilt(Processor.load(tmp_path / "run")(examples).image, inputs.image_mask)
    assert torch.equal(again.pooled, features.pooled)
    assert rebuilt.config() == encoder.config()
    for fact in ("dimension", "token_dimension", "nonnegative", "pretrained"):
        assert getattr(rebuilt, fact) == getattr(encoder, fact)
    assert rebuilt.preprocess == encoder.preprocess


def test_unknown_names_are_refused() -> None:
    with pytest.raises(
        InputError, match="expected one of cnn, tokens, torchvision, trained, transformers, vector, got 'resnet'"
    ):
        build_image_encoder("resnet", {})
    with pytest.raises(FormatError, match="got 'Resnet'"):
        encoder_from_config({"encoder": "Resnet"})
    with pytest.raises(InputError, match="dimension: expected >= 1, got 0"):
        build_image_encoder("vector", {"dimension": 0})


# What the whole model itself says about the pixels x: pooled features and tokens.
def _embedding(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def _whole(model: Any, x: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    if kind in ("clip", "siglip"):
        first = 1 if kind == "clip" else 0  # [CLS] is no patch
        return _embedding(model.get_image_features(x)), model.vision_model(x).last_hidden_state[:, first:]
    output = model(x)
    if kind == "vit-without-pooler":
        return output.last_hidden_state[:, 0], output.last_hidden_state[:, 1:]
    states = output.last_hidden_state[:, 1:] if kind == "vit" else output.last_hidden_state
    if states.ndim == 4:  # every place of the map is a token, row by row
        places = [states[:, :, row, column] for row in range(states.shape[2]) for column in range(states.shape[3])]
        states = torch.stack(places, 1)
    return output.pooler_output.reshape(len(x), -1), states


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoint_features_are_the_models_own(kind, checkpoints, pictures) -> None:
    from transformers import AutoImageProcessor, AutoModel

    encoder = build_image_encoder("transformers", {"checkpoint": str(checkpoints(kind))})
    x = Processor(encoder.preprocess, None)([Example(image=picture) for picture in pictures]).image
    assert x is not None
    theirs = AutoImageProcessor.from_pretrained(checkpoints(kind))(images=pictures, return_tensors="pt")["pixel_values"]
    assert (x - theirs).abs().mean() < 0.01  # it resizes with torch, which rounds some pixels to the next level
    with torch.no_grad():
        pooled, tokens = _whole(AutoModel.from_pretrained(checkpoints(kind)).eval(), x, kind)
        features = encoder.eval()(x)
    assert torch.allclose(features.pooled, pooled, atol=2e-4)  # sums in another order, through up to 50 layers
    assert features.tokens is not None
    assert torch.allclose(features.tokens, tokens, atol=2e-4)
    assert features.pooled.std() > 1e-3
    assert encoder.nonnegative == (kind in ("mobilenet", "resnet"))


def test_checkpoint_pixels_are_exactly_those_of_its_processor(copied, pictures) -> None:
    from transformers import CLIPImageProcessorPil, ViTImageProcessorPil

    square, cut = {"height": 32, "width": 32}, {"height": 24, "width": 24}
    processors = {
        "cut": (CLIPImageProcessorPil(size={"shortest_edge": 33}, crop_size=cut), Pixels),
        "squeezed": (ViTImageProcessorPil(size=square, resample=3, image_mean=[0.1, 0.2, 0.3]), Pixels),
        "oblong": (ViTImageProcessorPil(size={"height": 32, "width": 48}), CheckpointPixels),
        "not normalised": (ViTImageProcessorPil(size=square, do_normalize=False), CheckpointPixels),
        "scaled otherwise": (ViTImageProcessorPil(size=square, rescale_factor=1 / 127.5), CheckpointPixels),
    }
    folder = copied("resnet")
    for processor, kind in processors.values():
        processor.save_pretrained(folder)
        encoder = build_image_encoder("transformers", {"checkpoint": str(folder)})
        assert type(encoder.preprocess) is kind
        for picture in pictures:
            expected = processor(images=picture, return_tensors="pt")["pixel_values"][0]
            assert torch.allclose(encoder.preprocess(picture), expected, atol=1e-5)


def test_a_checkpoint_loads_the_same_twice(checkpoints) -> None:
    one, other = (
        build_image_encoder("transformers", {"checkpoint": str(checkpoints("vit-without-pooler"))}) for _ in "ab"
    )
    assert list(one.state_dict()) == list(other.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_half_precision_checkpoints_become_single(checkpoints, pictures, tmp_path) -> None:
    from transformers import AutoModel

    shutil.copytree(checkpoints("mobilenet"), tmp_path, dirs_exist_ok=True)
    AutoModel.from_pretrained(tmp_path).half().save_pretrained(tmp_path)
    encoder = build_image_encoder("transformers", {"checkpoint": str(tmp_path)})
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert encoder_from_config(encoder.config()).state_dict().keys() == encoder.state_dict().keys()
    assert next(encoder_from_config(encoder.config()).parameters()).dtype == torch.float32


def test_checkpoints_that_are_none_are_refused(copied, tmp_path) -> None:
    with pytest.raises(FileError, match="expected a transformers checkpoint"):
        build_image_encoder("transformers", {"checkpoint": str(tmp_path / "nowhere")})
    with pytest.raises(InputError, match="an encoder of images, CLIP or SigLIP, got a t5 model"):
        build_image_encoder("transformers", {"checkpoint": str(copied("t5"))})
    blind = copied("vit")
    (blind / "preprocessor_config.json").unlink()
    with pytest.raises(FileError, match="expected an image processor"):
        build_image_encoder("transformers", {"checkpoint": str(blind)})
    torn = copied("mobilenet")
    from safetensors.torch import load_file, save_file

    state = load_file(torn / "model.safetensors")
    state.pop(max(state))
    save_file(state, torn / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FormatError, match="all weights of MobileNetV2Model, got 1 missing"):
        build_image_encoder("transformers", {"checkpoint": str(torn)})
    (torn / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    with pytest.raises(FileError, match="no-such-model"):
        build_image_encoder("transformers", {"checkpoint": str(torn)})


def test_a_config_of_another_version_is_refused(checkpoints) -> None:
    config = build_image_encoder("transformers", {"checkpoint": str(checkpoints("vit"))}).config()
    for name in ("NoSuchModel", "AutoTokenizer"):
        with pytest.raises(FormatError, match=f"got {name}"):
            encoder_from_config({**config, "class": name})


def test_the_small_network_pools_mean_and_maximum() -> None:
    torch.manual_seed(0)
    encoder = SmallCNN(size=48, width=4, dimension=10).eval()
    features = encoder(torch.randn(2, 3, 48, 48))
    assert features.tokens is not None
    assert features.tokens.shape == (2, 9, 10)
    for item in range(2):
        for channel in range(10):
            values = [features.tokens[item, place, channel].item() for place in range(9)]
            expected = (sum(values) / 9 + max(values)) / 2
            assert features.pooled[item, channel].item() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(InputError, match="size: expected >= 16, got 8"):
        SmallCNN(size=8)


def test_the_small_network_keeps_places() -> None:
    """What it is as a whole comes first, then the grid, place after place; each scale adds what it makes of itself."""
    torch.manual_seed(0)
    encoder = SmallCNN(size=40, width=4, dimension=10, residual=True, pool="places").eval()
    for layer in encoder.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
    x = torch.randn(2, 3, 40, 40)
    features = encoder(x)
    assert features.tokens is not None
    assert (encoder.dimension, encoder.token_dimension) == (100, 10)
    assert torch.equal(features.pooled[:, :10], (features.tokens.mean(1) + features.tokens.amax(1)) / 2)
    assert torch.equal(features.pooled[:, 10:].view(2, 9, 10), features.tokens)

    weights = encoder.state_dict()
    expected = x
    for scale in range(4):
        for name, stride in ((f"layers.{4 * scale}", 2), (f"layers.{4 * scale + 3}.layers.0", 1)):
            own, norm = expected, f"{name[:-1]}{int(name[-1]) + 1}" if stride == 1 else f"layers.{4 * scale + 1}"
            expected = torch.nn.functional.conv2d(own, weights[f"{name}.weight"], stride=stride, padding=1)
            mean, variance, slope, shift = (
                weights[f"{norm}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
            )
            expected = (expected - mean) / (variance + 1e-5).sqrt() * slope + shift
            expected = (expected if stride == 2 else own + expected).relu()
    torch.testing.assert_close(features.tokens, expected.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"pixels float \(B, 3, 40, 40\)"):
        encoder(torch.randn(2, 3, 48, 48))


def test_a_small_network_saved_before_there_was_a_choice() -> None:
    encoder = encoder_from_config({"encoder": "SmallCNN", "size": 32, "width": 4, "dimension": 6})
    assert encoder.config() == SmallCNN(size=32, width=4, dimension=6).config()
    assert (encoder.dimension, len(encoder.layers)) == (6, 12)  # a convolution, its norm and its ReLU at four scales


def test_the_small_network_learns_small_shapes() -> None:
    """Red square somewhere, or green, or both: one linear layer over the pooled features tells them apart."""
    torch.manual_seed(0)
    encoder, head = SmallCNN(size=32, width=8, dimension=32), torch.nn.Linear(32, 2)
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
    mean, std = 0.5, 0.25

    def batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, labels = torch.full((number, 3, 32, 32), 0.5), torch.randint(0, 2, (number, 2))
        for item in range(number):
            for colour in range(2):
                if labels[item, colour]:
                    row, column = torch.randint(0, 26, (2,)).tolist()
                    x[item, :, row : row + 6, column : column + 6] = 0
                    x[item, colour, row : row + 6, column : column + 6] = 1
        return (x - mean) / std, labels.float()

    for _ in range(40):
        x, labels = batch(32)
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(head(encoder(x).pooled), labels).backward()
        optimiser.step()
    x, labels = batch(200)
    with torch.no_grad():
        right = ((head(encoder.eval()(x).pooled) > 0) == (labels > 0)).float().mean()
    assert right > 0.9  # chance is 0.5; a square drawn over the other may hide it


def test_vgg_keeps_the_layers_hashing_papers_use() -> None:
    with torch.device("meta"):
        encoder = TorchvisionImage(architecture="vgg19_bn")
    kept = encoder.model.classifier
    assert [type(layer).__name__ for layer in kept] == ["Linear", "ReLU", "Dropout", "Linear", "ReLU"]
    assert (encoder.dimension, encoder.nonnegative, encoder.pretrained) == (4096, True, False)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in encoder.modules()) == 16


@pytest.mark.parametrize(
    ("architecture", "dimension", "nonnegative"),
    [
        ("alexnet", 4096, True),
        ("convnext_tiny", 768, False),
        ("densenet121", 1024, True),
        ("efficientnet_b0", 1280, False),
        ("mobilenet_v2", 1280, True),
        ("mobilenet_v3_small", 1024, False),
        ("resnet18", 512, True),
        ("swin_t", 768, False),
        ("vit_b_16", 768, False),
    ],
)
def test_every_family_loses_its_head(architecture, dimension, nonnegative) -> None:
    with torch.device("meta"):
        encoder = TorchvisionImage(architecture=architecture)
    assert (encoder.dimension, encoder.nonnegative) == (dimension, nonnegative)


def test_torchvision_features_are_what_the_head_would_read(tmp_path) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    whole = resnet18(num_classes=7).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    encoder = TorchvisionImage(architecture="resnet18", weights=str(tmp_path / "whole.pth"), size=64).eval()
    assert encoder.pretrained
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(whole.fc(encoder(x).pooled), whole(x), atol=1e-5)


def test_torchvision_mistakes_are_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"got 'vgg19bn'. Did you mean vgg19_bn"):
        build_image_encoder("torchvision", {"architecture": "vgg19bn"})
    with pytest.raises(InputError, match=r"got 'zzz'. Did you mean vgg19_bn, resnet50"):
        build_image_encoder("torchvision", {"architecture": "zzz"})
    with torch.device("meta"):
        with pytest.raises(InputError, match="ends in a linear classifier, got squeezenet1_1"):
            TorchvisionImage(architecture="squeezenet1_1")
        with pytest.raises(InputError, match="size: expected one that vit_b_16 takes, got 64"):
            TorchvisionImage(architecture="vit_b_16", size=64)
    small = {"architecture": "resnet18", "size": 32}
    with pytest.raises(FileError, match=r"weights .*none\.pth: expected a state dict"):
        build_image_encoder("torchvision", {**small, "weights": str(tmp_path / "none.pth")})
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(FormatError, match="expected a state dict of resnet18"):
        build_image_encoder("torchvision", {**small, "weights": str(tmp_path / "text.pth")})
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "part.pth")
    with pytest.raises(FormatError, match=r"got none for bn1\.weight"):
        build_image_encoder("torchvision", {**small, "weights": str(tmp_path / "part.pth")})


def test_torchvision_pixels_are_cut_from_the_middle_as_torchvision_does() -> None:
    from torchvision.transforms import functional

    encoder = TorchvisionImage(architecture="resnet18", size=56)
    assert encoder.preprocess is not None
    chance = torch.Generator().manual_seed(0)
    for high, wide in ((90, 70), (80, 160), (64, 64)):
        noise = torch.randint(0, 256, (high, wide, 3), dtype=torch.uint8, generator=chance)
        picture = Image.fromarray(noise.numpy())
        cut = functional.center_crop(functional.resize(picture, [64]), [56])
        expected = functional.normalize(functional.to_tensor(cut), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        assert torch.allclose(encoder.preprocess(picture), expected, atol=1e-5)

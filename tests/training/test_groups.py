"""Learning rates by layer: encoders slower than heads, lower layers slower than higher ones, still where it is 0."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hashret.methods import METHODS
from hashret.models import build_image_encoder, build_text_encoder, fit_vocabulary
from hashret.models.depths import layer_depths
from hashret.training.groups import parameter_groups

KIND = METHODS["icone"]
CONTRASTIVE = next(stage for stage in KIND.stages if stage.name == "contrastive")


def build():
    torch.manual_seed(0)
    options = {"size": 20, "dimension": 8, "layers": 3, "heads": 2, "length": 18}
    text = build_text_encoder("transformer", options, fit_vocabulary("transformer", options, ["a dog", "a cat"]))
    image = build_image_encoder("cnn", {"size": 32, "width": 4, "dimension": 12})
    options = KIND.options(bits=8, dimension=8, width=8, hash_width=8)
    return KIND(image, text, classes=0, words=2, options=options, instances=4)


def rates(method, settings):
    groups = parameter_groups(method, CONTRASTIVE, CONTRASTIVE.turns[0], settings)
    return {id(parameter): group["lr"] for group in groups for parameter in group["params"]}


def test_layers_of_an_encoder_learn_at_their_own_rates():
    method = build()
    settings = replace(KIND.settings["contrastive"], lr=1e-3, encoder_lr=1e-4, layer_decay=0.5)
    found = rates(method, settings)
    for place, expected in enumerate([2.5e-5, 5e-5, 1e-4]):
        for parameter in method.text.layers.layers[place].parameters():
            assert found[id(parameter)] == pytest.approx(expected)
    assert found[id(method.text.words.weight)] == pytest.approx(1.25e-5)
    assert found[id(method.text.layers.norm.weight)] == pytest.approx(1e-4)
    assert {found[id(parameter)] for parameter in method.image_head.parameters()} == {1e-3}
    assert len(found) == sum(1 for _ in method.parameters()) - sum(1 for _ in method.hash.parameters())


def test_without_a_decay_there_are_two_groups():
    method = build()
    groups = parameter_groups(method, CONTRASTIVE, CONTRASTIVE.turns[0], KIND.settings["contrastive"])
    assert [group["lr"] for group in groups] == [1e-3, 1e-5]
    assert [group["initial_lr"] for group in groups] == [1e-3, 1e-5]


def test_encoders_at_rate_0_are_still():
    method = build()
    settings = replace(KIND.settings["contrastive"], encoder_lr=0)
    found = rates(method, settings)
    assert not {id(parameter) for parameter in method.text.parameters()} & set(found)
    method.prepare(CONTRASTIVE, encoders=False)
    assert not any(parameter.requires_grad for parameter in method.text.parameters())
    assert not method.image.layers[1].training
    assert all(parameter.requires_grad for parameter in method.image_head.parameters())


def test_an_encoder_without_layers_is_one():
    flat = nn.Linear(2, 2)
    assert set(layer_depths(flat).values()) == {0}

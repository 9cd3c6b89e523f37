"""Stacks of linear layers, against the same written out by hand."""

import pytest
import torch
from torch import nn

from hashret.errors import InputError
from hashret.models import HashLayer, mlp
from hashret.models.heads import StandardTokens


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(("name", "activation"), [("tanh", torch.tanh), ("relu", torch.relu)])
def test_a_stack_is_its_layers_one_after_the_other(name, activation, last) -> None:
    network = mlp([5, 7, 6, 3], name, last=last)
    x = torch.randn(4, 5)
    expected = x
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    for place, layer in enumerate(linears):
        expected = expected @ layer.weight.T + layer.bias
        if place < 2 or last:
            expected = activation(expected)
    assert [tuple(layer.weight.shape) for layer in linears] == [(7, 5), (6, 7), (3, 6)]
    assert torch.allclose(network(x), expected, atol=1e-6)


def test_dropout_stands_at_the_input_and_only_in_training() -> None:
    network = mlp([1000, 1], "relu", last=False, dropout=0.3)
    assert isinstance(network[0], nn.Dropout)
    nn.init.ones_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    x = torch.ones(1, 1000)
    assert network.eval()(x).item() == pytest.approx(1000)
    torch.manual_seed(0)
    kept = network.train()(x).item() * 0.7
    assert kept == pytest.approx(700, abs=60)
    assert kept != pytest.approx(1000)


def test_hidden_dropout_stands_between_layers_and_only_in_training() -> None:
    network = mlp([1, 1000, 1], "relu", last=False, hidden_dropout=0.3)
    assert [type(layer) for layer in network] == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    for layer in (network[0], network[3]):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.ones(1, 1)
    assert network.eval()(x).item() == pytest.approx(1000)
    torch.manual_seed(0)
    kept = network.train()(x).item() * 0.7
    assert kept == pytest.approx(700, abs=60)
    assert kept != pytest.approx(1000)
    assert not any(isinstance(layer, nn.Dropout) for layer in mlp([3, 2], "relu", last=True, hidden_dropout=0.3))


def test_too_few_or_impossible_sizes_are_refused() -> None:
    for sizes in ([], [4], [4, 0]):
        with pytest.raises(InputError, match="two widths or more"):
            mlp(sizes, "tanh", last=True)


def test_the_hash_layer_is_dropout_and_three_linear_layers_with_tanh() -> None:
    layer = HashLayer(10, bits=12, hidden=6)
    assert [type(part).__name__ for part in layer.layers] == ["Dropout"] + ["Linear", "Tanh"] * 3
    assert [tuple(part.weight.shape) for part in layer.layers if isinstance(part, nn.Linear)] == [
        (6, 10),
        (6, 6),
        (12, 6),
    ]
    assert layer.layers[0].p == 0.3
    codes = layer(100 * torch.randn(50, 10))
    assert codes.shape == (50, 12)
    assert codes.abs().max() <= 1
    assert HashLayer(4, 8).layers[1].out_features == 512


def test_standard_tokens_are_those_of_loops():
    """In training by the tokens of the batch that are some, afterwards by the running means; filling counts nowhere."""
    layer, tokens = StandardTokens(3), torch.rand(4, 5, 3) * torch.tensor([1.0, 100.0, 0.01]) + 7
    mask = torch.arange(5)[None] < torch.tensor([5, 2, 1, 3])[:, None]
    rows = [tokens[i, j] for i in range(4) for j in range(5) if mask[i, j]]
    mean = sum(rows) / len(rows)
    variance = sum((row - mean) ** 2 for row in rows) / len(rows)
    expected = (tokens - mean) / (variance + layer.layer.eps).sqrt()
    assert torch.allclose(layer(tokens, mask), expected * mask[..., None], atol=1e-3)
    layer.eval()
    running, spread = layer.layer.running_mean, layer.layer.running_var
    expected = (tokens - running) / (spread + layer.layer.eps).sqrt()
    assert torch.allclose(layer(tokens, mask), expected * mask[..., None], atol=1e-3)

"""The two levels' weights add up to two, whatever moves them, and begin where the paper's do."""

import math

import pytest
import torch

from hashret.losses import level_weights


@pytest.mark.parametrize("balance", [-30.0, -1.0, math.log(0.5), 0.0, 2.5, 30.0])
def test_weights_are_the_formula(balance):
    high, middle = level_weights(torch.tensor(balance, dtype=torch.float64))
    sigma = 1 / (1 + math.exp(-balance))
    assert float(high) == pytest.approx(2 * sigma)
    assert float(middle) == pytest.approx(2 - 2 * sigma, abs=1e-12)


def test_the_paper_begins_at_two_and_four_thirds():
    assert [float(w) for w in level_weights(torch.tensor(math.log(0.5)))] == pytest.approx([2 / 3, 4 / 3])


def test_the_gradient_goes_to_the_lower_loss():
    """Descent on the weighted sum raises the weight of the level that loses less: the drift that MLCL has."""
    balance = torch.tensor(0.0, requires_grad=True)
    high, middle = level_weights(balance)
    (high * 1.0 + middle * 3.0).backward()
    assert balance.grad < 0

"""What the contrasts mean: who may be pushed away, what a temperature does, and that half precision does not count."""

import math

import pytest
import torch

from hashret.losses import equal_rows, info_nce, supervised_contrast


def draw(rows: int, width: int = 6) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(rows))


@pytest.mark.parametrize("shape", [(20,), (20, 1), (20, 3), (20, 2, 2, 2)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bool])
def test_equal_rows_equals_the_loops(shape, dtype):
    rows = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    listed = rows.reshape(20, -1).tolist()
    assert equal_rows(rows).tolist() == [[x == y for y in listed] for x in listed]


def test_a_pair_without_negatives_costs_nothing():
    assert float(info_nce(draw(5), draw(5).roll(1, 0), torch.ones(5, 5), scale=10.0)) == pytest.approx(0, abs=1e-6)


def test_two_images_of_one_caption_can_both_be_found():
    """Counted as each other's negatives they would cost log 2 each, however well they are placed."""
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert float(info_nce(x, x, equal_rows(x), scale=50.0)) == pytest.approx(0, abs=1e-6)
    assert float(info_nce(x, x, torch.eye(3), scale=50.0)) == pytest.approx(2 / 3 * math.log(2))


def test_chance_is_log_of_the_batch():
    flat = torch.ones(8, 4)
    assert float(info_nce(flat, flat, torch.eye(8), scale=20.0)) == pytest.approx(math.log(8))
    assert float(supervised_contrast(flat, flat, torch.eye(8), scale=20.0)) == pytest.approx(math.log(8))


def test_of_one_positive_each_both_contrasts_are_one():
    x, y = draw(9), draw(9).roll(2, 1)
    given = torch.eye(9)
    assert float(supervised_contrast(x, y, given, scale=7.0)) == pytest.approx(float(info_nce(x, y, given, scale=7.0)))


def test_the_least_supervised_contrast_is_the_log_of_the_positives():
    """Three classes on three axes: at a high scale each of four positives has a quarter of the odds."""
    x = torch.eye(3).repeat(4, 1)
    positive = torch.eye(3).repeat(4, 4)
    assert float(supervised_contrast(x, x, positive, scale=100.0)) == pytest.approx(math.log(4), abs=1e-4)
    assert float(supervised_contrast(x, x.roll(1, 0), positive, scale=100.0)) > 50


def test_a_learnable_scale_gets_a_gradient():
    scale = torch.tensor(3.0, requires_grad=True)
    info_nce(draw(6), draw(6), torch.eye(6), scale=scale).backward()
    assert scale.grad is not None
    assert scale.grad < 0, "right pairs at the top: a lower temperature pays"


def test_autocast_does_not_blur_the_cosines():
    x, y = draw(40), draw(40).roll(1, 1)
    plain = info_nce(x, y, torch.eye(40), scale=100.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ y.T).dtype == torch.bfloat16
        assert torch.equal(info_nce(x, y, torch.eye(40), scale=100.0), plain)
        half = info_nce(x.bfloat16(), y.bfloat16(), torch.eye(40), scale=100.0)
    assert half.dtype == torch.float32

"""aligned is its definition in loops, forwards and backwards, filling or not; its diagonal is pairwise_aligned."""

import pytest
import torch

from hashret.models.alignment import aligned, pairwise_aligned


def drawn(images=3, texts=4, dtype=torch.float64):
    torch.manual_seed(2)
    regions, words = torch.randn(images, 5, 6, dtype=dtype), torch.randn(texts, 7, 6, dtype=dtype)
    seen = torch.arange(5)[None] < torch.randint(1, 6, (images, 1))
    read = torch.rand(texts, 7) < 0.6  # words that are none also stand between words
    read[1] = False  # a text without a word
    return regions.requires_grad_(), words.requires_grad_(), seen, read


def in_loops(regions, words, seen, read):
    scores = []
    for i in range(len(regions)):
        for j in range(len(words)):
            best = [
                torch.stack([regions[i, r] @ words[j, w] for r in range(5) if seen[i, r]]).max()
                for w in range(7) if read[j, w]
            ]  # fmt: skip
            scores.append(sum(best, torch.zeros((), dtype=regions.dtype)))
    return torch.stack(scores).view(len(regions), len(words))


def test_scores_and_gradients_are_those_of_loops():
    regions, words, seen, read = drawn()
    found, expected = aligned(regions, words, seen, read), in_loops(regions, words, seen, read)
    assert torch.allclose(found, expected)
    assert (found[:, 1] == 0).all()
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((found * weights).sum(), (regions, words))
    for one, other in zip(gradients, torch.autograd.grad((expected * weights).sum(), (regions, words)), strict=True):
        assert torch.allclose(one, other)


def test_filling_is_not_looked_at():
    regions, words, seen, read = drawn()
    with torch.no_grad():
        expected = aligned(regions, words, seen, read)
        regions[~seen], words[~read] = 1e6, 1e6
        assert torch.equal(aligned(regions, words, seen, read), expected)


def test_the_diagonal_is_that_of_pairs():
    regions, words, seen, read = drawn(4, 4)
    assert torch.allclose(aligned(regions, words, seen, read).diagonal(), pairwise_aligned(regions, words, seen, read))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_in_half_precision_products_are_rounded_and_sums_are_not(precision):
    regions, words, seen, read = drawn(dtype=torch.float32)
    with torch.autocast("cpu", dtype=precision):
        found = aligned(regions, words, seen, read)
    assert found.dtype == torch.float32
    rounded = (regions.to(precision).flatten(0, 1) @ words.to(precision).flatten(0, 1).T).float()
    best = rounded.view(3, 5, 4, 7).masked_fill(~seen[:, :, None, None], -torch.inf).amax(1)
    assert torch.allclose(found, best.masked_fill(~read[None], 0).sum(2), atol=1e-5)

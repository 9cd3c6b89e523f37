import torch

from hashret.losses import (
    invariance,
    noise_contrastive,
    pair_likelihood,
    quantization,
    reconstruction,
    similarity,
    support_set,
)


def test_similarity_equals_the_loops():
    labels = (torch.rand(30, 6, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    expected = [
        [
            float(i == j or any(a and b for a, b in zip(labels[i].tolist(), labels[j].tolist(), strict=True)))
            for j in range(30)
        ]
        for i in range(30)
    ]
    assert similarity(labels).tolist() == expected


def test_a_larger_scale_separates_pairs_better():
    """The published angle cos/2 leaves the loss of perfectly placed pairs near log 2; a larger one does not."""
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    published = pair_likelihood(x, x, torch.eye(2), scale=0.5)
    assert published > 0.45
    assert pair_likelihood(x, x, torch.eye(2), scale=8.0) < 0.001


def test_support_set_without_self_needs_another_item():
    """Left out of its own set, an item that shares no label takes no part; alone in the batch, the loss is 0."""
    a, b = torch.rand(3, 4), torch.rand(3, 4)
    lonely = torch.eye(3)
    assert float(support_set(a, b, lonely, temperature=0.1, include_self=False)) == 0.0
    assert float(support_set(a, b, lonely, temperature=0.1, include_self=True)) > 0.0


def test_contrast_is_least_for_matching_features():
    x = torch.eye(4)
    matching = noise_contrastive(x, x, temperature=0.1, noise=0.5)
    shuffled = noise_contrastive(x, x.roll(1, 0), temperature=0.1, noise=0.5)
    assert matching < shuffled


def test_l1_prefers_no_word_and_balanced_l1_does_not():
    """Why the generators' loss is balanced: with one word in ten, the plain L1's best answer is the empty bag."""
    target = torch.zeros(1000, 1)
    target[:100] = 1
    silent, telling = torch.zeros(1000, 1), torch.full((1000, 1), 0.5)
    assert reconstruction(silent, target, kind="l1") < reconstruction(telling, target, kind="l1")
    assert (
        reconstruction(silent, target, kind="balanced_l1") == reconstruction(telling, target, kind="balanced_l1") == 0.5
    )


def test_quantization_is_zero_on_codes():
    assert float(quantization(torch.tensor([[1.0, -1.0]]))) == 0.0


def test_invariance_of_equal_views_is_zero():
    x = torch.rand(3, 4)
    assert float(invariance(x, x)) == 0.0

"""TGDT learns pairs by heart in each stage, sees no padding, and scores pairs as it ranks them."""

import pytest
import torch
from overfit import PAIRS, hit_rates, noise_pairs, train_stage
from torch.nn import functional

from hashret.errors import InputError
from hashret.losses import consistency, info_nce, info_nce_of_scores, triplet
from hashret.methods import METHODS, Batch
from hashret.models import Inputs, Processor, TokenEncoder, VectorEncoder
from hashret.models.alignment import aligned
from hashret.retriever import Retriever

KIND = METHODS["tgdt"]
LOCAL, GLOBAL, JOINT, CODES = KIND.stages
PIXELS, WORDS = 10, 12


def build(**options):
    torch.manual_seed(0)
    sizes = {
        "bits": 32, "dimension": 32, "heads": 2, "feedforward": 32, "region_layers": 0, "base_layers": 1,
        "global_layers": 1, "hash_width": 48, "dropout": 0.0, **options,
    }  # fmt: skip
    image, text = TokenEncoder(dimension=PIXELS), TokenEncoder(dimension=WORDS)
    return KIND(image, text, classes=0, words=WORDS, options=KIND.options(**sizes))


def inputs(pairs):
    method = build()
    processor = Processor.of(method.image, method.text)
    return processor([pair.query for pair in pairs]), processor([pair.target for pair in pairs])


def fine_hits(method, pairs):
    """R@1 of images by the fine score of everything."""
    image, text = inputs(pairs)
    with torch.no_grad():
        (regions, seen), (words, read) = method.tokens(image), method.tokens(text)
        return float((aligned(regions, words, seen, read).argmax(1) == torch.arange(len(pairs))).float().mean())


@pytest.mark.parametrize("tokens", ["base", "added"])
def test_local_tokens_are_learned_by_heart(tokens):
    pairs, method = noise_pairs(PIXELS, WORDS, tokens=True), build(local_tokens=tokens)
    assert fine_hits(method.eval(), pairs) < 0.5
    train_stage(method, pairs, LOCAL, 150)
    assert fine_hits(method, pairs) == 1


@pytest.mark.parametrize("options", [{}, {"ranking": "contrast", "local_pool": "mean", "local_scale": 1.0}], ids=str)
def test_two_phases_and_joint_training_learn_pairs_by_heart(options):
    pairs = noise_pairs(PIXELS, WORDS, tokens=True)
    for stages in ((LOCAL, GLOBAL), (JOINT,)):
        method = build(**options)
        for stage in stages:
            train_stage(method, pairs, stage, 250)
        assert hit_rates(method, pairs)["embedding"] == 1
        if JOINT in stages:
            assert fine_hits(method, pairs) == 1
            train_stage(method, pairs, CODES, 200)
            assert hit_rates(method, pairs)["codes"] == 1


@pytest.mark.parametrize("standardize", ["none", "both"])
def test_the_second_phase_leaves_the_base_still(standardize):
    """METHODS T2: what is scored must not move under a stage that does not train it."""
    pairs, method = noise_pairs(PIXELS, WORDS, tokens=True), build(standardize=standardize)
    image, _ = inputs(pairs)
    method.eval()
    before = method.tokens(image)[0].detach()
    train_stage(method, pairs, GLOBAL, 5)
    assert torch.allclose(method.tokens(image)[0], before, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"local_tokens": "added", "region_layers": 1, "region_width": 8},
        {"standardize": "both"},
        {"local_pool": "mean"},
    ],
)
def test_padding_changes_nothing(options):
    """METHODS T3: an item gives the same beside longer ones, and with more filling behind it."""
    method = build(**options).eval()
    image, text = inputs(noise_pairs(PIXELS, WORDS, tokens=True))
    for given, part, mask in ((image, "image", "image_mask"), (text, "text", "text_mask")):
        whole, tokens = method.embed(given), method.tokens(given)[0]
        values, seen = getattr(given, part), getattr(given, mask)
        count = int(seen[3].sum())
        cut = Inputs(**{part: values[3:4, :count], mask: seen[3:4, :count]})
        noisy = values.clone()
        noisy[~seen] = 1e3
        assert torch.allclose(method.embed(cut), whole[3:4], atol=1e-5)
        assert torch.allclose(method.tokens(cut)[0], tokens[3:4, :count], atol=1e-4)
        assert torch.allclose(method.embed(Inputs(**{part: noisy, mask: seen})), whole, atol=1e-5)


def test_score_is_what_the_ranking_sums_up():
    method = build().eval().requires_grad_(False)
    image, text = inputs(noise_pairs(PIXELS, WORDS, tokens=True))
    (regions, seen), (words, read) = method.tokens(image), method.tokens(text)
    everything = aligned(regions, words, seen, read)
    assert torch.allclose(method.score(image, text), everything.diagonal(), atol=1e-4)
    assert torch.equal(method.score(text, image), method.score(image, text))
    loops = sum(
        max(float(regions[2, r] @ words[5, w]) for r in range(int(seen[2].sum()))) for w in range(int(read[5].sum()))
    )
    assert float(everything[2, 5]) == pytest.approx(loops, rel=1e-4)
    with pytest.raises(InputError, match="two of one kind"):
        method.score(image, image)


def test_the_terms_are_the_losses_of_both_branches():
    method = build(global_weight=2.0, consistency_weight=0.5, local_weight=3.0, consistency_margin=0.1).eval()
    image, text = inputs(noise_pairs(PIXELS, WORDS, tokens=True))
    numbers = torch.arange(PAIRS) // 2  # two captions of each image: nobody's negatives
    same = numbers[:, None] == numbers[None]
    terms = method.losses(Batch(image, text, None, numbers, items=8), JOINT, JOINT.turns[0])
    u, t = method.embed(image), method.embed(text)
    (regions, seen), (words, read) = method.tokens(image), method.tokens(text)
    local = 3 * triplet(aligned(regions, words, seen, read), same, margin=0.2)
    assert torch.allclose(terms["local"], local, rtol=1e-4)
    assert torch.allclose(terms["global"], 2 * triplet(u @ t.T, same, margin=0.2))
    assert torch.allclose(terms["consistency"], 0.5 * consistency(u, t, margin=0.1))


def test_the_terms_of_contrast_are_info_nce_with_a_temperature_a_branch():
    method = build(ranking="contrast", temperature=0.02, largest_scale=25.0, local_pool="mean", local_scale=2.0).eval()
    image, text = inputs(noise_pairs(PIXELS, WORDS, tokens=True))
    numbers = torch.arange(PAIRS) // 2
    same = numbers[:, None] == numbers[None]
    with torch.no_grad():
        method.log_scales["local"].fill_(1.0)
    terms = method.losses(Batch(image, text, None, numbers, items=8), JOINT, JOINT.turns[0])
    u, t = method.embed(image), method.embed(text)
    assert torch.allclose(terms["global"], info_nce(u, t, same, scale=25.0))
    (regions, seen), (weighted, read) = method.tokens(image), method.tokens(text)
    words = 2 * functional.normalize(weighted, dim=2)
    mean = aligned(regions, words, seen, read) / read.sum(1)
    assert torch.allclose(aligned(regions, weighted, seen, read), mean, atol=1e-5)
    assert torch.allclose(terms["local"], info_nce_of_scores(torch.e * mean, same), rtol=1e-4)
    own = {stage.name: method.parameters_of(stage, stage.turns[0])["heads"] for stage in (LOCAL, GLOBAL, JOINT, CODES)}
    learned = {
        name: {branch for branch, scale in method.log_scales.items() if any(scale is part for part in parts)}
        for name, parts in own.items()
    }
    assert learned == {"local": {"local"}, "global": {"global"}, "joint": {"local", "global"}, "codes": set()}


def test_encoders_without_tokens_are_refused():
    with pytest.raises(InputError, match="image.name: expected an encoder with a feature for each patch"):
        KIND(
            VectorEncoder(dimension=4), TokenEncoder(dimension=4), classes=0, words=4,
            options=KIND.options(dimension=8, heads=2),
        )  # fmt: skip


def test_heads_must_divide_the_width():
    with pytest.raises(InputError, match="a divisor of the width 32, got 5"):
        build(heads=5)


def test_tokens_of_a_saved_model_are_the_same(tmp_path):
    method = build()
    retriever = Retriever(method, Processor.of(method.image, method.text))
    retriever.save_pretrained(tmp_path)
    pairs = noise_pairs(PIXELS, WORDS, tokens=True)
    ours, theirs = (
        one.tokens([pair.target for pair in pairs]) for one in (retriever, Retriever.from_pretrained(tmp_path))
    )
    assert (ours.values == theirs.values).all()
    assert ours.lengths.tolist() == [len(pair.target.text) for pair in pairs]

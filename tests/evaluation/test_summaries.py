"""Numbers made of several evaluations: folds, categories, rsum."""

import numpy as np
import pytest

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation import Scores, evaluate, evaluate_folds, means_over, rsum
from hashret.relevance import SameInstance
from hashret.search import HammingIndex

RECALLS = ["hit@1", "hit@5", "hit@10"]


def captions(images: int, rng: np.random.Generator) -> tuple[Codes, Codes, SameInstance]:
    """Image codes, five captions each with codes near theirs, and which belong together."""
    bits = rng.random((images, 16)) < 0.5
    said = np.repeat(bits, 5, axis=0) ^ (rng.random((5 * images, 16)) < 0.2)
    numbers = np.arange(images)
    packed = [Codes(np.packbits(side, axis=1), 16) for side in (bits, said)]
    return packed[0], packed[1], SameInstance(numbers, np.repeat(numbers, 5))


def test_coco_1k_is_the_mean_of_five_folds() -> None:
    image, text, relevance = captions(50, np.random.default_rng(0))
    fold_of = np.arange(50) // 10
    names = [*RECALLS, "median-rank", "map"]
    folds = evaluate_folds((image, text), relevance, fold_of, np.repeat(fold_of, 5), names)
    assert list(folds) == [0, 1, 2, 3, 4]
    by_hand = []
    for fold in range(5):
        rows, ids = slice(10 * fold, 10 * fold + 10), slice(50 * fold, 50 * fold + 50)
        one = evaluate(
            (image[rows], text[ids]), relevance.restrict(np.arange(50)[rows], np.arange(250)[ids]), names
        )  # fmt: skip
        assert folds[fold].means() == one.means()
        by_hand.append(one.means())
    means = means_over(folds)
    assert means == pytest.approx({name: np.mean([one[name] for one in by_hand]) for name in names})
    whole = evaluate((image, text), relevance, names)
    assert means["hit@1"] > whole["hit@1"]  # a smaller gallery is easier
    signs = image.unpack().astype(np.float64), text.unpack().astype(np.float64)
    same = means_over(evaluate_folds(signs, relevance, fold_of, np.repeat(fold_of, 5), names))
    assert same == pytest.approx(means)


def test_items_of_folds_without_queries_are_not_used() -> None:
    image, text, relevance = captions(10, np.random.default_rng(1))
    folds = evaluate_folds((image, text), relevance, [7] * 10, np.repeat([7, 3], 25), RECALLS, unanswered="zero")
    assert list(folds) == [7]
    assert folds[7].unanswered == 5


def test_folds_that_do_not_fit_are_refused() -> None:
    image, text, relevance = captions(4, np.random.default_rng(2))
    good = [0, 0, 1, 1], np.repeat([0, 0, 1, 1], 5)
    with pytest.raises(InputError, match=r"query folds: expected whole numbers \(4,\), got int64 \(3,\)"):
        evaluate_folds((image, text), relevance, [0, 0, 1], good[1])
    with pytest.raises(InputError, match="gallery folds: expected whole numbers"):
        evaluate_folds((image, text), relevance, good[0], good[1] + 0.5)
    with pytest.raises(InputError, match="expected 4 queries and 20 gallery items"):
        evaluate_folds((image, image), relevance, *good)
    with pytest.raises(InputError, match="expected at least one query, got none"):
        evaluate_folds((image[:0], text), SameInstance([], np.repeat(np.arange(4), 5)), [], good[1])
    index = HammingIndex(16)
    index.add(text)
    with pytest.raises(InputError, match="Hits cannot be cut into folds"):
        evaluate_folds(index.search(image, 3), relevance, *good)  # type: ignore[arg-type]


def scores(values: dict[str, list[float]], ties: str = "expected", policy: str = "omit") -> Scores:
    arrays = {name: np.array(line, np.float64) for name, line in values.items()}
    return Scores(arrays, ties, len(next(iter(arrays.values()))), 0, policy)


def test_means_over_categories_count_each_alike() -> None:
    parts = {"dress": scores({"recall@10": [1, 1, 1, 0]}), "shirt": scores({"recall@10": [0.25]})}
    assert means_over(parts) == {"recall@10": 0.5}
    medians = {"a": scores({"median-rank": [1, 2, 30]}), "b": scores({"median-rank": [4, 4, 4]})}
    assert means_over(medians) == {"median-rank": 3.0}
    for other in (
        scores({"recall@50": [1]}),
        scores({"recall@10": [1]}, ties="by-id"),
        scores({"recall@10": [1]}, policy="zero"),
    ):
        with pytest.raises(InputError, match="evaluations of the same metrics by the same rules"):
            means_over({**parts, "toptee": other})
    with pytest.raises(InputError, match="got none"):
        means_over({})


def test_rsum_adds_six_recalls_in_percent() -> None:
    i2t = scores({"hit@1": [1, 0], "hit@5": [1, 0], "hit@10": [1, 1], "map": [0, 0]})
    t2i = {"hit@1": 0.125, "hit@5": 0.25, "hit@10": 0.5}
    assert rsum(i2t, t2i) == pytest.approx(50 + 50 + 100 + 12.5 + 25 + 50)
    with pytest.raises(InputError, match="rsum of t2i: expected hit@1, hit@5, hit@10, got no hit@5, hit@10"):
        rsum(i2t, {"hit@1": 1.0})
    with pytest.raises(InputError, match="rsum of i2t: .* got no hit@1"):
        rsum(scores({"hit@5": [1], "hit@10": [1]}), t2i)

"""check_alignment: right rows pass and joined-by-chance rows do not, over many draws, sizes and kinds of texts."""

from pathlib import Path

import numpy as np
import pytest

from hashret.data.alignment import DEVIATIONS, LEAST, association, check_alignment
from hashret.data.matrixfile import open_matrix
from hashret.errors import DataError

REAL = Path(__file__).parents[3] / "shared" / "data" / "mirflickr25k"


def draw(count, seed, classes=6, words=40, told=0.3):
    """Labels, and bags of words of which some follow the labels."""
    chance = np.random.default_rng(seed)
    labels = (chance.random((count, classes)) < 0.25).astype(np.uint8)
    labels[~labels.any(1), 0] = 1
    follow = chance.random((classes, words)) < 2 / words
    bags = (labels @ follow > 0) & (chance.random((count, words)) < told) | (chance.random((count, words)) < 0.05)
    return labels, bags.astype(np.uint8)


def sentences(bags):
    return [" ".join(f"Word{place}" for place in np.flatnonzero(row)) for row in bags]


WRONG = {
    "shuffled": lambda rows: np.random.default_rng(99).permutation(rows),
    "one row further": lambda rows: np.roll(rows, 1, axis=0),
    "reversed": lambda rows: rows[::-1],
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [600, 2_000, 6_000])
@pytest.mark.parametrize("kind", ["bags", "sentences"])
def test_right_rows_pass_and_wrong_rows_do_not(kind, count, seed):
    labels, bags = draw(count, seed)

    def texts(rows):
        return sentences(rows) if kind == "sentences" else list(rows)

    check_alignment("set", labels, texts(bags))
    for wrong in WRONG.values():
        with pytest.raises(DataError, match="set, labels.*shuffled rows"):
            check_alignment("set", labels, texts(wrong(bags)))
        with pytest.raises(DataError, match="set, labels"):
            check_alignment("set", wrong(labels), texts(bags))


def test_chance_lies_about_zero():
    found = []
    for seed in range(40):
        labels, bags = draw(600, seed)
        order = np.random.default_rng(1_000 + seed).permutation(600)
        found.append(association(labels, bags[order].astype(np.float32), seed))
    assert abs(np.mean(found)) < 1
    assert max(found) < DEVIATIONS


def test_many_rare_words_do_not_hide_the_others():
    labels, bags = draw(600, 0)
    rare = np.zeros((600, 3_000), np.uint8)
    rare[np.random.default_rng(0).integers(0, 600, 3_000), np.arange(3_000)] = 1
    check_alignment("set", labels, list(np.hstack([bags, rare])))


def test_few_rows_and_texts_that_say_nothing_are_not_judged():
    labels, bags = draw(LEAST - 1, 0)
    check_alignment("set", labels, list(WRONG["shuffled"](bags)))
    labels, bags = draw(LEAST, 0)
    with pytest.raises(DataError):
        check_alignment("set", labels, list(WRONG["shuffled"](bags)))
    check_alignment("set", labels, ["the same"] * LEAST)
    check_alignment("set", labels, [None] * LEAST)
    check_alignment("set", np.ones_like(labels), list(bags))


def test_features_are_judged_too():
    labels, _ = draw(800, 1)
    chance = np.random.default_rng(0)
    vectors = labels @ chance.standard_normal((labels.shape[1], 12)) + 2 * chance.standard_normal((800, 12))
    check_alignment("set", labels, list(vectors.astype(np.float32) + 5))
    with pytest.raises(DataError):
        check_alignment("set", labels, list(WRONG["one row further"](vectors)))


def test_the_error_says_what_is_joined_by_chance():
    labels, bags = draw(600, 1)
    wrong = list(WRONG["shuffled"](bags))
    with pytest.raises(DataError, match="say something of the texts in the same rows.*take texts and labels"):
        check_alignment("set", labels, wrong)
    with pytest.raises(DataError, match="something of the image features in the same.*take image features and labels"):
        check_alignment("set", labels, wrong, "image features")


@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_vectors_with_nan_or_infinity_do_not_count(strange):
    labels, bags = draw(700, 1)
    right, wrong = bags.astype(np.float32), WRONG["shuffled"](bags).astype(np.float32)
    right[::8, 3] = wrong[::8, 3] = strange
    check_alignment("set", labels, list(right), "image features")
    with pytest.raises(DataError, match="image features"):
        check_alignment("set", labels, list(wrong), "image features")
    wrong[::2] = strange
    check_alignment("set", labels, list(wrong), "image features")  # 350 are left


def test_it_is_the_same_every_time():
    labels, bags = draw(600, 3)
    texts = bags.astype(np.float32)
    assert association(labels, texts) == association(labels, texts)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs MIRFLICKR's tags beside the checkout, ../shared/data/mirflickr25k")
def test_the_real_tags_belong_to_the_real_labels_and_parts_of_them_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HASHRET_CACHE", str(tmp_path))
    tags = open_matrix(REAL / "mirflickr25k-yall.mat", ["YAll"])
    labels = open_matrix(REAL / "mirflickr25k-lall.mat", ["LAll"])
    check_alignment("set", labels, list(tags))
    for wrong in WRONG.values():
        with pytest.raises(DataError, match="set"):
            check_alignment("set", labels, list(wrong(tags)))
    for seed in range(10):
        rows = np.random.default_rng(seed).permutation(len(tags))[:LEAST]
        check_alignment("set", labels[rows], list(tags[rows]))
        with pytest.raises(DataError):
            check_alignment("set", labels[rows], list(tags[np.roll(rows, 1)]))

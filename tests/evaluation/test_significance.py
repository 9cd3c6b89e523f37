"""The paired test against all exchanges there are, its calibration, and what it refuses to compare."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.errors import InputError
from hashret.evaluation.scores import Scores
from hashret.evaluation.significance import paired_test


def scores_of(values, metric="map", ties="expected", policy="omit"):
    values = np.asarray(values, np.float64)
    return Scores({metric: values}, ties, len(values), int(np.isnan(values).sum()), policy)


def exact(ours, theirs, middle=np.mean):
    """Share of all 2^n exchanges at least as far from 0."""
    seen, far, count = abs(middle(ours) - middle(theirs)), 0, 0
    for swap in itertools.product([False, True], repeat=len(ours)):
        one, other = np.where(swap, theirs, ours), np.where(swap, ours, theirs)
        far += abs(middle(one) - middle(other)) >= seen - 1e-12
        count += 1
    return far / count


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 9), seed=st.integers(0, 2**32 - 1), coarse=st.booleans())
def test_p_is_that_of_all_exchanges(count, seed, coarse):
    rng = np.random.default_rng(seed)
    ours, theirs = rng.random((2, count)) + [[0.2], [0.0]]
    if coarse:  # many equal pairs, many equal differences
        ours, theirs = np.round(ours * 2) / 2, np.round(theirs * 2) / 2
    found = paired_test(scores_of(ours), scores_of(theirs), "map", resamples=4000, seed=seed)
    assert found.p == pytest.approx(exact(ours, theirs), abs=0.04)


def test_p_of_a_median_is_that_of_all_exchanges():
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(1, 30, (2, 9)).astype(float)
    found = paired_test(scores_of(ours, "median-rank"), scores_of(theirs, "median-rank"), "median-rank")
    assert found.p == pytest.approx(exact(ours, theirs, np.median), abs=0.02)
    assert found.difference == np.median(ours) - np.median(theirs)


def test_systems_that_do_not_differ_are_rarely_told_apart():
    rng, small = np.random.default_rng(1), 0
    for _ in range(400):
        shared = rng.random(30)
        one, other = shared + rng.normal(0, 0.1, (2, 30))
        small += paired_test(scores_of(one), scores_of(other), "map", resamples=199).p <= 0.1
    assert 0.055 < small / 400 < 0.145


def test_a_small_steady_difference_is_seen_where_intervals_overlap():
    rng = np.random.default_rng(2)
    hard = rng.random(200)  # some queries are harder than others, for both
    better, worse = scores_of(hard + 0.01 + rng.normal(0, 0.02, 200)), scores_of(hard)
    assert better.interval("map")[0] < worse.interval("map")[1]
    found = paired_test(better, worse, "map")
    assert found.p == pytest.approx(1 / 10_001)
    assert 0 < found.low < found.difference < found.high


def test_exchanging_the_systems_turns_the_signs():
    rng = np.random.default_rng(3)
    ours, theirs = (scores_of(rng.integers(0, 5, 60) / 4) for _ in range(2))
    there, back = paired_test(ours, theirs, "map"), paired_test(theirs, ours, "map")
    assert back.difference == -there.difference
    assert back.p == there.p
    assert (back.wins, back.losses, back.draws) == (there.losses, there.wins, there.draws)
    assert there.wins + there.losses + there.draws == there.queries == 60
    assert back.low == pytest.approx(-there.high, abs=0.01)


def test_a_system_does_not_differ_from_itself():
    same = scores_of(np.random.default_rng(4).random(20))
    found = paired_test(same, same, "map")
    assert (found.difference, found.low, found.high, found.p, found.draws) == (0, 0, 0, 1, 20)


def test_queries_left_out_count_for_neither():
    ours, theirs = np.array([0.5, np.nan, 1.0, 0.25]), np.array([0.25, np.nan, 0.5, 0.5])
    found = paired_test(scores_of(ours), scores_of(theirs), "map")
    assert (found.queries, found.wins, found.losses) == (3, 2, 1)
    assert found.difference == pytest.approx(scores_of(ours)["map"] - scores_of(theirs)["map"])


def test_of_ranks_the_lower_wins_and_infinite_ones_promise_nothing():
    ours, theirs = scores_of([1.0, 4.0, math.inf], "mean-rank"), scores_of([2.0, 3.0, math.inf], "mean-rank")
    found = paired_test(ours, theirs, "mean-rank")
    assert (found.wins, found.losses, found.draws) == (1, 1, 1)
    assert found.p == 1
    assert math.isnan(found.difference)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["difference"] is None
    finite = paired_test(scores_of([1.0, 2.0, 3.0], "mean-rank"), theirs, "mean-rank")
    assert finite.difference == -math.inf
    assert finite.wins == 3


def test_what_does_not_answer_the_same_question_is_refused():
    one = scores_of([0.5, 0.75, np.nan])
    for other, said in (
        (scores_of([0.5, 0.75]), "one number of queries for both"),
        (scores_of([0.5, 0.75, np.nan], ties="best"), "one ties for both"),
        (scores_of([0.5, 0.75, np.nan], policy="zero"), "policy for unanswered queries"),
        (scores_of([0.5, np.nan, 0.75]), "2 left out of one only, the first in row 1"),
    ):
        with pytest.raises(InputError, match=said):
            paired_test(one, other, "map")
    with pytest.raises(InputError, match="one of map"):
        paired_test(one, one, "recall@5")
    with pytest.raises(InputError, match="one of map"):
        paired_test(scores_of([0.5, 0.75, np.nan], "hit@1"), one, "hit@1")
    with pytest.raises(InputError, match="level"):
        paired_test(one, one, "map", level=2)
    with pytest.raises(InputError, match="resamples"):
        paired_test(one, one, "map", resamples=0)
    with pytest.raises(InputError, match="a query that counts"):
        paired_test(scores_of([np.nan]), scores_of([np.nan]), "map")

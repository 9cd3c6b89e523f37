"""Scores: means over what counts, intervals that cover, and what JSON can hold."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hashret.errors import InputError
from hashret.evaluation.scores import Scores, bootstrap, lower_is_better, summary


def scores_of(values, metric="map", policy="omit"):
    values = np.asarray(values, np.float64)
    return Scores({metric: values}, "expected", len(values), int(np.isnan(values).sum()), policy)


def test_a_query_that_is_left_out_counts_nowhere():
    some = np.random.default_rng(0).random(50)
    holes = np.insert(some, [3, 20, 50], np.nan)
    assert scores_of(holes)["map"] == pytest.approx(some.mean(), abs=1e-15)
    assert scores_of(holes).interval("map") == scores_of(some).interval("map")
    assert scores_of(holes).counted("map").tolist() == some.tolist()


def test_the_interval_is_the_percentile_bootstrap():
    values = np.random.default_rng(1).beta(0.5, 0.7, 300)
    low, high = scores_of(values).interval("map", level=0.9)
    theirs = stats.bootstrap((values,), np.mean, confidence_level=0.9, method="percentile", rng=5).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.003)
    assert low < values.mean() < high


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng, inside = np.random.default_rng(2), 0
    for _ in range(400):
        low, high = scores_of(rng.beta(2, 3, 80)).interval("map", level=0.8, resamples=400)
        inside += low <= 0.4 <= high
    assert 0.74 < inside / 400 < 0.86


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 40), seed=st.integers(0, 1000), level=st.floats(0.01, 0.99))
def test_intervals_are_ordered_within_the_values_and_repeatable(count, seed, level):
    values = np.random.default_rng(seed).random(count)
    scores = scores_of(values)
    low, high = scores.interval("map", level, resamples=50, seed=seed)
    assert values.min() - 1e-12 <= low <= high <= values.max() + 1e-12
    assert scores.interval("map", level, resamples=50, seed=seed) == (low, high)
    wider = scores.interval("map", (1 + level) / 2, resamples=50, seed=seed)
    assert wider[0] <= low <= high <= wider[1]


def test_draws_are_those_of_a_slow_loop_and_are_shared_by_systems():
    """The difference of the draws of two systems is the draw of their difference, also across blocks."""
    rng = np.random.default_rng(3)
    ours, theirs = rng.random(1500), rng.random(1500)  # more than one block of draws
    draws = bootstrap(ours, "map", 3000, seed=7) - bootstrap(theirs, "map", 3000, seed=7)
    np.testing.assert_allclose(draws, bootstrap(ours - theirs, "map", 3000, seed=7), atol=1e-12)
    small = np.array([1.0, 2.0, 4.0])
    drawn = np.random.default_rng(7).integers(3, size=(20, 3), dtype=np.int32)
    assert bootstrap(small, "map", 20, seed=7).tolist() == [small[row].mean() for row in drawn]


def test_equal_values_have_no_width():
    assert scores_of([0.25] * 9).interval("map") == (0.25, 0.25)
    assert scores_of([0.3]).interval("map") == (0.3, 0.3)


def test_infinite_values_have_an_interval():
    """A rank that is infinite makes means infinite, not NaN."""
    low, high = scores_of([1.0, 2.0, math.inf, 3.0], "mean-rank").interval("mean-rank", 0.5)
    assert low < high == math.inf


def test_a_median_rank_is_a_median():
    values = np.array([[1.0, 2.0, 900.0]])
    assert summary(values, "median-rank").tolist() == [2.0]
    assert summary(values, "mean-rank").tolist() == [301.0]
    assert scores_of([1.0, 2.0, 900.0, np.nan], "median-rank")["median-rank"] == 2.0
    low, high = scores_of([1.0, 2.0, 900.0], "median-rank").interval("median-rank")
    assert {low, high} <= {1.0, 2.0, 900.0}


def test_only_ranks_are_better_when_lower():
    assert lower_is_better("mean-rank")
    assert lower_is_better("median-rank")
    assert not any(map(lower_is_better, ("map", "map@5000:hits", "ndcg@10", "precision@10", "rsum")))


def test_json_holds_it():
    content = scores_of([0.5, 1.0, np.nan]).to_dict(intervals=True)
    assert content == {
        "means": {"map": 0.75}, "ties": "expected", "queries": 3, "unanswered": 1, "policy": "omit",
        "intervals": {"map": [0.5, 1.0]}, "level": 0.95,
    }  # fmt: skip
    assert "intervals" not in scores_of([0.5]).to_dict()
    endless = json.dumps(scores_of([math.inf, 1.0], "mean-rank").to_dict(intervals=True), allow_nan=False)
    assert json.loads(endless)["means"] == {"mean-rank": None}


def test_what_means_nothing_is_refused():
    scores = scores_of([0.5, 1.0])
    with pytest.raises(InputError, match="expected one of map, got 'mpa'"):
        scores["mpa"]
    for level in (0, 1, 95, -0.5):
        with pytest.raises(InputError, match="level"):
            scores.interval("map", level)
    with pytest.raises(InputError, match="resamples"):
        scores.interval("map", resamples=0)
    with pytest.raises(InputError, match=r"values of map: expected float64 \(3,\), got float64 \(2,\)"):
        Scores({"map": np.zeros(2)}, "expected", 3, 0, "omit")
    with pytest.raises(InputError, match="float32"):
        Scores({"map": np.zeros(3, np.float32)}, "expected", 3, 0, "omit")
    assert all(math.isnan(end) for end in scores_of([np.nan]).interval("map"))

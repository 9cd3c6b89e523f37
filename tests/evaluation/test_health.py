"""Health of codes and means by class against loops that follow the definitions word by word."""

import math

import numpy as np
import pytest

from hashret import SharedLabels, binarize
from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation import health as health_file
from hashret.evaluation.classes import by_class
from hashret.evaluation.health import code_health, pair_distances, separation


def some_codes(count=200, bits=13, seed=0):
    """Codes with an even bit, a lopsided one, a constant one, and two that agree but for a few."""
    chance = np.random.default_rng(seed)
    relaxed = chance.standard_normal((count, bits))
    relaxed[:, 1] += 1.5
    relaxed[:, 2] = 1.0
    relaxed[:, 4] = relaxed[:, 3] + 0.2 * chance.standard_normal(count)
    return binarize(relaxed)


def test_bits_by_loops(monkeypatch):
    monkeypatch.setattr(health_file, "_ROWS", 64)  # several blocks
    codes = some_codes()
    found, bits = code_health(codes), codes.unpack() > 0
    for bit in range(codes.bits):
        share = sum(bool(row[bit]) for row in bits) / len(codes)
        entropy = -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)
        assert found.balance[bit] == pytest.approx(share)
        assert found.entropy[bit] == pytest.approx(entropy)
        for other in range(codes.bits):
            one, two = bits[:, bit].astype(float), bits[:, other].astype(float)
            if one.std() and two.std():
                expected = ((one - one.mean()) * (two - two.mean())).mean() / (one.std() * two.std())
                assert found.correlation[bit, other] == pytest.approx(expected, abs=1e-9)
            else:
                assert math.isnan(found.correlation[bit, other])
    assert found.constant == 1
    assert len(found.correlations()) == 12 * 11 / 2
    assert found.distinct == len({row.tobytes() for row in codes.packed})
    assert not np.isnan(found.correlations()).any()


def test_no_codes_have_no_health():
    with pytest.raises(InputError, match="at least one"):
        code_health(Codes(np.empty((0, 1), np.uint8), 8))


def test_distances_of_pairs_by_loops():
    chance = np.random.default_rng(1)
    queries, gallery = some_codes(17, seed=2), some_codes(90, seed=3)
    relevance = SharedLabels(chance.integers(0, 2, (17, 3)), chance.integers(0, 2, (90, 3)))
    expected, marks = np.zeros((2, 14), int), relevance.matrix(np.arange(17))
    for query, one in enumerate(queries.unpack()):
        for item, other in enumerate(gallery.unpack()):
            expected[0 if marks[query, item] else 1, (one != other).sum()] += 1
    relevant, irrelevant = pair_distances((queries, gallery), relevance)
    np.testing.assert_array_equal([relevant, irrelevant], expected)
    near = np.repeat(np.arange(14), expected[0])
    far = np.repeat(np.arange(14), expected[1])
    wins = sum((far > distance).sum() + 0.5 * (far == distance).sum() for distance in near)
    assert separation(relevant, irrelevant) == pytest.approx(wins / (len(near) * len(far)))


def test_separation_knows_its_ends():
    assert separation(np.array([3, 0]), np.array([0, 2])) == 1
    assert separation(np.array([0, 3]), np.array([2, 0])) == 0
    assert separation(np.array([3, 3]), np.array([1, 1])) == 0.5
    assert math.isnan(separation(np.array([0, 0]), np.array([1, 1])))


def test_means_by_class_by_loops():
    chance = np.random.default_rng(4)
    values, labels = chance.random(50), chance.integers(0, 2, (50, 5)).astype(np.uint8)
    values[[3, 7]], labels[:, 4] = np.nan, 0
    labels[3, 4] = 1  # a class whose only query is left out
    means, counts = by_class(values, labels)
    for place in range(5):
        mine = [value for value, row in zip(values, labels, strict=True) if row[place] and not math.isnan(value)]
        assert counts[place] == len(mine)
        assert means[place] == pytest.approx(sum(mine) / len(mine)) if mine else math.isnan(means[place])
    with pytest.raises(InputError, match="50 queries"):
        by_class(values, labels[1:])

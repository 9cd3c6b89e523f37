"""CRCGS's metric, written anew from what its released code does, with a sort that is stable."""

import numpy as np
import pytest

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.evaluation import PRESETS, evaluate, evaluate_preset
from hashret.relevance import SharedLabels


def as_released(ours: np.ndarray, theirs: np.ndarray, asked: np.ndarray, labels: np.ndarray) -> float:
    """Mean over all queries of the precision at the hits in the first Q places, divided by their number; 0 for none."""
    far = 0.5 * (ours.shape[1] - ours @ theirs.T)
    values = []
    for query, order in enumerate(np.argsort(far, axis=1, kind="stable")):
        found, total = 0, 0.0
        for place in range(len(ours)):
            if asked[query] @ labels[order[place]] > 0:
                found += 1
                total += found / (place + 1)
        values.append(total / found if found else 0.0)
    return float(np.mean(values))


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_crcgs_compat_is_what_the_released_code_computes(share: float) -> None:
    rng = np.random.default_rng(0)
    for queries, gallery, bits in ((20, 60, 8), (50, 50, 16), (7, 300, 64)):
        ours, theirs = (np.where(rng.random((n, bits)) < 0.5, 1, -1) for n in (queries, gallery))
        asked, labels = (rng.random((n, 4)) < share for n in (queries, gallery))
        codes = [Codes(np.packbits(side > 0, axis=1), bits) for side in (ours, theirs)]
        relevance = SharedLabels(asked, labels)
        scores = evaluate_preset("crcgs-compat", (codes[0], codes[1]), relevance)
        name = f"map@{queries}:hits"
        assert scores.means() == pytest.approx({name: as_released(ours, theirs, asked.astype(int), labels.astype(int))})
        assert (scores.ties, scores.policy) == ("by-id", "zero")
        assert scores.unanswered == int((relevance.totals() == 0).sum())
        same = evaluate((codes[0], codes[1]), relevance, [name], ties="by-id", unanswered="zero")
        assert same.means() == scores.means()


def test_more_queries_than_gallery_items_count_the_whole_gallery() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = (Codes(np.packbits(rng.random((n, 8)) < 0.5, axis=1), 8) for n in (9, 4))
    relevance = SharedLabels(rng.random((9, 3)) < 0.5, rng.random((4, 3)) < 0.5)
    scores = evaluate_preset("crcgs-compat", (ours, theirs), relevance)
    whole = evaluate((ours, theirs), relevance, ["map"], ties="by-id", unanswered="zero")
    np.testing.assert_allclose(scores.per_query["map@9:hits"], whole.per_query["map"])


def test_unknown_presets_are_refused() -> None:
    assert list(PRESETS) == ["crcgs-compat"]
    codes = Codes(np.zeros((1, 1), np.uint8), 8)
    with pytest.raises(InputError, match="preset: expected one of crcgs-compat, got 'crcgs'"):
        evaluate_preset("crcgs", (codes, codes), SharedLabels([[1]], [[1]]))

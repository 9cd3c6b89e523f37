import numpy as np
import pytest

from hashret.codes import binarize
from hashret.errors import InputError
from hashret.evaluation import precision_recall
from hashret.relevance import SharedLabels


def test_equals_the_loops():
    chance = np.random.default_rng(0)
    queries, gallery = chance.normal(size=(23, 9)), chance.normal(size=(40, 9))
    query_labels, gallery_labels = chance.random((23, 4)) < 0.3, chance.random((40, 4)) < 0.3
    query_labels[5] = False
    recall, precision = precision_recall(
        (binarize(queries), binarize(gallery)), SharedLabels(query_labels, gallery_labels)
    )
    for radius in range(10):
        recalls, precisions = [], []
        for q in range(23):
            right = [bool((query_labels[q] & gallery_labels[n]).any()) for n in range(40)]
            near = [int(((queries[q] > 0) != (gallery[n] > 0)).sum()) <= radius for n in range(40)]
            if not any(right):
                continue
            recalls.append(sum(r and x for r, x in zip(right, near, strict=True)) / sum(right))
            if any(near):
                precisions.append(sum(r and x for r, x in zip(right, near, strict=True)) / sum(near))
        assert recall[radius] == pytest.approx(np.mean(recalls))
        if precisions:
            assert precision[radius] == pytest.approx(np.mean(precisions))
        else:
            assert np.isnan(precision[radius])
    assert recall[-1] == 1.0


def test_no_right_answer_is_an_error():
    codes = binarize(np.ones((2, 3)))
    with pytest.raises(InputError, match="a query with a right answer"):
        precision_recall((codes, codes), SharedLabels(np.zeros((2, 2)), np.ones((2, 2))))

"""The grammar of metric names."""

import pytest

from hashret.errors import InputError
from hashret.evaluation import METRICS, parse_metrics


def test_metrics_print_as_typed() -> None:
    names = ["recall@10", "map", "hit@1", "precision@5", "map@5000"]
    assert [str(metric) for metric in parse_metrics(names)] == names
    assert [str(metric) for metric in parse_metrics("map")] == ["map"]
    assert [str(metric) for metric in parse_metrics(["map", "map@3", "map"])] == ["map", "map@3"]
    for family in METRICS:
        assert str(parse_metrics([f"{family}@7"])[0]) == f"{family}@7"


@pytest.mark.parametrize(
    "name",
    ["map@0", "map@x", "map@-1", "map@1.5", "map@", "map@05", "map@1 ", "MAP", "recal@10", "recall", "hit", "precision",
     "", "@5", "map@5@6", "map@\u0661", "map\n", None, 3],
)  # fmt: skip
def test_names_that_mean_nothing_are_refused(name: object) -> None:
    with pytest.raises(InputError) as caught:
        parse_metrics(["map", name])  # type: ignore[list-item]
    assert caught.value.got == repr(name)
    assert caught.value.expected == "names among map, map@K, precision@K, recall@K, hit@K"


def test_all_bad_names_are_told_at_once() -> None:
    with pytest.raises(InputError, match=r"got 'map@0', 'recal@10'\. K is a whole number"):
        parse_metrics(["map@0", "map", "recal@10", "hit@5"])
    with pytest.raises(InputError, match="got none"):
        parse_metrics([])

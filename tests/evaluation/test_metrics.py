"""The grammar of metric names, and the reference page that lists them."""

import re

import pytest

from hashret.errors import InputError
from hashret.evaluation import METRICS, aggregate, metrics, parse_metrics


def test_metrics_print_as_typed() -> None:
    names = ["recall@10", "map", "hit@1", "precision@5", "map@5000", "map@50:hits", "map@50:relevant", "mean-rank",
             "median-rank", "ndcg", "ndcg@25", "radius-precision@2", "radius-precision@0"]  # fmt: skip
    assert [str(metric) for metric in parse_metrics(names)] == names
    assert [str(metric) for metric in parse_metrics("map")] == ["map"]
    assert [str(metric) for metric in parse_metrics(["map", "map@3", "map"])] == ["map", "map@3"]
    for form in METRICS:
        name = re.sub("@[KR]", "@7", form)
        (metric,) = parse_metrics([name])
        assert (str(metric), metric.form) == (name, form)


def test_the_reference_page_lists_every_form() -> None:
    listed = re.findall(r"(?m)^ {4}([a-z-]+(?:@[KR](?::[a-z]+)?)?)  ", metrics.__doc__ or "")
    assert listed == list(METRICS)


def test_only_the_median_rank_is_a_median() -> None:
    typed = {form: re.sub("@[KR]", "@3", form) for form in METRICS}
    assert [form for form, name in typed.items() if aggregate(name) == "median"] == ["median-rank"]
    assert {aggregate(name) for name in typed.values()} == {"mean", "median"}
    with pytest.raises(InputError, match="got 'mode-rank'"):
        aggregate("mode-rank")


@pytest.mark.parametrize(
    "name",
    ["map@0", "map@x", "map@-1", "map@1.5", "map@", "map@05", "map@1 ", "MAP", "recal@10", "recall", "hit", "precision",
     "", "@5", "map@5@6", "map@\u0661", "map\n", None, 3, "map:hits", "map@5:", "map@5:hit", "map@0:hits", "map@K",
     "recall@5:hits", "mean-rank@5", "median-rank@1", "radius-precision", "radius-precision@-1", "ndcg@0", "mean",
     "map@5:relevant:hits", "map@1000000000000"],
)  # fmt: skip
def test_names_that_mean_nothing_are_refused(name: object) -> None:
    with pytest.raises(InputError) as caught:
        parse_metrics(["map", name])  # type: ignore[list-item]
    assert caught.value.got == repr(name)
    assert caught.value.expected == (
        "names among map, map@K, map@K:hits, map@K:relevant, precision@K, recall@K, hit@K, mean-rank, median-rank, "
        "ndcg, ndcg@K, radius-precision@R"
    )


def test_all_bad_names_are_told_at_once() -> None:
    with pytest.raises(InputError, match=r"got 'map@0', 'recal@10'\. K is a whole number"):
        parse_metrics(["map@0", "map", "recal@10", "hit@5"])
    with pytest.raises(InputError, match="got none"):
        parse_metrics([])

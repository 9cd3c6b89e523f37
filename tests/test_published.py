"""The published figures: the file is whole, names what exists, and gives nothing beneath what it does not belong to."""

from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from hashret.data import DATASETS
from hashret.errors import FormatError
from hashret.evaluation import parse_metrics

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import published

    return published


def test_every_figure_can_be_one(published: ModuleType) -> None:
    tables = published.read().tables
    assert len(tables) == 34
    for table in tables:
        for row in table.rows:
            figures = [figure for part in row.figures.values() for figure in part if figure is not None]
            assert figures, (table.dataset, row.method)
            if table.metric == "hit@K":
                assert all(0 < figure <= 100 for figure in figures)
                continue
            parse_metrics([table.metric])
            assert all(0 < figure < 1 for figure in figures)


def test_recalls_grow_with_k(published: ModuleType) -> None:
    for table in published.read().tables:
        if table.metric == "hit@K":
            for row in table.rows:
                for task, figures in row.figures.items():
                    known = [figure for figure in figures if figure is not None]
                    assert known == sorted(known), (table.dataset, row.method, task)


def test_every_table_has_a_source_that_says_where_it_was_read(published: ModuleType) -> None:
    content = published.read()
    for table in content.tables:
        for name in (table.source, *(row.source or table.source for row in table.rows)):
            source = content.sources[name]
            assert all((source.citation, source.read, source.inputs, source.database))
    assert all(left.what and left.why for left in content.left_out)


def test_names_are_those_of_the_cards(published: ModuleType) -> None:
    for table in published.read().tables:
        protocol = DATASETS[table.dataset].CARD.protocol(table.protocol)
        if table.protocol == "crcgs":
            assert table.metric in protocol.metrics  # its cut is the number of queries
        if table.metric == "hit@K":
            asked = {f"hit@{k}" for columns in table.columns.values() for k in columns}
            assert asked == set(protocol.metrics), table.dataset


def test_rows_are_of_one_dataset_protocol_metric_and_edition_only(published: ModuleType) -> None:
    def names(*key: str) -> list[str]:
        return [row.method for row in published.rows_for(*key)]

    assert names("mirflickr25k", "mith", "map")[-1] == "MITH"
    assert "MITH" not in names("mirflickr25k", "dchmt", "map")
    assert names("coco", "dchmt", "map")[-1] == "DCHMT"
    assert names("coco", "dchmt", "map@5000:relevant")[-1] == "TwDH"
    assert names("coco", "dchmt", "map@5000") == []
    assert names("flickr", "karpathy", "hit@K") == []  # of flickr30k, not of flickr8k
    assert "TERAN" in names("flickr", "karpathy", "hit@K", "flickr30k")
    assert names("flickr", "labels", "map") == names("nowhere", "none", "map") == []
    assert not set(names("fashioniq", "original", "hit@K")) & set(names("fashioniq", "val", "hit@K")) - {"TG-CIR"}


def test_a_row_keeps_its_digits_its_source_and_its_doubts(published: ModuleType) -> None:
    rows = {row.method: row for row in published.rows_for("mirflickr25k", "dchmt", "map")}
    assert str(rows["SSAH"].values["i2t"][16]) == "0.7890"
    assert rows["DCHMT"].figures["t2i", 64] == Decimal("0.8281")
    assert "result.png" in rows["DCHMT"].source.read
    assert "every epoch" in rows["DCHMT"].source.doubt

    rows = {row.method: row for row in published.rows_for("mirflickr25k", "ucch", "map")}
    assert rows["DLFH"].source.inputs.startswith("supervised")
    assert rows["DLFH"].source.database == "not stated"
    assert rows["UCCH"].source.database == "encoded"

    rows = {row.method: row for row in published.rows_for("mirflickr25k", "mith", "map")}
    assert set(rows["AGAH"].values) == {"i2t"}
    assert "text to image" in rows["AGAH"].doubts[0]

    for protocol in ("original", "val"):  # which gallery a row was measured on is nobody's word
        assert all("inferred" in row.doubts[0] for row in published.rows_for("fashioniq", protocol, "hit@K"))
    assert all("from memory" in row.source.doubt for row in published.rows_for("wikipedia", "rasiwasia", "map"))


def test_metrics_of_a_protocol(published: ModuleType) -> None:
    assert published.metrics_of("nuswide", "ucch") == ("map",)
    assert published.metrics_of("nuswide", "crcgs") == ("map@2100:hits",)
    assert published.metrics_of("shapes", "labels") == ()


GOOD = """
sources: {a: {citation: A, read: there, inputs: all, database: encoded}}
tables:
- dataset: coco
  protocol: mith
  metric: map
  columns: {i2t: [16, 32]}
  source: a
  rows: [{method: M, i2t: [.5, null]}]
left_out: []
"""


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("[.5, null]", "[.5]", "1 figures for"),
        ("[.5, null]", "[5, null]", "outside of 0 ... 1"),
        ("i2t: [.5, null]", "t2i: [.5, null]", "2 figures for None"),
        (", i2t: [.5, null]", "", "no figures"),
        ("metric: map", "metric: mAP", "names among"),
        ("source: a", "source: b", "named and not there"),
        ("database: encoded", "database: ours", "database"),
        ("read: there, ", "", "read"),
        ("  source: a", "  source: a\n  page: 3", "page"),
        ("left_out: []", "left_out: [", "no YAML"),
    ],
)
def test_what_does_not_fit_is_refused(
    published: ModuleType, tmp_path: Path, before: str, after: str, told: str
) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(GOOD)
    (row,) = published.rows_for("coco", "mith", "map", path=path)
    assert row.values == {"i2t": {16: Decimal("0.5")}}
    bad = tmp_path / "bad.yaml"
    bad.write_text(GOOD.replace(before, after))
    with pytest.raises(FormatError) as caught:
        published.read(bad)
    assert told in str(caught.value)

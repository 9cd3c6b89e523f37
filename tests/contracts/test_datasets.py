"""What every entry of DATASETS promises, shown on a small one of its own layout.

An entry has a card, and a ``load`` whose options a recipe can check, whose splits share no image, which loads the same
twice, and which says what to do when it is pointed at the wrong place. One without a tree in ``tests/trees`` fails.
"""

import inspect
import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter
from trees import LAYOUTS

from hashret.data import DATASETS, check
from hashret.data.quarantine import quarantine
from hashret.errors import DataError, FileError
from hashret.evaluation import parse_metrics
from hashret.examples import Example, RetrievalDataset, Task
from hashret.relevance import SharedLabels


def protocols(name: str) -> list[str | None]:
    hint = typing.get_type_hints(DATASETS[name].load).get("protocol")
    return list(typing.get_args(hint)) if hint else [None]


ROOTS = {name: inspect.signature(dataset.load).parameters["root"] for name, dataset in DATASETS.items()}
READERS = [name for name, root in ROOTS.items() if root.default is inspect.Parameter.empty]
CASES = [
    (name, layout, protocol)
    for name, layouts in LAYOUTS.items()
    for layout, form in layouts.items()
    for protocol in (form.protocols or protocols(name))
]


@pytest.fixture(params=CASES, ids=lambda case: "-".join(filter(None, case)))
def load(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], RetrievalDataset]:
    name, layout, protocol = request.param
    options = LAYOUTS[name][layout].make(tmp_path) | ({} if protocol is None else {"protocol": protocol})
    return lambda: DATASETS[name].load(tmp_path, **options)


def tasks_of(data: RetrievalDataset) -> list[Task]:
    return [*data.validation, *data.test]


def identity(example: Example) -> tuple[Any, ...]:
    """What an example is, pixels and vectors by value."""
    parts: list[Any] = []
    for value in (example.image, example.text):
        if isinstance(value, (Image.Image, np.ndarray)):
            array = np.asarray(value)
            parts.append((array.dtype.str, array.shape, array.tobytes()))
        else:
            parts.append(None if value is None else str(value))
    return tuple(parts)


def image_of(example: Example) -> Any:
    return identity(example)[0]


def test_every_dataset_has_a_card_that_says_what_a_reader_must_know() -> None:
    for name, dataset in DATASETS.items():
        card = dataset.CARD
        assert card.name == name
        assert all((card.title, card.what, card.licence, card.source, card.tree))
        offered = protocols(name)
        if offered != [None]:
            assert {protocol.name for protocol in card.protocols} == set(offered) - {"auto"}, name
        for protocol in card.protocols:
            assert protocol.what
            assert protocol.source
            parse_metrics(protocol.metrics)
            assert all(size >= 0 for size in protocol.sizes.values())


@pytest.mark.parametrize("name", DATASETS)
def test_options_can_be_checked_by_a_recipe(name: str) -> None:
    hints = typing.get_type_hints(DATASETS[name].load)
    assert hints.pop("return") is RetrievalDataset
    root, *options = inspect.signature(DATASETS[name].load).parameters.values()
    assert root.name == "root"
    assert root.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    for option in options:
        assert option.kind is inspect.Parameter.KEYWORD_ONLY, option
        assert option.default is not inspect.Parameter.empty, option
        assert TypeAdapter(hints[option.name]).validate_python(option.default) == option.default
        assert f"{option.name}:" in (DATASETS[name].load.__doc__ or ""), f"{option.name} is not in the docstring"


def test_splits_share_no_query(load: Callable[[], RetrievalDataset]) -> None:
    data = load()
    trained = {image_of(pair.query) for pair in data.train} - {None}
    asked = [{image_of(q) for task in tasks for q in task.queries} - {None} for tasks in (data.validation, data.test)]
    assert trained
    assert all(asked)
    assert not trained & asked[0]
    assert not trained & asked[1]
    assert not asked[0] & asked[1]


def test_tasks_have_questions_with_answers(load: Callable[[], RetrievalDataset]) -> None:
    data = load()
    assert data.name
    assert data.notes
    for tasks in (data.validation, data.test):
        assert len({task.name for task in tasks}) == len(tasks) > 0
    for task in tasks_of(data):
        totals = task.relevance.totals()
        assert totals.shape == (len(task.queries),)
        assert 0 < totals.max() <= len(task.gallery)
        for example in (*task.queries, *task.gallery):
            assert example.key
        if task.name == "i2t":
            assert all(q.text is None for q in task.queries)
            assert all(g.image is None for g in task.gallery)
        if task.name == "t2i":
            assert all(q.image is None for q in task.queries)
            assert all(g.text is None for g in task.gallery)


def test_labels_are_as_wide_as_the_classes(load: Callable[[], RetrievalDataset]) -> None:
    data = load()
    assert len(set(data.classes)) == len(data.classes)
    for pair in data.train:
        if pair.labels is not None:
            assert pair.labels.dtype == np.uint8
            assert pair.labels.shape == (len(data.classes),)
            assert set(pair.labels.tolist()) <= {0, 1}
        assert pair.instance >= 0
    for task in tasks_of(data):
        if isinstance(task.relevance, SharedLabels):
            assert task.relevance.query_labels.shape[1] == len(data.classes) > 0


def test_loading_again_gives_the_same(load: Callable[[], RetrievalDataset]) -> None:
    first, second = load(), load()
    assert (first.name, first.classes, first.notes) == (second.name, second.classes, second.notes)
    assert len(first.train) == len(second.train)
    for one, two in zip(first.train, second.train, strict=True):
        assert one.instance == two.instance
        for side in ("query", "target"):
            assert identity(getattr(one, side)) == identity(getattr(two, side))
            assert getattr(one, side).key == getattr(two, side).key
        assert (one.labels is None) == (two.labels is None)
        assert one.labels is None or two.labels is None or one.labels.tolist() == two.labels.tolist()
    for before, after in zip(tasks_of(first), tasks_of(second), strict=True):
        assert before.name == after.name
        for here, there in ((before.queries, after.queries), (before.gallery, after.gallery)):
            assert [(e.key, identity(e)) for e in here] == [(e.key, identity(e)) for e in there]
        rows = np.arange(len(before.queries))
        np.testing.assert_array_equal(before.relevance.matrix(rows), after.relevance.matrix(rows))
        np.testing.assert_array_equal(before.candidates, after.candidates)
        np.testing.assert_array_equal(before.excluded, after.excluded)


def test_nothing_of_it_is_quarantined(load: Callable[[], RetrievalDataset]) -> None:
    data = load()
    rest, rejected = quarantine(data)
    assert rejected == []
    assert rest is data


@pytest.mark.parametrize("name", READERS)
def test_a_wrong_root_says_what_to_do(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("not a folder")
    for root in (tmp_path / "missing", tmp_path / "empty", tmp_path / "file"):
        with pytest.raises((FileError, DataError)) as caught:
            DATASETS[name].load(root)
        assert str(root) in str(caught.value)
        assert caught.value.remedy
        assert caught.value.expected


FORMS = [(name, layout) for name, layouts in LAYOUTS.items() for layout in layouts]


@pytest.mark.parametrize(("name", "layout"), FORMS, ids=["-".join(form) for form in FORMS])
def test_a_whole_tree_has_no_problem_but_its_size(name: str, layout: str, tmp_path: Path) -> None:
    LAYOUTS[name][layout].make(tmp_path)
    checked = check(name, tmp_path)
    assert [line for line in checked.problems() if not line.startswith("count: ")] == []
    assert checked.decoded == len(checked.survey.images)
    assert checked.survey.images or name == "shapes"


@pytest.mark.parametrize("name", READERS)
def test_an_empty_folder_lacks_files(name: str, tmp_path: Path) -> None:
    checked = check(name, tmp_path)
    assert not checked.good
    assert checked.survey.missing
    assert json.loads(json.dumps(checked.to_dict()))["missing"]

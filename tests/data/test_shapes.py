"""The loader: sizes, truth, disjoint splits and repeatable draws for each of the three protocols."""

import inspect
import typing

import numpy as np
import pytest

from hashret.data.shapes import load
from hashret.data.shapes_drawing import draw
from hashret.data.shapes_edits import families, scenes_of, twins
from hashret.data.shapes_language import SHAPE_WORDS, plural
from hashret.data.shapes_scene import CONCEPTS, SHAPES, labels_of, scenes, split_of
from hashret.errors import InputError
from hashret.relevance import SameInstance, SharedLabels, Targets

SMALL = {"train": 60, "validation": 30, "test": 12, "database": 50}
PROTOCOLS = ("labels", "captions", "edits")


@pytest.fixture(scope="module")
def small():
    return {protocol: load(protocol=protocol, **SMALL) for protocol in PROTOCOLS}


def sides(data):
    pairs = [(pair.query, pair.target) for pair in data.train]
    tasks = [(task.queries, task.gallery) for task in (*data.validation, *data.test)]
    return [example for pair in pairs for example in pair] + [e for task in tasks for side in task for e in side]


def content(data):
    return [(e.key, e.text, None if e.image is None else np.asarray(e.image).tobytes()) for e in sides(data)]


def test_labels_counts(small):
    data = small["labels"]
    assert len(data.train) == 300
    assert [task.name for task in data.test] == [task.name for task in data.validation] == ["i2t", "t2i"]
    assert [(len(task.queries), len(task.gallery)) for task in data.test] == [(12, 50)] * 2
    assert [(len(task.queries), len(task.gallery)) for task in data.validation] == [(10, 20)] * 2
    assert data.classes == CONCEPTS
    for task in (*data.validation, *data.test):
        assert isinstance(task.relevance, SharedLabels)
        image_first = task.name == "i2t"
        assert all((e.text is None) == image_first and (e.image is None) != image_first for e in task.queries)
        assert all((e.image is None) == image_first and (e.text is None) != image_first for e in task.gallery)


def test_captions_counts(small):
    data = small["captions"]
    assert len(data.train) == 300
    assert [(len(task.queries), len(task.gallery)) for task in data.test] == [(12, 60), (60, 12)]
    assert [(len(task.queries), len(task.gallery)) for task in data.validation] == [(30, 150), (150, 30)]
    for task in (*data.validation, *data.test):
        assert isinstance(task.relevance, SameInstance)
        right = task.relevance.matrix(np.arange(len(task.queries)))
        for query, row in zip(task.queries, right, strict=True):
            keys = {task.gallery[place].key.split("#")[0] for place in np.flatnonzero(row)}
            assert keys == {query.key.split("#")[0]}
        assert right.sum(axis=1).tolist() == [5 if task.name == "i2t" else 1] * len(task.queries)


def test_edits_counts(small):
    data = small["edits"]
    assert len(data.train) == 60
    (test,), (validation,) = data.test, data.validation
    assert (test.name, len(test.queries), len(test.gallery)) == ("composed", 12, 50)
    assert (len(validation.queries), len(validation.gallery)) == (7, 30)
    for pair in data.train:
        assert pair.query.image is not None
        assert isinstance(pair.query.text, str)
        assert pair.target.image is not None
        assert pair.target.text is None
    for task in (test, validation):
        assert isinstance(task.relevance, Targets)
        assert task.relevance.totals().tolist() == [1] * len(task.queries)
        assert len({e.key for e in task.gallery}) == len(task.gallery)


def test_five_pairs_share_picture_and_instance(small):
    for protocol in ("labels", "captions"):
        train = small[protocol].train
        for first in range(0, len(train), 5):
            five = train[first : first + 5]
            assert len({id(pair.query.image) for pair in five}) == 1
            assert len({pair.instance for pair in five}) == 1
            assert len({pair.target.text for pair in five}) == 5
        assert len({pair.instance for pair in train}) == 60
    assert len({pair.instance for pair in small["edits"].train}) == 60


def test_what_is_loaded_is_what_was_described(small):
    described = {split: scenes(split, count, seed=0) for split, count in SMALL.items()}
    for protocol in ("labels", "captions"):
        labels = np.stack([pair.labels for pair in small[protocol].train[::5]])
        np.testing.assert_array_equal(labels, [labels_of(scene) for scene in described["train"]])
    relevance = small["labels"].test[0].relevance
    np.testing.assert_array_equal(relevance.query_labels, [labels_of(scene) for scene in described["test"]])
    np.testing.assert_array_equal(relevance.gallery_labels, [labels_of(scene) for scene in described["database"]])
    triplets = [(text, target) for family in families("train", 60, seed=0) for text, target in family.edits]
    assert [pair.query.text for pair in small["edits"].train] == [text for text, _ in triplets]
    labels = np.stack([pair.labels for pair in small["edits"].train])
    np.testing.assert_array_equal(labels, [labels_of(target) for _, target in triplets])


def test_attributes_are_labels_where_they_are_asked_for(small):
    data = load(protocol="labels", attributes=True, **SMALL)
    assert len(data.classes) == 39
    assert data.classes[:24] == small["labels"].classes
    for pair, plain in zip(data.train, small["labels"].train, strict=True):
        assert pair.labels.shape == (39,)
        np.testing.assert_array_equal(pair.labels[:24], plain.labels)
        assert pair.labels[24:34].any()  # whatever is shown has a colour
        assert pair.labels[34:37].any()  # and a size


def test_training_references_have_twins_where_they_are_asked_for(small):
    assert [pair.group for pair in small["edits"].train] == [row // 4 for row in range(60)]
    data = load(protocol="edits", twins=True, **SMALL)
    drawn = [family for both in twins("train", 60, seed=0) for family in both]
    assert [pair.query.text for pair in data.train] == [text for family in drawn for text, _ in family.edits]
    labels = np.stack([pair.labels for pair in data.train])
    np.testing.assert_array_equal(labels, [labels_of(target) for family in drawn for _, target in family.edits])
    assert [pair.group for pair in data.train] == [row // 8 for row in range(60)]
    shown = [len({id(pair.query.image) for pair in data.train if pair.group == group}) for group in range(8)]
    assert shown == [2] * 8
    for made, kept in zip(data.test, small["edits"].test, strict=True):
        assert [query.text for query in made.queries] == [query.text for query in kept.queries]


def test_shapes_a_text_names_are_its_labels(small):
    names = {form: shape for shape, words in SHAPE_WORDS.items() for word in words for form in (word, plural(word))}
    told = [(pair.target.text, pair.labels) for pair in small["labels"].train]
    for task in (*small["labels"].test, *small["labels"].validation):
        asked, found = task.relevance.query_labels, task.relevance.gallery_labels
        told += [(e.text, row) for e, row in zip(task.queries, asked, strict=True) if e.text]
        told += [(e.text, row) for e, row in zip(task.gallery, found, strict=True) if e.text]
    assert len(told) == 300 + 12 + 50 + 10 + 20
    for text, labels in told:
        for form, shape in names.items():
            assert f" {form} " not in f" {text.replace(',', '')} " or labels[CONCEPTS.index(shape)], (form, text)


def test_tasks_of_labels_ask_by_either_side_of_the_same_scenes(small):
    i2t, t2i = small["labels"].test
    assert [e.key + "#0" for e in i2t.queries] == [e.key for e in t2i.queries]
    assert [e.key for e in i2t.gallery] == [e.key + "#0" for e in t2i.gallery]
    assert [e.key for e in t2i.gallery] == [f"shapes/database/{number:06d}" for number in range(50)]


def test_no_picture_is_in_two_splits(small):
    for data in small.values():
        trained = [e for pair in data.train for e in (pair.query, pair.target)]
        held = [e for task in data.validation for e in (*task.queries, *task.gallery)]
        asked = [e for task in data.test for e in (*task.queries, *task.gallery)]
        trained, held, asked = (
            {e.image.tobytes() for e in some if e.image is not None} for some in (trained, held, asked)
        )
        assert not trained & held
        assert not trained & asked
        assert not held & asked


def test_edit_splits_share_no_description():
    found = {split: set(scenes_of(families(split, 200, seed=0))) for split in ("train", "validation", "test")}
    assert sum(map(len, found.values())) == len(set().union(*found.values()))
    assert {split: {split_of(scene) for scene in some} for split, some in found.items()} == {s: {s} for s in found}


def test_composed_gallery_holds_reference_targets_and_near_duplicates(small):
    (task,) = small["edits"].test
    place = {id(e.image): number for number, e in enumerate(task.gallery)}
    for query, ids in zip(task.queries, task.relevance.targets, strict=True):
        assert place[id(query.image)] not in ids  # the reference is there, and is wrong
    numbers = [int(e.key.rsplit("/", 1)[1]) for e in task.gallery]
    assert sorted(numbers) == list(range(50))
    assert numbers != sorted(numbers)
    by_number = dict(zip(numbers, task.gallery, strict=True))
    # Drawn in the order of the families: 3 references, 12 targets, 24 near-duplicates, then others.
    for number, family in enumerate(families("test", 12, seed=0)):
        keys = [query.key for query in task.queries[4 * number : 4 * number + 4]]
        assert keys == [f"shapes/test/{13 * number:06d}#{step}" for step in range(4)]
        for step in range(len(family.edits)):
            (target,) = task.relevance.targets[4 * number + step]
            assert task.gallery[target] is by_number[13 * number + 1 + step]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_seeds_repeat_and_differ(protocol, small):
    first = content(small[protocol])
    assert content(load(protocol=protocol, **SMALL)) == first
    other = content(load(protocol=protocol, **SMALL, seed=1))
    assert sorted({key for key, _, _ in other}) == sorted({key for key, _, _ in first})
    assert not {image for _, _, image in first if image} & {image for _, _, image in other}
    texts, others = ({text for _, text, _ in some if text} for some in (first, other))
    assert len(texts & others) < 0.3 * len(texts)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_more_training_changes_no_test(protocol, small):
    more = load(protocol=protocol, **{**SMALL, "train": 80, "validation": 0})
    assert more.validation == ()
    for one, two in zip(small[protocol].test, more.test, strict=True):
        assert [e.key for e in one.queries] == [e.key for e in two.queries]
        for a, b in zip((*one.queries, *one.gallery), (*two.queries, *two.gallery), strict=True):
            assert a.text == b.text
            assert a.image is None or a.image.tobytes() == b.image.tobytes()


def test_size_is_the_side_of_every_picture():
    for protocol in PROTOCOLS:
        data = load(protocol=protocol, train=4, validation=4, test=1, database=4, size=80)
        assert {e.image.size for e in sides(data) if e.image is not None} == {(80, 80)}


def test_notes_state_sizes_seed_and_labels(small):
    for data in small.values():
        told = " ".join(data.notes)
        assert "seed 0" in told
        assert "64 x 64" in told
        assert "of 24 labels" in told
        assert "60" in told


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"size": 63}, "size"),
        ({"train": -1}, "train"),
        ({"train": 1}, "train"),
        ({"validation": -1}, "validation"),
        ({"validation": 3}, "validation"),
        ({"test": 0}, "test"),
        ({"database": -5}, "database"),
        ({"protocol": "tags"}, "protocol"),
        ({"protocol": "edits", "test": 100, "database": 324}, "database: expected at least 325"),
    ],
)
def test_bad_arguments_are_refused(wrong, named):
    with pytest.raises(InputError, match=f"^{named}"):
        load(**wrong)


def test_smallest_sizes_work():
    for protocol in PROTOCOLS:
        data = load(protocol=protocol, train=2, validation=4, test=1, database=4)
        assert len(data.validation) == len(data.test) == (1 if protocol == "edits" else 2)


def test_options_have_plain_types():
    hints = typing.get_type_hints(load)
    assert set(hints) == {*inspect.signature(load).parameters, "return"}
    assert {name for name, hint in hints.items() if hint is int} == {*SMALL, "size", "seed"}


def test_mean_colour_does_not_tell_the_shape():
    described = scenes("train", 1200, seed=0)
    colours = np.array(
        [np.asarray(draw(s, 64, palette=n, detail=n)).mean(axis=(0, 1)) for n, s in enumerate(described)]
    )
    colours = np.hstack([(colours - colours.mean(axis=0)) / colours.std(axis=0), np.ones((1200, 1))])
    labels = np.stack([labels_of(scene) for scene in described])[:, : len(SHAPES)].astype(float)
    weights = np.linalg.lstsq(colours[:800], labels[:800], rcond=None)[0]
    guessed, truth = colours[800:] @ weights, labels[800:]
    explained = 1 - ((truth - guessed) ** 2).sum(axis=0) / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    assert explained.max() < 0.06

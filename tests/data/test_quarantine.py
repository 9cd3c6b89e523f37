"""quarantine: what is bad goes, what is good stays, and the ground truth still says the same of the rest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashret.data import flickr
from hashret.data.captioned import caption_tasks, captioned, label_tasks, pairs
from hashret.data.quarantine import Rejected, check, quarantine
from hashret.errors import DataError, InputError
from hashret.examples import Example, Pair, RetrievalDataset, Task
from hashret.relevance import SameInstance, SharedLabels, Targets

REAL = Path(__file__).parents[3] / "shared" / "data" / "flickr8k"
RNG = np.random.default_rng(0)
RELEVANCES = {
    "labels": SharedLabels(RNG.integers(0, 2, (300, 3)), RNG.integers(0, 2, (40, 3))),
    "instances": SameInstance(RNG.integers(0, 9, 300), RNG.integers(0, 9, 40)),
    "targets": Targets([RNG.choice(40, RNG.integers(0, 5), replace=False) for _ in range(300)], 40),
}


@pytest.mark.parametrize("kind", RELEVANCES)
@pytest.mark.parametrize(("rows", "ids"), [(300, 40), (270, 17), (1, 1), (0, 5), (5, 0)])
def test_restricted_relevance_equals_the_restricted_matrix(kind, rows, ids):
    relevance = RELEVANCES[kind]
    rows, ids = RNG.permutation(300)[:rows], RNG.permutation(40)[:ids]
    narrowed = relevance.restrict(rows, ids)
    assert (narrowed.queries, narrowed.gallery) == (len(rows), len(ids))
    expected = relevance.matrix(np.arange(300))[rows][:, ids]
    np.testing.assert_array_equal(narrowed.matrix(np.arange(len(rows))), expected)
    np.testing.assert_array_equal(narrowed.totals(), expected.sum(1))


@pytest.mark.parametrize("kind", RELEVANCES)
@pytest.mark.parametrize(
    ("rows", "ids"), [([300], [0]), ([-1], [0]), ([0], [40]), ([0], [-1]), ([0], [[0]]), ([0], [True]), ([0], [0.0])]
)
def test_restricting_to_what_is_not_there_is_refused(kind, rows, ids):
    with pytest.raises(InputError):
        RELEVANCES[kind].restrict(rows, ids)


@pytest.fixture
def photos(tmp_path):
    """Twelve images of which number 3 is missing, 5 empty, 8 truncated and 10 text."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for number in range(12):
        Image.fromarray(noise).save(tmp_path / f"{number}.jpg")
    (tmp_path / "3.jpg").unlink()
    (tmp_path / "5.jpg").write_bytes(b"")
    (tmp_path / "8.jpg").write_bytes((tmp_path / "8.jpg").read_bytes()[:600])
    (tmp_path / "10.jpg").write_text("hello")
    return [tmp_path / f"{number}.jpg" for number in range(12)]


BAD = {3: "no such file", 5: "an empty file", 8: "a truncated image", 10: "bytes that are no known image"}


def made_of(photos, empty=()):
    """Items of two captions; ``empty`` names captions, as (item, number), without a word."""
    items = []
    for number, path in enumerate(photos):
        texts = [" \t" if (number, i) in empty else f"text {i} of {number}" for i in range(2)]
        items.append(captioned(path.name, path, texts, number, ["ab"[number % 2]], ["a", "b"]))
    return items


def numbers(examples):
    return [int(example.key.split(".")[0]) for example in examples]


def judged(task):
    """Ground truth by keys."""
    found = np.argwhere(task.relevance.matrix(np.arange(len(task.queries))))
    return {(task.queries[row].key, task.gallery[place].key) for row, place in found}


def test_check_gives_a_reason_or_none(photos):
    for number, path in enumerate(photos):
        assert check(Example(image=path)) == BAD.get(number)
    good = [
        Example(text="x"), Example(text=" \u200bé"), Example(image=np.zeros(3, np.float32)), Example(text=np.ones(2)),
        Example(image=np.zeros((2, 2), np.uint8)), Example(image=Image.new("RGB", (2, 2)), text="bigger"),
    ]  # fmt: skip
    assert [check(example) for example in good] == [None] * len(good)
    bad = [
        (Example(text=""), "an empty text"), (Example(text="\u200b \n"), "an empty text"),
        (Example(text="a \ud83d"), "no valid Unicode"),
        (Example(image=np.array([1, np.nan])), "NaN or infinity in its features"),
        (Example(text=np.array([np.inf])), "NaN or infinity in its features"),
        (Example(image=np.array(["a"])), "a vector of <U1, not of numbers"),
        (Example(image=photos[3], text=""), "no such file"), (Example(image=photos[0], text=""), "an empty text"),
    ]  # fmt: skip
    assert [check(example) for example, _ in bad] == [reason for _, reason in bad]


def test_a_clean_dataset_is_returned_as_it_is(photos):
    items = made_of([path for number, path in enumerate(photos) if number not in BAD])
    data = RetrievalDataset("clean", pairs(items[:4]), caption_tasks(items[4:6]), caption_tasks(items[6:]), ("a", "b"))
    rest, rejected = quarantine(data)
    assert rest is data
    assert rejected == []


def test_bad_items_leave_pairs_queries_and_galleries(photos):
    items = made_of(photos, empty={(0, 1), (7, 0), (11, 1)})
    validation, test = caption_tasks(items[4:7]), label_tasks(items[7:], items[:4], 0)
    data = RetrievalDataset("mixed", pairs(items[:4]), validation, test, ("a", "b"), ("before",))
    rest, rejected = quarantine(data)
    assert [pair.target.key for pair in rest.train] == ["0.jpg#0", "1.jpg#0", "1.jpg#1", "2.jpg#0", "2.jpg#1"]
    i2t, t2i = rest.validation
    assert numbers(i2t.queries) == numbers(t2i.gallery) == [4, 6]
    assert numbers(i2t.gallery) == [4, 4, 5, 5, 6, 6]
    assert numbers(t2i.queries) == [4, 4, 6, 6]
    i2t, t2i = rest.test
    assert numbers(i2t.queries) == [7, 9, 11]
    assert numbers(i2t.gallery) == numbers(i2t.partners) == [0, 1, 2], "an item is out on both of its sides"
    assert [e.key for e in i2t.partners] == [e.key for e in t2i.gallery]
    assert numbers(t2i.queries) == [8, 9, 10, 11]
    assert numbers(t2i.gallery) == numbers(t2i.partners) == [0, 1, 2]
    assert [e.key for e in t2i.partners] == [e.key for e in i2t.gallery]
    for before, after in zip((*data.validation, *data.test), (*rest.validation, *rest.test), strict=True):
        left = {q.key for q in after.queries}, {g.key for g in after.gallery}
        assert judged(after) == {(q, g) for q, g in judged(before) if q in left[0] and g in left[1]}
        assert after.relevance.totals().min() > 0
    gone = "all its right answers were rejected"
    assert set(rejected) == {
        Rejected("train", "3.jpg", BAD[3]), Rejected("train", "0.jpg#1", "an empty text"),
        Rejected("validation/i2t/queries", "5.jpg", BAD[5]), Rejected("validation/t2i/gallery", "5.jpg", BAD[5]),
        Rejected("validation/t2i/queries", "5.jpg#0", gone), Rejected("validation/t2i/queries", "5.jpg#1", gone),
        Rejected("test/i2t/queries", "8.jpg", BAD[8]), Rejected("test/i2t/queries", "10.jpg", BAD[10]),
        Rejected("test/t2i/queries", "7.jpg#0", "an empty text"), Rejected("test/t2i/gallery", "3.jpg", BAD[3]),
        Rejected("test/i2t/gallery", "3.jpg", BAD[3]),
    }  # fmt: skip
    assert len(rejected) == len(set(rejected))
    assert rest.notes[0] == "before"
    assert "3 training pairs left out" in rest.notes[1]
    assert quarantine(rest) == (rest, [])


def test_a_query_without_answers_from_the_start_stays(photos):
    items = made_of(photos[:4])
    nothing = replace(items[1], labels=np.zeros(2, np.uint8))
    data = RetrievalDataset("some", pairs(items), (), label_tasks([items[0], nothing], items[:4], 0), ("a", "b"))
    rest, _ = quarantine(data)
    assert numbers(rest.test[1].queries) == [0, 1]
    assert rest.test[1].relevance.totals().tolist() == [2, 0]


def test_candidates_are_renumbered_and_broken_subsets_go(photos):
    gallery = [Example(image=path) for path in photos[2:8]]  # of which places 1 and 3 are bad
    queries = [Example(image=photos[0], text=text, key=text) for text in "abcd"]
    candidates = np.array([[0, 2, 4], [1, 2, 4], [5, 4, -1], [5, 0, 2]])
    task = Task("composed", queries, gallery, Targets([[2], [4], [5], [5]], 6), candidates)
    pair = [Pair(queries[0], gallery[0]), Pair(queries[1], gallery[2])]
    rest, rejected = quarantine(RetrievalDataset("composed", pair, (), (task,)))
    (after,) = rest.test
    assert [q.key for q in after.queries] == ["a", "c", "d"]
    assert [g.key for g in after.gallery] == ["2.jpg", "4.jpg", "6.jpg", "7.jpg"]
    assert after.candidates.tolist() == [[0, 1, 2], [3, 2, -1], [3, 0, 1]]
    assert [ids.tolist() for ids in after.relevance.targets] == [[1], [3], [3]]
    assert Rejected("test/composed/queries", "b", "one of its candidates was rejected") in rejected
    assert len(rejected) == 3


def test_composed_queries_of_one_image_are_told_apart(photos):
    queries = [Example(image=photos[0], text=text, key=key) for text, key in (("x", "0"), ("", "1"), (" ", "2"))]
    train = [Pair(query, Example(image=photos[1])) for query in (*queries, queries[0])]
    rest, rejected = quarantine(RetrievalDataset("composed", train))
    assert len(rest.train) == 2
    assert [item.key for item in rejected] == ["1", "2"]


def test_an_image_named_by_many_examples_is_reported_once_a_place(photos):
    def pair(path):
        return Pair(Example(image=path), Example(text="x"))

    train = [pair(photos[0]), pair(photos[3]), pair(str(photos[3])), pair(photos[1])]
    rest, rejected = quarantine(RetrievalDataset("many", train))
    assert len(rest.train) == 2
    assert rejected == [Rejected("train", "3.jpg", "no such file")]


def test_a_lazy_dataset_is_judged_once_and_kept(photos):
    class Lazy:
        """Makes its pairs anew at each access, as a generated dataset may."""

        def __len__(self):
            return 4

        def __getitem__(self, row):
            if row >= 4:
                raise IndexError
            broken = np.full((2, 2), row, np.uint8) if row != 2 else np.full(3, np.nan)
            return Pair(Example(image=broken, key=str(row)), Example(text="x"))

    rest, rejected = quarantine(RetrievalDataset("lazy", Lazy()))
    assert [pair.query.key for pair in rest.train] == ["0", "1", "3"]
    assert rejected == [Rejected("train", "2", "NaN or infinity in its features")]


def test_too_little_left_names_the_commonest_reason(tmp_path, photos):
    items = made_of([tmp_path / "lost" / f"{number}.jpg" for number in range(6)])
    data = RetrievalDataset("lost", pairs(items), (), caption_tasks(items), ("a", "b"))
    with pytest.raises(DataError, match=r"after 6 were rejected.*no such file \(6 times, first '0.jpg'\)"):
        quarantine(data)
    good = made_of([photos[0], photos[1]])
    for tasks in (caption_tasks(items), label_tasks(items, good, 0), label_tasks(good, items, 0)):
        with pytest.raises(DataError, match="4 training pairs.*no such file"):
            quarantine(RetrievalDataset("lost", pairs(good), (), tasks, ("a", "b")))


def test_a_share_above_what_is_allowed_stops(photos):
    """Four of twelve images are bad; their captions, five times as many, do not water that down."""
    items = made_of(photos)
    data = RetrievalDataset("lossy", pairs(items), caption_tasks(items[:3]), caption_tasks(items), ("a", "b"))
    assert len(quarantine(data, most=4 / 12)[0].train) == 16
    with pytest.raises(DataError) as caught:
        quarantine(data, most=0.33)
    message = str(caught.value)
    assert "dataset lossy: expected at most 33.00% of its images to be unusable, got 4 of 12 (33.33%)" in message
    assert "Commonest reason: no such file (1 times, first '3.jpg')" in message
    assert "raise training.max_rejected" in message


def test_texts_are_counted_by_themselves_and_one_by_one(photos):
    """Six of sixteen captions are blank, all alike: they count as six, wherever else they stand."""
    good = [path for number, path in enumerate(photos) if number not in BAD]
    blank = {(number, 1) for number in range(6)}
    items = made_of(good, empty=blank)
    data = RetrievalDataset("mute", pairs(items), caption_tasks(items), caption_tasks(items), ("a", "b"))
    assert len(quarantine(data, most=6 / 16)[0].train) == 10
    with pytest.raises(DataError, match=r"37.40% of its texts to be unusable, got 6 of 16 \(37.50%\)") as caught:
        quarantine(data, most=0.374)
    assert "an empty text (6 times, first '0.jpg#1')" in str(caught.value)
    clean = RetrievalDataset("clean", pairs(made_of(good)), (), caption_tasks(made_of(good)), ("a", "b"))
    assert quarantine(clean, most=0.0) == (clean, [])


def test_queries_that_lost_their_answers_are_not_counted(photos):
    """One image of nine is bad; the two captions it answered go with it, but nothing is wrong with them."""
    items = made_of([photos[number] for number in (0, 1, 2, 3, 4, 6, 7, 9, 11)])
    data = RetrievalDataset("lossy", pairs(items[:3]), (), caption_tasks(items), ("a", "b"))
    rest, rejected = quarantine(data, most=1 / 9)
    assert sum(item.reason == "all its right answers were rejected" for item in rejected) == 2
    assert len(rest.test[1].queries) == 16


@pytest.mark.skipif(not REAL.is_dir(), reason="needs Flickr8k beside the checkout, ../shared/data/flickr8k")
def test_flickr8k_is_clean():
    data = flickr.load(REAL, validation=500, test="val")
    rest, rejected = quarantine(data)
    assert rejected == []
    assert rest is data

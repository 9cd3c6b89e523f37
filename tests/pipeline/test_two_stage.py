"""Two-stage search: a shortlist of everything is the exhaustive ranking, what a shortlist leaves out is a miss."""

import json

import numpy as np
import pytest
import torch

from hashret.errors import InputError
from hashret.evaluation import evaluate
from hashret.examples import Example, Task
from hashret.methods import METHODS
from hashret.models import Processor, TokenEncoder, VectorEncoder
from hashret.pipeline import evaluate_second_look, read_recipe, train
from hashret.pipeline.two_stage import Queries, TwoStage, TwoStageGallery, choose_weight, ended, fine_ranking, ways_of
from hashret.relevance import SameInstance
from hashret.retriever import Retriever

ITEMS, WIDTH = 30, 12
SIZES = {
    "tgdt": {
        "dimension": 16, "heads": 2, "feedforward": 16, "region_layers": 0, "base_layers": 1, "global_layers": 1,
        "hash_width": 16,
    },
    "icone": {"dimension": 16, "width": 16, "hash_width": 16},
}  # fmt: skip


def retriever_of(name, bits=48):
    torch.manual_seed(1)
    kind = METHODS[name]
    encoder = TokenEncoder if kind.reads_tokens else VectorEncoder
    options = kind.options(bits=bits, **SIZES[name])
    method = kind(encoder(dimension=WIDTH), encoder(dimension=WIDTH), classes=0, words=WIDTH, options=options)
    return Retriever(method, Processor.of(method.image, method.text))


def task_of(name, direction="t2i"):
    drawn = np.random.default_rng(4)

    def item():
        shape = (int(drawn.integers(1, 6)), WIDTH) if METHODS[name].reads_tokens else (WIDTH,)
        return drawn.normal(size=shape).astype(np.float32)

    images = [Example(image=item(), key=f"i{n}") for n in range(ITEMS)]
    texts = [Example(text=item(), key=f"t{n}") for n in range(ITEMS)]
    sides = (texts, images) if direction == "t2i" else (images, texts)
    return Task(direction, *sides, SameInstance(np.arange(ITEMS), np.arange(ITEMS)))


every_way = pytest.mark.parametrize(
    ("name", "direction", "by"),
    [(name, direction, by) for name in SIZES for direction in ("t2i", "i2t") for by in ("codes", "embedding")],
)


@every_way
def test_a_shortlist_of_everything_is_the_exhaustive_ranking(name, direction, by, tmp_path):
    retriever, task = retriever_of(name), task_of(name, direction)
    gallery, queries = TwoStageGallery.write(retriever, task.gallery, tmp_path), Queries.of(retriever, task.queries)
    whole = gallery.search_all(queries)
    assert gallery.search(queries, TwoStage(ITEMS, by)) == whole
    assert gallery.search(queries, TwoStage(10 * ITEMS, by)) == whole
    assert gallery.search(queries.one(7), TwoStage(ITEMS, by)).ids.tolist() == whole.ids[7:8].tolist()


@every_way
def test_the_second_stage_orders_the_shortlist_by_the_method_s_score(name, direction, by, tmp_path):
    """Against the method's own score of each pair, plus the weighted score of the first stage."""
    retriever, task = retriever_of(name), task_of(name, direction)
    gallery = TwoStageGallery.write(retriever, task.gallery, tmp_path, "float32")
    queries, how = Queries.of(retriever, task.queries), TwoStage(7, by, 3.0)
    listed, found = gallery.first(queries, how), gallery.search(queries, how)
    with torch.no_grad():
        for row in range(ITEMS):
            asked = retriever.processor([task.queries[row]] * 7)
            held = retriever.processor([task.gallery[place] for place in listed.ids[row]])
            scores = retriever.method.score(asked, held).numpy() + 3 * listed.scores[row]
            order = np.argsort(-scores)
            assert found.ids[row].tolist() == listed.ids[row][order].tolist()
            assert np.allclose(found.scores[row], scores[order], atol=1e-3)


@pytest.mark.parametrize("name", SIZES)
def test_what_the_shortlist_leaves_out_is_a_miss(name, tmp_path):
    retriever, task = retriever_of(name), task_of(name)
    gallery, queries = TwoStageGallery.write(retriever, task.gallery, tmp_path), Queries.of(retriever, task.queries)
    how = TwoStage(5, "embedding")
    listed = gallery.first(queries, how)
    inside = np.mean([row in ids for row, ids in enumerate(listed.ids)])
    assert 0 < inside < 1, "some right answers are left out"
    scores = evaluate(ended(gallery.search(queries, how)), task.relevance, ["hit@5", "hit@10"], unanswered="zero")
    assert scores["hit@5"] == pytest.approx(inside)
    assert scores["hit@10"] == pytest.approx(inside), "nothing comes back behind the shortlist"


def test_codes_as_the_first_stage_give_their_share_of_equal_bits(tmp_path):
    retriever, task = retriever_of("icone"), task_of("icone")
    gallery, queries = TwoStageGallery.write(retriever, task.gallery, tmp_path), Queries.of(retriever, task.queries)
    listed = gallery.first(queries, TwoStage(3, "codes"))
    ours, theirs = (retriever.encode(side).unpack() for side in (task.queries, task.gallery))
    agree = (ours[:, None] * theirs[listed.ids]).mean(2)
    assert np.allclose(listed.scores, agree, atol=1e-6)


def test_the_weight_is_the_best_on_validation_tasks():
    retriever, task = retriever_of("tgdt"), task_of("tgdt")
    how, tried = choose_weight(retriever, [task], TwoStage(10), ["hit@1", "hit@5"], (0.0, 1.0, 1e6))
    assert set(tried) == {0.0, 1.0, 1e6}
    assert tried[how.weight] == max(tried.values())
    embeddings = (retriever.embed(task.queries), retriever.embed(task.gallery))
    first = evaluate(embeddings, task.relevance, ["hit@1", "hit@5"])
    assert tried[1e6] == pytest.approx((first["hit@1"] + first["hit@5"]) / 2), "the first stage alone"
    with pytest.raises(InputError, match="validation tasks to choose it on"):
        choose_weight(retriever, [], TwoStage(10), ["hit@1"])


def test_candidates_cannot_be_looked_at():
    task = task_of("tgdt")
    narrowed = Task("t2i", task.queries, task.gallery, task.relevance, np.tile(np.arange(4), (ITEMS, 1)))
    with pytest.raises(InputError, match="queries that may be answered with everything"):
        fine_ranking(retriever_of("tgdt"), narrowed)


TINY = {
    "data": {"name": "shapes", "protocol": "captions", "train": 24, "validation": 8, "test": 12, "size": 64},
    "image": {"name": "cnn", "size": 32, "width": 8, "dimension": 32},
    "text": {"name": "transformer", "dimension": 32, "layers": 1},
    "training": {"metric": "hit@1"},
}
STAGES = {
    "tgdt": {"local": {"epochs": 1}, "global": {"epochs": 1}, "joint": {"epochs": 1}, "codes": {"epochs": 1}},
    "icone": {"instance": {"epochs": 1}, "contrastive": {"epochs": 1}, "codes": {"epochs": 1}},
}


@pytest.mark.parametrize("name", STAGES)
def test_a_run_is_measured_by_each_way(name, tmp_path):
    recipe = read_recipe({**TINY, "method": {"name": name, "bits": 16, **SIZES[name]}, "stages": STAGES[name]})
    train(recipe, tmp_path / "run", quiet=True)
    results = evaluate_second_look(tmp_path / "run", 6, timed=2)
    title = type(Retriever.from_pretrained(tmp_path / "run").method).__name__
    assert list(results.scores) == [f"{title}, {way}" for way in ("first stage", "two stages", "exhaustive")]
    assert results.ranked == "shortlists of 6 by embeddings of 16 dimensions, cosine"
    assert all(value > 0 for tasks in results.milliseconds.values() for value in tasks.values())
    kept = json.loads((tmp_path / "run" / "results-second-look-embedding.json").read_text())
    assert kept["shortlist"] == 6
    assert kept["scores"] == results.to_dict()["scores"]
    assert any(note.startswith("weight of stage 1") for note in kept["notes"])
    assert not [path for path in (tmp_path / "run").iterdir() if path.is_dir() and path.name != "model"]
    given = evaluate_second_look(tmp_path / "run", 6, by="codes", weight=2, timed=1)
    assert given.ranked == "shortlists of 6 by 16 bits"
    assert any("2, given" in note for note in given.notes)
    with pytest.raises(InputError, match="a shortlist of 1 or more"):
        evaluate_second_look(tmp_path / "run", 0)


def test_the_ways_are_what_they_are_called(tmp_path):
    retriever, task = retriever_of("tgdt"), task_of("tgdt")
    gallery, queries = TwoStageGallery.write(retriever, task.gallery, tmp_path), Queries.of(retriever, task.queries)
    how = TwoStage(4)
    found = {way: search(queries) for way, search in ways_of(gallery, how).items()}
    assert found["first stage"] == gallery.first(queries, how)
    assert found["two stages"] == gallery.search(queries, how)
    assert found["exhaustive"] == gallery.search_all(queries)

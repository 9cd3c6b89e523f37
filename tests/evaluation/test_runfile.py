"""Runs and qrels: what is written is read again, other evaluators agree, and where they differ is as documented."""

import itertools
import re

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from hashret.codes import Codes
from hashret.errors import FileError, FormatError, InputError, NonFiniteError
from hashret.evaluation import evaluate
from hashret.evaluation.runfile import read_qrels, read_run, score_run, write_qrels, write_run
from hashret.relevance import GradedTargets, SharedLabels, Targets
from hashret.search import HammingIndex, Hits

# Ours -> trec_eval's, ir_measures' and ranx's; map@K has another divisor there and is compared apart.
TREC = {"map": "map", "precision@3": "P_3", "recall@5": "recall_5", "hit@2": "success_2", "ndcg@4": "ndcg_cut_4"}
TREC["ndcg"] = "ndcg"
MEASURES = {"map": "AP", "precision@3": "P@3", "recall@5": "R@5", "hit@2": "Success@2", "ndcg@4": "nDCG@4"}
RANX = {"map": "map", "precision@3": "precision@3", "recall@5": "recall@5", "hit@2": "hit_rate@2", "ndcg@4": "ndcg@4"}


def some(rng, *, queries=6, documents=12, tied=True, grades=2):
    """A random run and qrels: documents that are ranked, judged, both or neither; each query has a right answer."""
    run, qrels = {}, {}
    for query in range(queries):
        listed = rng.permutation(documents)[: rng.integers(1, documents + 1)]
        values = rng.integers(0, 4, len(listed)) / 2 if tied else rng.permutation(len(listed)) / 2
        run[f"q{query}"] = {f"d{number}": float(value) for number, value in zip(listed, values, strict=True)}
        judged = rng.permutation(documents)[: rng.integers(1, documents + 1)]
        qrels[f"q{query}"] = {f"d{number}": int(rng.integers(0, grades)) for number in judged}
        qrels[f"q{query}"][f"d{judged[0]}"] = 1
    return run, qrels


def slow_map(order, right):
    found, total = 0, 0.0
    for place, document in enumerate(order, start=1):
        if document in right:
            found += 1
            total += found / place
    return total / len(right)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_policies_are_orders_of_documents(seed):
    rng = np.random.default_rng(seed)
    run, qrels = some(rng, queries=2, documents=5)
    found = {ties: score_run(run, qrels, ties=ties).scores for ties in ("expected", "by-id", "best", "worst")}
    for row, query in enumerate(qrels):
        right = {document for document, grade in qrels[query].items() if grade > 0}
        orders = [
            order
            for order in itertools.permutations(run[query])
            if all(run[query][a] >= run[query][b] for a, b in itertools.pairwise(order))
        ]
        values = [slow_map(order, right) for order in orders]
        descending = sorted(sorted(run[query], reverse=True), key=lambda document: -run[query][document])
        wanted = {"expected": np.mean(values), "best": max(values), "worst": min(values)}
        wanted["by-id"] = slow_map(descending, right)
        for ties, value in wanted.items():
            assert found[ties].per_query["map"][row] == pytest.approx(value, abs=1e-12), ties


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_trec_eval_agrees_on_every_ranking(tied, graded):
    """Ties too, where equal scores go by descending name."""
    rng = np.random.default_rng(0)
    for _ in range(150):
        run, qrels = some(rng, tied=tied, grades=4 if graded else 2)
        theirs = pytrec_eval.RelevanceEvaluator(qrels, {re.sub(r"_(\d)", r".\1", name) for name in TREC.values()})
        theirs = theirs.evaluate(run)
        found = score_run(run, qrels, list(TREC), ties="by-id" if tied else "expected")
        for metric, name in TREC.items():
            values = [theirs[query][name] for query in found.names]
            np.testing.assert_allclose(found.scores.per_query[metric], values, atol=1e-12, err_msg=metric)


def test_ir_measures_agrees():
    rng = np.random.default_rng(1)
    for _ in range(10):
        run, qrels = some(rng, grades=3)
        run.pop("q1")  # judged and not ranked
        judged = [ir_measures.Qrel(query, d, g) for query, row in qrels.items() for d, g in row.items()]
        ranked = [ir_measures.ScoredDoc(query, d, s) for query, row in run.items() for d, s in row.items()]
        measures = {metric: ir_measures.parse_measure(name) for metric, name in MEASURES.items()}
        theirs = ir_measures.calc_aggregate(measures.values(), judged, ranked)
        found = score_run(run, qrels, list(MEASURES), ties="by-id")
        assert found.unranked == 1
        for metric, measure in measures.items():
            assert found.scores[metric] == pytest.approx(theirs[measure], abs=1e-12), metric


@pytest.mark.filterwarnings("ignore")  # its dependencies warn
def test_ranx_agrees_without_ties():
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(2)
    for _ in range(10):
        run, qrels = some(rng, tied=False, grades=3)
        theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), list(RANX.values()))
        found = score_run(run, qrels, list(RANX)).scores
        for metric, name in RANX.items():
            assert found[metric] == pytest.approx(theirs[name], abs=1e-12), metric


@settings(deadline=None, max_examples=20)
@given(bits=st.integers(2, 20), k=st.integers(1, 50), seed=st.integers(0, 2**32 - 1))
def test_what_a_search_found_is_scored_the_same_after_the_trip(bits, k, seed, tmp_path_factory):
    rng, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("trip")
    theirs = Codes(np.packbits(rng.random((40, bits)) < 0.5, axis=1), bits)
    relevance = SharedLabels(rng.random((7, 3)) < 0.5, np.vstack([np.ones((1, 3)), rng.random((39, 3)) < 0.4]))
    index = HammingIndex(bits)
    index.add(theirs)
    hits = index.search(theirs[:7], k)
    queries, items = [f"q{row}" for row in range(7)], [f"item{99 - number}" for number in range(40)]
    write_run(folder / "a.run", hits, queries, items)
    write_qrels(folder / "a.qrels", relevance, queries, items)
    qrels = read_qrels(folder / "a.qrels")
    answered = relevance.totals() > 0  # who has no right answer has no line
    assert list(qrels) == [query for query, any_answer in zip(queries, answered, strict=True) if any_answer]
    if not qrels:
        return
    # Known to its end, or cut by rank to what is known.
    metrics = ["map", "recall@3", "ndcg@9"] if k >= 40 else [f"map@{k}", f"precision@{k}"]
    for ties in ("expected", "by-id", "best", "worst") if k >= 40 else ("by-id",):
        ours = evaluate(hits, relevance, metrics, ties=ties)
        found = score_run(read_run(folder / "a.run"), qrels, metrics, ties=ties)
        assert found.unranked == 0
        for metric in metrics:
            np.testing.assert_allclose(found.scores.per_query[metric], ours.counted(metric), atol=1e-12)


def test_grades_survive_the_trip(tmp_path):
    relevance = GradedTargets([{2: 3.0, 0: 1.0}, {}, {1: 2.0}], gallery=3)
    write_qrels(tmp_path / "q", relevance, ["a", "b", "c"], ["x", "y", "z"])
    assert (tmp_path / "q").read_text() == "a 0 x 1\na 0 z 3\nc 0 y 2\n"
    assert read_qrels(tmp_path / "q") == {"a": {"x": 1, "z": 3}, "c": {"y": 2}}
    with pytest.raises(InputError, match="gains of query a: expected whole numbers"):
        write_qrels(tmp_path / "r", GradedTargets([{0: 0.5}], gallery=1), ["a"], ["x"])
    assert not (tmp_path / "r").exists()


def test_the_cases_where_others_differ_are_as_documented():
    qrels = {"q": {"a": 1, "b": 0}}
    near = {"q": {"a": 1.0 + 1e-12, "b": 1.0}}
    assert score_run(near, qrels, ties="by-id").scores["map"] == 1
    assert pytrec_eval.RelevanceEvaluator(qrels, {"map"}).evaluate(near)["q"]["map"] == 0.5, "32-bit floats"
    both = {"q": {"a": 1, "b": 1, "c": 1}}
    cut = score_run({"q": {"a": 3.0, "x": 2.0, "b": 1.0}}, both, ["map@2", "map@2:hits"]).scores.means()
    theirs = pytrec_eval.RelevanceEvaluator(both, {"map_cut.2"}).evaluate({"q": {"a": 3.0, "x": 2.0, "b": 1.0}})
    assert cut == {"map@2": 1 / 2, "map@2:hits": 1.0}
    assert theirs["q"]["map_cut_2"] == pytest.approx(1 / 3)
    none = {"q": {"a": 1}, "r": {"a": 0}}
    run = {"q": {"a": 1.0}, "r": {"a": 1.0}}
    assert score_run(run, none).scores["map"] == 1
    assert score_run(run, none, unanswered="zero").scores["map"] == 0.5
    theirs = pytrec_eval.RelevanceEvaluator(none, {"map"}).evaluate(run)
    assert np.mean([row["map"] for row in theirs.values()]) == 0.5
    missing = pytrec_eval.RelevanceEvaluator({"q": {"a": 1}, "r": {"a": 1}}, {"map"}).evaluate({"q": {"a": 1.0}})
    assert list(missing) == ["q"]


def test_what_is_ranked_or_judged_only_is_counted():
    run = {"q1": {"a": 1.0}, "q3": {"a": 1.0}, "q4": {"a": 1.0}}
    found = score_run(run, {"q2": {"a": 1}, "q1": {"a": 1, "b": -1}}, ["map", "mean-rank"])
    assert (found.names, found.unranked, found.unjudged) == (("q2", "q1"), 1, 2)
    assert score_run(run, {"q1": {"a": 1}, "q2": {"a": 0}}).unranked == 0, "there was nothing to find"
    assert found.scores.per_query["map"].tolist() == [0, 1]
    assert found.scores.per_query["mean-rank"].tolist() == [np.inf, 1]


def test_a_right_answer_that_is_not_listed_is_a_miss_not_an_unknown():
    found = score_run({"q": {"a": 2.0, "b": 1.0}}, {"q": {"a": 1, "z": 1}}, ["map", "recall@50", "precision@50"])
    assert found.scores.means() == {"map": 0.5, "recall@50": 0.5, "precision@50": 1 / 50}


def test_lines_that_are_none_are_refused_by_number(tmp_path):
    path = tmp_path / "x"
    good = "q Q0 a 1 2.5 tag\n"
    for text, said in (
        (good + "q Q0 b 2 1.5\n", "line 2: expected 6 fields (query Q0 document rank score tag), got 5 fields"),
        (good + "\nq Q0 b two words 1 1 t\n", "line 3: expected 6 fields"),
        (good + "q Q0 b 2 nan t\n", "line 2: expected a finite score, got 'nan'"),
        (good + "q Q0 b 2 -inf t\n", "line 2: expected a finite score, got '-inf'"),
        (good + "q Q0 b 2 high t\n", "line 2: expected a finite score, got 'high'"),
        (good + "q Q0 c 2 1 t\n" + good, "line 3: expected each document once a query, got a twice"),
        ("\n \n", "expected lines"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(FormatError, match=re.escape(said)):
            read_run(path)
    for text, said in (
        ("q 0 a 1\nq 0 b\n", "line 2: expected 4 fields"),
        ("q 0 a 0.5\n", "line 1: expected a whole grade, got '0.5'"),
        ("q 0 a 1\nq 0 a 0\n", "line 2: expected each document once a query"),
        ("", "expected lines"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(FormatError, match=re.escape(said)):
            read_qrels(path)
    path.write_bytes(b"q Q0 \xff 1 1 t\n")
    with pytest.raises(FormatError, match="UTF-8"):
        read_run(path)
    with pytest.raises(FileError, match="expected a file"):
        read_run(tmp_path / "nothing")


def test_tabs_and_runs_of_blanks_separate_too(tmp_path):
    (tmp_path / "x").write_text("q\tQ0  a 1\t2.5e-1 tag\r\n", encoding="utf-8")
    assert read_run(tmp_path / "x") == {"q": {"a": 0.25}}


def test_names_that_a_line_cannot_hold_are_refused(tmp_path):
    hits = Hits(np.array([[0, 3]], np.int32), np.array([[1, 0]]))
    for queries, items, tag, said in (
        (["two words"], ["a", "b"], "t", "names without white space, got 'two words'"),
        ([""], ["a", "b"], "t", "names without white space"),
        (["q"], ["a", "a"], "t", "each name once"),
        (["q"], ["a"], "t", "a name for id 1, got 1 names"),
        (["q", "r"], ["a", "b"], "t", "expected 1 names, got 2"),
        (["q"], ["a", "b"], "my system", "tag: expected names without white space"),
    ):
        with pytest.raises(InputError, match=said):
            write_run(tmp_path / "x", hits, queries, items, tag)
    with pytest.raises(InputError, match="item names: expected 2 names, got 1"):
        write_qrels(tmp_path / "x", Targets([[0]], 2), ["q"], ["a"])
    assert not (tmp_path / "x").exists()


def test_padding_is_not_written(tmp_path):
    index = HammingIndex(8)
    index.add(Codes(np.array([[3]], np.uint8), 8))
    write_run(tmp_path / "x", index.search(Codes(np.array([[0], [3]], np.uint8), 8), 4), ["q", "r"], ["only"])
    assert (tmp_path / "x").read_text() == "q Q0 only 1 -2 hashret\nr Q0 only 1 0 hashret\n"


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(NonFiniteError, match="scores of query q: expected finite numbers, got nan"):
        score_run({"q": {"a": float("nan")}}, {"q": {"a": 1}})
    with pytest.raises(NonFiniteError, match="inf"):
        score_run({"q": {"a": float("inf")}}, {"q": {"a": 1}})
    with pytest.raises(InputError, match=r"radius-precision@2\. A run file holds scores"):
        score_run({"q": {"a": 1.0}}, {"q": {"a": 1}}, ["map", "radius-precision@2"])
    with pytest.raises(InputError, match="names among"):
        score_run({"q": {"a": 1.0}}, {"q": {"a": 1}}, ["mpa"])
    with pytest.raises(InputError, match="a right answer for some query"):
        score_run({"q": {"a": 1.0}}, {"q": {"a": 0}})
    with pytest.raises(InputError, match="quer"):
        score_run({"q": {"a": 1.0}}, {})

"""The recall table: real runs on captions and on composed queries, folds, sums, published rows of the same edition."""

import json
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml
from test_hashing_map import TINY, rows_of
from trees import LAYOUTS, save_photo

from hashret import Codes, SameInstance, evaluate
from hashret.data import DATASETS
from hashret.errors import DataError, InputError
from hashret.examples import Example, Task
from hashret.pipeline import load_data, read_recipe
from hashret.retriever import Retriever

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RECALLS = ["i2t R@1", "i2t R@5", "i2t R@10", "t2i R@1", "t2i R@5", "t2i R@10", "rsum"]
CONTRASTIVE = {
    "image": {"name": "cnn", "size": 16, "width": 4, "dimension": 16},
    "text": {"name": "bag_of_words", "size": 50},
    "method": {"name": "contrastive", "width": 16, "dimension": 8, "hash_width": 16},
    "stages": {"embedding": {"epochs": 2, "batch_size": 8}, "codes": {"epochs": 2, "batch_size": 8}},
}
Run = Callable[..., tuple[str, str]]


@pytest.fixture
def recall(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import recall

    return recall


@pytest.fixture
def run(recall: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The script with its arguments: what it prints, on stdout and stderr."""

    def call(*arguments: object) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["recall.py", *map(str, arguments), "--format", "markdown"])
        recall.main()
        return capsys.readouterr()

    return call


def write_recipe(folder: Path, dataset: str, **data: object) -> None:
    (folder / f"contrastive-{dataset}.yaml").write_text(
        yaml.safe_dump({"data": {"name": dataset, **data}, **CONTRASTIVE})
    )


@pytest.mark.slow
def test_captions_by_codes_and_by_embeddings(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("shapes", "--methods", "crcgs", "--bits", 8, 16, "--set", *TINY, "--out", tmp_path, "--fold", 4)
    printed, told = run(*command)
    whole, folds = printed.split("mean of folds of 4 images")[0].rsplit("R@K in percent", 1)
    rows = rows_of(whole)
    assert rows["method"] == RECALLS  # the recipe says labels, the script captions
    own = ["CRCGS, cosine", "CRCGS, 8 bits", "CRCGS, 16 bits"]
    floors = {"untrained network, cosine", "untrained network, 8 bits", "random codes, 16 bits"}
    assert list(rows)[1:4] == own
    assert floors < set(list(rows)[4:])
    kept = {
        name: json.loads((tmp_path / "crcgs-16-seed0" / f"{name}.json").read_text())
        for name in ("results", "results-embedding")
    }
    for row, name in (("CRCGS, 16 bits", "results"), ("CRCGS, cosine", "results-embedding")):
        scores = kept[name]["scores"]["CRCGS"]
        values = [100 * scores[task]["means"][f"hit@{k}"] for task in ("i2t", "t2i") for k in (1, 5, 10)]
        assert rows[row] == [f"{value:.1f}" for value in (*values, sum(values))]
    assert "shapes (captions)" in whole
    assert "i2t: 8 queries, 0 of them without a right answer and missed, 40 in the gallery" in whole
    assert "i2t: 8 queries, 0 of them without a right answer and missed, 20 in the gallery" in printed
    check_folds(rows_of(folds), tmp_path / "crcgs-16-seed0")

    import campaign
    import folds as module

    for place, name in ((campaign, "train"), (campaign, "evaluate_run"), (module, "evaluate_folds")):
        monkeypatch.setattr(place, name, lambda *given, **named: pytest.fail("made again"))
    again, _ = run(*command)
    assert again == printed
    content = json.loads((tmp_path / "recall.json").read_text())
    assert content["protocol"] == "captions"
    assert set(content["runs"][0]["measured"]) == {"codes", "embedding"}
    assert set(content["folds"]) == {str(tmp_path / f"crcgs-{bits}-seed0") for bits in (8, 16)}


def check_folds(rows: dict[str, list[str]], folder: Path) -> None:
    """Against each fold cut out and measured by itself."""
    retriever = Retriever.from_pretrained(folder)
    recipe = read_recipe(
        {key: value for key, value in yaml.safe_load((folder / "recipe.yaml").read_text()).items() if key != "root"}
    )
    dataset, _ = load_data(recipe, None, lambda line: None)
    i2t = dataset.test[0]
    for name, represent in (("CRCGS, 16 bits", retriever.encode), ("CRCGS, cosine", retriever.embed)):
        images, texts = represent(i2t.queries), represent(i2t.gallery)
        parts = []
        for fold in range(2):
            ours, theirs = slice(4 * fold, 4 * fold + 4), slice(20 * fold, 20 * fold + 20)
            numbers, written = np.arange(8), np.repeat(np.arange(8), 5)
            sides = images[ours], texts[theirs]
            scores = evaluate(sides, SameInstance(numbers[ours], written[theirs]), ["hit@1", "hit@5", "hit@10"])
            parts.append([100 * value for value in scores.means().values()])
        assert rows[name][:3] == [f"{value:.1f}" for value in np.mean(parts, 0)]
    assert isinstance(retriever.encode(i2t.queries), Codes)


def test_folds_go_by_the_place_of_the_image(recall: ModuleType) -> None:
    from folds import fold_numbers

    images = [Example(image=f"{number}.jpg") for number in range(4)]
    texts = [Example(text=text) for text in "abcdef"]
    of_image, of_text = [9, 2, 5, 7], [7, 9, 9, 2, 5, 5]
    for task in (
        Task("t2i", texts, images, SameInstance(of_text, of_image)),
        Task("i2t", images, texts, SameInstance(of_image, of_text)),
    ):
        folds = dict(zip(("queries", "gallery"), fold_numbers(task, 2), strict=True))
        by_side = [folds["gallery"], folds["queries"]] if task.name == "t2i" else [folds["queries"], folds["gallery"]]
        assert [side.tolist() for side in by_side] == [[0, 0, 1, 1], [1, 0, 0, 0, 1, 1]]
        with pytest.raises(DataError, match="a multiple of 3 images"):
            fold_numbers(task, 3)
        with pytest.raises(InputError):
            fold_numbers(task, 0)


def test_a_second_look_by_codes_and_by_embeddings(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recipe(tmp_path, "shapes", protocol="captions", train=12, validation=6, test=8)
    command = (
        "shapes", "--methods", "contrastive", "--bits", 8, 16, "--configs", tmp_path, "--out", tmp_path,
        "--second-look", 5,
    )  # fmt: skip
    printed, _ = run(*command)
    recalls, times = printed.rsplit("R@K in percent", 1)[1].split("milliseconds a query")
    rows = rows_of(recalls)
    assert list(rows)[1:] == [
        "Contrastive, 8 bits", "Contrastive, 8 bits, then 5 looked at", "Contrastive, 16 bits",
        "Contrastive, 16 bits, then 5 looked at", "Contrastive, cosine", "Contrastive, cosine, then 5 looked at",
        "Contrastive, all looked at",
    ]  # fmt: skip
    assert rows["Contrastive, cosine, then 5 looked at"][:2] == rows["Contrastive, cosine"][:2], "the same score"
    kept = json.loads((tmp_path / "contrastive-16-seed0" / "results-second-look-codes.json").read_text())
    scores = kept["scores"]["Contrastive, two stages"]
    values = [100 * scores[task]["means"][f"hit@{k}"] for task in ("i2t", "t2i") for k in (1, 5, 10)]
    assert rows["Contrastive, 16 bits, then 5 looked at"] == [f"{value:.1f}" for value in (*values, sum(values))]
    assert scores["i2t"]["means"]["hit@10"] == scores["i2t"]["means"]["hit@5"], "nothing behind the shortlist"
    assert set(rows_of(times)) >= set(list(rows)[1:])

    import looks

    monkeypatch.setattr(looks, "evaluate_second_look", lambda *given, **named: pytest.fail("measured again"))
    again, _ = run(*command)
    assert again == printed


def test_composed_queries_of_drawn_scenes(run: Run, tmp_path: Path) -> None:
    write_recipe(tmp_path, "shapes", protocol="edits", train=12, validation=12, test=8, database=26)
    printed, _ = run(
        "shapes", "--methods", "contrastive", "--bits", 8, "--seeds", 2, "--configs", tmp_path, "--out", tmp_path,
    )  # fmt: skip
    assert "shapes (edits)" in printed  # the recipe's protocol: it reports recalls
    rows = rows_of(printed)
    assert rows["method"] == ["composed R@1", "composed R@5", "composed R@10"]
    assert list(rows)[1:3] == ["Contrastive, cosine", "Contrastive, 8 bits"]
    assert all(" +- " in cell for cell in rows["Contrastive, 8 bits"])
    assert "random codes, 8 bits" in rows
    assert not any("CCA" in row for row in rows)


@pytest.mark.parametrize(
    ("dataset", "columns"),
    [
        (
            "fashioniq",
            [f"composed/{c} R@{k}" for c in ("dress", "shirt", "toptee") for k in (10, 50)]
            + ["mean R@10", "mean R@50", "average"],
        ),
        ("shoes", ["composed R@1", "composed R@10", "composed R@50", "average"]),
        (
            "cirr",
            [f"composed R@{k}" for k in (1, 5, 10, 50)] + [f"composed/subset R@{k}" for k in (1, 2, 3)] + ["average"],
        ),
    ],
)
def test_composed_datasets_have_the_columns_of_their_papers(
    run: Run, tmp_path: Path, dataset: str, columns: list[str]
) -> None:
    root, configs = tmp_path / "data", tmp_path / "configs"
    root.mkdir()
    configs.mkdir()
    write_recipe(configs, dataset, **next(iter(LAYOUTS[dataset].values())).make(root))
    command = (dataset, root, "--methods", "contrastive", "--bits", 8, "--configs", configs, "--out", tmp_path / "runs")
    printed, _ = run(*command)
    rows = rows_of(printed)
    assert rows["method"] == columns
    for row in ("Contrastive, cosine", "Contrastive, 8 bits", "random codes, 8 bits"):
        values = dict(zip(columns, map(float, rows[row]), strict=True))
        if dataset == "fashioniq":
            means = [np.mean([values[f"composed/{c} R@{k}"] for c in ("dress", "shirt", "toptee")]) for k in (10, 50)]
            assert [values["mean R@10"], values["mean R@50"]] == pytest.approx(means, abs=0.01)
            parts = means
        elif dataset == "shoes":
            parts = [values[f"composed R@{k}"] for k in (1, 10, 50)]
        else:
            parts = [values["composed R@5"], values["composed/subset R@1"]]
        assert values["average"] == pytest.approx(np.mean(parts), abs=0.01)
    assert "partial: nothing published is comparable, and none is printed" in printed
    assert "--- published ---" not in printed


def test_products_of_another_finish_stand_in_the_same_table(run: Run, tmp_path: Path) -> None:
    """The tree that composed_products writes, trained on, measured, killed before the second width and gone on with."""
    from composed_products import divide, read_products, write

    photos, root, configs, out = (tmp_path / name for name in ("photos", "tree", "configs", "runs"))
    write_products(photos)
    write(root, photos, divide(read_products(photos), seed=0))
    configs.mkdir()
    (configs / "contrastive-products.yaml").write_text(yaml.safe_dump({"data": {"name": "triplets"}, **CONTRASTIVE}))
    command = ("products", root, "--methods", "contrastive", "--configs", configs, "--out", out, "--seeds", 2)
    run(*command, "--bits", 8)
    before = (out / "contrastive-8-seed1" / "results.json").stat().st_mtime_ns
    printed, _ = run(*command, "--bits", 8, 16)
    assert (out / "contrastive-8-seed1" / "results.json").stat().st_mtime_ns == before
    rows = rows_of(printed)
    assert rows["method"] == ["composed R@1", "composed R@5", "composed R@10"]
    assert list(rows)[1:4] == ["Contrastive, cosine", "Contrastive, 8 bits", "Contrastive, 16 bits"]
    for bits, by in ((16, "codes"), (16, "embedding")):
        values = []
        for seed in range(2):
            name = "results" if by == "codes" else "results-embedding"
            kept = json.loads((out / f"contrastive-{bits}-seed{seed}" / f"{name}.json").read_text())
            values.append(100 * kept["scores"]["Contrastive"]["composed"]["means"]["hit@5"])
        cell = rows["Contrastive, 16 bits" if by == "codes" else "Contrastive, cosine"][1]
        assert cell == f"{np.mean(values):.2f} +- {np.std(values, ddof=1):.2f}"
    assert "the reference is left out of the answers of its own query" in printed


def write_products(photos: Path) -> None:
    """Twelve types in three finishes each, one of them twice."""
    (photos / "images").mkdir(parents=True)
    rows = []
    for kind in range(12):
        for number, finish in enumerate(("White", "Black,birch", "White,birch", "White", "Dotted")):
            name = f"images/{kind}-{number}.png"
            save_photo(photos / name, 10 * kind + number)
            rows.append({"file_name": name, "type": f"Thing {kind}", "texts": [f"Thing {kind}, {finish}", "Good."]})
    (photos / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def entry(name: str, protocol: str, **options: object) -> SimpleNamespace:
    data = SimpleNamespace(name=name, options={"protocol": protocol, **options})
    folder = Path(tempfile.mkdtemp())
    (folder / "rejected.jsonl").touch()
    return SimpleNamespace(protocol=protocol, recipe=SimpleNamespace(data=data), folder=folder)


def test_published_rows_are_of_the_same_edition(recall: ModuleType) -> None:
    def rows(name: str, protocol: str, dataset: str, variant: str | None = None, **options: object) -> dict[str, dict]:
        sizes = {"i2t": {"queries": 5000, "gallery": 25_000}} if name == "coco" else {}
        content = {"dataset": dataset, "sizes": sizes}
        found = recall.published_rows(entry(name, protocol, **options), content, variant)
        return {row.method: row.figures for row in found}

    thirty = rows("flickr", "karpathy", "flickr30k (karpathy)", test="test")
    assert thirty["TERAN"]["rsum", 0] == Decimal("483.1")  # as the leaderboard's own figures add up
    assert ("rsum", 0) not in thirty["BEiT-3 large, dual encoder"]  # R@1 alone is printed
    assert not rows("flickr", "karpathy", "flickr8k (karpathy)", test="test")
    assert not rows("flickr", "karpathy", "flickr30k (karpathy)", test="val")
    assert not rows("flickr", "karpathy", "flickr30k (karpathy, partial)", test="test")
    assert rows("coco", "karpathy", "MS-COCO (karpathy)")["VSE++ (ResNet)"]["rsum", 0] == Decimal("355.7")
    assert rows("coco", "karpathy", "MS-COCO (karpathy)", "1K")["VSE++ (ResNet)"]["rsum", 0] == Decimal("478.6")
    assert rows("fashioniq", "val", "FashionIQ (val)")["COMBINER"]["average", 0] == Decimal("72.76")
    assert rows("shoes", "composed", "Shoes")["COMBINER"]["average", 0] == Decimal("64.00")
    assert ("average", 0) not in rows("shoes", "composed", "Shoes")["LIMN+"]
    assert not rows("cirr", "composed", "CIRR (val)", test="val")  # published rows are of test1


def test_published_rows_of_another_edition_are_pointed_at(recall: ModuleType) -> None:
    """CIRR's published rows are of test1, whose answers nobody has but its server."""
    (test1,) = recall.published.variants_of("cirr", "composed", "hit@K")
    rows = {row.method: row for row in recall.published.rows_for("cirr", "composed", "hit@K", test1)}
    assert recall.summed(rows["CoVR-2"].figures)["average", 0] == Decimal("78.915")  # printed 78.92
    cirr = entry("cirr", "composed", test="val")
    (told,) = recall.about_rows(cirr, {"dataset": "CIRR (val)", "sizes": {}}, [])
    assert "of test1, not of val" in told
    assert told.endswith("published.py cirr composed hit@K test1")
    with pytest.raises(InputError, match="cirr_submission"):
        recall.check_answers(entry("cirr", "composed", test="test1"))


def test_a_dataset_without_recalls_is_refused(recall: ModuleType) -> None:
    assert recall.recall_protocol(entry("coco", "mith"), None) == "karpathy"
    assert recall.recall_protocol(entry("fashioniq", "val"), "val") == "val"
    with pytest.raises(InputError, match=r"hashing_map\.py"):
        recall.recall_protocol(entry("wikipedia", "rasiwasia"), None)
    with pytest.raises(InputError, match="one of karpathy, labels"):
        recall.recall_protocol(entry("flickr", "labels"), "captions")
    assert {"coco", "flickr"} <= set(DATASETS)

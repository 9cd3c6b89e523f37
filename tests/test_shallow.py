"""Hashers as rows of the table: what they read, which setting they get, and that nothing is measured twice."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import trees.wikipedia

from hashret.codes import binarize
from hashret.data import DATASETS
from hashret.errors import DataError, InputError
from hashret.evaluation import evaluate
from hashret.hashers import SCM, SePH

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
WIKIPEDIA = BENCHMARKS.parents[1] / "shared" / "data" / "wikipedia"
Run = Callable[..., tuple[str, str]]


@pytest.fixture
def hashing_map(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import hashing_map

    return hashing_map


@pytest.fixture
def run(hashing_map: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The script with its arguments: what it prints, on stdout and stderr."""

    def call(*arguments: object) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["hashing_map.py", *map(str, arguments), "--format", "markdown"])
        hashing_map.main()
        return capsys.readouterr()

    return call


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve test items that are asked of 24; eight of these are held out for validation."""
    folder = tmp_path / "wikipedia"
    folder.mkdir()
    trees.wikipedia.make(folder)
    return folder


def command(root: Path, *more: object) -> tuple[object, ...]:
    sets = ("data.partial=true", "data.validation=8")
    return ("wikipedia", root, "--out", root / "out", "--set", *sets, *more)


def table(printed: str, database: str) -> dict[str, list[str]]:
    """First cell -> the others, of the table of one kind of database."""
    part = printed.split(f"database: {database}")[1].split("map by bits")[0]
    lines = [
        [cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in part.splitlines() if "|" in line
    ]
    return {line[0]: line[1:] for line in lines if not line[0].startswith(":--")}


def whole(root: Path) -> dict[str, tuple[np.ndarray, np.ndarray, object]]:
    """Images, texts and relevance of each test task's database, read again by the dataset alone."""
    data = DATASETS["wikipedia"].load(root, partial=True, validation=8)
    held = {one.name: one.pairs() for one in data.test}
    return {
        one.name: (
            np.stack([item.image for item in held[one.name]]), np.stack([item.text for item in held[one.name]]), one,
        )
        for one in data.test
    }  # fmt: skip


def test_every_kind_of_database_has_a_table(run: Run, root: Path) -> None:
    hashers = ("--hashers", "scm", "cca_itq", "cca_sign")
    printed, _ = run(*command(root, *hashers, "--bits", 8, 16, "--database", "encoded", "fused", "learned"))
    encoded, fused, learned = (table(printed, kind) for kind in ("encoded", "fused", "learned"))
    names = ["method", "SCM", "CCAITQ", "CCASign", "random codes"]
    assert list(encoded) == list(fused) == list(learned) == names
    assert encoded["method"] == ["i2t 8", "i2t 16", "t2i 8", "t2i 16"]
    for rows in (encoded, fused):
        for name in ("CCAITQ", "CCASign"):
            assert [cell == "-" for cell in rows[name]] == [False, True, False, True], "topics are 10 numbers"
    assert learned["CCASign"] == learned["CCAITQ"] == ["-"] * 4
    assert "CCASign has no figure at 16 bits: it has at most 10 bits, the narrower side's width" in printed
    assert "CCAITQ has no figure at 8, 16 bits: it learns no codes of training items" in printed
    assert "nothing published is comparable" in printed  # a part of the set

    of = whole(root)
    for bits, place in ((8, 0), (16, 1)):
        kept = {kind: json.loads((root / "out" / f"scm-{bits}-seed0" / name).read_text()) for kind, name in (
            ("encoded", "results.json"), ("fused", "results-fused.json"), ("learned", "results-learned.json")
        )}  # fmt: skip
        assert [content["database"] for content in kept.values()] == list(kept)
        for task, first in (("i2t", 0), ("t2i", 2)):
            for kind, rows in (("encoded", encoded), ("fused", fused), ("learned", learned)):
                assert rows["SCM"][first + place] == f"{kept[kind]['scores']['SCM'][task]['means']['map']:.4f}"
            images, texts, one = of[task]
            setting = kept["learned"]["fitting"]["setting"]
            scale = [x.std(0) if setting["standardize"] else np.ones(x.shape[1]) for x in (images, texts)]
            middle = [x.mean(0) * setting["standardize"] for x in (images, texts)]
            inputs = [(x - m) / np.where(s > 0, s, 1) for x, m, s in zip((images, texts), middle, scale, strict=True)]
            hasher = SCM(bits, regularization=setting["regularization"])
            hasher.fit(*inputs, one.relevance.gallery_labels)
            side = "image" if task == "i2t" else "text"
            number = int(side == "text")
            asked = np.stack([getattr(example, side) for example in one.queries])
            asked = (asked - middle[number]) / np.where(scale[number] > 0, scale[number], 1)
            found = evaluate((hasher.transform(asked, side=side), hasher.training_codes_), one.relevance)["map"]
            assert found == pytest.approx(kept["learned"]["scores"]["SCM"][task]["means"]["map"], abs=0.02)


def test_the_setting_is_the_best_of_validation(run: Run, root: Path) -> None:
    run(*command(root, "--hashers", "scm", "--bits", 8, "--database", "encoded", "fused"))
    tried = json.loads((root / "out" / "scm-tuning.json").read_text())["tried"]
    assert len(tried) == 8
    for kind, name in (("encoded", "results.json"), ("fused", "results-fused.json")):
        fitting = json.loads((root / "out" / "scm-8-seed0" / name).read_text())["fitting"]
        best = max(row["map"][kind] for row in tried)
        assert fitting["tried"]["validation"] == best
        assert {"setting": fitting["setting"]} in [
            {"setting": row["setting"]} for row in tried if row["map"][kind] == best
        ]
        assert fitting["fitted_on"].startswith("all training pairs (16, 16 of them with a label)")


def test_what_was_measured_is_not_measured_again(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch, hashing_map: ModuleType
) -> None:
    import shallow

    asked = command(root, "--hashers", "scm", "cca_itq", "--seeds", 2, "--bits", 8, "--database", "encoded", "learned")
    first, told = run(*asked)
    assert told.count("of validation") == 8 * 2 + 12
    assert not (root / "out" / "scm-8-seed1").exists(), "nothing is drawn"
    assert "+-" in table(first, "encoded")["CCAITQ"][0]
    assert "+-" not in table(first, "encoded")["SCM"][0]
    (root / "out" / "scm-8-seed0" / "results-learned.json").unlink()
    again, told = run(*asked)
    assert again == first
    assert "of validation" not in told
    assert told.count("measured in") == 1
    monkeypatch.setattr(shallow, "read_inputs", lambda *given: pytest.fail("reads the dataset again"))
    again, told = run(*asked)
    assert again == first
    with pytest.raises(SystemExit, match="of another data"):
        run(*asked[:5], "data.partial=true", "data.validation=6", *asked[7:])


def test_mistakes_are_named(run: Run, root: Path) -> None:
    def error(*arguments: object) -> str:
        with pytest.raises(SystemExit) as caught:
            run(*arguments)
        return str(caught.value)

    assert "itq, which knows one" in error(*command(root, "--hashers", "itq"))
    assert "got 'sift'" in error(*command(root, "--hashers", "sift"))
    assert "methods or --hashers" in error(*command(root))
    assert "learns no codes" in error(*command(root, "--hashers", "cca_sign", "--bits", 8, "--database", "learned"))
    assert "at most 10 bits" in error(*command(root, "--hashers", "cca_itq", "--bits", 16))
    dscmr = command(root, "--protocol", "dscmr", "--hashers", "scm", "--bits", 8, "--database", "learned")
    assert "expected training items, or items of validation" in error(*dscmr)
    assert not list((root / "out").glob("*-seed*"))


def test_items_without_a_label_get_fused_codes(hashing_map: ModuleType) -> None:
    from shallow_hasher import Workshop
    from shallow_inputs import Asked, Inputs, Rows

    from hashret.examples import Example, Task
    from hashret.relevance import SharedLabels

    rng = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, 60)]
    labels[[4, 17]] = 0
    images, texts = (labels @ rng.normal(size=(3, width)) + 0.3 * rng.normal(size=(60, width)) for width in (8, 6))
    gallery = [Example(text=text) for text in texts]
    task = Task("i2t", [Example(image=images[0])], gallery, SharedLabels(labels[:1], labels))
    asked = Asked(task, "image", images[:1], {"image": images, "text": texts})
    rows = Rows(images, texts, labels)
    inputs = Inputs(None, [], rows, rows, [], [])
    marked = labels.any(1)
    for name, setting in (
        ("scm", {"standardize": False, "regularization": 0.1}), ("seph", {"standardize": False, "penalty": 1e-4}),
    ):  # fmt: skip
        _, codes = Workshop(name, 12, 0, inputs).codes(asked, "learned", setting)
        kind = SCM(12, regularization=0.1) if name == "scm" else SePH(12, penalty=1e-4)
        given = [np.asarray(x[marked], np.float32) for x in (images, texts)]
        kind.fit(*given, labels[marked])
        assert codes[np.flatnonzero(marked)] == kind.training_codes_
        alone = [np.asarray(x[~marked], np.float32) for x in (images, texts)]
        if name == "seph":
            fused = kind.transform_pairs(*alone)
        else:
            sides = zip(alone, ("image", "text"), strict=True)
            fused = binarize(sum((x - getattr(kind, f"{s}_mean_")) @ getattr(kind, f"{s}_weights_") for x, s in sides))
        assert codes[np.flatnonzero(~marked)] == fused
    with pytest.raises(InputError, match="labels on every training pair"):
        Rows(images, texts, None).labelled()
    with pytest.raises(DataError, match="labelled pairs of an image and a text"):
        Asked(task, "image", images[:1], {"text": texts}).rows()


def test_published_rows_stand_beneath_their_own_kind_of_database(hashing_map: ModuleType) -> None:
    from types import SimpleNamespace

    data = SimpleNamespace(name="wikipedia", options={})
    entry = SimpleNamespace(protocol="rasiwasia", recipe=SimpleNamespace(data=data))
    under = {kind: {row.method for row in hashing_map.published_rows(entry, "map", kind)}
             for kind in ("encoded", "fused", "learned")}  # fmt: skip
    assert under == {"encoded": {"CVH", "SCM-Seq"}, "fused": set(), "learned": {"LSSH", "CMFH", "SePH-km"}}


@pytest.mark.skipif(not WIKIPEDIA.exists(), reason="the Wikipedia benchmark is not at ../shared/data/wikipedia")
def test_scm_has_the_figures_of_its_paper_by_encoded_codes(hashing_map: ModuleType, run: Run, tmp_path: Path) -> None:
    """Within 0.02 of the published row (which is from memory) at every width, in the mean of both directions."""
    import published

    run("wikipedia", WIKIPEDIA, "--hashers", "scm", "--bits", 16, 32, 64, "--out", tmp_path)
    (row,) = (row for row in published.rows_for("wikipedia", "rasiwasia", "map") if row.method == "SCM-Seq")
    for bits in (16, 32, 64):
        scores = json.loads((tmp_path / f"scm-{bits}-seed0" / "results.json").read_text())["scores"]["SCM"]
        ours = np.mean([scores[task]["means"]["map"] for task in ("i2t", "t2i")])
        theirs = np.mean([float(row.values[task][bits]) for task in ("i2t", "t2i")])
        assert ours == pytest.approx(theirs, abs=0.02)

"""Triplets of products: what is said, what is right, and that no type stands in two splits."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from hashret.data import triplets
from hashret.errors import FormatError, InputError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
REAL = Path(__file__).parents[2] / "shared" / "data" / "ikea"


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import composed_products

    return composed_products


def write_metadata(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    folder.mkdir()
    lines = [json.dumps({"file_name": name, "type": kind, "texts": [f"{kind}{said}"]}) for name, kind, said in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_product_is_asked_for_in_every_other_finish_of_its_type(products: ModuleType, tmp_path: Path) -> None:
    root = write_metadata(
        tmp_path / "in",
        [
            ("a", "Rug, flatwoven", ", White"), ("b", "Rug, flatwoven", ", Nolhaga black,wood"),
            ("c", "Rug, flatwoven", ", Black,wood"), ("d", "Rug, flatwoven", ", Assorted colours"),
            ("e", "Rug", ", White"), ("f", "Rug, flatwoven", ", White,black"),
        ],
    )  # fmt: skip
    rows = products.triplets_of(products.read_products(root))
    told = [(row["reference"], row["text"], row["targets"]) for row in rows]
    assert told == [
        ("photos/a", "in black and wood", ["photos/b", "photos/c"]), ("photos/a", "also in black", ["photos/f"]),
        ("photos/b", "in white", ["photos/a"]), ("photos/b", "white instead of wood", ["photos/f"]),
        ("photos/c", "in white", ["photos/a"]), ("photos/c", "white instead of wood", ["photos/f"]),
        ("photos/f", "without black", ["photos/a"]), ("photos/f", "wood instead of white", ["photos/b", "photos/c"]),
    ]  # fmt: skip


def test_whole_types_are_divided_by_their_shares(products: ModuleType, tmp_path: Path) -> None:
    finishes = ("White", "Black", "Birch")
    rows = [
        (f"{kind}-{number}", f"Type {kind}", f", {finishes[number % 3]}") for kind in range(60) for number in range(5)
    ]
    made = products.divide(products.read_products(write_metadata(tmp_path / "in", rows)), seed=0)
    kinds = {split: {product.kind for product in within} for split, within in made.items()}
    assert sum(map(len, kinds.values())) == len(set().union(*kinds.values())) == 60
    assert {split: len(within) for split, within in kinds.items()} == {"train": 36, "validation": 6, "test": 18}
    other = products.divide(products.read_products(tmp_path / "in"), seed=1)
    assert {product.kind for product in other["test"]} != kinds["test"]


def test_mistakes_have_names(products: ModuleType, tmp_path: Path) -> None:
    root = write_metadata(tmp_path / "in", [("a", "Rug", ", White"), ("b", "", "White")])
    with pytest.raises(FormatError, match="row 2: expected a type and texts"):
        products.read_products(root)
    with pytest.raises(InputError, match="a new or empty folder"):
        products.write(root, root, {})


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the photos of products are not at {REAL}")
def test_the_real_products_make_a_whole_tree(products: ModuleType, tmp_path: Path) -> None:
    splits = products.divide(products.read_products(REAL), seed=0)
    made = products.write(tmp_path / "tree", REAL.resolve(), splits)
    assert {split: len(rows) for split, rows in made.items()} == {"train": 3879, "validation": 441, "test": 1782}
    data = triplets.load(tmp_path / "tree")
    (test,) = data.test
    assert (len(test.queries), len(test.gallery)) == (1782, 453)
    assert all(Path(image.image).is_file() for image in test.gallery)
    assert not any("are trained on" in note for note in data.notes)
    assert sum(path.is_symlink() for path in (tmp_path / "tree").iterdir()) == 1

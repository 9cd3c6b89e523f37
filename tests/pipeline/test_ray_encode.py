"""hashret encode --runner ray: the folder of the local runner to the byte, whatever becomes of the workers."""

import contextlib
import os
import pickle
import signal
import sys
import tarfile
import threading
import time

import psutil
import pytest
from drawn import content, draw

from hashret.data.entry import Examples
from hashret.data.imagetree import ImageTree
from hashret.encoded import EncodedFolder
from hashret.errors import DataError, FileError, StoreError
from hashret.examples import Example
from hashret.pipeline import encode
from hashret.pipeline.ray_encode import ShardWorker
from hashret.pipeline.shard_encoder import EncodingJob

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # workers that everything else goes before may take minutes to begin
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = draw(tmp_path_factory.mktemp("photos") / "p", 300)
    for number in (5, 230):
        (folder / f"{number:04d}.png").write_bytes(b"torn")
    return folder


def workers() -> list[psutil.Process]:
    """Processes of this process's cluster that encode at the moment: Ray's by that name, with decoders below them."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("MapWorker" in word for word in each.cmdline()) and each.children():
                found.append(each)
    return found


def test_a_killed_worker_changes_no_byte(cluster, model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos.parent)
    options = {"shard_size": 12, "embeddings": "int8", "quiet": True}
    encode(model, photos.name, "image", tmp_path / "local", **options)
    out, told, done = tmp_path / "ray", [], []
    asked = {"runner": "ray", "ray_workers": 2, "say": told.append, **options}
    run = threading.Thread(target=lambda: done.append(encode(model, photos.name, "image", out, **asked)))
    run.start()
    while run.is_alive() and not (list((out / "stats").glob("*.json")) and len(workers()) == 2):
        time.sleep(0.01)
    victim = workers()[0]
    decoders = victim.children()
    os.kill(victim.pid, signal.SIGKILL)
    assert 1 <= len(list((out / "stats").glob("*.json"))) < 25, "it is in the middle"
    run.join()
    assert psutil.wait_procs(decoders, timeout=10)[1] == [], "its decoders outlive it"
    assert content(out) == content(tmp_path / "local")
    assert (done[0].items, done[0].codes, done[0].failures, done[0].before) == (300, 298, 2, 0)
    assert [line for line in told if line.startswith("failed")] == ["failed, 2 of them: bytes that are no known image"]

    # This process goes on where the cluster was, and the other way round; what is marked is not touched.
    for number in (3, 4, 24):
        (out / "stats" / f"{number:05d}.json").unlink()
    written = {path: path.stat().st_mtime_ns for path in (out / "codes").iterdir()}
    assert encode(model, photos.name, "image", out, num_shards=2, **options).before == 11 * 12
    assert encode(model, photos.name, "image", out, **asked).before == 24 * 12
    again = {path.name for path, when in written.items() if path.stat().st_mtime_ns != when}
    assert again == {"00003.npy", "00004.npy", "00024.npy"}
    assert content(out) == content(tmp_path / "local")


def test_a_tar_that_does_not_say_how_much_it_holds(cluster, model, photos, tmp_path):
    with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as tar:
        for path in sorted(photos.iterdir())[:30]:
            tar.add(path, path.name)
    told = []
    options = {"shard_size": 7, "quiet": True}
    with pytest.raises(DataError, match=r"at most 0 items.*got 1.*0005: bytes that are no known image"):
        encode(
            model, tmp_path / "photos.tar.gz", "image", tmp_path / "a", runner="ray", max_failures=0, say=told.append,
            **options,
        )  # fmt: skip
    assert "read through once to count" in told[0]
    encode(model, tmp_path / "photos.tar.gz", "image", tmp_path / "a", **options)
    encode(model, tmp_path / "photos.tar.gz", "image", tmp_path / "b", **options)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_examples_somebody_holds_travel_to_the_workers(cluster, model, tmp_path):
    texts = Examples([Example(text=text, key=str(key)) for key, text in enumerate(["a red dog", "", "the cat"] * 4)])
    for out, options in {"ray": {"runner": "ray"}, "local": {}}.items():
        done = encode(model, texts, "text", tmp_path / out, shard_size=5, quiet=True, **options)
        assert (done.codes, done.failures) == (8, 4)
    assert content(tmp_path / "ray") == content(tmp_path / "local")


def test_without_ray_the_extra_is_named(model, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StoreError, match=r"pip install 'hashret\[ray\]'"):
        encode(model, photos, "image", tmp_path / "out", runner="ray", quiet=True)


def told(worker, *numbers):
    return [pickle.loads(each) for each in worker({"item": numbers})["told"]]


def test_a_worker_encodes_shards_in_any_order_and_walks_once_where_they_ascend(model, photos, tmp_path, monkeypatch):
    walks = []
    entries = ImageTree.entries
    monkeypatch.setattr(ImageTree, "entries", lambda self, *wanted: walks.extend(wanted) or entries(self, *wanted))
    encode(model, photos, "image", tmp_path / "local", shard_size=50, quiet=True)
    out = tmp_path / "out"
    job = EncodingJob(
        str(model), str(photos), "image", str(out), None, 50, 1, 60.0, None, None, None, "cpu"
    )  # fmt: skip
    assert [type(each) for each in told(ShardWorker(job, str(tmp_path)), 0)] == [FileError], "nobody began the folder"
    job.begin(lambda line: None)
    worker = ShardWorker(job, str(tmp_path))
    walks.clear()
    steps = told(worker, 1, 2, 5)
    assert len(walks) == 1
    steps += told(worker, 0, 3, 4, 2)
    assert len(walks) == 2
    assert [step.items for step in steps] == [50] * 7
    assert [step.failed for step in steps if step.failed] == [
        [("0005.png", "bytes that are no known image")]
        if place == 0
        else [("0230.png", "bytes that are no known image")]
        for place in (0, 4)
    ]
    (beyond,) = told(worker, 6)
    assert isinstance(beyond, DataError)
    assert "items from 300 on" in str(beyond)
    EncodedFolder(out, {}).clear(lambda number: True)
    assert content(out) == {name: raw for name, raw in content(tmp_path / "local").items() if name != "end.json"}

    # A shard over which workers die is not given to more and more of them; another command tries again.
    (out / "stats" / "00003.json").unlink()
    for _ in range(6):
        EncodedFolder(out, {}).begin_shard(3)
    (given_up,) = told(worker, 3)
    assert isinstance(given_up, StoreError)
    assert "6 that died over it" in str(given_up)
    encode(model, photos, "image", out, shard_size=50, quiet=True)
    assert content(out) == content(tmp_path / "local")

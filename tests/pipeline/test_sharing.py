"""How encoding shares a machine: chunks as large as pictures allow, turns on one core, memory that is kept."""

import subprocess
import sys

import pytest
import torch
from drawn import content, draw

from hashret.codes import Codes
from hashret.encoded import EncodedFolder
from hashret.models import Inputs
from hashret.pipeline import encode
from hashret.pipeline.decoders import Decoders
from hashret.pipeline.shard_encoder import _pictures
from hashret.retriever import Retriever


def test_small_pictures_go_in_larger_chunks_and_large_ones_do_not(model, tmp_path, monkeypatch):
    """The sizes are seen from outside, on their way into the decoders; the codes are the retriever's all the same."""
    photos = draw(tmp_path / "many", 200)
    (photos / "100-broken.png").write_bytes(b"none")
    sizes: list[int] = []
    results = Decoders.results
    monkeypatch.setattr(
        Decoders, "results", lambda self, chunks: results(self, (sizes.append(len(c.entries)) or c for c in chunks))
    )
    done = encode(model, photos, "image", tmp_path / "small", workers=1, quiet=True)
    good = [path for path in sorted(photos.iterdir()) if path.name != "100-broken.png"]
    shards = list(EncodedFolder.open(tmp_path / "small").shards())
    codes, keys = Codes.concatenate([s.codes for s in shards]), [key for s in shards for key in s.column("key")]
    assert codes == Retriever.from_pretrained(model).encode_images(good)
    assert keys == [path.name for path in good]
    assert (done.codes, done.failures) == (200, 1)
    assert sizes[:2] == [16, 16]  # before the first result says how large a picture is
    assert set(sizes[2:-1]) == {64}
    for side, most in ((64, 64), (96, 32), (128, 16), (224, 16), (512, 16)):
        assert _pictures(Inputs(image=torch.zeros(1, 3, side, side)), 16) == most
    assert _pictures(Inputs(image=torch.zeros(1, 3, 32, 32)), 24) == 48  # whole blocks
    assert _pictures(Inputs(image=torch.zeros(1, 3, 512, 512)), 24) == 16


def test_with_one_core_decoding_and_the_network_take_turns(model, tmp_path):
    """In a process of its own, which is held to one core: the bytes are those of many, and one chunk is under way."""
    script = (
        "import os, sys\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from hashret.pipeline import encode\nfrom hashret.pipeline.decoders import Decoders\n"
        "results, most = Decoders.results, []\n"
        "def counted(self, chunks):\n"
        "    for decoded in results(self, chunks):\n"
        "        most.append(sum(chunk is not None for hand in self._hands for chunk in hand.slots))\n"
        "        yield decoded\n"
        "Decoders.results = counted\n"
        "encode(*sys.argv[1:3], 'image', sys.argv[3], quiet=True)\nprint(set(most))\n"
    )
    photos = draw(tmp_path / "p", 70)
    command = [sys.executable, "-c", script, str(model), str(photos), str(tmp_path / "one")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[-2] == "{1}"
    encode(model, photos, "image", tmp_path / "many", workers=2, quiet=True)
    assert content(tmp_path / "one") == content(tmp_path / "many")


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_what_a_block_frees_is_not_given_back_to_the_system():
    """In a process of its own: pages are faulted in for the first blocks, and hardly any after that."""
    script = (
        "import resource, numpy as np\nfrom hashret.pipeline.heap import keep_heap\nassert keep_heap()\n"
        "def block():\n    parts = [np.ones(2 << 20) for _ in range(3)]\n"  # 16 MiB each
        "def faults():\n    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "block(); block()\nbefore = faults()\nfor _ in range(5):\n    block()\nprint(faults() - before)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert int(told) < 1000  # given back, five blocks are 61,440 pages of 4 KiB

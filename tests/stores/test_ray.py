"""Shards held by Ray actors: one that is killed costs one retried request, and no answer is wrong."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from engines import ADDRESSES, duplicates

from hashret.errors import FileError, InputError, StoreError
from hashret.search import HammingIndex
from hashret.stores import open_store
from hashret.stores.shards import write_shards

BITS = 32
CODES = duplicates(BITS, 4_000, 5)

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    with ADDRESSES["ray"](folder):
        yield folder


@pytest.fixture
def index():
    index = HammingIndex(BITS)
    index.add(CODES)
    return index


def test_a_killed_actor_costs_one_retried_request(cluster, index):
    write_shards(cluster / "killed", CODES, shards=2)
    with open_store(f"ray://{cluster / 'killed'}") as store:
        right = index.search(CODES[:50], 30)
        assert (store.search(CODES[:50], 30), store.retried) == (right, 0)

        # In the middle of a request: it is sent to a process that is halted, and does not live to answer.
        before = store.processes()
        os.kill(before[1], signal.SIGSTOP)
        found = []
        asking = threading.Thread(target=lambda: found.append(store.search(CODES[:50], 30)))
        asking.start()
        time.sleep(1)
        assert not found
        os.kill(before[1], signal.SIGKILL)
        asking.join()
        assert found == [right]
        assert store.retried == 1
        after = store.processes()
        assert after[0] == before[0]
        assert after[1] != before[1]

        # Between two requests, the second of which is a change; the one before it must have lasted.
        assert store.add(CODES[:3]).tolist() == index.add(CODES[:3]).tolist()
        store.remove([0, 3_999])
        index.remove([0, 3_999])
        os.kill(store.processes()[0], signal.SIGKILL)
        assert store.add(CODES[7:9]).tolist() == index.add(CODES[7:9]).tolist()
        assert store.search(CODES[:50], 30) == index.search(CODES[:50], 30)
        assert store.retried == 2
        assert np.array_equal(store.ids, index.ids)

        store.compact()
        assert not list((cluster / "killed").glob("*.change"))
    with open_store(f"ray://{cluster / 'killed'}") as again:
        assert again.search(CODES[:50], 30) == index.search(CODES[:50], 30)


def test_a_shard_that_cannot_be_opened_has_a_named_error(cluster):
    write_shards(cluster / "torn", CODES[:10], shards=2)
    next((cluster / "torn").glob("00001-*.index")).write_bytes(b"torn")
    with pytest.raises(StoreError, match="shard 1"):
        open_store(f"ray://{cluster / 'torn'}")


def test_a_store_that_is_not_there_has_a_named_error(cluster):
    with pytest.raises(FileError, match="shards=NUMBER"):
        open_store(f"ray://{cluster / 'nothing'}")
    with pytest.raises(FileError, match="shards=NUMBER"):
        open_store(f"ray://{cluster / 'nothing'}?bits=8")
    write_shards(cluster / "two", CODES[:10], shards=2)
    with pytest.raises(InputError, match="shards: expected 2"):
        open_store(f"ray://{cluster / 'two'}?shards=3")
    with pytest.raises(InputError, match="server head"):
        open_store("ray://head:10001/folder")


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StoreError, match=r"pip install 'hashret\[ray\]'"):
        open_store(f"ray://{tmp_path}?bits=8&shards=1")

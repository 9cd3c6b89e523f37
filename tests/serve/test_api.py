"""What the API answers, against the retriever and a slow scan of the encoded folder."""

import io
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from world import COLOURS, EACH

from hashret.encoded import EncodedFolder
from hashret.retriever import Retriever
from hashret.search import EmbeddingStore


@pytest.fixture(scope="module")
def retriever(world):
    return Retriever.from_pretrained(world.run)


@pytest.fixture(scope="module")
def shards(world):
    return {side: next(EncodedFolder.open(world.folder / f"{side}.encoded").shards()) for side in ("image", "text")}


def scanned(shard, codes, left_out=None):
    """(distance, id) of the whole gallery, bit by bit."""
    distances = (shard.codes.unpack() != codes.unpack()[0]).sum(1)
    return [(int(far), row) for far, row in sorted(zip(distances, shard.ids.tolist(), strict=True)) if row != left_out]


def rows(answer):
    return [(hit["distance"], int(hit["id"][1:])) for hit in answer["hits"]]


def test_a_text_finds_what_the_scan_finds(served, retriever, shards):
    for colour in COLOURS:
        codes = retriever.encode_texts([f"a {colour} picture"])
        answer = served.search(text=f"a {colour} picture", k=200)
        assert rows(answer) == scanned(shards["image"], codes)
        assert answer["code"] == codes.packed.tobytes().hex()
        assert (answer["side"], answer["searched"], answer["bits"]) == ("image", 30, 32)
        assert set(answer["milliseconds"]) == {"encoding", "search"}
        assert [hit["labels"][0] for hit in answer["hits"][:6]] == [colour] * 6
        assert rows(served.search(text=f"a {colour} picture", k=5, side="text")) == scanned(shards["text"], codes)[:5]


def test_an_upload_and_a_composed_query_are_the_retrievers(served, world, retriever, shards):
    path = world.picture("green", 3)
    content = path.read_bytes()
    for text, codes in ((None, retriever.encode_images([path])), ("red", retriever.encode_queries([path], ["red"]))):
        fields = {"k": "200"} | ({"text": text} if text else {})
        answer = served.post("/search", data=fields, files={"image": ("any/../name.png", content, "image/png")}).json()
        assert rows(answer) == scanned(shards["image"], codes)
        coded = served.post("/encode", data={"text": text} if text else {}, files={"image": content}).json()
        assert coded["code"] == answer["code"]
    hits = served.post("/search", data={"k": EACH}, files={"image": content}).json()["hits"]
    (own,) = (hit for hit in hits if hit["key"] == path.name)
    assert (own["distance"], own["text"], own["columns"]) == (0, "a green picture", {"year": 2001, "share": 0.3})


def test_an_item_asks_without_itself(served, world, retriever, shards):
    key = "blue-4.png"
    number = shards["image"].column("key").index(key)
    codes = shards["image"].codes[number : number + 1]
    answer = served.search(item=f"i{number}", k=200)
    assert rows(answer) == scanned(shards["image"], codes, left_out=number)
    assert rows(served.search(item=f"i{number}", k=200, side="text")) == scanned(shards["text"], codes)
    composed = served.search(item=f"i{number}", text="something green", k=200)
    wanted = retriever.encode_queries([world.pictures / key], ["something green"])
    assert rows(composed) == scanned(shards["image"], wanted, left_out=number)
    assert rows(served.search(item="t7", k=3)) == scanned(shards["image"], shards["text"].codes[7:8])[:3]


def test_a_second_look_is_in_the_order_of_the_embeddings(served, world, retriever, shards):
    store = EmbeddingStore.open(f"{world.indexes[0]}.embeddings")
    vectors = store.take(shards["image"].ids)
    query = retriever.embed_texts(["something red"])[0]
    near = [row for _, row in scanned(shards["image"], retriever.encode_texts(["something red"]))[:12]]
    cosine = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    answer = served.search(text="something red", k=5, shortlist=12)
    assert [row for _, row in rows(answer)] == sorted(near, key=lambda row: -cosine[row])[:5]
    np.testing.assert_allclose([hit["score"] for hit in answer["hits"]], np.sort(cosine[near])[::-1][:5], atol=1e-5)
    assert "second_look" in answer["milliseconds"]
    assert served.search(item="i3", k=4, shortlist=10)["hits"][0]["score"] <= 1


def test_filters_leave_the_order_of_the_rest(served):
    everything = served.search(text="a red picture", k=200)["hits"]
    wanted = [hit["id"] for hit in everything if hit["columns"]["year"] >= 2001 and "odd" in hit["labels"]]
    answer = served.search(text="a red picture", k=200, where=["year:2001..", "labels:odd"])
    assert [hit["id"] for hit in answer["hits"]] == wanted
    assert answer["searched"] == len(wanted) == EACH
    assert served.search(text="red", where=["year:1900..1950"])["hits"] == []


def test_items_and_pictures(served, shards, world):
    item = served.get("/items/i5").json()
    assert item["key"] == shards["image"].column("key")[5]
    assert item["code"] == shards["image"].codes[5:6].packed.tobytes().hex()
    answer = served.get(item["picture"])
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert max(picture.size) <= 384
    assert served.get("/items/t5").json()["picture"] is None
    for path in (
        "/items/i30",
        "/items/t999999999999999999",
        "/items/t5/picture",
        "/items/i30/picture",
        "/search?item=i30",
    ):
        assert served.get(path).status_code == 404, path
    for path in ("/items/17", "/items/i-1", "/items/..%2f..%2fetc%2fpasswd", "/search?item=x", "/search?k=0",
                 "/search?k=201", "/search", "/search?text=%20", "/search?text=a&side=sound",
                 "/search?item=t3&text=red",
                 "/items/i5/picture?size=9000"):  # fmt: skip
        answer = served.get(path)
        assert answer.status_code in (404, 422), path
        assert answer.json()["detail"], path


def test_many_at_once_go_through_together_and_get_their_own(served, world):
    texts = [f"a {colour} picture something {colour}" for colour in COLOURS] * 12
    alone = {text: served.search(text=text, k=5) for text in set(texts)}
    picture = world.picture("red").read_bytes()
    with ThreadPoolExecutor(36) as crowd:
        found = list(crowd.map(lambda text: served.search(text=text, k=5), texts))
        codes = list(crowd.map(lambda _: served.post("/encode", files={"image": picture}).json()["code"], range(20)))
    assert [each["hits"] for each in found] == [alone[text]["hits"] for text in texts]
    assert len(set(codes)) == 1
    metrics = served.get("/metrics").text
    jobs, batches = (float(re.search(rf"hashret_batch_size_{name} (\S+)", metrics)[1]) for name in ("sum", "count"))
    assert jobs > 1.5 * batches
    assert 'hashret_items{side="text"} 60.0' in metrics


def test_about_says_what_can_be_asked(served):
    about = served.get("/about").json()
    assert (about["bits"], about["method"], about["composes"]) == (32, "Contrastive", True)
    images, texts = about["galleries"]
    assert (images["side"], images["items"], images["second_look"], texts["items"]) == ("image", 30, True, 60)
    labels, year, share = images["columns"]
    assert labels["values"][0] == {"value": "even", "items": 15}
    assert (year["low"], year["high"], share["high"]) == (2000, 2002, 0.9)
    assert len(images["samples"]) == 12
    assert served.get("/healthz").json() == {"state": "ready"}
